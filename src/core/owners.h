/* Who makes what all workers must hold alike, where their devices may round differently (config.sharing).
 *
 * Each compressed matrix has an owner, who alone makes its factors orthonormal, for all; matrices are dealt so that the work is even.
 * Sums are made once and copied (core/owned.h). In message 1 both meet: P goes by reduce-scatter to its owners in whole matrices, and
 * what the all-gather brings back is P^. That is the bytes of an all-reduce. A matrix that is more than 2/W of its factor would
 * make that uneven: its P is all-reduced, and its owner broadcasts P^. A communicator that has nothing but all_reduce gets sums by
 * that, and factors that were made orthonormal as sums with zeros. */
#ifndef PSGD_CORE_OWNERS_H
#define PSGD_CORE_OWNERS_H

#include "core/bucket.h"

/* Whether this reducer needs owners; known when the workers have told their devices. */
bool psgd_owners_are_wanted(const psgd_reducer_t *reducer);

/* Deals the matrices of a bucket and allocates; nothing changes for messages until all workers have come so far and it is activated. */
psgd_status_t psgd_owners_create(psgd_bucket_t *bucket);
void          psgd_owners_activate(psgd_bucket_t *bucket);
void          psgd_owners_destroy(psgd_bucket_t *bucket, bool keep_memory);

/* Whether P goes to its owners before it is whole: then message 1 brings each worker the sums of what it owns, and P^ of that, made
 * orthonormal on its device, is shared with all. */
bool psgd_owners_take_p(const psgd_bucket_t *bucket);
void psgd_owners_share_message_1(psgd_bucket_t *bucket);

/* The P that dominate, beside message 1; where there are none, nothing happens. */
void psgd_owners_begin_dominating(psgd_bucket_t *bucket);
void psgd_owners_finish_dominating(psgd_bucket_t *bucket);

/* After a step that ended in between: finishes what is under way. */
void psgd_owners_drain(psgd_bucket_t *bucket);

/* Every matrix's part of a device buffer of factors becomes its owner's. */
void psgd_owners_share(psgd_bucket_t *bucket, psgd_view_t view, psgd_factor_kind_t kind);

#endif
