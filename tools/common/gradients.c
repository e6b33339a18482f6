#include "gradients.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "measure_kernels.h"
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
        status = gpu_alloc(g->gpu, gradients_mem_elems(g, i), g->elem_bytes, "the gradients", &g->mems[i]);
    }
    if (status != TOOL_OK && g->num_mems == 1 && g->model->count > 1) {
        return tool_fail(TOOL_FAILED, "%s; try --buffers each", tool_last_error());
    }
    return status;
}

tool_status_t gradients_create(const gpu_t *gpu, const model_t *model, psgd_dtype_t dtype, bool one_buffer,
                               gradients_t *gradients_p)
{
    gradients_t  *g = gradients_p;
    tool_status_t status;

    *g     = (gradients_t){.gpu        = gpu,
                           .model      = model,
                           .dtype      = dtype,
                           .elem_bytes = dtype == PSGD_F32 ? sizeof(float) : sizeof(cl_half),
                           .num_mems   = one_buffer ? 1 : model->count};
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
            one_buffer ? (psgd_buffer_t){g->mems[0], g->offsets[t] * g->elem_bytes} : (psgd_buffer_t){g->mems[t], 0};
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
    const cl_uint is_half = g->dtype == PSGD_F16;

    if (count > LAUNCH_ELEMS) {
        return tool_fail(TOOL_FAILED, "a buffer of %llu gradients is too large for this tool; try --buffers each",
                         (unsigned long long)count);
    }
    if (g->dtype != PSGD_F32) {
        return GPU_LAUNCH(g->gpu, MEASURE_KERNEL_FILL_HALF_GRADIENTS, (size_t)count, GPU_ARG(key), GPU_ARG(first),
                          GPU_ARG(is_half), GPU_ARG(mem));
    }
    return GPU_LAUNCH(g->gpu, MEASURE_KERNEL_FILL_GRADIENTS, (size_t)count, GPU_ARG(key), GPU_ARG(first), GPU_ARG(mem));
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

static float widen_half(uint16_t bits)
{
    const int   exponent = bits >> 10 & 0x1F, mantissa = bits & 0x3FF;
    const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;

    if (exponent == 0) {
        return sign * ldexpf((float)mantissa, -24);
    }
    if (exponent == 0x1F) {
        return mantissa == 0 ? sign * INFINITY : NAN;
    }
    return sign * ldexpf((float)(mantissa + 0x400), exponent - 25);
}

static float widen_bfloat(uint16_t bits)
{
    const uint32_t word = (uint32_t)bits << 16;
    float          value;

    memcpy(&value, &word, sizeof(value));
    return value;
}

/* The upper half of values[0 .. count) has been read into; from its start on, no element is overwritten before it was widened. */
static void widen(psgd_dtype_t dtype, float *values, size_t count)
{
    const unsigned char *halves = (const unsigned char *)(values + count) - count * sizeof(uint16_t);

    for (size_t i = 0; i < count; ++i) {
        uint16_t bits;

        memcpy(&bits, halves + i * sizeof(bits), sizeof(bits));
        values[i] = dtype == PSGD_F16 ? widen_half(bits) : widen_bfloat(bits);
    }
}

tool_status_t gradients_read(const gradients_t *gradients, float *values)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < gradients->num_mems && status == TOOL_OK; ++i) {
        const size_t count = (size_t)gradients_mem_elems(gradients, i);
        float       *first = values + (gradients->num_mems == 1 ? 0 : gradients->offsets[i]);

        status =
            gpu_read(gradients->gpu, gradients->mems[i],
                     (unsigned char *)(first + count) - count * gradients->elem_bytes, count * gradients->elem_bytes);
        if (status == TOOL_OK && gradients->dtype != PSGD_F32) {
            widen(gradients->dtype, first, count);
        }
    }
    return status;
}
