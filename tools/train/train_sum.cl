/* Sums, each by one work-item in a fixed order. */

/* out[i] = sum over j < length of in[i][j]; count = rows */
__kernel void sum_rows(uint count, __global const float *in, uint length, __global float *out)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        float sum = 0.0f;

        for (uint j = 0; j < length; ++j) {
            sum += in[(size_t)id * length + j];
        }
        out[id] = sum;
    }
}

/* out[out_offset + i] = sum over n < batch of in[n][i]; count = width */
__kernel void sum_examples(uint count, __global const float *in, uint batch, __global float *out, uint out_offset)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        float sum = 0.0f;

        for (uint n = 0; n < batch; ++n) {
            sum += in[(size_t)n * count + id];
        }
        out[out_offset + id] = sum;
    }
}
