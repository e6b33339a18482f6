/* Bias and ReLU of a fully connected layer, y: batch x width. */

/* y[n][i] = max(y[n][i] + bias[i], lowest), where lowest is 0 (ReLU) or -INFINITY (none); a NaN stays one.
 * count = batch * width */
__kernel void add_bias(uint count, __global float *y, __global const float *parameters, uint bias_offset, uint width,
                       float lowest)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        float value = y[id] + parameters[bias_offset + id % width];
        y[id]       = value < lowest ? lowest : value;
    }
}

/* y_grad[n][i] = 0 where y[n][i], behind the ReLU, is not positive; count = batch * width */
__kernel void mask_by_relu(uint count, __global const float *y, __global float *y_grad)
{
    uint id = (uint)get_global_id(0);

    if (id < count && !(y[id] > 0.0f)) {
        y_grad[id] = 0.0f;
    }
}
