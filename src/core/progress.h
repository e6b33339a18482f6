/* A thread that goes on with the step under way while the caller's is elsewhere (config.progress_thread). It and the caller's take turns:
 * whoever works on a step holds the lock. */
#ifndef PSGD_CORE_PROGRESS_H
#define PSGD_CORE_PROGRESS_H

#include "core/reducer.h"

/* Whether the communicator can be used by such a thread. PSGD_ERR_UNSUPPORTED, with what to do. */
psgd_status_t psgd_progress_check(const psgd_comm_t *comm);

/* Starts it, for reducer->progress. */
psgd_status_t psgd_progress_create(psgd_reducer_t *reducer);

/* Ends it; NULL is fine. */
void psgd_progress_destroy(psgd_progress_t *progress);

/* Around all that touches a step; nothing happens where there is no such thread. Leaving wakes it if a step is under way. */
void psgd_progress_enter(psgd_reducer_t *reducer);
void psgd_progress_leave(psgd_reducer_t *reducer);

#endif
