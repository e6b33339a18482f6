/* Pass B: Q_w = M^T P^, in one reading of M.
 *
 *     Q_kj = sum_i M_ij P^_ki            for k = 0 .. r - 1
 *
 * M is rows x cols, row-major, in the gradient's buffer, or in the error memory's (PSGD_FORM 2, lazy). P^ is r x rows,
 * Q_w is r x cols.
 *
 * A work-group does one tile: all or some of the columns of some rows. Its sums over rows go to Q_w where it has all rows, else
 * to its part (r x cols), for cl/sum_parts.cl to add up. On CPUs M is read 8 rows at a time, along them; a vector's sums over
 * these are in registers, and for all rows in memory. On GPUs a work-item has a column, and its sums in registers. */
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

#ifndef PSGD_FORM
#define PSGD_FORM 1
#endif

/* Rows that are gone through together. */
#define BLOCK_ROWS 8

/* Some rows and columns of one item. */
typedef struct block {
    uint                r;
    ulong               rows, cols; /* of the item: distances in memory */
    global const float *m;          /* at the tile's first row, column 0 */
    global const float *p;          /* at the tile's first row */
    global float       *sums;       /* k-th at k * distance */
    ulong               distance;
} block_t;

#if PSGD_VECTORS

#define BEGIN_SUM(c_) vector_t s_##c_ = row == 0 ? (vector_t)(0.0f) : LOAD(sums + c_ * b->distance + j);
#define ADD_TERM(c_)  s_##c_ = fma(m_a, (vector_t)(p[a * PSGD_MAX_RANK + c_]), s_##c_);
#define END_SUM(c_)   STORE(s_##c_, sums + c_ * b->distance + j);

/* terms_ columns of P^ from k on. */
#define ADD_TERMS(terms_) \
    { \
        TERMS_##terms_(BEGIN_SUM) \
        for (uint a = 0; a < num_rows; ++a) { \
            const vector_t m_a = LOAD(m + a * b->cols + j); \
            TERMS_##terms_(ADD_TERM) \
        } \
        TERMS_##terms_(END_SUM) \
    }

#define ADD_ALL_TERMS() \
    for (uint a = 0; a < num_rows; ++a) { \
        PREFETCH(m + (a + BLOCK_ROWS) * b->cols + j) \
    } \
    for (uint k = 0; k < RANK_OF(b); k += 4) { \
        const float  *p    = kept + k; \
        global float *sums = b->sums + k * b->distance; \
        switch (min(RANK_OF(b) - k, 4u)) { \
        case 1: ADD_TERMS(1) break; \
        case 2: ADD_TERMS(2) break; \
        case 3: ADD_TERMS(3) break; \
        default: ADD_TERMS(4) break; \
        } \
    }

/* num_rows rows from `row` of the tile on. Their part of P^ is kept row by row, close together: in P^ its columns are pages apart. */
static void add_rows(const block_t *b, ulong row, uint num_rows, ulong begin, ulong end)
{
    global const float *m = b->m + row * b->cols;
    float               kept[BLOCK_ROWS * PSGD_MAX_RANK];

    for (uint k = 0; k < RANK_OF(b); ++k) {
        for (uint a = 0; a < num_rows; ++a) {
            kept[a * PSGD_MAX_RANK + k] = b->p[k * b->rows + row + a];
        }
    }
    FOR_LANES(j, begin, end, ADD_ALL_TERMS());
}

static void do_tile(const block_t *b, uint num_rows, ulong first_col, ulong end_col)
{
    for (uint row = 0; row < num_rows; row += BLOCK_ROWS) {
        add_rows(b, row, min(num_rows - row, (uint)BLOCK_ROWS), first_col, end_col);
    }
}

#else

static void do_tile(const block_t *b, uint num_rows, ulong first_col, ulong end_col)
{
    for (ulong j = first_col + get_local_id(0); j < end_col; j += PSGD_GROUP) {
        for (uint k = 0; k < RANK_OF(b); k += 4) {
            const uint          terms = min(RANK_OF(b) - k, 4u);
            global const float *p_0   = b->p + k * b->rows;
            global const float *p_1   = terms > 1 ? p_0 + b->rows : p_0;
            global const float *p_2   = terms > 2 ? p_1 + b->rows : p_0;
            global const float *p_3   = terms > 3 ? p_2 + b->rows : p_0;
            float               s_0 = 0.0f, s_1 = 0.0f, s_2 = 0.0f, s_3 = 0.0f;

            for (ulong i = 0; i < num_rows; ++i) {
                const float m = b->m[i * b->cols + j];

                s_0 = fma(m, p_0[i], s_0);
                s_1 = fma(m, p_1[i], s_1);
                s_2 = fma(m, p_2[i], s_2);
                s_3 = fma(m, p_3[i], s_3);
            }
            b->sums[k * b->distance + j] = s_0;
            if (terms > 1) {
                b->sums[(k + 1) * b->distance + j] = s_1;
            }
            if (terms > 2) {
                b->sums[(k + 2) * b->distance + j] = s_2;
            }
            if (terms > 3) {
                b->sums[(k + 3) * b->distance + j] = s_3;
            }
        }
    }
}

#endif

kernel void compute_q(PSGD_RAGGED_PARAMS, global const float *p_mem, ulong p_offset, global float *q_mem, ulong q_offset,
                      global float *parts)
{
    PSGD_FIND_TILE();
    block_t b;

    b.r        = item.r;
    b.rows     = item.rows;
    b.cols     = item.cols;
    b.m        = (PSGD_FORM == 2 ? error : grad) + (ulong)tile.row * item.cols;
    b.p        = p_mem + p_offset + item.p_offset + tile.row;
    b.distance = tile.part == PSGD_NO_PART ? item.cols : PSGD_PART_DISTANCE(item.cols);
    b.sums     = tile.part == PSGD_NO_PART ? q_mem + q_offset + item.q_offset
                                           : parts + tile.part_offset + tile.part * item.r * b.distance;
    do_tile(&b, tile.rows, tile.col, (ulong)tile.col + tile.cols);
}
