/* A job that is killed at any file operation of a save goes on from this save or from the one before.
 *
 *   test_kill [STRIDE]      at every STRIDE-th of them
 *
 * The job, a process of its own: two workers, two steps, a save, a step, a second save in which one of them is killed. Another process
 * loads what is there and takes the steps that are missing; its last update has the bits of a job that nobody killed. */
#define _XOPEN_SOURCE 700 /* mkdtemp(), fork() */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "faults/injector.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum {
    NUM_WORKERS = 2,
    NUM_STEPS   = 5,
    FIRST_SAVE  = 2,
    SECOND_SAVE = 3,
    ROWS        = 24,
    COLS        = 20,
    ELEMS       = ROWS * COLS,
    MAX_CALLS   = 200,
    KILLED      = 128 + SIGKILL
};

static const char *program;
static int64_t     stride = 1;

/* ---- the job ---- */

/* What it is told: who is killed, at which call (0: nobody), whether it goes on from a save, and whose form. */
typedef struct orders {
    const char       *path;
    uint32_t          victim;
    int64_t           number;
    bool              resumes;
    psgd_error_form_t form;
    uint64_t          step_found;        /* by a job that goes on */
    uint64_t          hash[NUM_WORKERS]; /* of the last update */
} orders_t;

static psgd_status_t take_step(worker_t *worker, psgd_reducer_t *reducer, cl_mem mem, uint64_t number)
{
    const psgd_buffer_t grad = {mem, 0};
    float               values[ELEMS];
    orders_t           *orders = worker->user;

    test_random_fill(values, ELEMS, 10 + number * NUM_WORKERS + worker->index);
    worker_needs(test_buffer_write(worker->device, mem, 0, values, ELEMS));
    worker_needs(psgd_reducer_step(reducer, &grad, 1));
    worker_needs(test_buffer_read(worker->device, mem, 0, values, ELEMS));
    orders->hash[worker->index] = psgd_hash_words(values, ELEMS, 0);
    return PSGD_OK;
}

static psgd_status_t save(worker_t *worker, psgd_reducer_t *reducer, bool is_watched)
{
    const orders_t *orders = worker->user;
    psgd_status_t   status;

    if (is_watched && (worker->index == orders->victim)) {
        injector_arm();
    }
    status = psgd_reducer_save(reducer, orders->path, orders->form);
    injector_disarm();
    return status;
}

static psgd_status_t act_on(worker_t *worker, psgd_reducer_t *reducer, cl_mem mem)
{
    orders_t    *orders = worker->user;
    psgd_stats_t stats  = PSGD_STATS_INIT;
    uint64_t     step   = 0;

    if (orders->resumes) {
        worker_needs(psgd_reducer_load(reducer, orders->path));
        worker_needs(psgd_reducer_get_stats(reducer, &stats));
        step               = stats.steps;
        orders->step_found = step;
    }
    for (; step < NUM_STEPS; ++step) {
        if (!orders->resumes && ((step == FIRST_SAVE) || (step == SECOND_SAVE))) {
            worker_needs(save(worker, reducer, step == SECOND_SAVE));
        }
        worker_needs(take_step(worker, reducer, mem, step));
    }
    return PSGD_OK;
}

static psgd_status_t act(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("w", ROWS, COLS);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    cl_mem          mem     = NULL;
    psgd_status_t   status;

    config.rank             = 2;
    config.engine           = PSGD_ENGINE_FUSED;
    config.deadline_seconds = 20.0;
    worker_needs(test_buffer_create(worker->device, ELEMS, &mem));
    status = psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                 &config, worker->comm, &reducer);
    status = status == PSGD_OK ? act_on(worker, reducer, mem) : status;
    psgd_reducer_destroy(reducer);
    clReleaseMemObject(mem);
    return status;
}

static orders_t orders_of_job;

/* Prints the step that it went on from, and the hash of the last update. */
START_TEST(job)
{
    const fault_t fault = {orders_of_job.number > 0 ? FAULT_FILE : FAULT_NONE, orders_of_job.number, FAULT_KILLS,
                           false};

    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        workers_device(w);
    }
    ck_assert_msg(injector_open(), "OPENCL_LAYERS does not name the fault layer");
    injector_set(&fault);
    workers_run(NUM_WORKERS, act, &orders_of_job);
    ck_assert_uint_eq(orders_of_job.hash[0], orders_of_job.hash[1]);
    printf("job %" PRIu64 " %016" PRIx64 "\n", orders_of_job.step_found, orders_of_job.hash[0]);
}
END_TEST

static void take_orders(char **argv)
{
    orders_of_job = (orders_t){.path    = argv[2],
                               .victim  = (uint32_t)atoi(argv[3]),
                               .number  = atoll(argv[4]),
                               .resumes = atoi(argv[5]) != 0,
                               .form    = atoi(argv[6]) != 0 ? PSGD_ERROR_MEAN : PSGD_ERROR_LOCAL};
}

/* ---- its ends ---- */

typedef struct end {
    int      status; /* exit status, or KILLED */
    uint64_t step_found;
    uint64_t hash;
} end_t;

static end_t start(const char *path, uint32_t victim, int64_t number, bool resumes, psgd_error_form_t form)
{
    end_t end = {EXIT_FAILURE, 0, 0};
    char  line[1024], number_text[24];
    int   ends[2], status;
    FILE *output;
    pid_t child;

    snprintf(number_text, sizeof(number_text), "%" PRId64, number);
    ck_assert_int_eq(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        execl(program, program, "job", path, victim == 0 ? "0" : "1", number_text, resumes ? "1" : "0",
              form == PSGD_ERROR_MEAN ? "1" : "0", (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    close(ends[1]);
    output = fdopen(ends[0], "r");
    while (fgets(line, sizeof(line), output) != NULL) {
        sscanf(line, "job %" SCNu64 " %" SCNx64, &end.step_found, &end.hash);
    }
    fclose(output);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    end.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return end;
}

static void remove_files(const char *path)
{
    static const char *const suffixes[] = {"", ".new"};
    char                     name[128];

    for (int i = 0; i < 2; ++i) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
        for (int step = 0; step <= NUM_STEPS; ++step) {
            for (int w = 0; w < NUM_WORKERS; ++w) {
                snprintf(name, sizeof(name), "%s.%d.%d%s", path, step, w, suffixes[i]);
                unlink(name);
            }
        }
    }
}

/* ---- what must hold ---- */

static void check_kills_of(const char *path, uint32_t victim, psgd_error_form_t form, uint64_t expected)
{
    int   num_killed = 0, num_old = 0;
    end_t end = start(path, victim, 1, false, form);

    for (int64_t number = 1; end.status == KILLED; number += stride, end = start(path, victim, number, false, form)) {
        const end_t again = start(path, victim, 0, true, form);

        ck_assert_int_lt(number, MAX_CALLS);
        ck_assert_msg(again.status == EXIT_SUCCESS, "worker %u killed at file operation %" PRId64 ": nothing goes on",
                      victim, number);
        ck_assert((again.step_found == FIRST_SAVE) || (again.step_found == SECOND_SAVE));
        if (form == PSGD_ERROR_LOCAL) { /* the mean form continues as well, with other bits */
            ck_assert_msg(again.hash == expected,
                          "worker %u killed at file operation %" PRId64 ": the step is another one", victim, number);
        }
        num_killed += 1;
        num_old += again.step_found == FIRST_SAVE ? 1 : 0;
        remove_files(path);
    }
    ck_assert_int_eq(end.status, EXIT_SUCCESS);
    ck_assert_uint_eq(end.hash, expected);
    remove_files(path);
    printf("%s form, worker %u: killed at %d file operations of a save; %d times the save before was there, else this "
           "one\n",
           form == PSGD_ERROR_LOCAL ? "exact" : "mean", victim, num_killed, num_old);
    fflush(stdout);
    if ((form == PSGD_ERROR_LOCAL) || (victim == 0)) {
        ck_assert_int_gt(num_killed, 1);
    }
}

START_TEST(save__leaves_this_one_or_the_one_before_wherever_it_is_killed)
{
    const psgd_error_form_t form        = _i / NUM_WORKERS == 0 ? PSGD_ERROR_LOCAL : PSGD_ERROR_MEAN;
    char                    directory[] = "/tmp/psgd-kill-XXXXXX", path[64];
    end_t                   end;

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/run", directory);
    end = start(path, 0, 0, false, form);
    ck_assert_int_eq(end.status, EXIT_SUCCESS);
    remove_files(path);
    check_kills_of(path, (uint32_t)(_i % NUM_WORKERS), form, end.hash);
    ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("kill");
    TCase *tcase = tcase_create("saves");
    int    result;

    program = argv[0];
    tcase_set_timeout(tcase, 0);
    if ((argc == 7) && (strcmp(argv[1], "job") == 0)) {
        take_orders(argv);
        tcase_add_test(tcase, job);
    } else {
        stride = argc > 1 ? atoll(argv[1]) : stride;
        tcase_add_loop_test(tcase, save__leaves_this_one_or_the_one_before_wherever_it_is_killed, 0, 2 * NUM_WORKERS);
    }
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
