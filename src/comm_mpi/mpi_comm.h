/* Inside psgd::mpi: creation with the one number that a test wants smaller. */
#ifndef PSGD_COMM_MPI_MPI_COMM_H
#define PSGD_COMM_MPI_MPI_COMM_H

#include <psgd/psgd_mpi.h>

/* As psgd_comm_mpi_create(), with another limit on what goes into one MPI call: max_call_bytes, 4 to 2^30. Larger
 * collectives are made of several calls, which are begun together. The same on all workers. */
psgd_status_t psgd_mpi_comm_open(MPI_Comm original, double deadline_seconds, size_t max_call_bytes,
                                 psgd_comm_t **comm_p);

/* MPI is initialized and not finalized, and may be called from this thread. PSGD_ERR_INVALID_ARGUMENT. */
psgd_status_t psgd_mpi_check_state(void);

/* PSGD_OK where `result`, of `call` in `what`, is MPI_SUCCESS; else PSGD_ERR_COMM, in MPI's words. */
psgd_status_t psgd_mpi_check(int result, const char *call, const char *what);

/* As in base/status.h, which this library does not include. */
#ifdef PSGD_ANALYSIS
#define psgd_comm_fail(status_, ...) ((void)psgd_comm_fail((status_), __VA_ARGS__), (status_))
#endif

#endif
