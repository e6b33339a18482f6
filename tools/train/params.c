#include "params.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "random.h"

enum { ALIGNMENT_ELEMS = 32 }; /* 128 bytes: vector loads of every device start where a tensor does */

tool_status_t params_add_within(params_t *params, const char *name, uint32_t num_dims, const uint64_t *dims,
                                double bound, size_t *index_p)
{
    param_t *param = &params->tensors[params->count];

    if (params->count == PARAMS_MAX_TENSORS || num_dims > PARAMS_MAX_DIMS) {
        return tool_fail(TOOL_FAILED, "the model has too many tensors (%s is number %d)", name, PARAMS_MAX_TENSORS + 1);
    }
    param->name     = name;
    param->num_dims = num_dims;
    param->bound    = bound;
    param->elems    = 1;
    param->offset   = params->extent;
    for (uint32_t i = 0; i < num_dims; ++i) {
        param->dims[i] = dims[i];
        param->elems *= (size_t)dims[i];
    }
    params->elems += param->elems;
    params->extent += (param->elems + ALIGNMENT_ELEMS - 1) / ALIGNMENT_ELEMS * ALIGNMENT_ELEMS;
    *index_p = params->count++;
    return TOOL_OK;
}

tool_status_t params_add(params_t *params, const char *name, uint32_t num_dims, const uint64_t *dims, size_t fan_in,
                         size_t *index_p)
{
    double bound = fan_in > 0 ? sqrt(6.0 / (double)fan_in) : 0.0;

    return params_add_within(params, name, num_dims, dims, bound, index_p);
}

tool_status_t params_allocate(params_t *params)
{
    tool_status_t status;

    status = gpu_alloc(params->gpu, params->extent, sizeof(float), "the parameters", &params->values);
    if (status == TOOL_OK) {
        status = gpu_alloc(params->gpu, params->extent, sizeof(float), "the gradients", &params->grads);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(params->gpu, params->extent, sizeof(float), "the momentum", &params->velocities);
    }
    return status;
}

tool_status_t params_allocate_halves(params_t *params)
{
    return gpu_alloc(params->gpu, params->extent, sizeof(cl_half), "the gradients in 16 bits", &params->halves);
}

void params_free(params_t *params)
{
    gpu_free(params->halves);
    gpu_free(params->values);
    gpu_free(params->grads);
    gpu_free(params->velocities);
    params->values = params->grads = params->velocities = params->halves = NULL;
}

/* values[0 .. elems) of one weight tensor. */
static void init_weight(const param_t *param, uint64_t seed, uint64_t index, float *values)
{
    random_stream_t stream = random_stream(seed, UINT64_C(0x70617261) + index);

    for (size_t i = 0; i < param->elems; ++i) {
        values[i] = (float)((2.0 * random_unit(&stream) - 1.0) * param->bound);
    }
}

tool_status_t params_init(params_t *params, uint64_t seed)
{
    float        *values = NULL;
    tool_status_t status = tool_alloc(params->extent, sizeof(*values), "the initial parameters", &values);

    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < params->count; ++i) {
        if (params->tensors[i].bound > 0.0) {
            init_weight(&params->tensors[i], seed, i, values + params->tensors[i].offset);
        }
    }
    status = gpu_write(params->gpu, params->values, values, params->extent * sizeof(*values));
    if (status == TOOL_OK) {
        status = gpu_zero(params->gpu, (span_t){params->velocities, 0}, params->extent);
    }
    free(values);
    return status;
}

span_t params_value(const params_t *params, size_t index)
{
    return (span_t){params->values, params->tensors[index].offset};
}

span_t params_grad(const params_t *params, size_t index)
{
    return (span_t){params->grads, params->tensors[index].offset};
}

psgd_buffer_t params_place(const params_t *params, size_t index, cl_mem mem)
{
    return (psgd_buffer_t){mem, params->tensors[index].offset * sizeof(float)};
}

psgd_buffer_t params_grad_buffer(const params_t *params, size_t index)
{
    return params->halves != NULL ? (psgd_buffer_t){params->halves, params->tensors[index].offset * sizeof(cl_half)}
                                  : params_place(params, index, params->grads);
}

psgd_tensor_t params_tensor(const params_t *params, size_t index, psgd_dtype_t dtype, bool never_compress)
{
    const param_t *param  = &params->tensors[index];
    psgd_tensor_t  tensor = PSGD_TENSOR_INIT;

    tensor.name     = param->name;
    tensor.num_dims = param->num_dims;
    memcpy(tensor.dims, param->dims, param->num_dims * sizeof(param->dims[0]));
    tensor.rank  = never_compress ? PSGD_NEVER_COMPRESS : 0;
    tensor.dtype = dtype;
    return tensor;
}

tool_status_t params_enqueue_update(const params_t *params, psgd_rule_t rule, float momentum, float weight_decay,
                                    float rate)
{
    cl_uint word = (cl_uint)rule;

    return GPU_LAUNCH(params->gpu, GPU_KERNEL_MOMENTUM, params->extent, GPU_ARG(params->grads), GPU_ARG(word),
                      GPU_ARG(momentum), GPU_ARG(weight_decay), GPU_ARG(rate), GPU_ARG(params->velocities),
                      GPU_ARG(params->values));
}

tool_status_t params_enqueue_narrow(const params_t *params, size_t first, size_t count, psgd_dtype_t dtype, float scale)
{
    const param_t *last  = &params->tensors[first + count - 1];
    cl_uint        begin = (cl_uint)params->tensors[first].offset;
    cl_uint        word  = (cl_uint)dtype;

    return GPU_LAUNCH(params->gpu, GPU_KERNEL_NARROW, last->offset + last->elems - begin, GPU_ARG(begin),
                      GPU_ARG(params->grads), GPU_ARG(scale), GPU_ARG(word), GPU_ARG(params->halves));
}

tool_status_t params_enqueue_widen(const params_t *params, psgd_dtype_t dtype)
{
    cl_uint word = (cl_uint)dtype;

    return GPU_LAUNCH(params->gpu, GPU_KERNEL_WIDEN, params->extent, GPU_ARG(params->halves), GPU_ARG(word),
                      GPU_ARG(params->grads));
}

tool_status_t params_hash(const params_t *params, uint64_t *hash_p)
{
    float        *values = NULL;
    uint64_t      hash   = 0;
    tool_status_t status = tool_alloc(params->extent, sizeof(*values), "the parameters", &values);

    if (status != TOOL_OK) {
        return status;
    }
    status = gpu_read(params->gpu, params->values, values, params->extent * sizeof(*values));
    for (size_t i = 0; i < params->extent && status == TOOL_OK; ++i) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof(bits));
        hash = random_mix(hash ^ bits);
    }
    free(values);
    if (status == TOOL_OK) {
        *hash_p = hash;
    }
    return status;
}
