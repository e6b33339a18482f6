/* What a piece P Q^T leaves of M:
 *
 *     out_ij = M_ij - sum_k P_ki Q_kj        PSGD_INTO_ERROR 0: over M itself
 *                                                            1: into the error memory
 *                                                            2: into one in bfloat16, rounded by chance: cl/bfloat.clh
 *
 * M is rows x cols, row-major, in the gradient's buffer. The factors are transposed: P is r x rows, Q is r x cols. The sum is
 * the chain of fma() over k = 0 .. r - 1 of cl/decompress.cl, on factors as they are.
 *
 * A work-group does one tile, 4 rows at a time (a row of Q is loaded once for all of them), as cl/vector.clh says. */
#include "bfloat.clh"
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

#ifndef PSGD_INTO_ERROR
#define PSGD_INTO_ERROR 0
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 8

/* Some rows of one item. Pointers are at the first row, and at column 0 of M and element 0 of a factor's columns. */
typedef struct band {
    uint                r;
    ulong               rows, cols; /* of the item: distances in memory */
    global const float *m;
#if PSGD_INTO_ERROR == 2
    global ushort *out;
    uint           key, element; /* of the rounding; the number of the first element in the item */
#else
    global float *out;
#endif
    global const float *p;
    global const float *q;
#if PSGD_VECTORS
    float minus[4 * PSGD_MAX_RANK]; /* -P of the band's rows, where a compiler need not fear that it is stored over */
#endif
} band_t;

#if PSGD_VECTORS
#define MINUS_P(a_) (b->minus[k * 4 + a_])
#else
#define MINUS_P(a_) (-b->p[k * b->rows + a_])
#endif

#define BEGIN_ROW(a_) \
    PREFETCH(b->m + (a_ + ROWS_AHEAD) * b->cols + j) \
    vector_t e_##a_ = LOAD(b->m + a_ * b->cols + j);

#define ADD_TERM(a_) e_##a_ = fma((vector_t)(MINUS_P(a_)), q_k, e_##a_);

#if PSGD_INTO_ERROR == 2
#define END_ROW(a_) \
    STORE_BFLOATS(e_##a_, b->out + a_ * b->cols + j, b->key, b->element + (uint)(a_ * b->cols) + (uint)j);
#else
#define END_ROW(a_) STORE(e_##a_, b->out + a_ * b->cols + j);
#endif

#define DO_COLUMNS(rows_) \
    ROWS_##rows_(BEGIN_ROW) \
    for (uint k = 0; k < RANK_OF(b); ++k) { \
        const vector_t q_k = LOAD(b->q + k * b->cols + j); \
        ROWS_##rows_(ADD_TERM) \
    } \
    ROWS_##rows_(END_ROW)

/* The last vector of a row overlaps the one before it, whose elements are not M any more where `out` is M: they are computed
 * anew and not stored. */
#define DEFINE_BAND(rows_) \
    static void do_band_##rows_(const band_t *b, ulong begin, ulong end) \
    { \
        FOR_LANES(j, begin, end, DO_COLUMNS(rows_)); \
    }

DEFINE_BAND(1)
DEFINE_BAND(4)

/* What changes from band to band. */
static void load_p(band_t *b, uint rows)
{
#if PSGD_VECTORS
    for (uint k = 0; k < RANK_OF(b); ++k) {
        for (uint a = 0; a < rows; ++a) {
            b->minus[k * 4 + a] = -b->p[k * b->rows + a];
        }
    }
#else
    (void)b;
    (void)rows;
#endif
}

#if PSGD_INTO_ERROR == 2
#define ROUNDING_PARAMS , global const uint *keys, uint step_key
#else
#define ROUNDING_PARAMS
#endif

/* Offsets are in elements; in a launch's places, those of error memories too. keys are the items', by scale_index. */
kernel void residual(PSGD_RAGGED_PARAMS, global const float *p_mem, ulong p_offset, global const float *q_mem,
                     ulong q_offset ROUNDING_PARAMS)
{
    PSGD_FIND_TILE();
    band_t b;
    uint   row = 0;

    b.r    = item.r;
    b.rows = item.rows;
    b.cols = item.cols;
    b.m    = grad + (ulong)tile.row * item.cols;
#if PSGD_INTO_ERROR == 2
    b.out     = BFLOAT_ERROR + (ulong)tile.row * item.cols;
    b.key     = keys[item.scale_index] ^ step_key;
    b.element = tile.row * item.cols;
    (void)error;
#else
    b.out = (PSGD_INTO_ERROR ? error : grad) + (ulong)tile.row * item.cols;
#endif
    b.p    = p_mem + p_offset + item.p_offset + tile.row;
    b.q    = q_mem + q_offset + item.q_offset;
    while (row < tile.rows) {
        const uint step = row + 4 <= tile.rows ? 4 : 1;

        load_p(&b, step);
        if (step == 4) {
            do_band_4(&b, tile.col, (ulong)tile.col + tile.cols);
        } else {
            do_band_1(&b, tile.col, (ulong)tile.col + tile.cols);
        }
        row += step;
        b.m += step * b.cols;
        b.out += step * b.cols;
#if PSGD_INTO_ERROR == 2
        b.element += step * (uint)b.cols;
#endif
        b.p += step;
    }
}
