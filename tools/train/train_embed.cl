/* Words to vectors, and the gradient of that.
 *
 *   words   count words of a batch, by their number in the vocabulary
 *   table   vocabulary x width, row-major: a vector for each word */

/* out[n][e] = table[words[n]][e]; count = batch * width */
__kernel void embed_words(uint count, __global const uint *words, __global const float *parameters, uint table_offset,
                          uint width, __global float *out)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        out[id] = parameters[table_offset + (size_t)words[id / width] * width + id % width];
    }
}

/* table_grad[w][e] += the sum of out_grad[n][e] over the places n where words[n] is w; rows of other words stay.
 *
 *   order   the places of the batch, those of one word side by side, each word's in the order of the batch
 *
 * The work-item at a word's first place sums over all of them: no atomics, one fixed order. count = batch * width */
__kernel void sum_by_word(uint count, __global const uint *words, __global const uint *order,
                          __global const float *out_grad, uint width, __global float *gradients, uint table_offset)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        uint  places = count / width;
        uint  at     = id / width;
        uint  column = id % width;
        uint  word   = words[order[at]];
        float sum    = 0.0f;

        if (at > 0 && words[order[at - 1]] == word) {
            return;
        }
        for (; at < places && words[order[at]] == word; ++at) {
            sum += out_grad[(size_t)order[at] * width + column];
        }
        gradients[table_offset + (size_t)word * width + column] += sum;
    }
}
