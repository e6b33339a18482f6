/* Gradients in 16 bits, as a program has them that computes in mixed precision: 1 is half precision, 2 bfloat16. To nearest even. */

#define IS_HALF(dtype_) ((dtype_) == 1)

/* out = scale * gradient, of elements first to first + count - 1 */
__kernel void narrow_gradients(uint count, uint first, __global const float *gradients, float scale, uint dtype,
                               __global half *out)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        const float x    = scale * gradients[first + id];
        const uint  bits = as_uint(x);

        if (IS_HALF(dtype)) {
            vstore_half_rte(x, first + id, out);
        } else {
            ((__global ushort *)out)[first + id] = (ushort)((isnan(x) ? bits | 0x400000u : bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
        }
    }
}

__kernel void widen_update(uint count, __global const half *update, uint dtype, __global float *out)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        out[id] = IS_HALF(dtype) ? vload_half(id, update) : as_float((uint)((__global const ushort *)update)[id] << 16);
    }
}
