/* Decompression (pass C): in one pass, the update, and in the transactional forms the error: PSGD_FORM 1, and 3 in bfloat16, rounded by
 * chance (cl/bfloat.clh).
 *
 *     e_ij      = M_ij - sum_k P^_ki Q_w,kj       into the error memory, with this worker's own Q_w
 *     update_ij = sum_k P^_ki Qbar_kj             into the gradient buffer, over M
 *
 * M is rows x cols, row-major. The factors are transposed: P^ is r x rows, Q_w and Qbar are r x cols.
 *
 * Both sums are chains of fma() over k = 0 .. r - 1 in this order, so every element has one value whatever the tile it
 * falls into, and the update has the same bits on every device. Two things guard it against devices that flush
 * denormals: Qbar comes scaled by a power of two to a maximum in [1, 2) with |q| < 2^-40 zeroed, and |p| < 2^-40 is
 * zeroed here, so that no partial sum is denormal; and a chain below `flush_below`, which is 0 or would become denormal
 * when the scale is undone, gives +0. The scale is undone in two exact multiplications. ops/decompress.c has the proof.
 *
 * A work-group does one tile, 4 rows at a time (a row of a factor is loaded once for all of them), as cl/vector.clh says. */
#include "bfloat.clh"
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

/* 1, 3: the error is written too; 0, 2: the update alone. */
#ifndef PSGD_FORM
#define PSGD_FORM 1
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 8

/* 2^-40: smaller entries of P^ count as 0. Against the largest entries of P^ and Qbar that is below fp32 rounding. */
#define PSGD_DUST 0x1p-40f

/* Some rows of one item. Pointers are at the first row, and at column 0 of M and element 0 of a factor's columns. */
typedef struct band {
    uint                r;
    ulong               rows, cols; /* of the item: distances in memory */
    global float       *grad;
#if PSGD_FORM == 3
    global ushort *error;
    uint           key, element; /* of the rounding; the number of the first element in the item */
#else
    global float *error;
#endif
    global const float *p;
    global const float *q;
    global const float *q_local;
    float               scale_1, scale_2, flush_below;
#if PSGD_VECTORS
    float clean[4 * PSGD_MAX_RANK]; /* P^ of the band's rows, without dust */
    float minus[4 * PSGD_MAX_RANK]; /* -P^ of the band's rows; both where a compiler need not fear that they are stored over */
#endif
} band_t;

static float without_dust(float x)
{
    return fabs(x) < PSGD_DUST ? 0.0f : x;
}

#if PSGD_VECTORS
#define CLEAN_P(a_) (b->clean[k * 4 + a_])
#define MINUS_P(a_) (b->minus[k * 4 + a_])
#else
#define CLEAN_P(a_) without_dust(b->p[k * b->rows + a_])
#define MINUS_P(a_) (-b->p[k * b->rows + a_])
#endif

#if PSGD_FORM == 1 || PSGD_FORM == 3
#define IF_ERROR(statement_) statement_
#else
#define IF_ERROR(statement_)
#endif

/* Both chains in one loop over k, or one after the other where registers do not hold both. */
#if PSGD_REGISTERS == 2
#define IF_APART(statements_) IF_ERROR(statements_)
#define IF_TOGETHER(statements_)
#else
#define IF_APART(statements_)
#define IF_TOGETHER(statements_) IF_ERROR(statements_)
#endif

#define AHEAD(mem_, a_) PREFETCH((mem_) + (a_ + ROWS_AHEAD) * b->cols + j)

#define BEGIN_ERROR(a_) \
    AHEAD(b->error, a_) \
    vector_t e_##a_ = LOAD(b->grad + a_ * b->cols + j);
#define SUBTRACT_TERM(a_) e_##a_ = fma((vector_t)(MINUS_P(a_)), q_local_k, e_##a_);

#define BEGIN_UPDATE(a_) \
    AHEAD(b->grad, a_) \
    vector_t u_##a_ = (vector_t)(0.0f);
#define ADD_TERM(a_) u_##a_ = fma((vector_t)(CLEAN_P(a_)), q_k, u_##a_);

#if PSGD_FORM == 3
#define STORE_ERROR(e_, a_) \
    STORE_BFLOATS(e_, b->error + a_ * b->cols + j, b->key, b->element + (uint)(a_ * b->cols) + (uint)j)
#else
#define STORE_ERROR(e_, a_) STORE(e_, b->error + a_ * b->cols + j)
#endif

#define END_ERROR(a_) STORE_ERROR(e_##a_, a_);
#define END_UPDATE(a_) \
    STORE(select(u_##a_ * b->scale_1 * b->scale_2, (vector_t)(0.0f), \
                 isless(fabs(u_##a_), (vector_t)(b->flush_below))), \
          b->grad + a_ * b->cols + j);

#define DO_COLUMNS(rows_) \
    IF_ERROR(ROWS_##rows_(BEGIN_ERROR)) \
    IF_APART(for (uint k = 0; k < RANK_OF(b); ++k) { \
        const vector_t q_local_k = LOAD(b->q_local + k * b->cols + j); \
        ROWS_##rows_(SUBTRACT_TERM) \
    } ROWS_##rows_(END_ERROR)) \
    ROWS_##rows_(BEGIN_UPDATE) \
    for (uint k = 0; k < RANK_OF(b); ++k) { \
        const vector_t q_k = LOAD(b->q + k * b->cols + j); \
        IF_TOGETHER(const vector_t q_local_k = LOAD(b->q_local + k * b->cols + j); ROWS_##rows_(SUBTRACT_TERM)) \
        ROWS_##rows_(ADD_TERM) \
    } \
    IF_TOGETHER(ROWS_##rows_(END_ERROR)) \
    ROWS_##rows_(END_UPDATE)

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
            b->clean[k * 4 + a] = without_dust(b->p[k * b->rows + a]);
            b->minus[k * 4 + a] = -b->p[k * b->rows + a];
        }
    }
#else
    (void)b;
    (void)rows;
#endif
}

#if PSGD_FORM == 3
#define ROUNDING_PARAMS , global const uint *keys, uint step_key
#else
#define ROUNDING_PARAMS
#endif

/* Offsets are in elements. The scales are those of all matrices, four floats each: psgd_update_scale_t; so are the keys. */
kernel void decompress(PSGD_RAGGED_PARAMS, global const float *p_mem, ulong p_offset, global const float *q_mem,
                       ulong q_offset, global const float *scales_mem, ulong scales_offset,
                       global const float *q_local_mem, ulong q_local_offset ROUNDING_PARAMS)
{
    PSGD_FIND_TILE();
    global const float *scale = scales_mem + scales_offset + 4 * (ulong)item.scale_index;
    band_t              b;
    uint                row = 0;

    b.r           = item.r;
    b.rows        = item.rows;
    b.cols        = item.cols;
    b.grad        = grad + (ulong)tile.row * item.cols;
#if PSGD_FORM == 3
    b.error   = BFLOAT_ERROR + (ulong)tile.row * item.cols;
    b.key     = keys[item.scale_index] ^ step_key;
    b.element = tile.row * item.cols;
    (void)error;
#else
    b.error = error + (ulong)tile.row * item.cols;
#endif
    b.p           = p_mem + p_offset + item.p_offset + tile.row;
    b.q           = q_mem + q_offset + item.q_offset;
    b.q_local     = q_local_mem + q_local_offset + item.q_offset;
    b.scale_1     = scale[0];
    b.scale_2     = scale[1];
    b.flush_below = scale[2];
    while (row < tile.rows) {
        const uint step = row + 4 <= tile.rows ? 4 : 1;

        load_p(&b, step);
        if (step == 4) {
            do_band_4(&b, tile.col, (ulong)tile.col + tile.cols);
        } else {
            do_band_1(&b, tile.col, (ulong)tile.col + tile.cols);
        }
        row += step;
        b.grad += step * b.cols;
        b.error += step * b.cols;
#if PSGD_FORM == 3
        b.element += step * (uint)b.cols;
#endif
        b.p += step;
    }
}
