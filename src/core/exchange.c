#include "core/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "core/pipeline.h"
#include "core/spans.h"
#include "core/update.h"

bool psgd_step_goes_on(const psgd_reducer_t *reducer)
{
    return reducer->step.agreed == PSGD_OK;
}

bool psgd_step_is_healthy(const psgd_reducer_t *reducer)
{
    return psgd_step_goes_on(reducer) && (reducer->step.local == PSGD_OK);
}

static void keep_sentence(psgd_step_t *step)
{
    snprintf(step->sentence, sizeof(step->sentence), "%s", psgd_last_error());
}

void psgd_step_note(psgd_reducer_t *reducer, psgd_status_t status)
{
    if ((status != PSGD_OK) && (reducer->step.local == PSGD_OK)) {
        reducer->step.local = status;
        keep_sentence(&reducer->step);
    }
}

/* All workers end the step with this status; the last error is the sentence. */
static void agree(psgd_reducer_t *reducer, psgd_status_t status)
{
    reducer->step.agreed = status;
    keep_sentence(&reducer->step);
    if (psgd_status_poisons(status)) {
        psgd_reducer_poison(reducer, status, true);
    }
}

/* The communicator itself failed or fell silent: nobody can be told any more. */
static void break_off(psgd_reducer_t *reducer, psgd_status_t status)
{
    agree(reducer, status);
    psgd_reducer_poison(reducer, status, true);
    reducer->poison.is_cut_off = true;
    reducer->comm->abort(reducer->comm->self);
}

/* Who failed, and with what: "worker 1 failed (out of device memory)". Every worker calls it. */
static psgd_status_t name_failures(psgd_reducer_t *reducer, const psgd_verdict_t *verdict)
{
    psgd_step_t    *step       = &reducer->step;
    char            names[256] = "";
    size_t          used       = 0;
    uint64_t        own        = (uint64_t) - (int64_t)step->local;
    char            own_sentence[PSGD_SENTENCE_BYTES];
    const uint64_t *all = reducer->gather.words;
    psgd_status_t   status;

    memcpy(own_sentence, step->sentence, sizeof(own_sentence));
    status = psgd_gather_words(&reducer->gather, reducer->comm, &own, 1, reducer->patience, &reducer->log,
                               "the naming of failures");
    if (status != PSGD_OK) {
        return status;
    }
    for (uint32_t w = 0; (w < reducer->comm->num_workers) && (used < sizeof(names) - 64); ++w) {
        if (all[w] != 0) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%sworker %u (%s)", used > 0 ? ", " : "", w,
                                     psgd_status_string((psgd_status_t) - (int64_t)all[w]));
        }
    }
    return psgd_fail(verdict->failure, "step %" PRIu64 " failed on %s%s%s", reducer->step_number, names,
                     step->local != PSGD_OK ? "; here: " : "", step->local != PSGD_OK ? own_sentence : "");
}

/* Which workers hold something else than worker 0. Every worker calls it. */
static psgd_status_t name_differences(psgd_reducer_t *reducer, psgd_status_t status, uint64_t own, const char *what)
{
    char            names[256] = "";
    size_t          used       = 0;
    const uint64_t *all        = reducer->gather.words;
    psgd_status_t   gathered;

    gathered = psgd_gather_words(&reducer->gather, reducer->comm, &own, 1, reducer->patience, &reducer->log,
                                 "the naming of differences");
    if (gathered != PSGD_OK) {
        return gathered;
    }
    for (uint32_t w = 1; (w < reducer->comm->num_workers) && (used < sizeof(names) - 32); ++w) {
        if (all[w] != all[0]) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%u", used > 0 ? ", " : "", w);
            reducer->step.differing += 1;
        }
    }
    return psgd_fail(status, "step %" PRIu64 ": %s; worker 0 differs from worker %s", reducer->step_number, what,
                     names);
}

/* What was agreed on at creation, and what the callers must bring alike to this step. */
static uint64_t plan_of_step(const psgd_reducer_t *reducer)
{
    return reducer->fingerprint ^ psgd_update_hash(reducer);
}

static psgd_ballot_t make_ballot(const psgd_reducer_t *reducer, uint64_t bits)
{
    psgd_ballot_t ballot;

    ballot.failure                = reducer->step.local;
    ballot.items[PSGD_VOTE_STEP]  = reducer->step_number;
    ballot.items[PSGD_VOTE_PLAN]  = plan_of_step(reducer);
    ballot.items[PSGD_VOTE_BITS]  = bits;
    return ballot;
}

typedef psgd_status_t (*begin_fn)(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot,
                                  const psgd_comm_t *comm);

static void begin_with(psgd_reducer_t *reducer, psgd_message_t *message, size_t payload_elems, uint64_t bits,
                       begin_fn begin)
{
    psgd_ballot_t ballot;
    psgd_status_t status;

    if ((reducer->step.local == PSGD_OK) &&
        !psgd_message_is_finite(psgd_message_payload(message), payload_elems)) {
        psgd_step_note(reducer, psgd_fail(PSGD_ERR_NONFINITE, "this worker's gradient holds NaN or Inf, or overflowed"));
    }
    ballot        = make_ballot(reducer, bits);
    message->bits = bits;
    status        = begin(message, payload_elems, &ballot, reducer->comm);
    if (status != PSGD_OK) {
        break_off(reducer, status);
        return;
    }
    reducer->step.bytes += psgd_message_bytes(message);
    reducer->step.messages += psgd_message_collectives(message);
}

void psgd_exchange_begin(psgd_reducer_t *reducer, psgd_message_t *message, size_t payload_elems, uint64_t bits)
{
    begin_with(reducer, message, payload_elems, bits, psgd_message_begin);
}

void psgd_exchange_begin_sharing(psgd_reducer_t *reducer, psgd_message_t *message, size_t payload_elems)
{
    begin_with(reducer, message, payload_elems, 0, psgd_message_begin_sharing);
}

void psgd_exchange_broadcast(psgd_reducer_t *reducer, psgd_message_t *message, size_t begin, size_t elems,
                             uint32_t root, const char *what)
{
    psgd_status_t status =
        psgd_message_broadcast(message, begin, elems, root, reducer->comm, reducer->patience, &reducer->log, what);

    if (status != PSGD_OK) {
        break_off(reducer, status);
        return;
    }
    reducer->step.bytes += (uint64_t)elems * sizeof(float) / 2; /* as psgd_owned_bytes_of_half() */
    reducer->step.messages += 1;
}

void psgd_exchange_drain(psgd_reducer_t *reducer, psgd_message_t *message, const char *what)
{
    if ((message->request != NULL) && !reducer->poison.is_cut_off) {
        psgd_exchange_finish(reducer, message, what);
    }
}

/* An update that was checked, or what this step holds. Every worker calls it. */
static psgd_status_t name_different_bits(psgd_reducer_t *reducer, const psgd_message_t *message)
{
    char          what[128];
    psgd_status_t status;

    if (reducer->config.check_every > 0) {
        snprintf(what, sizeof(what), "after step %" PRIu64 " the workers held different updates or parameters",
                 reducer->check_step);
        status = name_differences(reducer, PSGD_ERR_DIVERGED, reducer->check_hash, what);
        if ((status != PSGD_ERR_DIVERGED) || (reducer->step.differing > 0)) {
            return status;
        }
    }
    return name_differences(reducer, PSGD_ERR_DIVERGED, message->bits,
                            "the workers hold different bits of Q, P^ or an uncompressed mean (was a state imported on "
                            "some of them only?)");
}

/* Whether the vote lets the step go on; else the status and the sentence that all workers end with. */
static psgd_status_t judge(psgd_reducer_t *reducer, const psgd_message_t *message, const psgd_verdict_t *verdict)
{
    if (!verdict->is_readable) {
        return psgd_fail(PSGD_ERR_COMM, "step %" PRIu64 ": the vote cannot be read; the communicator '%s' damaged a message",
                         reducer->step_number, reducer->comm->name);
    }
    if (verdict->failure != PSGD_OK) {
        return name_failures(reducer, verdict);
    }
    if (!verdict->is_equal[PSGD_VOTE_STEP]) {
        return name_differences(reducer, PSGD_ERR_MISMATCH, reducer->step_number,
                                "the workers are at different steps (was a state imported on some of them only?)");
    }
    if (!verdict->is_equal[PSGD_VOTE_PLAN]) {
        return name_differences(reducer, PSGD_ERR_MISMATCH, plan_of_step(reducer),
                                "the workers' reducers differ, or what they pass to this step does");
    }
    if (!verdict->is_equal[PSGD_VOTE_BITS]) {
        return name_different_bits(reducer, message);
    }
    return PSGD_OK;
}

void psgd_exchange_finish(psgd_reducer_t *reducer, psgd_message_t *message, const char *what)
{
    char           sentence[128];
    psgd_verdict_t verdict;
    psgd_status_t  status;

    snprintf(sentence, sizeof(sentence), "%s of step %" PRIu64 " (%" PRIu64 " bytes)", what, reducer->step_number,
             psgd_message_bytes(message));
    status =
        psgd_message_finish(message, reducer->comm, psgd_pipeline_patience(reducer), &reducer->log, sentence, &verdict);
    if (status != PSGD_OK) {
        break_off(reducer, status);
        return;
    }
    if (!psgd_step_goes_on(reducer)) {
        return; /* drained after the step has ended: the verdict was given before */
    }
    psgd_spans_travelled(reducer, what, message);
    status = judge(reducer, message, &verdict);
    if (status == PSGD_OK) {
        return;
    }
    if ((status == PSGD_ERR_COMM) || (status == PSGD_ERR_TIMEOUT)) {
        break_off(reducer, status);
    } else {
        agree(reducer, status);
    }
}

void psgd_exchange_gather_words(psgd_reducer_t *reducer, psgd_gather_t *gather, const uint64_t *words, size_t num_words,
                                const char *what)
{
    psgd_status_t status;

    status = psgd_gather_words(gather, reducer->comm, words, num_words, reducer->patience, &reducer->log, what);
    if (status != PSGD_OK) {
        break_off(reducer, status);
        return;
    }
    reducer->step.bytes += psgd_gather_bytes(num_words, reducer->comm->num_workers);
    reducer->step.messages += 1;
}

void psgd_exchange_overflow(psgd_reducer_t *reducer, const char *what)
{
    agree(reducer, psgd_fail(PSGD_ERR_NONFINITE, "step %" PRIu64 ": %s overflowed; no worker's gradient did by itself",
                             reducer->step_number, what));
}

void psgd_exchange_average_owned(psgd_reducer_t *reducer, psgd_message_t *message)
{
    if (psgd_step_is_healthy(reducer) &&
        !psgd_message_average(psgd_message_payload(message), message->payload_elems, reducer->comm->num_workers)) {
        psgd_step_note(reducer,
                       psgd_fail(PSGD_ERR_NONFINITE, "the sum over the workers overflowed; no worker's gradient did by "
                                                     "itself"));
    }
}

void psgd_exchange_average(psgd_reducer_t *reducer, psgd_message_t *message)
{
    if (!psgd_step_goes_on(reducer)) {
        return;
    }
    if (!psgd_message_average(psgd_message_payload(message), message->payload_elems, reducer->comm->num_workers)) {
        psgd_exchange_overflow(reducer, "the sum over the workers");
    }
}
