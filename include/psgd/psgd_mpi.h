/* SPDX-License-Identifier: MIT
 *
 * libpsgd over MPI: the one header that needs mpi.h, in a library of its own (psgd::mpi, -lpsgd_mpi).
 */
#ifndef PSGD_PSGD_MPI_H
#define PSGD_PSGD_MPI_H

#include <mpi.h>

#include <psgd/psgd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A communicator over all processes of `comm`. A collective over `comm`, which is duplicated (MPI_Comm_idup), so that the
 * library's messages never meet yours; on the copy errors return, `comm` itself is left as it is.
 *
 *   comm               an intracommunicator; MPI is initialized and not finalized
 *   deadline_seconds   how long to wait for all processes to call this; finite; 0: 600. It bounds this call alone
 *   comm_p             freed by psgd_comm_destroy(), before MPI_Finalize
 *
 * Calls MPI only from the thread that uses the communicator: MPI_THREAD_FUNNELED is enough where that is the main thread. For
 * psgd_config_t.progress_thread MPI must have been initialized with MPI_THREAD_MULTIPLE before this call.
 * After a deadline has passed or the communicator has failed, messages may stay under way for ever, and MPI_Finalize may wait
 * for them: end the job by MPI_Abort.
 *
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_COMM (the MPI error in words), PSGD_ERR_TIMEOUT, PSGD_ERR_HOST_MEMORY. */
PSGD_API psgd_status_t psgd_comm_mpi_create(MPI_Comm comm, double deadline_seconds, psgd_comm_t **comm_p);

/* The same from a Fortran handle, for bindings that cannot name the type MPI_Comm. */
PSGD_API psgd_status_t psgd_comm_mpi_create_f(MPI_Fint comm, double deadline_seconds, psgd_comm_t **comm_p);

#ifdef __cplusplus
}
#endif

#endif /* PSGD_PSGD_MPI_H */
