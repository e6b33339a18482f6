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
 * library's messages never meet yours; on the copy errors return, `comm` itself is left as it is. MPICH 4.0 asks MPI_COMM_WORLD
 * all the same what to do about a message that is longer than its receiver expects: with the handler that it has by default
 * this ends the job, with MPI_ERRORS_RETURN it is PSGD_ERR_COMM.
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

/* A communicator of nodes (psgd_comm_nodes_create()) over all processes of `comm`: those of a node combine what they have in memory that
 * they share, and one of them speaks for the node. A collective over `comm`, which is left as it is.
 *
 *   comm               as in psgd_comm_mpi_create()
 *   node               what this process's node is called, anything that is the same on its processes alone; all processes pass one, or
 *                      none does. NULL: the environment's PSGD_NODE; where that is not set, processes are on one node if MPI says that they
 *                      share memory (MPI_COMM_TYPE_SHARED) and names their processors alike (MPI_Get_processor_name)
 *   deadline_seconds   how long to wait for all processes to call this, and for each stage of it; finite; 0: 600. One stage has none:
 *                      MPI's own splitting of `comm`, which begins when all have come
 *   comm_p             freed by psgd_comm_destroy(), before MPI_Finalize
 *
 * Workers are numbered node by node, in the order of their nodes' first processes: worker 0 is process 0 of `comm`, and the others may have
 * other numbers than there. comm_p's own worker_index says which.
 *
 * Threads, MPI_Finalize and errors: as for psgd_comm_mpi_create(); PSGD_ERR_UNSUPPORTED for more than 74565 workers. */
PSGD_API psgd_status_t psgd_comm_mpi_nodes_create(MPI_Comm comm, const char *node, double deadline_seconds,
                                                  psgd_comm_t **comm_p);

/* The same from a Fortran handle. */
PSGD_API psgd_status_t psgd_comm_mpi_nodes_create_f(MPI_Fint comm, const char *node, double deadline_seconds,
                                                    psgd_comm_t **comm_p);

/* Threads within MPI: every process has num_threads workers, each a thread with its own queue and device. They combine what they have in
 * memory, and the first of them exchanges it with the other processes. A collective over `comm`, called by one thread of each process.
 *
 *   comm               as in psgd_comm_mpi_create()
 *   num_threads        workers of this process, 1 to 1024; processes may differ
 *   deadline_seconds   as there
 *   comms_p            num_threads communicators; each thread uses its own and destroys it by psgd_comm_destroy(). comms_p[0] before
 *                      MPI_Finalize
 *
 * MPI is called by the thread that uses comms_p[0] alone, here and later. With MPI_THREAD_FUNNELED that must be the main thread, which
 * calls this, too; another thread's first message is refused (PSGD_ERR_COMM). With MPI_THREAD_SERIALIZED it may be any; what else your
 * program asks of MPI must not happen at the same moment. MPI_THREAD_MULTIPLE lifts that. With MPI_THREAD_SINGLE, which MPI_Init() gives,
 * more than one thread is refused (PSGD_ERR_INVALID_ARGUMENT): ask MPI_Init_thread().
 *
 * Workers are numbered process by process, in the order of `comm`. Errors: as for psgd_comm_mpi_create(); PSGD_ERR_UNSUPPORTED for more
 * than 74565 workers. */
PSGD_API psgd_status_t psgd_comm_mpi_threads_create(MPI_Comm comm, uint32_t num_threads, double deadline_seconds,
                                                    psgd_comm_t **comms_p);

/* The same from a Fortran handle. */
PSGD_API psgd_status_t psgd_comm_mpi_threads_create_f(MPI_Fint comm, uint32_t num_threads, double deadline_seconds,
                                                      psgd_comm_t **comms_p);

#ifdef __cplusplus
}
#endif

#endif /* PSGD_PSGD_MPI_H */
