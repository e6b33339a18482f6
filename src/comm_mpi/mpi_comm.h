/* Inside psgd::mpi: creation with the one number that a test wants smaller. */
#ifndef PSGD_COMM_MPI_MPI_COMM_H
#define PSGD_COMM_MPI_MPI_COMM_H

#include <psgd/psgd_mpi.h>

/* As psgd_comm_mpi_create(), with another limit on what goes into one MPI call: max_call_bytes, 4 to 2^30. Larger
 * collectives are made of several calls, which are begun together. The same on all workers. */
psgd_status_t psgd_mpi_comm_open(MPI_Comm comm, double deadline_seconds, size_t max_call_bytes, psgd_comm_t **comm_p);

#endif
