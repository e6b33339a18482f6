/* One collective at a time over a communicator's table, waited for. */
#ifndef PSGD_TRAIN_COLLECTIVE_H
#define PSGD_TRAIN_COLLECTIVE_H

#include <psgd/psgd.h>

#include "status.h"

/* data[0 .. count): the sum over all workers, the same bits on all. `what` names it in the sentence. Errors: TOOL_FAILED; where
 * workers are missed for 600 seconds too, and then the communicator has been given up. */
tool_status_t collective_sum(const psgd_comm_t *comm, float *data, size_t count, const char *what);

/* data: a segment of counts_bytes[w] bytes for each worker w, one behind the other; this worker has filled in its own. Errors: as above,
 * and where the communicator has no such operation. */
tool_status_t collective_gather(const psgd_comm_t *comm, void *data, const size_t *counts_bytes, const char *what);

#endif
