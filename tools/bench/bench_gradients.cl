/* Gradients that host and device make alike: a hash of the key and the element's index, as a float. */

/* out[i] = value(key, first + i) for i < count, in [-1, 1) and a multiple of 2^-23: no operation here rounds. */
kernel void fill_gradients(uint count, uint key, ulong first, global float *out)
{
    const uint id = (uint)get_global_id(0);

    if (id < count) {
        const ulong index = first + id;
        uint        x     = (uint)index * 0x9E3779B1u + (uint)(index >> 32) * 0x85EBCA77u + key;

        x ^= x >> 16;
        x *= 0x7FEB352Du;
        x ^= x >> 15;
        x *= 0x846CA68Bu;
        x ^= x >> 16;
        out[id] = (float)((int)(x >> 8) - 0x800000) * 0x1p-23f;
    }
}
