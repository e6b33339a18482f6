/* Sums over the workers that are made once and copied, so that all hold the same bits whatever the algorithm of a sum does.
 *
 * A partition gives every element of a payload one owner. By reduce-scatter each worker gets the sums of what it owns; an all-gather
 * brings what each owns to all: the sums, or what their owner has made of them in between. The vote travels in every segment. */
#ifndef PSGD_CORE_OWNED_H
#define PSGD_CORE_OWNED_H

#include <stdbool.h>

#include "core/vote.h"

/* Which elements belong to whom: ranges, those of worker w from first[w] to first[w + 1] - 1. */
typedef struct psgd_partition {
    struct psgd_partition_range {
        size_t begin, end;
    } * ranges;
    size_t *first; /* num_workers + 1 */
} psgd_partition_t;

/* Room for a partition of so many ranges at most; freed by psgd_partition_free(), also where it is all zero. */
psgd_status_t psgd_partition_allocate(size_t max_ranges, uint32_t num_workers, psgd_partition_t *partition_p);
void          psgd_partition_free(psgd_partition_t *partition);

/* Elements 0 to elems - 1 in as many runs as there are workers, which differ in length by one at most; one range each. */
void psgd_partition_evenly(psgd_partition_t *partition, size_t elems, uint32_t num_workers);

/* Where run w of those begins; of run num_workers, elems. */
size_t psgd_partition_run(size_t elems, uint32_t num_workers, uint32_t w);

typedef struct psgd_owned psgd_owned_t;

/* For payloads of up to capacity_elems. `comm` has reduce_scatter and all_gather. */
psgd_status_t psgd_owned_create(size_t capacity_elems, size_t vote_elems, const psgd_comm_t *comm,
                                psgd_owned_t **owned_p);
void          psgd_owned_destroy(psgd_owned_t *owned);

/* The partition of the next exchange: one that lives as long, or runs of payload_elems elements. */
void psgd_owned_divide(psgd_owned_t *owned, const psgd_partition_t *partition, size_t payload_elems);

/* Starts the sums. */
psgd_status_t psgd_owned_begin_sums(psgd_owned_t *owned, const float *payload, const float *vote,
                                    const psgd_comm_t *comm, psgd_request_t **request_p);

/* After that request is complete: what this worker owns of the payload is the sum, the rest zero; and the vote is. */
void psgd_owned_take_sums(const psgd_owned_t *owned, float *payload, size_t payload_elems, float *vote);

/* Starts to bring what each worker owns of its payload to all, with a vote of its own. */
psgd_status_t psgd_owned_begin_sharing(psgd_owned_t *owned, const float *payload, const float *vote,
                                       const psgd_comm_t *comm, psgd_request_t **request_p);

/* After that request is complete: the payload is whole, and the votes are added up. */
void psgd_owned_take_shared(const psgd_owned_t *owned, float *payload, float *vote);

/* What an exchange hands to the communicator: half of the vector of a reduce-scatter, and of an all-gather's, since an all-reduce of a
 * vector, which does the work of both, counts as the vector. */
uint64_t psgd_owned_bytes_of_half(const psgd_owned_t *owned);

#endif
