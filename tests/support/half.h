/* Numbers in 16 bits on the host, by arithmetic and not by bits: what the library's are held against. */
#ifndef PSGD_TESTS_SUPPORT_HALF_H
#define PSGD_TESTS_SUPPORT_HALF_H

#include <stdint.h>

#include <psgd/psgd.h>

/* x in PSGD_F16 or PSGD_BF16, to nearest even; too large numbers become infinite. x is no NaN. */
uint16_t half_encode(psgd_dtype_t dtype, float x);
float    half_decode(psgd_dtype_t dtype, uint16_t half);

#endif
