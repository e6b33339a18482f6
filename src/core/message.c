#include "core/message.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "base/vectorize.h"
#include "comm/wait.h"

psgd_status_t psgd_message_create(psgd_message_t *message, size_t capacity_elems, uint32_t num_workers)
{
    size_t vote_elems = psgd_vote_elems(num_workers);

    if (capacity_elems > SIZE_MAX / sizeof(float) - vote_elems) {
        return psgd_fail(PSGD_ERR_HOST_MEMORY, "a message of %zu elements is larger than this host can address",
                         capacity_elems);
    }
    message->vote_elems     = vote_elems;
    message->capacity_elems = capacity_elems;
    return psgd_alloc(vote_elems + capacity_elems, sizeof(float), "a message to the other workers", &message->host);
}

psgd_status_t psgd_message_narrow(psgd_message_t *message, const psgd_plan_t *plan, psgd_dtype_t dtype,
                                  const psgd_comm_t *comm)
{
    return psgd_narrow_create(plan, dtype, (size_t)plan->small_elems, message->vote_elems, comm, &message->narrow);
}

void psgd_message_destroy(psgd_message_t *message, bool keep_memory)
{
    if ((message->request == NULL) && !keep_memory) {
        psgd_owned_destroy(message->owned);
        psgd_narrow_destroy(message->narrow);
        psgd_free(message->host);
    }
    memset(message, 0, sizeof(*message));
}

float *psgd_message_payload(const psgd_message_t *message)
{
    return message->host + message->vote_elems;
}

/* Factors in 16 bits have owners of their own. */
static bool is_by_owners(const psgd_message_t *message)
{
    return (message->owned != NULL) && (message->narrow == NULL);
}

uint64_t psgd_message_bytes(const psgd_message_t *message)
{
    if (message->narrow != NULL) {
        return psgd_narrow_bytes(message->narrow);
    }
    if (message->owned != NULL) {
        return psgd_owned_bytes_of_half(message->owned) * psgd_message_collectives(message);
    }
    return (uint64_t)(message->vote_elems + message->payload_elems) * sizeof(float);
}

uint64_t psgd_message_collectives(const psgd_message_t *message)
{
    return is_by_owners(message) && !message->shares_later && !message->is_sharing ? 2 : 1;
}

static size_t factor_elems(const psgd_message_t *message)
{
    return psgd_narrow_factor_elems(message->narrow, message->kind);
}

/* The ballot in front of the payload; a failing worker zeroes that. */
static void cast(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot, uint32_t num_workers)
{
    message->payload_elems = payload_elems;
    message->has_second    = false;
    message->is_done       = false;
    message->failure       = PSGD_OK;
    message->begin_ns      = psgd_now_ns();
    message->ballot        = *ballot;
    psgd_vote_cast(ballot, num_workers, message->host);
    if (ballot->failure != PSGD_OK) {
        memset(psgd_message_payload(message), 0, payload_elems * sizeof(float));
    }
}

psgd_status_t psgd_message_begin(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot,
                                 const psgd_comm_t *comm)
{
    cast(message, payload_elems, ballot, comm->num_workers);
    message->is_sharing = false;
    if (is_by_owners(message)) {
        psgd_owned_divide(message->owned, message->partition, payload_elems);
        return psgd_owned_begin_sums(message->owned, psgd_message_payload(message), message->host, comm,
                                     &message->request);
    }
    if (message->narrow != NULL) {
        return psgd_narrow_begin(message->narrow, message->kind, message->comes_back_narrow,
                                 psgd_message_payload(message), payload_elems - factor_elems(message), message->host,
                                 comm, &message->request);
    }
    return psgd_comm_result(comm, comm->begin_all_reduce(comm->self, message->host, message->vote_elems + payload_elems,
                                                         &message->request));
}

psgd_status_t psgd_message_begin_sharing(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot,
                                         const psgd_comm_t *comm)
{
    cast(message, payload_elems, ballot, comm->num_workers);
    message->is_sharing = true;
    psgd_owned_divide(message->owned, message->partition, payload_elems);
    return psgd_owned_begin_sharing(message->owned, psgd_message_payload(message), message->host, comm,
                                    &message->request);
}

/* Until the collective under way is complete. */
static psgd_status_t wait_for(psgd_message_t *message, const psgd_comm_t *comm, psgd_patience_t patience,
                              const psgd_log_t *log, const char *what)
{
    psgd_status_t status;

    message->is_waited_for = true;
    status                 = psgd_comm_wait(comm, message->request, patience, log, what);
    message->is_waited_for = false;
    return status;
}

psgd_status_t psgd_message_broadcast(psgd_message_t *message, size_t begin, size_t elems, uint32_t root,
                                     const psgd_comm_t *comm, psgd_patience_t patience, const psgd_log_t *log,
                                     const char *what)
{
    psgd_status_t status =
        psgd_comm_result(comm, comm->begin_broadcast(comm->self, psgd_message_payload(message) + begin,
                                                     elems * sizeof(float), root, &message->request));

    if (status == PSGD_OK) {
        status = wait_for(message, comm, patience, log, what);
    }
    if (status == PSGD_OK) {
        message->request = NULL;
    }
    return status;
}

/* A collective of it is complete: takes what it has brought, and begins another where that is not all. */
static psgd_status_t go_on(psgd_message_t *message, const psgd_comm_t *comm)
{
    float *payload = psgd_message_payload(message);
    bool   is_last = message->has_second;

    message->request = NULL;
    message->is_done = false;
    if (message->narrow != NULL) {
        if (is_last) {
            psgd_narrow_end(message->narrow, payload, message->host);
            return PSGD_OK;
        }
        message->has_second = true;
        return psgd_narrow_continue(message->narrow, comm, &message->request);
    }
    if (!is_by_owners(message)) {
        return PSGD_OK;
    }
    if (is_last || message->is_sharing) {
        psgd_owned_take_shared(message->owned, payload, message->host);
        return PSGD_OK;
    }
    psgd_owned_take_sums(message->owned, payload, message->payload_elems, message->host);
    if (message->shares_later) {
        return PSGD_OK;
    }
    message->has_second = true;
    psgd_vote_cast(&message->ballot, comm->num_workers, message->host);
    return psgd_owned_begin_sharing(message->owned, payload, message->host, comm, &message->request);
}

static void note_done(psgd_message_t *message)
{
    message->is_done = true;
    message->end_ns  = psgd_now_ns();
}

bool psgd_message_poll(psgd_message_t *message, const psgd_comm_t *comm)
{
    int is_done = 0;

    if ((message->request == NULL) || message->is_done || message->is_waited_for || (message->failure != PSGD_OK)) {
        return false;
    }
    message->failure = psgd_comm_result(comm, comm->test(comm->self, message->request, &is_done));
    if ((message->failure == PSGD_OK) && is_done) {
        note_done(message);
    }
    return (message->failure == PSGD_OK) && !is_done;
}

bool psgd_message_is_here(psgd_message_t *message, const psgd_comm_t *comm)
{
    psgd_message_poll(message, comm);
    while (message->is_done && (message->failure == PSGD_OK)) {
        message->failure = go_on(message, comm);
        psgd_message_poll(message, comm);
    }
    return (message->request == NULL) || (message->failure != PSGD_OK);
}

psgd_status_t psgd_message_finish(psgd_message_t *message, const psgd_comm_t *comm, psgd_patience_t patience,
                                  const psgd_log_t *log, const char *what, psgd_verdict_t *verdict_p)
{
    psgd_status_t status = message->failure;

    if (status != PSGD_OK) {
        return psgd_fail_in(status, "%s", what);
    }
    while ((status == PSGD_OK) && (message->request != NULL)) {
        if (!message->is_done) {
            status = wait_for(message, comm, patience, log, what);
            if (status != PSGD_OK) {
                return status; /* the request stays: what it points to may still be written */
            }
            note_done(message);
        }
        status = go_on(message, comm);
    }
    if (status == PSGD_OK) {
        *verdict_p = psgd_vote_count(message->host, comm->num_workers);
    }
    return status;
}

PSGD_VECTORIZE
static bool is_finite(const float *values, size_t elems)
{
    static const uint32_t EXPONENT  = UINT32_C(0x7F800000); /* all ones in NaN and Inf */
    uint32_t              nonfinite = 0;

    for (size_t i = 0; i < elems; ++i) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        nonfinite |= (uint32_t)((bits & EXPONENT) == EXPONENT);
    }
    return nonfinite == 0;
}

bool psgd_message_is_finite(const float *values, size_t elems)
{
    return is_finite(values, elems);
}

PSGD_VECTORIZE
static void divide(float *sums, size_t elems, float divisor)
{
    for (size_t i = 0; i < elems; ++i) {
        sums[i] = sums[i] / divisor;
    }
}

bool psgd_message_average(float *sums, size_t elems, uint32_t num_workers)
{
    divide(sums, elems, (float)num_workers); /* exact: below 2^24 */
    return psgd_message_is_finite(sums, elems);
}

enum { PIECES = 4 }; /* 16 bits each in a word */

static void split_words(const uint64_t *words, size_t num_words, float *pieces)
{
    for (size_t i = 0; i < num_words * PIECES; ++i) {
        pieces[i] = (float)((words[i / PIECES] >> (16 * (i % PIECES))) & 0xFFFF);
    }
}

/* Whether the pieces are those of words: what a damaged message holds may be any number. */
static bool join_words(const float *pieces, size_t num_words, uint64_t *words)
{
    for (size_t i = 0; i < num_words * PIECES; ++i) {
        if (!((pieces[i] >= 0.0f) && (pieces[i] <= 65535.0f))) {
            return false;
        }
    }
    for (size_t i = 0; i < num_words; ++i) {
        words[i] = 0;
        for (size_t k = 0; k < PIECES; ++k) {
            words[i] |= (uint64_t)pieces[i * PIECES + k] << (16 * k);
        }
    }
    return true;
}

/* What travels behind a worker's words: a damaged message must not be believed. */
static uint64_t check_of(const uint64_t *words, size_t num_words)
{
    uint64_t check = num_words;

    for (size_t i = 0; i < num_words; ++i) {
        check = psgd_hash_u64(check, words[i]);
    }
    return check;
}

/* A worker's words and their check, in floats. */
static size_t slot_elems(size_t num_words)
{
    return (num_words + 1) * PIECES;
}

/* The words of all workers, from their slots. */
static psgd_status_t read_slots(psgd_gather_t *gather, const psgd_comm_t *comm, size_t num_words, const char *what)
{
    for (uint32_t w = 0; w < comm->num_workers; ++w) {
        const float *slot  = gather->pieces + w * slot_elems(num_words);
        uint64_t    *words = gather->words + w * num_words, check;

        if (!join_words(slot, num_words, words) || !join_words(slot + num_words * PIECES, 1, &check) ||
            (check != check_of(words, num_words))) {
            return psgd_fail(PSGD_ERR_COMM,
                             "%s: what worker %u told cannot be read; the communicator '%s' damaged a message", what, w,
                             comm->name);
        }
    }
    return PSGD_OK;
}

psgd_status_t psgd_gather_create(psgd_gather_t *gather, size_t max_words, uint32_t num_workers)
{
    psgd_status_t status;

    status = psgd_alloc(max_words * num_workers, sizeof(*gather->words), "the words of all workers", &gather->words);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_alloc(slot_elems(max_words) * num_workers, sizeof(*gather->pieces), "the words of all workers",
                      &gather->pieces);
}

void psgd_gather_destroy(psgd_gather_t *gather)
{
    psgd_free(gather->words);
    if (!gather->is_pending) {
        psgd_free(gather->pieces);
    }
    memset(gather, 0, sizeof(*gather));
}

uint64_t psgd_gather_bytes(size_t num_words, uint32_t num_workers)
{
    return (uint64_t)slot_elems(num_words) * num_workers * sizeof(float);
}

psgd_status_t psgd_gather_words(psgd_gather_t *gather, const psgd_comm_t *comm, const uint64_t *words, size_t num_words,
                                psgd_patience_t patience, const psgd_log_t *log, const char *what)
{
    const size_t    elems   = slot_elems(num_words) * comm->num_workers;
    const uint64_t  check   = check_of(words, num_words);
    float          *own     = gather->pieces + slot_elems(num_words) * comm->worker_index;
    psgd_request_t *request = NULL;
    psgd_status_t   status;

    memset(gather->pieces, 0, elems * sizeof(float));
    split_words(words, num_words, own);
    split_words(&check, 1, own + num_words * PIECES);
    status = psgd_comm_result(comm, comm->begin_all_reduce(comm->self, gather->pieces, elems, &request));
    if (status != PSGD_OK) {
        return status;
    }
    gather->is_pending = true;
    status             = psgd_comm_wait(comm, request, patience, log, what);
    if (status != PSGD_OK) {
        return status;
    }
    gather->is_pending = false;
    return read_slots(gather, comm, num_words, what);
}
