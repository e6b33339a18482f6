/* Why scaling rounds nothing and no denormal appears, for r <= 1024 and any P^ with orthonormal columns.
 *
 * Let e be such that max |Qbar| lies in [2^e, 2^(e+1)); for floats other than 0 and below 2^120, -149 <= e <= 119.
 *
 * 1. q = Qbar * 2^-e lies in (-2, 2). Entries with |q| < 2^-40 become 0; the others keep their significant bits and get
 *    an exponent in [-40, 0], which is exact (a denormal Qbar has leading zeros, and so has room to spare).
 * 2. Entries of P^ below 2^-40 become 0. What is left of P^ and q are multiples of 2^(-40-23), hence every product is a
 *    multiple of 2^-126 = FLT_MIN. So is every partial sum c: the exact p*q + c is one, and rounding to 24 bits keeps
 *    it one (below 2^-102 it is exact, above it the grid is coarser). A multiple of FLT_MIN is 0 or normal.
 * 3. A row of P^ has norm <= 1 and a column of q norm < 2 sqrt(r) <= 64, so |c| <= 64 up to rounding, < 2^7.
 * 4. Undoing the scale, c * 2^a * 2^b with a + b = e, a = e / 2 rounded toward 0, so that a and b have the sign of e
 *    and lie in [-75, 60]: both factors are normal floats.
 *    e >= 0: the magnitude only grows, to less than 2^(7 + 119) < FLT_MAX; both products are exact and normal.
 *            flush_below is FLT_MIN, and only a c of 0 is below that.
 *    e <  0: flush_below is 2^(-126-e), an exact float in [2^-125, 2^23]. A c that is not below it has
 *            |c| 2^e >= 2^-126, so the result is normal, and the intermediate product is larger still: both are exact.
 *            A c below it would end as a denormal, and gives 0 instead, less than fp32 can tell from 0 in normal
 *            numbers. (A device evaluates the products in that case too, and throws them away.)
 * 5. A c of 0 is always below flush_below and so gives +0. That matters where a compiler makes fma(p, q, 0) a product,
 *    as Mesa's does: it is the same but for a zero that may be -0. */
#include "ops/decompress.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "device/program.h"

/* ------------------------------------------------------------------------------------------------------------------
 * The scale of Qbar
 * ---------------------------------------------------------------------------------------------------------------- */

enum {
    FRACTION_BITS = 23,
    EXPONENT_BIAS = 127,
    MIN_EXPONENT  = -126, /* of a normal float */
    DUST_EXPONENT = -40,  /* scaled entries below 2^this count as 0; cl/decompress.cl has the same for P^ */
    MAX_EXPONENT  = 119   /* of Qbar: above it the update could overflow */
};

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

static uint32_t magnitude_of(float x)
{
    return bits_of(x) & UINT32_C(0x7FFFFFFF); /* as an integer it is ordered as |x| is; NaN comes after Inf */
}

/* |x| = (1 + fraction * 2^-23) * 2^exponent for a magnitude that is not 0, denormal ones included. */
static int split(uint32_t magnitude, uint32_t *fraction_p)
{
    int exponent = (int)(magnitude >> FRACTION_BITS) - EXPONENT_BIAS;

    if (exponent < MIN_EXPONENT) { /* denormal: magnitude * 2^-149 */
        exponent = MIN_EXPONENT;
        for (; (magnitude >> FRACTION_BITS) == 0; magnitude <<= 1) {
            --exponent;
        }
    }
    *fraction_p = magnitude & ((UINT32_C(1) << FRACTION_BITS) - 1);
    return exponent;
}

/* (1 + fraction * 2^-23) * 2^exponent, for an exponent of normal floats. */
static float join(int exponent, uint32_t fraction)
{
    return float_of(((uint32_t)(exponent + EXPONENT_BIAS) << FRACTION_BITS) | fraction);
}

static float scale_down(float x, int scale_exponent)
{
    uint32_t magnitude = magnitude_of(x);
    uint32_t fraction;
    int      exponent;

    if (magnitude == 0) {
        return 0.0f;
    }
    exponent = split(magnitude, &fraction) - scale_exponent;
    if (exponent < DUST_EXPONENT) {
        return 0.0f;
    }
    return magnitude == bits_of(x) ? join(exponent, fraction) : -join(exponent, fraction);
}

psgd_status_t psgd_update_scale_q(const float *q_mean, float *q_scaled, size_t elems, psgd_update_scale_t *scale_p)
{
    uint32_t largest = 0;
    uint32_t fraction;
    int      exponent = 0;

    for (size_t i = 0; i < elems; ++i) {
        uint32_t magnitude = magnitude_of(q_mean[i]);

        largest = magnitude > largest ? magnitude : largest;
    }
    if (largest != 0) {
        exponent = split(largest, &fraction);
    }
    if (exponent > MAX_EXPONENT) {
        return psgd_fail(PSGD_ERR_NONFINITE,
                         "the mean of Q holds %g; from 2^120 on, and for NaN and Inf, there is no update to be formed",
                         (double)float_of(largest));
    }
    for (size_t i = 0; i < elems; ++i) {
        q_scaled[i] = scale_down(q_mean[i], exponent);
    }
    scale_p->scale_1     = join(exponent / 2, 0);
    scale_p->scale_2     = join(exponent - exponent / 2, 0);
    scale_p->flush_below = join(exponent < 0 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);
    return PSGD_OK;
}

/* ------------------------------------------------------------------------------------------------------------------
 * The kernel
 * ---------------------------------------------------------------------------------------------------------------- */

struct psgd_decompressor {
    psgd_device_t  *device;
    psgd_program_t *program;
    psgd_kernel_t  *kernel;
    bool            error_feedback;
};

/* How a matrix is spread over work-items; the bits do not depend on it. */
typedef struct tiling {
    uint64_t rows_per_item; /* a multiple of TILE_ROWS */
    uint64_t cols_per_item;
    size_t   local[2]; /* columns, rows */
    size_t   global[2];
} tiling_t;

enum {
    TILE_ROWS           = 4,
    CPU_TILE_COLS       = 16,
    CPU_ITEMS_PER_UNIT  = 8,     /* work-items for each compute unit, so that a slow one does not hold up the rest */
    CPU_MIN_ELEMS       = 4096,  /* of one work-item: less is not worth starting one */
    CPU_Q_ELEMS         = 32768, /* of Q that a work-item goes over again and again: they stay in its cache */
    CPU_MIN_COLS        = 64,
    CPU_MAX_COLS        = 1024,
    CPU_MAX_LOOPS       = 40000, /* rounds of all loops of a work-item: Mesa's llvmpipe silently stops at 65535 */
    GPU_WORK_GROUP_SIZE = 256,
    GPU_GROUP_COLS      = 64,   /* columns of a work-group where there are that many */
    GPU_MAX_GROUP_ROWS  = 32768 /* work-groups in the second dimension, which some devices limit to 65535 */
};

static uint64_t divide_up(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

static uint64_t clamp(uint64_t x, uint64_t low, uint64_t high)
{
    return x < low ? low : (x > high ? high : x);
}

/* The largest power of two that is not above x >= 1. */
static size_t power_of_two_below(uint64_t x)
{
    size_t power = 1;

    while (power <= x / 2) {
        power *= 2;
    }
    return power;
}

/* How many rows by `cols` columns a work-item may take without going round its loops too often. What is left below
 * CPU_MAX_LOOPS is for the last rows, which are 3 tiles instead of 1: with r = 1024 and 64 columns 2 * 10 * 1026. */
static uint64_t max_rows_for_cpu(uint64_t cols, uint32_t r)
{
    uint64_t loops_of_tile = (uint64_t)r + 2;
    uint64_t tiles_of_band = cols / CPU_TILE_COLS + 6; /* up to 3 of 4 columns and 3 of 1 at the end */

    return clamp(CPU_MAX_LOOPS / loops_of_tile / tiles_of_band, 1, UINT32_MAX) * TILE_ROWS;
}

/* One work-item a work-group, each a chunk of rows by as many columns as keep their part of Q in the cache. */
static void tile_for_cpu(const psgd_device_limits_t *limits, const psgd_decompression_t *matrix, tiling_t *tiling)
{
    uint64_t cols      = clamp(CPU_Q_ELEMS / matrix->r, CPU_MIN_COLS, CPU_MAX_COLS) / CPU_TILE_COLS * CPU_TILE_COLS;
    uint64_t col_items = divide_up(matrix->cols, cols);
    uint64_t row_items = divide_up((uint64_t)limits->compute_units * CPU_ITEMS_PER_UNIT, col_items);
    uint64_t rows      = divide_up(matrix->rows, row_items);
    uint64_t min_rows  = divide_up(CPU_MIN_ELEMS, clamp(matrix->cols, 1, cols));
    uint64_t max_rows  = max_rows_for_cpu(clamp(matrix->cols, 1, cols), matrix->r);

    rows                  = divide_up(rows < min_rows ? min_rows : rows, TILE_ROWS) * TILE_ROWS;
    tiling->rows_per_item = rows < max_rows ? rows : max_rows;
    tiling->cols_per_item = cols;
    tiling->local[0]      = 1;
    tiling->local[1]      = 1;
    tiling->global[0]     = (size_t)col_items;
    tiling->global[1]     = (size_t)divide_up(matrix->rows, tiling->rows_per_item);
}

/* A column a work-item; work-groups as wide as the matrix allows, the rest of their size along the rows. */
static void tile_for_gpu(size_t max_work_group_size, const psgd_decompression_t *matrix, tiling_t *tiling)
{
    uint64_t bands          = divide_up(matrix->rows, TILE_ROWS);
    size_t   size           = power_of_two_below(clamp(max_work_group_size, 1, GPU_WORK_GROUP_SIZE));
    size_t   group_cols     = power_of_two_below(clamp(2 * matrix->cols - 1, 1, clamp(size, 1, GPU_GROUP_COLS)));
    size_t   group_rows     = power_of_two_below(clamp(size / group_cols, 1, bands));
    uint64_t bands_per_item = divide_up(bands, (uint64_t)group_rows * GPU_MAX_GROUP_ROWS);

    tiling->rows_per_item = bands_per_item * TILE_ROWS;
    tiling->cols_per_item = 1;
    tiling->local[0]      = group_cols;
    tiling->local[1]      = group_rows;
    tiling->global[0]     = (size_t)divide_up(matrix->cols, group_cols) * group_cols;
    tiling->global[1]     = (size_t)divide_up(divide_up(bands, bands_per_item), group_rows) * group_rows;
}

psgd_status_t psgd_decompressor_create(psgd_device_t *device, bool error_feedback, psgd_decompressor_t **decompressor_p)
{
    psgd_decompressor_t *decompressor;
    char                 options[64];
    psgd_status_t        status;

    status = psgd_alloc(1, sizeof(*decompressor), "the decompression kernel", &decompressor);
    if (status != PSGD_OK) {
        return status;
    }
    decompressor->device         = device;
    decompressor->error_feedback = error_feedback;
    snprintf(options, sizeof(options), "-DPSGD_ERROR_FEEDBACK=%d -DPSGD_VECTORS=%d", error_feedback ? 1 : 0,
             psgd_device_limits(device)->is_cpu ? 1 : 0);
    status = psgd_program_build(device, "decompress.cl", options, &decompressor->program);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_kernel_create(decompressor->program, "decompress", &decompressor->kernel);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *decompressor_p = decompressor;
    return PSGD_OK;

destroy:
    psgd_decompressor_destroy(decompressor);
    return status;
}

psgd_status_t psgd_decompressor_enqueue(psgd_decompressor_t *decompressor, const psgd_decompression_t *matrix)
{
    const psgd_device_limits_t *limits         = psgd_device_limits(decompressor->device);
    uint64_t                    p_offset       = matrix->p_hat.offset_bytes / sizeof(float);
    uint64_t                    q_offset       = matrix->q_scaled.offset_bytes / sizeof(float);
    uint64_t                    grad_offset    = matrix->grad.offset_bytes / sizeof(float);
    uint64_t                    q_local_offset = matrix->q_local.offset_bytes / sizeof(float);
    uint64_t                    error_offset   = matrix->error.offset_bytes / sizeof(float);
    size_t                      num_error_args = 4; /* the last ones */
    tiling_t                    tiling;

    if (limits->is_cpu) {
        tile_for_cpu(limits, matrix, &tiling);
    } else {
        tile_for_gpu(psgd_kernel_max_work_group_size(decompressor->kernel), matrix, &tiling);
    }

    const psgd_arg_t args[]   = {PSGD_ARG(matrix->rows),
                                 PSGD_ARG(matrix->cols),
                                 PSGD_ARG(matrix->r),
                                 PSGD_ARG(tiling.rows_per_item),
                                 PSGD_ARG(tiling.cols_per_item),
                                 PSGD_ARG_MEM(matrix->p_hat),
                                 PSGD_ARG(p_offset),
                                 PSGD_ARG_MEM(matrix->q_scaled),
                                 PSGD_ARG(q_offset),
                                 PSGD_ARG(matrix->scale.scale_1),
                                 PSGD_ARG(matrix->scale.scale_2),
                                 PSGD_ARG(matrix->scale.flush_below),
                                 PSGD_ARG_MEM(matrix->grad),
                                 PSGD_ARG(grad_offset),
                                 PSGD_ARG_MEM(matrix->q_local),
                                 PSGD_ARG(q_local_offset),
                                 PSGD_ARG_MEM(matrix->error),
                                 PSGD_ARG(error_offset)};
    size_t           num_args = sizeof(args) / sizeof(args[0]) - (decompressor->error_feedback ? 0 : num_error_args);

    return psgd_kernel_enqueue(decompressor->device, decompressor->kernel, 2, tiling.global, tiling.local, args,
                               num_args);
}

void psgd_decompressor_destroy(psgd_decompressor_t *decompressor)
{
    if (decompressor == NULL) {
        return;
    }
    psgd_kernel_destroy(decompressor->kernel);
    psgd_program_destroy(decompressor->program);
    psgd_free(decompressor);
}
