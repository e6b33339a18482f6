/* The vote: what each worker says about its own health in every message, as fp32 sums that every worker reads alike.
 *
 *   flags    one float a status: how many workers failed with it
 *   items    things that must be equal on all workers, 64 bits each, cut in pieces x of 8 bits (4 bits above 258 workers): the
 *            sums of x and of x^2. All workers have the same x if and only if W * sum(x^2) = (sum x)^2 (Cauchy-Schwarz). All
 *            sums stay below 2^24, so they are exact in fp32 in any order of summation.
 */
#ifndef PSGD_CORE_VOTE_H
#define PSGD_CORE_VOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

enum { PSGD_MAX_WORKERS = 74565 };

/* The things that must be equal. */
typedef enum psgd_vote_item {
    PSGD_VOTE_STEP, /* the step's number; at creation the device and its driver */
    PSGD_VOTE_PLAN, /* the fingerprint: tensors and options */
    PSGD_VOTE_BITS, /* the hash of what workers hold in common: Q in message 1, P^ and the uncompressed mean in message 2 */
    PSGD_VOTE_NUM_ITEMS
} psgd_vote_item_t;

/* What one worker says. */
typedef struct psgd_ballot {
    psgd_status_t failure; /* PSGD_OK: none */
    uint64_t      items[PSGD_VOTE_NUM_ITEMS];
} psgd_ballot_t;

/* What all workers said. */
typedef struct psgd_verdict {
    psgd_status_t failure; /* the gravest that was told; PSGD_OK: none */
    uint32_t      num_failed;
    bool          is_equal[PSGD_VOTE_NUM_ITEMS];
    bool          is_readable; /* the sums are what W ballots can add up to; else the message was damaged */
} psgd_verdict_t;

/* Whether a step that ends so ends the reducer on every worker; after the others a step can be tried again. */
bool psgd_status_poisons(psgd_status_t status);

/* Floats that a vote of num_workers takes. */
size_t psgd_vote_elems(uint32_t num_workers);

/* Writes one worker's ballot as floats to be summed. */
void psgd_vote_cast(const psgd_ballot_t *ballot, uint32_t num_workers, float *vote);

/* Reads the sums. */
psgd_verdict_t psgd_vote_count(const float *vote, uint32_t num_workers);

#endif
