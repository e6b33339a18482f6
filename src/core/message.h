/* A message: a vote and a payload that become the sum over all workers. */
#ifndef PSGD_CORE_MESSAGE_H
#define PSGD_CORE_MESSAGE_H

#include "base/clock.h"
#include "base/log.h"
#include "core/narrow.h"
#include "core/owned.h"
#include "core/vote.h"

typedef struct psgd_message {
    float          *host;          /* [ vote | payload ], contiguous */
    size_t          vote_elems;
    size_t          capacity_elems; /* of the payload */
    size_t          payload_elems;  /* of the payload, this time */
    uint64_t        bits;           /* the ballot's PSGD_VOTE_BITS, to name who differs */
    psgd_request_t *request;        /* under way; NULL: none */
    bool            is_done;        /* that is complete, and what it has brought was not taken yet */
    bool            is_waited_for;  /* whoever waits for it looks whether it is complete, and nobody else does */
    bool            has_second;     /* under way: the second of two collectives, which bring the sums */
    psgd_status_t   failure;        /* of psgd_message_is_here() */
    uint64_t        bucket;         /* whose it is, for traces; and when it travelled */
    uint64_t        begin_ns, end_ns;

    /* For factors in 16 bits: which the payload begins with this time, and how their sums come back. */
    psgd_narrow_t     *narrow; /* NULL: all of it travels in single precision */
    psgd_factor_kind_t kind;
    bool               comes_back_narrow;

    /* For sums that are made once and copied. */
    psgd_owned_t           *owned;        /* NULL: one all-reduce */
    const psgd_partition_t *partition;    /* who owns what of the payload; NULL: runs of it */
    bool                    shares_later; /* the sums stay with their owners, until psgd_message_begin_sharing() */
    bool                    is_sharing;   /* what was begun is the second half alone */
    psgd_ballot_t           ballot;       /* as it was cast */
} psgd_message_t;

/* Allocates the host memory for payloads of up to capacity_elems. */
psgd_status_t psgd_message_create(psgd_message_t *message, size_t capacity_elems, uint32_t num_workers);

/* From here on the factors at the beginning of payloads, those of `plan`, travel as `dtype`, in 16 bits; what is behind them does
 * not. Errors: as psgd_narrow_create(). */
psgd_status_t psgd_message_narrow(psgd_message_t *message, const psgd_plan_t *plan, psgd_dtype_t dtype,
                                  const psgd_comm_t *comm);

/* Frees it, unless a collective that never completed may still write to it; `keep_memory`: the device may. */
void psgd_message_destroy(psgd_message_t *message, bool keep_memory);

/* Where the payload goes. */
float *psgd_message_payload(const psgd_message_t *message);

/* Starts the exchange of payload_elems floats: casts the ballot, and zeroes the payload of a worker that failed. */
psgd_status_t psgd_message_begin(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot,
                                 const psgd_comm_t *comm);

/* What this worker owns of the payload to all, without a sum: of a message that is `owned`. psgd_message_finish() ends it. */
psgd_status_t psgd_message_begin_sharing(psgd_message_t *message, size_t payload_elems, const psgd_ballot_t *ballot,
                                         const psgd_comm_t *comm);

/* elems floats of the payload, from `begin` on, become those of worker `root`; waits. */
psgd_status_t psgd_message_broadcast(psgd_message_t *message, size_t begin, size_t elems, uint32_t root,
                                     const psgd_comm_t *comm, psgd_patience_t patience, const psgd_log_t *log,
                                     const char *what);

/* Looks whether what is under way is complete, and begins nothing: at any place among the collectives. Whether it is still under way, and
 * nobody else looks. */
bool psgd_message_poll(psgd_message_t *message, const psgd_comm_t *comm);

/* Whether psgd_message_finish() does not wait any more: it is complete, or has failed, or is not under way. Makes progress: begins the
 * second of its collectives where the first is complete, so that all workers ask this at the same place among their collectives. */
bool psgd_message_is_here(psgd_message_t *message, const psgd_comm_t *comm);

/* Waits until it is complete, and counts the votes. `what` as for psgd_comm_wait(). */
psgd_status_t psgd_message_finish(psgd_message_t *message, const psgd_comm_t *comm, psgd_patience_t patience,
                                  const psgd_log_t *log, const char *what, psgd_verdict_t *verdict_p);

/* Bytes handed to the communicator by what was begun last, counted as psgd_stats_t.bytes_last_step says; and in how many
 * collectives. */
uint64_t psgd_message_bytes(const psgd_message_t *message);
uint64_t psgd_message_collectives(const psgd_message_t *message);

/* Whether no value is NaN or Inf. */
bool psgd_message_is_finite(const float *values, size_t elems);

/* sums[i] = sums[i] / num_workers, correctly rounded, so the same on every host. Returns whether all are finite. */
bool psgd_message_average(float *sums, size_t elems, uint32_t num_workers);

/* Room for the words of all workers, so that telling them takes no memory. */
typedef struct psgd_gather {
    float    *pieces;
    uint64_t *words;      /* words[w * num_words + i]: word i of worker w */
    bool      is_pending; /* a collective that never completed may still write to `pieces` */
} psgd_gather_t;

/* For up to max_words of each worker. */
psgd_status_t psgd_gather_create(psgd_gather_t *gather, size_t max_words, uint32_t num_workers);
void          psgd_gather_destroy(psgd_gather_t *gather);

/* Every worker learns the num_words words of every worker. A collective, by all_reduce alone, so that it works with every
 * communicator: each worker adds its words, and a check of them, to zeros in a place of its own, 16 bits a float;
 * PSGD_ERR_COMM where what has come is not what was sent. `words` may lie in gather->words. */
psgd_status_t psgd_gather_words(psgd_gather_t *gather, const psgd_comm_t *comm, const uint64_t *words, size_t num_words,
                                psgd_patience_t patience, const psgd_log_t *log, const char *what);
uint64_t      psgd_gather_bytes(size_t num_words, uint32_t num_workers); /* what that hands to the communicator */

#endif
