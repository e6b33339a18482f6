/* One collective after another against plain loops, for every communicator.
 *
 * What each worker brings is a function of (seed, worker, position), so that every worker knows what all others have.
 * These functions may run on any thread: they return NULL, or a sentence that says what is wrong (storage of the
 * calling thread). */
#ifndef PSGD_TESTS_SUPPORT_COLLECTIVES_H
#define PSGD_TESTS_SUPPORT_COLLECTIVES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

typedef enum collective_kind {
    COLLECTIVE_ALL_REDUCE,
    COLLECTIVE_REDUCE_SCATTER,
    COLLECTIVE_ALL_GATHER,
    COLLECTIVE_ALL_TO_ALL,
    COLLECTIVE_BROADCAST,
    NUM_COLLECTIVE_KINDS
} collective_kind_t;

/* One collective under way. */
typedef struct collective {
    const psgd_comm_t *comm;
    collective_kind_t  kind;
    uint32_t           seed;
    size_t             size;        /* elements or bytes, of all or of a segment; segments differ and may be empty */
    bool               is_in_order; /* sums are formed in the order of the workers: their bits are known */
    unsigned char     *data;        /* in place, or `receive` */
    unsigned char     *send;
    size_t             data_bytes; /* a guard follows */
    size_t            *counts;
    size_t            *receive_counts;
    psgd_request_t    *request;
    uint64_t           result_hash; /* of what must be the same on all workers */
} collective_t;

/* Begins one; collective_finish() waits for it and compares the result with plain loops. */
const char *collective_begin(collective_t *collective, const psgd_comm_t *comm, collective_kind_t kind, size_t size,
                             uint32_t seed, bool is_in_order);
const char *collective_finish(collective_t *collective, double deadline_seconds);

/* The results of `collective` have the same bits on all workers; itself a collective. */
const char *collective_compare_bits(const collective_t *collective, double deadline_seconds);

/* Frees what begin() allocated. */
void collective_free(collective_t *collective);

/* All of the above for one collective. */
const char *collective_check(const psgd_comm_t *comm, collective_kind_t kind, size_t size, uint32_t seed,
                             bool is_in_order);

/* num_collectives of all kinds under way at once, waited for in an order that differs from worker to worker. */
const char *collectives_check_many(const psgd_comm_t *comm, uint32_t num_collectives, size_t size, uint32_t seed,
                                   bool is_in_order);

/* psgd_comm_wait() with a deadline and no log. */
psgd_status_t collective_wait(const psgd_comm_t *comm, psgd_request_t *request, double deadline_seconds);

#endif
