#include "ops/ragged.h"

#include <string.h>

#include "base/arith.h"
#include "base/memory.h"
#include "ops/sum_parts.h"

/* A rectangle of an item; the same layout as in cl/ragged.clh. */
typedef struct tile {
    uint32_t item;
    uint32_t row, rows;
    uint32_t col, cols;
    uint32_t part;
    uint64_t part_offset;
} tile_t;

static const uint32_t NO_PART = UINT32_MAX;

/* Where an item lies, in elements; the same layout as in cl/ragged.clh. */
typedef struct place {
    uint64_t grad_offset;
    uint64_t error_offset;
    uint32_t slot;
    uint32_t unused;
} place_t;

_Static_assert(sizeof(psgd_ragged_item_t) == 32, "the same layout as in cl/ragged.clh");
_Static_assert(sizeof(tile_t) == 32, "the same layout as in cl/ragged.clh");
_Static_assert(sizeof(place_t) == 24, "the same layout as in cl/ragged.clh");

/* Items that one launch can reach. */
typedef struct run {
    size_t      end_item; /* the first one behind it */
    size_t      num_slots;
    psgd_view_t slots[PSGD_RAGGED_SLOTS]; /* memory objects; offsets are the places' */
    psgd_view_t error;
} run_t;

struct psgd_ragged {
    psgd_device_t      *device;
    psgd_ragged_item_t *items;
    size_t              num_items;
    place_t            *places;
    psgd_view_t        *grads; /* as placed, to see what has changed */
    psgd_view_t        *errors;
    run_t              *runs; /* room for one an item */
    size_t              num_runs;
    size_t              focus; /* the only item that launches do; SIZE_MAX: all */
    psgd_view_t         item_table;
    psgd_view_t         place_table;
    bool                is_placed;    /* place_table holds places, as far as is known: */
    uint64_t            failed_waits; /* as many had failed when it was written */
};

struct psgd_tiling {
    psgd_ragged_t    *ragged;
    size_t           *first_tile; /* of each item, and the number of tiles behind the last */
    psgd_view_t       tile_table;
    psgd_sum_parts_t *sum; /* NULL where there are no parts */
    size_t           *first_sum; /* of each item, and the number of second sums behind the last */
    uint64_t          part_elems;
};

enum {
    TILES_PER_UNIT = 8,     /* for each compute unit, so that a slow one does not hold up the rest */
    MAX_TILE_ELEMS = 65536, /* enough to be worth a work-group, little enough to be spread evenly */
    MIN_TILE_ELEMS = 4096,
    PART_ALIGNMENT_ELEMS = 16 /* also in cl/ragged.clh */
};

enum { FIXED_ARGS = 4 + PSGD_RAGGED_SLOTS + 1, MAX_ARGS = FIXED_ARGS + 16 };

static psgd_status_t upload(psgd_device_t *device, const void *table, size_t bytes, const char *what, psgd_view_t *view_p)
{
    psgd_status_t status;

    status = psgd_buffer_create(device, bytes, what, view_p);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(device, *view_p, table, bytes);
    return psgd_device_settle(device, status, what);
}

/* ---- items and their places ---- */

static psgd_status_t allocate_tables(psgd_ragged_t *ragged, size_t num_items)
{
    psgd_status_t status;

    status = psgd_alloc(num_items, sizeof(*ragged->items), "a table of matrices", &ragged->items);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_items, sizeof(*ragged->places), "a table of places", &ragged->places);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_items, sizeof(*ragged->grads), "a table of gradients", &ragged->grads);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_items, sizeof(*ragged->errors), "a table of error memories", &ragged->errors);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_alloc(num_items, sizeof(*ragged->runs), "a table of launches", &ragged->runs);
}

psgd_status_t psgd_ragged_create(psgd_device_t *device, const psgd_ragged_item_t *items, size_t num_items,
                                 psgd_ragged_t **ragged_p)
{
    psgd_ragged_t *ragged;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*ragged), "a list of matrices", &ragged);
    if (status != PSGD_OK) {
        return status;
    }
    ragged->device = device;
    ragged->focus  = SIZE_MAX;
    status         = allocate_tables(ragged, num_items);
    if (status != PSGD_OK) {
        goto destroy_ragged;
    }
    ragged->num_items = num_items;
    memcpy(ragged->items, items, num_items * sizeof(*items));
    status = psgd_buffer_create(device, num_items * sizeof(place_t), "the table of places", &ragged->place_table);
    if (status != PSGD_OK) {
        goto destroy_ragged;
    }
    status = upload(device, items, num_items * sizeof(*items), "the table of matrices", &ragged->item_table);
    if (status != PSGD_OK) {
        goto destroy_ragged;
    }
    *ragged_p = ragged;
    return PSGD_OK;

destroy_ragged:
    psgd_ragged_destroy(ragged);
    return status;
}

void psgd_ragged_destroy(psgd_ragged_t *ragged)
{
    if (ragged == NULL) {
        return;
    }
    psgd_buffer_destroy(ragged->device, &ragged->place_table);
    psgd_buffer_destroy(ragged->device, &ragged->item_table);
    psgd_free(ragged->runs);
    psgd_free(ragged->errors);
    psgd_free(ragged->grads);
    psgd_device_free_host(ragged->device, ragged->places);
    psgd_free(ragged->items);
    psgd_free(ragged);
}

const psgd_ragged_item_t *psgd_ragged_items(const psgd_ragged_t *ragged, size_t *num_items_p)
{
    *num_items_p = ragged->num_items;
    return ragged->items;
}

psgd_device_t *psgd_ragged_device(const psgd_ragged_t *ragged)
{
    return ragged->device;
}

psgd_ranks_t psgd_ragged_ranks(const psgd_ragged_t *ragged)
{
    psgd_ranks_t ranks = {ragged->items[0].r, 1};

    for (size_t i = 0; i < ragged->num_items; ++i) {
        ranks.common  = ragged->items[i].r == ranks.common ? ranks.common : 0;
        ranks.largest = ragged->items[i].r > ranks.largest ? ragged->items[i].r : ranks.largest;
    }
    return ranks;
}

uint64_t psgd_ragged_tile_elems(const psgd_ragged_t *ragged)
{
    uint64_t units = psgd_device_limits(ragged->device)->compute_units;
    uint64_t total = 0;

    for (size_t i = 0; i < ragged->num_items; ++i) {
        total += (uint64_t)ragged->items[i].rows * ragged->items[i].cols;
    }
    return psgd_clamp(total / (units * TILES_PER_UNIT), MIN_TILE_ELEMS, MAX_TILE_ELEMS);
}

static bool views_are_equal(psgd_view_t a, psgd_view_t b)
{
    return (a.mem == b.mem) && (a.offset_bytes == b.offset_bytes);
}

/* Takes note of where everything lies; whether anything has moved. */
static bool note_views(psgd_ragged_t *ragged, const psgd_view_t *grads, const psgd_view_t *errors)
{
    bool is_changed = false;

    for (size_t i = 0; i < ragged->num_items; ++i) {
        psgd_view_t error = errors == NULL ? (psgd_view_t){NULL, 0} : errors[i];

        is_changed = is_changed || !views_are_equal(grads[i], ragged->grads[i]) ||
                     !views_are_equal(error, ragged->errors[i]);
        ragged->grads[i]  = grads[i];
        ragged->errors[i] = error;
    }
    return is_changed;
}

/* The run's slot for a memory object, a new one if need be; PSGD_RAGGED_SLOTS where there is none left. */
static size_t find_slot(run_t *run, void *mem)
{
    for (size_t s = 0; s < run->num_slots; ++s) {
        if (run->slots[s].mem == mem) {
            return s;
        }
    }
    if (run->num_slots < PSGD_RAGGED_SLOTS) {
        run->slots[run->num_slots] = (psgd_view_t){mem, 0};
        return run->num_slots++;
    }
    return PSGD_RAGGED_SLOTS;
}

/* Every memory argument of a kernel names some buffer, also where it is not used. */
static void fill_slots(run_t *run)
{
    for (size_t s = run->num_slots; s < PSGD_RAGGED_SLOTS; ++s) {
        run->slots[s] = run->slots[0];
    }
    if (run->error.mem == NULL) {
        run->error = run->slots[0];
    }
}

static void make_runs(psgd_ragged_t *ragged)
{
    run_t *run = NULL;

    ragged->num_runs = 0;
    for (size_t i = 0; i < ragged->num_items; ++i) {
        size_t slot = PSGD_RAGGED_SLOTS;

        if ((run != NULL) && (run->error.mem == ragged->errors[i].mem)) {
            slot = find_slot(run, ragged->grads[i].mem);
        }
        if (slot == PSGD_RAGGED_SLOTS) {
            run            = &ragged->runs[ragged->num_runs++];
            run->num_slots = 0;
            run->error     = (psgd_view_t){ragged->errors[i].mem, 0};
            slot           = find_slot(run, ragged->grads[i].mem);
        }
        run->end_item                  = i + 1;
        ragged->places[i].slot         = (uint32_t)slot;
        ragged->places[i].grad_offset  = ragged->grads[i].offset_bytes / sizeof(float);
        ragged->places[i].error_offset = ragged->errors[i].offset_bytes / sizeof(float);
    }
    for (size_t n = 0; n < ragged->num_runs; ++n) {
        fill_slots(&ragged->runs[n]);
    }
}

psgd_status_t psgd_ragged_place(psgd_ragged_t *ragged, const psgd_view_t *grads, const psgd_view_t *errors)
{
    const uint64_t failed_waits = psgd_device_failed_waits(ragged->device);
    bool           has_changed  = note_views(ragged, grads, errors);
    psgd_status_t  status;

    if (!has_changed && ragged->is_placed && (ragged->failed_waits == failed_waits)) {
        return PSGD_OK;
    }
    make_runs(ragged);
    status               = psgd_buffer_enqueue_write(ragged->device, ragged->place_table, ragged->places,
                                                     ragged->num_items * sizeof(*ragged->places));
    ragged->is_placed    = status == PSGD_OK;
    ragged->failed_waits = failed_waits;
    return status;
}

/* ---- tiles ---- */

static size_t row_tiles(const psgd_ragged_item_t *item, psgd_cut_t cut)
{
    return (size_t)psgd_divide_up(item->rows, cut.rows);
}

static size_t col_tiles(const psgd_ragged_item_t *item, psgd_cut_t cut)
{
    return (size_t)psgd_divide_up(item->cols, cut.cols);
}

static size_t num_parts(const psgd_ragged_item_t *item, psgd_cut_t cut, psgd_sums_t sums)
{
    switch (sums) {
    case PSGD_SUMS_OVER_COLS: return col_tiles(item, cut);
    case PSGD_SUMS_OVER_ROWS: return row_tiles(item, cut);
    case PSGD_SUMS_NONE: break;
    }
    return 1;
}

/* The tiles of item `index` from *tile on. */
static void write_tiles(tile_t *tile, size_t index, const psgd_ragged_item_t *item, psgd_cut_t cut, psgd_sums_t sums,
                        uint64_t part_offset)
{
    bool has_parts = num_parts(item, cut, sums) > 1;

    for (uint32_t y = 0; y < row_tiles(item, cut); ++y) {
        for (uint32_t x = 0; x < col_tiles(item, cut); ++x) {
            tile->item        = (uint32_t)index;
            tile->row         = y * cut.rows;
            tile->rows        = (uint32_t)psgd_min(cut.rows, item->rows - tile->row);
            tile->col         = x * cut.cols;
            tile->cols        = (uint32_t)psgd_min(cut.cols, item->cols - tile->col);
            tile->part        = !has_parts ? NO_PART : (sums == PSGD_SUMS_OVER_ROWS ? y : x);
            tile->part_offset = part_offset;
            ++tile;
        }
    }
}

/* How far the sums of one column of a factor lie from those of the next in a part: aligned for vectors. */
static uint64_t part_distance(const psgd_ragged_item_t *item, psgd_sums_t sums)
{
    return psgd_round_up(sums == PSGD_SUMS_OVER_COLS ? item->rows : item->cols, PART_ALIGNMENT_ELEMS);
}

/* The second sums of an item that is cut along the axis that is summed over, one for each column of the factor. */
static void describe_sums(const psgd_ragged_item_t *item, psgd_cut_t cut, psgd_sums_t sums, uint64_t part_offset,
                          psgd_summation_t *summations)
{
    bool     is_p     = sums == PSGD_SUMS_OVER_COLS;
    uint64_t length   = is_p ? item->rows : item->cols;
    uint64_t distance = part_distance(item, sums);

    for (uint32_t k = 0; k < item->r; ++k) {
        summations[k].out_offset  = (is_p ? item->p_offset : item->q_offset) + k * length;
        summations[k].part_offset = part_offset + k * distance;
        summations[k].stride      = item->r * distance;
        summations[k].count       = length;
        summations[k].num_parts   = (uint32_t)num_parts(item, cut, sums);
    }
}

static size_t find_first_tiles(psgd_tiling_t *tiling, const psgd_cut_t *cuts)
{
    const psgd_ragged_t *ragged = tiling->ragged;
    size_t               count  = 0;

    for (size_t i = 0; i < ragged->num_items; ++i) {
        tiling->first_tile[i] = count;
        count += row_tiles(&ragged->items[i], cuts[i]) * col_tiles(&ragged->items[i], cuts[i]);
    }
    tiling->first_tile[ragged->num_items] = count;
    return count;
}

/* Fills in the tables. Returns how many second sums there are. */
static size_t cut_items(psgd_tiling_t *tiling, const psgd_cut_t *cuts, psgd_sums_t sums, tile_t *tiles,
                        psgd_summation_t *summations)
{
    size_t num_summations = 0;

    for (size_t i = 0; i < tiling->ragged->num_items; ++i) {
        const psgd_ragged_item_t *item = &tiling->ragged->items[i];

        tiling->first_sum[i] = num_summations;
        write_tiles(tiles + tiling->first_tile[i], i, item, cuts[i], sums, tiling->part_elems);
        if (num_parts(item, cuts[i], sums) > 1) {
            describe_sums(item, cuts[i], sums, tiling->part_elems, summations + num_summations);
            num_summations += item->r;
            tiling->part_elems += item->r * part_distance(item, sums) * num_parts(item, cuts[i], sums);
        }
    }
    tiling->first_sum[tiling->ragged->num_items] = num_summations;
    return num_summations;
}

static size_t max_summations(const psgd_ragged_t *ragged)
{
    size_t count = 0;

    for (size_t i = 0; i < ragged->num_items; ++i) {
        count += ragged->items[i].r;
    }
    return count;
}

static psgd_status_t make_tables(psgd_tiling_t *tiling, const psgd_cut_t *cuts, psgd_sums_t sums)
{
    psgd_device_t    *device     = tiling->ragged->device;
    size_t            num_tiles  = find_first_tiles(tiling, cuts);
    tile_t           *tiles      = NULL;
    psgd_summation_t *summations = NULL;
    size_t            num_summations;
    psgd_status_t     status;

    status = psgd_alloc(num_tiles, sizeof(*tiles), "the table of tiles", &tiles);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(max_summations(tiling->ragged), sizeof(*summations), "the table of second sums", &summations);
    if (status != PSGD_OK) {
        goto free_tables;
    }
    num_summations = cut_items(tiling, cuts, sums, tiles, summations);
    status         = upload(device, tiles, num_tiles * sizeof(*tiles), "the table of tiles", &tiling->tile_table);
    if ((status == PSGD_OK) && (num_summations > 0)) {
        status = psgd_sum_parts_create(device, summations, num_summations, &tiling->sum);
    }

free_tables:
    psgd_free(summations);
    psgd_device_free_host(device, tiles);
    return status;
}

psgd_status_t psgd_tiling_create(psgd_ragged_t *ragged, const psgd_cut_t *cuts, psgd_sums_t sums,
                                 psgd_tiling_t **tiling_p)
{
    psgd_tiling_t *tiling;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*tiling), "a list of tiles", &tiling);
    if (status != PSGD_OK) {
        return status;
    }
    tiling->ragged = ragged;
    status = psgd_alloc(ragged->num_items + 1, sizeof(*tiling->first_tile), "a list of tiles", &tiling->first_tile);
    if (status != PSGD_OK) {
        goto destroy_tiling;
    }
    status = psgd_alloc(ragged->num_items + 1, sizeof(*tiling->first_sum), "a list of second sums", &tiling->first_sum);
    if (status != PSGD_OK) {
        goto destroy_tiling;
    }
    status = make_tables(tiling, cuts, sums);
    if (status != PSGD_OK) {
        goto destroy_tiling;
    }
    *tiling_p = tiling;
    return PSGD_OK;

destroy_tiling:
    psgd_tiling_destroy(tiling);
    return status;
}

psgd_status_t psgd_tiling_create_of_rows(psgd_ragged_t *ragged, psgd_tiling_t **tiling_p)
{
    uint64_t      tile_elems = psgd_ragged_tile_elems(ragged);
    psgd_cut_t   *cuts       = NULL;
    psgd_status_t status;

    status = psgd_alloc(ragged->num_items, sizeof(*cuts), "the cuts of rows", &cuts);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < ragged->num_items; ++i) {
        cuts[i] = (psgd_cut_t){1, (uint32_t)psgd_min(tile_elems, ragged->items[i].cols)};
    }
    status = psgd_tiling_create(ragged, cuts, PSGD_SUMS_NONE, tiling_p);
    psgd_free(cuts);
    return status;
}

void psgd_tiling_destroy(psgd_tiling_t *tiling)
{
    if (tiling == NULL) {
        return;
    }
    psgd_sum_parts_destroy(tiling->sum);
    psgd_buffer_destroy(tiling->ragged->device, &tiling->tile_table);
    psgd_free(tiling->first_sum);
    psgd_free(tiling->first_tile);
    psgd_free(tiling);
}

void psgd_ragged_focus(psgd_ragged_t *ragged, size_t item)
{
    ragged->focus = item;
}

/* Items first_item to end_item - 1, which one run reaches. */
static psgd_status_t enqueue_run(psgd_tiling_t *tiling, const run_t *run, size_t first_item, size_t end_item,
                                 psgd_kernel_t *kernel, size_t group_size, const psgd_arg_t *args, size_t num_args)
{
    const psgd_ragged_t *ragged     = tiling->ragged;
    const uint64_t       first_tile = tiling->first_tile[first_item];
    const size_t         num_tiles  = tiling->first_tile[end_item] - (size_t)first_tile;
    const size_t         global     = num_tiles * group_size;
    psgd_arg_t           all[MAX_ARGS];
    size_t               n = 0;

    if (num_tiles == 0) {
        return PSGD_OK;
    }
    all[n++] = PSGD_ARG_MEM(ragged->item_table);
    all[n++] = PSGD_ARG_MEM(ragged->place_table);
    all[n++] = PSGD_ARG_MEM(tiling->tile_table);
    all[n++] = PSGD_ARG(first_tile);
    for (size_t s = 0; s < PSGD_RAGGED_SLOTS; ++s) {
        all[n++] = PSGD_ARG_MEM(run->slots[s]);
    }
    all[n++] = PSGD_ARG_MEM(run->error);
    if (num_args > 0) {
        memcpy(all + n, args, num_args * sizeof(*args));
    }
    return psgd_kernel_enqueue(ragged->device, kernel, 1, &global, &group_size, all, n + num_args);
}

psgd_status_t psgd_tiling_enqueue(psgd_tiling_t *tiling, psgd_kernel_t *kernel, size_t group_size, const psgd_arg_t *args,
                                  size_t num_args)
{
    const size_t focus      = tiling->ragged->focus;
    size_t       first_item = 0;

    if (num_args > MAX_ARGS - FIXED_ARGS) {
        return psgd_fail(PSGD_ERR_INTERNAL, "a ragged launch with %zu arguments of its own", num_args);
    }
    for (size_t n = 0; n < tiling->ragged->num_runs; ++n) {
        const run_t  *run    = &tiling->ragged->runs[n];
        psgd_status_t status = PSGD_OK;

        if (focus == SIZE_MAX) {
            status = enqueue_run(tiling, run, first_item, run->end_item, kernel, group_size, args, num_args);
        } else if ((first_item <= focus) && (focus < run->end_item)) {
            status = enqueue_run(tiling, run, focus, focus + 1, kernel, group_size, args, num_args);
        }
        if (status != PSGD_OK) {
            return status;
        }
        first_item = run->end_item;
    }
    return PSGD_OK;
}

size_t psgd_tiling_first_tile(const psgd_tiling_t *tiling, size_t item)
{
    return tiling->first_tile[item];
}

uint64_t psgd_tiling_part_elems(const psgd_tiling_t *tiling)
{
    return tiling->part_elems;
}

psgd_status_t psgd_tiling_enqueue_sums(psgd_tiling_t *tiling, psgd_view_t parts, psgd_view_t out)
{
    const size_t focus = tiling->ragged->focus;

    if (tiling->sum == NULL) {
        return PSGD_OK;
    }
    return focus == SIZE_MAX ? psgd_sum_parts_enqueue(tiling->sum, parts, out)
                             : psgd_sum_parts_enqueue_some(tiling->sum, tiling->first_sum[focus],
                                                           tiling->first_sum[focus + 1], parts, out);
}
