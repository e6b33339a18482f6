/* sums[tile] = the sum of squares of the matrix in one tile: of the gradients' buffers, or of the error memory
 * (PSGD_OF_ERRORS 1). The host adds up the tiles of a matrix, in double precision. */
#include "ragged.clh"
#include "vector.clh"

#ifndef PSGD_OF_ERRORS
#define PSGD_OF_ERRORS 0
#endif

#define ADD_SQUARE \
    const vector_t fresh = FRESH(LOAD(m + j)); \
    sum = fma(fresh, fresh, sum);

/* A work-group does one tile. scratch: PSGD_GROUP floats, where there are no vectors. */
kernel void squares(PSGD_RAGGED_PARAMS, global float *sums, local float *scratch)
{
    PSGD_FIND_TILE();
    global const float *m   = (PSGD_OF_ERRORS ? error : grad) + (ulong)tile.row * item.cols;
    vector_t            sum = (vector_t)(0.0f);

    for (uint row = 0; row < tile.rows; ++row, m += item.cols) {
        FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, ADD_SQUARE);
    }
#if PSGD_VECTORS
    (void)scratch;
    sums[first_tile + get_group_id(0)] = sum_of(sum);
#else
    scratch[get_local_id(0)] = sum;
    for (uint reach = PSGD_GROUP / 2; reach >= 1; reach /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (get_local_id(0) < reach) {
            scratch[get_local_id(0)] += scratch[get_local_id(0) + reach];
        }
    }
    if (get_local_id(0) == 0) {
        sums[first_tile + get_group_id(0)] = scratch[0];
    }
#endif
}
