#include "core/agree.h"

#include <inttypes.h>

#include "base/hash.h"
#include "base/status.h"
#include "core/choose.h"
#include "core/fingerprint.h"
#include "core/owners.h"

static uint64_t device_hash(const psgd_reducer_t *r)
{
    const psgd_device_limits_t *limits = psgd_device_limits(r->device);

    return psgd_hash_string(psgd_hash_string(0, limits->name), limits->driver);
}

/* The items at creation: the device, the fingerprint, the first Q. */
static psgd_ballot_t make_ballot(const psgd_reducer_t *r, psgd_status_t local)
{
    psgd_ballot_t ballot = {local, {0}};

    if (r != NULL) {
        ballot.items[PSGD_VOTE_STEP] = device_hash(r);
        ballot.items[PSGD_VOTE_PLAN] = r->fingerprint;
        ballot.items[PSGD_VOTE_BITS] = psgd_reducer_hash_factor(r);
    }
    return ballot;
}

/* What the ballots say of failures. */
static psgd_status_t judge_failures(const psgd_comm_t *comm, psgd_status_t local, const psgd_verdict_t *verdict)
{
    if (!verdict->is_readable) {
        return psgd_fail(PSGD_ERR_COMM, "the first message cannot be read: communicator '%s' does not add up what %u workers "
                         "send", comm->name, comm->num_workers);
    }
    if (verdict->failure == PSGD_OK) {
        return PSGD_OK;
    }
    if (local != PSGD_OK) {
        return local == verdict->failure ? local : psgd_fail_in(verdict->failure, "other workers failed differently; here");
    }
    return psgd_fail(verdict->failure, "the reducer could not be created on %u of %u workers (%s); their own messages say "
                     "more", verdict->num_failed, comm->num_workers, psgd_status_string(verdict->failure));
}

/* A message with a vote, of a reducer under creation (or NULL); the communicator is given up where it fails. */
static psgd_status_t exchange(psgd_reducer_t *r, const psgd_comm_t *comm, psgd_status_t local, psgd_message_t *message,
                              size_t payload_elems, psgd_patience_t patience, const psgd_log_t *log, const char *what,
                              psgd_verdict_t *verdict_p)
{
    psgd_ballot_t ballot = make_ballot(r, local);
    psgd_status_t status = psgd_message_begin(message, payload_elems, &ballot, comm);

    if (status == PSGD_OK) {
        status = psgd_message_finish(message, comm, patience, log, what, verdict_p);
    }
    if (status == PSGD_OK) {
        status = judge_failures(comm, local, verdict_p);
    } else {
        comm->abort(comm->self);
    }
    return status;
}

/* Whether all workers mean the same. */
static psgd_status_t judge_plans(psgd_reducer_t *r, const psgd_verdict_t *verdict)
{
    psgd_status_t status = PSGD_OK;

    if (!verdict->is_equal[PSGD_VOTE_PLAN]) {
        status = psgd_fingerprint_explain(r->plan, r->choices, &r->config, &r->gather, r->comm, r->patience, &r->log);
    } else if (!verdict->is_equal[PSGD_VOTE_BITS]) {
        status = psgd_fail(PSGD_ERR_DIVERGED, "the workers drew different first factors Q from the same seed: a host computes "
                           "wrongly, or runs another version of libpsgd");
    }
    if ((status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM)) {
        r->comm->abort(r->comm->self);
    }
    return status;
}

static psgd_status_t compare_plans(psgd_reducer_t *r, const psgd_comm_t *comm, psgd_status_t local,
                                   psgd_patience_t patience, const psgd_log_t *log, psgd_message_t *message)
{
    psgd_message_t own = {0};
    psgd_verdict_t verdict;
    psgd_status_t  status = PSGD_OK;

    if (message == NULL) {
        message = &own;
        status  = psgd_message_create(message, 0, comm->num_workers);
    }
    if (status != PSGD_OK) {
        comm->abort(comm->self);
        return status;
    }
    status =
        exchange(r, comm, local, message, 0, patience, log, "the creation of the reducer on all workers", &verdict);
    if (status == PSGD_OK) {
        status      = judge_plans(r, &verdict);
        r->is_mixed = !verdict.is_equal[PSGD_VOTE_STEP];
    }
    psgd_message_destroy(&own, false);
    return status;
}

psgd_status_t psgd_agree_on_sums(psgd_reducer_t *r, psgd_status_t local, size_t payload_elems)
{
    psgd_verdict_t verdict;

    return exchange(r, r->comm, local, &r->message_chunk, payload_elems, r->patience, &r->log,
                    "the choice of engines on all workers", &verdict);
}

static void log_plan(const psgd_reducer_t *r)
{
    size_t num_fused = 0;

    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        num_fused += r->choices[m] == PSGD_ENGINE_FUSED ? 1 : 0;
    }
    psgd_log(&r->log, PSGD_LOG_INFO,
             "reducer on %s: %" PRIu64 " of %zu tensors compressed, %" PRIu64 " elements as %" PRIu64
             " (%.1f times fewer), %zu of %zu matrices by the fused engine%s",
             psgd_device_limits(r->device)->name, r->stats.num_compressed_tensors, r->plan->num_given,
             r->plan->total_elems, r->stats.compressed_elems, r->stats.compression_rate, num_fused,
             r->plan->num_matrices,
             r->buckets[0].owners != NULL ? ", each matrix's factors made orthonormal by its owner" : "");
}

psgd_status_t psgd_reducer_agree(psgd_reducer_t *r, const psgd_comm_t *comm, psgd_status_t local,
                                 psgd_patience_t patience, const psgd_log_t *log, psgd_message_t *message)
{
    psgd_status_t status = compare_plans(r, comm, local, patience, log, message);

    if ((status == PSGD_OK) && psgd_choose_is_open(r)) {
        status = psgd_choose_by_measuring(r);
    }
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_choose_create_engines(r);
    for (size_t i = 0; (status == PSGD_OK) && psgd_owners_are_wanted(r) && (i < r->num_buckets); ++i) {
        status = psgd_owners_create(&r->buckets[i]);
    }
    status = psgd_agree_on_sums(r, status, 0);
    for (size_t i = 0; (status == PSGD_OK) && psgd_owners_are_wanted(r) && (i < r->num_buckets); ++i) {
        psgd_owners_activate(&r->buckets[i]);
    }
    if (status == PSGD_OK) {
        log_plan(r);
    }
    return status;
}
