/* Roll calls: a worker that has waited in vain asks all others how many collectives they have begun. Those that wait themselves look for
 * such questions now and then, and answer. */
#ifndef PSGD_COMM_MPI_ROLL_CALL_H
#define PSGD_COMM_MPI_ROLL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd_mpi.h>

typedef struct psgd_roll_call {
    MPI_Comm          comm; /* the caller's to set, where collectives use tag 0 at most */
    uint32_t          num_workers, worker_index;
    uint64_t          num_begun; /* the caller's to count: collectives */
    double            next_look; /* by MPI_Wtime() */
    struct psgd_roll *rolls;     /* one a worker */
} psgd_roll_call_t;

/* *call is all zero before. Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_roll_call_open(psgd_roll_call_t *call, uint32_t num_workers, uint32_t worker_index);

/* Answers questions that have come; called often, it looks seldom enough to cost nothing. */
void psgd_roll_call_look(psgd_roll_call_t *call);

/* As psgd_comm_t.name_late, of collective `number`, counted from 0. Takes a second at most. */
void psgd_roll_call_name_late(psgd_roll_call_t *call, uint64_t number, char *text, size_t text_bytes);

/* Fine where it is all zero. After MPI_Finalize MPI is not asked any more. */
void psgd_roll_call_close(psgd_roll_call_t *call, bool is_finalized);

#endif
