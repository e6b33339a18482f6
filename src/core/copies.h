/* The tensors that a step works on in copies: those in 16 bits, of views that are not contiguous, of a flattened gradient. Their
 * gradients are copied in at the start of a step, and the update out at its end; in between there is no difference. */
#ifndef PSGD_CORE_COPIES_H
#define PSGD_CORE_COPIES_H

#include "core/bucket.h"

/* The plan has some. */
psgd_status_t psgd_copies_create(psgd_bucket_t *bucket);
void          psgd_copies_destroy(psgd_device_t *device, psgd_copies_t *copies);

/* Of tensors that are copied, the bucket's gradients become the copies, into which the caller's are copied. Enqueued. */
psgd_status_t psgd_copies_take(psgd_bucket_t *bucket);

/* The update into the caller's gradients. Enqueued. */
psgd_status_t psgd_copies_give(psgd_bucket_t *bucket);

#endif
