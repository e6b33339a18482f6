#define _GNU_SOURCE /* sched_getaffinity() */
#include "workers.h"

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef workers_agree /* a macro for static analysis */

/* TOOL_OK where `result` is MPI_SUCCESS; else the call's name and MPI's own words. */
static tool_status_t check_mpi(int result, const char *call)
{
    char words[MPI_MAX_ERROR_STRING];
    int  length = 0;

    if (result == MPI_SUCCESS) {
        return TOOL_OK;
    }
    if (MPI_Error_string(result, words, &length) != MPI_SUCCESS) {
        snprintf(words, sizeof(words), "error %d", result);
    }
    return tool_fail(TOOL_FAILED, "%s: %s", call, words);
}

static uint64_t hash_text(const char *text)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (; *text != '\0'; ++text) {
        hash = (hash ^ (unsigned char)*text) * UINT64_C(1099511628211);
    }
    return hash;
}

/* The workers of `comm` that pass the same key, in the order of their indices. */
static tool_status_t split_by_key(MPI_Comm comm, uint64_t key, MPI_Comm *group_p)
{
    int           index  = 0;
    tool_status_t status = check_mpi(MPI_Comm_rank(comm, &index), "MPI_Comm_rank");

    if (status != TOOL_OK) {
        return status;
    }
    return check_mpi(MPI_Comm_split(comm, (int)(key % INT_MAX), index, group_p), "MPI_Comm_split");
}

static tool_status_t size_and_index(MPI_Comm comm, uint32_t *count_p, uint32_t *index_p)
{
    int           count = 0, index = 0;
    tool_status_t status = check_mpi(MPI_Comm_size(comm, &count), "MPI_Comm_size");

    if (status == TOOL_OK) {
        status = check_mpi(MPI_Comm_rank(comm, &index), "MPI_Comm_rank");
    }
    if (status == TOOL_OK) {
        *count_p = (uint32_t)count;
        *index_p = (uint32_t)index;
    }
    return status;
}

static tool_status_t find_node(workers_t *workers)
{
    char          name[MPI_MAX_PROCESSOR_NAME] = "";
    int           length                       = 0;
    MPI_Comm      shared                       = MPI_COMM_NULL;
    tool_status_t status;

    status = check_mpi(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name");
    if (status == TOOL_OK) {
        status = check_mpi(MPI_Comm_split_type(workers->all, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared),
                           "MPI_Comm_split_type");
    }
    if (status == TOOL_OK) {
        status = split_by_key(shared, hash_text(name), &workers->node);
        MPI_Comm_free(&shared);
    }
    if (status == TOOL_OK) {
        status = size_and_index(workers->node, &workers->local_count, &workers->local_index);
    }
    return status;
}

bool workers_find_flag(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; ++i) {
        if (strcmp(argv[i], flag) == 0) {
            return true;
        }
    }
    return false;
}

tool_status_t workers_need_any_thread(const workers_t *workers, const char *option)
{
    if (workers->any_thread) {
        return TOOL_OK;
    }
    return tool_fail(
        TOOL_FAILED,
        "%s needs an MPI library that may be called from any thread (MPI_THREAD_MULTIPLE), and this one may not; "
        "leave the option out, or use another MPI library",
        option);
}

tool_status_t workers_begin(int *argc, char ***argv, bool wants_any_thread, workers_t *workers_p)
{
    const int     wanted   = wants_any_thread ? MPI_THREAD_MULTIPLE : MPI_THREAD_FUNNELED;
    workers_t     workers  = {0, 0, MPI_COMM_NULL, MPI_COMM_NULL, 0, 0, false};
    int           provided = MPI_THREAD_SINGLE;
    tool_status_t status;

    status = check_mpi(MPI_Init_thread(argc, argv, wanted, &provided), "MPI_Init_thread");
    if (status == TOOL_OK && provided < MPI_THREAD_FUNNELED) {
        status =
            tool_fail(TOOL_FAILED, "this MPI library does not support programs with threads (MPI_THREAD_FUNNELED)");
    }
    workers.any_thread = provided == MPI_THREAD_MULTIPLE;
    if (status == TOOL_OK) {
        status = check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &workers.all), "MPI_Comm_dup");
    }
    if (status == TOOL_OK) {
        status = check_mpi(MPI_Comm_set_errhandler(workers.all, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    }
    if (status == TOOL_OK) {
        status = size_and_index(workers.all, &workers.count, &workers.index);
    }
    if (status == TOOL_OK) {
        status = find_node(&workers);
    }
    if (status == TOOL_OK) {
        *workers_p = workers;
    }
    return status;
}

void workers_end(workers_t *workers)
{
    MPI_Comm_free(&workers->node);
    MPI_Comm_free(&workers->all);
    MPI_Finalize();
}

bool workers_is_speaker(const workers_t *workers)
{
    return workers->index == 0;
}

/* Prints the last sentence, naming the worker where that helps. */
static void print_sentence(const workers_t *workers, bool name_worker)
{
    if (name_worker) {
        fprintf(stderr, "%s: worker %u: %s\n", tool_name(), (unsigned)workers->index, tool_last_error());
    } else {
        fprintf(stderr, "%s: %s\n", tool_name(), tool_last_error());
    }
}

tool_status_t workers_agree(const workers_t *workers, tool_status_t mine)
{
    int           code     = (int)mine;
    uint32_t      failed   = 0;
    uint32_t      first    = workers->count;
    int          *statuses = NULL;
    tool_status_t status   = tool_alloc(workers->count, sizeof(*statuses), "the workers' statuses", &statuses);

    if (status == TOOL_OK) {
        status = check_mpi(MPI_Allgather(&code, 1, MPI_INT, statuses, 1, MPI_INT, workers->all), "MPI_Allgather");
    }
    if (status != TOOL_OK) {
        workers_give_up(workers, status);
        free(statuses);
        return status;
    }
    for (uint32_t i = workers->count; i-- > 0;) {
        if (statuses[i] != TOOL_OK) {
            first = i;
            ++failed;
        }
    }
    if (failed > 0) {
        status = (tool_status_t)statuses[first];
    }
    if (first == workers->index) {
        print_sentence(workers, failed < workers->count);
    }
    free(statuses);
    return status;
}

tool_status_t workers_are_equal(const workers_t *workers, uint64_t number, bool *equal_p)
{
    uint64_t      least[2] = {number, ~number}; /* the least ~number belongs to the greatest number */
    tool_status_t status;

    status = check_mpi(MPI_Allreduce(MPI_IN_PLACE, least, 2, MPI_UINT64_T, MPI_MIN, workers->all), "MPI_Allreduce");
    if (status == TOOL_OK) {
        *equal_p = least[0] == ~least[1];
    }
    return status;
}

tool_status_t workers_compare(const workers_t *workers, uint64_t number, const char *what, const char *advice)
{
    bool          equal  = false;
    tool_status_t status = workers_are_equal(workers, number, &equal);

    if (status == TOOL_OK && !equal) {
        return tool_fail(TOOL_ALL_FAILED, "%s differ between workers: %s", what, advice);
    }
    return status;
}

tool_status_t workers_gather(const workers_t *workers, uint32_t number, uint32_t *numbers)
{
    return check_mpi(MPI_Allgather(&number, 1, MPI_UINT32_T, numbers, 1, MPI_UINT32_T, workers->all), "MPI_Allgather");
}

tool_status_t workers_sum(const workers_t *workers, double *sums, int count)
{
    return check_mpi(MPI_Allreduce(MPI_IN_PLACE, sums, count, MPI_DOUBLE, MPI_SUM, workers->all), "MPI_Allreduce");
}

tool_status_t workers_max(const workers_t *workers, double *numbers, int count)
{
    return check_mpi(MPI_Allreduce(MPI_IN_PLACE, numbers, count, MPI_DOUBLE, MPI_MAX, workers->all), "MPI_Allreduce");
}

tool_status_t workers_sum_floats(const workers_t *workers, float *numbers, size_t count)
{
    const size_t  chunk  = (size_t)1 << 30; /* MPI counts in int */
    tool_status_t status = TOOL_OK;

    for (size_t done = 0; done < count && status == TOOL_OK; done += chunk) {
        size_t left = count - done < chunk ? count - done : chunk;

        status = check_mpi(MPI_Allreduce(MPI_IN_PLACE, numbers + done, (int)left, MPI_FLOAT, MPI_SUM, workers->all),
                           "MPI_Allreduce");
    }
    return status;
}

tool_status_t workers_share(const workers_t *workers, float *numbers, uint64_t count)
{
    const uint64_t chunk  = UINT64_C(1) << 20; /* MPI counts in int */
    tool_status_t  status = TOOL_OK;

    for (uint64_t done = 0; done < count && status == TOOL_OK; done += chunk) {
        uint64_t left = count - done < chunk ? count - done : chunk;
        status        = check_mpi(MPI_Bcast(numbers + done, (int)left, MPI_FLOAT, 0, workers->all), "MPI_Bcast");
    }
    return status;
}

tool_status_t workers_wait(const workers_t *workers)
{
    return check_mpi(MPI_Barrier(workers->all), "MPI_Barrier");
}

void workers_give_up(const workers_t *workers, tool_status_t status)
{
    if (status == TOOL_ALL_FAILED) {
        if (workers_is_speaker(workers)) {
            print_sentence(workers, false);
        }
        return;
    }
    print_sentence(workers, workers->count > 1);
    if (workers->count > 1) {
        MPI_Abort(MPI_COMM_WORLD, TOOL_FAILED);
    }
}

/* How many workers of this machine may run on some core that this one may run on, itself included. */
static tool_status_t count_sharers(const workers_t *workers, const cpu_set_t *mine, int *sharers_p)
{
    cpu_set_t    *sets    = NULL;
    int           sharers = 0;
    tool_status_t status  = tool_alloc(workers->local_count, sizeof(*sets), "the workers' cores", &sets);

    if (status != TOOL_OK) {
        return status;
    }
    status =
        check_mpi(MPI_Allgather(mine, (int)sizeof(*mine), MPI_BYTE, sets, (int)sizeof(*mine), MPI_BYTE, workers->node),
                  "MPI_Allgather");
    for (uint32_t i = 0; status == TOOL_OK && i < workers->local_count; ++i) {
        cpu_set_t both;
        CPU_AND(&both, mine, &sets[i]);
        sharers += CPU_COUNT(&both) > 0;
    }
    free(sets);
    if (status == TOOL_OK) {
        *sharers_p = sharers;
    }
    return status;
}

tool_status_t workers_share_cores(const workers_t *workers)
{
    cpu_set_t     cores;
    int           sharers = 1;
    int           threads;
    char          text[16];
    tool_status_t status;

    CPU_ZERO(&cores);
    if (sched_getaffinity(0, sizeof(cores), &cores) != 0) {
        CPU_ZERO(&cores); /* a machine of more cores than cpu_set_t holds: nobody shares, nothing is limited */
    }
    status = count_sharers(workers, &cores, &sharers);
    if (status != TOOL_OK || sharers <= 1) {
        return status;
    }
    threads = CPU_COUNT(&cores) / sharers;
    snprintf(text, sizeof(text), "%d", threads > 0 ? threads : 1);
    if (setenv("POCL_MAX_PTHREAD_COUNT", text, 0) != 0 || setenv("LP_NUM_THREADS", text, 0) != 0) {
        return tool_fail(TOOL_FAILED, "out of host memory: cannot set POCL_MAX_PTHREAD_COUNT");
    }
    return TOOL_OK;
}

tool_status_t workers_lead(const workers_t *workers, uint64_t key, bool *leads_p)
{
    MPI_Comm      alike = MPI_COMM_NULL;
    int           index = 0;
    tool_status_t status;

    status = split_by_key(workers->node, key, &alike);
    if (status != TOOL_OK) {
        return status;
    }
    status = check_mpi(MPI_Comm_rank(alike, &index), "MPI_Comm_rank");
    MPI_Comm_free(&alike);
    if (status == TOOL_OK) {
        *leads_p = index == 0;
    }
    return status;
}
