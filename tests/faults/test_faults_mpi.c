/* Every MPI call of one worker goes wrong in turn, in a job of several processes; mpi_faults.py starts it.
 *
 *   test_faults_mpi FAULT SETUP FIRST LAST PATH [resume [PATH...]]
 *
 * FAULT: none, error, delay (shorter than the deadline), late (longer), flip, short, kill, stop, exit; SETUP: see SETUPS; the calls
 * FIRST to LAST of worker 1 (of worker 0, where LAST is negative) go wrong, each in a run of its own: create, two steps, save to PATH,
 * two more steps, a check of the updates. With kill, stop and exit there is one run, and what worker W was told goes to PATH.told.W.
 * With resume the job goes on from the checkpoint at each PATH in turn, and prints the updates.
 *
 * What must hold:
 *   - every call returns by its deadline and two seconds, and what the process waited for a processor; after a failure of the
 *     communicator the next call says so at once;
 *   - all workers fail or none does, and if none does their updates are alike; without bits or elements lost, those of a run without
 *     a fault. Of the very last message nobody can know whether the others have it too: who did not fail there, fails in the next call;
 *   - an error of MPI's is told, and a delay that the deadline allows is no failure;
 *   - after a failure, a new communicator and a new reducer go on from the checkpoint, to the updates of a run without a fault. Where the
 *     communicator itself could not be made, MPI_COMM_WORLD is left with half a collective, and only a new job can do that.
 *
 * Prints a line for each run that failed, and exits with 1 where one was not as it must be and says with which call a new
 * job must go on. */
#define _XOPEN_SOURCE 700 /* access() */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mpi.h>
#include <psgd/psgd_mpi.h>

#include "base/clock.h"
#include "base/hash.h"
#include "faults/mpi_shim.h"
#include "support/job.h"
#include "support/test_device.h"

enum {
    NUM_TENSORS  = 3,
    NUM_STEPS    = 4,
    SAVED_STEPS  = 2,
    MATRIX_ELEMS = 24 * 20,
    VECTOR_ELEMS = 5,
    LARGE_ELEMS  = 270 * 250,
    TOTAL_ELEMS  = MATRIX_ELEMS + VECTOR_ELEMS + LARGE_ELEMS
};

static const double DEADLINE_SECONDS = 3.0, GRACE_SECONDS = 2.0, AT_ONCE_SECONDS = 1.0;
static const double PATIENT_SECONDS = 60.0; /* the deadline of runs without a fault, however busy the machine is */
static const double CREATE_SECONDS =
    4.0; /* of creation, before it waits for others: kernels are compiled, engines measured */

static const char LAST_CALL[] = "the check of the updates";

typedef struct setup {
    const char    *name;
    psgd_sharing_t sharing;
    bool           is_lazy;
    psgd_dtype_t   wire;
    bool           is_submitted; /* each tensor by itself, the last first, and each is a bucket */
    bool           is_on_nodes;  /* two processes on one node; the third, where there is one, on another */
} setup_t;

static const setup_t SETUPS[] = {
    {"each", PSGD_SHARING_NONE, false, PSGD_F32, false, false},
    {"owners", PSGD_SHARING_OWNERS, false, PSGD_F32, false, false},
    {"lazy", PSGD_SHARING_NONE, true, PSGD_F32, false, false},
    {"bf16", PSGD_SHARING_NONE, false, PSGD_BF16, false, false},
    {"buckets", PSGD_SHARING_NONE, false, PSGD_F32, true, false},
    {"nodes", PSGD_SHARING_NONE, false, PSGD_F32, false, true},
};

typedef struct fault_kind {
    const char *name;
    mpi_fault_t fault;
    double      delay_seconds;
    bool        damages_data; /* what the others are told is not checked against a run without it */
    bool        ends_the_process;
} fault_kind_t;

static const fault_kind_t KINDS[] = {
    {"none", MPI_FAULT_NONE, 0.0, false, false},   {"error", MPI_FAULT_ERROR, 0.0, false, false},
    {"delay", MPI_FAULT_DELAY, 0.3, false, false}, {"late", MPI_FAULT_LATE, 4.5, false, false},
    {"flip", MPI_FAULT_FLIP, 0.0, true, false},    {"short", MPI_FAULT_SHORT, 0.0, true, false},
    {"kill", MPI_FAULT_KILL, 0.0, false, true},    {"stop", MPI_FAULT_STOP, 0.0, false, true},
    {"exit", MPI_FAULT_EXIT, 0.0, false, true},
};

static const setup_t      *setup;
static const fault_kind_t *kind;
static const char         *path;
static int                 num_workers, worker, victim;
static test_device_t       device;
static cl_mem              mem;
static psgd_tensor_t       tensors[NUM_TENSORS];
static float               values[TOTAL_ELEMS];
static MPI_Comm            aside; /* for meet() */
static double              deadline_seconds;

/* ---- one run ---- */

typedef struct run {
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
    uint64_t        updates[NUM_STEPS]; /* hashes; 0: there was none */
    psgd_status_t   status;             /* of the first call that failed */
    char            sentence[1024];
    const char     *what;         /* the call */
    double          seconds;      /* that it took, without what it waited for a processor */
    psgd_status_t   status_again; /* of a step after it, of one's own or of another worker's failure */
    double          seconds_again;
} run_t;

/* Two processes leave it to MPI to find their node out: then that is asked more. */
static psgd_status_t connect_nodes(psgd_comm_t **comm_p)
{
    char          name[32];
    psgd_status_t status;

    snprintf(name, sizeof(name), "node %d", worker / 2);
    mpi_shim_set_creating_nodes(true);
    status = psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, num_workers > 2 ? name : NULL, deadline_seconds, comm_p);
    mpi_shim_set_creating_nodes(false);
    return status;
}

static psgd_status_t create(run_t *run)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_status_t status;

    config.rank                 = 2;
    config.engine               = PSGD_ENGINE_FUSED;
    config.sharing              = setup->sharing;
    config.wire                 = setup->wire;
    config.gradients_are_finite = setup->is_lazy;
    config.deadline_seconds     = deadline_seconds;
    config.log_level            = PSGD_LOG_OFF;
    config.bucket_bytes         = setup->is_submitted ? 1 : 0;
    status                      = setup->is_on_nodes ? connect_nodes(&run->comm)
                                                     : psgd_comm_mpi_create(MPI_COMM_WORLD, deadline_seconds, &run->comm);
    if (status == PSGD_OK) {
        status = psgd_reducer_create(device.context, device.id, device.queue, tensors, NUM_TENSORS, &config, run->comm,
                                     &run->reducer);
    }
    return status;
}

/* What fails before the wait is told to all by it. */
static psgd_status_t step_in_parts(psgd_reducer_t *reducer, const psgd_buffer_t *grads)
{
    psgd_status_t before = psgd_reducer_begin(reducer, NULL), status;

    for (size_t t = NUM_TENSORS; t-- > 0;) {
        status = psgd_reducer_submit(reducer, t, &grads[t], 1, 0, NULL);
        before = before == PSGD_OK ? status : before;
    }
    status = psgd_reducer_wait(reducer, NULL);
    return (status == PSGD_OK) && (before != PSGD_OK)
               ? psgd_comm_fail(PSGD_ERR_INTERNAL, "a submission failed with %s, and the wait has not",
                                psgd_status_name(before))
               : status;
}

static psgd_status_t step(run_t *run, int number)
{
    const psgd_buffer_t grads[NUM_TENSORS] = {
        {mem, 0}, {mem, MATRIX_ELEMS * sizeof(float)}, {mem, (MATRIX_ELEMS + VECTOR_ELEMS) * sizeof(float)}};
    psgd_status_t status;

    test_random_fill(values, TOTAL_ELEMS, 70 + (uint64_t)(number * num_workers + worker));
    status = test_buffer_write(&device, mem, 0, values, TOTAL_ELEMS);
    if (status == PSGD_OK) {
        status = setup->is_submitted ? step_in_parts(run->reducer, grads)
                                     : psgd_reducer_step(run->reducer, grads, NUM_TENSORS);
    }
    if (status == PSGD_OK) {
        status = test_buffer_read(&device, mem, 0, values, TOTAL_ELEMS);
    }
    if (status == PSGD_OK) {
        run->updates[number] = psgd_hash_words(values, TOTAL_ELEMS, 0);
    }
    return status;
}

static psgd_status_t save(run_t *run, int number)
{
    (void)number;
    return psgd_reducer_save(run->reducer, path, PSGD_ERROR_LOCAL);
}

static psgd_status_t load(run_t *run, int number)
{
    (void)number;
    return psgd_reducer_load(run->reducer, path);
}

static psgd_status_t check(run_t *run, int number)
{
    const psgd_region_t region = {mem, 0, TOTAL_ELEMS * sizeof(float)};

    (void)number;
    return psgd_replica_check(run->reducer, &region, 1);
}

static psgd_status_t create_first(run_t *run, int number)
{
    (void)number;
    return create(run);
}

typedef psgd_status_t (*call_fn)(run_t *run, int number);

/* That the threads of this process were ready to run while others did. 0 where Linux does not say. */
static double seconds_without_processor(void)
{
    DIR                 *tasks = opendir("/proc/self/task");
    const struct dirent *task;
    unsigned long long   ran, waited, sum = 0;

    while ((tasks != NULL) && ((task = readdir(tasks)) != NULL)) {
        char  name[300];
        FILE *file;

        snprintf(name, sizeof(name), "/proc/self/task/%s/schedstat", task->d_name);
        file = task->d_name[0] != '.' ? fopen(name, "r") : NULL;
        if (file != NULL) {
            sum += fscanf(file, "%llu %llu", &ran, &waited) == 2 ? waited : 0;
            fclose(file);
        }
    }
    if (tasks != NULL) {
        closedir(tasks);
    }
    return (double)sum * 1e-9;
}

typedef struct start {
    uint64_t now_ns;
    double   without_seconds;
} start_t;

static start_t start_of_call(void)
{
    return (start_t){psgd_now_ns(), seconds_without_processor()};
}

static double seconds_since(start_t start)
{
    return (double)(psgd_now_ns() - start.now_ns) * 1e-9 - (seconds_without_processor() - start.without_seconds);
}

/* Unless the run has failed before. */
static void call(run_t *run, const char *what, call_fn function, int number)
{
    const start_t start = start_of_call();

    if (run->status != PSGD_OK) {
        return;
    }
    run->status  = function(run, number);
    run->seconds = seconds_since(start);
    if (run->status != PSGD_OK) {
        run->what = what;
        snprintf(run->sentence, sizeof(run->sentence), "%s", psgd_last_error());
    }
}

/* What a reducer says after a failure, here or elsewhere. */
static void call_again(run_t *run)
{
    const start_t start = start_of_call();

    if (run->reducer != NULL) {
        run->status_again  = step(run, NUM_STEPS - 1);
        run->seconds_again = seconds_since(start);
    }
}

static void do_steps(run_t *run, int begin, int end)
{
    for (int number = begin; number < end; ++number) {
        call(run, number < SAVED_STEPS ? "a step before the save" : "a step after the save", step, number);
    }
}

static void finish(run_t *run)
{
    psgd_reducer_destroy(run->reducer);
    psgd_comm_destroy(run->comm);
}

static void run_whole(run_t *run)
{
    memset(run, 0, sizeof(*run));
    call(run, "create", create_first, 0);
    do_steps(run, 0, SAVED_STEPS);
    call(run, "save", save, 0);
    do_steps(run, SAVED_STEPS, NUM_STEPS);
    call(run, LAST_CALL, check, 0);
}

/* From the checkpoint where there is one, else from the start. */
static void run_restarted(run_t *run, bool has_checkpoint)
{
    deadline_seconds = PATIENT_SECONDS;
    memset(run, 0, sizeof(*run));
    call(run, "create", create_first, 0);
    if (has_checkpoint) {
        call(run, "load", load, 0);
    }
    do_steps(run, has_checkpoint ? SAVED_STEPS : 0, NUM_STEPS);
    finish(run);
}

/* ---- what must hold ---- */

static bool is_of_communicator(psgd_status_t status)
{
    return (status == PSGD_ERR_COMM) || (status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_POISONED);
}

/* On this worker alone. NULL: all well. */
static const char *judge_times(const run_t *run)
{
    const double sleep_seconds = worker == victim ? kind->delay_seconds : 0.0;
    const double own_seconds   = (run->what != NULL) && (strcmp(run->what, "create") == 0) ? CREATE_SECONDS : 0.0;

    if (run->seconds > DEADLINE_SECONDS + GRACE_SECONDS + sleep_seconds + own_seconds) {
        return "a call took longer than its deadline and two seconds";
    }
    if (is_of_communicator(run->status) && (run->reducer != NULL) && (run->status_again != PSGD_ERR_POISONED)) {
        return "a reducer went on after its communicator had failed";
    }
    if (is_of_communicator(run->status) && (run->seconds_again > AT_ONCE_SECONDS)) {
        return "a poisoned reducer did not answer at once";
    }
    return (run->status != PSGD_OK) && (run->sentence[0] == '\0') ? "a failure without a sentence" : NULL;
}

/* On a worker whose last message was well and that of others was not: what it heard in the call after it. */
static const char *judge_next_call(const run_t *run)
{
    if (run->status_again == PSGD_OK) {
        return "others failed in the last message, and this worker heard nothing in its next call either";
    }
    return run->seconds_again > DEADLINE_SECONDS + GRACE_SECONDS
               ? "the call after the others' failure took longer than its deadline and two seconds"
               : NULL;
}

/* MPI_Barrier() would keep a processor busy for as long as another worker waits for its deadline. Not on MPI_COMM_WORLD, where half a
 * collective may be left. */
static void meet(void)
{
    MPI_Request request;
    int         are_all_there = 0;

    PMPI_Ibarrier(aside, &request);
    while ((PMPI_Test(&request, &are_all_there, MPI_STATUS_IGNORE) == MPI_SUCCESS) && !are_all_there) {
        psgd_sleep_ns(1000000);
    }
}

static int count_workers(bool is_so)
{
    int count = is_so ? 1 : 0;

    MPI_Allreduce(MPI_IN_PLACE, &count, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    return count;
}

static bool are_updates_alike(const run_t *run)
{
    uint64_t first[NUM_STEPS];
    int      differ;

    memcpy(first, run->updates, sizeof(first));
    MPI_Bcast(first, NUM_STEPS, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    differ = memcmp(first, run->updates, sizeof(first)) != 0;
    MPI_Allreduce(MPI_IN_PLACE, &differ, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
    return differ == 0;
}

static const char *judge_run(const run_t *run, const uint64_t *expected, bool has_happened)
{
    const int  num_failed = count_workers(run->status != PSGD_OK);
    const bool are_alike  = are_updates_alike(run);
    const bool  was_last = count_workers((run->status != PSGD_OK) && (strcmp(run->what, LAST_CALL) == 0)) == num_failed;
    const char *wrong     = judge_times(run);

    if ((wrong == NULL) && (num_failed != 0) && (num_failed != num_workers) && !was_last) {
        wrong = run->status == PSGD_OK ? "other workers failed, and this one heard nothing"
                                       : "this worker failed, and others heard nothing";
    }
    if ((wrong == NULL) && (num_failed != 0) && (run->status == PSGD_OK)) {
        wrong = judge_next_call(run);
    }
    if ((wrong == NULL) && (num_failed != 0) && (kind->fault == MPI_FAULT_DELAY)) {
        wrong = "a delay that the deadline allows was a failure";
    }
    if ((wrong == NULL) && has_happened && (num_failed == 0) && (kind->fault == MPI_FAULT_ERROR)) {
        wrong = "a call of MPI's failed, and nobody says so";
    }
    if ((wrong == NULL) && (num_failed == 0) && !are_alike) {
        wrong = "the workers' updates differ, and nobody says so";
    }
    if ((wrong == NULL) && (num_failed == 0) && !kind->damages_data &&
        (memcmp(run->updates, expected, sizeof(run->updates)) != 0)) {
        wrong = "the updates are not those of a run without a fault";
    }
    return wrong;
}

static bool has_checkpoint(void)
{
    int is_there = worker == 0 ? access(path, F_OK) == 0 : 0;

    MPI_Bcast(&is_there, 1, MPI_INT, 0, MPI_COMM_WORLD);
    return is_there != 0;
}

static const char *judge_restart(const uint64_t *expected)
{
    const bool from_checkpoint = has_checkpoint();
    const int  begin           = from_checkpoint ? SAVED_STEPS : 0;
    run_t      again;

    run_restarted(&again, from_checkpoint);
    meet();
    if (again.status != PSGD_OK) {
        fprintf(stderr, "worker %d: %s: %s\n", worker, again.what, again.sentence);
        return "the restart failed";
    }
    return memcmp(again.updates + begin, expected + begin, (NUM_STEPS - (size_t)begin) * sizeof(*expected)) != 0
               ? "after the restart the updates are not those of a run without a fault"
               : NULL;
}

/* ---- all of them ---- */

static void remove_checkpoint(void)
{
    char name[512];

    for (int number = 0; (worker == 0) && (number < 8); ++number) {
        for (int w = 0; w < num_workers; ++w) {
            snprintf(name, sizeof(name), "%s.%d.%d", path, number, w);
            unlink(name);
        }
    }
    if (worker == 0) {
        unlink(path);
    }
    MPI_Barrier(MPI_COMM_WORLD);
}

static void arm(uint64_t number)
{
    deadline_seconds = number > 0 ? DEADLINE_SECONDS : PATIENT_SECONDS;
    mpi_shim_arm(worker == victim ? kind->fault : MPI_FAULT_NONE, number, kind->delay_seconds,
                 setup->is_submitted || setup->is_on_nodes);
}

static void report(uint64_t number, const run_t *run, const char *wrong)
{
    printf("%s%s, %s, call %llu (%s) of worker %d: worker %d: %s%s%s%s%s (%.1f s)\n", wrong != NULL ? "WRONG: " : "",
           kind->name, setup->name, (unsigned long long)number, mpi_shim_name(), victim, worker,
           wrong != NULL ? wrong : "", wrong != NULL ? ": " : "",
           run->status == PSGD_OK ? "all well" : psgd_status_name(run->status), run->status == PSGD_OK ? "" : " in ",
           run->status == PSGD_OK ? "" : run->what, run->seconds);
    if (run->status != PSGD_OK) {
        printf("    %s\n", run->sentence);
    }
    fflush(stdout);
}

/* NOT_REACHED: the run had failed before it came to the call. */
typedef enum outcome { NO_SUCH_CALL, NOT_REACHED, GOES_ON, NEEDS_A_NEW_JOB } outcome_t;

static outcome_t run_with(uint64_t number, const uint64_t *expected, int *num_faults, int *num_wrong)
{
    run_t       run;
    const char *wrong;
    int         has_fired, has_happened;
    bool        has_failed, is_usable;

    meet();
    arm(number);
    run_whole(&run);
    mpi_shim_disarm();
    meet();
    has_fired    = mpi_shim_has_fired();
    has_happened = mpi_shim_has_happened();
    MPI_Bcast(&has_fired, 1, MPI_INT, victim, MPI_COMM_WORLD);
    MPI_Bcast(&has_happened, 1, MPI_INT, victim, MPI_COMM_WORLD);
    has_failed = count_workers(run.status != PSGD_OK) > 0;
    if (has_failed) {
        call_again(&run);
        meet();
    }
    wrong     = judge_run(&run, expected, has_happened != 0);
    is_usable = count_workers(run.comm == NULL) == 0;
    if (is_usable && has_failed) {
        const char *after = judge_restart(expected);

        wrong = wrong == NULL ? after : wrong;
    }
    finish(&run);
    if (!has_fired && has_failed && (run.status != PSGD_OK) && (run.status != PSGD_ERR_TIMEOUT)) {
        wrong = "failed without a fault";
    }
    if ((wrong != NULL) || (run.status != PSGD_OK)) {
        report(number, &run, wrong);
    }
    *num_faults += has_happened;
    *num_wrong += wrong != NULL ? 1 : 0;
    remove_checkpoint();
    if (!has_fired) {
        return has_failed ? NOT_REACHED : NO_SUCH_CALL;
    }
    return is_usable ? GOES_ON : NEEDS_A_NEW_JOB;
}

/* A reducer without a fault: after it, how long a creation takes depends less on what else the machine does. */
static void compile(void)
{
    run_t run;

    deadline_seconds = PATIENT_SECONDS;
    memset(&run, 0, sizeof(run));
    call(&run, "create", create_first, 0);
    if (run.status != PSGD_OK) {
        report(0, &run, "a creation without a fault failed");
    }
    finish(&run);
}

/* The others' ends are told, in a file each, as mpiexec may have stopped listening; and left to whoever started them, since
 * MPI_Finalize() would wait for the one that is gone. */
static void run_and_lose(uint64_t number)
{
    run_t       run;
    const char *wrong;
    char        name[512];

    snprintf(name, sizeof(name), "%s.told.%d", path, worker);
    if (freopen(name, "w", stdout) == NULL) {
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
    if (worker == victim) {
        printf("victim %ld\n", (long)getpid());
        fflush(stdout);
    }
    compile();
    meet();
    arm(number);
    run_whole(&run);
    call_again(&run);
    mpi_shim_disarm();
    wrong = judge_times(&run);
    if ((wrong == NULL) && (worker != victim) && (run.status == PSGD_OK)) {
        wrong = judge_next_call(&run);
    }
    report(number, &run, mpi_shim_has_fired() || (worker != victim) ? wrong : NULL);
    printf("%s\n", (worker == victim) && !mpi_shim_has_fired() ? "no such call" : "told");
    fflush(stdout);
    for (;;) { /* where one ends, mpiexec would end the others before they are told */
        pause();
    }
}

static void print_updates(const run_t *run)
{
    if (worker == 0) {
        printf("updates %016llx %016llx %016llx %016llx\n", (unsigned long long)run->updates[0],
               (unsigned long long)run->updates[1], (unsigned long long)run->updates[2],
               (unsigned long long)run->updates[3]); /* at once: other processes print, too */
        fflush(stdout);
    }
}

static int run_all(uint64_t first, uint64_t last)
{
    run_t     expected;
    outcome_t outcome   = GOES_ON;
    int       num_wrong = 0, num_runs = 0, num_faults = 0;

    arm(0);
    run_whole(&expected);
    mpi_shim_disarm();
    finish(&expected);
    if (expected.status != PSGD_OK) {
        report(0, &expected, "a run without a fault failed");
        return 1;
    }
    remove_checkpoint();
    for (; (first <= last) && (outcome == GOES_ON); ++first) {
        outcome = run_with(first, expected.updates, &num_faults, &num_wrong);
        num_runs += (outcome == GOES_ON) || (outcome == NEEDS_A_NEW_JOB) ? 1 : 0;
    }
    MPI_Allreduce(MPI_IN_PLACE, &num_wrong, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (worker == 0) {
        printf("%s, %s, %d workers: %d runs, a fault in %d, %d wrong\n", kind->name, setup->name, num_workers, num_runs,
               num_faults, num_wrong);
        if ((outcome == NEEDS_A_NEW_JOB) || (outcome == NOT_REACHED)) {
            printf("goes on with %llu\n", (unsigned long long)first - (outcome == NOT_REACHED ? 1 : 0));
        }
        fflush(stdout);
    }
    return num_wrong > 0 ? 1 : 0;
}

static void open_job(int *argc, char ***argv)
{
    PMPI_Init(argc, argv);
    PMPI_Comm_size(MPI_COMM_WORLD, &num_workers);
    PMPI_Comm_rank(MPI_COMM_WORLD, &worker);
    MPI_Comm_dup(MPI_COMM_WORLD, &aside);
    /* MPICH asks the handler of MPI_COMM_WORLD what to do about a receive on any communicator. */
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if ((test_device_open(&device) != PSGD_OK) || (test_buffer_create(&device, TOTAL_ELEMS, &mem) != PSGD_OK)) {
        fprintf(stderr, "worker %d: %s\n", worker, psgd_last_error());
        MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    }
    tensors[0]      = job_tensor("w", 24, 20);
    tensors[1]      = job_tensor("b", VECTOR_ELEMS, 0);
    tensors[2]      = job_tensor("large", 270, 250);
    tensors[2].rank = PSGD_NEVER_COMPRESS;
}

/* What the checkpoints lead to that other jobs have left. */
static int resume(int num_paths, char **paths)
{
    int result = 0;

    for (int i = 0; i < num_paths; ++i) {
        run_t run;

        path = paths[i];
        run_restarted(&run, has_checkpoint());
        print_updates(&run);
        if (run.status != PSGD_OK) {
            printf("worker %d, %s: %s: %s\n", worker, path, run.what, run.sentence);
            fflush(stdout);
            result = 1;
        }
    }
    return result;
}

static bool parse(int argc, char **argv)
{
    for (size_t i = 0; (argc >= 6) && (i < sizeof(KINDS) / sizeof(KINDS[0])); ++i) {
        kind = strcmp(argv[1], KINDS[i].name) == 0 ? &KINDS[i] : kind;
    }
    for (size_t i = 0; (argc >= 6) && (i < sizeof(SETUPS) / sizeof(SETUPS[0])); ++i) {
        setup = strcmp(argv[2], SETUPS[i].name) == 0 ? &SETUPS[i] : setup;
    }
    path = argc >= 6 ? argv[5] : NULL;
    return (kind != NULL) && (setup != NULL);
}

int main(int argc, char **argv)
{
    long long first, last;
    int       result = 0;

    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: test_faults_mpi FAULT SETUP FIRST LAST PATH [resume [PATH...]]\n");
        return 2;
    }
    first = atoll(argv[3]);
    last  = atoll(argv[4]);
    open_job(&argc, &argv);
    victim = last < 0 ? 0 : 1;
    last   = last < 0 ? -last : last;
    if (argc > 6) {
        argv[6] = argv[5];
        result  = resume(argc - 6, argv + 6);
    } else if (kind->ends_the_process) {
        run_and_lose((uint64_t)first);
    } else if (kind->fault == MPI_FAULT_NONE) {
        run_t run;

        arm(0);
        run_whole(&run);
        mpi_shim_disarm();
        if (worker == victim) {
            printf("calls %llu\n", (unsigned long long)mpi_shim_calls());
        }
        finish(&run);
        print_updates(&run);
        result = run.status == PSGD_OK ? 0 : 1;
    } else {
        result = run_all((uint64_t)first, (uint64_t)last);
    }
    printf("worker %d ends with %d\n", worker,
           result); /* mpiexec may take the first exit without MPI_Finalize() for a crash */
    fflush(stdout);
    meet();
    _exit(result); /* MPI_Finalize() would wait for what was given up */
}
