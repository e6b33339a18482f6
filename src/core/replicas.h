/* Do all workers hold the same bits, of memory that is the caller's? */
#ifndef PSGD_CORE_REPLICAS_H
#define PSGD_CORE_REPLICAS_H

#include "core/reducer.h"

/* A region of device memory that all workers should hold alike. */
typedef struct psgd_replica {
    psgd_view_t view;
    size_t      bytes; /* > 0 */
} psgd_replica_t;

/* With config.check_every, in its steps: the hash of the update, or of the parameters that it went into, which the next message
 * compares. Waits. */
psgd_status_t psgd_replicas_note_update(psgd_reducer_t *reducer);

/* Compares the regions of all workers: PSGD_ERR_DIVERGED names the first that differs, and where. A collective; `local` is this
 * worker's status so far. Returns the same status on every worker. */
psgd_status_t psgd_replicas_compare(psgd_reducer_t *reducer, const psgd_replica_t *replicas, size_t count,
                                    psgd_status_t local);

/* The regions of worker `root` become those of all. The same. */
psgd_status_t psgd_replicas_copy(psgd_reducer_t *reducer, const psgd_replica_t *replicas, size_t count, uint32_t root,
                                 psgd_status_t local);

#endif
