/* A step from the outside: what comes before its first message and after its last vote. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/bucket.h"
#include "core/copies.h"
#include "core/energy.h"
#include "core/exchange.h"
#include "core/owners.h"
#include "core/phases.h"
#include "core/pipeline.h"
#include "core/progress.h"
#include "core/replicas.h"
#include "core/spans.h"
#include "core/step.h"
#include "core/traffic.h"
#include "core/update.h"

/* ---- begin ---- */

void psgd_reducer_begin_step(psgd_reducer_t *r, const float *factors, const psgd_update_t *update, psgd_status_t local)
{
    memset(&r->step, 0, sizeof(r->step));
    r->step.is_open         = true;
    r->step.factors         = factors;
    r->step.update          = update;
    r->step.clip            = 1.0f;
    r->step.start_ns        = psgd_now_ns();
    r->step.launches_before = psgd_device_launches(r->device);
    for (size_t i = 0; i < r->num_buckets; ++i) {
        r->buckets[i].num_missing = r->buckets[i].plan->num_given;
        r->buckets[i].num_behind  = 0;
        r->buckets[i].has_p       = false;
        psgd_gate_clear(&r->buckets[i].gate);
    }
    memset(r->is_submitted, 0, r->plan->num_given * sizeof(r->is_submitted[0]));
    psgd_step_note(r, local);
    if (r->poison.status != PSGD_OK) { /* it failed after the last vote of an earlier step: now the others hear of it */
        psgd_step_note(r, psgd_reducer_check_poison(r));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_device_unstick(r->device));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_update_prepare(r));
    }
    psgd_energy_begin(r);
    psgd_pipeline_begin(r);
}

/* ---- submit ---- */

/* Whether the parts of the step run as gradients come; other steps wait for all of them. */
static bool is_pipelined(const psgd_reducer_t *r)
{
    return (r->step_number >= r->config.start_step) && (r->alternation == NULL);
}

static psgd_bucket_t *bucket_of(psgd_reducer_t *r, size_t tensor)
{
    size_t i = r->num_buckets - 1;

    while (r->buckets[i].first_tensor > tensor) {
        i -= 1;
    }
    return &r->buckets[i];
}

psgd_gate_t *psgd_reducer_gate_of(psgd_reducer_t *r, size_t tensor)
{
    return &bucket_of(r, tensor)->gate;
}

void psgd_reducer_submit_tensors(psgd_reducer_t *r, size_t first, size_t count, bool is_behind)
{
    for (size_t i = first; i < first + count; ++i) {
        psgd_bucket_t *b = bucket_of(r, i);

        r->is_submitted[i] = true;
        b->num_missing -= 1;
        b->num_behind += is_behind ? 1 : 0;
        if ((b->num_missing == 0) && is_pipelined(r)) {
            psgd_pipeline_follow(b);
        }
    }
    psgd_reducer_go_on(r);
}

void psgd_reducer_go_on(psgd_reducer_t *r)
{
    if (is_pipelined(r)) {
        psgd_pipeline_advance(r);
    }
}

/* ---- end ---- */

static psgd_status_t take_all_gradients(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = r->num_buckets;
         (status == PSGD_OK) && (i-- > 0);) { /* in the order of steps: the first may wait for all */
        status = psgd_bucket_take_gradients(&r->buckets[i]);
    }
    return status;
}

static void run_parts(psgd_reducer_t *r)
{
    if (is_pipelined(r)) {
        psgd_pipeline_finish(r);
        psgd_step_commit(r);
        return;
    }
    if (psgd_step_is_healthy(r)) {
        psgd_step_note(r, take_all_gradients(r));
    }
    if (r->step_number < r->config.start_step) {
        psgd_step_plain(r);
    } else {
        psgd_step_alternating(r);
    }
}

/* What was copied goes back; with an optimizer the gradients' content is nobody's. */
static psgd_status_t give_update(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (r->step.update == NULL) && (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = psgd_copies_give(&r->buckets[i]);
    }
    if (status != PSGD_OK) {
        return status;
    }
    if (!r->step.is_deferred) {
        return psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_DECOMPRESS));
    }
    status = psgd_device_mark(r->device, &r->given);
    return status == PSGD_OK ? psgd_device_hand_back(r->device, &r->given) : status;
}

/* A step that ended early leaves nothing under way: neither on the wire nor on the device. The order is the same on all workers: what
 * comes in two collectives begins its second here. */
static void drain(psgd_reducer_t *r)
{
    for (size_t i = r->num_buckets; i-- > 0;) {
        psgd_bucket_t *b = &r->buckets[i];

        psgd_exchange_drain(r, &b->message_large, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
        psgd_owners_drain(b);
        psgd_exchange_drain(r, &b->message_1, psgd_phase_name(PSGD_PHASE_REDUCE_P));
        psgd_exchange_drain(r, &b->message_2, psgd_phase_name(PSGD_PHASE_REDUCE_Q));
    }
    if (!psgd_device_is_stuck(r->device) &&
        (psgd_device_wait(r->device, "the rest of a step that ended early") != PSGD_OK)) {
        psgd_log(&r->log, PSGD_LOG_WARN, "after step %" PRIu64 " failed: %s", r->step_number, psgd_last_error());
    }
    for (size_t i = 0; i < r->num_buckets; ++i) {
        psgd_traffic_cancel_reading(&r->buckets[i]);
        psgd_gate_clear(&r->buckets[i].gate);
    }
}

static void count_step(psgd_reducer_t *r, bool is_plain)
{
    psgd_stats_t *stats = &r->stats;

    stats->plain_steps += is_plain ? 1 : 0;
    stats->clipped_steps += r->step.clip < 1.0f ? 1 : 0;
    stats->update_norm        = r->step.update_norm;
    stats->bytes_last_step    = r->step.bytes;
    stats->messages_last_step = r->step.messages;
    stats->launches_last_step = psgd_device_launches(r->device) - r->step.launches_before;
    stats->ns_last_step       = psgd_now_ns() - r->step.start_ns;
    stats->ns_total += stats->ns_last_step;
    stats->network_ns_last = r->step.network_ns;
    stats->network_ns_total += r->step.network_ns;
    for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
        stats->phase_ns_last[phase] = r->step.phase_ns[phase];
        stats->phase_ns_total[phase] += r->step.phase_ns[phase];
    }
}

/* In the lazy form the workers' error memories hold this step's M from pass A on. Those that came there cannot go back, and
 * with other workers nobody knows who has. */
static void poison_lazy(psgd_reducer_t *r, bool is_plain)
{
    if ((r->form == PSGD_FORM_LAZY) && !is_plain && (r->step.has_changed_state || (r->comm->num_workers > 1))) {
        psgd_fail(r->step.agreed, "%s (with config.gradients_are_finite a step cannot be undone)", r->step.sentence);
        psgd_reducer_poison(r, r->step.agreed, true);
        snprintf(r->step.sentence, sizeof(r->step.sentence), "%s", psgd_last_error());
    }
}

/* "compute_p 3.214, reduce_p 0.871": the phases of a step on average since the last line, in ms; those that took time. */
static void list_phases(const psgd_reducer_t *r, char *text, size_t text_bytes)
{
    size_t used = 0;

    text[0] = '\0';
    for (int phase = 0; (phase < PSGD_NUM_PHASES) && (used < text_bytes); ++phase) {
        const uint64_t ns = r->stats.phase_ns_total[phase] - r->stats_logged.phase_ns_total[phase];

        if (ns > 0) {
            used +=
                (size_t)snprintf(text + used, text_bytes - used, "%s%s %.3f", used > 0 ? ", " : "",
                                 psgd_phase_name((psgd_phase_t)phase), (double)ns * 1e-6 / (double)r->steps_unlogged);
        }
    }
}

/* A line of statistics, where the schedule has one. */
static void log_statistics(psgd_reducer_t *r)
{
    const psgd_stats_t *now = &r->stats, *then = &r->stats_logged;
    const uint64_t      every = r->config.log_every;
    char                phases[320];

    r->steps_unlogged += 1; /* not always `every`: a state may have brought another step */
    if ((every == 0) || (r->step_number % every != 0)) {
        return;
    }
    if (r->comm->worker_index == 0) {
        list_phases(r, phases, sizeof(phases));
        psgd_log(&r->log, PSGD_LOG_INFO,
                 "step %" PRIu64 ": %.1f times fewer elements a compressed step; %.6g MB and %.3f ms a step on average "
                                 "over the last %" PRIu64 " (%s)",
                 r->step_number, now->compression_rate,
                 (double)(now->bytes_total - then->bytes_total) * 1e-6 / (double)r->steps_unlogged,
                 (double)(now->ns_total - then->ns_total) * 1e-6 / (double)r->steps_unlogged, r->steps_unlogged,
                 phases);
    }
    r->stats_logged   = r->stats;
    r->steps_unlogged = 0;
}

static psgd_status_t end_step(psgd_reducer_t *r, bool is_plain)
{
    psgd_status_t status = r->step.agreed;

    r->stats.bytes_total += r->step.bytes;
    if (status != PSGD_OK) {
        drain(r);
        r->stats.skipped_steps += status == PSGD_ERR_NONFINITE ? 1 : 0;
        poison_lazy(r, is_plain);
        if (r->poison.status != PSGD_OK) {
            r->poison.is_told = true;
        }
        return psgd_fail(status, "%s", r->step.sentence);
    }
    r->step_number += 1;
    count_step(r, is_plain);
    if (r->step.local != PSGD_OK) { /* after the last vote: it cannot be undone, nor told before the next step */
        drain(r);
        psgd_fail(r->step.local, "%s", r->step.sentence);
        psgd_reducer_poison(r, r->step.local, false);
        return r->step.local;
    }
    psgd_log(&r->log, PSGD_LOG_DEBUG, "step %" PRIu64 ": %" PRIu64 " bytes in %" PRIu64 " messages, %.3f ms",
             r->step_number - 1, r->stats.bytes_last_step, r->stats.messages_last_step,
             (double)r->stats.ns_last_step * 1e-6);
    log_statistics(r);
    return PSGD_OK;
}

/* The first tensor that nobody has submitted. */
static psgd_status_t check_is_complete(const psgd_reducer_t *r)
{
    for (size_t i = 0; i < r->plan->num_given; ++i) {
        if (!r->is_submitted[i]) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                             "step %" PRIu64
                             ": the gradient of tensor %zu '%s' was not submitted; submit every tensor once "
                             "before psgd_reducer_wait(), with options.has_gradient 0 where it has none",
                             r->step_number, i, r->plan->tensors[i].name);
        }
    }
    return PSGD_OK;
}

psgd_status_t psgd_reducer_end_step(psgd_reducer_t *r)
{
    const bool    is_plain = r->step_number < r->config.start_step;
    psgd_status_t status;

    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, check_is_complete(r));
    }
    run_parts(r);
    psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, give_update);
    psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, psgd_replicas_note_update);
    r->step.is_open = false;
    psgd_spans_poll(r);
    status = end_step(r, is_plain);
    psgd_pipeline_end(r);
    return status;
}

psgd_status_t psgd_reducer_run_step(psgd_reducer_t *r, const float *factors, const psgd_update_t *update,
                                    psgd_status_t local)
{
    psgd_status_t status;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    psgd_progress_enter(r);
    psgd_reducer_begin_step(r, factors, update, local);
    r->step.is_at_once = true;
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_gate_add_caller(&r->buckets[r->num_buckets - 1].gate, r->device));
    }
    if (r->step.local == PSGD_OK) {
        psgd_reducer_submit_tensors(r, 0, r->plan->num_given, false);
    }
    status = psgd_reducer_end_step(r);
    psgd_progress_leave(r);
    return status;
}
