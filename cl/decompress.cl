/* Decompression (pass C): in one pass, the update, and in the transactional form (PSGD_FORM 1) the error.
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
 * A patch is 1 or 4 rows by 1, 4 or 16 columns, one function each; the accumulators live in registers and a row of a
 * factor is loaded once for 4 rows of M. A work-group walks over the patches of its tile: one work-item with patches as wide
 * as fit, or (PSGD_VECTORS 0) work-items side by side, a column each. */
#include "ragged.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

/* 1: the error is written too; 0, 2: the update alone. */
#ifndef PSGD_FORM
#define PSGD_FORM 1
#endif

/* The rank, where all items have the same; 0: item.r. */
#ifndef PSGD_RANK
#define PSGD_RANK 0
#endif

/* The largest rank of all items. */
#ifndef PSGD_MAX_RANK
#define PSGD_MAX_RANK (PSGD_RANK ? PSGD_RANK : 32)
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 8

/* 2^-40: smaller entries of P^ count as 0. Against the largest entries of P^ and Qbar that is below fp32 rounding. */
#define PSGD_DUST 0x1p-40f

/* What all patches of a tile share. Pointers are at the item's first element. */
typedef struct factors {
    ulong               rows, cols; /* of M; also the strides of P^ and of Q */
    uint                r;
    global const float *p;
    global const float *q;
    global const float *q_local;
    float               scale_1, scale_2, flush_below;
#if PSGD_VECTORS
    float clean[4 * PSGD_MAX_RANK]; /* P^ of the band's rows, without dust */
#endif
} factors_t;

static float without_dust(float x)
{
    return fabs(x) < PSGD_DUST ? 0.0f : x;
}

#if PSGD_VECTORS
#define CLEAN_P(a_) (f->clean[k * 4 + a_])
#else
#define CLEAN_P(a_) without_dust(p[a_])
#endif

#define LOAD_1(from_)       (*(from_))
#define STORE_1(x_, to_)    (*(to_) = (x_))
#define LOAD_4(from_)       vload4(0, (from_))
#define STORE_4(x_, to_)    vstore4((x_), 0, (to_))
#define LOAD_16(from_)      vload16(0, (from_))
#define STORE_16(x_, to_)   vstore16((x_), 0, (to_))

#if PSGD_FORM == 1
#define IF_ERROR(statement_) statement_
#else
#define IF_ERROR(statement_)
#endif

/* Row a_ of a patch, in names of its own: compilers keep those in registers, and an array of vectors not always. */
#define BEGIN_ROW(a_, width_, vector_) \
    PREFETCH(grad + (a_ + ROWS_AHEAD) * cols) \
    IF_ERROR(PREFETCH(error + (a_ + ROWS_AHEAD) * cols)) \
    vector_ update_##a_ = (vector_)(0.0f); \
    IF_ERROR(vector_ rest_##a_ = LOAD_##width_(grad + a_ * cols);)

#define ADD_TERM(a_, width_, vector_) \
    update_##a_ = fma((vector_)(CLEAN_P(a_)), q_k, update_##a_); \
    IF_ERROR(rest_##a_ = fma((vector_)(-p[a_]), q_local_k, rest_##a_);)

#define END_ROW(a_, width_, vector_) \
    STORE_##width_(select(update_##a_ * f->scale_1 * f->scale_2, (vector_)(0.0f), \
                          isless(fabs(update_##a_), (vector_)(f->flush_below))), \
                   grad + a_ * cols); \
    IF_ERROR(STORE_##width_(rest_##a_, error + a_ * cols);)

#define BAND_1(do_, width_, vector_) do_(0, width_, vector_)
#define BAND_4(do_, width_, vector_) \
    do_(0, width_, vector_) do_(1, width_, vector_) do_(2, width_, vector_) do_(3, width_, vector_)

/* The patch of rows_ x width_ elements whose first is (i, j). */
#define DEFINE_PATCH(name_, rows_, width_, vector_) \
    static void name_(const factors_t *f, global float *grad, global float *error, ulong i, ulong j) \
    { \
        const ulong         rows = f->rows; \
        const ulong         cols = f->cols; \
        const uint          r    = PSGD_RANK ? PSGD_RANK : f->r; \
        global const float *p    = f->p + i; \
        global const float *q    = f->q + j; \
        IF_ERROR(global const float *q_local = f->q_local + j;) \
        grad += i * cols + j; \
        IF_ERROR(error += i * cols + j;) \
        BAND_##rows_(BEGIN_ROW, width_, vector_) \
        for (uint k = 0; k < r; ++k) { \
            const vector_ q_k = LOAD_##width_(q); \
            IF_ERROR(const vector_ q_local_k = LOAD_##width_(q_local);) \
            BAND_##rows_(ADD_TERM, width_, vector_) \
            p += rows; \
            q += cols; \
            IF_ERROR(q_local += cols;) \
        } \
        BAND_##rows_(END_ROW, width_, vector_) \
    }

DEFINE_PATCH(patch_1x1, 1, 1, float)
DEFINE_PATCH(patch_4x1, 4, 1, float)
#if PSGD_VECTORS
DEFINE_PATCH(patch_1x4, 1, 4, float4)
DEFINE_PATCH(patch_4x4, 4, 4, float4)
DEFINE_PATCH(patch_1x16, 1, 16, float16)
DEFINE_PATCH(patch_4x16, 4, 16, float16)
#endif

/* rows_ rows from i on: the widest patches first. */
#if PSGD_VECTORS
#define DO_BAND(rows_) \
    do { \
        ulong j = tile.col; \
        for (; j + 16 <= j_end; j += 16) { \
            patch_##rows_##x16(&f, grad, error, i, j); \
        } \
        for (; j + 4 <= j_end; j += 4) { \
            patch_##rows_##x4(&f, grad, error, i, j); \
        } \
        for (; j < j_end; ++j) { \
            patch_##rows_##x1(&f, grad, error, i, j); \
        } \
    } while (0)
#else
#define DO_BAND(rows_) \
    for (ulong j = tile.col + get_local_id(0); j < j_end; j += PSGD_GROUP) { \
        patch_##rows_##x1(&f, grad, error, i, j); \
    }
#endif

/* What changes from band to band. */
static void clean_band(factors_t *f, ulong i, uint rows)
{
#if PSGD_VECTORS
    const uint r = PSGD_RANK ? PSGD_RANK : f->r;

    for (uint k = 0; k < r; ++k) {
        for (uint a = 0; a < rows; ++a) {
            f->clean[k * 4 + a] = without_dust(f->p[k * f->rows + i + a]);
        }
    }
#else
    (void)f;
    (void)i;
    (void)rows;
#endif
}

/* Offsets are in elements, scales_offset too; the scales are those of all matrices. */
kernel void decompress(PSGD_RAGGED_PARAMS, global const float *p_mem, ulong p_offset, global const float *q_mem,
                       ulong q_offset, global const float *scales_mem, ulong scales_offset,
                       global const float *q_local_mem, ulong q_local_offset)
{
    PSGD_FIND_TILE();
    const global float *scale = scales_mem + scales_offset + 4 * (ulong)item.scale_index;
    const ulong         i_end = (ulong)tile.row + tile.rows;
    const ulong         j_end = (ulong)tile.col + tile.cols;
    ulong               i     = tile.row;
    factors_t           f;

    f.rows        = item.rows;
    f.cols        = item.cols;
    f.r           = item.r;
    f.p           = p_mem + p_offset + item.p_offset;
    f.q           = q_mem + q_offset + item.q_offset;
    f.q_local     = q_local_mem + q_local_offset + item.q_offset;
    f.scale_1     = scale[0]; /* as psgd_update_scale_t */
    f.scale_2     = scale[1];
    f.flush_below = scale[2];
    for (; i + 4 <= i_end; i += 4) {
        clean_band(&f, i, 4);
        DO_BAND(4);
    }
    for (; i < i_end; ++i) {
        clean_band(&f, i, 1);
        DO_BAND(1);
    }
}
