/* The workers of one job: the processes of MPI_COMM_WORLD. */
#ifndef PSGD_TOOLS_WORKERS_H
#define PSGD_TOOLS_WORKERS_H

#include <stdbool.h>
#include <stdint.h>

#include <mpi.h>

#include "status.h"

typedef struct workers {
    uint32_t count;       /* W */
    uint32_t index;       /* this one, 0 to W - 1 */
    MPI_Comm all;         /* of this tool's own messages */
    MPI_Comm node;        /* the workers of this machine */
    uint32_t local_count; /* of them */
    uint32_t local_index;
    bool     any_thread; /* MPI may be called from any thread (MPI_THREAD_MULTIPLE) */
} workers_t;

/* Whether this flag stands on the command line: what has to be known before MPI is there, and so before options are read. */
bool workers_find_flag(int argc, char **argv, const char *flag);

/* Initializes MPI, with MPI_THREAD_MULTIPLE where that is wanted and to be had. The workers of one
 * machine are those that share memory and a processor name: where containers mislead about either, the other corrects it.
 * Errors: TOOL_FAILED. */
tool_status_t workers_begin(int *argc, char ***argv, bool wants_any_thread, workers_t *workers_p);

/* TOOL_FAILED with a sentence about `option`, which needs it, where MPI may not be called from any thread. */
tool_status_t workers_need_any_thread(const workers_t *workers, const char *option);

/* Finalizes MPI. */
void workers_end(workers_t *workers);

/* Whether this worker speaks for all. */
bool workers_is_speaker(const workers_t *workers);

/* A collective that every worker calls with its own status: TOOL_OK where all are; else the status of the first that
 * failed, which prints its sentence to stderr, so that all of them leave, and one says why. */
tool_status_t workers_agree(const workers_t *workers, tool_status_t mine);

/* A collective: *equal_p is whether the number is the same on all. */
tool_status_t workers_are_equal(const workers_t *workers, uint64_t number, bool *equal_p);

/* A collective that compares a number: TOOL_ALL_FAILED with "<what> differ between workers: <advice>" where it is not the
 * same on all. */
tool_status_t workers_compare(const workers_t *workers, uint64_t number, const char *what, const char *advice);

/* A collective: numbers[w] = what worker w passes. */
tool_status_t workers_gather(const workers_t *workers, uint32_t number, uint32_t *numbers);

/* sums[i] = the sum over all workers. */
tool_status_t workers_sum(const workers_t *workers, double *sums, int count);

/* numbers[i] = the largest over all workers, on all of them. */
tool_status_t workers_max(const workers_t *workers, double *numbers, int count);

/* numbers[i] = the sum over all workers, in place, by as few calls of MPI_Allreduce as the count allows. */
tool_status_t workers_sum_floats(const workers_t *workers, float *numbers, size_t count);

/* Worker 0's numbers go to all. */
tool_status_t workers_share(const workers_t *workers, float *numbers, uint64_t count);

/* Waits for all. */
tool_status_t workers_wait(const workers_t *workers);

/* For a failure in the middle of things. TOOL_ALL_FAILED: worker 0 prints the sentence. Else others may be waiting
 * for this one: it prints its sentence and ends the whole job; returns only where there are no others. */
void workers_give_up(const workers_t *workers, tool_status_t status);

/* Sets POCL_MAX_PTHREAD_COUNT and LP_NUM_THREADS, where they are not set, so that the workers that run on the same
 * cores of a CPU device share them evenly. Before the first OpenCL call. */
tool_status_t workers_share_cores(const workers_t *workers);

/* A collective: *leads_p is whether this worker is the first on its machine of those that pass the same key. */
tool_status_t workers_lead(const workers_t *workers, uint64_t key, bool *leads_p);

/* Static analysis sees one file at a time, and would not know that a failure of one's own comes back (tools/analyze). */
#ifdef PSGD_ANALYSIS
static inline tool_status_t workers_agree_or_mine(const workers_t *workers, tool_status_t mine)
{
    const tool_status_t agreed = workers_agree(workers, mine);

    return mine == TOOL_OK ? agreed : mine;
}
#define workers_agree workers_agree_or_mine
#endif

#endif
