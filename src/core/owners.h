/* Who makes what all workers must hold alike, where their devices may round differently (config.sharing).
 *
 * Each compressed matrix has an owner, who alone makes its factors orthonormal, for all; matrices are dealt so that the work is even.
 * Sums are made once and copied (core/owned.h). In message 1 both meet: P goes by reduce-scatter to its owners in whole matrices, and
 * what the all-gather brings back is P^. That is the bytes of an all-reduce. A matrix that is more than 2/W of its factor would
 * make that uneven: its P is all-reduced, and its owner broadcasts P^. A communicator that has nothing but all_reduce gets sums by
 * that, and factors that were made orthonormal as sums with zeros. */
#ifndef PSGD_CORE_OWNERS_H
#define PSGD_CORE_OWNERS_H

#include "core/reducer.h"

/* Whether this reducer needs owners; known when the workers have told their devices. */
bool psgd_owners_are_wanted(const psgd_reducer_t *reducer);

/* Deals the matrices and allocates; nothing changes for messages until all workers have come so far and it is activated. */
psgd_status_t psgd_owners_create(psgd_reducer_t *reducer);
void          psgd_owners_activate(psgd_reducer_t *reducer);
void          psgd_owners_destroy(psgd_reducer_t *reducer, bool keep_memory);

/* Whether P goes to its owners before it is whole: then the phases of P are these, in place of an ordinary exchange of message 1:
 * the sums; P^ of what this worker owns, on the device, where psgd_owners_orthogonalize() has made it, to all. */
bool psgd_owners_take_p(const psgd_reducer_t *reducer);
void psgd_owners_reduce_p(psgd_reducer_t *reducer);
void psgd_owners_share_message_1(psgd_reducer_t *reducer);

/* After a step that ended in between: finishes what is under way. */
void psgd_owners_drain(psgd_reducer_t *reducer);

/* Every matrix's part of a device buffer of factors becomes its owner's. */
void psgd_owners_share(psgd_reducer_t *reducer, psgd_view_t view, psgd_factor_kind_t kind);

#endif
