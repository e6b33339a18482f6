#include "ops/squares.h"

#include <stdio.h>

#include "base/memory.h"
#include "ops/decompress.h"

struct psgd_squares {
    psgd_ragged_t *ragged;
    psgd_kernel_t *kernel;
    psgd_tiling_t *tiling;
    psgd_view_t    sums; /* one a tile */
    float         *host;
    size_t         num_tiles;
    size_t         group_size;
};

static psgd_status_t make_kernel(psgd_squares_t *squares, bool of_errors)
{
    psgd_device_t  *device = psgd_ragged_device(squares->ragged);
    char            variant[PSGD_VARIANT_OPTIONS_BYTES];
    char            options[PSGD_VARIANT_OPTIONS_BYTES + 24];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(device, PSGD_FORM_NO_FEEDBACK, (psgd_ranks_t){0, 1}, variant);
    snprintf(options, sizeof(options), "%s -DPSGD_OF_ERRORS=%d", variant, of_errors ? 1 : 0);
    status = psgd_program_get(device, "squares.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "squares", &squares->kernel);
}

static psgd_status_t make_tiles(psgd_squares_t *squares)
{
    size_t        num_items;
    psgd_status_t status;

    status = psgd_decompress_tiling(squares->ragged, &squares->tiling);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_ragged_items(squares->ragged, &num_items);
    squares->num_tiles = psgd_tiling_first_tile(squares->tiling, num_items);
    status             = psgd_alloc(squares->num_tiles, sizeof(float), "the squares of tiles", &squares->host);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_buffer_create(psgd_ragged_device(squares->ragged), squares->num_tiles * sizeof(float),
                              "the squares of tiles", &squares->sums);
}

psgd_status_t psgd_squares_create(psgd_ragged_t *ragged, bool of_errors, psgd_squares_t **squares_p)
{
    psgd_squares_t *squares;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*squares), "the squares of matrices", &squares);
    if (status != PSGD_OK) {
        return status;
    }
    squares->ragged     = ragged;
    squares->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status              = make_kernel(squares, of_errors);
    if (status == PSGD_OK) {
        status = make_tiles(squares);
    }
    if (status != PSGD_OK) {
        psgd_squares_destroy(squares, false);
        return status;
    }
    *squares_p = squares;
    return PSGD_OK;
}

psgd_status_t psgd_squares_enqueue(psgd_squares_t *squares)
{
    const psgd_arg_t args[] = {PSGD_ARG_MEM(squares->sums), PSGD_ARG_LOCAL(PSGD_GROUP_LANES * sizeof(float))};
    psgd_status_t    status;

    status = psgd_tiling_enqueue(squares->tiling, squares->kernel, squares->group_size, args,
                                 sizeof(args) / sizeof(args[0]));
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_buffer_enqueue_read(psgd_ragged_device(squares->ragged), squares->sums, squares->host,
                                    squares->num_tiles * sizeof(float));
}

double psgd_squares_of(const psgd_squares_t *squares, size_t item)
{
    double sum = 0.0;

    for (size_t tile = psgd_tiling_first_tile(squares->tiling, item);
         tile < psgd_tiling_first_tile(squares->tiling, item + 1); ++tile) {
        sum += (double)squares->host[tile];
    }
    return sum;
}

void psgd_squares_destroy(psgd_squares_t *squares, bool keep_memory)
{
    if (squares == NULL) {
        return;
    }
    if (!keep_memory) {
        psgd_free(squares->host);
    }
    psgd_buffer_destroy(psgd_ragged_device(squares->ragged), &squares->sums);
    psgd_tiling_destroy(squares->tiling);
    psgd_kernel_destroy(squares->kernel);
    psgd_free(squares);
}
