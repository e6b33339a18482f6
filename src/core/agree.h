/* The collective part of creation. */
#ifndef PSGD_CORE_AGREE_H
#define PSGD_CORE_AGREE_H

#include "core/reducer.h"

/* Every worker reaches it, whatever failed before: `local` is this worker's status so far, `reducer` NULL where it has none.
 * Compares the plans, chooses the engines where that takes measuring, makes them, and votes. Returns the same status on every
 * worker. message: what the first vote travels in, a message of an older reducer; NULL: there is none, and where there is no memory for
 * one either, the communicator is given up, so that the others do not wait. */
psgd_status_t psgd_reducer_agree(psgd_reducer_t *reducer, const psgd_comm_t *comm, psgd_status_t local,
                                 psgd_patience_t patience, const psgd_log_t *log, psgd_message_t *message);

/* payload_elems floats of message_chunk become the sums over the workers, unless one of them failed: `local` is this
 * worker's status. Returns the same status on every worker. */
psgd_status_t psgd_agree_on_sums(psgd_reducer_t *reducer, psgd_status_t local, size_t payload_elems);

#endif
