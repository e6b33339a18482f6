/* Gradients times a factor of each tensor, in place: cl/rescale.cl. */
#ifndef PSGD_OPS_RESCALE_H
#define PSGD_OPS_RESCALE_H

#include "ops/ragged.h"
#include "plan/plan.h"

typedef struct psgd_rescale psgd_rescale_t;

/* For all tensors of the plan, each of fewer than 2^32 elements (PSGD_ERR_UNSUPPORTED). `plan` outlives it. */
psgd_status_t psgd_rescale_create(psgd_device_t *device, const psgd_plan_t *plan, psgd_rescale_t **rescale_p);

/* grads, factors: by tensor index. A factor of 0 stands for a gradient that is not there: its buffer is filled with 0. `factors`
 * stays untouched until the device has been waited for. Allocates nothing. */
psgd_status_t psgd_rescale_enqueue(psgd_rescale_t *rescale, const psgd_view_t *grads, const float *factors);

void psgd_rescale_destroy(psgd_rescale_t *rescale);

#endif
