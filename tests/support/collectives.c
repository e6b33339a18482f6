#include "support/collectives.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "comm/wait.h"

enum { GUARD_BYTES = 16, GUARD = 0xA5 };

static const double LONG_DEADLINE_SECONDS = 30.0;

static const char *const KIND_NAMES[NUM_COLLECTIVE_KINDS] = {"all_reduce", "reduce_scatter", "all_gather", "all_to_all",
                                                             "broadcast"};

static const char *problem(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *problem(const char *format, ...)
{
    static _Thread_local char sentence[512];
    va_list                   arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return sentence;
}

psgd_status_t collective_wait(const psgd_comm_t *comm, psgd_request_t *request, double deadline_seconds)
{
    psgd_patience_t patience = {.warn_ns = UINT64_MAX,
                                .fail_ns = psgd_seconds_to_ns(deadline_seconds, LONG_DEADLINE_SECONDS)};

    return psgd_comm_wait(comm, request, patience, NULL, "a test");
}

/* --- what workers bring ------------------------------------------------------------------------------------------- */

static uint64_t random_bits(uint32_t seed, uint32_t worker, uint64_t position)
{
    return psgd_hash_u64(psgd_hash_u64(psgd_hash_u64(0, seed), worker), position);
}

/* In [-1, 1), with all its 24 bits in use: sums in another order have other bits. */
static float value_of(uint32_t seed, uint32_t worker, uint64_t position)
{
    return ((float)(random_bits(seed, worker, position) >> 40) - 8388608.0f) / 8388608.0f;
}

static unsigned char byte_of(uint32_t seed, uint32_t worker, uint64_t position)
{
    return (unsigned char)random_bits(seed, worker, position);
}

/* Segments of different sizes; with several workers one is empty now and then. */
static size_t segment_size(size_t size, uint32_t seed, uint32_t num_workers, uint32_t segment)
{
    if ((num_workers > 1) && (segment == seed % (2 * num_workers))) {
        return 0;
    }
    return size + 3 * segment;
}

/* What `from` sends to `to` in an all_to_all. */
static size_t pair_size(size_t size, uint32_t seed, uint32_t num_workers, uint32_t from, uint32_t to)
{
    return segment_size(size, seed + from, num_workers, to) + from;
}

static bool is_sum(collective_kind_t kind)
{
    return (kind == COLLECTIVE_ALL_REDUCE) || (kind == COLLECTIVE_REDUCE_SCATTER);
}

static bool is_whole(collective_kind_t kind)
{
    return (kind == COLLECTIVE_ALL_REDUCE) || (kind == COLLECTIVE_BROADCAST);
}

static size_t sum_of(const size_t *counts, uint32_t num_counts)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < num_counts; ++i) {
        sum += counts[i];
    }
    return sum;
}

static void fill_counts(collective_t *collective)
{
    uint32_t num_workers = collective->comm->num_workers;
    uint32_t index       = collective->comm->worker_index;

    for (uint32_t w = 0; w < num_workers; ++w) {
        if (collective->kind == COLLECTIVE_ALL_TO_ALL) {
            collective->counts[w]         = pair_size(collective->size, collective->seed, num_workers, index, w);
            collective->receive_counts[w] = pair_size(collective->size, collective->seed, num_workers, w, index);
        } else {
            collective->counts[w] = segment_size(collective->size, collective->seed, num_workers, w);
        }
    }
}

/* Elements (of 4 bytes in a sum, else of 1) of `data`. */
static size_t data_elems(const collective_t *collective)
{
    if (is_whole(collective->kind)) {
        return collective->size;
    }
    return sum_of(collective->kind == COLLECTIVE_ALL_TO_ALL ? collective->receive_counts : collective->counts,
                  collective->comm->num_workers);
}

static void fill_data(collective_t *collective)
{
    uint32_t index = collective->comm->worker_index;

    if (is_sum(collective->kind)) {
        for (size_t i = 0; i < collective->data_bytes / sizeof(float); ++i) {
            ((float *)(void *)collective->data)[i] = value_of(collective->seed, index, i);
        }
        return;
    }
    /* Of an all_gather only this worker's segment matters: the others begin with bytes that are wrong. */
    for (size_t i = 0; i < collective->data_bytes; ++i) {
        collective->data[i] = byte_of(collective->seed, index, i);
    }
}

static void fill_send(collective_t *collective, size_t bytes)
{
    for (size_t i = 0; i < bytes; ++i) {
        collective->send[i] = byte_of(collective->seed, collective->comm->worker_index, i);
    }
}

static const char *allocate(collective_t *collective)
{
    size_t num_workers = collective->comm->num_workers;
    size_t send_bytes;

    collective->counts         = calloc(num_workers, sizeof(*collective->counts));
    collective->receive_counts = calloc(num_workers, sizeof(*collective->receive_counts));
    if ((collective->counts == NULL) || (collective->receive_counts == NULL)) {
        return problem("no memory");
    }
    fill_counts(collective);
    collective->data_bytes = data_elems(collective) * (is_sum(collective->kind) ? sizeof(float) : 1);
    send_bytes = collective->kind == COLLECTIVE_ALL_TO_ALL ? sum_of(collective->counts, (uint32_t)num_workers) : 0;
    collective->data = malloc(collective->data_bytes + GUARD_BYTES);
    collective->send = malloc(send_bytes + 1);
    if ((collective->data == NULL) || (collective->send == NULL)) {
        return problem("no memory");
    }
    fill_data(collective);
    fill_send(collective, send_bytes);
    memset(collective->data + collective->data_bytes, GUARD, GUARD_BYTES);
    return NULL;
}

/* --- begin -------------------------------------------------------------------------------------------------------- */

static psgd_status_t begin(collective_t *collective)
{
    const psgd_comm_t *comm = collective->comm;

    switch (collective->kind) {
    case COLLECTIVE_ALL_REDUCE:
        return comm->begin_all_reduce(comm->self, (float *)(void *)collective->data, collective->size,
                                      &collective->request);
    case COLLECTIVE_REDUCE_SCATTER:
        return comm->begin_reduce_scatter(comm->self, (float *)(void *)collective->data, collective->counts,
                                          &collective->request);
    case COLLECTIVE_ALL_GATHER:
        return comm->begin_all_gather(comm->self, collective->data, collective->counts, &collective->request);
    case COLLECTIVE_ALL_TO_ALL:
        return comm->begin_all_to_all(comm->self, collective->send, collective->counts, collective->data,
                                      collective->receive_counts, &collective->request);
    default:
        return comm->begin_broadcast(comm->self, collective->data, collective->size,
                                     collective->seed % comm->num_workers, &collective->request);
    }
}

const char *collective_begin(collective_t *collective, const psgd_comm_t *comm, collective_kind_t kind, size_t size,
                             uint32_t seed, bool is_in_order)
{
    const char *wrong;

    memset(collective, 0, sizeof(*collective));
    collective->comm        = comm;
    collective->kind        = kind;
    collective->size        = size;
    collective->seed        = seed;
    collective->is_in_order = is_in_order;
    wrong                   = allocate(collective);
    if (wrong != NULL) {
        return wrong;
    }
    if (begin(collective) != PSGD_OK) {
        return problem("begin %s: %s", KIND_NAMES[kind], psgd_last_error());
    }
    return NULL;
}

/* --- comparing ---------------------------------------------------------------------------------------------------- */

/* data[begin .. end) are sums over all workers. */
static const char *compare_sums(const collective_t *collective, size_t begin, size_t end)
{
    const float *data = (const float *)(const void *)collective->data;

    for (size_t i = begin; i < end; ++i) {
        float  in_order  = value_of(collective->seed, 0, i);
        double exact     = in_order;
        double magnitude = fabs(exact);

        for (uint32_t w = 1; w < collective->comm->num_workers; ++w) {
            float addend = value_of(collective->seed, w, i);

            in_order += addend;
            exact += addend;
            magnitude += fabs((double)addend);
        }
        if (collective->is_in_order ? memcmp(&data[i], &in_order, sizeof(in_order)) != 0
                                    : !(fabs(data[i] - exact) <= magnitude * 0x1p-22)) {
            return problem("%s: element %zu is %.9g, not %.9g", KIND_NAMES[collective->kind], i, (double)data[i],
                           exact);
        }
    }
    return NULL;
}

/* data[begin .. begin + count) are bytes from_begin .. of what worker `from` has brought. */
static const char *compare_bytes(const collective_t *collective, size_t begin, size_t count, uint32_t from,
                                 size_t from_begin)
{
    for (size_t i = 0; i < count; ++i) {
        if (collective->data[begin + i] != byte_of(collective->seed, from, from_begin + i)) {
            return problem("%s: byte %zu is not byte %zu of worker %u", KIND_NAMES[collective->kind], begin + i,
                           from_begin + i, from);
        }
    }
    return NULL;
}

static const char *compare_all_gather(const collective_t *collective)
{
    const char *wrong = NULL;
    size_t      begin = 0;

    for (uint32_t w = 0; (wrong == NULL) && (w < collective->comm->num_workers); ++w) {
        wrong = compare_bytes(collective, begin, collective->counts[w], w, begin);
        begin += collective->counts[w];
    }
    return wrong;
}

static const char *compare_all_to_all(const collective_t *collective)
{
    uint32_t    num_workers = collective->comm->num_workers;
    const char *wrong       = NULL;
    size_t      begin       = 0;

    for (uint32_t from = 0; (wrong == NULL) && (from < num_workers); ++from) {
        size_t from_begin = 0;

        for (uint32_t to = 0; to < collective->comm->worker_index; ++to) {
            from_begin += pair_size(collective->size, collective->seed, num_workers, from, to);
        }
        wrong = compare_bytes(collective, begin, collective->receive_counts[from], from, from_begin);
        begin += collective->receive_counts[from];
    }
    return wrong;
}

static const char *compare(const collective_t *collective)
{
    uint32_t index         = collective->comm->worker_index;
    size_t   segment_begin = sum_of(collective->counts, index);

    switch (collective->kind) {
    case COLLECTIVE_ALL_REDUCE: return compare_sums(collective, 0, collective->size);
    case COLLECTIVE_REDUCE_SCATTER:
        return compare_sums(collective, segment_begin, segment_begin + collective->counts[index]);
    case COLLECTIVE_ALL_GATHER: return compare_all_gather(collective);
    case COLLECTIVE_ALL_TO_ALL: return compare_all_to_all(collective);
    default: return compare_bytes(collective, 0, collective->size, collective->seed % collective->comm->num_workers, 0);
    }
}

static const char *compare_guard(const collective_t *collective)
{
    for (size_t i = 0; i < GUARD_BYTES; ++i) {
        if (collective->data[collective->data_bytes + i] != GUARD) {
            return problem("%s: writes %zu bytes behind its data", KIND_NAMES[collective->kind], i);
        }
    }
    return NULL;
}

const char *collective_finish(collective_t *collective, double deadline_seconds)
{
    const char *wrong;

    if (collective_wait(collective->comm, collective->request, deadline_seconds) != PSGD_OK) {
        return problem("wait for %s: %s", KIND_NAMES[collective->kind], psgd_last_error());
    }
    wrong = compare(collective);
    if (wrong == NULL) {
        wrong = compare_guard(collective);
    }
    if ((collective->kind != COLLECTIVE_ALL_TO_ALL) && (collective->kind != COLLECTIVE_REDUCE_SCATTER)) {
        collective->result_hash = psgd_hash_bytes(0, collective->data, collective->data_bytes);
    }
    return wrong;
}

const char *collective_compare_bits(const collective_t *collective, double deadline_seconds)
{
    const psgd_comm_t *comm   = collective->comm;
    uint64_t          *hashes = calloc(comm->num_workers, sizeof(*hashes));
    size_t            *counts = calloc(comm->num_workers, sizeof(*counts));
    const char        *wrong  = NULL;
    psgd_request_t    *request;

    if ((hashes == NULL) || (counts == NULL)) {
        wrong = problem("no memory");
        goto out;
    }
    for (uint32_t w = 0; w < comm->num_workers; ++w) {
        counts[w] = sizeof(*hashes);
    }
    hashes[comm->worker_index] = collective->result_hash;
    if ((comm->begin_all_gather(comm->self, hashes, counts, &request) != PSGD_OK) ||
        (collective_wait(comm, request, deadline_seconds) != PSGD_OK)) {
        wrong = problem("gathering hashes: %s", psgd_last_error());
        goto out;
    }
    for (uint32_t w = 0; w < comm->num_workers; ++w) {
        if (hashes[w] != hashes[0]) {
            wrong = problem("%s: workers 0 and %u hold different bits", KIND_NAMES[collective->kind], w);
        }
    }
out:
    free(hashes);
    free(counts);
    return wrong;
}

void collective_free(collective_t *collective)
{
    free(collective->data);
    free(collective->send);
    free(collective->counts);
    free(collective->receive_counts);
}

/* --- whole checks ------------------------------------------------------------------------------------------------- */

const char *collective_check(const psgd_comm_t *comm, collective_kind_t kind, size_t size, uint32_t seed,
                             bool is_in_order)
{
    collective_t collective;
    const char  *wrong;

    wrong = collective_begin(&collective, comm, kind, size, seed, is_in_order);
    if (wrong == NULL) {
        wrong = collective_finish(&collective, LONG_DEADLINE_SECONDS);
    }
    if (wrong == NULL) {
        wrong = collective_compare_bits(&collective, LONG_DEADLINE_SECONDS);
    }
    if (wrong == NULL) { /* else it may still be under way */
        collective_free(&collective);
    }
    return wrong;
}

static collective_kind_t kind_of_number(uint32_t number)
{
    return (collective_kind_t)(number % NUM_COLLECTIVE_KINDS);
}

const char *collectives_check_many(const psgd_comm_t *comm, uint32_t num_collectives, size_t size, uint32_t seed,
                                   bool is_in_order)
{
    collective_t *collectives = calloc(num_collectives, sizeof(*collectives));
    uint32_t      first       = (comm->worker_index * 7 + seed) % num_collectives;
    const char   *wrong       = collectives == NULL ? problem("no memory") : NULL;

    for (uint32_t i = 0; (wrong == NULL) && (i < num_collectives); ++i) {
        wrong = collective_begin(&collectives[i], comm, kind_of_number(i), size + i, seed + i, is_in_order);
    }
    for (uint32_t i = 0; (wrong == NULL) && (i < num_collectives); ++i) {
        uint32_t at = (first + i) % num_collectives; /* odd workers go backwards */

        wrong = collective_finish(&collectives[comm->worker_index % 2 == 0 ? at : num_collectives - 1 - at],
                                  LONG_DEADLINE_SECONDS);
    }
    for (uint32_t i = 0; (wrong == NULL) && (i < num_collectives); ++i) {
        wrong = collective_compare_bits(&collectives[i], LONG_DEADLINE_SECONDS);
    }
    for (uint32_t i = 0; (wrong == NULL) && (i < num_collectives); ++i) {
        collective_free(&collectives[i]);
    }
    if (wrong == NULL) { /* else some may still be under way */
        free(collectives);
    }
    return wrong;
}
