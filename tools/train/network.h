/* The models: layers from a batch of images, or of words, to logits, and the loss behind them. */
#ifndef PSGD_TRAIN_NETWORK_H
#define PSGD_TRAIN_NETWORK_H

#include "dataset.h"
#include "gpu.h"
#include "layer.h"
#include "options.h"
#include "params.h"

enum { NETWORK_MAX_DEPTH = 8, NETWORK_MAX_LAYERS = NETWORK_MAX_DEPTH + 2 };

typedef struct network {
    const gpu_t *gpu;
    size_t       batch; /* examples of a step: images, or words */
    params_t     params;
    layer_t     *layers[NETWORK_MAX_LAYERS];
    size_t       num_layers;
    cl_mem       input;   /* batch x IMAGE_PIXELS floats, or batch words (uint) */
    cl_mem       order;   /* of words: their places, as sum_by_word (train_embed.cl) asks for; NULL: of images */
    cl_mem       targets; /* batch classes (uint) */
    cl_mem losses; /* batch floats: summed over the batches scored since the last reading, by place in the batch */
    cl_mem       hits;   /* batch uint: how many of them were classified rightly; of words nothing is counted */
} network_t;

/* A language model: embedding, two LSTM layers, softmax over the vocabulary. A batch is `places` words of each of
 * `streams` texts: example = place * streams + stream. */
typedef struct lstm_shape {
    size_t vocabulary, embedding, hidden;
    size_t streams, places;
    bool   tied; /* the softmax's weight is the embedding; then embedding = hidden */
} lstm_shape_t;

/* The buffers, the layers and their parameters (all zero: see params_init()). `width` is what the hidden layers and the
 * filters are multiplied by, `depth` (1 to NETWORK_MAX_DEPTH) how many there are of the mlp's last hidden layer.
 * The network must not move: its layers point to its parameters. Freed by network_destroy(),
 * also after an error. */
tool_status_t network_create(network_t *network, const gpu_t *gpu, model_t model, size_t width, size_t depth,
                             size_t batch);
tool_status_t network_create_lstm(network_t *network, const gpu_t *gpu, const lstm_shape_t *shape);
void          network_destroy(network_t *network);

/* What goes on from one batch to the next, of all layers together; 0 elements: nothing. Reading and writing wait. */
size_t        network_state_elems(const network_t *network);
tool_status_t network_zero_state(const network_t *network);
tool_status_t network_read_state(const network_t *network, float *state);
tool_status_t network_write_state(const network_t *network, const float *state);

/* Logits, loss and the loss's gradient by the logits, of the batch in `input` and `targets`; of images the first `scored`
 * count in losses and hits, of words those whose target is a word. */
tool_status_t network_enqueue_forward(network_t *network, size_t scored);

/* Is told that what computes the gradients of parameters first to first + count - 1 has been enqueued. */
typedef tool_status_t (*network_ready_fn)(void *user, size_t first, size_t count);

/* The gradients of all parameters, of the mean loss over the batch, from the last layer to the first. Each layer's are handed to
 * `ready` (NULL: to nobody) before the gradient that the layer below it needs is enqueued. Waits for nothing. */
tool_status_t network_enqueue_backward(network_t *network, network_ready_fn ready, void *user);

/* Reads and resets what was scored: the sum of losses, and how many were right. Waits. */
tool_status_t network_take_score(network_t *network, double *loss_p, double *hits_p);

#endif
