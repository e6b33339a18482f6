/* The gradients of one worker, in device memory: random numbers that the host can make too, element by element. */
#ifndef PSGD_TOOLS_GRADIENTS_H
#define PSGD_TOOLS_GRADIENTS_H

#include <stdbool.h>

#include "gpu.h"
#include "model.h"

typedef struct gradients {
    const gpu_t   *gpu;
    const model_t *model;
    psgd_dtype_t   dtype; /* of all gradients */
    size_t         elem_bytes;
    uint64_t      *offsets; /* of each tensor's elements in the one buffer, or as if there were one */
    uint64_t       extent;  /* elements of all tensors and the gaps between them */
    cl_mem        *mems;    /* num_mems: one, or one a tensor */
    size_t         num_mems;
    psgd_buffer_t *buffers; /* where each tensor lies */
} gradients_t;

/* Freed by gradients_destroy(), also after an error. */
tool_status_t gradients_create(const gpu_t *gpu, const model_t *model, psgd_dtype_t dtype, bool one_buffer,
                               gradients_t *gradients_p);
void          gradients_destroy(gradients_t *gradients);

/* The key of a worker's gradients in a step: other keys give other numbers. */
uint32_t gradients_key(uint32_t worker, uint64_t step);

/* The bits that element number `index` (counted as offsets are) of the gradients with this key is made of. */
static inline uint32_t gradients_bits(uint32_t key, uint64_t index)
{
    uint32_t x = (uint32_t)index * UINT32_C(0x9E3779B1) + (uint32_t)(index >> 32) * UINT32_C(0x85EBCA77) + key;

    x ^= x >> 16;
    x *= UINT32_C(0x7FEB352D);
    x ^= x >> 15;
    x *= UINT32_C(0x846CA68B);
    return x ^ (x >> 16);
}

/* That element in single precision, in [-1, 1). */
static inline float gradients_value(uint32_t key, uint64_t index)
{
    return (float)((int32_t)(gradients_bits(key, index) >> 8) - 0x800000) * 0x1p-23f;
}

/* And of gradients of this type: those in 16 bits are coarser, so that they are exact. */
static inline float gradients_value_of(psgd_dtype_t dtype, uint32_t key, uint64_t index)
{
    return dtype == PSGD_F32 ? gradients_value(key, index)
                             : (float)((int32_t)(gradients_bits(key, index) >> 24) - 0x80) * 0x1p-7f;
}

/* Writes fresh gradients, and waits until they are there. */
tool_status_t gradients_fill(const gradients_t *gradients, uint32_t key);

/* What the buffers hold now, in single precision: tensor t at values + offsets[t]. */
tool_status_t gradients_read(const gradients_t *gradients, float *values);

/* How many elements buffer `index` has. */
uint64_t gradients_mem_elems(const gradients_t *gradients, size_t index);

#endif
