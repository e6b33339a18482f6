#include "gradients.h"

#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "random.h"

enum { ALIGNMENT_ELEMS = 32 }; /* 128 bytes: vector loads of every device start where a tensor does */

/* A launch counts work-items in 32 bits. */
#define LAUNCH_ELEMS (UINT64_C(1) << 30)

uint64_t gradients_mem_elems(const gradients_t *gradients, size_t index)
{
    return gradients->num_mems == 1 ? gradients->extent : gradients->model->tensors[index].elems;
}

static tool_status_t allocate_mems(gradients_t *g)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < g->num_mems && status == TOOL_OK; ++i) {
        status = gpu_alloc(g->gpu, gradients_mem_elems(g, i), sizeof(float), "the gradients", &g->mems[i]);
    }
    if (status != TOOL_OK && g->num_mems == 1 && g->model->count > 1) {
        return tool_fail(TOOL_FAILED, "%s; try --buffers each", tool_last_error());
    }
    return status;
}

tool_status_t gradients_create(const gpu_t *gpu, const model_t *model, bool one_buffer, gradients_t *gradients_p)
{
    gradients_t  *g = gradients_p;
    tool_status_t status;

    *g     = (gradients_t){.gpu = gpu, .model = model, .num_mems = one_buffer ? 1 : model->count};
    status = tool_alloc(model->count, sizeof(*g->offsets), "the offsets of the gradients", &g->offsets);
    if (status == TOOL_OK) {
        status = tool_alloc(model->count, sizeof(*g->buffers), "the gradients' buffers", &g->buffers);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(g->num_mems, sizeof(*g->mems), "the gradients' buffers", &g->mems);
    }
    if (status != TOOL_OK) {
        return status;
    }
    for (size_t t = 0; t < model->count; ++t) {
        g->offsets[t] = g->extent;
        g->extent += (model->tensors[t].elems + ALIGNMENT_ELEMS - 1) / ALIGNMENT_ELEMS * ALIGNMENT_ELEMS;
    }
    status = allocate_mems(g);
    for (size_t t = 0; t < model->count && status == TOOL_OK; ++t) {
        g->buffers[t] =
            one_buffer ? (psgd_buffer_t){g->mems[0], g->offsets[t] * sizeof(float)} : (psgd_buffer_t){g->mems[t], 0};
    }
    return status;
}

void gradients_destroy(gradients_t *gradients)
{
    for (size_t i = 0; gradients->mems != NULL && i < gradients->num_mems; ++i) {
        gpu_free(gradients->mems[i]);
    }
    free(gradients->mems);
    free(gradients->buffers);
    free(gradients->offsets);
    memset(gradients, 0, sizeof(*gradients));
}

uint32_t gradients_key(uint32_t worker, uint64_t step)
{
    return (uint32_t)(random_mix(random_mix(step) ^ worker) >> 32);
}

/* Elements [0, count) of a buffer whose first is element number `first`. */
static tool_status_t fill_mem(const gradients_t *g, cl_mem mem, uint32_t key, uint64_t first, uint64_t count)
{
    if (count > LAUNCH_ELEMS) {
        return tool_fail(TOOL_FAILED, "a buffer of %llu gradients is too large for this tool; try --buffers each",
                         (unsigned long long)count);
    }
    return GPU_LAUNCH(g->gpu, BENCH_KERNEL_FILL_GRADIENTS, (size_t)count, GPU_ARG(key), GPU_ARG(first), GPU_ARG(mem));
}

tool_status_t gradients_fill(const gradients_t *gradients, uint32_t key)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < gradients->num_mems && status == TOOL_OK; ++i) {
        status = fill_mem(gradients, gradients->mems[i], key, gradients->num_mems == 1 ? 0 : gradients->offsets[i],
                          gradients_mem_elems(gradients, i));
    }
    return status == TOOL_OK ? gpu_wait(gradients->gpu) : status;
}

tool_status_t gradients_read(const gradients_t *gradients, float *values)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < gradients->num_mems && status == TOOL_OK; ++i) {
        status = gpu_read(gradients->gpu, gradients->mems[i],
                          values + (gradients->num_mems == 1 ? 0 : gradients->offsets[i]),
                          gradients_mem_elems(gradients, i) * sizeof(float));
    }
    return status;
}
