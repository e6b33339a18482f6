/* Numbers in 16 bits on the host: IEEE half precision and bfloat16, to nearest even. By integers, so the same bits on every host. */
#ifndef PSGD_BASE_HALF_H
#define PSGD_BASE_HALF_H

#include <stddef.h>
#include <stdint.h>

/* halves[i] = values[i] * scale in half precision; scale is a power of two, and no product is NaN. */
void psgd_half_encode(const float *values, size_t count, float scale, uint16_t *halves);

/* values[i] = halves[i] * scale; exact unless that is denormal. */
void psgd_half_decode(const uint16_t *halves, size_t count, float scale, float *values);

/* The same in bfloat16, which has the range of single precision and needs no scale. */
void psgd_bfloat_encode(const float *values, size_t count, uint16_t *halves);
void psgd_bfloat_decode(const uint16_t *halves, size_t count, float *values);

#endif
