/* Vectors of words. */
#include "layer.h"

#include "kernels.h"

typedef struct embedding {
    layer_t base;
    size_t  weight; /* index of the parameter */
    cl_mem  order;  /* the network's */
    bool    tied;
} embedding_t;

static tool_status_t embedding_forward(layer_t *layer, cl_mem input)
{
    const embedding_t *embedding = (const embedding_t *)layer;
    cl_uint            offset    = (cl_uint)params_value(layer->params, embedding->weight).offset;
    cl_uint            width     = (cl_uint)layer->out_elems;

    return GPU_LAUNCH(layer->gpu, GPU_KERNEL_EMBED_WORDS, layer->batch * layer->out_elems, GPU_ARG(input),
                      GPU_ARG(layer->params->values), GPU_ARG(offset), GPU_ARG(width), GPU_ARG(layer->output));
}

/* Dense: rows of words that the batch does not have are 0. */
static tool_status_t embedding_backward_params(layer_t *layer, cl_mem input)
{
    const embedding_t *embedding = (const embedding_t *)layer;
    const span_t       grad      = params_grad(layer->params, embedding->weight);
    cl_uint            offset    = (cl_uint)grad.offset;
    cl_uint            width     = (cl_uint)layer->out_elems;
    tool_status_t      status    = TOOL_OK;

    if (!embedding->tied) {
        status = gpu_zero(layer->gpu, grad, layer->params->tensors[embedding->weight].elems);
    }
    if (status != TOOL_OK) {
        return status;
    }
    return GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_BY_WORD, layer->batch * layer->out_elems, GPU_ARG(input),
                      GPU_ARG(embedding->order), GPU_ARG(layer->output_grad), GPU_ARG(width),
                      GPU_ARG(layer->params->grads), GPU_ARG(offset));
}

/* Words have no gradient. */
static tool_status_t embedding_backward_input(layer_t *layer, cl_mem input_grad)
{
    (void)layer;
    (void)input_grad;
    return TOOL_OK;
}

static void embedding_destroy(layer_t *layer)
{
    layer_free(layer);
}

static const layer_ops_t embedding_ops = {embedding_forward, embedding_backward_params, embedding_backward_input,
                                          embedding_destroy};

tool_status_t layer_create_embedding(params_t *params, size_t batch, size_t vocabulary, size_t out_elems, bool tied,
                                     cl_mem order, const char *weight_name, layer_t **layer_p)
{
    const uint64_t dims[2]   = {vocabulary, out_elems};
    embedding_t   *embedding = NULL;
    tool_status_t  status    = tool_alloc(1, sizeof(*embedding), "a layer", &embedding);

    if (status != TOOL_OK) {
        return status;
    }
    embedding->base =
        (layer_t){&embedding_ops, params->gpu, params, batch, params->count, 1, 1, out_elems, NULL, NULL, NULL, 0};
    embedding->order = order;
    embedding->tied  = tied;
    status           = params_add_within(params, weight_name, 2, dims, 0.1, &embedding->weight);
    if (status == TOOL_OK) {
        status = layer_allocate(&embedding->base);
    }
    if (status != TOOL_OK) {
        embedding_destroy(&embedding->base);
        return status;
    }
    *layer_p = &embedding->base;
    return TOOL_OK;
}
