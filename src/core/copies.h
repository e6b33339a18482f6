/* The tensors that a step works on in copies: those in 16 bits, of views that are not contiguous, of a flattened gradient. Their
 * gradients are copied in at the start of a step, and the update out at its end; in between there is no difference. */
#ifndef PSGD_CORE_COPIES_H
#define PSGD_CORE_COPIES_H

#include "core/reducer.h"

/* The plan has some. */
psgd_status_t psgd_copies_create(psgd_reducer_t *reducer);
void          psgd_copies_destroy(psgd_device_t *device, psgd_copies_t *copies);

/* step.grads, from the caller's: where the step finds gradients and leaves the update. Enqueues the copying in. */
psgd_status_t psgd_copies_take(psgd_reducer_t *reducer);

/* The update into the caller's gradients. Waits. */
psgd_status_t psgd_copies_give(psgd_reducer_t *reducer);

#endif
