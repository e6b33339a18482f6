/* Workers that are threads of one process.
 *
 * The workers share a group. Every worker numbers the collectives that it begins, 0, 1, 2, ...; equal numbers belong
 * together and meet in a slot. A worker that begins leaves there what it was called with. When the last one has, the
 * work is cut into chunks, and whoever tests takes the next chunk, until none is left: nobody waits in begin, a worker
 * that is busy elsewhere holds up nobody, and workers that poll share the work. Who does a chunk makes no difference to
 * its bits: sums run over the workers in the order 0 .. W-1, and the result is copied to all.
 *
 * A failure (an abort, calls that do not match, a communicator that was destroyed) is one of the whole group and stays:
 * collectives that have not completed by then, and all later ones, fail with its sentence on every worker.
 *
 * One mutex guards the group and is never held while data are touched. Polling does not take it: it looks at three
 * atomic flags (is_done of the request, has_work of its slot, has_failed of the group). */
#define _POSIX_C_SOURCE 200809L /* pthread_mutex_t */
#include "comm/threads.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"

enum {
    MAX_REQUESTS = 64,    /* of one worker, under way at once */
    CHUNK_BYTES  = 65536, /* of one worker's data, handled at once */
    BLOCK_ELEMS  = 512    /* floats summed at once: they stay in the nearest cache */
};

static const uint64_t NO_NUMBER = UINT64_MAX;

typedef enum kind { ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, ALL_TO_ALL, BROADCAST } kind_t;

static const char *const KIND_NAMES[] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast"};

/* What a worker passed to begin_*. Arrays are the caller's, and stay valid until the request is complete. */
typedef struct call {
    kind_t        kind;
    size_t        elem_bytes;     /* unit of all counts: 4 (floats) or 1 */
    size_t        count;          /* all elements of `data`; of `send` in an all_to_all */
    const size_t *counts;         /* of the W segments; of `send` in an all_to_all; NULL where there are none */
    const size_t *receive_counts; /* all_to_all */
    uint32_t      root;           /* broadcast */
    char         *data;           /* in place; `receive` of an all_to_all */
    const char   *send;           /* all_to_all */
} call_t;

typedef struct slot slot_t;

struct psgd_request {
    psgd_request_t *next_free;
    call_t          call;
    uint64_t        number; /* of the collective */
    slot_t         *slot;   /* where it meets the others; may serve another number once is_done */
    atomic_bool     is_done;
};

/* One collective that has not completed: chunks are taken and finished under the mutex, in any order. */
struct slot {
    uint64_t         number;      /* NO_NUMBER: free */
    uint32_t         num_arrived; /* workers that have begun it; the work starts with the last */
    uint32_t         first;       /* the worker that came first: the others' calls are compared with its */
    psgd_request_t **requests;    /* of worker 0 .. W-1; NULL before it arrives */
    size_t           num_chunks;
    size_t           next_chunk;
    size_t           num_finished;
    atomic_bool      has_work; /* chunks are left to be taken */
};

typedef struct group group_t;

/* One worker's communicator. Belongs to its thread, but for what slots point to: requests[].call and .is_done. */
typedef struct worker {
    psgd_comm_t     table;
    group_t        *group;
    uint64_t        next_number; /* of the collective that it begins next */
    psgd_request_t *free_requests;
    psgd_request_t  requests[MAX_REQUESTS];
} worker_t;

/* MAX_REQUESTS slots are enough: the worker that has begun most has a request under way for each slot in use. */
struct group {
    pthread_mutex_t  mutex;
    uint32_t         num_workers;
    uint32_t         num_members; /* not destroyed yet; the last one frees the group */
    uint64_t         num_begun;   /* collectives that at least one worker has begun */
    slot_t           slots[MAX_REQUESTS];
    worker_t        *workers;
    psgd_request_t **slot_requests; /* the memory of slots[].requests */
    char             failure[256];  /* written once, before has_failed */
    atomic_bool      has_failed;
};

static void group_lock(group_t *group)
{
    pthread_mutex_lock(&group->mutex); /* a default mutex, used as it should be, cannot fail */
}

static void group_unlock(group_t *group)
{
    pthread_mutex_unlock(&group->mutex);
}

/* The first failure is the cause; later ones follow from it. Locked. */
static void group_set_failure(group_t *group, const char *sentence)
{
    if (!group->has_failed) {
        snprintf(group->failure, sizeof(group->failure), "%s", sentence);
        group->has_failed = true;
    }
}

static psgd_status_t group_failure(const group_t *group)
{
    return psgd_fail(PSGD_ERR_COMM, "communicator threads: %s", group->failure);
}

/* ---------------------------------------------------------------------------------------------------- the data ---- */

static size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static float *floats_of(const slot_t *slot, uint32_t worker)
{
    void *data = slot->requests[worker]->call.data;

    return data;
}

/* sum[0 .. count) = the sum over all workers of data[begin .. begin + count), in the order of the workers. */
static void sum_block(const group_t *group, const slot_t *slot, size_t begin, size_t count, float *sum)
{
    memcpy(sum, floats_of(slot, 0) + begin, count * sizeof(*sum));
    for (uint32_t w = 1; w < group->num_workers; ++w) {
        const float *addend = floats_of(slot, w) + begin;

        for (size_t i = 0; i < count; ++i) {
            sum[i] += addend[i];
        }
    }
}

static void all_reduce_range(const group_t *group, const slot_t *slot, size_t begin, size_t end)
{
    float  sum[BLOCK_ELEMS];
    size_t count;

    for (; begin < end; begin += count) {
        count = size_min(end - begin, BLOCK_ELEMS);
        sum_block(group, slot, begin, count, sum);
        for (uint32_t w = 0; w < group->num_workers; ++w) {
            memcpy(floats_of(slot, w) + begin, sum, count * sizeof(*sum));
        }
    }
}

/* [begin, end) lies in the segment of `owner`, which alone receives the sum. */
static void reduce_range_to(const group_t *group, const slot_t *slot, uint32_t owner, size_t begin, size_t end)
{
    float  sum[BLOCK_ELEMS];
    size_t count;

    for (; begin < end; begin += count) {
        count = size_min(end - begin, BLOCK_ELEMS);
        sum_block(group, slot, begin, count, sum);
        memcpy(floats_of(slot, owner) + begin, sum, count * sizeof(*sum));
    }
}

/* Bytes [begin, end) of worker `from` go to all others. */
static void copy_range_from(const group_t *group, const slot_t *slot, uint32_t from, size_t begin, size_t end)
{
    for (uint32_t w = 0; w < group->num_workers; ++w) {
        if (w != from) {
            memcpy(slot->requests[w]->call.data + begin, slot->requests[from]->call.data + begin, end - begin);
        }
    }
}

/* [begin, end) of what consists of one segment a worker: each piece to its owner, or from it to all. */
static void segmented_range(const group_t *group, const slot_t *slot, size_t begin, size_t end)
{
    const call_t *call          = &slot->requests[slot->first]->call;
    size_t        segment_begin = 0;

    for (uint32_t owner = 0; owner < group->num_workers && begin < end; ++owner) {
        size_t segment_end = segment_begin + call->counts[owner];
        size_t piece_end   = size_min(segment_end, end);

        if (begin < piece_end) {
            if (call->kind == REDUCE_SCATTER) {
                reduce_range_to(group, slot, owner, begin, piece_end);
            } else {
                copy_range_from(group, slot, owner, begin, piece_end);
            }
            begin = piece_end;
        }
        segment_begin = segment_end;
    }
}

static size_t sum_of_counts(const size_t *counts, uint32_t num_counts)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < num_counts; ++i) {
        sum += counts[i];
    }
    return sum;
}

/* Everything that worker `to` receives in an all_to_all. */
static void all_to_all_receive(const group_t *group, const slot_t *slot, uint32_t to)
{
    const call_t *receiver = &slot->requests[to]->call;
    char         *segment  = receiver->data;

    for (uint32_t from = 0; from < group->num_workers; ++from) {
        const call_t *sender = &slot->requests[from]->call;
        size_t        bytes  = receiver->receive_counts[from];

        if (bytes > 0) {
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a slot with work has a request of every worker */
            memcpy(segment, sender->send + sum_of_counts(sender->counts, to), bytes);
            segment += bytes;
        }
    }
}

static size_t num_chunks_of(const group_t *group, const call_t *call)
{
    size_t chunk_elems = CHUNK_BYTES / call->elem_bytes;

    return call->kind == ALL_TO_ALL ? group->num_workers : (call->count + chunk_elems - 1) / chunk_elems;
}

/* One chunk: of an all_to_all all that one worker receives, of the others a range of the data. Not locked. */
static void run_chunk(const group_t *group, const slot_t *slot, size_t chunk)
{
    const call_t *call        = &slot->requests[slot->first]->call;
    size_t        chunk_elems = CHUNK_BYTES / call->elem_bytes;
    size_t        begin       = chunk * chunk_elems;
    size_t        end         = size_min(begin + chunk_elems, call->count);

    switch (call->kind) {
    case ALL_REDUCE: all_reduce_range(group, slot, begin, end); break;
    case REDUCE_SCATTER:
    case ALL_GATHER: segmented_range(group, slot, begin, end); break;
    case ALL_TO_ALL: all_to_all_receive(group, slot, (uint32_t)chunk); break;
    case BROADCAST: copy_range_from(group, slot, call->root, begin, end); break;
    }
}

/* ----------------------------------------------------------------------------------------- do the calls match? ---- */

/* "broadcast of 12 bytes from worker 1". */
static void describe_call(const call_t *call, char *text, size_t text_bytes)
{
    const char *unit = call->elem_bytes == 1 ? "bytes" : "floats";

    if (call->kind == BROADCAST) {
        snprintf(text, text_bytes, "%s of %zu %s from worker %u", KIND_NAMES[call->kind], call->count, unit,
                 call->root);
    } else {
        snprintf(text, text_bytes, "%s of %zu %s", KIND_NAMES[call->kind], call->count, unit);
    }
}

/* Compares worker's call with that of the slot's first worker. False: the group has failed. Locked. */
static bool calls_match(group_t *group, const slot_t *slot, uint32_t worker, const call_t *call)
{
    const call_t *first = &slot->requests[slot->first]->call;
    char          sentence[256];
    char          first_text[64];
    char          text[64];

    if ((call->kind != first->kind) || (call->root != first->root) ||
        ((call->kind != ALL_TO_ALL) && (call->count != first->count))) {
        describe_call(first, first_text, sizeof(first_text));
        describe_call(call, text, sizeof(text));
        snprintf(sentence, sizeof(sentence), "collective %llu does not match: worker %u began %s, worker %u %s",
                 (unsigned long long)slot->number, slot->first, first_text, worker, text);
        group_set_failure(group, sentence);
        return false;
    }
    if ((call->kind != REDUCE_SCATTER) && (call->kind != ALL_GATHER)) {
        return true;
    }
    for (uint32_t i = 0; i < group->num_workers; ++i) {
        if (call->counts[i] != first->counts[i]) {
            snprintf(sentence, sizeof(sentence),
                     "collective %llu does not match: segment %u of %s has %zu elements on worker %u, %zu on worker %u",
                     (unsigned long long)slot->number, i, KIND_NAMES[call->kind], first->counts[i], slot->first,
                     call->counts[i], worker);
            group_set_failure(group, sentence);
            return false;
        }
    }
    return true;
}

/* What each worker sends must be what the other expects. False: the group has failed. Locked; all have arrived. */
static bool all_to_all_matches(group_t *group, const slot_t *slot)
{
    char sentence[256];

    for (uint32_t from = 0; from < group->num_workers; ++from) {
        for (uint32_t to = 0; to < group->num_workers; ++to) {
            size_t sent     = slot->requests[from]->call.counts[to];
            size_t expected = slot->requests[to]->call.receive_counts[from];

            if (sent != expected) {
                snprintf(sentence, sizeof(sentence),
                         "collective %llu does not match: in all_to_all worker %u sends %zu bytes to worker %u, "
                         "which expects %zu",
                         (unsigned long long)slot->number, from, sent, to, expected);
                group_set_failure(group, sentence);
                return false;
            }
        }
    }
    return true;
}

/* -------------------------------------------------------------------------------------- slots, under the mutex ---- */

/* The slot of collective `number`: the one where others are, or a free one for whom comes first. */
static slot_t *slot_of(group_t *group, uint64_t number)
{
    uint64_t wanted = number;
    size_t   i      = (size_t)(number % MAX_REQUESTS);

    if (number == group->num_begun) {
        wanted = NO_NUMBER;
        ++group->num_begun;
    }
    while (group->slots[i].number != wanted) { /* there is one: see struct group */
        i = (i + 1) % MAX_REQUESTS;
    }
    return &group->slots[i];
}

/* All chunks are done: every worker's request is complete, and the slot is free. */
static void slot_complete(const group_t *group, slot_t *slot)
{
    for (uint32_t w = 0; w < group->num_workers; ++w) {
        psgd_request_t *request = slot->requests[w];

        slot->requests[w] = NULL;
        atomic_store_explicit(&request->is_done, true, memory_order_release); /* it is its owner's from here on */
    }
    slot->number      = NO_NUMBER;
    slot->num_arrived = 0;
}

/* All have arrived: opens the work. */
static psgd_status_t slot_start(group_t *group, slot_t *slot)
{
    const call_t *call = &slot->requests[slot->first]->call;

    if ((call->kind == ALL_TO_ALL) && !all_to_all_matches(group, slot)) {
        return group_failure(group);
    }
    slot->num_chunks   = num_chunks_of(group, call);
    slot->next_chunk   = 0;
    slot->num_finished = 0;
    if (slot->num_chunks == 0) {
        slot_complete(group, slot);
        return PSGD_OK;
    }
    atomic_store_explicit(&slot->has_work, true, memory_order_release);
    return PSGD_OK;
}

/* The worker takes its place in the slot of its next collective. */
static psgd_status_t group_arrive(group_t *group, worker_t *worker, psgd_request_t *request)
{
    uint32_t index = worker->table.worker_index;
    slot_t  *slot;

    if (group->has_failed) {
        return group_failure(group);
    }
    slot = slot_of(group, request->number);
    if (slot->num_arrived == 0) {
        slot->number = request->number;
        slot->first  = index;
    } else if (!calls_match(group, slot, index, &request->call)) {
        return group_failure(group);
    }
    slot->requests[index] = request;
    request->slot         = slot;
    ++slot->num_arrived;
    return slot->num_arrived == group->num_workers ? slot_start(group, slot) : PSGD_OK;
}

/* Takes and does chunks of the request's collective as long as there are any. */
static void group_help(group_t *group, psgd_request_t *request)
{
    slot_t *slot = request->slot;

    if (!atomic_load_explicit(&slot->has_work, memory_order_acquire)) {
        return;
    }
    group_lock(group);
    while (!group->has_failed && (slot->number == request->number) && (slot->next_chunk < slot->num_chunks)) {
        size_t chunk = slot->next_chunk++;

        if (slot->next_chunk == slot->num_chunks) {
            atomic_store_explicit(&slot->has_work, false, memory_order_release);
        }
        group_unlock(group);
        run_chunk(group, slot, chunk);
        group_lock(group);
        ++slot->num_finished;
        if ((slot->num_finished == slot->num_chunks) && !group->has_failed) {
            slot_complete(group, slot);
        }
    }
    group_unlock(group);
}

/* --------------------------------------------------------------------------------------------------- the table ---- */

static psgd_status_t threads_begin(worker_t *worker, call_t call, psgd_request_t **request_p)
{
    psgd_request_t *request = worker->free_requests;
    psgd_status_t   status;

    if (request == NULL) {
        return psgd_fail(PSGD_ERR_COMM,
                         "communicator threads: worker %u has %d requests under way and can have no more; "
                         "test them until they are complete",
                         worker->table.worker_index, MAX_REQUESTS);
    }
    request->call   = call;
    request->number = worker->next_number;
    atomic_store_explicit(&request->is_done, false, memory_order_relaxed);

    group_lock(worker->group);
    status = group_arrive(worker->group, worker, request);
    group_unlock(worker->group);
    if (status != PSGD_OK) {
        return status;
    }
    worker->free_requests = request->next_free;
    ++worker->next_number;
    *request_p = request;
    return PSGD_OK;
}

static psgd_status_t threads_begin_all_reduce(void *self, float *data, size_t count_elems, psgd_request_t **request_p)
{
    call_t call = {.kind = ALL_REDUCE, .elem_bytes = sizeof(float), .count = count_elems, .data = (char *)data};

    return threads_begin(self, call, request_p);
}

static psgd_status_t threads_begin_reduce_scatter(void *self, float *data, const size_t *counts_elems,
                                                  psgd_request_t **request_p)
{
    worker_t *worker = self;
    call_t    call   = {.kind       = REDUCE_SCATTER,
                        .elem_bytes = sizeof(float),
                        .count      = sum_of_counts(counts_elems, worker->table.num_workers),
                        .counts     = counts_elems,
                        .data       = (char *)data};

    return threads_begin(worker, call, request_p);
}

static psgd_status_t threads_begin_all_gather(void *self, void *data, const size_t *counts_bytes,
                                              psgd_request_t **request_p)
{
    worker_t *worker = self;
    call_t    call   = {.kind       = ALL_GATHER,
                        .elem_bytes = 1,
                        .count      = sum_of_counts(counts_bytes, worker->table.num_workers),
                        .counts     = counts_bytes,
                        .data       = data};

    return threads_begin(worker, call, request_p);
}

static psgd_status_t threads_begin_all_to_all(void *self, const void *send, const size_t *send_counts_bytes,
                                              void *receive, const size_t *receive_counts_bytes,
                                              psgd_request_t **request_p)
{
    worker_t *worker = self;
    call_t    call   = {.kind           = ALL_TO_ALL,
                        .elem_bytes     = 1,
                        .count          = sum_of_counts(send_counts_bytes, worker->table.num_workers),
                        .counts         = send_counts_bytes,
                        .receive_counts = receive_counts_bytes,
                        .data           = receive,
                        .send           = send};

    return threads_begin(worker, call, request_p);
}

static psgd_status_t threads_begin_broadcast(void *self, void *data, size_t count_bytes, uint32_t root,
                                             psgd_request_t **request_p)
{
    worker_t *worker = self;
    call_t    call   = {.kind = BROADCAST, .elem_bytes = 1, .count = count_bytes, .root = root, .data = data};

    if (root >= worker->table.num_workers) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "broadcast from worker %u: there are only workers 0 to %u", root,
                         worker->table.num_workers - 1);
    }
    return threads_begin(worker, call, request_p);
}

static bool request_is_done(psgd_request_t *request)
{
    return atomic_load_explicit(&request->is_done, memory_order_acquire);
}

static psgd_status_t threads_test(void *self, psgd_request_t *request, int *done_p)
{
    worker_t *worker = self;
    group_t  *group  = worker->group;
    bool      has_failed;

    if (!request_is_done(request)) {
        group_help(group, request);
    }
    has_failed = group->has_failed; /* first: nothing completes after it, so what is not done below never will be */
    if (!request_is_done(request)) {
        *done_p = 0;
        return has_failed ? group_failure(group) : PSGD_OK;
    }
    request->next_free    = worker->free_requests;
    worker->free_requests = request;
    *done_p               = 1;
    return PSGD_OK;
}

/* "worker 1 has not begun it", "workers 1, 2 have not begun it". */
static void threads_name_late(void *self, const psgd_request_t *request, char *text, size_t text_bytes)
{
    worker_t     *worker   = self;
    group_t      *group    = worker->group;
    const slot_t *slot     = request->slot;
    char          list[96] = "";
    size_t        used     = 0;
    uint32_t      num_late = 0;

    group_lock(group);
    for (uint32_t w = 0; (slot->number == request->number) && (w < group->num_workers); ++w) {
        if (slot->requests[w] == NULL) {
            used += used < sizeof(list) - 16 ? (size_t)snprintf(list + used, sizeof(list) - used, "%s%u", used > 0 ? ", " : "", w) : 0;
            ++num_late;
        }
    }
    group_unlock(group);
    if (num_late > 0) {
        snprintf(text, text_bytes, "worker%s %s %s not begun it", num_late > 1 ? "s" : "", list, num_late > 1 ? "have" : "has");
    }
}

static void threads_abort(void *self)
{
    worker_t *worker = self;
    char      sentence[128];

    snprintf(sentence, sizeof(sentence), "worker %u aborted; its own error says why", worker->table.worker_index);
    group_lock(worker->group);
    group_set_failure(worker->group, sentence);
    group_unlock(worker->group);
}

static void group_free(group_t *group)
{
    pthread_mutex_destroy(&group->mutex);
    psgd_free(group->slot_requests);
    psgd_free(group->workers);
    psgd_free(group);
}

static void threads_destroy(void *self)
{
    worker_t *worker = self;
    group_t  *group  = worker->group;
    char      sentence[128];
    bool      is_last;

    /* Who goes on without this worker would wait for ever, so it is told. */
    snprintf(sentence, sizeof(sentence), "worker %u has left: its communicator was destroyed",
             worker->table.worker_index);
    group_lock(group);
    group_set_failure(group, sentence);
    --group->num_members;
    is_last = group->num_members == 0;
    group_unlock(group);
    if (is_last) {
        group_free(group);
    }
}

/* ---------------------------------------------------------------------------------------------------- creation ---- */

static void worker_init(worker_t *worker, group_t *group, uint32_t index)
{
    worker->group = group;
    for (int i = MAX_REQUESTS - 1; i >= 0; --i) {
        atomic_init(&worker->requests[i].is_done, false);
        worker->requests[i].next_free = worker->free_requests;
        worker->free_requests         = &worker->requests[i];
    }
    worker->table = (psgd_comm_t){
        .struct_size          = sizeof(psgd_comm_t),
        .name                 = "threads",
        .self                 = worker,
        .num_workers          = group->num_workers,
        .worker_index         = index,
        .begin_all_reduce     = threads_begin_all_reduce,
        .begin_reduce_scatter = threads_begin_reduce_scatter,
        .begin_all_gather     = threads_begin_all_gather,
        .begin_all_to_all     = threads_begin_all_to_all,
        .begin_broadcast      = threads_begin_broadcast,
        .test                 = threads_test,
        .abort                = threads_abort,
        .destroy              = threads_destroy,
        .any_thread           = 1,
        .name_late            = threads_name_late,
    };
}

static void group_init(group_t *group, uint32_t num_workers)
{
    group->num_workers = num_workers;
    group->num_members = num_workers;
    atomic_init(&group->has_failed, false);
    for (size_t i = 0; i < MAX_REQUESTS; ++i) {
        group->slots[i].number   = NO_NUMBER;
        group->slots[i].requests = group->slot_requests + i * num_workers;
        atomic_init(&group->slots[i].has_work, false);
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        worker_init(&group->workers[w], group, w);
    }
}

psgd_status_t psgd_threads_comm_open(uint32_t num_workers, psgd_comm_t **comms_p)
{
    group_t      *group;
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*group), "a group of threads", &group);
    if (status != PSGD_OK) {
        goto out;
    }
    status = psgd_alloc(num_workers, sizeof(*group->workers), "the communicators of threads", &group->workers);
    if (status != PSGD_OK) {
        goto free_group;
    }
    status = psgd_alloc((size_t)num_workers * MAX_REQUESTS, sizeof(*group->slot_requests),
                        "the slots of a group of threads", &group->slot_requests);
    if (status != PSGD_OK) {
        goto free_workers;
    }
    if (pthread_mutex_init(&group->mutex, NULL) != 0) {
        status = psgd_fail(PSGD_ERR_HOST_MEMORY, "no mutex for a group of %u threads", num_workers);
        goto free_slot_requests;
    }
    group_init(group, num_workers);
    for (uint32_t w = 0; w < num_workers; ++w) {
        comms_p[w] = &group->workers[w].table;
    }
    return PSGD_OK;

free_slot_requests:
    psgd_free(group->slot_requests);
free_workers:
    psgd_free(group->workers);
free_group:
    psgd_free(group);
out:
    return status;
}
