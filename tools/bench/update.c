#include "update.h"

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static tool_status_t allocate(update_t *u)
{
    const gradients_t *g      = u->gradients;
    tool_status_t      status = tool_alloc(g->num_mems, sizeof(*u->params), "the parameters' buffers", &u->params);

    if (status == TOOL_OK) {
        status = tool_alloc(g->num_mems, sizeof(*u->momenta), "the momenta's buffers", &u->momenta);
    }
    for (size_t i = 0; i < g->num_mems && status == TOOL_OK; ++i) {
        status = gpu_alloc(g->gpu, gradients_mem_elems(g, i), sizeof(float), "the parameters", &u->params[i]);
        if (status == TOOL_OK) {
            status = gpu_alloc(g->gpu, gradients_mem_elems(g, i), sizeof(float), "the momenta", &u->momenta[i]);
        }
    }
    return status;
}

static tool_status_t place(update_t *u)
{
    const gradients_t *g     = u->gradients;
    const size_t       count = g->model->count;
    tool_status_t      status;

    status = tool_alloc(count, sizeof(*u->param_buffers), "the parameters' places", &u->param_buffers);
    if (status == TOOL_OK) {
        status = tool_alloc(count, sizeof(*u->momentum_buffers), "the momenta's places", &u->momentum_buffers);
    }
    for (size_t t = 0; t < count && status == TOOL_OK; ++t) {
        size_t mem = g->num_mems == 1 ? 0 : t;

        u->param_buffers[t]    = (psgd_buffer_t){u->params[mem], g->buffers[t].offset_bytes};
        u->momentum_buffers[t] = (psgd_buffer_t){u->momenta[mem], g->buffers[t].offset_bytes};
    }
    return status;
}

tool_status_t update_create(const gradients_t *gradients, update_t *update_p)
{
    const psgd_optimizer_t empty = PSGD_OPTIMIZER_INIT;
    tool_status_t          status;

    memset(update_p, 0, sizeof(*update_p));
    update_p->gradients = gradients;
    status              = allocate(update_p);
    if (status == TOOL_OK) {
        status = place(update_p);
    }
    update_p->optimizer               = empty;
    update_p->optimizer.rule          = PSGD_RULE_HEAVY_BALL;
    update_p->optimizer.learning_rate = 0.01f;
    update_p->optimizer.momentum      = 0.9f;
    update_p->optimizer.params        = update_p->param_buffers;
    update_p->optimizer.momenta       = update_p->momentum_buffers;
    return status;
}

void update_destroy(update_t *update)
{
    for (size_t i = 0; update->gradients != NULL && i < update->gradients->num_mems; ++i) {
        gpu_free(update->params != NULL ? update->params[i] : NULL);
        gpu_free(update->momenta != NULL ? update->momenta[i] : NULL);
    }
    free(update->momentum_buffers);
    free(update->param_buffers);
    free(update->momenta);
    free(update->params);
    memset(update, 0, sizeof(*update));
}

tool_status_t update_run(const update_t *update)
{
    const gradients_t *g      = update->gradients;
    tool_status_t      status = TOOL_OK;

    for (size_t i = 0; i < g->num_mems && status == TOOL_OK; ++i) {
        status = GPU_LAUNCH(g->gpu, BENCH_KERNEL_MOMENTUM_STEP, (size_t)gradients_mem_elems(g, i), GPU_ARG(g->mems[i]),
                            GPU_ARG(update->optimizer.momentum), GPU_ARG(update->optimizer.learning_rate),
                            GPU_ARG(update->momenta[i]), GPU_ARG(update->params[i]));
    }
    return status == TOOL_OK ? gpu_wait(g->gpu) : status;
}
