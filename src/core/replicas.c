#include "core/replicas.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/phases.h"
#include "core/update.h"

/* ---- hashes ---- */

static psgd_status_t need_hasher(psgd_reducer_t *r)
{
    return r->hasher == NULL ? psgd_hasher_create(r->device, &r->hasher) : PSGD_OK;
}

/* hashes[i] of each region; waits. */
static psgd_status_t hash_replicas(psgd_reducer_t *r, const psgd_replica_t *replicas, size_t count, uint64_t *hashes)
{
    psgd_status_t status = need_hasher(r);

    for (size_t i = 0; (status == PSGD_OK) && (i < count); ++i) {
        status = psgd_hasher_enqueue_bytes(r->hasher, replicas[i].view, replicas[i].bytes, &hashes[i]);
    }
    return psgd_device_settle(r->device, status, "the hashing of device memory");
}

static uint64_t combine(const uint64_t *hashes, size_t count)
{
    return psgd_hash_bytes(count, hashes, count * sizeof(*hashes));
}

psgd_status_t psgd_replicas_note_update(psgd_reducer_t *r)
{
    const uint64_t every = r->config.check_every;
    psgd_status_t  status;

    if ((every == 0) || (r->step_number % every != 0)) {
        return PSGD_OK;
    }
    for (size_t i = 0; i < r->plan->num_given; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];

        r->checked[i] = r->step.update != NULL
                            ? (psgd_replica_t){r->step.update->params[i], (size_t)tensor->elems * sizeof(float)}
                            : (psgd_replica_t){r->grads[i], (size_t)tensor->elems * psgd_dtype_bytes(tensor->dtype)};
    }
    status = hash_replicas(r, r->checked, r->plan->num_given, r->check_hashes);
    if (status == PSGD_OK) {
        r->check_hash = combine(r->check_hashes, r->plan->num_given);
        r->check_step = r->step_number;
    }
    return status;
}

/* ---- comparing and copying ---- */

/* What each worker tells first. */
enum { TOLD_STATUS, TOLD_SHAPE, TOLD_HASH, NUM_TOLD };

/* How many regions, of which sizes, from which root. */
static uint64_t hash_of_shape(const psgd_replica_t *replicas, size_t count, uint64_t root)
{
    uint64_t hash = psgd_hash_u64(root, count);

    for (size_t i = 0; i < count; ++i) {
        hash = psgd_hash_u64(hash, replicas[i].bytes);
    }
    return hash;
}

/* The collective's words have come: whether all are well and mean the same. The sentence of `local` is the last error. */
static psgd_status_t judge(const psgd_reducer_t *r, const uint64_t *told, psgd_status_t local, const char *function)
{
    for (uint32_t w = 0; w < r->comm->num_workers; ++w) {
        psgd_status_t theirs = (psgd_status_t) - (int64_t)told[NUM_TOLD * w + TOLD_STATUS];

        if ((theirs != PSGD_OK) && (local != PSGD_OK)) {
            return local == theirs ? local : psgd_fail_in(theirs, "worker %u failed differently; here", w);
        }
        if (theirs != PSGD_OK) {
            return psgd_fail(theirs, "%s failed on worker %u (%s); its own message says more", function, w,
                             psgd_status_string(theirs));
        }
    }
    for (uint32_t w = 1; w < r->comm->num_workers; ++w) {
        if (told[NUM_TOLD * w + TOLD_SHAPE] != told[TOLD_SHAPE]) {
            return psgd_fail(PSGD_ERR_MISMATCH, "%s: worker %u passes other regions, or another root, than worker 0",
                             function, w);
        }
    }
    return PSGD_OK;
}

static bool is_equal_everywhere(const psgd_reducer_t *r, const uint64_t *words, size_t num_words, size_t word)
{
    for (uint32_t w = 1; w < r->comm->num_workers; ++w) {
        if (words[w * num_words + word] != words[word]) {
            return false;
        }
    }
    return true;
}

/* The first region that differs, and the workers that hold something else than worker 0. Every worker comes here. */
static psgd_status_t name_difference(psgd_reducer_t *r, const uint64_t *hashes, size_t count)
{
    char          names[256] = "";
    size_t        used = 0, region = 0;
    const uint64_t *all = r->gather.words;

    for (;; region += 1) { /* a region at a time: all workers see the same, and stop at the same */
        psgd_exchange_gather_words(r, &r->gather, &hashes[region], 1, "the naming of a difference");
        if (!psgd_step_goes_on(r)) {
            return psgd_fail(r->step.agreed, "%s", r->step.sentence);
        }
        if ((region + 1 == count) || !is_equal_everywhere(r, all, 1, 0)) {
            break;
        }
    }
    for (uint32_t w = 1; (w < r->comm->num_workers) && (used < sizeof(names) - 32); ++w) {
        if (all[w] != all[0]) {
            used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%u", used > 0 ? ", " : "", w);
        }
    }
    return psgd_fail(PSGD_ERR_DIVERGED,
                     "region %zu of %zu differs: worker 0 holds other bits than worker %s; "
                     "psgd_replica_sync() makes them equal",
                     region, count, names);
}

/* Tells and hears whether all are well; what they told is in r->gather. */
static psgd_status_t meet(psgd_reducer_t *r, psgd_status_t local, uint64_t shape, uint64_t hash, const char *function)
{
    const uint64_t own[NUM_TOLD] = {(uint64_t) - (int64_t)local, shape, hash};
    char           sentence[PSGD_SENTENCE_BYTES];

    snprintf(sentence, sizeof(sentence), "%s", local != PSGD_OK ? psgd_last_error() : "");
    memset(&r->step, 0, sizeof(r->step));
    psgd_exchange_gather_words(r, &r->gather, own, NUM_TOLD, function);
    if (!psgd_step_goes_on(r)) {
        return psgd_fail(r->step.agreed, "%s", r->step.sentence);
    }
    if (local != PSGD_OK) {
        psgd_fail(local, "%s", sentence);
    }
    return judge(r, r->gather.words, local, function);
}

psgd_status_t psgd_replicas_compare(psgd_reducer_t *r, const psgd_replica_t *replicas, size_t count,
                                    psgd_status_t local)
{
    uint64_t     *hashes = NULL;
    psgd_status_t status = local;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = psgd_alloc(count, sizeof(*hashes), "the hashes of the regions", &hashes);
    }
    if (status == PSGD_OK) {
        status = hash_replicas(r, replicas, count, hashes);
    }
    status = meet(r, status, status == PSGD_OK ? hash_of_shape(replicas, count, 0) : 0,
                  status == PSGD_OK ? combine(hashes, count) : 0, "psgd_replica_check");
    if ((status == PSGD_OK) && !is_equal_everywhere(r, r->gather.words, NUM_TOLD, TOLD_HASH)) {
        status = name_difference(r, hashes, count);
    }
    psgd_device_free_host(r->device, hashes);
    return status;
}

enum { HALF_WORD_BITS = 16, HALF_WORDS = 2 };

/* Words as floats that a sum with zeros keeps: 16 bits each. From the end, as they overlap. */
static void spread_words(float *values, size_t words)
{
    for (size_t i = words; i-- > 0;) {
        uint32_t word;

        memcpy(&word, &values[i], sizeof(word));
        values[HALF_WORDS * i]     = (float)(word & 0xFFFF);
        values[HALF_WORDS * i + 1] = (float)(word >> HALF_WORD_BITS);
    }
}

static void join_words(float *values, size_t words)
{
    for (size_t i = 0; i < words; ++i) {
        uint32_t word = (uint32_t)values[HALF_WORDS * i] | (uint32_t)values[HALF_WORDS * i + 1] << HALF_WORD_BITS;

        memcpy(&values[i], &word, sizeof(word));
    }
}

/* The first `words` words of message_chunk become those of worker root. */
static void bring_words(psgd_reducer_t *r, size_t words, uint32_t root)
{
    float *payload = psgd_message_payload(&r->message_chunk);

    if (r->comm->begin_broadcast != NULL) {
        psgd_exchange_broadcast(r, &r->message_chunk, 0, words, root, "psgd_replica_sync");
        return;
    }
    if (r->comm->worker_index == root) {
        spread_words(payload, words);
    } else {
        memset(payload, 0, HALF_WORDS * words * sizeof(float));
    }
    psgd_exchange_begin(r, &r->message_chunk, HALF_WORDS * words, 0);
    if (psgd_step_goes_on(r)) {
        psgd_exchange_finish(r, &r->message_chunk, "psgd_replica_sync");
    }
    if (psgd_step_goes_on(r)) {
        join_words(payload, words);
    }
}

static psgd_status_t read_piece(psgd_reducer_t *r, psgd_view_t view, size_t bytes)
{
    psgd_status_t status = psgd_buffer_enqueue_read(r->device, view, psgd_message_payload(&r->message_chunk), bytes);

    return psgd_device_settle(r->device, status, "psgd_replica_sync");
}

static psgd_status_t write_piece(psgd_reducer_t *r, psgd_view_t view, size_t bytes)
{
    psgd_status_t status = psgd_buffer_enqueue_write(r->device, view, psgd_message_payload(&r->message_chunk), bytes);

    return psgd_device_settle(r->device, status, "psgd_replica_sync");
}

/* One region, piece by piece. */
static void copy_replica(psgd_reducer_t *r, const psgd_replica_t *replica, uint32_t root)
{
    const bool   is_root     = r->comm->worker_index == root;
    const size_t piece_bytes = r->message_chunk.capacity_elems / HALF_WORDS * sizeof(float);

    for (size_t at = 0; (at < replica->bytes) && psgd_step_goes_on(r); at += piece_bytes) {
        const size_t bytes = replica->bytes - at < piece_bytes ? replica->bytes - at : piece_bytes;

        if (is_root && psgd_step_is_healthy(r)) {
            psgd_step_note(r, read_piece(r, psgd_view_at(replica->view, at), bytes));
        }
        bring_words(r, (bytes + sizeof(float) - 1) / sizeof(float), root);
        if (!is_root && psgd_step_is_healthy(r)) {
            psgd_step_note(r, write_piece(r, psgd_view_at(replica->view, at), bytes));
        }
    }
}

psgd_status_t psgd_replicas_copy(psgd_reducer_t *r, const psgd_replica_t *replicas, size_t count, uint32_t root,
                                 psgd_status_t local)
{
    psgd_status_t status = local;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_check_poison(r);
    }
    status = meet(r, status, status == PSGD_OK ? hash_of_shape(replicas, count, root + UINT64_C(1)) : 0, 0,
                  "psgd_replica_sync");
    for (size_t i = 0; (status == PSGD_OK) && (i < count) && psgd_step_goes_on(r); ++i) {
        copy_replica(r, &replicas[i], root);
    }
    if (status != PSGD_OK) {
        return status;
    }
    if (!psgd_step_goes_on(r)) {
        return psgd_fail(r->step.agreed, "%s", r->step.sentence);
    }
    status = r->step.local; /* told in words: a copy that some did not get is no copy */
    if (status != PSGD_OK) {
        psgd_fail(status, "%s", r->step.sentence);
    }
    return meet(r, status, 0, 0, "psgd_replica_sync");
}
