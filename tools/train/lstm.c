/* LSTM layers, over a segment of time (train_lstm.cl has the formulas of one place). B: streams; H: hidden units;
 * T: places in time; rows of all places are T B. */
#include "layer.h"

#include <math.h>

#include "blas.h"
#include "kernels.h"

typedef struct lstm {
    layer_t base;
    size_t  streams, hidden, times;
    size_t  input_weight, hidden_weight, bias; /* indices of parameters */
    cl_mem  gates;                             /* T B x 4 H; on the way back, the gradients of their sums */
    cl_mem  cells, before;                     /* (T + 1) B x H: c and h, what the segment began with first */
    cl_mem  cell_grad;                         /* B x H */
} lstm_t;

static size_t elems_of_place(const lstm_t *lstm)
{
    return lstm->streams * lstm->hidden;
}

static span_t gates_at(const lstm_t *lstm, size_t time)
{
    return (span_t){lstm->gates, time * 4 * elems_of_place(lstm)};
}

/* Of (T + 1) B x H: what place `time` began with; T: what the last one has left. */
static span_t place_at(const lstm_t *lstm, cl_mem mem, size_t time)
{
    return (span_t){mem, time * elems_of_place(lstm)};
}

/* The state into the first places, or out of the last ones. */
static tool_status_t copy_state(const lstm_t *lstm, bool out)
{
    const gpu_t  *gpu = lstm->base.gpu;
    const span_t  h = {lstm->base.state, 0}, c = {lstm->base.state, elems_of_place(lstm)};
    const size_t  count   = elems_of_place(lstm);
    const size_t  time    = out ? lstm->times : 0;
    const span_t  h_place = place_at(lstm, lstm->before, time), c_place = place_at(lstm, lstm->cells, time);
    tool_status_t status = gpu_copy(gpu, out ? h_place : h, out ? h : h_place, count);

    return status == TOOL_OK ? gpu_copy(gpu, out ? c_place : c, out ? c : c_place, count) : status;
}

/* gates += h W_hh^T, and from them c and h of this place */
static tool_status_t forward_place(const lstm_t *lstm, size_t time)
{
    const layer_t *layer       = &lstm->base;
    cl_uint        bias_offset = (cl_uint)params_value(layer->params, lstm->bias).offset;
    cl_uint        first_row   = (cl_uint)(time * lstm->streams);
    cl_uint        streams     = (cl_uint)lstm->streams;
    cl_uint        hidden      = (cl_uint)lstm->hidden;
    tool_status_t  status;

    status = blas_add_product(layer->gpu, BLAS_NT, lstm->streams, 4 * lstm->hidden, lstm->hidden,
                              place_at(lstm, lstm->before, time), params_value(layer->params, lstm->hidden_weight),
                              gates_at(lstm, time));
    if (status != TOOL_OK) {
        return status;
    }
    return GPU_LAUNCH(layer->gpu, GPU_KERNEL_LSTM_CELL, elems_of_place(lstm), GPU_ARG(lstm->gates),
                      GPU_ARG(layer->params->values), GPU_ARG(bias_offset), GPU_ARG(first_row), GPU_ARG(streams),
                      GPU_ARG(hidden), GPU_ARG(lstm->cells), GPU_ARG(lstm->before), GPU_ARG(layer->output));
}

/* gates = input W_ih^T, all places at once; then place by place */
static tool_status_t lstm_forward(layer_t *layer, cl_mem input)
{
    const lstm_t *lstm   = (const lstm_t *)layer;
    tool_status_t status = copy_state(lstm, false);

    if (status == TOOL_OK) {
        status = blas_product(layer->gpu, BLAS_NT, layer->batch, 4 * lstm->hidden, layer->in_elems, (span_t){input, 0},
                              params_value(layer->params, lstm->input_weight), gates_at(lstm, 0));
    }
    for (size_t time = 0; time < lstm->times && status == TOOL_OK; ++time) {
        status = forward_place(lstm, time);
    }
    return status == TOOL_OK ? copy_state(lstm, true) : status;
}

/* The gradients d of this place's sums, and what they add to the gradient of the h before: output_grad += d W_hh */
static tool_status_t backward_place(const lstm_t *lstm, size_t time)
{
    const layer_t *layer     = &lstm->base;
    cl_uint        first_row = (cl_uint)(time * lstm->streams);
    cl_uint        streams   = (cl_uint)lstm->streams;
    cl_uint        hidden    = (cl_uint)lstm->hidden;
    tool_status_t  status;

    status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_LSTM_CELL_BACKWARD, elems_of_place(lstm), GPU_ARG(lstm->gates),
                        GPU_ARG(first_row), GPU_ARG(streams), GPU_ARG(hidden), GPU_ARG(lstm->cells),
                        GPU_ARG(layer->output_grad), GPU_ARG(lstm->cell_grad));
    if (status != TOOL_OK || time == 0) { /* truncated: nothing goes back into the segment before */
        return status;
    }
    return blas_add_product(layer->gpu, BLAS_NN, lstm->streams, lstm->hidden, 4 * lstm->hidden, gates_at(lstm, time),
                            params_value(layer->params, lstm->hidden_weight),
                            place_at(lstm, layer->output_grad, time - 1));
}

/* With d (T B x 4 H): W_ih' = d^T input, W_hh' = d^T (h of the places before), b' = the column sums of d */
static tool_status_t lstm_backward_params(layer_t *layer, cl_mem input)
{
    const lstm_t *lstm        = (const lstm_t *)layer;
    cl_uint       rows        = (cl_uint)layer->batch;
    cl_uint       bias_offset = (cl_uint)params_grad(layer->params, lstm->bias).offset;
    tool_status_t status      = gpu_zero(layer->gpu, (span_t){lstm->cell_grad, 0}, elems_of_place(lstm));

    for (size_t time = lstm->times; time-- > 0 && status == TOOL_OK;) {
        status = backward_place(lstm, time);
    }
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_EXAMPLES, 4 * lstm->hidden, GPU_ARG(lstm->gates), GPU_ARG(rows),
                            GPU_ARG(layer->params->grads), GPU_ARG(bias_offset));
    }
    if (status == TOOL_OK) {
        status = blas_product(layer->gpu, BLAS_TN, 4 * lstm->hidden, lstm->hidden, layer->batch, gates_at(lstm, 0),
                              place_at(lstm, lstm->before, 0), params_grad(layer->params, lstm->hidden_weight));
    }
    if (status == TOOL_OK) {
        status = blas_product(layer->gpu, BLAS_TN, 4 * lstm->hidden, layer->in_elems, layer->batch, gates_at(lstm, 0),
                              (span_t){input, 0}, params_grad(layer->params, lstm->input_weight));
    }
    return status;
}

/* input_grad = d W_ih */
static tool_status_t lstm_backward_input(layer_t *layer, cl_mem input_grad)
{
    const lstm_t *lstm = (const lstm_t *)layer;

    return blas_product(layer->gpu, BLAS_NN, layer->batch, layer->in_elems, 4 * lstm->hidden, gates_at(lstm, 0),
                        params_value(layer->params, lstm->input_weight), (span_t){input_grad, 0});
}

static void lstm_destroy(layer_t *layer)
{
    lstm_t *lstm = (lstm_t *)layer;

    gpu_free(lstm->gates);
    gpu_free(lstm->cells);
    gpu_free(lstm->before);
    gpu_free(lstm->cell_grad);
    layer_free(layer);
}

static const layer_ops_t lstm_ops = {lstm_forward, lstm_backward_params, lstm_backward_input, lstm_destroy};

static tool_status_t add_params(params_t *params, const lstm_names_t *names, lstm_t *lstm)
{
    const size_t   hidden         = lstm->hidden;
    const double   bound          = 1.0 / sqrt((double)hidden); /* as torch.nn.LSTM */
    const uint64_t input_dims[2]  = {4 * hidden, lstm->base.in_elems};
    const uint64_t hidden_dims[2] = {4 * hidden, hidden};
    tool_status_t  status;

    status = params_add_within(params, names->input_weight, 2, input_dims, bound, &lstm->input_weight);
    if (status == TOOL_OK) {
        status = params_add_within(params, names->hidden_weight, 2, hidden_dims, bound, &lstm->hidden_weight);
    }
    return status == TOOL_OK ? params_add(params, names->bias, 1, hidden_dims, 0, &lstm->bias) : status;
}

static tool_status_t allocate(lstm_t *lstm)
{
    const gpu_t  *gpu    = lstm->base.gpu;
    const size_t  place  = elems_of_place(lstm);
    tool_status_t status = layer_allocate(&lstm->base);

    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, lstm->base.state_elems, sizeof(float), "an LSTM's state", &lstm->base.state);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, lstm->times * 4 * place, sizeof(float), "an LSTM's gates", &lstm->gates);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, (lstm->times + 1) * place, sizeof(float), "an LSTM's cells", &lstm->cells);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, (lstm->times + 1) * place, sizeof(float), "an LSTM's hidden state", &lstm->before);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, place, sizeof(float), "the gradient of an LSTM's cells", &lstm->cell_grad);
    }
    return status;
}

tool_status_t layer_create_lstm(params_t *params, size_t batch, size_t streams, size_t in_elems, size_t hidden,
                                const lstm_names_t *names, layer_t **layer_p)
{
    lstm_t       *lstm   = NULL;
    tool_status_t status = tool_alloc(1, sizeof(*lstm), "a layer", &lstm);

    if (status != TOOL_OK) {
        return status;
    }
    lstm->base    = (layer_t){&lstm_ops, params->gpu, params, batch, params->count, 3,
                              in_elems,  hidden,      NULL,   NULL,  NULL,          2 * streams * hidden};
    lstm->streams = streams;
    lstm->hidden  = hidden;
    lstm->times   = batch / streams;
    status        = add_params(params, names, lstm);
    if (status == TOOL_OK) {
        status = allocate(lstm);
    }
    if (status != TOOL_OK) {
        lstm_destroy(&lstm->base);
        return status;
    }
    *layer_p = &lstm->base;
    return TOOL_OK;
}
