/* Error feedback: M = g + e, left in the gradient buffer. */
#ifndef PSGD_OPS_ERROR_FEEDBACK_H
#define PSGD_OPS_ERROR_FEEDBACK_H

#include "device/buffer.h"
#include "device/device.h"

typedef struct psgd_error_feedback psgd_error_feedback_t;

psgd_status_t psgd_error_feedback_create(psgd_device_t *device, psgd_error_feedback_t **feedback_p);

/* Enqueues grad = grad + error, `elems` >= 1 floats each. The regions do not overlap. Allocates nothing. */
psgd_status_t psgd_error_feedback_enqueue(psgd_error_feedback_t *feedback, psgd_view_t grad, psgd_view_t error,
                                          uint64_t elems);

void psgd_error_feedback_destroy(psgd_error_feedback_t *feedback);

#endif
