/* A step from the outside: what comes before its first message and after its last vote. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/copies.h"
#include "core/exchange.h"
#include "core/owners.h"
#include "core/phases.h"
#include "core/replicas.h"
#include "core/step.h"
#include "core/update.h"

/* Gradients times their factors. */
static psgd_status_t scale_gradients(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    if (r->step.factors == NULL) {
        return PSGD_OK;
    }
    if (r->rescale == NULL) {
        status = psgd_rescale_create(r->device, r->plan, &r->rescale);
    }
    return status == PSGD_OK ? psgd_rescale_enqueue(r->rescale, r->step.grads, r->step.factors) : status;
}

/* Where the gradients are that the step works on, and the matrices in them. */
static psgd_status_t take_gradients(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    r->step.grads = r->step.given;
    if (r->copies != NULL) {
        status = psgd_copies_take(r);
    }
    for (size_t m = 0; (status == PSGD_OK) && (m < r->plan->num_matrices); ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];

        r->matrix_grads[m] =
            psgd_view_at(r->step.grads[matrix->tensor_index], (size_t)matrix->grad_offset_elems * sizeof(float));
    }
    return status == PSGD_OK ? scale_gradients(r) : status;
}

/* What was copied goes back; with an optimizer the gradients' content is nobody's. */
static void give_update(psgd_reducer_t *r)
{
    if ((r->copies != NULL) && (r->step.update == NULL)) {
        psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, psgd_copies_give);
    }
}

static void begin_step(psgd_reducer_t *r, const psgd_view_t *grads, const float *factors, const psgd_update_t *update,
                       psgd_status_t local)
{
    memset(&r->step, 0, sizeof(r->step));
    r->step.given           = grads;
    r->step.factors         = factors;
    r->step.update          = update;
    r->step.clip            = 1.0f;
    r->step.start_ns = psgd_now_ns();
    r->step.launches_before = psgd_device_launches(r->device);
    psgd_step_note(r, local);
    if (r->poison.status != PSGD_OK) { /* it failed after the last vote of an earlier step: now the others hear of it */
        psgd_step_note(r, psgd_reducer_check_poison(r));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_device_unstick(r->device));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_device_fence(r->device));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, psgd_update_prepare(r));
    }
    if (r->step.local == PSGD_OK) {
        psgd_step_note(r, take_gradients(r));
    }
}

/* A step that ended early leaves nothing under way: neither on the wire nor on the device. */
static void drain(psgd_reducer_t *r)
{
    psgd_exchange_drain(r, &r->message_large, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
    psgd_owners_drain(r);
    if (!psgd_device_is_stuck(r->device) &&
        (psgd_device_wait(r->device, "the rest of a step that ended early") != PSGD_OK)) {
        psgd_log(&r->log, PSGD_LOG_WARN, "after step %" PRIu64 " failed: %s", r->step_number, psgd_last_error());
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

psgd_status_t psgd_reducer_run_step(psgd_reducer_t *r, const psgd_view_t *grads, const float *factors,
                                    const psgd_update_t *update, psgd_status_t local)
{
    bool is_plain = r->step_number < r->config.start_step;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    begin_step(r, grads, factors, update, local);
    if (is_plain) {
        psgd_step_plain(r);
    } else if (r->alternation != NULL) {
        psgd_step_alternating(r);
    } else {
        psgd_step_compressed(r);
    }
    give_update(r);
    psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, psgd_replicas_note_update);
    return end_step(r, is_plain);
}
