/* The error memory in 16 bits (config.error_dtype): M is formed over the gradient before the engines see it, and what is left of it
 * is rounded into the memory after the last vote. */
#ifndef PSGD_CORE_HALF_ERRORS_H
#define PSGD_CORE_HALF_ERRORS_H

#include "core/reducer.h"

/* Made where it is in 16 bits and something is compressed. */
psgd_status_t psgd_half_errors_create(psgd_reducer_t *reducer);
void          psgd_half_errors_destroy(psgd_half_errors_t *errors);

/* M = g + e, in the gradients' places. Enqueued. */
psgd_status_t psgd_half_errors_add(psgd_reducer_t *reducer);

/* e = M - P Q^T, M being there still. Enqueued. */
psgd_status_t psgd_half_errors_leave(psgd_reducer_t *reducer, psgd_view_t p, psgd_view_t q);

#endif
