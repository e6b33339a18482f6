/* The error memory in 16 bits (config.error_dtype): where it lies, as kernels count it, and what it is rounded by. */
#ifndef PSGD_CORE_HALF_ERRORS_H
#define PSGD_CORE_HALF_ERRORS_H

#include "core/reducer.h"
#include "ops/rounding.h"

/* Made where it is in 16 bits and something is compressed. */
psgd_status_t psgd_half_errors_create(psgd_reducer_t *reducer);
void          psgd_half_errors_destroy(psgd_device_t *device, psgd_half_errors_t *h);

/* By matrix index: reducer->errors, with offsets that in floats have the number of the first element. */
const psgd_view_t *psgd_half_errors_places(const psgd_reducer_t *reducer);

/* Of the step under way; all zero where the error memory is not in 16 bits. */
psgd_rounding_t psgd_half_errors_rounding(const psgd_reducer_t *reducer);

#endif
