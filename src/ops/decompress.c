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
 *    A sum of up to 16 pieces (core/alternate.h), k r <= 1024: |c| <= 2 k sqrt(r) = 2 sqrt(k k r) <= 2^8, and 2^(8 + 119) is
 *    finite too. In every other piece the orthonormal factor stands on the other side; dust is 0 in both.
 * 5. A c of 0 is always below flush_below and so gives +0. That matters where a compiler makes fma(p, q, 0) a product,
 *    as Mesa's does: it is the same but for a zero that may be -0. */
#include "ops/decompress.h"

#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/bits.h"
#include "base/memory.h"
#include "base/vectorize.h"

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

static uint32_t magnitude_of(float x)
{
    return psgd_bits_of(x) & UINT32_C(0x7FFFFFFF); /* as an integer it is ordered as |x| is; NaN comes after Inf */
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
    return psgd_float_of(((uint32_t)(exponent + EXPONENT_BIAS) << FRACTION_BITS) | fraction);
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
    return magnitude == psgd_bits_of(x) ? join(exponent, fraction) : -join(exponent, fraction);
}

PSGD_VECTORIZE
static uint32_t largest_magnitude(const float *q, size_t elems)
{
    uint32_t largest = 0;

    for (size_t i = 0; i < elems; ++i) {
        uint32_t magnitude = magnitude_of(q[i]);

        largest = magnitude > largest ? magnitude : largest;
    }
    return largest;
}

/* Where denormal numbers count as dust: what is left is normal before and after, and only the exponent's field changes. */
PSGD_VECTORIZE
static void scale_normal(const float *q_mean, float *q_scaled, size_t elems, int scale_exponent)
{
    const uint32_t dust_below = (uint32_t)(scale_exponent + DUST_EXPONENT + EXPONENT_BIAS) << FRACTION_BITS;
    const uint32_t shift      = (uint32_t)scale_exponent << FRACTION_BITS;

    for (size_t i = 0; i < elems; ++i) {
        uint32_t bits = psgd_bits_of(q_mean[i]);

        q_scaled[i] = psgd_float_of((bits & UINT32_C(0x7FFFFFFF)) < dust_below ? 0 : bits - shift);
    }
}

static void scale_any(const float *q_mean, float *q_scaled, size_t elems, int scale_exponent)
{
    for (size_t i = 0; i < elems; ++i) {
        q_scaled[i] = scale_down(q_mean[i], scale_exponent);
    }
}

static void scale(const psgd_update_array_t *array, int scale_exponent)
{
    if (scale_exponent + DUST_EXPONENT >= MIN_EXPONENT) {
        scale_normal(array->values, array->scaled, array->elems, scale_exponent);
    } else {
        scale_any(array->values, array->scaled, array->elems, scale_exponent);
    }
}

psgd_status_t psgd_update_scale_arrays(const psgd_update_array_t *arrays, size_t num_arrays,
                                       psgd_update_scale_t *scale_p)
{
    uint32_t largest = 0;
    uint32_t fraction;
    int      exponent = 0;

    for (size_t i = 0; i < num_arrays; ++i) {
        uint32_t magnitude = largest_magnitude(arrays[i].values, arrays[i].elems);

        largest = magnitude > largest ? magnitude : largest;
    }
    if (largest != 0) {
        exponent = split(largest, &fraction);
    }
    if (exponent > MAX_EXPONENT) {
        return psgd_fail(PSGD_ERR_NONFINITE,
                         "the mean of Q holds %g; from 2^120 on, and for NaN and Inf, there is no update to be formed",
                         (double)psgd_float_of(largest));
    }
    for (size_t i = 0; i < num_arrays; ++i) {
        scale(&arrays[i], exponent);
    }
    scale_p->scale_1     = join(exponent / 2, 0);
    scale_p->scale_2     = join(exponent - exponent / 2, 0);
    scale_p->unused      = 0.0f;
    scale_p->flush_below = join(exponent < 0 ? MIN_EXPONENT - exponent : MIN_EXPONENT, 0);
    return PSGD_OK;
}

psgd_status_t psgd_update_scale_q(const float *q_mean, float *q_scaled, size_t elems, psgd_update_scale_t *scale_p)
{
    const psgd_update_array_t array = {q_mean, q_scaled, elems};

    return psgd_update_scale_arrays(&array, 1, scale_p);
}

/* ------------------------------------------------------------------------------------------------------------------
 * The kernel
 * ---------------------------------------------------------------------------------------------------------------- */

struct psgd_decompressor {
    psgd_ragged_t  *ragged;
    psgd_kernel_t  *kernel;
    psgd_tiling_t  *tiling;
    size_t          group_size;
    bool            is_rounded;
};

enum { ROUNDING_ARGS = 2 }; /* the last ones */

enum {
    BAND_ROWS       = 4,
    FACTOR_ELEMS    = 32768, /* of Q that a work-item with vectors goes over again and again: they stay in its cache */
    MIN_VECTOR_COLS = 64,
    MAX_VECTOR_COLS = 1024,
    GROUP_COLS      = 4 * PSGD_GROUP_LANES
};

/* The tile of one item. With vectors, as many columns as keep their part of Q in the cache. */
static psgd_cut_t cut_item(const psgd_device_t *device, const psgd_ragged_item_t *item, uint64_t tile_elems)
{
    bool     uses_vectors = psgd_uses_vectors(device);
    uint64_t cols         = uses_vectors
                                ? psgd_clamp(FACTOR_ELEMS / item->r, MIN_VECTOR_COLS, MAX_VECTOR_COLS) / 16 * 16
                                : GROUP_COLS;
    uint64_t rows;

    cols = psgd_min(cols, item->cols);
    rows = psgd_round_up(psgd_max(tile_elems / cols, 1), BAND_ROWS);
    if (!uses_vectors) {
        uint64_t loops_of_band = psgd_divide_up(cols, PSGD_GROUP_LANES) * ((uint64_t)item->r + 2);

        rows = psgd_min(rows, psgd_max(psgd_max_loops(device) / loops_of_band, 1) * BAND_ROWS);
    }
    return (psgd_cut_t){(uint32_t)psgd_min(rows, item->rows), (uint32_t)cols};
}

psgd_status_t psgd_decompress_tiling(psgd_ragged_t *ragged, psgd_tiling_t **tiling_p)
{
    psgd_device_t            *device = psgd_ragged_device(ragged);
    size_t                    num_items;
    const psgd_ragged_item_t *items      = psgd_ragged_items(ragged, &num_items);
    uint64_t                  tile_elems = psgd_ragged_tile_elems(ragged);
    psgd_cut_t               *cuts       = NULL;
    psgd_status_t             status;

    status = psgd_alloc(num_items, sizeof(*cuts), "the cuts of decompression", &cuts);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < num_items; ++i) {
        cuts[i] = cut_item(device, &items[i], tile_elems);
    }
    status = psgd_tiling_create(ragged, cuts, PSGD_SUMS_NONE, tiling_p);
    psgd_free(cuts);
    return status;
}

static psgd_status_t make_kernel(psgd_decompressor_t *decompressor, psgd_form_t form)
{
    psgd_device_t *device = psgd_ragged_device(decompressor->ragged);
    char           options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_program_t *program = NULL;
    psgd_status_t  status;

    /* The lazy form writes the update alone, as without feedback. */
    psgd_variant_options(device, form == PSGD_FORM_LAZY ? PSGD_FORM_NO_FEEDBACK : form,
                         psgd_ragged_ranks(decompressor->ragged), options);
    status = psgd_program_get(device, "decompress.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "decompress", &decompressor->kernel);
}

psgd_status_t psgd_decompressor_create(psgd_ragged_t *ragged, psgd_form_t form, psgd_decompressor_t **decompressor_p)
{
    psgd_decompressor_t *decompressor;
    psgd_status_t        status;

    status = psgd_alloc(1, sizeof(*decompressor), "the decompression kernel", &decompressor);
    if (status != PSGD_OK) {
        return status;
    }
    decompressor->ragged     = ragged;
    decompressor->is_rounded = form == PSGD_FORM_HALF;
    decompressor->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status                   = make_kernel(decompressor, form);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_decompress_tiling(ragged, &decompressor->tiling);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *decompressor_p = decompressor;
    return PSGD_OK;

destroy:
    psgd_decompressor_destroy(decompressor);
    return status;
}

psgd_status_t psgd_decompressor_enqueue(psgd_decompressor_t *decompressor, const psgd_decompress_views_t *views)
{
    uint64_t         p_offset       = views->p_hat.offset_bytes / sizeof(float);
    uint64_t         q_offset       = views->q_scaled.offset_bytes / sizeof(float);
    uint64_t         scales_offset  = views->update_scales.offset_bytes / sizeof(float);
    uint64_t         q_local_offset = views->q_local.offset_bytes / sizeof(float);
    const psgd_arg_t args[]         = {PSGD_ARG_MEM(views->p_hat),         PSGD_ARG(p_offset),
                                       PSGD_ARG_MEM(views->q_scaled),      PSGD_ARG(q_offset),
                                       PSGD_ARG_MEM(views->update_scales), PSGD_ARG(scales_offset),
                                       PSGD_ARG_MEM(views->q_local),       PSGD_ARG(q_local_offset),
                                       PSGD_ARG_MEM(views->rounding.keys), PSGD_ARG(views->rounding.step_key)};
    size_t           num_args       = sizeof(args) / sizeof(args[0]);

    return psgd_tiling_enqueue(decompressor->tiling, decompressor->kernel, decompressor->group_size, args,
                               decompressor->is_rounded ? num_args : num_args - ROUNDING_ARGS);
}

void psgd_decompressor_destroy(psgd_decompressor_t *decompressor)
{
    if (decompressor == NULL) {
        return;
    }
    psgd_tiling_destroy(decompressor->tiling);
    psgd_kernel_destroy(decompressor->kernel);
    psgd_free(decompressor);
}
