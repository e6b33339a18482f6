/* Softmax and cross-entropy over a vocabulary: one work-group a row, since rows are long.
 *
 *   z           rows x words    logits
 *   z_grad      rows x words    of the mean loss over the rows: (softmax(z) - onehot(target)) / rows; 0 in a row whose
 *                               target is no word
 *   losses[n]   += -log softmax(z[n])[target[n]], where the target is a word
 *
 * Each work-item takes every group-size-th word; what they have found is put together in the order of work-items. */

#define MAX_ITEMS 64

__kernel void softmax_words(__global const float *z, __global const uint *targets, uint words, __global float *z_grad,
                            __global float *losses)
{
    __local float         parts[MAX_ITEMS];
    uint                  row    = (uint)get_group_id(0);
    uint                  item   = (uint)get_local_id(0);
    uint                  items  = (uint)get_local_size(0);
    __global const float *logits = z + (size_t)row * words;
    __global float       *grad   = z_grad + (size_t)row * words;
    uint                  target = targets[row];
    float                 part   = -INFINITY;
    float                 top, sum, scale;

    for (uint w = item; w < words; w += items) {
        part = fmax(part, logits[w]);
    }
    parts[item] = part;
    barrier(CLK_LOCAL_MEM_FENCE);
    top = parts[0];
    for (uint k = 1; k < items; ++k) {
        top = fmax(top, parts[k]);
    }
    barrier(CLK_LOCAL_MEM_FENCE); /* all have read the parts before they are written again */
    part = 0.0f;
    for (uint w = item; w < words; w += items) {
        float e = exp(logits[w] - top);

        grad[w] = e;
        part += e;
    }
    parts[item] = part;
    barrier(CLK_LOCAL_MEM_FENCE);
    sum = 0.0f;
    for (uint k = 0; k < items; ++k) {
        sum += parts[k];
    }
    scale = target < words ? 1.0f / (sum * (float)get_num_groups(0)) : 0.0f;
    for (uint w = item; w < words; w += items) {
        grad[w] = grad[w] * scale - (w == target ? 1.0f / (float)get_num_groups(0) : 0.0f);
    }
    if (item == 0 && target < words) {
        losses[row] += log(sum) - (logits[target] - top);
    }
}
