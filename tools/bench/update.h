/* An optimizer's step on parameters of the model, by a kernel of the tool's own behind the library's step, or by the library in it. */
#ifndef PSGD_BENCH_UPDATE_H
#define PSGD_BENCH_UPDATE_H

#include "gradients.h"

typedef struct update {
    const gradients_t *gradients;
    cl_mem            *params, *momenta; /* as many as gradients->mems, laid out like them */
    psgd_buffer_t     *param_buffers, *momentum_buffers;
    psgd_optimizer_t   optimizer; /* what both do */
} update_t;

/* Parameters and momenta of zeros. Freed by update_destroy(), also after an error. */
tool_status_t update_create(const gradients_t *gradients, update_t *update_p);
void          update_destroy(update_t *update);

/* SGD with momentum from the updates that lie where the gradients were: a pass over all buffers. Waits. */
tool_status_t update_run(const update_t *update);

#endif
