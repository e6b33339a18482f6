/* P^ = orthogonalize(P), for all matrices of a launch: classical Gram-Schmidt with every projection applied again.
 *
 * A matrix is `columns` vectors of `length` elements, one behind the other. Its rows are cut into tiles, and a work-group
 * does one tile of one matrix. What a column needs of the others are sums over all rows: each launch leaves partial sums,
 * one record a tile, and each group of the next launch adds up its matrix's records.
 *
 * Columns come in panels of 16: X = p_b ... p_{b+15}. A panel is projected twice, as a block, against all columns before it
 * (B = p^_0 ... p^_{b-1}); then its columns one by one against those of the panel. Launches, in this order:
 *
 *     orthogonalize_maxima          per tile and column: the largest magnitude
 *     orthogonalize_scale           p_j = 2^s p_j with max |p_j| in [1, 2), from `in` to `out`; a zero column becomes random
 *     then for each panel but the first
 *       orthogonalize_panel_first   X'  = X  - B (B^T X)
 *       orthogonalize_panel_again   X'' = X' - B (B^T X')
 *     and for each column j of the panel
 *       orthogonalize_first         p'  = p_j - sum_{b<=k<j} (p^_k . p_j) p^_k               not for j = b
 *       orthogonalize_again         p'' = p'  - sum_{b<=k<j} (p^_k . p')  p^_k, or, where p_j has vanished
 *                                   (|p'| <= tau |p_j|), p'' = u_j - sum_{k<j} (p^_k . u_j) p^_k with random u_j
 *                                                                                            not for j = b
 *       orthogonalize_finish        p^_j = (p'' - sum_{b<=k<j} (p^_k . p'') p^_k) / |...|; and the sums p^_k . p_{j+1}
 *       orthogonalize_finish_panel  the same for the last column of a panel; and the sums B^T X of the next one
 *
 * Three projections within a panel, not two: after the first, a column that nearly vanished may be mostly rounding noise along
 * the others; the second takes that away, and the third leaves nothing but its own rounding. It costs no launch of its own.
 *
 * Against the columns before the panel two are enough as long as what they leave is not taken away again within the panel,
 * which would magnify their rounding. Where less than half of |p'|^2 is left to a column (it "leaks"), it is projected against
 * all columns before it once more, in orthogonalize_again; and where it nearly vanished, in orthogonalize_finish as well. The first
 * column of a panel finds both in orthogonalize_panel_again, where it is replaced too.
 *
 * Each launch costs time of its own, and on some devices comes behind what other queues have ready. Where a group is one work-item, as
 * on CPUs, the kernel orthogonalize_at_once goes through all stages of a matrix by itself.
 *
 * The same bits whatever the work-group: 64 lanes, of which lane l has the rows l, l + 64, ... of a block of 512 rows as one
 * chain of fma(); then a tree over the lanes, by halves; then blocks and tiles in order, with a compensated sum (those of
 * panels: orthogonalize_panel.clh). Which work-item holds which lanes changes none of this. Nothing is left to a device's own
 * rounding: fma, +, -, * and integer arithmetic alone, the square root by Newton's iteration. */
#include "random.clh"

#pragma OPENCL FP_CONTRACT OFF

/* 1: all stages are one kernel, with a group of one work-item. */
#ifndef PSGD_AT_ONCE
#define PSGD_AT_ONCE 0
#endif

#include "orthogonalize_tile.clh"
#include "orthogonalize_scale.clh"
#include "orthogonalize_panel.clh"
#include "orthogonalize_stages.clh"

#if !PSGD_AT_ONCE

/* ---- a launch a stage: a work-group does its tile ---- */

kernel void orthogonalize_maxima(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                 global const float *in, ulong in_offset, global uint *maxima, local uint *scratch)
{
    tile_t tile;

    find_tile(matrices, matrix_of_tile, &tile);
    find_maxima(&tile, in + in_offset, maxima, scratch);
}

kernel void orthogonalize_scale(global const matrix_t *matrices, global const uint *matrix_of_tile,
                                global const float *in, ulong in_offset, global float *out, ulong out_offset,
                                global const uint *maxima, global float *records, ulong step, local uint *largest,
                                local float *high, local float *low, local float *scratch)
{
    const sums_t sums = {high, low, scratch};
    tile_t       tile;

    find_tile(matrices, matrix_of_tile, &tile);
    scale_columns(&tile, in + in_offset, out + out_offset, maxima, records, step, largest, sums);
}

#define STAGE_ARGUMENTS \
    global const matrix_t *matrices, global const uint *matrix_of_tile, global float *out, ulong out_offset, \
    global const float *records_in, global float *records_out, global state_t *states, uint panel, uint j, ulong step, \
    local float *coefficients, local float *high, local float *low, local float *scratch

#define FIND_TILE_AND_PLACE() \
    tile_t  tile; \
    place_t place; \
\
    find_tile(matrices, matrix_of_tile, &tile); \
    find_place(&tile, out + out_offset, records_in, records_out, states, coefficients, high, low, scratch, &place)

kernel void orthogonalize_panel_first(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_first(&tile, &place, j, step);
}

kernel void orthogonalize_panel_again(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_again(&tile, &place, j, step);
}

kernel void orthogonalize_first(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_first(&tile, &place, panel, j, step);
}

kernel void orthogonalize_again(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_again(&tile, &place, panel, j, step);
}

kernel void orthogonalize_finish(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    column_finish(&tile, &place, panel, j, j + 1 < tile.matrix.columns);
}

kernel void orthogonalize_finish_panel(STAGE_ARGUMENTS)
{
    FIND_TILE_AND_PLACE();
    panel_finish(&tile, &place, panel, j);
}

#else

/* ---- all stages in one launch: a work-group of one work-item does all tiles of its matrix, one after the other ---- */

typedef enum stage { PANEL_FIRST, PANEL_AGAIN, FIRST, AGAIN, FINISH, FINISH_PANEL } stage_t;

/* The stage behind `stage`, of column *j_p or the one after it. */
static stage_t stage_after(stage_t stage, uint *j_p)
{
    switch (stage) {
    case PANEL_FIRST: return PANEL_AGAIN;
    case FIRST: return AGAIN;
    case PANEL_AGAIN:
    case AGAIN: return *j_p % PANEL == PANEL - 1 ? FINISH_PANEL : FINISH;
    case FINISH:
    case FINISH_PANEL: break;
    }
    *j_p += 1;
    return *j_p % PANEL == 0 ? PANEL_FIRST : FIRST;
}

/* One stage of one tile. */
static void run_stage(stage_t stage, const tile_t *tile, const place_t *place, uint j, ulong step)
{
    const uint panel = j - j % PANEL;

    switch (stage) {
    case PANEL_FIRST: panel_first(tile, place, j, step); break;
    case PANEL_AGAIN: panel_again(tile, place, j, step); break;
    case FIRST: column_first(tile, place, panel, j, step); break;
    case AGAIN: column_again(tile, place, panel, j, step); break;
    case FINISH: column_finish(tile, place, panel, j, j + 1 < tile->matrix.columns); break;
    case FINISH_PANEL: panel_finish(tile, place, panel, j); break;
    }
}

kernel void orthogonalize_at_once(global const matrix_t *matrices, global const float *in, ulong in_offset,
                                  global float *out, ulong out_offset, global float *records_0, global float *records_1,
                                  global state_t *states, ulong step, local float *coefficients, local float *high,
                                  local float *low, local float *scratch)
{
    const uint    index   = (uint)get_group_id(0);
    const uint    tiles   = matrices[index].num_tiles;
    const uint    columns = matrices[index].columns;
    const sums_t  sums    = {high, low, scratch};
    global float *newest  = records_1; /* what the last stage has left */
    global float *other   = records_0;
    stage_t       stage   = FINISH; /* of column 0, which has none before it */

    for (uint t = 0; t < tiles; ++t) {
        tile_t tile;

        find_tile_of(matrices, index, t, &tile);
        find_maxima(&tile, in + in_offset, (global uint *)records_0, (local uint *)scratch);
    }
    for (uint t = 0; t < tiles; ++t) {
        tile_t tile;

        find_tile_of(matrices, index, t, &tile);
        scale_columns(&tile, in + in_offset, out + out_offset, (global const uint *)records_0, records_1, step,
                      (local uint *)coefficients, sums);
    }
    for (uint j = 0; j < columns; stage = stage_after(stage, &j)) {
        global float *const written = other;

        for (uint t = 0; t < tiles; ++t) {
            tile_t  tile;
            place_t place;

            find_tile_of(matrices, index, t, &tile);
            find_place(&tile, out + out_offset, newest, written, states, coefficients, high, low, scratch, &place);
            run_stage(stage, &tile, &place, j, step);
        }
        other  = newest;
        newest = written;
    }
}

#endif
