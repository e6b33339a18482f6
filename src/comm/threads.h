/* Workers that are threads of this process. */
#ifndef PSGD_COMM_THREADS_H
#define PSGD_COMM_THREADS_H

#include <psgd/psgd.h>

/* comms_p[0 .. num_workers) receives one communicator a worker, each freed by its own destroy(); num_workers >= 1.
 * Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_threads_comm_open(uint32_t num_workers, psgd_comm_t **comms_p);

#endif
