#include "network.h"

#include <stdlib.h>
#include <string.h>

#include "kernels.h"

enum { SOFTMAX_WORDS_ITEMS = 64 }; /* MAX_ITEMS of train_softmax_words.cl */

/* The last layer so far, whose output the next one takes; NULL: the network's input. */
static layer_t *last_layer(const network_t *network)
{
    return network->num_layers > 0 ? network->layers[network->num_layers - 1] : NULL;
}

static tool_status_t add_linear(network_t *network, size_t out_elems, bool relu, const char *weight_name,
                                const char *bias_name)
{
    const layer_t *below  = last_layer(network);
    size_t         in     = below != NULL ? below->out_elems : IMAGE_PIXELS;
    tool_status_t  status = layer_create_linear(&network->params, network->batch, in, out_elems, relu, weight_name,
                                                bias_name, &network->layers[network->num_layers]);

    network->num_layers += status == TOOL_OK;
    return status;
}

static tool_status_t add_conv(network_t *network, const conv_shape_t *shape, const char *weight_name,
                              const char *bias_name)
{
    tool_status_t status = layer_create_conv(&network->params, network->batch, shape, weight_name, bias_name,
                                             &network->layers[network->num_layers]);

    network->num_layers += status == TOOL_OK;
    return status;
}

/* 784 - 256 - 128 - 10 at width 1 and depth 1; at depth N there are N layers of 128. */
static tool_status_t add_mlp(network_t *network, size_t width, size_t depth)
{
    static const char *const names[NETWORK_MAX_DEPTH + 2][2] = {
#define LINEAR_NAMES(n_) {"fc" #n_ ".weight", "fc" #n_ ".bias"}
        LINEAR_NAMES(1), LINEAR_NAMES(2), LINEAR_NAMES(3), LINEAR_NAMES(4), LINEAR_NAMES(5),
        LINEAR_NAMES(6), LINEAR_NAMES(7), LINEAR_NAMES(8), LINEAR_NAMES(9), LINEAR_NAMES(10),
#undef LINEAR_NAMES
    };
    tool_status_t status = add_linear(network, 256 * width, true, names[0][0], names[0][1]);

    for (size_t i = 1; i <= depth && status == TOOL_OK; ++i) {
        status = add_linear(network, 128 * width, true, names[i][0], names[i][1]);
    }
    return status == TOOL_OK ? add_linear(network, NUM_CLASSES, false, names[depth + 1][0], names[depth + 1][1])
                             : status;
}

/* 1 x 28 x 28 - 8 x 14 x 14 - 16 x 7 x 7 - 64 - 10 at width 1 */
static tool_status_t add_cnn(network_t *network, size_t width)
{
    const conv_shape_t first  = {1, IMAGE_SIDE, IMAGE_SIDE, 8 * width, 5, 2};
    const conv_shape_t second = {8 * width, 14, 14, 16 * width, 5, 2};
    tool_status_t      status = add_conv(network, &first, "conv1.weight", "conv1.bias");

    if (status == TOOL_OK) {
        status = add_conv(network, &second, "conv2.weight", "conv2.bias");
    }
    if (status == TOOL_OK) {
        status = add_linear(network, 64 * width, true, "fc1.weight", "fc1.bias");
    }
    if (status == TOOL_OK) {
        status = add_linear(network, NUM_CLASSES, false, "fc2.weight", "fc2.bias");
    }
    return status;
}

/* embedding - LSTM - LSTM - vocabulary */
static tool_status_t add_lstm(network_t *network, const lstm_shape_t *shape)
{
    static const lstm_names_t names[2] = {{"lstm1.weight_ih", "lstm1.weight_hh", "lstm1.bias"},
                                          {"lstm2.weight_ih", "lstm2.weight_hh", "lstm2.bias"}};
    params_t                 *params   = &network->params;
    const size_t              batch    = network->batch;
    tool_status_t status = layer_create_embedding(params, batch, shape->vocabulary, shape->embedding, shape->tied,
                                                  network->order, "embedding.weight", &network->layers[0]);

    network->num_layers += status == TOOL_OK;
    for (int i = 0; i < 2 && status == TOOL_OK; ++i) {
        status = layer_create_lstm(params, batch, shape->streams, last_layer(network)->out_elems, shape->hidden,
                                   &names[i], &network->layers[network->num_layers]);
        network->num_layers += status == TOOL_OK;
    }
    if (status == TOOL_OK) {
        layer_t **layer_p = &network->layers[network->num_layers];

        status = shape->tied ? layer_create_tied_linear(params, batch, shape->hidden, shape->vocabulary,
                                                        network->layers[0]->first_param, "softmax.bias", layer_p)
                             : layer_create_linear(params, batch, shape->hidden, shape->vocabulary, false,
                                                   "softmax.weight", "softmax.bias", layer_p);
        network->num_layers += status == TOOL_OK;
    }
    return status;
}

/* `input_elems` 4-byte elements go in for each example. */
static tool_status_t allocate_ends(network_t *network, size_t input_elems)
{
    tool_status_t status;

    status = gpu_alloc(network->gpu, network->batch * input_elems, sizeof(cl_float), "a batch", &network->input);
    if (status == TOOL_OK) {
        status = gpu_alloc(network->gpu, network->batch, sizeof(cl_uint), "a batch of labels", &network->targets);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(network->gpu, network->batch, sizeof(cl_float), "a batch of losses", &network->losses);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(network->gpu, network->batch, sizeof(cl_uint), "a batch of hits", &network->hits);
    }
    return status;
}

tool_status_t network_create(network_t *network, const gpu_t *gpu, model_t model, size_t width, size_t depth,
                             size_t batch)
{
    tool_status_t status;

    memset(network, 0, sizeof(*network));
    network->gpu        = gpu;
    network->params.gpu = gpu;
    network->batch      = batch;
    status              = allocate_ends(network, IMAGE_PIXELS);
    if (status == TOOL_OK) {
        status = model == MODEL_CNN ? add_cnn(network, width) : add_mlp(network, width, depth);
    }
    if (status == TOOL_OK) {
        status = params_allocate(&network->params);
    }
    return status;
}

tool_status_t network_create_lstm(network_t *network, const gpu_t *gpu, const lstm_shape_t *shape)
{
    tool_status_t status;

    memset(network, 0, sizeof(*network));
    network->gpu        = gpu;
    network->params.gpu = gpu;
    network->batch      = shape->streams * shape->places;
    status              = allocate_ends(network, 1);
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, network->batch, sizeof(cl_uint), "the order of words", &network->order);
    }
    if (status == TOOL_OK) {
        status = add_lstm(network, shape);
    }
    if (status == TOOL_OK) {
        status = params_allocate(&network->params);
    }
    return status;
}

void network_destroy(network_t *network)
{
    while (network->num_layers > 0) {
        layer_t *layer = network->layers[--network->num_layers];
        layer->ops->destroy(layer);
    }
    params_free(&network->params);
    gpu_free(network->input);
    gpu_free(network->order);
    gpu_free(network->targets);
    gpu_free(network->losses);
    gpu_free(network->hits);
    network->input = network->order = network->targets = network->losses = network->hits = NULL;
}

size_t network_state_elems(const network_t *network)
{
    size_t elems = 0;

    for (size_t i = 0; i < network->num_layers; ++i) {
        elems += network->layers[i]->state_elems;
    }
    return elems;
}

tool_status_t network_zero_state(const network_t *network)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < network->num_layers && status == TOOL_OK; ++i) {
        const layer_t *layer = network->layers[i];

        status =
            layer->state_elems > 0 ? gpu_zero(network->gpu, (span_t){layer->state, 0}, layer->state_elems) : TOOL_OK;
    }
    return status;
}

tool_status_t network_read_state(const network_t *network, float *state)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < network->num_layers && status == TOOL_OK; ++i) {
        const layer_t *layer = network->layers[i];

        if (layer->state_elems > 0) {
            status = gpu_read(network->gpu, layer->state, state, layer->state_elems * sizeof(*state));
            state += layer->state_elems;
        }
    }
    return status;
}

tool_status_t network_write_state(const network_t *network, const float *state)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < network->num_layers && status == TOOL_OK; ++i) {
        const layer_t *layer = network->layers[i];

        if (layer->state_elems > 0) {
            status = gpu_write(network->gpu, layer->state, state, layer->state_elems * sizeof(*state));
            state += layer->state_elems;
        }
    }
    return status;
}

/* What layer `index` takes. */
static cl_mem input_of(const network_t *network, size_t index)
{
    return index > 0 ? network->layers[index - 1]->output : network->input;
}

/* Over a vocabulary: a work-group for each word of the batch. */
static tool_status_t enqueue_softmax_words(const network_t *network, const layer_t *top)
{
    const size_t most  = network->gpu->most_items[GPU_KERNEL_SOFTMAX_WORDS];
    const size_t items = most < SOFTMAX_WORDS_ITEMS ? most : SOFTMAX_WORDS_ITEMS;
    cl_uint      words = (cl_uint)top->out_elems;

    return GPU_LAUNCH_GROUPS(network->gpu, GPU_KERNEL_SOFTMAX_WORDS, network->batch, items, GPU_ARG(top->output),
                             GPU_ARG(network->targets), GPU_ARG(words), GPU_ARG(top->output_grad),
                             GPU_ARG(network->losses));
}

/* Loss, hits, and the loss's gradient by the logits. */
static tool_status_t enqueue_softmax(const network_t *network, const layer_t *top, size_t scored)
{
    cl_uint classes      = (cl_uint)top->out_elems;
    cl_uint scored_count = (cl_uint)scored;

    return GPU_LAUNCH(network->gpu, GPU_KERNEL_SOFTMAX, network->batch, GPU_ARG(top->output), GPU_ARG(network->targets),
                      GPU_ARG(classes), GPU_ARG(scored_count), GPU_ARG(top->output_grad), GPU_ARG(network->losses),
                      GPU_ARG(network->hits));
}

tool_status_t network_enqueue_forward(network_t *network, size_t scored)
{
    const layer_t *top    = network->layers[network->num_layers - 1];
    tool_status_t  status = TOOL_OK;

    for (size_t i = 0; i < network->num_layers && status == TOOL_OK; ++i) {
        status = network->layers[i]->ops->forward(network->layers[i], input_of(network, i));
    }
    if (status != TOOL_OK) {
        return status;
    }
    return network->order != NULL ? enqueue_softmax_words(network, top) : enqueue_softmax(network, top, scored);
}

tool_status_t network_enqueue_backward(network_t *network, network_ready_fn ready, void *user)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = network->num_layers; i-- > 0 && status == TOOL_OK;) {
        layer_t *layer = network->layers[i];

        status = layer->ops->backward_params(layer, input_of(network, i));
        if (status == TOOL_OK && ready != NULL) {
            status = ready(user, layer->first_param, layer->num_params);
        }
        if (status == TOOL_OK && i > 0) { /* nobody asks for the input's gradient */
            status = layer->ops->backward_input(layer, network->layers[i - 1]->output_grad);
        }
    }
    return status;
}

tool_status_t network_take_score(network_t *network, double *loss_p, double *hits_p)
{
    size_t        batch  = network->batch;
    float        *losses = NULL;
    cl_uint      *hits   = NULL;
    double        loss   = 0.0;
    double        right  = 0.0;
    tool_status_t status = tool_alloc(batch, sizeof(*losses), "a batch of losses", &losses);

    if (status == TOOL_OK) {
        status = tool_alloc(batch, sizeof(*hits), "a batch of hits", &hits);
    }
    if (status == TOOL_OK) {
        status = gpu_read(network->gpu, network->losses, losses, batch * sizeof(*losses));
    }
    if (status == TOOL_OK) {
        status = gpu_read(network->gpu, network->hits, hits, batch * sizeof(*hits));
    }
    for (size_t i = 0; i < batch && status == TOOL_OK; ++i) {
        loss += losses[i];
        right += hits[i];
    }
    if (status == TOOL_OK) {
        status = gpu_zero(network->gpu, (span_t){network->losses, 0}, batch);
    }
    if (status == TOOL_OK) {
        status = gpu_zero(network->gpu, (span_t){network->hits, 0}, batch); /* a uint zero has the bits of a float's */
    }
    free(losses);
    free(hits);
    if (status == TOOL_OK) {
        *loss_p = loss;
        *hits_p = right;
    }
    return status;
}
