/* What a step is called with beside its gradients. */
#ifndef PSGD_API_STEP_REQUEST_H
#define PSGD_API_STEP_REQUEST_H

#include "core/reducer.h"

/* What a step is called with beside the gradients, checked; it lies in the reducer until the step has ended. */
typedef struct psgd_step_request {
    const float         *factors; /* NULL: gradients are taken as they are */
    const psgd_update_t *update;  /* NULL: the gradients become the update */
} psgd_step_request_t;

/* Checks the options and makes views of their buffers. NULL: a plain request. */
psgd_status_t psgd_step_request_read(psgd_reducer_t *reducer, const psgd_step_options_t *given,
                                     psgd_step_request_t *request);

#endif
