/* Pass A: what is compressed, and its product with Q^, in one reading of the gradient.
 *
 *     PSGD_FORM 0    no error feedback    M = g                                  reads g
 *               1    transactional        M = g + e, over g                      reads g, e; writes g
 *               2    lazy                 M = g + (M' - P^' Q_w'^T), over M'     reads g, M'; writes M'
 *               3    transactional, e in bfloat16: as 1
 *     P_ik = sum_j M_ij Q^_kj             for k = 0 .. r - 1
 *
 * M', P^' and Q_w' are those of the step before: M' - P^' Q_w'^T is the error e that the transactional form writes in its
 * pass C (cl/decompress.cl), formed by the same chain of fma(), and g is added last, rounded by itself: both forms have the
 * same M, bit for bit. M is rows x cols, row-major; P is r x rows; Q^ is r x cols.
 *
 * PSGD_PRODUCT 0 leaves out P, for the engine that has CLBlast form it.
 *
 * A work-group does one tile: all or some of the columns of some rows, 4 rows at a time, and 2 or 4 columns of Q^. Its
 * sums go to P where it has all columns, else to its part (r x rows), for cl/sum_parts.cl to add up. */
#include "bfloat.clh"
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

#ifndef PSGD_FORM
#define PSGD_FORM 1
#endif

#ifndef PSGD_PRODUCT
#define PSGD_PRODUCT 1
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 6

/* Columns that are gone over again for the next columns of Q^: 4 rows of them, and of those columns, stay in a CPU's first cache. For
 * groups also in ops/compute_p.c. */
#define BLOCK_COLS (PSGD_REGISTERS == 2 ? 1024 : 512)

/* Some rows of one item. Pointers are at the first row, and at column 0 of M and element 0 of a factor's columns. */
typedef struct band {
    uint                r;
    ulong               rows, cols; /* of the item: distances in memory */
    global float       *grad;
#if PSGD_FORM == 3
    global const ushort *error;
#else
    global float *error;
#endif
    global const float *q;
    global const float *p_before;
    global const float *q_before;
    global float       *sums; /* k-th at k * distance */
    ulong               distance;
    local float        *scratch;
#if PSGD_VECTORS && (PSGD_FORM == 2)
    float chain[4 * PSGD_MAX_RANK]; /* -P^' of the band's rows, where a compiler need not fear that M is stored over it */
#endif
} band_t;

#if PSGD_FORM == 2
#define M_OF(b_) ((b_)->error)
#else
#define M_OF(b_) ((b_)->grad)
#endif

/* ---- M ---- */

#define AHEAD(mem_, a_) PREFETCH((mem_) + (a_ + ROWS_AHEAD) * b->cols + j)

#define LOAD_M(a_) const vector_t m_##a_ = LOAD(M_OF(b) + a_ * b->cols + j);

#if PSGD_FORM == 0
#define LOAD_GRADIENT(a_) AHEAD(b->grad, a_) LOAD_M(a_)
#define FORM_M(rows_)     ROWS_##rows_(LOAD_GRADIENT)
#elif PSGD_FORM != 2
#if PSGD_FORM == 3
#define LOAD_ERROR LOAD_BFLOATS
#else
#define LOAD_ERROR LOAD
#endif
#define ADD_ERROR(a_) \
    AHEAD(b->grad, a_) AHEAD(b->error, a_) \
    const vector_t m_##a_ = LOAD(b->grad + a_ * b->cols + j) + LOAD_ERROR(b->error + a_ * b->cols + j); \
    STORE(m_##a_, b->grad + a_ * b->cols + j);
#define FORM_M(rows_) ROWS_##rows_(ADD_ERROR)
#else
#if PSGD_VECTORS
#define MINUS_P(a_) (b->chain[k * 4 + a_])
#else
#define MINUS_P(a_) (-b->p_before[k * b->rows + a_])
#endif
#define LOAD_BEFORE(a_) \
    AHEAD(b->grad, a_) AHEAD(b->error, a_) \
    vector_t e_##a_ = LOAD(b->error + a_ * b->cols + j);
#define SUBTRACT_TERM(a_) e_##a_ = fma((vector_t)(MINUS_P(a_)), q_k, e_##a_);
#define ADD_GRADIENT(a_) \
    const vector_t m_##a_ = LOAD(b->grad + a_ * b->cols + j) + e_##a_; \
    STORE(m_##a_, b->error + a_ * b->cols + j);
#define FORM_M(rows_) \
    ROWS_##rows_(LOAD_BEFORE) \
    for (uint k = 0; k < RANK_OF(b); ++k) { \
        const vector_t q_k = LOAD(b->q_before + k * b->cols + j); \
        ROWS_##rows_(SUBTRACT_TERM) \
    } \
    ROWS_##rows_(ADD_GRADIENT)
#endif

/* ---- sums over columns ---- */

/* How many columns of Q^ sums are formed for at once: with 4 rows, as many as registers hold. */
#if PSGD_REGISTERS == 2
#define TERMS_AT_ONCE 2
typedef half_vector_t sum_t;
#define SUM_OF(s_)              sum_of_half(s_)
#define ADD_PRODUCT(s_, m_, q_) s_ = fma(m_.hi, q_.hi, fma(m_.lo, q_.lo, s_));
#else
#define TERMS_AT_ONCE 4
typedef vector_t sum_t;
#define SUM_OF(s_)              sum_of(s_)
#define ADD_PRODUCT(s_, m_, q_) s_ = fma(m_, q_, s_);
#endif

#define BEGIN_SUMS_1(a_) sum_t s_##a_##_0 = (sum_t)(0.0f);
#define BEGIN_SUMS_2(a_) BEGIN_SUMS_1(a_) sum_t s_##a_##_1 = (sum_t)(0.0f);
#define BEGIN_SUMS_3(a_) BEGIN_SUMS_2(a_) sum_t s_##a_##_2 = (sum_t)(0.0f);
#define BEGIN_SUMS_4(a_) BEGIN_SUMS_3(a_) sum_t s_##a_##_3 = (sum_t)(0.0f);

#define TAKE_FRESH(a_)  const vector_t f_##a_ = FRESH(m_##a_);
#define ADD_TERMS_1(a_) ADD_PRODUCT(s_##a_##_0, f_##a_, q_0)
#define ADD_TERMS_2(a_) ADD_TERMS_1(a_) ADD_PRODUCT(s_##a_##_1, f_##a_, q_1)
#define ADD_TERMS_3(a_) ADD_TERMS_2(a_) ADD_PRODUCT(s_##a_##_2, f_##a_, q_2)
#define ADD_TERMS_4(a_) ADD_TERMS_3(a_) ADD_PRODUCT(s_##a_##_3, f_##a_, q_3)

#define LOAD_Q(c_) const vector_t q_##c_ = LOAD(q + c_ * b->cols + j);

#if PSGD_VECTORS
/* The first block of columns begins the sums, the others add to them. */
#define END_SUM(a_, c_) \
    b->sums[(k_first + c_) * b->distance + a_] = \
        (is_begun ? b->sums[(k_first + c_) * b->distance + a_] : 0.0f) + SUM_OF(s_##a_##_##c_);
#else
#define END_SUM(a_, c_) b->scratch[(c_ * 4 + a_) * PSGD_GROUP + get_local_id(0)] = s_##a_##_##c_;
#endif

/* Adds up what the work-items have left in `scratch`, by halves, for `rows` rows and up to 4 columns of Q^ from k_first on. */
static void finish_sums(const band_t *b, uint rows, uint k_first, bool is_begun)
{
#if PSGD_VECTORS
    (void)b;
    (void)rows;
    (void)k_first;
    (void)is_begun;
#else
    const uint item  = (uint)get_local_id(0);
    const uint terms = min(RANK_OF(b) - k_first, 4u);

    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint reach = PSGD_GROUP / 2; reach >= 1; reach /= 2) {
        for (uint n = item; n < reach * terms * rows; n += PSGD_GROUP) { /* all sums at once */
            const uint   of  = n / reach;
            local float *sum = b->scratch + (of / rows * 4 + of % rows) * PSGD_GROUP + n % reach;

            *sum += sum[reach];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item < 4 * terms && item % 4 < rows) {
        global float *to = b->sums + (k_first + item / 4) * b->distance + item % 4;

        *to = (is_begun ? *to : 0.0f) + b->scratch[item * PSGD_GROUP];
    }
    barrier(CLK_LOCAL_MEM_FENCE); /* the scratch is used again */
#endif
}

#define END_SUMS_1(a_) END_SUM(a_, 0)
#define END_SUMS_2(a_) END_SUMS_1(a_) END_SUM(a_, 1)
#define END_SUMS_3(a_) END_SUMS_2(a_) END_SUM(a_, 2)
#define END_SUMS_4(a_) END_SUMS_3(a_) END_SUM(a_, 3)

/* ---- rows_ rows, terms_ columns of Q^ from k_first on, columns begin to end - 1 of M ---- */

/* FIRST forms M, AGAIN loads it. */
#define M_FIRST(rows_) FORM_M(rows_)
#define M_AGAIN(rows_) ROWS_##rows_(LOAD_M)

#define DEFINE_DOTS(rows_, terms_, when_) \
    static void dots_##rows_##x##terms_##_##when_(const band_t *b, uint k_first, ulong begin, ulong end, bool is_begun) \
    { \
        global const float *q = b->q + k_first * b->cols; \
        ROWS_##rows_(BEGIN_SUMS_##terms_) \
        FOR_LANES(j, begin, end, \
                  M_##when_(rows_) ROWS_##rows_(TAKE_FRESH) TERMS_##terms_(LOAD_Q) ROWS_##rows_(ADD_TERMS_##terms_)); \
        ROWS_##rows_(END_SUMS_##terms_) \
    }

#if PSGD_PRODUCT

#if TERMS_AT_ONCE == 2
#define DEFINE_DOTS_OF(rows_) DEFINE_DOTS(rows_, 1, AGAIN) DEFINE_DOTS(rows_, 2, AGAIN)
#define DO_DOTS(rows_, when_, k_) \
    do { \
        if (RANK_OF(b) - (k_) >= 2) { \
            dots_##rows_##x2_##when_(b, (k_), begin, end, is_begun); \
        } else { \
            dots_##rows_##x1_##when_(b, (k_), begin, end, is_begun); \
        } \
    } while (0)
/* M is formed first: sums beside it would not find registers. */
#define FORM_BLOCK(rows_) \
    FOR_LANES(j, begin, end, FORM_M(rows_)); \
    DO_DOTS(rows_, AGAIN, 0)
#else
#define DEFINE_DOTS_OF(rows_) \
    DEFINE_DOTS(rows_, 1, FIRST) DEFINE_DOTS(rows_, 2, FIRST) DEFINE_DOTS(rows_, 3, FIRST) DEFINE_DOTS(rows_, 4, FIRST) \
    DEFINE_DOTS(rows_, 1, AGAIN) DEFINE_DOTS(rows_, 2, AGAIN) DEFINE_DOTS(rows_, 3, AGAIN) DEFINE_DOTS(rows_, 4, AGAIN)
#define DO_DOTS(rows_, when_, k_) \
    do { \
        switch (min(RANK_OF(b) - (k_), 4u)) { \
        case 1: dots_##rows_##x1_##when_(b, (k_), begin, end, is_begun); break; \
        case 2: dots_##rows_##x2_##when_(b, (k_), begin, end, is_begun); break; \
        case 3: dots_##rows_##x3_##when_(b, (k_), begin, end, is_begun); break; \
        default: dots_##rows_##x4_##when_(b, (k_), begin, end, is_begun); break; \
        } \
    } while (0)
#define FORM_BLOCK(rows_) DO_DOTS(rows_, FIRST, 0)
#endif

DEFINE_DOTS_OF(1)
DEFINE_DOTS_OF(4)

#define DEFINE_BAND(rows_) \
    static void do_band_##rows_(const band_t *b, ulong first_col, ulong end_col) \
    { \
        const ulong block = RANK_OF(b) > TERMS_AT_ONCE ? BLOCK_COLS : end_col - first_col; \
        for (ulong begin = first_col; begin < end_col; begin += block) { \
            const ulong end      = min(begin + block, end_col); \
            const bool  is_begun = begin != first_col; \
            FORM_BLOCK(rows_); \
            finish_sums(b, rows_, 0, is_begun); \
            for (uint k = TERMS_AT_ONCE; k < RANK_OF(b); k += TERMS_AT_ONCE) { \
                DO_DOTS(rows_, AGAIN, k); \
                finish_sums(b, rows_, k, is_begun); \
            } \
        } \
    }

#else

#define DEFINE_BAND(rows_) \
    static void do_band_##rows_(const band_t *b, ulong first_col, ulong end_col) \
    { \
        FOR_LANES(j, first_col, end_col, FORM_M(rows_)); \
    }

#endif

DEFINE_BAND(1)
DEFINE_BAND(4)

/* What changes from band to band. */
static void load_chain(band_t *b, uint rows)
{
#if PSGD_VECTORS && (PSGD_FORM == 2)
    for (uint k = 0; k < RANK_OF(b); ++k) {
        for (uint a = 0; a < rows; ++a) {
            b->chain[k * 4 + a] = -b->p_before[k * b->rows + a];
        }
    }
#else
    (void)b;
    (void)rows;
#endif
}

kernel void compute_p(PSGD_RAGGED_PARAMS, global const float *q_mem, ulong q_offset, global const float *p_before_mem,
                      ulong p_before_offset, global const float *q_before_mem, ulong q_before_offset,
                      global float *p_mem, ulong p_offset, global float *parts, local float *scratch)
{
    PSGD_FIND_TILE();
    band_t b;
    uint   row = 0;

    b.r        = item.r;
    b.rows     = item.rows;
    b.cols     = item.cols;
    b.grad     = grad + (ulong)tile.row * item.cols;
#if PSGD_FORM == 3
    b.error = BFLOAT_ERROR + (ulong)tile.row * item.cols;
    (void)error;
#else
    b.error = error + (ulong)tile.row * item.cols;
#endif
    b.q        = q_mem + q_offset + item.q_offset;
    b.p_before = p_before_mem + p_before_offset + item.p_offset + tile.row;
    b.q_before = q_before_mem + q_before_offset + item.q_offset;
    b.distance = tile.part == PSGD_NO_PART ? item.rows : PSGD_PART_DISTANCE(item.rows);
    b.sums     = (tile.part == PSGD_NO_PART ? p_mem + p_offset + item.p_offset
                                            : parts + tile.part_offset + tile.part * item.r * b.distance) + tile.row;
    b.scratch  = scratch;
    while (row < tile.rows) {
        const uint step = row + 4 <= tile.rows ? 4 : 1;

        load_chain(&b, step);
        if (step == 4) {
            do_band_4(&b, tile.col, (ulong)tile.col + tile.cols);
        } else {
            do_band_1(&b, tile.col, (ulong)tile.col + tile.cols);
        }
        row += step;
        b.grad += step * b.cols;
        b.error += step * b.cols;
        b.p_before += step;
        b.sums += step;
    }
}

#if PSGD_FORM == 2
/* M' becomes the error it stands for: M' - P^' Q_w'^T, in the chain of FORM_M. */
kernel void settle(PSGD_RAGGED_PARAMS, global const float *p_before_mem, ulong p_before_offset,
                   global const float *q_before_mem, ulong q_before_offset)
{
    PSGD_FIND_TILE();
    const uint          r        = PSGD_RANK ? PSGD_RANK : item.r;
    global const float *p_before = p_before_mem + p_before_offset + item.p_offset + tile.row;
    global const float *q_before = q_before_mem + q_before_offset + item.q_offset;

    (void)grad;
    error += (ulong)tile.row * item.cols;
    for (uint row = 0; row < tile.rows; ++row, error += item.cols, ++p_before) {
        FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, vector_t e = LOAD(error + j); for (uint k = 0; k < r; ++k) {
            e = fma((vector_t)(-p_before[(ulong)k * item.rows]), LOAD(q_before + (ulong)k * item.cols + j), e);
        } STORE(e, error + j);)
        ;
    }
}
#endif
