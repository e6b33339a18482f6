/* Softmax and cross-entropy, one work-item an example.
 *
 *   z           batch x classes         logits
 *   z_grad      batch x classes         of the mean loss over the batch: (softmax(z) - onehot(target)) / batch
 *   losses[n]   += -log softmax(z[n])[target[n]], for n < scored
 *   hits[n]     += 1 where the greatest logit is the target's, for n < scored; a NaN is never greatest */
__kernel void softmax_cross_entropy(uint count, __global const float *z, __global const uint *targets, uint classes,
                                    uint scored, __global float *z_grad, __global float *losses, __global uint *hits)
{
    uint id = (uint)get_global_id(0);

    if (id < count) {
        __global const float *logits = z + (size_t)id * classes;
        __global float       *grad   = z_grad + (size_t)id * classes;
        uint                  target = targets[id];
        float                 top    = logits[0];
        uint                  best   = 0;
        float                 sum    = 0.0f;

        for (uint c = 1; c < classes; ++c) {
            if (logits[c] > top) {
                top  = logits[c];
                best = c;
            }
        }
        for (uint c = 0; c < classes; ++c) {
            sum += exp(logits[c] - top);
        }
        for (uint c = 0; c < classes; ++c) {
            grad[c] = (exp(logits[c] - top) / sum - (c == target ? 1.0f : 0.0f)) / (float)count;
        }
        if (id < scored) {
            losses[id] += log(sum) - (logits[target] - top);
            hits[id] += best == target && sum == sum ? 1 : 0;
        }
    }
}
