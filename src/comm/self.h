/* The communicator of one worker alone. */
#ifndef PSGD_COMM_SELF_H
#define PSGD_COMM_SELF_H

#include <psgd/psgd.h>

/* *comm_p is freed by its own destroy(). Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_self_comm_open(psgd_comm_t **comm_p);

#endif
