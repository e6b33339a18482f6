/* The host side of cl/orthogonalize.cl, which says how it works: tables of matrices and tiles, and the launches in order. */
#include "ops/orthogonalize.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "device/cl_device.h"
#include "device/program.h"

/* As in cl/orthogonalize.cl and what it includes. */
enum {
    LANES       = 64,
    BLOCK_ROWS  = 512,
    BATCH       = 16,
    CANDIDATES  = 2,
    PANEL       = 16,
    SLAB        = 64,
    PANEL_LANES = 16,
    CHUNK_ROWS  = 1024,
    STATE_BYTES = (4 + 2 * PANEL) * 4
};

enum {
    MAX_TILES        = 256, /* of one matrix: what each work-group adds up in every launch */
    MAX_PANEL_TILES  = 64,  /* the same where there are panels, whose records are 16 times as long */
    MAX_VECTOR_LANES = 16,  /* a vector may reach this far beyond the last record */
    MIN_VECTOR_WIDTH = 4    /* a CPU whose compiler asks for vectors shorter than this makes its own of the work-items */
};

/* Of a launch on a CPU, in multiply-adds of one compute unit: some 10 microseconds at some 10 G/s. */
static const double LAUNCH_COST = 1e5;

/* One matrix as the kernels see it. */
typedef struct matrix {
    uint64_t offset;
    uint64_t key;
    uint64_t records;
    uint32_t length;
    uint32_t columns;
    uint32_t first_tile;
    uint32_t num_tiles;
    uint32_t tile_rows;
    uint32_t unused;
} matrix_t;

_Static_assert(sizeof(matrix_t) == 48, "the same layout as in cl/orthogonalize.cl");

typedef enum stage {
    STAGE_MAXIMA,
    STAGE_SCALE,
    STAGE_PANEL_FIRST,
    STAGE_PANEL_AGAIN,
    STAGE_FIRST,
    STAGE_AGAIN,
    STAGE_FINISH,
    STAGE_FINISH_PANEL,
    STAGE_AT_ONCE, /* all of them, for devices that have groups of one work-item */
    NUM_STAGES
} stage_t;

static const char *const KERNEL_NAMES[NUM_STAGES] = {
    "orthogonalize_maxima",      "orthogonalize_scale",        "orthogonalize_panel_first",
    "orthogonalize_panel_again", "orthogonalize_first",        "orthogonalize_again",
    "orthogonalize_finish",      "orthogonalize_finish_panel", "orthogonalize_at_once"};

struct psgd_orthogonalizer {
    psgd_device_t             *device;
    psgd_orthogonalize_shape_t shape;
    psgd_kernel_t             *kernels[NUM_STAGES];
    matrix_t                  *matrices; /* by falling number of columns, so that those still at work come first */
    size_t                     num_matrices;
    uint32_t                  *matrix_of_tile;
    size_t                     num_tiles;
    size_t                    *tiles_at; /* tiles_at[j]: of the matrices that have a column j */
    uint32_t                   max_columns;
    uint64_t                   record_elems; /* of all records together */
    psgd_view_t                matrix_table;
    psgd_view_t                tile_table;
    psgd_view_t                records[2]; /* each launch reads what the one before it has written, and writes the other */
    psgd_view_t                states;     /* STATE_BYTES a matrix: what launches tell later ones */
};

/* ------------------------------------------------------------------------------------------------------------------
 * Tables
 * ---------------------------------------------------------------------------------------------------------------- */

static uint64_t divide_up(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

static int compare_by_columns(const void *a, const void *b)
{
    const matrix_t *left  = a;
    const matrix_t *right = b;

    return (left->columns < right->columns) - (left->columns > right->columns);
}

/* Rows are cut into tiles by the shape alone, never by the device: the bits depend on where the cuts are. */
static uint32_t choose_tile_rows(const psgd_columns_t *matrix)
{
    uint64_t max_tiles = matrix->columns > PANEL ? MAX_PANEL_TILES : MAX_TILES;
    uint64_t unit      = matrix->columns > PANEL ? CHUNK_ROWS : BLOCK_ROWS;

    return (uint32_t)(divide_up(divide_up(matrix->length, max_tiles), unit) * unit);
}

/* Floats of the record of one tile: sums of one column, or of a panel; and of the candidates for a column. */
static uint64_t record_elems(const matrix_t *matrix)
{
    return (uint64_t)((matrix->columns > PANEL ? PANEL : 1) + CANDIDATES) * matrix->columns;
}

/* Checks one matrix, and fills in its row of the table but for what depends on the rows before it. */
static psgd_status_t describe_matrix(const psgd_columns_t *from, size_t index, matrix_t *matrix)
{
    if ((from->columns == 0) || (from->columns > from->length) || (from->columns > PSGD_MAX_RANK) ||
        (from->length > UINT32_MAX)) {
        return psgd_fail(PSGD_ERR_INTERNAL, "matrix %zu to be orthogonalized has %u columns of %llu elements", index,
                         from->columns, (unsigned long long)from->length);
    }
    matrix->offset    = from->offset_elems;
    matrix->key       = from->random_key;
    matrix->length    = (uint32_t)from->length;
    matrix->columns   = from->columns;
    matrix->tile_rows = choose_tile_rows(from);
    matrix->num_tiles = (uint32_t)divide_up(from->length, matrix->tile_rows);
    return PSGD_OK;
}

static psgd_status_t make_matrix_table(psgd_orthogonalizer_t *ortho, const psgd_columns_t *matrices, size_t num_matrices)
{
    psgd_status_t status;

    status = psgd_alloc(num_matrices, sizeof(*ortho->matrices), "the table of matrices", &ortho->matrices);
    for (size_t i = 0; (status == PSGD_OK) && (i < num_matrices); ++i) {
        status = describe_matrix(&matrices[i], i, &ortho->matrices[i]);
    }
    if (status != PSGD_OK) {
        return status;
    }
    ortho->num_matrices = num_matrices;
    qsort(ortho->matrices, num_matrices, sizeof(*ortho->matrices), compare_by_columns);
    ortho->max_columns = ortho->matrices[0].columns;
    for (size_t i = 0; i < num_matrices; ++i) {
        matrix_t *matrix = &ortho->matrices[i];

        if (ortho->num_tiles + matrix->num_tiles > UINT32_MAX) {
            return psgd_fail(PSGD_ERR_UNSUPPORTED, "%zu matrices are too many to be orthogonalized together", num_matrices);
        }
        matrix->first_tile = (uint32_t)ortho->num_tiles;
        matrix->records    = ortho->record_elems;
        ortho->num_tiles += matrix->num_tiles;
        ortho->record_elems += record_elems(matrix) * matrix->num_tiles;
    }
    return PSGD_OK;
}

static psgd_status_t make_tile_table(psgd_orthogonalizer_t *ortho)
{
    psgd_status_t status;

    status = psgd_alloc(ortho->num_tiles, sizeof(*ortho->matrix_of_tile), "the table of tiles", &ortho->matrix_of_tile);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(ortho->max_columns, sizeof(*ortho->tiles_at), "the table of columns", &ortho->tiles_at);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < ortho->num_matrices; ++i) {
        const matrix_t *matrix = &ortho->matrices[i];

        for (uint32_t t = 0; t < matrix->num_tiles; ++t) {
            ortho->matrix_of_tile[matrix->first_tile + t] = (uint32_t)i;
        }
        for (uint32_t j = 0; j < matrix->columns; ++j) {
            ortho->tiles_at[j] += matrix->num_tiles;
        }
    }
    return PSGD_OK;
}

static psgd_status_t upload(psgd_orthogonalizer_t *ortho, const void *table, size_t bytes, const char *what,
                            psgd_view_t *view_p)
{
    psgd_status_t status;

    status = psgd_buffer_create(ortho->device, bytes, what, view_p);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(ortho->device, *view_p, table, bytes);
    return psgd_device_settle(ortho->device, status, "uploading the tables of orthogonalization");
}

static psgd_status_t make_buffers(psgd_orthogonalizer_t *ortho)
{
    size_t        record_bytes = (size_t)(ortho->record_elems + MAX_VECTOR_LANES) * sizeof(float);
    psgd_status_t status;

    status = upload(ortho, ortho->matrices, ortho->num_matrices * sizeof(*ortho->matrices), "the table of matrices",
                    &ortho->matrix_table);
    if (status != PSGD_OK) {
        return status;
    }
    status = upload(ortho, ortho->matrix_of_tile, ortho->num_tiles * sizeof(*ortho->matrix_of_tile), "the table of tiles",
                    &ortho->tile_table);
    if (status != PSGD_OK) {
        return status;
    }
    for (int i = 0; i < 2; ++i) {
        status = psgd_buffer_create(ortho->device, record_bytes, "the partial sums of orthogonalization", &ortho->records[i]);
        if (status != PSGD_OK) {
            return status;
        }
    }
    return psgd_buffer_create(ortho->device, ortho->num_matrices * STATE_BYTES, "the states of orthogonalization",
                              &ortho->states);
}

/* ------------------------------------------------------------------------------------------------------------------
 * Kernels
 * ---------------------------------------------------------------------------------------------------------------- */

static void destroy_kernels(psgd_orthogonalizer_t *ortho)
{
    for (int i = 0; i < NUM_STAGES; ++i) {
        psgd_kernel_destroy(ortho->kernels[i]);
        ortho->kernels[i] = NULL;
    }
}

static bool has_stage(const psgd_orthogonalizer_t *ortho, int stage)
{
    return (stage == STAGE_AT_ONCE) == ortho->shape.at_once;
}

static psgd_status_t build_kernels(psgd_orthogonalizer_t *ortho)
{
    char            options[80];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    snprintf(options, sizeof(options), "-DPSGD_GROUP=%u -DPSGD_VECTOR=%u -DPSGD_AT_ONCE=%d", ortho->shape.group_size,
             ortho->shape.vector_lanes, ortho->shape.at_once);
    status = psgd_program_get(ortho->device, "orthogonalize.cl", options, &program);
    for (int i = 0; (status == PSGD_OK) && (i < NUM_STAGES); ++i) {
        if (has_stage(ortho, i)) {
            status = psgd_kernel_create(program, KERNEL_NAMES[i], &ortho->kernels[i]);
        }
    }
    return status;
}

/* The largest work-group that all kernels run with. */
static size_t max_group_size(const psgd_orthogonalizer_t *ortho)
{
    size_t smallest = SIZE_MAX;

    for (int i = 0; i < NUM_STAGES; ++i) {
        size_t size = has_stage(ortho, i) ? psgd_kernel_max_work_group_size(ortho->kernels[i]) : SIZE_MAX;

        smallest = size < smallest ? size : smallest;
    }
    return smallest;
}

/* Compiles for the wanted work-group size, or the next smaller one that all kernels run with on this device. */
static psgd_status_t make_kernels(psgd_orthogonalizer_t *ortho)
{
    psgd_status_t status;

    for (;;) {
        status = build_kernels(ortho);
        if ((status != PSGD_OK) || (ortho->shape.group_size <= max_group_size(ortho)) || (ortho->shape.group_size == 1)) {
            return status;
        }
        destroy_kernels(ortho);
        ortho->shape.group_size /= 2;
    }
}

/* ------------------------------------------------------------------------------------------------------------------
 * Create, enqueue, destroy
 * ---------------------------------------------------------------------------------------------------------------- */

/* What a column costs against all columns before it, in multiply-adds, all three times; relative to other matrices. */
static double cost_of(const psgd_columns_t *matrix)
{
    return 3.0 * (double)matrix->length * matrix->columns * matrix->columns;
}

/* Whether one launch, in which a matrix keeps one compute unit busy and others may be idle, takes less time than many launches
 * that spread every matrix over all units. */
static bool gains_at_once(const psgd_device_t *device, const psgd_columns_t *matrices, size_t num_matrices)
{
    const double units = psgd_device_limits(device)->compute_units;
    double       all = 0.0, largest = 0.0, columns = 0.0;

    for (size_t i = 0; i < num_matrices; ++i) {
        const double cost = cost_of(&matrices[i]);

        all += cost;
        largest = cost > largest ? cost : largest;
        columns = matrices[i].columns > columns ? matrices[i].columns : columns;
    }
    return fmax(largest, all / units) <= all / units + LAUNCH_COST * 3.0 * columns;
}

/* Vectors on a CPU whose compiler wants them written out; else work-items, which GPUs, and the compilers of other CPUs, put
 * into the lanes of their vectors themselves. */
static psgd_status_t choose_shape(const psgd_device_t *device, const psgd_columns_t *matrices, size_t num_matrices,
                                  psgd_orthogonalize_shape_t *shape_p)
{
    cl_uint       width = 0;
    psgd_status_t status;

    status = psgd_cl_check(clGetDeviceInfo(psgd_device_id(device), CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, sizeof(width),
                                           &width, NULL),
                           "clGetDeviceInfo(CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT)", psgd_device_limits(device)->name);
    if (status != PSGD_OK) {
        return status;
    }
    if (psgd_device_limits(device)->is_cpu && (width >= MIN_VECTOR_WIDTH)) {
        *shape_p = (psgd_orthogonalize_shape_t){1, MAX_VECTOR_LANES, gains_at_once(device, matrices, num_matrices)};
    } else {
        *shape_p = (psgd_orthogonalize_shape_t){LANES, 1, false};
    }
    return PSGD_OK;
}

psgd_status_t psgd_orthogonalizer_create(psgd_device_t *device, const psgd_columns_t *matrices, size_t num_matrices,
                                         psgd_orthogonalizer_t **orthogonalizer_p)
{
    psgd_orthogonalize_shape_t shape;
    psgd_status_t              status;

    status = choose_shape(device, matrices, num_matrices, &shape);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_orthogonalizer_create_shaped(device, matrices, num_matrices, shape, orthogonalizer_p);
}

psgd_status_t psgd_orthogonalizer_create_shaped(psgd_device_t *device, const psgd_columns_t *matrices,
                                                size_t num_matrices, psgd_orthogonalize_shape_t shape,
                                                psgd_orthogonalizer_t **orthogonalizer_p)
{
    psgd_orthogonalizer_t *ortho;
    psgd_status_t          status;

    status = psgd_alloc(1, sizeof(*ortho), "orthogonalization", &ortho);
    if (status != PSGD_OK) {
        return status;
    }
    ortho->device = device;
    ortho->shape  = shape;
    status        = make_matrix_table(ortho, matrices, num_matrices);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = make_tile_table(ortho);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = make_kernels(ortho);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = make_buffers(ortho);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *orthogonalizer_p = ortho;
    return PSGD_OK;

destroy:
    psgd_orthogonalizer_destroy(ortho);
    return status;
}

/* One launch over `num_tiles` tiles, a work-group each. */
static psgd_status_t launch(psgd_orthogonalizer_t *ortho, stage_t stage, size_t num_tiles, const psgd_arg_t *args,
                            size_t num_args)
{
    size_t local  = ortho->shape.group_size;
    size_t global = num_tiles * local;

    return psgd_kernel_enqueue(ortho->device, ortho->kernels[stage], 1, &global, &local, args, num_args);
}

#define LAUNCH(ortho_, stage_, num_tiles_, args_) \
    launch((ortho_), (stage_), (num_tiles_), (args_), sizeof(args_) / sizeof((args_)[0]))

/* Bytes of local memory: a sum for each column, or for each of a panel with a slab of others; and the tree. */
static size_t sums_bytes(const psgd_orthogonalizer_t *ortho)
{
    size_t sums       = (size_t)ortho->max_columns + BATCH;
    size_t panel_sums = (size_t)PANEL * SLAB;

    return ((ortho->max_columns > PANEL) && (sums < panel_sums) ? panel_sums : sums) * sizeof(float);
}

static size_t scratch_bytes(const psgd_orthogonalizer_t *ortho)
{
    size_t lanes = ortho->shape.group_size > PANEL_LANES ? ortho->shape.group_size : PANEL_LANES;

    return BATCH * lanes * sizeof(float);
}

/* out = every column of `in`, scaled by a power of two to a maximum in [1, 2); the maxima go by records[0], and
 * records[1] has |p_0|^2. */
static psgd_status_t enqueue_scale(psgd_orthogonalizer_t *ortho, psgd_view_t in, psgd_view_t out, uint64_t step)
{
    uint64_t         in_offset  = in.offset_bytes / sizeof(float);
    uint64_t         out_offset = out.offset_bytes / sizeof(float);
    const psgd_arg_t max_args[] = {PSGD_ARG_MEM(ortho->matrix_table),
                                   PSGD_ARG_MEM(ortho->tile_table),
                                   PSGD_ARG_MEM(in),
                                   PSGD_ARG(in_offset),
                                   PSGD_ARG_MEM(ortho->records[0]),
                                   PSGD_ARG_LOCAL(scratch_bytes(ortho))};
    const psgd_arg_t args[]     = {PSGD_ARG_MEM(ortho->matrix_table),
                                   PSGD_ARG_MEM(ortho->tile_table),
                                   PSGD_ARG_MEM(in),
                                   PSGD_ARG(in_offset),
                                   PSGD_ARG_MEM(out),
                                   PSGD_ARG(out_offset),
                                   PSGD_ARG_MEM(ortho->records[0]),
                                   PSGD_ARG_MEM(ortho->records[1]),
                                   PSGD_ARG(step),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(scratch_bytes(ortho))};
    psgd_status_t    status;

    status = LAUNCH(ortho, STAGE_MAXIMA, ortho->num_tiles, max_args);
    if (status != PSGD_OK) {
        return status;
    }
    return LAUNCH(ortho, STAGE_SCALE, ortho->num_tiles, args);
}

/* A stage of column j, of the panel that begins at column `panel`; its sums are in records[*newest_p], before and after. */
static psgd_status_t enqueue_stage(psgd_orthogonalizer_t *ortho, stage_t stage, psgd_view_t out, uint32_t panel,
                                   uint32_t j, uint64_t step, unsigned *newest_p)
{
    uint64_t         out_offset = out.offset_bytes / sizeof(float);
    unsigned         newest     = *newest_p;
    const psgd_arg_t args[]     = {PSGD_ARG_MEM(ortho->matrix_table),
                                   PSGD_ARG_MEM(ortho->tile_table),
                                   PSGD_ARG_MEM(out),
                                   PSGD_ARG(out_offset),
                                   PSGD_ARG_MEM(ortho->records[newest]),
                                   PSGD_ARG_MEM(ortho->records[1 - newest]),
                                   PSGD_ARG_MEM(ortho->states),
                                   PSGD_ARG(panel),
                                   PSGD_ARG(j),
                                   PSGD_ARG(step),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(scratch_bytes(ortho))};

    *newest_p = 1 - newest;
    return LAUNCH(ortho, stage, ortho->tiles_at[j], args);
}

/* Column j, and before the first of a later panel the projection of the panel. */
static psgd_status_t enqueue_column(psgd_orthogonalizer_t *ortho, psgd_view_t out, uint32_t j, uint64_t step,
                                    unsigned *newest_p)
{
    const uint32_t panel       = j - j % PANEL;
    const bool     leads_panel = j == panel;
    const bool     ends_panel  = (j + 1 == panel + PANEL) && (j + 1 < ortho->max_columns);
    psgd_status_t  status      = PSGD_OK;

    if (j > 0) {
        status = enqueue_stage(ortho, leads_panel ? STAGE_PANEL_FIRST : STAGE_FIRST, out, panel, j, step, newest_p);
        if (status == PSGD_OK) {
            status = enqueue_stage(ortho, leads_panel ? STAGE_PANEL_AGAIN : STAGE_AGAIN, out, panel, j, step, newest_p);
        }
    }
    if (status != PSGD_OK) {
        return status;
    }
    return enqueue_stage(ortho, ends_panel ? STAGE_FINISH_PANEL : STAGE_FINISH, out, panel, j, step, newest_p);
}

static psgd_status_t enqueue_stages(psgd_orthogonalizer_t *ortho, psgd_view_t in, psgd_view_t out, uint64_t step)
{
    unsigned      newest = 1; /* which of the records the last launch has written */
    psgd_status_t status = enqueue_scale(ortho, in, out, step);

    for (uint32_t j = 0; (status == PSGD_OK) && (j < ortho->max_columns); ++j) {
        status = enqueue_column(ortho, out, j, step, &newest);
    }
    return status;
}

/* A work-group a matrix. */
static psgd_status_t enqueue_at_once(psgd_orthogonalizer_t *ortho, psgd_view_t in, psgd_view_t out, uint64_t step)
{
    uint64_t         in_offset  = in.offset_bytes / sizeof(float);
    uint64_t         out_offset = out.offset_bytes / sizeof(float);
    const psgd_arg_t args[]     = {PSGD_ARG_MEM(ortho->matrix_table),
                                   PSGD_ARG_MEM(in),
                                   PSGD_ARG(in_offset),
                                   PSGD_ARG_MEM(out),
                                   PSGD_ARG(out_offset),
                                   PSGD_ARG_MEM(ortho->records[0]),
                                   PSGD_ARG_MEM(ortho->records[1]),
                                   PSGD_ARG_MEM(ortho->states),
                                   PSGD_ARG(step),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(sums_bytes(ortho)),
                                   PSGD_ARG_LOCAL(scratch_bytes(ortho))};

    return LAUNCH(ortho, STAGE_AT_ONCE, ortho->num_matrices, args);
}

psgd_status_t psgd_orthogonalizer_enqueue(psgd_orthogonalizer_t *orthogonalizer, psgd_view_t in, psgd_view_t out,
                                          uint64_t step)
{
    if (orthogonalizer == NULL) {
        return PSGD_OK;
    }
    return orthogonalizer->shape.at_once ? enqueue_at_once(orthogonalizer, in, out, step)
                                         : enqueue_stages(orthogonalizer, in, out, step);
}

void psgd_orthogonalizer_destroy(psgd_orthogonalizer_t *orthogonalizer)
{
    if (orthogonalizer == NULL) {
        return;
    }
    psgd_buffer_destroy(orthogonalizer->device, &orthogonalizer->states);
    psgd_buffer_destroy(orthogonalizer->device, &orthogonalizer->records[1]);
    psgd_buffer_destroy(orthogonalizer->device, &orthogonalizer->records[0]);
    psgd_buffer_destroy(orthogonalizer->device, &orthogonalizer->tile_table);
    psgd_buffer_destroy(orthogonalizer->device, &orthogonalizer->matrix_table);
    destroy_kernels(orthogonalizer);
    psgd_free(orthogonalizer->tiles_at);
    psgd_device_free_host(orthogonalizer->device, orthogonalizer->matrix_of_tile);
    psgd_device_free_host(orthogonalizer->device, orthogonalizer->matrices);
    psgd_free(orthogonalizer);
}
