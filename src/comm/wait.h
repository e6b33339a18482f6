/* Waiting for a collective under a deadline. */
#ifndef PSGD_COMM_WAIT_H
#define PSGD_COMM_WAIT_H

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"

/* What the library makes of a status that a function of the communicator has returned: PSGD_OK and PSGD_ERR_TIMEOUT as they are, any
 * other PSGD_ERR_COMM, since that is how it is told that nobody can be told any more. The sentence stays. */
psgd_status_t psgd_comm_result(const psgd_comm_t *comm, psgd_status_t status);

/* Polls until the request is complete. `what` says what is waited for, in the warning and the error:
 * "reduce_p of step 12 (2324 bytes)". Errors: PSGD_ERR_TIMEOUT, PSGD_ERR_COMM. */
psgd_status_t psgd_comm_wait(const psgd_comm_t *comm, psgd_request_t *request, psgd_patience_t patience,
                             const psgd_log_t *log, const char *what);

#endif
