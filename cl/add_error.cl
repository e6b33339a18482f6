/* Error feedback from an error memory in bfloat16: M = g + e, over g.
 *
 * M is rows x cols, row-major, in the gradient's buffer; in a launch's places error memories are counted in elements. */
#include "bfloat.clh"
#include "ragged.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

kernel void add_error(PSGD_RAGGED_PARAMS)
{
    PSGD_FIND_TILE();
    global const ushort *e = (global const ushort *)error_mem + place.error_offset + (ulong)tile.row * item.cols;
    global float        *m = grad + (ulong)tile.row * item.cols;

    (void)error;
    for (uint row = 0; row < tile.rows; ++row, e += item.cols, m += item.cols) {
        FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, STORE(LOAD(m + j) + LOAD_BFLOATS(e + j), m + j););
    }
}
