/* The batch of a step, picked from the training set by index.
 *
 *   order   the examples in the order in which they are to be seen; the batch is order[first .. first + batch) */

/* input[n][i] = images[order[first + n]][i] * scale + shift, for n < batch, i < pixels; count = batch * pixels */
__kernel void gather_images(uint count, __global const uchar *images, __global const uint *order, uint first,
                            uint pixels, float scale, float shift, __global float *input)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        size_t image = order[first + id / pixels];
        input[id]    = (float)images[image * pixels + id % pixels] * scale + shift;
    }
}

/* targets[n] = labels[order[first + n]]; count = batch */
__kernel void gather_labels(uint count, __global const uchar *labels, __global const uint *order, uint first,
                            __global uint *targets)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        targets[id] = labels[order[first + id]];
    }
}
