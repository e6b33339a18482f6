#include "ops/sum_parts.h"

#include "base/arith.h"
#include "base/memory.h"
#include "device/program.h"
#include "ops/variant.h"

/* The same layout as in cl/sum_parts.cl. */
typedef struct piece {
    uint64_t out_offset;
    uint64_t part_offset;
    uint64_t stride;
    uint32_t count;
    uint32_t num_parts;
} piece_t;

_Static_assert(sizeof(piece_t) == 32, "the same layout as in cl/sum_parts.cl");

enum { MAX_PIECE_ELEMS = 2048, MIN_PIECE_ELEMS = 64, PIECES_PER_UNIT = 8 };

struct psgd_sum_parts {
    psgd_device_t  *device;
    psgd_kernel_t  *kernel;
    size_t          num_summations;
    size_t         *first_piece; /* of each summation, and the number of pieces behind the last */
    size_t          group_size;
    psgd_view_t     piece_table;
};

static uint64_t choose_piece_elems(const psgd_device_t *device, const psgd_summation_t *summations, size_t num_summations)
{
    uint64_t total = 0;

    for (size_t i = 0; i < num_summations; ++i) {
        total += summations[i].count;
    }
    total = psgd_divide_up(total, (uint64_t)psgd_device_limits(device)->compute_units * PIECES_PER_UNIT);
    return psgd_round_up(psgd_clamp(total, MIN_PIECE_ELEMS, MAX_PIECE_ELEMS), MIN_PIECE_ELEMS);
}

static size_t find_first_pieces(const psgd_summation_t *summations, size_t num_summations, uint64_t piece_elems,
                                size_t *first_piece)
{
    size_t count = 0;

    for (size_t i = 0; i < num_summations; ++i) {
        first_piece[i] = count;
        count += (size_t)psgd_divide_up(summations[i].count, piece_elems);
    }
    first_piece[num_summations] = count;
    return count;
}

static void cut(const psgd_summation_t *summations, size_t num_summations, uint64_t piece_elems, piece_t *pieces)
{
    for (size_t i = 0; i < num_summations; ++i) {
        for (uint64_t begin = 0; begin < summations[i].count; begin += piece_elems) {
            pieces->out_offset  = summations[i].out_offset + begin;
            pieces->part_offset = summations[i].part_offset + begin;
            pieces->stride      = summations[i].stride;
            pieces->count       = (uint32_t)psgd_min(piece_elems, summations[i].count - begin);
            pieces->num_parts   = summations[i].num_parts;
            ++pieces;
        }
    }
}

static psgd_status_t make_table(psgd_sum_parts_t *sum, const psgd_summation_t *summations, size_t num_summations)
{
    uint64_t      piece_elems = choose_piece_elems(sum->device, summations, num_summations);
    piece_t      *pieces      = NULL;
    size_t        num_pieces;
    psgd_status_t status;

    status = psgd_alloc(num_summations + 1, sizeof(*sum->first_piece), "the table of second sums", &sum->first_piece);
    if (status != PSGD_OK) {
        return status;
    }
    sum->num_summations = num_summations;
    num_pieces          = find_first_pieces(summations, num_summations, piece_elems, sum->first_piece);
    status              = psgd_alloc(num_pieces, sizeof(*pieces), "the table of second sums", &pieces);
    if (status != PSGD_OK) {
        return status;
    }
    cut(summations, num_summations, piece_elems, pieces);
    status = psgd_buffer_create(sum->device, num_pieces * sizeof(*pieces), "the table of second sums", &sum->piece_table);
    if (status != PSGD_OK) {
        goto free_pieces;
    }
    status = psgd_buffer_enqueue_write(sum->device, sum->piece_table, pieces, num_pieces * sizeof(*pieces));
    status = psgd_device_settle(sum->device, status, "the table of second sums");

free_pieces:
    psgd_device_free_host(sum->device, pieces);
    return status;
}

psgd_status_t psgd_sum_parts_create(psgd_device_t *device, const psgd_summation_t *summations, size_t num_summations,
                                    psgd_sum_parts_t **sum_p)
{
    char              options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_sum_parts_t *sum;
    psgd_program_t   *program = NULL;
    psgd_status_t     status;

    status = psgd_alloc(1, sizeof(*sum), "the second sums", &sum);
    if (status != PSGD_OK) {
        return status;
    }
    sum->device     = device;
    sum->group_size = psgd_group_size(device);
    psgd_variant_options(device, PSGD_FORM_NO_FEEDBACK, (psgd_ranks_t){0, 1}, options);
    status = psgd_program_get(device, "sum_parts.cl", options, &program);
    if (status != PSGD_OK) {
        goto destroy_sum;
    }
    status = psgd_kernel_create(program, "sum_parts", &sum->kernel);
    if (status != PSGD_OK) {
        goto destroy_sum;
    }
    status = make_table(sum, summations, num_summations);
    if (status != PSGD_OK) {
        goto destroy_sum;
    }
    *sum_p = sum;
    return PSGD_OK;

destroy_sum:
    psgd_sum_parts_destroy(sum);
    return status;
}

psgd_status_t psgd_sum_parts_enqueue(psgd_sum_parts_t *sum, psgd_view_t parts, psgd_view_t out)
{
    return psgd_sum_parts_enqueue_some(sum, 0, sum->num_summations, parts, out);
}

psgd_status_t psgd_sum_parts_enqueue_some(psgd_sum_parts_t *sum, size_t first, size_t end, psgd_view_t parts,
                                          psgd_view_t out)
{
    uint64_t         out_offset  = out.offset_bytes / sizeof(float);
    uint64_t         first_piece = sum->first_piece[first];
    size_t           global      = (sum->first_piece[end] - sum->first_piece[first]) * sum->group_size;
    const psgd_arg_t args[]      = {PSGD_ARG_MEM(sum->piece_table), PSGD_ARG(first_piece), PSGD_ARG_MEM(parts),
                                    PSGD_ARG_MEM(out), PSGD_ARG(out_offset)};

    if (global == 0) {
        return PSGD_OK;
    }
    return psgd_kernel_enqueue(sum->device, sum->kernel, 1, &global, &sum->group_size, args,
                               sizeof(args) / sizeof(args[0]));
}

void psgd_sum_parts_destroy(psgd_sum_parts_t *sum)
{
    if (sum == NULL) {
        return;
    }
    psgd_buffer_destroy(sum->device, &sum->piece_table);
    psgd_kernel_destroy(sum->kernel);
    psgd_free(sum->first_piece);
    psgd_free(sum);
}
