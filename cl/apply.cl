/* The optimizer's step, in place: parameters x and momenta m from the update u,
 *
 *     PSGD_FROM_FACTORS 1    u_ij = sum_k P^_ki Qbar_kj, never written: x and m cost 4 moves of N, and u none
 *                       0    u from an array, an item's at its p_offset
 *
 *     d = u + decay x
 *     PSGD_RULE 0    m = lambda m + d;  x = x - rate (d + m)             PowerSGD's (the paper, Algorithm 2)
 *               1    m = lambda m + d;  x = x - rate m                   heavy ball, as PyTorch's SGD has it
 *               2    m = lambda m + d;  x = x - rate (d + lambda m)      Nesterov's, as PyTorch's SGD has it
 *     PSGD_MOMENTUM 0    there is no m: m = d
 *
 * In a launch's places x lies where gradients do, and m where error memories do (cl/ragged.clh). The chain is that of
 * cl/decompress.cl. All operations are exactly rounded, each by itself or an fma() that is written out, and what would be
 * denormal becomes 0: the same bits on every device, as long as no input is denormal. */
#include "ragged.clh"
#include "rank.clh"
#include "vector.clh"

#pragma OPENCL FP_CONTRACT OFF

#ifndef PSGD_FROM_FACTORS
#define PSGD_FROM_FACTORS 1
#endif

#ifndef PSGD_RULE
#define PSGD_RULE 1
#endif

#ifndef PSGD_MOMENTUM
#define PSGD_MOMENTUM 1
#endif

/* How many rows ahead memory is asked for. */
#define ROWS_AHEAD 8

/* As in cl/decompress.cl. */
#define PSGD_DUST 0x1p-40f

#define SMALLEST_NORMAL 0x1p-126f

/* The numbers of the rule. */
typedef struct rule {
    float minus_rate;
    float lambda;
    float decay;
} rule_t;

#define WITHOUT_DENORMALS(v_) select((v_), (vector_t)(0.0f), isless(fabs(v_), (vector_t)(SMALLEST_NORMAL)))

/* The new m, given in m_, and x_ - rate times what the rule says. */
static vector_t next_momentum(vector_t m, vector_t d, float lambda)
{
#if PSGD_MOMENTUM
    const vector_t next = fma((vector_t)(lambda), m, d);

    return WITHOUT_DENORMALS(next);
#else
    (void)m;
    (void)lambda;
    return d;
#endif
}

static vector_t next_x(vector_t x, vector_t m, vector_t d, rule_t rule)
{
#if PSGD_RULE == 0
    const vector_t direction = d + m;
#elif PSGD_RULE == 1
    const vector_t direction = m;
#else
    const vector_t direction = fma((vector_t)(rule.lambda), m, d);
#endif
    const vector_t next = fma((vector_t)(rule.minus_rate), direction, x);

    return WITHOUT_DENORMALS(next);
}

#if PSGD_MOMENTUM
#define PREFETCH_MOMENTUM(p_)   PREFETCH(p_)
#define LOAD_MOMENTUM(from_)    LOAD(from_)
#define STORE_MOMENTUM(v_, to_) STORE(v_, to_)
#else
#define PREFETCH_MOMENTUM(p_)
#define LOAD_MOMENTUM(from_)    (vector_t)(0.0f)
#define STORE_MOMENTUM(v_, to_)
#endif

/* u_ is the update at x_at_ and m_at_. */
#define APPLY(u_, x_at_, m_at_) \
    { \
        const vector_t x = LOAD(x_at_); \
        const vector_t d = fma((vector_t)(rule.decay), x, (u_)); \
        const vector_t m = next_momentum(LOAD_MOMENTUM(m_at_), d, rule.lambda); \
        STORE_MOMENTUM(m, m_at_); \
        STORE(next_x(x, m, d, rule), x_at_); \
    }

#if PSGD_FROM_FACTORS

/* Some rows of one item. Pointers are at the first row, and at column 0 of the matrix and element 0 of a factor's columns. */
typedef struct band {
    uint                r;
    ulong               rows, cols; /* of the item: distances in memory */
    global float       *x;
    global float       *m;
    global const float *p;
    global const float *q;
    float               scale_1, scale_2, flush_below;
#if PSGD_VECTORS
    float clean[4 * PSGD_MAX_RANK]; /* P^ of the band's rows, without dust */
#endif
} band_t;

static float without_dust(float x)
{
    return fabs(x) < PSGD_DUST ? 0.0f : x;
}

#if PSGD_VECTORS
#define CLEAN_P(a_) (b->clean[k * 4 + a_])
#else
#define CLEAN_P(a_) without_dust(b->p[k * b->rows + a_])
#endif

#define BEGIN_ROW(a_) \
    PREFETCH(b->x + (a_ + ROWS_AHEAD) * b->cols + j) \
    PREFETCH_MOMENTUM(b->m + (a_ + ROWS_AHEAD) * b->cols + j) \
    vector_t u_##a_ = (vector_t)(0.0f);

#define ADD_TERM(a_) u_##a_ = fma((vector_t)(CLEAN_P(a_)), q_k, u_##a_);

#define END_ROW(a_) \
    u_##a_ = select(u_##a_ * b->scale_1 * b->scale_2, (vector_t)(0.0f), isless(fabs(u_##a_), (vector_t)(b->flush_below))); \
    APPLY(u_##a_, b->x + a_ * b->cols + j, b->m + a_ * b->cols + j)

#define DO_COLUMNS(rows_) \
    ROWS_##rows_(BEGIN_ROW) \
    for (uint k = 0; k < RANK_OF(b); ++k) { \
        const vector_t q_k = LOAD(b->q + k * b->cols + j); \
        ROWS_##rows_(ADD_TERM) \
    } \
    ROWS_##rows_(END_ROW)

#define DEFINE_BAND(rows_) \
    static void do_band_##rows_(const band_t *b, rule_t rule, ulong begin, ulong end) \
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
        }
    }
#else
    (void)b;
    (void)rows;
#endif
}

/* Offsets are in elements. The scales are those of all matrices, four floats each: psgd_update_scale_t. */
kernel void apply(PSGD_RAGGED_PARAMS, global const float *p_mem, ulong p_offset, global const float *q_mem, ulong q_offset,
                  global const float *scales_mem, ulong scales_offset, float minus_rate, float lambda, float decay)
{
    PSGD_FIND_TILE();
    const rule_t        rule  = {minus_rate, lambda, decay};
    global const float *scale = scales_mem + scales_offset + 4 * (ulong)item.scale_index;
    band_t              b;
    uint                row = 0;

    b.r           = item.r;
    b.rows        = item.rows;
    b.cols        = item.cols;
    b.x           = grad + (ulong)tile.row * item.cols;
    b.m           = error + (ulong)tile.row * item.cols;
    b.p           = p_mem + p_offset + item.p_offset + tile.row;
    b.q           = q_mem + q_offset + item.q_offset;
    b.scale_1     = scale[0];
    b.scale_2     = scale[1];
    b.flush_below = scale[2];
    while (row < tile.rows) {
        const uint step = row + 4 <= tile.rows ? 4 : 1;

        load_p(&b, step);
        if (step == 4) {
            do_band_4(&b, rule, tile.col, (ulong)tile.col + tile.cols);
        } else {
            do_band_1(&b, rule, tile.col, (ulong)tile.col + tile.cols);
        }
        row += step;
        b.x += step * b.cols;
        b.m += step * b.cols;
        b.p += step;
    }
}

#else

/* An item is one tensor: 1 row of `cols` elements. */
kernel void apply(PSGD_RAGGED_PARAMS, global const float *updates_mem, ulong updates_offset, float minus_rate,
                  float lambda, float decay)
{
    PSGD_FIND_TILE();
    const rule_t        rule = {minus_rate, lambda, decay};
    global const float *u    = updates_mem + updates_offset + item.p_offset;

    FOR_LANES(j, tile.col, (ulong)tile.col + tile.cols, APPLY(LOAD(u + j), grad + j, error + j));
}

#endif

/* half_x = x rounded to half precision, nearest even. In a launch's places half_x lies where gradients do, in elements of its own
 * size, and x where error memories do. An item is one tensor: 1 row of `cols` elements. */
kernel void narrow(PSGD_RAGGED_PARAMS)
{
    PSGD_FIND_TILE();
    global half *to = (global half *)grad_mem + place.grad_offset;

    (void)grad;
    for (ulong j = tile.col + get_local_id(0); j < (ulong)tile.col + tile.cols; j += get_local_size(0)) {
        vstore_half_rte(error[j], j, to);
    }
}
