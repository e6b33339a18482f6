/* Fully connected layers. */
#include "layer.h"

#include <math.h>

#include "blas.h"
#include "kernels.h"

typedef struct linear {
    layer_t base;
    size_t  weight, bias; /* indices of parameters */
    bool    relu;
} linear_t;

/* output (batch x out) = max(input (batch x in) W (out x in)^T + b, 0 or nothing) */
static tool_status_t linear_forward(layer_t *layer, cl_mem input)
{
    const linear_t *linear      = (const linear_t *)layer;
    size_t          count       = layer->batch * layer->out_elems;
    cl_uint         width       = (cl_uint)layer->out_elems;
    cl_uint         bias_offset = (cl_uint)params_value(layer->params, linear->bias).offset;
    cl_float        lowest      = linear->relu ? 0.0f : -INFINITY;
    tool_status_t   status;

    status = blas_product(layer->gpu, BLAS_NT, layer->batch, layer->out_elems, layer->in_elems, (span_t){input, 0},
                          params_value(layer->params, linear->weight), (span_t){layer->output, 0});
    if (status != TOOL_OK) {
        return status;
    }
    return GPU_LAUNCH(layer->gpu, GPU_KERNEL_ADD_BIAS, count, GPU_ARG(layer->output), GPU_ARG(layer->params->values),
                      GPU_ARG(bias_offset), GPU_ARG(width), GPU_ARG(lowest));
}

/* With d = output_grad (batch x out) behind the ReLU: b' = its column sums, W' (out x in) = d^T input */
static tool_status_t linear_backward_params(layer_t *layer, cl_mem input)
{
    const linear_t *linear      = (const linear_t *)layer;
    size_t          count       = layer->batch * layer->out_elems;
    cl_uint         batch       = (cl_uint)layer->batch;
    cl_uint         bias_offset = (cl_uint)params_grad(layer->params, linear->bias).offset;
    span_t          d           = {layer->output_grad, 0};
    tool_status_t   status      = TOOL_OK;

    if (linear->relu) {
        status =
            GPU_LAUNCH(layer->gpu, GPU_KERNEL_MASK_BY_RELU, count, GPU_ARG(layer->output), GPU_ARG(layer->output_grad));
    }
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_EXAMPLES, layer->out_elems, GPU_ARG(layer->output_grad),
                            GPU_ARG(batch), GPU_ARG(layer->params->grads), GPU_ARG(bias_offset));
    }
    if (status == TOOL_OK) {
        status = blas_product(layer->gpu, BLAS_TN, layer->out_elems, layer->in_elems, layer->batch, d,
                              (span_t){input, 0}, params_grad(layer->params, linear->weight));
    }
    return status;
}

/* input_grad = d W */
static tool_status_t linear_backward_input(layer_t *layer, cl_mem input_grad)
{
    const linear_t *linear = (const linear_t *)layer;

    return blas_product(layer->gpu, BLAS_NN, layer->batch, layer->in_elems, layer->out_elems,
                        (span_t){layer->output_grad, 0}, params_value(layer->params, linear->weight),
                        (span_t){input_grad, 0});
}

static void linear_destroy(layer_t *layer)
{
    layer_free(layer);
}

static const layer_ops_t linear_ops = {linear_forward, linear_backward_params, linear_backward_input, linear_destroy};

/* The layer, of which the weight is still missing and `num_params` tensors will be there. */
static tool_status_t create(params_t *params, size_t batch, size_t in_elems, size_t out_elems, size_t num_params,
                            linear_t **linear_p)
{
    tool_status_t status = tool_alloc(1, sizeof(**linear_p), "a layer", linear_p);

    if (status == TOOL_OK) {
        (*linear_p)->base = (layer_t){&linear_ops, params->gpu, params, batch, params->count, num_params,
                                      in_elems,    out_elems,   NULL,   NULL,  NULL,          0};
    }
    return status;
}

/* The bias and the buffers. On failure the layer is gone. */
static tool_status_t complete(params_t *params, linear_t *linear, const char *bias_name, layer_t **layer_p)
{
    uint64_t      dims[1] = {linear->base.out_elems};
    tool_status_t status  = params_add(params, bias_name, 1, dims, 0, &linear->bias);

    if (status == TOOL_OK) {
        status = layer_allocate(&linear->base);
    }
    if (status != TOOL_OK) {
        linear_destroy(&linear->base);
        return status;
    }
    *layer_p = &linear->base;
    return TOOL_OK;
}

tool_status_t layer_create_linear(params_t *params, size_t batch, size_t in_elems, size_t out_elems, bool relu,
                                  const char *weight_name, const char *bias_name, layer_t **layer_p)
{
    uint64_t      dims[2] = {out_elems, in_elems};
    linear_t     *linear  = NULL;
    tool_status_t status  = create(params, batch, in_elems, out_elems, 2, &linear);

    if (status != TOOL_OK) {
        return status;
    }
    linear->relu = relu;
    status       = params_add(params, weight_name, 2, dims, in_elems, &linear->weight);
    if (status != TOOL_OK) {
        linear_destroy(&linear->base);
        return status;
    }
    return complete(params, linear, bias_name, layer_p);
}

tool_status_t layer_create_tied_linear(params_t *params, size_t batch, size_t in_elems, size_t out_elems, size_t weight,
                                       const char *bias_name, layer_t **layer_p)
{
    linear_t     *linear = NULL;
    tool_status_t status = create(params, batch, in_elems, out_elems, 1, &linear);

    if (status != TOOL_OK) {
        return status;
    }
    linear->weight = weight;
    return complete(params, linear, bias_name, layer_p);
}
