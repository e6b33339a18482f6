/* Pass B: Q_w = M^T P^, in one reading of M.
 *
 *     Q_kj = sum_i M_ij P^_ki            for k = 0 .. r - 1
 *
 * M is rows x cols, row-major, in the gradient's buffer, or in the error memory's (PSGD_FORM 2, lazy). P^ is r x rows,
 * Q_w is r x cols.
 *
 * A work-group does one tile: all or some of the columns of some rows. Its sums over rows go to Q_w where it has all rows, else
 * to its part (r x cols), for cl/sum_parts.cl to add up. On CPUs the sums lie in memory, where a work-item's columns stay in
 * the first cache, and M is read along its rows, 8 at a time; on GPUs a work-item has a column, and its sums in registers. */
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

#ifndef PSGD_FORM
#define PSGD_FORM 1
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 16

/* Columns whose sums stay in a CPU's first cache: 4 x 1024 floats are 16 KiB. */
#define BLOCK_COLS 1024

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

#define ROWS_8(do_) ROWS_4(do_) do_(4) do_(5) do_(6) do_(7)

#define LOAD_P_1(a_) const float p_##a_##_0 = p[a_];
#define LOAD_P_2(a_) LOAD_P_1(a_) const float p_##a_##_1 = p[b->rows + a_];
#define LOAD_P_3(a_) LOAD_P_2(a_) const float p_##a_##_2 = p[2 * b->rows + a_];
#define LOAD_P_4(a_) LOAD_P_3(a_) const float p_##a_##_3 = p[3 * b->rows + a_];

#define ADD_TERMS_1(a_) s_0 = fma(m_##a_, (vector_t)(p_##a_##_0), s_0);
#define ADD_TERMS_2(a_) ADD_TERMS_1(a_) s_1 = fma(m_##a_, (vector_t)(p_##a_##_1), s_1);
#define ADD_TERMS_3(a_) ADD_TERMS_2(a_) s_2 = fma(m_##a_, (vector_t)(p_##a_##_2), s_2);
#define ADD_TERMS_4(a_) ADD_TERMS_3(a_) s_3 = fma(m_##a_, (vector_t)(p_##a_##_3), s_3);

#define LOAD_M(a_) \
    PREFETCH(m + (a_ + ROWS_AHEAD) * b->cols + j) \
    const vector_t m_##a_ = LOAD(m + a_ * b->cols + j);
#define LOAD_SUM(c_)  vector_t s_##c_ = row == 0 ? (vector_t)(0.0f) : LOAD(sums + c_ * b->distance + j);
#define STORE_SUM(c_) STORE(s_##c_, sums + c_ * b->distance + j);

/* rows_ rows from `row` of the tile on, terms_ columns of P^ from k_first on. */
#define DEFINE_ADD(rows_, terms_) \
    static void add_##rows_##x##terms_(const block_t *b, ulong row, uint k_first, ulong begin, ulong end) \
    { \
        global const float *m    = b->m + row * b->cols; \
        global const float *p    = b->p + k_first * b->rows + row; \
        global float       *sums = b->sums + k_first * b->distance; \
        ROWS_##rows_(LOAD_P_##terms_) \
        FOR_LANES(j, begin, end, TERMS_##terms_(LOAD_SUM) ROWS_##rows_(LOAD_M) ROWS_##rows_(ADD_TERMS_##terms_) \
                                     TERMS_##terms_(STORE_SUM)); \
    }

#define DEFINE_ADDS(rows_) DEFINE_ADD(rows_, 1) DEFINE_ADD(rows_, 2) DEFINE_ADD(rows_, 3) DEFINE_ADD(rows_, 4)

DEFINE_ADDS(1)
DEFINE_ADDS(4)

#define DO_ADD(rows_) \
    switch (min(RANK_OF(b) - k, 4u)) { \
    case 1: add_##rows_##x1(b, row, k, begin, end); break; \
    case 2: add_##rows_##x2(b, row, k, begin, end); break; \
    case 3: add_##rows_##x3(b, row, k, begin, end); break; \
    default: add_##rows_##x4(b, row, k, begin, end); break; \
    }

static void do_tile(const block_t *b, uint num_rows, ulong first_col, ulong end_col)
{
    for (ulong begin = first_col; begin < end_col; begin += BLOCK_COLS) {
        const ulong end = min(begin + BLOCK_COLS, end_col);
        ulong       row = 0;

        for (; row + 4 <= num_rows; row += 4) {
            for (uint k = 0; k < RANK_OF(b); k += 4) {
                DO_ADD(4)
            }
        }
        for (; row < num_rows; ++row) {
            for (uint k = 0; k < RANK_OF(b); k += 4) {
                DO_ADD(1)
            }
        }
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
