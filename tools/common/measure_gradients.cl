/* Gradients that host and device make alike: a hash of the key and the element's index, as a float. */

uint hash_element(uint key, ulong index)
{
    uint x = (uint)index * 0x9E3779B1u + (uint)(index >> 32) * 0x85EBCA77u + key;

    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

/* out[i] = value(key, first + i) for i < count, in [-1, 1) and a multiple of 2^-23: no operation here rounds. */
kernel void fill_gradients(uint count, uint key, ulong first, global float *out)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        out[id] = (float)((int)(hash_element(key, first + id) >> 8) - 0x800000) * 0x1p-23f;
    }
}

/* The same in 16 bits, as multiples of 2^-7, which half precision (is_half 1) and bfloat16 (0) hold exactly. */
kernel void fill_half_gradients(uint count, uint key, ulong first, uint is_half, global half *out)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        const float value = (float)((int)(hash_element(key, first + id) >> 24) - 0x80) * 0x1p-7f;

        if (is_half != 0) {
            vstore_half(value, id, out);
        } else {
            ((global ushort *)out)[id] = (ushort)(as_uint(value) >> 16);
        }
    }
}
