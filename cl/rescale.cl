/* Gradients as the step takes them: times a factor of each tensor; 0 where it has none, whatever the buffer holds.
 *
 * An item is one tensor: 1 row of `cols` elements; factors by scale_index. A factor of 1 leaves it alone. */
#include "ragged.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

kernel void rescale(PSGD_RAGGED_PARAMS, global const float *factors)
{
    PSGD_FIND_TILE();
    const float factor = factors[item.scale_index];

    (void)error;
    if (factor == 0.0f) {
        FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, STORE((vector_t)(0.0f), grad + j););
    } else if (factor != 1.0f) {
        FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, STORE(LOAD(grad + j) * factor, grad + j););
    }
}
