/* How many bits of the updates differ between workers:  mpiexec -n W equal_bits SHARING STEPS [CASE...]
 *
 *   SHARING   auto, none or owners: psgd_config_t.sharing
 *   STEPS     of each case
 *   CASE      of the table below; without any, all of them
 *
 * Every worker reads every update back from its device; process 0 compares them, bit by bit. With `none` a case may also end in
 * PSGD_ERR_DIVERGED on all workers: a difference that is told. Anything else but equal bits is a failure.
 *
 * Gradients are such as tell devices apart: of full rank, of rank 1, all zero, denormal, and so large or small that their squares are
 * no floats. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <psgd/psgd_mpi.h>

#include "base/status.h"
#include "support/job.h"
#include "support/test_device.h"
#include "support/ways.h"

enum { NUM_TENSORS = 9, FAILED = 1, WRONG_USAGE = 2 };

/* What the gradients of a tensor are made of: rank 0 for full rank, and a power of two that they are multiplied by. */
typedef struct kind {
    const char *name;
    uint64_t    rows, cols;
    uint32_t    rank; /* of the gradient */
    int         exponent;
} kind_t;

static const kind_t KINDS[NUM_TENSORS] = {
    {"full", 96, 80, 0, 0},        {"rank1", 64, 48, 1, 0},   {"zero", 40, 30, 1, -200},
    {"denormal", 32, 24, 0, -130}, {"small", 48, 36, 0, -70}, {"large", 24, 60, 0, 60},
    {"wide", 7, 300, 2, 3},        {"vector", 33, 0, 0, 0},   {"cancelling", 50, 31, 3, -20},
};

typedef struct bits_case {
    const char *name;
    way_t       way;
} bits_case_t;

static const bits_case_t CASES[] = {
    {"fused", {.engine = PSGD_ENGINE_FUSED}},
    {"clblast", {.engine = PSGD_ENGINE_CLBLAST}},
    {"lazy", {.engine = PSGD_ENGINE_FUSED, .is_finite = true}},
    {"half", {.engine = PSGD_ENGINE_FUSED, .half_iterations = 1}},
    {"halves", {.engine = PSGD_ENGINE_CLBLAST, .half_iterations = 3}},
    {"cold", {.engine = PSGD_ENGINE_FUSED, .cold_start = true}},
    {"clipped", {.engine = PSGD_ENGINE_FUSED, .max_norm = 0.5}},
    {"bf16", {.engine = PSGD_ENGINE_FUSED, .wire = PSGD_BF16}},
    {"plain", {.engine = PSGD_ENGINE_FUSED, .start_step = 1000000}},
};

enum { NUM_CASES = sizeof(CASES) / sizeof(CASES[0]) };

static psgd_tensor_t tensors[NUM_TENSORS];

/* out += x y^T of random vectors, or random numbers. */
static void fill_matrix(const kind_t *kind, uint64_t stream, float *out)
{
    const uint64_t cols = kind->cols > 0 ? kind->cols : 1, elems = kind->rows * cols;
    float          x[512], y[512];

    if (kind->rank == 0) {
        test_random_fill(out, elems, stream);
    }
    for (uint32_t k = 0; k < kind->rank; ++k) {
        test_random_fill(x, kind->rows, stream + 2 * k);
        test_random_fill(y, cols, stream + 2 * k + 1);
        for (uint64_t i = 0; i < elems; ++i) {
            out[i] += x[i / cols] * y[i % cols];
        }
    }
    for (uint64_t i = 0; i < elems; ++i) {
        out[i] = ldexpf(out[i], kind->exponent);
    }
}

static void give_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    uint64_t stream = 100 + ((uint64_t)step * job->num_workers + worker) * NUM_TENSORS * 8;

    memset(gradient, 0, job_total_elems(job) * sizeof(*gradient));
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        fill_matrix(&KINDS[t], stream + 8 * t, gradient);
        gradient += KINDS[t].rows * (KINDS[t].cols > 0 ? KINDS[t].cols : 1);
    }
}

static uint64_t count_bits(uint32_t x)
{
    uint64_t count = 0;

    for (; x != 0; x &= x - 1) {
        count += 1;
    }
    return count;
}

/* Of all workers' updates against worker 0's; 0 on the other processes. */
static uint64_t differing_bits(const job_record_t *record, int process_index, int process_count)
{
    const int floats    = (int)(record->total_elems * record->num_steps);
    uint64_t  differing = 0;
    float    *theirs;

    if (process_index > 0) {
        MPI_Send(record->updates, floats, MPI_FLOAT, 0, 0, MPI_COMM_WORLD);
        return 0;
    }
    theirs = malloc((size_t)floats * sizeof(*theirs));
    for (int p = 1; (theirs != NULL) && (p < process_count); ++p) {
        MPI_Recv(theirs, floats, MPI_FLOAT, p, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (int i = 0; i < floats; ++i) {
            uint32_t a, b;

            memcpy(&a, &record->updates[i], sizeof(a));
            memcpy(&b, &theirs[i], sizeof(b));
            differing += count_bits(a ^ b);
        }
    }
    free(theirs);
    return theirs == NULL ? UINT64_MAX : differing;
}

/* Values that were compared, if all are finite and not all zero; else 0: then nothing was shown. */
static uint64_t count_values(const job_record_t *record)
{
    const uint64_t count   = record->total_elems * record->num_steps;
    uint64_t       nonzero = 0;

    for (uint64_t i = 0; i < count; ++i) {
        nonzero += record->updates[i] != 0.0f ? 1 : 0;
        if (!isfinite(record->updates[i])) {
            return 0;
        }
    }
    return nonzero > count / 4 ? count : 0;
}

static int min_over_processes(int value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    return value;
}

static int max_over_processes(int value)
{
    MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return value;
}

/* On which devices. */
static void print_devices(const test_device_t *device)
{
    char line[256];
    int  index, count;

    MPI_Comm_rank(MPI_COMM_WORLD, &index);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    snprintf(line, sizeof(line), "worker %d on %.100s, driver %.60s", index, device->info.name,
             device->info.driver_version);
    for (int p = 0; p < count; ++p) {
        if (index == p && p > 0) {
            MPI_Send(line, sizeof(line), MPI_CHAR, 0, 1, MPI_COMM_WORLD);
        } else if (index == 0 && p > 0) {
            MPI_Recv(line, sizeof(line), MPI_CHAR, p, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        }
        if (index == 0) {
            printf("%s\n", line);
        }
    }
}

/* Whether the case is as it must be. */
static int run_case(const bits_case_t *which, psgd_sharing_t sharing, uint32_t steps, const test_device_t *device)
{
    job_t         job    = way_job(&which->way, tensors, NUM_TENSORS);
    job_record_t  record = {0};
    psgd_comm_t  *comm   = NULL;
    int           process_index, process_count, is_wrong = 0;
    uint64_t      bits = 0, values;
    psgd_status_t status;

    MPI_Comm_rank(MPI_COMM_WORLD, &process_index);
    MPI_Comm_size(MPI_COMM_WORLD, &process_count);
    job.num_workers             = (uint32_t)process_count;
    job.num_steps               = steps;
    job.give_gradient           = give_gradient;
    job.exports_last_alone      = true;
    job.config.sharing          = sharing;
    job.config.check_every      = 1;
    job.config.deadline_seconds = 300.0;
    job.config.log_level        = PSGD_LOG_OFF;
    status                      = psgd_comm_mpi_create(MPI_COMM_WORLD, 300.0, &comm);
    if (status == PSGD_OK) {
        status = job_run_worker(&job, device, comm, &record);
    }
    psgd_comm_destroy(comm);
    if ((max_over_processes(status) == PSGD_OK) && (min_over_processes(status) == PSGD_OK)) {
        bits   = differing_bits(&record, process_index, process_count);
        values = count_values(&record);
        if (process_index == 0) {
            printf("%s: %d workers, %u steps, %llu values, %llu differing bits\n", which->name, process_count,
                   (unsigned)steps, (unsigned long long)values, (unsigned long long)bits);
        }
        is_wrong = (bits != 0) || (values == 0);
    } else if ((sharing == PSGD_SHARING_NONE) && (max_over_processes(status) == PSGD_ERR_DIVERGED) &&
               (min_over_processes(status) == PSGD_ERR_DIVERGED)) {
        if (process_index == 0) {
            printf("%s: %d workers, told: %s\n", which->name, process_count, psgd_last_error());
        }
    } else {
        is_wrong = 1;
        printf("%s: worker %d: %s: %s\n", which->name, process_index, psgd_status_name(status), psgd_last_error());
    }
    fflush(stdout);
    job_record_free(&record);
    return max_over_processes(is_wrong);
}

static const bits_case_t *find_case(const char *name)
{
    for (int i = 0; i < NUM_CASES; ++i) {
        if (strcmp(CASES[i].name, name) == 0) {
            return &CASES[i];
        }
    }
    return NULL;
}

static int run_cases(int argc, char **argv, psgd_sharing_t sharing, uint32_t steps, const test_device_t *device)
{
    int failures = 0;

    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        tensors[t] = job_tensor(KINDS[t].name, KINDS[t].rows, KINDS[t].cols);
    }
    for (int i = 0; i < (argc > 3 ? argc - 3 : NUM_CASES); ++i) {
        const bits_case_t *which = argc > 3 ? find_case(argv[3 + i]) : &CASES[i];

        if (which == NULL) {
            fprintf(stderr, "equal_bits: there is no case '%s'\n", argv[3 + i]);
            return WRONG_USAGE;
        }
        failures += run_case(which, sharing, steps, device);
    }
    return failures > 0 ? FAILED : 0;
}

int main(int argc, char **argv)
{
    static const char *const sharings[] = {"auto", "none", "owners"}; /* in the order of psgd_sharing_t */
    test_device_t            device;
    int                      sharing = 0, result = WRONG_USAGE;

    MPI_Init(&argc, &argv);
    while ((argc > 2) && (sharing < 3) && (strcmp(argv[1], sharings[sharing]) != 0)) {
        sharing += 1;
    }
    if ((argc < 3) || (sharing == 3) || (atoi(argv[2]) < 1)) {
        fprintf(stderr, "usage: mpiexec -n W equal_bits auto|none|owners STEPS [CASE...]\n");
    } else if (test_device_open(&device) != PSGD_OK) {
        fprintf(stderr, "equal_bits: %s\n", psgd_last_error());
        MPI_Abort(MPI_COMM_WORLD, FAILED);
    } else {
        print_devices(&device);
        result = run_cases(argc, argv, (psgd_sharing_t)sharing, (uint32_t)atoi(argv[2]), &device);
        test_device_close(&device);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return result;
}
