#include "mpi/processes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <psgd/psgd_mpi.h>

#include "base/hash.h"
#include "base/status.h"
#include "support/suite.h"

static int           process_count;
static int           process_index;
static test_device_t device;
static bool          is_mixed;

static void find_out_whether_mixed(void)
{
    uint64_t own = psgd_hash_string(psgd_hash_string(0, device.info.name), device.info.driver_version), first = own;
    int      differs, any_differs = 0;

    MPI_Bcast(&first, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    differs = first != own;
    MPI_Allreduce(&differs, &any_differs, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    is_mixed = any_differs != 0;
}

void processes_open(int *argc, char ***argv)
{
    int provided;

    MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_size(MPI_COMM_WORLD, &process_count);
    MPI_Comm_rank(MPI_COMM_WORLD, &process_index);
    if (test_device_open(&device) != PSGD_OK) {
        fprintf(stderr, "worker %d: %s\n", process_index, psgd_last_error());
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
    find_out_whether_mixed();
}

void processes_close(void)
{
    test_device_close(&device);
    /* In MPICH 4.0.2 over UCX a process that comes to MPI_Finalize no longer serves those that still fetch the last large
     * message from it, and all of them hang there. */
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
}

uint32_t processes_count(void)
{
    return (uint32_t)process_count;
}

uint32_t processes_index(void)
{
    return (uint32_t)process_index;
}

const test_device_t *processes_device(void)
{
    return &device;
}

bool processes_are_mixed(void)
{
    return is_mixed;
}

void processes_agree(psgd_status_t status)
{
    char sentence[1024] = "";
    int  first_failed   = status == PSGD_OK ? process_count : process_index;

    MPI_Allreduce(MPI_IN_PLACE, &first_failed, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (first_failed == process_count) {
        return;
    }
    snprintf(sentence, sizeof(sentence), "%s: %s", psgd_status_name(status), psgd_last_error());
    MPI_Bcast(sentence, sizeof(sentence), MPI_CHAR, first_failed, MPI_COMM_WORLD);
    ck_abort_msg("worker %d: %s", first_failed, sentence);
}

void processes_run_job(const job_t *job, job_record_t *record_p)
{
    psgd_comm_t  *comm = NULL;
    psgd_status_t status;

    ck_assert_uint_eq(job->num_workers, processes_count());
    status = psgd_comm_mpi_create(MPI_COMM_WORLD, job->config.deadline_seconds, &comm);
    if (status == PSGD_OK) {
        status = job_run_worker(job, &device, comm, record_p);
    }
    psgd_comm_destroy(comm);
    processes_agree(status);
}

void processes_assert_equal_updates(const job_record_t *record)
{
    int         floats = (int)(record->total_elems * record->num_steps);
    size_t      bytes  = (size_t)floats * sizeof(float);
    float      *all    = NULL;
    psgd_status_t status = PSGD_OK;

    if (process_index == 0) {
        all = malloc(bytes * (size_t)process_count);
        ck_assert_ptr_nonnull(all);
    }
    MPI_Gather(record->updates, floats, MPI_FLOAT, all, floats, MPI_FLOAT, 0, MPI_COMM_WORLD);
    for (int p = 1; (process_index == 0) && (p < process_count) && (status == PSGD_OK); ++p) {
        if (memcmp(all, all + (size_t)p * (size_t)floats, bytes) != 0) {
            status = psgd_fail(PSGD_ERR_DIVERGED, "workers 0 and %d hold different updates", p);
        }
    }
    free(all);
    processes_agree(status);
}

double *processes_mean_error(const job_record_t *record, uint32_t step)
{
    double *mean = job_wide(job_error(record, step), record->total_elems);

    MPI_Allreduce(MPI_IN_PLACE, mean, (int)record->total_elems, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
    for (uint64_t i = 0; i < record->total_elems; ++i) {
        mean[i] /= process_count;
    }
    return mean;
}
