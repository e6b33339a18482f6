#include "ops/compute_q.h"

#include "base/arith.h"
#include "base/memory.h"

enum {
    ROW_STEP       = 8,     /* rows that the kernel does together */
    TILES_PER_UNIT = 4,     /* for each compute unit, so that a slow one does not hold up the rest */
    MIN_TILE_ELEMS = 65536, /* of a work-item with vectors: less is not worth starting one */
    MIN_GROUP_ROWS = 64,
    MAX_COLS       = 1024,  /* of a tile, whose sums stay in a CPU's second cache */
    MIN_COLS       = 64
};

struct psgd_compute_q {
    psgd_ragged_t  *ragged;
    psgd_kernel_t  *kernel;
    psgd_tiling_t  *tiling;
    size_t          group_size;
};

/* ---- tiles ---- */

/* A part takes r x cols floats: no more of them than the other factor is long, twice, and than 1/64 of the matrix. */
static uint64_t max_parts(const psgd_ragged_item_t *item)
{
    return psgd_max(1, 2 * (uint64_t)item->rows / item->cols + (uint64_t)item->rows / (64 * (uint64_t)item->r));
}

static psgd_cut_t cut_item(const psgd_device_t *device, const psgd_ragged_item_t *item, uint64_t max_cols)
{
    uint64_t cols = psgd_uses_vectors(device) ? max_cols : PSGD_GROUP_LANES;
    uint64_t rows = psgd_divide_up(item->rows, max_parts(item));

    if (psgd_uses_vectors(device)) {
        rows = psgd_max(rows, MIN_TILE_ELEMS / psgd_min(item->cols, MAX_COLS));
    } else {
        rows = item->rows < 2 * MIN_GROUP_ROWS ? item->rows : psgd_max(rows, MIN_GROUP_ROWS);
        rows = psgd_min(rows, psgd_max_loops(device) / psgd_divide_up(item->r, 4));
    }
    rows = psgd_round_up(rows, ROW_STEP);
    return (psgd_cut_t){(uint32_t)psgd_min(rows, item->rows), (uint32_t)psgd_min(cols, item->cols)};
}

static size_t count_tiles(const psgd_device_t *device, const psgd_ragged_item_t *items, size_t num_items,
                          uint64_t max_cols)
{
    size_t count = 0;

    for (size_t i = 0; i < num_items; ++i) {
        psgd_cut_t cut = cut_item(device, &items[i], max_cols);

        count += (size_t)(psgd_divide_up(items[i].rows, cut.rows) * psgd_divide_up(items[i].cols, cut.cols));
    }
    return count;
}

/* Columns of a tile: as many as the cache holds, unless that leaves compute units without work. */
static uint64_t choose_cols(const psgd_device_t *device, const psgd_ragged_item_t *items, size_t num_items)
{
    size_t   wanted = (size_t)psgd_device_limits(device)->compute_units * TILES_PER_UNIT;
    uint64_t cols   = MAX_COLS;

    while ((cols > MIN_COLS) && (count_tiles(device, items, num_items, cols) < wanted)) {
        cols /= 2;
    }
    return cols;
}

static psgd_status_t make_tiling(psgd_compute_q_t *b)
{
    psgd_device_t            *device = psgd_ragged_device(b->ragged);
    size_t                    num_items;
    const psgd_ragged_item_t *items = psgd_ragged_items(b->ragged, &num_items);
    uint64_t                  cols  = choose_cols(device, items, num_items);
    psgd_cut_t               *cuts  = NULL;
    psgd_status_t             status;

    status = psgd_alloc(num_items, sizeof(*cuts), "the cuts of pass B", &cuts);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < num_items; ++i) {
        cuts[i] = cut_item(device, &items[i], cols);
    }
    status = psgd_tiling_create(b->ragged, cuts, PSGD_SUMS_OVER_ROWS, &b->tiling);
    psgd_free(cuts);
    return status;
}

/* ---- create, enqueue, destroy ---- */

static psgd_status_t make_kernel(psgd_compute_q_t *b, psgd_form_t form)
{
    char            options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    /* Where M lies is all that the form tells this pass. */
    psgd_variant_options(psgd_ragged_device(b->ragged), form == PSGD_FORM_LAZY ? form : PSGD_FORM_NO_FEEDBACK,
                         psgd_ragged_ranks(b->ragged), options);
    status = psgd_program_get(psgd_ragged_device(b->ragged), "compute_q.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "compute_q", &b->kernel);
}

psgd_status_t psgd_compute_q_create(psgd_ragged_t *ragged, psgd_form_t form, psgd_compute_q_t **compute_q_p)
{
    psgd_compute_q_t *b;
    psgd_status_t     status;

    status = psgd_alloc(1, sizeof(*b), "pass B", &b);
    if (status != PSGD_OK) {
        return status;
    }
    b->ragged     = ragged;
    b->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status        = make_kernel(b, form);
    if (status != PSGD_OK) {
        goto destroy_b;
    }
    status = make_tiling(b);
    if (status != PSGD_OK) {
        goto destroy_b;
    }
    *compute_q_p = b;
    return PSGD_OK;

destroy_b:
    psgd_compute_q_destroy(b);
    return status;
}

uint64_t psgd_compute_q_part_elems(const psgd_compute_q_t *compute_q)
{
    return psgd_tiling_part_elems(compute_q->tiling);
}

psgd_status_t psgd_compute_q_enqueue(psgd_compute_q_t *b, psgd_view_t p_hat, psgd_view_t q_local, psgd_view_t parts)
{
    uint64_t         p_offset = p_hat.offset_bytes / sizeof(float);
    uint64_t         q_offset = q_local.offset_bytes / sizeof(float);
    const psgd_arg_t args[]   = {PSGD_ARG_MEM(p_hat), PSGD_ARG(p_offset), PSGD_ARG_MEM(q_local), PSGD_ARG(q_offset),
                                 PSGD_ARG_MEM(parts)};
    psgd_status_t    status;

    status = psgd_tiling_enqueue(b->tiling, b->kernel, b->group_size, args, sizeof(args) / sizeof(args[0]));
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_tiling_enqueue_sums(b->tiling, parts, q_local);
}

void psgd_compute_q_destroy(psgd_compute_q_t *b)
{
    if (b == NULL) {
        return;
    }
    psgd_tiling_destroy(b->tiling);
    psgd_kernel_destroy(b->kernel);
    psgd_free(b);
}
