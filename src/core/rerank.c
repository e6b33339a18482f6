/* The reducer with the new ranks is built beside the old one and agreed on like any other; then it takes over. Up to there
 * nothing of the old one has changed, and from there on nothing can fail. What is compressed stays as it is, and so do the error
 * memories: they are handed on. */
#include "core/rerank.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "core/agree.h"
#include "core/alternate.h"
#include "core/bucket.h"
#include "core/choose.h"
#include "core/progress.h"
#include "core/strongest.h"
#include "plan/matrix_view.h"

/* ---- the new reducer ---- */

/* A view as it was given. */
static psgd_matrix_view_t given_view(const psgd_plan_tensor_t *tensor)
{
    return tensor->is_transposed ? psgd_matrix_view_transposed(&tensor->view) : tensor->view;
}

/* The tensors as they were given, but for their ranks. Names belong to the plan. */
static psgd_status_t describe_tensors(const psgd_plan_t *plan, const uint32_t *ranks, psgd_tensor_t **tensors_p)
{
    psgd_tensor_t *tensors = NULL;
    psgd_status_t  status  = psgd_alloc(plan->num_given, sizeof(*tensors), "the list of tensors", &tensors);

    for (size_t i = 0; (status == PSGD_OK) && (i < plan->num_given); ++i) {
        const psgd_plan_tensor_t *tensor = &plan->tensors[i];

        if (ranks[i] > PSGD_MAX_RANK) {
            status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                               "psgd_reducer_set_ranks: the rank of tensor %zu '%s' is %u; it must be 1 to "
                               "%d, or 0 (as it is)",
                               i, tensor->name, ranks[i], PSGD_MAX_RANK);
            psgd_free(tensors);
            return status;
        }
        tensors[i]          = (psgd_tensor_t)PSGD_TENSOR_INIT;
        tensors[i].name     = tensor->name;
        tensors[i].num_dims = tensor->num_dims;
        tensors[i].dtype    = tensor->dtype;
        tensors[i].rank     = PSGD_NEVER_COMPRESS;
        memcpy(tensors[i].dims, tensor->dims, sizeof(tensor->dims));
        if (tensor->route == PSGD_ROUTE_COMPRESSED) {
            tensors[i].rank = (int32_t)(ranks[i] > 0 ? ranks[i] : plan->matrices[tensor->matrix_index].r);
            tensors[i].view = given_view(tensor);
        } else if (tensor->route == PSGD_ROUTE_FLATTENED) {
            tensors[i].rank = 0;
        }
    }
    *tensors_p = tensors;
    return status;
}

/* The one rank of a flattened gradient: that of any of its tensors, and of no other. */
static psgd_status_t rank_of_flattened(const psgd_plan_t *plan, const uint32_t *ranks, psgd_config_t *config)
{
    size_t first = SIZE_MAX;

    if (plan->num_tensors == plan->num_given) {
        config->flatten = 0; /* it was not worth it */
        return PSGD_OK;
    }
    config->rank = plan->matrices[0].r;
    for (size_t i = 0; i < plan->num_given; ++i) {
        if ((plan->tensors[i].route != PSGD_ROUTE_FLATTENED) || (ranks[i] == 0)) {
            continue;
        }
        if ((first != SIZE_MAX) && (ranks[i] != ranks[first])) {
            return psgd_fail(
                PSGD_ERR_INVALID_ARGUMENT,
                "psgd_reducer_set_ranks: tensors %zu '%s' and %zu '%s' are parts of one flattened matrix, but their "
                "ranks are %u and %u",
                first, plan->tensors[first].name, i, plan->tensors[i].name, ranks[first], ranks[i]);
        }
        first        = i;
        config->rank = ranks[i];
    }
    return PSGD_OK;
}

/* What was measured before need not be measured again. */
static psgd_status_t write_profile(const psgd_reducer_t *r, char **text_p)
{
    size_t        bytes  = psgd_choose_write_profile(r, NULL, 0);
    char         *text   = NULL;
    psgd_status_t status = psgd_alloc(bytes, 1, "the profile of the engines", &text);

    if (status == PSGD_OK) {
        psgd_choose_write_profile(r, text, bytes);
        *text_p = text;
    }
    return status;
}

static psgd_status_t build_next(const psgd_reducer_t *r, const uint32_t *ranks, psgd_reducer_t **next_p)
{
    psgd_config_t        config  = r->config;
    psgd_reducer_parts_t parts   = {NULL, r->plan->num_given, &config, r->comm, r->device, true};
    psgd_tensor_t       *tensors = NULL;
    char                *profile = NULL;
    psgd_status_t        status  = describe_tensors(r->plan, ranks, &tensors);

    if (status != PSGD_OK) {
        return status;
    }
    status = rank_of_flattened(r->plan, ranks, &config);
    if (status == PSGD_OK) {
        status = write_profile(r, &profile);
    }
    if (status == PSGD_OK) {
        config.engine_profile       = profile;
        config.min_compression_rate = 0.0; /* what is compressed was decided */
        config.byte_budget          = 0;   /* and so are the ranks */
        parts.tensors               = tensors;
        status                      = psgd_reducer_build(&parts, next_p);
    }
    psgd_free(profile);
    psgd_free(tensors);
    return status;
}

/* The factor that the next step starts from: grown columns start random, shrunk ones keep the strongest. */
static psgd_status_t inherit_factor(const psgd_reducer_t *r, psgd_reducer_t *next, size_t m)
{
    const psgd_plan_matrix_t *before = &r->plan->matrices[m];
    const psgd_plan_matrix_t *after  = &next->plan->matrices[m];
    bool                      is_p   = psgd_reducer_starts_from_p(r);
    uint64_t                  length = is_p ? before->rows : before->cols;
    const float              *from   = r->factor + (is_p ? before->p_offset_elems : before->q_offset_elems);
    float                    *to     = next->factor + (is_p ? after->p_offset_elems : after->q_offset_elems);

    if (after->r < before->r) {
        return psgd_strongest_columns(from, length, before->r, to, after->r);
    }
    if (after->r > before->r) {
        psgd_reducer_draw_factor(next, m, r->step_number);
    }
    memcpy(to, from, (size_t)(length * before->r) * sizeof(float));
    return PSGD_OK;
}

static psgd_status_t inherit_factors(const psgd_reducer_t *r, psgd_reducer_t *next)
{
    psgd_status_t status = PSGD_OK;

    next->step_number          = r->step_number;
    next->half_iterations_done = r->half_iterations_done;
    psgd_alternation_inherit(next, r);
    memcpy(next->is_imported, r->is_imported, r->plan->num_matrices * sizeof(r->is_imported[0]));
    for (size_t m = 0; (status == PSGD_OK) && (m < r->plan->num_matrices); ++m) {
        status = inherit_factor(r, next, m);
    }
    return status;
}

/* What this worker does alone. */
static psgd_status_t prepare(psgd_reducer_t *r, const uint32_t *ranks, psgd_reducer_t **next_p)
{
    psgd_status_t status = psgd_reducer_check_poison(r);

    if (status == PSGD_OK) {
        status = build_next(r, ranks, next_p);
    }
    if (status == PSGD_OK) {
        status = inherit_factors(r, *next_p);
    }
    return status == PSGD_OK ? psgd_reducer_settle_errors(r) : status;
}

/* ---- it takes over ---- */

/* Statistics go on; those of the plan are new. */
static psgd_stats_t merge_stats(const psgd_stats_t *before, const psgd_stats_t *after)
{
    psgd_stats_t stats = *before;

    stats.compressed_elems = after->compressed_elems;
    stats.compression_rate = after->compression_rate;
    return stats;
}

#define SWAP(type_, a_, b_) \
    do { \
        type_ swapped_ = (a_); \
        (a_)           = (b_); \
        (b_)           = swapped_; \
    } while (0)

/* *next becomes what is to be freed. The error memories lie in the same arenas at the same places: these depend on the matrices
 * alone. So does the device copy of gradients on the tensors. */
static void take_over(psgd_reducer_t *r, psgd_reducer_t *next)
{
    psgd_progress_enter(r);
    next->stats          = merge_stats(&r->stats, &next->stats);
    next->stats_logged   = r->stats_logged;
    next->steps_unlogged = r->steps_unlogged;
    next->means_hash     = r->means_hash;
    next->check_hash     = r->check_hash;
    next->check_step     = r->check_step;
    SWAP(psgd_reducer_t, *r, *next);
    psgd_buckets_adopt(r);
    psgd_buckets_adopt(next);
    SWAP(psgd_arena_t, r->error_arena, next->error_arena);
    SWAP(psgd_view_t *, r->errors, next->errors);
    SWAP(psgd_half_errors_t *, r->half_errors, next->half_errors);
    SWAP(psgd_view_t *, r->host_grads, next->host_grads);
    SWAP(psgd_progress_t *, r->progress, next->progress);
    SWAP(psgd_spans_t *, r->spans, next->spans);
    psgd_progress_leave(r);
}

psgd_status_t psgd_reducer_change_ranks(psgd_reducer_t *r, const uint32_t *ranks, psgd_status_t local)
{
    psgd_reducer_t *next   = NULL;
    psgd_status_t   status = local;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = prepare(r, ranks, &next);
    }
    status = psgd_reducer_agree(next, r->comm, status, r->patience, &r->log, &r->message_chunk);
    if ((status == PSGD_OK) && (next != NULL)) {
        take_over(r, next);
    } else if ((status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM)) { /* nobody can be told any more */
        psgd_reducer_poison(r, status, true);
    }
    if (next != NULL) {
        next->device = NULL; /* it stays open */
        psgd_reducer_release(next, r->device);
    }
    return status;
}
