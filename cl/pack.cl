/* The tensors that travel uncompressed, from where they lie into one array, and back. An item is one tensor: 1 row of
 * `cols` elements, at p_offset of the array. */
#include "ragged.clh"
#include "vector.clh"

/* to[j] = from[j] for the columns of the tile */
static void copy(global const float *from, global float *to, ulong begin, ulong end)
{
    FOR_LANES(j, begin, end, STORE(LOAD(from + j), to + j);)
    ;
}

kernel void pack(PSGD_RAGGED_PARAMS, global float *packed_mem, ulong packed_offset)
{
    PSGD_FIND_TILE();
    (void)error;
    copy(grad, packed_mem + packed_offset + item.p_offset, tile.col, (ulong)tile.col + tile.cols);
}

kernel void unpack(PSGD_RAGGED_PARAMS, global const float *packed_mem, ulong packed_offset)
{
    PSGD_FIND_TILE();
    (void)error;
    copy(packed_mem + packed_offset + item.p_offset, grad, tile.col, (ulong)tile.col + tile.cols);
}
