#include "ops/compute_p.h"

#include <stdio.h>

#include "base/arith.h"
#include "base/memory.h"

enum {
    BAND_ROWS       = 4,     /* rows that the kernel does together */
    SCRATCH_SUMS    = 16,    /* of 4 rows and 4 columns of Q^, that the work-items of a group add up together */
    MAX_VECTOR_COLS = 16384, /* of one tile; beyond it the columns are split */
    MAX_GROUP_COLS  = 2048,
    MAX_GROUP_BANDS = 4
};

struct psgd_compute_p {
    psgd_ragged_t  *ragged;
    psgd_kernel_t  *kernel;
    psgd_kernel_t  *settle; /* NULL but for PSGD_FORM_LAZY */
    psgd_tiling_t  *tiling;
    size_t          group_size;
};

/* ---- tiles ---- */

/* What a work-item does for 4 rows by tile_cols columns, in rounds of loops, where a group shares the columns: per column
 * the chain over k and the 4-fold steps over k; per block of 512 columns and 4 steps over k the sums over the group. */
static uint64_t loops_of_band(uint64_t tile_cols, uint32_t r)
{
    return psgd_divide_up(tile_cols, PSGD_GROUP_LANES) * (r + psgd_divide_up(r, 4) + 2) +
           psgd_divide_up(tile_cols, 512) * psgd_divide_up(r, 4) * 24;
}

/* Columns of a tile, where a group shares them: a band must be within the bound on loops. */
static uint64_t max_group_cols(const psgd_device_t *device, uint32_t r)
{
    uint64_t cols = MAX_GROUP_COLS;

    while ((cols > PSGD_GROUP_LANES) && (loops_of_band(cols, r) > psgd_max_loops(device))) {
        cols /= 2;
    }
    return cols;
}

static psgd_cut_t cut_item(const psgd_device_t *device, const psgd_ragged_item_t *item, uint64_t tile_elems)
{
    bool     uses_vectors = psgd_uses_vectors(device);
    uint64_t max_cols     = uses_vectors ? MAX_VECTOR_COLS : max_group_cols(device, item->r);
    uint64_t col_tiles    = psgd_divide_up(item->cols, max_cols);
    uint64_t cols         = psgd_round_up(psgd_divide_up(item->cols, col_tiles), PSGD_GROUP_LANES);
    uint64_t rows         = psgd_round_up(psgd_max(tile_elems / psgd_min(cols, item->cols), 1), BAND_ROWS);

    if (!uses_vectors) {
        uint64_t bands = psgd_clamp(psgd_max_loops(device) / loops_of_band(cols, item->r), 1, MAX_GROUP_BANDS);

        rows = psgd_min(rows, bands * BAND_ROWS);
    }
    return (psgd_cut_t){(uint32_t)psgd_min(rows, item->rows), (uint32_t)psgd_min(cols, item->cols)};
}

static psgd_status_t make_tiling(psgd_compute_p_t *a, bool with_product)
{
    psgd_device_t            *device = psgd_ragged_device(a->ragged);
    size_t                    num_items;
    const psgd_ragged_item_t *items      = psgd_ragged_items(a->ragged, &num_items);
    uint64_t                  tile_elems = psgd_ragged_tile_elems(a->ragged);
    psgd_cut_t               *cuts       = NULL;
    psgd_status_t             status;

    status = psgd_alloc(num_items, sizeof(*cuts), "the cuts of pass A", &cuts);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < num_items; ++i) {
        cuts[i] = cut_item(device, &items[i], tile_elems);
    }
    status = psgd_tiling_create(a->ragged, cuts, with_product ? PSGD_SUMS_OVER_COLS : PSGD_SUMS_NONE, &a->tiling);
    psgd_free(cuts);
    return status;
}

/* ---- create, enqueue, destroy ---- */

/* The ranks that the kernel knows: the chain of the lazy form goes over those of the step before, the product over those of this one;
 * the chain alone keeps something of a factor. */
static psgd_ranks_t ranks_of(const psgd_compute_p_t *a, psgd_form_t form, bool with_product)
{
    psgd_ranks_t ranks = psgd_ragged_ranks(a->ragged);

    if (form == PSGD_FORM_LAZY) {
        return ranks;
    }
    return (psgd_ranks_t){with_product ? ranks.common : 0, 1};
}

static psgd_status_t make_kernels(psgd_compute_p_t *a, psgd_form_t form, bool with_product)
{
    char            variant[PSGD_VARIANT_OPTIONS_BYTES];
    char            options[PSGD_VARIANT_OPTIONS_BYTES + 24];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(psgd_ragged_device(a->ragged), form, ranks_of(a, form, with_product), variant);
    snprintf(options, sizeof(options), "%s -DPSGD_PRODUCT=%d", variant, with_product ? 1 : 0);
    status = psgd_program_get(psgd_ragged_device(a->ragged), "compute_p.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_create(program, "compute_p", &a->kernel);
    if ((status != PSGD_OK) || (form != PSGD_FORM_LAZY)) {
        return status;
    }
    return psgd_kernel_create(program, "settle", &a->settle);
}

psgd_status_t psgd_compute_p_create(psgd_ragged_t *ragged, psgd_form_t form, bool with_product,
                                    psgd_compute_p_t **compute_p_p)
{
    psgd_compute_p_t *a;
    psgd_status_t     status;

    status = psgd_alloc(1, sizeof(*a), "pass A", &a);
    if (status != PSGD_OK) {
        return status;
    }
    a->ragged     = ragged;
    a->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status        = make_kernels(a, form, with_product);
    if (status != PSGD_OK) {
        goto destroy_a;
    }
    status = make_tiling(a, with_product);
    if (status != PSGD_OK) {
        goto destroy_a;
    }
    *compute_p_p = a;
    return PSGD_OK;

destroy_a:
    psgd_compute_p_destroy(a);
    return status;
}

uint64_t psgd_compute_p_part_elems(const psgd_compute_p_t *compute_p)
{
    return psgd_tiling_part_elems(compute_p->tiling);
}

psgd_status_t psgd_compute_p_enqueue(psgd_compute_p_t *a, const psgd_compute_p_views_t *views)
{
    uint64_t         q_offset        = views->q_hat.offset_bytes / sizeof(float);
    uint64_t         p_before_offset = views->p_before.offset_bytes / sizeof(float);
    uint64_t         q_before_offset = views->q_before.offset_bytes / sizeof(float);
    uint64_t         p_offset        = views->p.offset_bytes / sizeof(float);
    const psgd_arg_t args[]          = {PSGD_ARG_MEM(views->q_hat),
                                        PSGD_ARG(q_offset),
                                        PSGD_ARG_MEM(views->p_before),
                                        PSGD_ARG(p_before_offset),
                                        PSGD_ARG_MEM(views->q_before),
                                        PSGD_ARG(q_before_offset),
                                        PSGD_ARG_MEM(views->p),
                                        PSGD_ARG(p_offset),
                                        PSGD_ARG_MEM(views->parts),
                                        PSGD_ARG_LOCAL(SCRATCH_SUMS * a->group_size * sizeof(float))};
    psgd_status_t    status;

    status = psgd_tiling_enqueue(a->tiling, a->kernel, a->group_size, args, sizeof(args) / sizeof(args[0]));
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_tiling_enqueue_sums(a->tiling, views->parts, views->p);
}

psgd_status_t psgd_compute_p_enqueue_settle(psgd_compute_p_t *a, psgd_view_t p_before, psgd_view_t q_before)
{
    uint64_t         p_offset = p_before.offset_bytes / sizeof(float);
    uint64_t         q_offset = q_before.offset_bytes / sizeof(float);
    const psgd_arg_t args[]   = {PSGD_ARG_MEM(p_before), PSGD_ARG(p_offset), PSGD_ARG_MEM(q_before), PSGD_ARG(q_offset)};

    return psgd_tiling_enqueue(a->tiling, a->settle, a->group_size, args, sizeof(args) / sizeof(args[0]));
}

void psgd_compute_p_destroy(psgd_compute_p_t *a)
{
    if (a == NULL) {
        return;
    }
    psgd_tiling_destroy(a->tiling);
    psgd_kernel_destroy(a->settle);
    psgd_kernel_destroy(a->kernel);
    psgd_free(a);
}
