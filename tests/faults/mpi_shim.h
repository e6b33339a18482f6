/* Lets one of a process's MPI calls go wrong. The shim defines the MPI functions that move data or make a communicator and hands them
 * on to PMPI; only what happens while it is armed counts. Polls in a row (MPI_Test) count once. */
#ifndef PSGD_TESTS_FAULTS_MPI_SHIM_H
#define PSGD_TESTS_FAULTS_MPI_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mpi_fault {
    MPI_FAULT_NONE,
    MPI_FAULT_ERROR, /* the call is not made, and returns an error */
    MPI_FAULT_DELAY, /* it is made after delay_seconds */
    MPI_FAULT_LATE,  /* the same, but that is longer than others wait */
    MPI_FAULT_KILL,  /* the process: SIGKILL */
    MPI_FAULT_STOP,  /* SIGSTOP */
    MPI_FAULT_EXIT,  /* ends, as after an error of its own */
    MPI_FAULT_FLIP,  /* one bit of what the call brings is another one */
    MPI_FAULT_SHORT, /* one element less than the others have */
    NUM_MPI_FAULTS
} mpi_fault_t;

/* The calls count from 1 anew. counts_requests: polls of one request count once, in a row or not. Where messages begin while others travel,
 * which polls are in a row depends on how fast the machine is, and so would the number of calls. */
void mpi_shim_arm(mpi_fault_t fault, uint64_t number, double delay_seconds, bool counts_requests);
void mpi_shim_disarm(void);

uint64_t    mpi_shim_calls(void); /* seen since it was armed */
bool        mpi_shim_has_fired(void);
bool        mpi_shim_has_happened(void);
const char *mpi_shim_name(void); /* the call that went wrong: "MPI_Test" */

/* Whether psgd_comm_mpi_nodes_create() is under way. There MPI splits communicators, and it has no split that can be given up. Whoever
 * has gathered what all told is in it, and waits without a deadline for another worker that fails in the same gathering or in the
 * split; and one whose part in the gathering leaves later than the others wait for it is there alone (psgd_mpi.h,
 * docs/reliability.md). A fault that would end so is left out: the call counts, nothing befalls it, and "left out" is printed. */
void mpi_shim_set_creating_nodes(bool is_so);

#endif
