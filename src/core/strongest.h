/* The strongest directions of a factor. */
#ifndef PSGD_CORE_STRONGEST_H
#define PSGD_CORE_STRONGEST_H

#include <stdint.h>

#include <psgd/psgd.h>

/* factor: `columns` vectors of `length` elements, one behind the other; to: `kept` <= columns of the kind, the left singular
 * vectors of the largest singular values, times these, in falling order. Exactly rounded operations in one order: the same bits on
 * every host. Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_strongest_columns(const float *factor, uint64_t length, uint32_t columns, float *to, uint32_t kept);

#endif
