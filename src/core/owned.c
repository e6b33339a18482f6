#include "core/owned.h"

#include <string.h>

#include "base/arith.h"
#include "base/memory.h"
#include "comm/wait.h"

struct psgd_owned {
    uint32_t                num_workers, own;
    size_t                  vote_elems;
    psgd_partition_t        runs;      /* where the payload is divided into runs */
    const psgd_partition_t *partition; /* of the exchange under way */
    float  *segments; /* [ what a worker owns | vote ], one behind the other; of both halves of an exchange */
    size_t *counts;   /* elements of each segment, and bytes: the halves do not overlap in time */
};

/* ---- partitions ---- */

psgd_status_t psgd_partition_allocate(size_t max_ranges, uint32_t num_workers, psgd_partition_t *partition_p)
{
    psgd_status_t status;

    status = psgd_alloc(max_ranges, sizeof(*partition_p->ranges), "who owns what", &partition_p->ranges);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_alloc((size_t)num_workers + 1, sizeof(*partition_p->first), "who owns what", &partition_p->first);
}

void psgd_partition_free(psgd_partition_t *partition)
{
    psgd_free(partition->first);
    psgd_free(partition->ranges);
    memset(partition, 0, sizeof(*partition));
}

size_t psgd_partition_run(size_t elems, uint32_t num_workers, uint32_t w)
{
    return (size_t)((uint64_t)(elems / num_workers) * w + psgd_min(w, elems % num_workers));
}

void psgd_partition_evenly(psgd_partition_t *partition, size_t elems, uint32_t num_workers)
{
    for (uint32_t w = 0; w < num_workers; ++w) {
        partition->first[w]        = w;
        partition->ranges[w].begin = psgd_partition_run(elems, num_workers, w);
        partition->ranges[w].end   = psgd_partition_run(elems, num_workers, w + 1);
    }
    partition->first[num_workers] = num_workers;
}

/* Elements that worker w owns. */
static size_t owned_elems(const psgd_partition_t *partition, uint32_t w)
{
    size_t elems = 0;

    for (size_t i = partition->first[w]; i < partition->first[w + 1]; ++i) {
        elems += partition->ranges[i].end - partition->ranges[i].begin;
    }
    return elems;
}

/* ---- creation ---- */

psgd_status_t psgd_owned_create(size_t capacity_elems, size_t vote_elems, const psgd_comm_t *comm,
                                psgd_owned_t **owned_p)
{
    psgd_owned_t *o = NULL;
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*o), "a message by owners", &o);
    if (status != PSGD_OK) {
        return status;
    }
    o->num_workers = comm->num_workers;
    o->own         = comm->worker_index;
    o->vote_elems  = vote_elems;
    status         = psgd_partition_allocate(comm->num_workers, comm->num_workers, &o->runs);
    if (status == PSGD_OK) {
        status = psgd_alloc(capacity_elems + vote_elems * comm->num_workers, sizeof(*o->segments),
                            "a message by owners", &o->segments);
    }
    if (status == PSGD_OK) {
        status = psgd_alloc(comm->num_workers, sizeof(*o->counts), "the lengths of a message by owners", &o->counts);
    }
    if (status != PSGD_OK) {
        psgd_owned_destroy(o);
        return status;
    }
    *owned_p = o;
    return PSGD_OK;
}

void psgd_owned_destroy(psgd_owned_t *o)
{
    if (o == NULL) {
        return;
    }
    psgd_free(o->counts);
    psgd_free(o->segments);
    psgd_partition_free(&o->runs);
    psgd_free(o);
}

/* ---- an exchange ---- */

void psgd_owned_divide(psgd_owned_t *o, const psgd_partition_t *partition, size_t payload_elems)
{
    if (partition == NULL) {
        psgd_partition_evenly(&o->runs, payload_elems, o->num_workers);
        partition = &o->runs;
    }
    o->partition = partition;
}

/* What worker w owns of the payload, to `to` or from there; returns what lies behind it. */
static float *copy_owned(const psgd_partition_t *partition, uint32_t w, const float *payload, float *to)
{
    for (size_t i = partition->first[w]; i < partition->first[w + 1]; ++i) {
        size_t begin = partition->ranges[i].begin, elems = partition->ranges[i].end - begin;

        memcpy(to, payload + begin, elems * sizeof(float));
        to += elems;
    }
    return to;
}

static const float *place_owned(const psgd_partition_t *partition, uint32_t w, const float *from, float *payload)
{
    for (size_t i = partition->first[w]; i < partition->first[w + 1]; ++i) {
        size_t begin = partition->ranges[i].begin, elems = partition->ranges[i].end - begin;

        memcpy(payload + begin, from, elems * sizeof(float));
        from += elems;
    }
    return from;
}

/* Where worker w's segment begins. */
static float *segment_of(const psgd_owned_t *o, uint32_t w)
{
    float *segment = o->segments;

    for (uint32_t before = 0; before < w; ++before) {
        segment += owned_elems(o->partition, before) + o->vote_elems;
    }
    return segment;
}

static void count_segments(psgd_owned_t *o, size_t unit)
{
    for (uint32_t w = 0; w < o->num_workers; ++w) {
        o->counts[w] = (owned_elems(o->partition, w) + o->vote_elems) * unit;
    }
}

psgd_status_t psgd_owned_begin_sums(psgd_owned_t *o, const float *payload, const float *vote, const psgd_comm_t *comm,
                                    psgd_request_t **request_p)
{
    float *to = o->segments;

    for (uint32_t w = 0; w < o->num_workers; ++w) {
        to = copy_owned(o->partition, w, payload, to);
        memcpy(to, vote, o->vote_elems * sizeof(float));
        to += o->vote_elems;
    }
    count_segments(o, 1);
    return psgd_comm_result(comm, comm->begin_reduce_scatter(comm->self, o->segments, o->counts, request_p));
}

void psgd_owned_take_sums(const psgd_owned_t *o, float *payload, size_t payload_elems, float *vote)
{
    const float *from;

    memset(payload, 0, payload_elems * sizeof(float));
    from = place_owned(o->partition, o->own, segment_of(o, o->own), payload);
    memcpy(vote, from, o->vote_elems * sizeof(float));
}

psgd_status_t psgd_owned_begin_sharing(psgd_owned_t *o, const float *payload, const float *vote,
                                       const psgd_comm_t *comm, psgd_request_t **request_p)
{
    float *to = copy_owned(o->partition, o->own, payload, segment_of(o, o->own));

    memcpy(to, vote, o->vote_elems * sizeof(float));
    count_segments(o, sizeof(float));
    return psgd_comm_result(comm, comm->begin_all_gather(comm->self, o->segments, o->counts, request_p));
}

void psgd_owned_take_shared(const psgd_owned_t *o, float *payload, float *vote)
{
    const float *from = o->segments;

    memset(vote, 0, o->vote_elems * sizeof(float));
    for (uint32_t w = 0; w < o->num_workers; ++w) {
        from = place_owned(o->partition, w, from, payload);
        for (size_t i = 0; i < o->vote_elems; ++i) { /* whole numbers below 2^24: exact in any order */
            vote[i] += from[i];
        }
        from += o->vote_elems;
    }
}

uint64_t psgd_owned_bytes_of_half(const psgd_owned_t *o)
{
    return (uint64_t)(segment_of(o, o->num_workers) - o->segments) * sizeof(float) / 2;
}
