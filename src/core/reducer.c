#include "core/reducer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "base/status.h"
#include "core/alternate.h"
#include "core/bucket.h"
#include "core/choose.h"
#include "core/energy.h"
#include "core/half_errors.h"
#include "core/fingerprint.h"
#include "core/phases.h"
#include "core/pipeline.h"
#include "core/progress.h"
#include "core/replicas.h"
#include "core/spans.h"
#include "core/traffic.h"
#include "core/update.h"
#include "ops/known_update.h"
#include "ops/tune.h"

/* The host buffer through which plain steps are staged, and whole error memories when they are exported. */
static const uint64_t PLAIN_PIECE_ELEMS  = UINT64_C(32) * 1024 * 1024 / sizeof(float);
static const uint64_t EXPORT_PIECE_ELEMS = UINT64_C(1024) * 1024 / sizeof(float);

/* ---- the factors between steps ---------------------------------------------------------------------------------- */

bool psgd_reducer_starts_from_p(const psgd_reducer_t *r)
{
    return (r->config.half_iterations > 0) && psgd_alternation_computes_q(r->half_iterations_done);
}

uint64_t psgd_reducer_factor_room(const psgd_reducer_t *r)
{
    return r->config.half_iterations > 0 ? psgd_max(r->plan->p_elems, r->plan->q_elems) : r->plan->q_elems;
}

uint64_t psgd_reducer_factor_elems(const psgd_reducer_t *r)
{
    return psgd_reducer_starts_from_p(r) ? r->plan->p_elems : r->plan->q_elems;
}

uint64_t psgd_reducer_update_elems(const psgd_reducer_t *r)
{
    return psgd_reducer_factor_room(r) * psgd_max(r->config.half_iterations, 1);
}

uint64_t psgd_reducer_hash_factor(const psgd_reducer_t *r)
{
    return psgd_hash_words(r->factor, psgd_reducer_factor_elems(r), r->half_iterations_done);
}

uint64_t psgd_reducer_hash_bits(const psgd_reducer_t *r)
{
    return psgd_hash_u64(psgd_hash_u64(psgd_reducer_hash_factor(r), r->means_hash), r->check_hash);
}

void psgd_reducer_draw_factor(psgd_reducer_t *r, size_t matrix_index, uint64_t step)
{
    const psgd_plan_matrix_t *matrix = &r->plan->matrices[matrix_index];
    bool                      is_p   = psgd_reducer_starts_from_p(r);
    uint64_t                  length = is_p ? matrix->rows : matrix->cols;
    uint64_t key = psgd_random_key(r->config.seed, matrix->name_hash, is_p ? PSGD_RANDOM_FIRST_P : PSGD_RANDOM_FIRST_Q);
    float   *column = r->factor + (is_p ? matrix->p_offset_elems : matrix->q_offset_elems);

    for (uint32_t c = 0; c < matrix->r; ++c, column += length) {
        psgd_random_fill(column, (size_t)length, key, step, c);
    }
}

/* ---- creation: host memory ------------------------------------------------------------------------------------- */

/* Elements of P in message 1; of either factor, with half-iterations. */
static uint64_t message_1_room(const psgd_reducer_t *r)
{
    return r->config.half_iterations > 0 ? psgd_reducer_factor_room(r) : r->plan->p_elems;
}

static psgd_status_t create_messages(psgd_reducer_t *r)
{
    const psgd_plan_t *plan        = r->plan;
    uint32_t           num_workers = r->comm->num_workers;
    uint64_t           piece       = r->config.start_step > 0 ? PLAIN_PIECE_ELEMS : EXPORT_PIECE_ELEMS;
    uint64_t           shared      = psgd_max(plan->p_elems, plan->q_elems); /* with owners */
    uint64_t           timings     = plan->num_matrices * PSGD_NUM_TUNED;   /* when engines are chosen */
    uint64_t           chunk       = psgd_max(psgd_min(plan->total_elems, piece), psgd_max(shared, timings));
    psgd_status_t      status;

    status = psgd_message_create(&r->message_chunk, (size_t)chunk, num_workers);
    return status == PSGD_OK ? psgd_gather_create(&r->gather, PSGD_GATHER_WORDS, num_workers) : status;
}

static psgd_status_t create_host_arrays(psgd_reducer_t *r)
{
    size_t        q_elems     = (size_t)psgd_reducer_factor_room(r);
    size_t        count       = r->plan->num_matrices;
    size_t        scale_elems = count * sizeof(psgd_update_scale_t) / sizeof(float);
    psgd_status_t status;

    status = psgd_alloc(q_elems, sizeof(float), "the factors Q", &r->factor);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(q_elems + scale_elems, sizeof(float), "the scaled factors Q", &r->factor_scaled);
    if (status != PSGD_OK) {
        return status;
    }
    r->update_scales = (psgd_update_scale_t *)(void *)(r->factor_scaled + q_elems);
    status = psgd_alloc(count, sizeof(*r->is_imported), "the marks of imported factors", &r->is_imported);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*r->errors), "the table of error memories", &r->errors);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*r->matrix_grads), "the table of matrices", &r->matrix_grads);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_tensors, sizeof(*r->factors), "the factors of gradients", &r->factors);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(3 * r->plan->num_tensors, sizeof(*r->param_views), "the table of parameters", &r->param_views);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_tensors, sizeof(*r->checked), "the table of what is checked", &r->checked);
    if (status != PSGD_OK) {
        return status;
    }
    status =
        psgd_alloc(r->plan->num_tensors, sizeof(*r->check_hashes), "the hashes of what is checked", &r->check_hashes);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_given, sizeof(*r->places), "the places of gradients", &r->places);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_given, sizeof(*r->is_placed), "the places of gradients", &r->is_placed);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_given, sizeof(*r->host_places), "the places of gradients", &r->host_places);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(1, sizeof(*r->update), "the update of parameters", &r->update);
    if (status != PSGD_OK) {
        return status;
    }
    status =
        psgd_alloc(r->plan->num_given, sizeof(*r->is_submitted), "the list of what was submitted", &r->is_submitted);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_tensors, sizeof(*r->step_grads), "the table of gradients", &r->step_grads);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_alloc(r->plan->num_tensors, sizeof(*r->grads), "the table of gradients", &r->grads);
}

/* ---- creation: device memory ----------------------------------------------------------------------------------- */

static psgd_status_t create_device_buffer(psgd_reducer_t *r, uint64_t elems, const char *what, psgd_view_t *view_p)
{
    return elems == 0 ? PSGD_OK : psgd_buffer_create(r->device, (size_t)elems * sizeof(float), what, view_p);
}

static psgd_status_t create_errors(psgd_reducer_t *r)
{
    psgd_array_t *arrays = NULL;
    psgd_status_t status;

    if (!r->config.error_feedback) {
        return PSGD_OK;
    }
    status = psgd_alloc(r->plan->num_matrices, sizeof(*arrays), "the table of error memories", &arrays);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];

        arrays[m] = (psgd_array_t){matrix->name, matrix->rows * matrix->cols * psgd_reducer_error_elem_bytes(r)};
    }
    status =
        psgd_arena_create(r->device, arrays, r->plan->num_matrices, "the error memory", &r->error_arena, r->errors);
    psgd_free(arrays);
    return status;
}

static psgd_status_t create_device_buffers(psgd_reducer_t *r)
{
    const psgd_plan_t *plan = r->plan;
    psgd_status_t      status;

    status = create_errors(r);
    if (status != PSGD_OK) {
        return status;
    }
    status =
        create_device_buffer(r, message_1_room(r) + plan->small_elems, "P and the small tensors", &r->message_1_view);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_device_buffer(r, plan->p_elems, "the orthonormal P", &r->p_hat);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_device_buffer(
        r, psgd_reducer_update_elems(r) + plan->num_matrices * sizeof(psgd_update_scale_t) / sizeof(float), "Q", &r->q);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_device_buffer(r, plan->q_elems, "the orthonormal Q", &r->q_hat);
    if (status != PSGD_OK) {
        return status;
    }
    return r->config.half_iterations > 0 ? PSGD_OK
                                         : create_device_buffer(r, plan->q_elems, "this worker's Q", &r->q_local);
}

/* ---- creation: operations -------------------------------------------------------------------------------------- */

static psgd_status_t create_operations(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    if ((r->plan->num_matrices > 0) || (r->config.check_every > 0)) {
        status = psgd_hasher_create(r->device, &r->hasher);
    }
    if (status == PSGD_OK) {
        status = psgd_buckets_create(r);
    }
    return status == PSGD_OK ? psgd_pipeline_create(r) : status;
}

/* Drivers compile a kernel when it is first enqueued, PoCL for seconds: better now, on zeros, than in the first step. */
static psgd_status_t warm_up(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = psgd_bucket_warm_up(&r->buckets[i]);
    }
    return status == PSGD_OK ? psgd_device_wait(r->device, "the first run of the kernels") : status;
}

/* Other workers rely on this one's updates having the bits of theirs. */
static psgd_status_t check_updates(psgd_reducer_t *r)
{
    uint64_t      values = 0, wrong = 0;
    psgd_status_t status;

    if ((r->comm->num_workers == 1) || (r->plan->num_matrices == 0)) {
        return PSGD_OK;
    }
    status = psgd_known_update_run(r->device, r->form, r->plan->matrices[0].r, &values, &wrong);
    if ((status == PSGD_OK) && (wrong > 0)) {
        status = psgd_fail(
            PSGD_ERR_DEVICE_UNSUITABLE,
            "device '%s' forms updates wrongly: %" PRIu64 " of %" PRIu64
            " elements of a test differ from chains of exactly "
            "rounded fma(), so its worker would drift away from the others; try another driver, or a newer one",
            psgd_device_limits(r->device)->name, wrong, values);
    }
    return status;
}

static void fill_plan_stats(psgd_reducer_t *r)
{
    const psgd_plan_t *plan = r->plan;

    for (size_t i = 0; i < plan->num_given; ++i) {
        r->stats.num_compressed_tensors += psgd_plan_tensor_is_compressed(&plan->tensors[i]) ? 1 : 0;
    }
    r->stats.num_plain_tensors      = plan->num_given - r->stats.num_compressed_tensors;
    r->stats.uncompressed_elems     = plan->total_elems;
    r->stats.compressed_elems       = plan->compressed_elems;
    if (r->config.half_iterations > 0) { /* on average: half of them send a P, half a Q */
        r->stats.compressed_elems =
            plan->small_elems + plan->large_elems + (plan->p_elems + plan->q_elems) * r->config.half_iterations / 2;
    }
    r->stats.compression_rate = (double)plan->total_elems / (double)r->stats.compressed_elems;
}

static psgd_patience_t patience_of(const psgd_config_t *config)
{
    return (psgd_patience_t){.warn_ns = psgd_seconds_to_ns(config->warn_seconds, PSGD_DEFAULT_WARN_SECONDS),
                             .fail_ns = psgd_seconds_to_ns(config->deadline_seconds, PSGD_DEFAULT_DEADLINE_SECONDS)};
}

static psgd_form_t form_of(const psgd_config_t *config)
{
    if (!config->error_feedback || (config->half_iterations > 0)) { /* core/alternate.c forms M itself */
        return PSGD_FORM_NO_FEEDBACK;
    }
    if (config->error_dtype != PSGD_F32) {
        return PSGD_FORM_HALF;
    }
    return config->gradients_are_finite ? PSGD_FORM_LAZY : PSGD_FORM_TRANSACTIONAL;
}

static psgd_status_t build(psgd_reducer_t *r, const psgd_reducer_parts_t *parts)
{
    psgd_status_t status;

    status = psgd_plan_create(parts->tensors, parts->num_tensors, &r->config, &r->plan);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_choose_from_config(r);
    if (status != PSGD_OK) {
        return status;
    }
    r->fingerprint = psgd_fingerprint(r->plan, r->choices, &r->config, r->comm->num_workers);
    status         = create_messages(r);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_host_arrays(r);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_device_buffers(r);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_operations(r);
    if (status != PSGD_OK) {
        return status;
    }
    if (r->config.half_iterations > 0) {
        status = psgd_alternation_create(r);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (r->config.error_feedback && (r->config.error_dtype != PSGD_F32) && (r->plan->num_matrices > 0)) {
        status = psgd_half_errors_create(r);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if ((r->config.energy_every > 0) && (r->plan->num_matrices > 0)) {
        status = psgd_energy_create(r);
        if (status != PSGD_OK) {
            return status;
        }
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        psgd_reducer_draw_factor(r, m, 0);
    }
    fill_plan_stats(r);
    status = warm_up(r);
    return status == PSGD_OK ? check_updates(r) : status;
}

psgd_status_t psgd_reducer_build(const psgd_reducer_parts_t *parts, psgd_reducer_t **reducer_p)
{
    psgd_reducer_t *r = NULL;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*r), "the reducer", &r);
    if (status != PSGD_OK) {
        return status;
    }
    r->config           = *parts->config;
    r->comm             = parts->comm;
    r->device           = parts->device;
    r->log              = *psgd_device_log(parts->device);
    r->form             = form_of(parts->config);
    r->patience         = patience_of(parts->config);
    r->poison.status    = PSGD_OK;
    r->stats.struct_size = sizeof(r->stats);
    psgd_device_set_patience(r->device, r->patience);
    status = parts->is_successor ? PSGD_OK : psgd_spans_create(r);
    if (status == PSGD_OK) {
        status = build(r, parts);
    }
    if ((status == PSGD_OK) && r->config.progress_thread && !parts->is_successor) {
        status = psgd_progress_create(r);
    }
    if (status != PSGD_OK) {
        goto destroy_reducer;
    }
    *reducer_p = r;
    return PSGD_OK;

destroy_reducer:
    status    = psgd_device_settle(parts->device, status, "what had begun of a reducer");
    r->device = NULL; /* still the caller's */
    psgd_reducer_release(r, parts->device);
    return status;
}

/* ---- the error memory, between steps ---------------------------------------------------------------------------- */

static psgd_status_t settle_bucket(psgd_bucket_t *b)
{
    psgd_step_views_t views = psgd_bucket_views(b);

    return b->plan->num_matrices == 0 ? PSGD_OK : psgd_engines_enqueue_settle(b->engines, &views);
}

psgd_status_t psgd_reducer_settle_errors(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    if ((r->form != PSGD_FORM_LAZY) || (r->plan->num_matrices == 0)) {
        return PSGD_OK;
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = settle_bucket(&r->buckets[i]);
    }
    if (status == PSGD_OK) { /* e - P^ 0^T = e: the next step finds it as it is */
        status = psgd_buffer_enqueue_zero(r->device, r->q_local, (size_t)r->plan->q_elems * sizeof(float));
    }
    if (status == PSGD_OK) {
        status = psgd_device_wait(r->device, "settling the error memory");
    }
    if (status != PSGD_OK) { /* some of it may be settled already */
        psgd_reducer_poison(r, status, false);
    }
    return status;
}

size_t psgd_reducer_error_elem_bytes(const psgd_reducer_t *r)
{
    return psgd_dtype_bytes(r->config.error_dtype);
}

psgd_status_t psgd_reducer_zero_errors(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    for (size_t m = 0; r->config.error_feedback && (status == PSGD_OK) && (m < r->plan->num_matrices); ++m) {
        uint64_t elems = r->plan->matrices[m].rows * r->plan->matrices[m].cols;

        /* Whole words: what lies between two error memories is nobody's. */
        status = psgd_buffer_enqueue_zero(
            r->device, r->errors[m], (size_t)psgd_round_up(elems * psgd_reducer_error_elem_bytes(r), sizeof(float)));
    }
    if ((status == PSGD_OK) && (r->form == PSGD_FORM_LAZY) &&
        (r->plan->num_matrices > 0)) { /* nothing to be taken off */
        status = psgd_buffer_enqueue_zero(r->device, r->q_local, (size_t)r->plan->q_elems * sizeof(float));
    }
    if (status == PSGD_OK) {
        status = psgd_device_wait(r->device, "resetting the error memory");
    }
    if (status != PSGD_OK) {
        psgd_reducer_poison(r, status, false);
    }
    return status;
}

/* ---- poison and destruction ------------------------------------------------------------------------------------ */

void psgd_reducer_poison(psgd_reducer_t *r, psgd_status_t status, bool is_told)
{
    r->poison.is_told = r->poison.is_told || is_told;
    if (r->poison.status != PSGD_OK) {
        return;
    }
    r->poison.status = status;
    snprintf(r->poison.sentence, sizeof(r->poison.sentence), "%s", psgd_last_error());
    psgd_log(&r->log, PSGD_LOG_ERROR, "the reducer is poisoned: %s", r->poison.sentence);
}

psgd_status_t psgd_reducer_check_poison(const psgd_reducer_t *r)
{
    if (r->poison.status == PSGD_OK) {
        return PSGD_OK;
    }
    return psgd_fail(PSGD_ERR_POISONED, "the reducer failed at step %" PRIu64 " and cannot go on (%s: %s); destroy it, and "
                     "restart from a saved state", r->step_number, psgd_status_name(r->poison.status), r->poison.sentence);
}

void psgd_reducer_settle(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_device_wait_mark(r->device, &r->given, "the update of the last step");

    if (status != PSGD_OK) { /* all have committed it: this worker alone lacks its update */
        psgd_reducer_poison(r, status, false);
    }
}

/* A step under way, or an update that nobody has waited for: messages that were begun are nobody's any more. */
static void give_up_step(psgd_reducer_t *r, psgd_device_t *device)
{
    psgd_mark_drop(&r->given);
    if (r->step.is_open && !r->poison.is_cut_off) {
        r->comm->abort(r->comm->self);
    }
    psgd_device_set_patience(device, r->patience); /* nobody looks at messages any more */
    if (!psgd_device_is_stuck(device)) {
        psgd_device_wait(device, "what a reducer had begun that is destroyed");
    }
}

void psgd_reducer_release(psgd_reducer_t *r, psgd_device_t *device)
{
    bool keep_host; /* what the device may still touch */

    psgd_progress_destroy(r->progress);
    if (r->step.is_open || (r->given.event != NULL)) {
        give_up_step(r, device);
    }
    psgd_device_unstick(device);
    keep_host = psgd_device_is_stuck(device);
    psgd_spans_destroy(r);
    psgd_half_errors_destroy(device, r->half_errors);
    psgd_updater_destroy(r->updater);
    psgd_energy_destroy(r->energy, keep_host);
    psgd_alternation_destroy(r->alternation, keep_host);
    psgd_pipeline_destroy(r->pipeline);
    psgd_buckets_destroy(r, device, keep_host);
    psgd_hasher_destroy(r->hasher);
    for (size_t i = 0; (r->host_grads != NULL) && (i < r->plan->num_given); ++i) {
        psgd_buffer_destroy(device, &r->host_grads[i]);
    }
    psgd_free(r->host_grads);
    psgd_buffer_destroy(device, &r->q_local);
    psgd_buffer_destroy(device, &r->q_hat);
    psgd_buffer_destroy(device, &r->q);
    psgd_buffer_destroy(device, &r->p_hat);
    psgd_buffer_destroy(device, &r->message_1_view);
    psgd_arena_destroy(device, &r->error_arena);
    psgd_gather_destroy(&r->gather);
    psgd_message_destroy(&r->message_chunk, keep_host);
    if (!keep_host) {
        psgd_free(r->factors);
        psgd_free(r->check_hashes);
    }
    psgd_free(r->checked);
    psgd_free(r->param_views);
    psgd_free(r->grads);
    psgd_free(r->is_submitted);
    psgd_free(r->update);
    psgd_free(r->host_places);
    psgd_free(r->is_placed);
    psgd_free(r->places);
    psgd_free(r->step_grads);
    psgd_free(r->matrix_grads);
    psgd_free(r->errors);
    psgd_free(r->choices);
    psgd_free(r->is_imported);
    if (!keep_host) {
        psgd_free(r->factor_scaled);
        psgd_free(r->factor);
    }
    psgd_plan_destroy(r->plan);
    psgd_device_close(r->device);
    if (!keep_host) { /* the device may still write a hash into it */
        psgd_free(r);
    }
}
