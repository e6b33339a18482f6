/* Gradients into single precision copies in the layout of their matrices, and back: cl/arrange.cl. */
#ifndef PSGD_OPS_ARRANGE_H
#define PSGD_OPS_ARRANGE_H

#include "device/buffer.h"
#include "device/device.h"
#include "plan/plan.h"

typedef struct psgd_arrange psgd_arrange_t;

/* For the tensors of the plan that are copied, of which there are some. wide: what is given is in single precision, whatever the
 * tensors' type. `plan` outlives it. */
psgd_status_t psgd_arrange_create(psgd_device_t *device, const psgd_plan_t *plan, bool wide,
                                  psgd_arrange_t **arrange_p);

/* given, copies: by tensor index; those of tensors that are not copied are not looked at. Allocate nothing. Between a call with other
 * views than the last one's and that one, the device has been waited for. */
psgd_status_t psgd_arrange_enqueue_in(psgd_arrange_t *arrange, const psgd_view_t *given, const psgd_view_t *copies);
psgd_status_t psgd_arrange_enqueue_out(psgd_arrange_t *arrange, const psgd_view_t *copies, const psgd_view_t *given);

/* The same for one tensor. */
psgd_status_t psgd_arrange_enqueue_out_one(psgd_arrange_t *arrange, size_t tensor_index, const psgd_view_t *copies,
                                           const psgd_view_t *given);

void psgd_arrange_destroy(psgd_arrange_t *arrange);

#endif
