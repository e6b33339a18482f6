/* Bias, ReLU and 2x2 max pooling of a convolution, in one pass: the greatest of four is the same before and behind
 * both.
 *
 *   z   batch x channels x 2 height x 2 width   of the convolution
 *   y   batch x channels x height x width */

/* y[n][c][i][j] = max(0, bias[c] + the greatest of the four z); choice = which of them, 0 to 3, the first where
 * several are equal; a NaN stays one. count = batch * channels * height * width */
__kernel void bias_relu_pool(uint count, __global const float *z, __global const float *parameters, uint bias_offset,
                             uint channels, uint height, uint width, __global float *y, __global uchar *choice)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        uint   column  = id % width;
        uint   row     = id / width; /* of all images and channels, one below the other */
        size_t corner  = (size_t)row * 4 * width + 2 * column;
        uint   channel = row / height % channels;
        float  best    = z[corner];
        uint   chosen  = 0;

        for (uint k = 1; k < 4; ++k) {
            float other = z[corner + (k & 1) + (size_t)(k >> 1) * 2 * width];
            if (other > best || other != other) {
                best   = other;
                chosen = k;
            }
        }
        best += parameters[bias_offset + channel];
        y[id]      = best < 0.0f ? 0.0f : best;
        choice[id] = (uchar)chosen;
    }
}

/* z_grad = y_grad where the ReLU let it pass, at the chosen one of the four; 0 at the others. y_grad keeps what
 * passed, for the bias. count = batch * channels * height * width */
__kernel void bias_relu_pool_backward(uint count, __global const float *y, __global const uchar *choice, uint width,
                                      __global float *y_grad, __global float *z_grad)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        uint   column = id % width;
        uint   row    = id / width;
        size_t corner = (size_t)row * 4 * width + 2 * column;
        float  passed = y[id] > 0.0f ? y_grad[id] : 0.0f;

        for (uint k = 0; k < 4; ++k) {
            z_grad[corner + (k & 1) + (size_t)(k >> 1) * 2 * width] = k == choice[id] ? passed : 0.0f;
        }
        y_grad[id] = passed;
    }
}
