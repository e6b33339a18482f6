/* Decompression (pass C): in one pass over M, the error and the update.
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
 * A tile is 1 or 4 rows by 1, 4 or 16 columns, one function each; the accumulators live in registers and a row of a
 * factor is loaded once for 4 rows of M. A work-item walks over a rectangle of tiles. */
#pragma OPENCL FP_CONTRACT OFF

/* 1: the error is written; 0: the update alone, and the arguments q_local and error are not there. */
#ifndef PSGD_ERROR_FEEDBACK
#define PSGD_ERROR_FEEDBACK 1
#endif

/* 1: a work-item walks along the columns in vectors of 16, for CPUs, one work-item a work-group;
 * 0: it stays in its column, so that neighbouring work-items read neighbouring memory, for GPUs. */
#ifndef PSGD_VECTORS
#define PSGD_VECTORS 1
#endif

/* 2^-40: smaller entries of P^ count as 0. Against the largest entries of P^ and Qbar that is below fp32 rounding. */
#define PSGD_DUST 0x1p-40f

/* What all tiles of a launch share. Pointers are at the first element of each matrix. */
typedef struct factors {
    ulong               rows, cols; /* of M; also the strides of P^ and of Q */
    uint                r;
    global const float *p;
    global const float *q;
    global const float *q_local;
    float               scale_1, scale_2, flush_below;
} factors_t;

static float without_dust(float x)
{
    return fabs(x) < PSGD_DUST ? 0.0f : x;
}

#define LOAD_1(from_)       (*(from_))
#define STORE_1(x_, to_)    (*(to_) = (x_))
#define LOAD_4(from_)       vload4(0, (from_))
#define STORE_4(x_, to_)    vstore4((x_), 0, (to_))
#define LOAD_16(from_)      vload16(0, (from_))
#define STORE_16(x_, to_)   vstore16((x_), 0, (to_))

#if PSGD_ERROR_FEEDBACK
#define IF_ERROR(statement_) statement_
#else
#define IF_ERROR(statement_)
#endif

/* Row a_ of a tile, in names of its own: compilers keep those in registers, and an array of vectors not always. */
#define BEGIN_ROW(a_, width_, vector_) \
    vector_ update_##a_ = (vector_)(0.0f); \
    IF_ERROR(vector_ rest_##a_ = LOAD_##width_(grad + a_ * cols);)

#define ADD_TERM(a_, width_, vector_) \
    update_##a_ = fma((vector_)(without_dust(p[a_])), q_k, update_##a_); \
    IF_ERROR(rest_##a_ = fma((vector_)(-p[a_]), q_local_k, rest_##a_);)

#define END_ROW(a_, width_, vector_) \
    STORE_##width_(select(update_##a_ * f->scale_1 * f->scale_2, (vector_)(0.0f), \
                          isless(fabs(update_##a_), (vector_)(f->flush_below))), \
                   grad + a_ * cols); \
    IF_ERROR(STORE_##width_(rest_##a_, error + a_ * cols);)

#define ROWS_1(do_, width_, vector_) do_(0, width_, vector_)
#define ROWS_4(do_, width_, vector_) \
    do_(0, width_, vector_) do_(1, width_, vector_) do_(2, width_, vector_) do_(3, width_, vector_)

/* The tile of rows_ x width_ elements whose first is (i, j). */
#define DEFINE_TILE(name_, rows_, width_, vector_) \
    static void name_(const factors_t *f, global float *grad, global float *error, ulong i, ulong j) \
    { \
        const ulong         rows = f->rows; \
        const ulong         cols = f->cols; \
        const uint          r    = f->r; \
        global const float *p    = f->p + i; \
        global const float *q    = f->q + j; \
        IF_ERROR(global const float *q_local = f->q_local + j;) \
        grad += i * cols + j; \
        IF_ERROR(error += i * cols + j;) \
        ROWS_##rows_(BEGIN_ROW, width_, vector_) \
        for (uint k = 0; k < r; ++k) { \
            const vector_ q_k = LOAD_##width_(q); \
            IF_ERROR(const vector_ q_local_k = LOAD_##width_(q_local);) \
            ROWS_##rows_(ADD_TERM, width_, vector_) \
            p += rows; \
            q += cols; \
            IF_ERROR(q_local += cols;) \
        } \
        ROWS_##rows_(END_ROW, width_, vector_) \
    }

DEFINE_TILE(tile_1x1, 1, 1, float)
DEFINE_TILE(tile_4x1, 4, 1, float)
#if PSGD_VECTORS
DEFINE_TILE(tile_1x4, 1, 4, float4)
DEFINE_TILE(tile_4x4, 4, 4, float4)
DEFINE_TILE(tile_1x16, 1, 16, float16)
DEFINE_TILE(tile_4x16, 4, 16, float16)
#endif

/* Columns [j, j_end) of rows_ rows from i on: the widest tiles first. */
#if PSGD_VECTORS
#define DO_BAND(rows_) \
    do { \
        ulong j = j_begin; \
        for (; j + 16 <= j_end; j += 16) { \
            tile_##rows_##x16(&f, grad, error, i, j); \
        } \
        for (; j + 4 <= j_end; j += 4) { \
            tile_##rows_##x4(&f, grad, error, i, j); \
        } \
        for (; j < j_end; ++j) { \
            tile_##rows_##x1(&f, grad, error, i, j); \
        } \
    } while (0)
#else
#define DO_BAND(rows_) tile_##rows_##x1(&f, grad, error, i, j_begin)
#endif

/* Work-item (x, y) takes rows from y * rows_per_item on (a multiple of 4), and columns from x * cols_per_item on (1
 * where PSGD_VECTORS is 0). Offsets are in elements. */
kernel void decompress(ulong rows, ulong cols, uint r, ulong rows_per_item, ulong cols_per_item,
                       global const float *p_mem, ulong p_offset, global const float *q_mem, ulong q_offset,
                       float scale_1, float scale_2, float flush_below, global float *grad_mem, ulong grad_offset
#if PSGD_ERROR_FEEDBACK
                       , global const float *q_local_mem, ulong q_local_offset, global float *error_mem,
                       ulong error_offset
#endif
)
{
    const ulong   i_begin = (ulong)get_global_id(1) * rows_per_item;
    const ulong   i_end   = min(i_begin + rows_per_item, rows);
    const ulong   j_begin = (ulong)get_global_id(0) * cols_per_item;
    const ulong   j_end   = min(j_begin + cols_per_item, cols);
    global float *grad    = grad_mem + grad_offset;
    global float *error   = 0;
    ulong         i       = i_begin;
    factors_t     f;

    f.rows        = rows;
    f.cols        = cols;
    f.r           = r;
    f.p           = p_mem + p_offset;
    f.q           = q_mem + q_offset;
    f.q_local     = 0;
    f.scale_1     = scale_1;
    f.scale_2     = scale_2;
    f.flush_below = flush_below;
#if PSGD_ERROR_FEEDBACK
    f.q_local = q_local_mem + q_local_offset;
    error     = error_mem + error_offset;
#endif
    if (j_begin >= j_end) {
        return; /* beyond the last column: the range is rounded up to whole work-groups */
    }
    for (; i + 4 <= i_end; i += 4) {
        DO_BAND(4);
    }
    for (; i < i_end; ++i) {
        DO_BAND(1);
    }
}
