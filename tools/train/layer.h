/* A layer: from one batch of activations to the next, and back. A new kind of layer is a file of its own with a create
 * function here.
 *
 * All activations are batch x elems, row-major. A layer owns its output and its output's gradient. All work is
 * enqueued. */
#ifndef PSGD_TRAIN_LAYER_H
#define PSGD_TRAIN_LAYER_H

#include <stdbool.h>
#include <stddef.h>

#include "gpu.h"
#include "params.h"

typedef struct layer layer_t;

typedef struct layer_ops {
    /* output = f(input); input: batch x in_elems */
    tool_status_t (*forward)(layer_t *layer, cl_mem input);

    /* From output_grad (which it may overwrite) the gradients of the parameters, of the loss as it is, nothing added
     * to what was there. `input` is as in forward. */
    tool_status_t (*backward_params)(layer_t *layer, cl_mem input);

    /* Behind that: input_grad, batch x in_elems. */
    tool_status_t (*backward_input)(layer_t *layer, cl_mem input_grad);

    void (*destroy)(layer_t *layer);
} layer_ops_t;

/* What all kinds have in common; the first member of each. */
struct layer {
    const layer_ops_t *ops;
    const gpu_t       *gpu;
    const params_t    *params;
    size_t             batch;
    size_t             first_param, num_params; /* of `params`, side by side */
    size_t             in_elems, out_elems; /* of one example */
    cl_mem             output;              /* batch x out_elems */
    cl_mem             output_grad;         /* batch x out_elems */
    cl_mem             state;               /* what goes on from one batch to the next; NULL: nothing */
    size_t             state_elems;
};

/* Fully connected: output = input W^T + b, with a ReLU or not. Parameters: weight_name out x in, bias_name out. */
tool_status_t layer_create_linear(params_t *params, size_t batch, size_t in_elems, size_t out_elems, bool relu,
                                  const char *weight_name, const char *bias_name, layer_t **layer_p);

/* The same without a ReLU, with a weight (out x in) that is another layer's too, which hands its gradient on. This one's
 * backward_params() comes first, and writes it. Parameters: bias_name out. */
tool_status_t layer_create_tied_linear(params_t *params, size_t batch, size_t in_elems, size_t out_elems, size_t weight,
                                       const char *bias_name, layer_t **layer_p);

/* Vectors of words: output[n] = row words[n] of a table, where the input is the batch's words (uint). Parameters:
 * weight_name vocabulary x out. `order`: the places of the batch in the order that sum_by_word (train_embed.cl) asks for.
 * tied: a layer_create_tied_linear() has the weight too, so the gradient is added to what that has written. */
tool_status_t layer_create_embedding(params_t *params, size_t batch, size_t vocabulary, size_t out_elems, bool tied,
                                     cl_mem order, const char *weight_name, layer_t **layer_p);

/* LSTM over `streams` texts at a time: a batch is batch / streams places in time of each, row = time * streams + stream.
 * State: h and c of the last place (2 x streams x hidden), where the next batch goes on; gradients end at the batch's
 * beginning. Parameters, with the gates i, f, g, o: 4 hidden x in, 4 hidden x hidden, 4 hidden. */
typedef struct lstm_names {
    const char *input_weight, *hidden_weight, *bias;
} lstm_names_t;

tool_status_t layer_create_lstm(params_t *params, size_t batch, size_t streams, size_t in_elems, size_t hidden,
                                const lstm_names_t *names, layer_t **layer_p);

/* The shape of a convolution's input, and of its filters. */
typedef struct conv_shape {
    size_t channels, height, width; /* input: batch x channels x height x width */
    size_t filters, kernel;         /* weight: filters x channels x kernel x kernel */
    size_t padding;                 /* zeros on each side */
} conv_shape_t;

/* Convolution, bias, ReLU, 2x2 max pooling: output is batch x filters x half the convolution's height x half its
 * width, which must both be even. Parameters: weight_name filters x channels x kernel x kernel, bias_name filters. */
tool_status_t layer_create_conv(params_t *params, size_t batch, const conv_shape_t *shape, const char *weight_name,
                                const char *bias_name, layer_t **layer_p);

/* For the kinds: output and output_grad. */
tool_status_t layer_allocate(layer_t *layer);
void          layer_free(layer_t *layer);

#endif
