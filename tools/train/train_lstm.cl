/* One place in time of an LSTM layer (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000), for
 * all streams of the batch. H: hidden units; row: time * streams + stream.
 *
 *   gates    rows x 4 H             in: W_ih x + W_hh h of the place before; out: i, f, g, o, H each, side by side
 *   cells    (rows + streams) x H   c; the first `streams` rows are what the segment began with, so the place
 *                                   before row's is row, and row's own is row + streams
 *   before   (rows + streams) x H   h, by the same rule
 *   output   rows x H               h, without those */

/* Of the bias of the forget gate: memory lasts from the beginning on (Jozefowicz et al. 2015). */
#define FORGET_BIAS 1.0f

float sigmoid(float x)
{
    return 1.0f / (1.0f + exp(-x));
}

/*   i = sigmoid(z_i + b_i)   f = sigmoid(z_f + b_f + 1)   g = tanh(z_g + b_g)   o = sigmoid(z_o + b_o)
 *   c = f c_before + i g     h = o tanh(c)
 *
 * count = streams * H */
__kernel void lstm_cell(uint count, __global float *gates, __global const float *parameters, uint bias_offset,
                        uint first_row, uint streams, uint hidden, __global float *cells, __global float *before,
                        __global float *output)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        uint                  unit = id % hidden;
        uint                  row  = first_row + id / hidden;
        __global float       *z    = gates + (size_t)row * 4 * hidden + unit;
        __global const float *bias = parameters + bias_offset + unit;
        size_t                here = (size_t)row * hidden + unit;
        size_t                next = (size_t)(row + streams) * hidden + unit;
        float                 i    = sigmoid(z[0] + bias[0]);
        float                 f    = sigmoid(z[hidden] + bias[hidden] + FORGET_BIAS);
        float                 g    = tanh(z[2 * hidden] + bias[2 * hidden]);
        float                 o    = sigmoid(z[3 * hidden] + bias[3 * hidden]);
        float                 c    = f * cells[here] + i * g;
        float                 h    = o * tanh(c);

        z[0]          = i;
        z[hidden]     = f;
        z[2 * hidden] = g;
        z[3 * hidden] = o;
        cells[next]   = c;
        before[next]  = h;
        output[here]  = h;
    }
}

/* From output_grad (of h, the place behind included) and cell_grad (streams x H, of c by the place behind) the gradients
 * of the four sums, which take the gates' place, and cell_grad for the place before.
 *
 *   dc = cell_grad + dh o (1 - tanh(c)^2)
 *   z_i' = dc g i (1 - i)   z_f' = dc c_before f (1 - f)   z_g' = dc i (1 - g^2)   z_o' = dh tanh(c) o (1 - o)
 *   cell_grad = dc f
 *
 * count = streams * H */
__kernel void lstm_cell_backward(uint count, __global float *gates, uint first_row, uint streams, uint hidden,
                                 __global const float *cells, __global const float *output_grad,
                                 __global float *cell_grad)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        uint            unit        = id % hidden;
        uint            row         = first_row + id / hidden;
        __global float *z           = gates + (size_t)row * 4 * hidden + unit;
        size_t          here        = (size_t)row * hidden + unit;
        float           cell_before = cells[here];
        float           squashed    = tanh(cells[(size_t)(row + streams) * hidden + unit]);
        float           i = z[0], f = z[hidden], g = z[2 * hidden], o = z[3 * hidden];
        float           dh = output_grad[here];
        float           dc = cell_grad[id] + dh * o * (1.0f - squashed * squashed);

        z[0]          = dc * g * i * (1.0f - i);
        z[hidden]     = dc * cell_before * f * (1.0f - f);
        z[2 * hidden] = dc * i * (1.0f - g * g);
        z[3 * hidden] = dh * squashed * o * (1.0f - o);
        cell_grad[id] = dc * f;
    }
}
