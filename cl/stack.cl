/* Puts the factors of one piece beside those of the other pieces of a sum, so that one chain goes over them all.
 *
 * `from` holds a factor of each matrix, one behind the other: that of matrix m at offsets[m], up to offsets[m + 1]. In `to`, a
 * matrix has room for `pieces` such factors, one behind the other. Entries below 2^-40 become 0, as cl/decompress.cl needs of
 * both factors; see there. */

/* As in cl/decompress.cl. */
#define PSGD_DUST 0x1p-40f

/* The last matrix that begins at or before element i. */
static uint matrix_of(global const ulong *offsets, uint num_matrices, ulong i)
{
    uint first = 0, behind = num_matrices;

    while (behind - first > 1) {
        const uint middle = (first + behind) / 2;

        if (offsets[middle] <= i) {
            first = middle;
        } else {
            behind = middle;
        }
    }
    return first;
}

/* A work-item an element. Offsets of buffers are in elements. */
kernel void stack(global const ulong *offsets, uint num_matrices, uint piece, uint pieces, global const float *from_mem,
                  ulong from_offset, global float *to_mem, ulong to_offset, ulong elems)
{
    const ulong i = get_global_id(0);

    if (i < elems) {
        const uint  m      = matrix_of(offsets, num_matrices, i);
        const ulong begin  = offsets[m];
        const ulong length = offsets[m + 1] - begin;
        const float x      = from_mem[from_offset + i];

        to_mem[to_offset + pieces * begin + piece * length + (i - begin)] = fabs(x) < PSGD_DUST ? 0.0f : x;
    }
}
