/* Every allocation, file operation and OpenCL call that can fail, does, one after the other:
 *
 *   test_faults [KIND [STRIDE [FIRST [SETUP]]]]     KIND: allocation, file, opencl, or all (default); every STRIDE-th call from FIRST
 *                                                   on; in the SETUP of that number, 1 the first (default: in all of them)
 *
 * Where a driver can wait for nothing any more, what it may still write to is kept: with every OpenCL call that is some 4 GiB a setup.
 * One run creates reducers on two workers (or one; or three, on two nodes), takes steps, exports, changes ranks, saves, loads, takes more
 * steps and destroys. In each run one call of worker 0's fails, once or with all behind it. Then:
 *   - no run crashes, hangs or leaks an allocation or an OpenCL object;
 *   - a call that fails does so on all workers with the same status, and says why, or, after the last vote of a step, on worker 0
 *     alone, whose reducer is poisoned, and the next call tells the others;
 *   - what failed is tried again: unless a reducer is poisoned, the updates in the end have the bits of a run without a fault;
 *   - where one is poisoned, new reducers go on from the checkpoint, if it came to that, to the same bits. */
#define _XOPEN_SOURCE 700 /* mkdtemp() */
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/status.h"
#include "faults/injector.h"
#include "support/job.h"
#include "support/lanes.h"
#include "support/suite.h"
#include "support/workers.h"

enum {
    NUM_TENSORS  = 3,
    CHANGED_RANK = 3,
    MAX_WORKERS  = 3,
    MAX_TRIES    = 3,
    RUN_SECONDS  = 120,
    MATRIX_ELEMS = 24 * 20,
    VECTOR_ELEMS = 5,
    LARGE_ELEMS  = 270 * 250,
    TOTAL_ELEMS  = MATRIX_ELEMS + VECTOR_ELEMS + LARGE_ELEMS
};

static const double DEADLINE_SECONDS = 10.0;

/* What a run does, in this order. */
typedef enum call {
    CALL_CREATE,
    CALL_STEP_1,
    CALL_STEP_2,
    CALL_EXPORT,
    CALL_RANKS,
    CALL_STEP_3,
    CALL_SAVE,
    CALL_LOAD,
    CALL_CHECK,
    CALL_STEP_4,
    NUM_CALLS
} call_t;

enum { NUM_STEPS = 4 };

static const char *const CALL_NAMES[NUM_CALLS] = {"create", "step 1", "step 2", "export", "ranks",
                                                  "step 3", "save",   "load",   "check",  "step 4"};

typedef struct setup {
    const char    *name;
    uint32_t       num_workers;
    psgd_engine_t  engine;
    psgd_sharing_t sharing;
    bool           is_lazy;
    uint32_t       half_iterations;
    psgd_dtype_t   wire;
    bool           is_clipped; /* and its energy is measured */
    bool           has_optimizer; /* whose step is taken on parameters, from scaled gradients */
    bool           is_folded;     /* the matrix lies otherwise in its tensor, and the error memory is in 16 bits */
    bool           is_submitted;  /* each tensor by itself, the last first, and each is a bucket */
    bool           is_on_nodes;   /* NODES, whose communicator is created by the same call as the reducer */
} setup_t;

/* Worker 0 speaks for a worker beside it, and to another node. Two workers would not do: then one lane connects all there are. */
static const node_shape_t NODES = {2, {2, 1}};

static const setup_t SETUPS[] = {
    {.name = "default form, two workers", .num_workers = 2, .engine = PSGD_ENGINE_FUSED},
    {.name = "alone, clblast", .num_workers = 1, .engine = PSGD_ENGINE_CLBLAST},
    {.name            = "by owners, half-iterations",
     .num_workers     = 2,
     .engine          = PSGD_ENGINE_FUSED,
     .sharing         = PSGD_SHARING_OWNERS,
     .half_iterations = 2},
    {.name        = "by owners, clipped",
     .num_workers = 2,
     .engine      = PSGD_ENGINE_FUSED,
     .sharing     = PSGD_SHARING_OWNERS,
     .is_clipped  = true},
    {.name = "lazy form", .num_workers = 2, .engine = PSGD_ENGINE_FUSED, .is_lazy = true},
    {.name = "16 bits", .num_workers = 2, .engine = PSGD_ENGINE_FUSED, .wire = PSGD_BF16},
    {.name          = "an optimizer's step",
     .num_workers   = 2,
     .engine        = PSGD_ENGINE_FUSED,
     .has_optimizer = true,
     .is_folded     = true},
    {.name = "submitted in buckets", .num_workers = 2, .engine = PSGD_ENGINE_FUSED, .is_submitted = true},
    /* In 16 bits, since only that makes nodes exchange by all_to_all. */
    {.name = "nodes, 16 bits", .num_workers = 3, .engine = PSGD_ENGINE_FUSED, .wire = PSGD_BF16, .is_on_nodes = true},
};

enum { NUM_SETUPS = sizeof(SETUPS) / sizeof(SETUPS[0]) };

/* ---- one run ---- */

typedef struct run {
    bool           is_restart; /* from the checkpoint: only what comes behind it is done */
    const setup_t *setup;
    const char    *path; /* of a checkpoint */
    psgd_status_t  statuses[MAX_WORKERS][NUM_CALLS][MAX_TRIES];
    char           sentences[MAX_WORKERS][NUM_CALLS][512]; /* of the first try */
    bool           is_poisoned[MAX_WORKERS];
    lanes_t        lanes[MAX_WORKERS]; /* of which communicators of nodes are made, until they are */
    bool           has_given_up;       /* worker 0: no nodes, or no memory even to tell the others of a fault */
    float          updates[MAX_WORKERS][NUM_STEPS][TOTAL_ELEMS]; /* or parameters, after each step */
} run_t;

/* What a worker works with. */
typedef struct actor {
    run_t          *run;
    worker_t       *worker;
    psgd_comm_t    *nodes; /* NULL: the worker's own communicator serves */
    psgd_reducer_t *reducer;
    cl_mem          mem, params, momenta;
    psgd_buffer_t   grads[NUM_TENSORS], param_buffers[NUM_TENSORS], momentum_buffers[NUM_TENSORS];
    float           values[TOTAL_ELEMS];
} actor_t;

static void ignore_line(psgd_log_level_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

/* Where it fails on one worker, nobody tells the others but the lanes, which it destroys: then there is no second attempt. */
static psgd_status_t connect_nodes(actor_t *actor)
{
    run_t        *run   = actor->run;
    lanes_t      *lanes = &run->lanes[actor->worker->index];
    psgd_status_t status =
        psgd_comm_nodes_create(lanes->up, lanes->down, lanes->leaders, DEADLINE_SECONDS, &actor->nodes);

    if (status != PSGD_OK) {
        lanes_destroy(lanes);
    }
    run->has_given_up = run->has_given_up || ((status != PSGD_OK) && (actor->worker->index == 0));
    memset(lanes, 0, sizeof(*lanes));
    return status;
}

static psgd_status_t create_reducer(actor_t *actor)
{
    const setup_t *setup = actor->run->setup;
    psgd_tensor_t  tensors[NUM_TENSORS];
    psgd_config_t  config = PSGD_CONFIG_INIT;

    tensors[0]                  = job_tensor("w", 24, 20);
    tensors[0].rank             = actor->run->is_restart ? CHANGED_RANK : 0;
    tensors[1]                  = job_tensor("b", VECTOR_ELEMS, 0);
    tensors[2]                  = job_tensor("large", 270, 250);
    tensors[2].rank             = PSGD_NEVER_COMPRESS;
    config.rank                 = 2;
    config.engine               = setup->engine;
    config.sharing              = setup->sharing;
    config.wire                 = setup->wire;
    config.half_iterations      = setup->half_iterations;
    config.gradients_are_finite = setup->is_lazy;
    config.max_norm             = setup->is_clipped ? 1.0 : 0.0;
    config.energy_every         = setup->is_clipped ? 2 : 0;
    config.check_every          = setup->is_clipped ? 1 : 0;
    config.error_dtype           = setup->is_folded ? PSGD_BF16 : PSGD_F32;
    config.orthogonalize_shorter = setup->is_folded;
    config.log                  = ignore_line;
    config.log_level            = PSGD_LOG_DEBUG; /* lines are made, too */
    config.bucket_bytes          = setup->is_submitted ? 1 : 0;
    config.deadline_seconds      = DEADLINE_SECONDS;
    config.start_step           = setup->is_lazy ? 1 : 0;
    return psgd_reducer_create(actor->worker->device->context, actor->worker->device->id, actor->worker->device->queue,
                               tensors, NUM_TENSORS, &config, actor->nodes != NULL ? actor->nodes : actor->worker->comm,
                               &actor->reducer);
}

static psgd_status_t create(actor_t *actor)
{
    const bool    needs_nodes = actor->run->setup->is_on_nodes && (actor->nodes == NULL);
    psgd_status_t status      = needs_nodes ? connect_nodes(actor) : PSGD_OK;

    return status == PSGD_OK ? create_reducer(actor) : status;
}

static psgd_status_t step_of_optimizer(actor_t *actor)
{
    psgd_optimizer_t    optimizer = PSGD_OPTIMIZER_INIT;
    psgd_step_options_t options   = PSGD_STEP_OPTIONS_INIT;

    optimizer.learning_rate = 0.1f;
    optimizer.momentum      = 0.9f;
    optimizer.params        = actor->param_buffers;
    optimizer.momenta       = actor->momentum_buffers;
    options.optimizer       = &optimizer;
    options.gradient_scale  = 0.3f;
    return psgd_reducer_step_with(actor->reducer, actor->grads, NUM_TENSORS, &options);
}

/* What fails before the wait is told to all by it. */
static psgd_status_t step_in_parts(actor_t *actor)
{
    psgd_status_t before = psgd_reducer_begin(actor->reducer, NULL), status;

    for (size_t t = NUM_TENSORS; t-- > 0;) {
        status = psgd_reducer_submit(actor->reducer, t, &actor->grads[t], 1, 0, NULL);
        before = before == PSGD_OK ? status : before;
    }
    status = psgd_reducer_poll(actor->reducer);
    before = before == PSGD_OK ? status : before;
    status = psgd_reducer_wait(actor->reducer, NULL);
    return (status == PSGD_OK) && (before != PSGD_OK)
               ? psgd_fail(PSGD_ERR_INTERNAL, "a submission failed with %s, and the wait has not",
                           psgd_status_name(before))
               : status;
}

static psgd_status_t step(actor_t *actor)
{
    if (actor->run->setup->is_submitted) {
        return step_in_parts(actor);
    }
    if (actor->run->setup->has_optimizer) {
        return step_of_optimizer(actor);
    }
    return psgd_reducer_step(actor->reducer, actor->grads, NUM_TENSORS);
}

static psgd_status_t export(actor_t *actor)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = psgd_reducer_export_state(actor->reducer, PSGD_ERROR_MEAN, &state);

    psgd_state_destroy(state);
    return status;
}

static psgd_status_t change_ranks(actor_t *actor)
{
    const uint32_t ranks[NUM_TENSORS] = {CHANGED_RANK, 0, 0};

    return psgd_reducer_set_ranks(actor->reducer, ranks, NUM_TENSORS);
}

static psgd_status_t save(actor_t *actor)
{
    return psgd_reducer_save(actor->reducer, actor->run->path, PSGD_ERROR_LOCAL);
}

static psgd_status_t load(actor_t *actor)
{
    return psgd_reducer_load(actor->reducer, actor->run->path);
}

static psgd_status_t check(actor_t *actor)
{
    const psgd_region_t region = {actor->run->setup->has_optimizer ? actor->params : actor->mem, 4,
                                  TOTAL_ELEMS * sizeof(float) - 4};

    return psgd_replica_check(actor->reducer, &region, 1);
}

typedef psgd_status_t (*call_fn)(actor_t *actor);

static const call_fn CALLS[NUM_CALLS] = {create, step, step, export, change_ranks, step, save, load, check, step};

static int step_of(call_t call)
{
    switch (call) {
    case CALL_STEP_1: return 0;
    case CALL_STEP_2: return 1;
    case CALL_STEP_3: return 2;
    case CALL_STEP_4: return 3;
    default: return -1;
    }
}

/* Fresh gradients. */
static psgd_status_t fill(actor_t *actor, int number)
{
    test_random_fill(actor->values, TOTAL_ELEMS, 50 + (uint64_t)number * MAX_WORKERS + actor->worker->index);
    return test_buffer_write(actor->worker->device, actor->mem, 0, actor->values, TOTAL_ELEMS);
}

/* Without a fault: whether this worker's reducer can still go on. */
static bool is_poisoned(actor_t *actor)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = psgd_reducer_export_state(actor->reducer, PSGD_ERROR_NONE, &state);

    psgd_state_destroy(state);
    return status == PSGD_ERR_POISONED;
}

static psgd_status_t call_once(actor_t *actor, call_t call)
{
    psgd_status_t status;

    if (actor->worker->index == 0) {
        injector_arm();
    }
    status = CALLS[call](actor);
    if (actor->worker->index == 0) {
        injector_disarm();
    }
    return status;
}

/* Until it succeeds, the reducer is poisoned, or the tries are over; the last one is without a fault. */
static psgd_status_t call_until_done(actor_t *actor, call_t call)
{
    run_t        *run    = actor->run;
    uint32_t      w      = actor->worker->index;
    psgd_status_t status = PSGD_ERR_INTERNAL;

    for (int try = 0; (try < MAX_TRIES) && (status != PSGD_OK) && !run->is_poisoned[w]; ++try) {
        if (step_of(call) >= 0) {
            worker_needs(fill(actor, step_of(call)));
        }
        if ((try == MAX_TRIES - 1) && (w == 0)) {
            injector_stop();
        }
        status                      = call_once(actor, call);
        run->statuses[w][call][try] = status;
        if ((status != PSGD_OK) && (try == 0)) {
            snprintf(run->sentences[w][call], sizeof(run->sentences[w][call]), "%s", psgd_last_error());
        }
        run->has_given_up = ((w == 0) && (status != PSGD_OK) &&
                             (strstr(psgd_last_error(), "a message to the other workers") != NULL)) ||
                            run->has_given_up;
        run->is_poisoned[w] = (status != PSGD_OK) && (actor->reducer != NULL) && is_poisoned(actor);
    }
    if ((step_of(call) >= 0) && (status == PSGD_OK)) {
        return test_buffer_read(actor->worker->device, run->setup->has_optimizer ? actor->params : actor->mem, 0,
                                run->updates[w][step_of(call)], TOTAL_ELEMS);
    }
    return PSGD_OK;
}

/* A restart makes do without what lies before the checkpoint, and with it. */
static bool is_left_out(const run_t *run, call_t call)
{
    return run->is_restart && (call != CALL_CREATE) && (call != CALL_LOAD) && (call != CALL_STEP_4);
}

static void place(psgd_buffer_t buffers[NUM_TENSORS], cl_mem mem)
{
    buffers[0] = (psgd_buffer_t){mem, 0};
    buffers[1] = (psgd_buffer_t){mem, MATRIX_ELEMS * sizeof(float)};
    buffers[2] = (psgd_buffer_t){mem, (MATRIX_ELEMS + VECTOR_ELEMS) * sizeof(float)};
}

/* Gradients; parameters and momenta, where they begin. */
static psgd_status_t create_buffers(actor_t *actor)
{
    const test_device_t *device = actor->worker->device;

    worker_needs(test_buffer_create(device, TOTAL_ELEMS, &actor->mem));
    worker_needs(test_buffer_create(device, TOTAL_ELEMS, &actor->params));
    worker_needs(test_buffer_create(device, TOTAL_ELEMS, &actor->momenta));
    worker_needs(test_buffer_write(device, actor->momenta, 0, actor->values, TOTAL_ELEMS));
    test_random_fill(actor->values, TOTAL_ELEMS, 49);
    worker_needs(test_buffer_write(device, actor->params, 0, actor->values, TOTAL_ELEMS));
    place(actor->grads, actor->mem);
    place(actor->param_buffers, actor->params);
    place(actor->momentum_buffers, actor->momenta);
    return PSGD_OK;
}

static psgd_status_t act(worker_t *worker)
{
    run_t        *run   = worker->user;
    actor_t      *actor = calloc(1, sizeof(*actor));
    psgd_status_t status;

    worker_expects(actor != NULL, "no memory");
    actor->run      = run;
    actor->worker   = worker;
    status          = create_buffers(actor);
    for (int call = 0; (call < NUM_CALLS) && (status == PSGD_OK); ++call) {
        bool was_poisoned = run->is_poisoned[worker->index];

        if ((call > CALL_CREATE) && (actor->reducer == NULL)) {
            break;
        }
        if (is_left_out(run, (call_t)call)) {
            continue;
        }
        if (was_poisoned) { /* the others hear of it; and it is said again, at once */
            run->statuses[worker->index][call][0] = call_once(actor, (call_t)call);
        } else {
            status = call_until_done(actor, (call_t)call);
        }
    }
    if (worker->index == 0) {
        injector_arm();
    }
    psgd_reducer_destroy(actor->reducer);
    psgd_comm_destroy(actor->nodes);
    if (worker->index == 0) {
        injector_disarm();
    }
    clReleaseMemObject(actor->momenta);
    clReleaseMemObject(actor->params);
    clReleaseMemObject(actor->mem);
    free(actor);
    return status;
}

/* Workers' ends are in outcomes. */
static void run_workers(run_t *run, worker_outcome_t *outcomes)
{
    if (run->setup->is_on_nodes) {
        lanes_create(&NODES, run->lanes);
    }
    workers_try(run->setup->num_workers, act, run, outcomes);
    for (uint32_t w = 0; w < run->setup->num_workers; ++w) {
        lanes_destroy(&run->lanes[w]);
    }
}

/* ---- what must hold ---- */

static bool warms_up; /* a run whose objects stay, in caches of CLBlast's and the driver's */

static const fault_t *current; /* for the handler of signals */
static const setup_t *current_setup;

static void describe(const fault_t *fault, char text[160])
{
    static const char *const kinds[NUM_FAULT_KINDS] = {"none", "allocation", "file", "opencl"};

    snprintf(text, 160, "%s: %s number %lld (%s) fails with %d%s", current_setup->name, kinds[fault->kind],
             (long long)fault->number, injector_name(), fault->code, fault->persists ? ", as all behind it" : "");
}

static void die(int number)
{
    char  text[160];
    void *frames[32];

    describe(current, text);
    fprintf(stderr, "test_faults: signal %d: %s\n", number, text);
    backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
    _exit(EXIT_FAILURE);
}

static bool is_told_in_creation(const run_t *run, uint32_t worker)
{
    bool is_told = false;

    for (int try = 0; try < MAX_TRIES; ++try) {
        is_told = is_told || (run->statuses[worker][CALL_CREATE][try] == PSGD_ERR_COMM);
    }
    return is_told;
}

/* Where there was no memory even for the vote of a creation, or for a communicator, worker 0 has given that up, and the others heard it. */
static bool gives_up_alike(const run_t *run)
{
    bool are_told = true;

    for (uint32_t w = 1; w < run->setup->num_workers; ++w) {
        are_told = are_told && is_told_in_creation(run, w);
    }
    return run->has_given_up && are_told;
}

/* Where the communicator failed, a message may still be written to, and where the driver can no longer wait for a device, whatever
 * that was given: such memory is kept. */
static bool may_keep_memory(const run_t *run, const fault_t *fault)
{
    if ((fault->kind == FAULT_OPENCL) && fault->persists) {
        return true;
    }
    for (uint32_t w = 0; w < run->setup->num_workers; ++w) {
        for (int call = 0; call < NUM_CALLS; ++call) {
            for (int try = 0; try < MAX_TRIES; ++try) {
                if (run->statuses[w][call][try] == PSGD_ERR_COMM) {
                    return true;
                }
            }
        }
    }
    return false;
}

/* What is wrong with the run; NULL: nothing. */
static const char *judge_calls(const run_t *run, char text[1024])
{
    for (int call = 0; call < NUM_CALLS; ++call) {
        const psgd_status_t first = run->statuses[0][call][0];

        if ((first != PSGD_OK) && (run->sentences[0][call][0] == '\0') && !run->is_poisoned[0]) {
            return "a failure without a sentence";
        }
        for (uint32_t w = 0; w < run->setup->num_workers; ++w) {
            if (run->statuses[w][call][0] == PSGD_ERR_TIMEOUT) {
                snprintf(text, 1024, "%s: worker %u waited until its deadline: %s", CALL_NAMES[call], w,
                         run->sentences[w][call]);
                return text;
            }
            if ((run->statuses[w][call][0] != first) && !run->is_poisoned[0] && !gives_up_alike(run)) {
                snprintf(text, 1024, "%s: worker 0 has %s (%s), worker %u has %s (%s)", CALL_NAMES[call],
                         psgd_status_name(first), run->sentences[0][call], w,
                         psgd_status_name(run->statuses[w][call][0]), run->sentences[w][call]);
                return text;
            }
        }
    }
    return NULL;
}

/* Whether all workers but worker 0 have this status. */
static bool others_have(const run_t *run, call_t call, psgd_status_t status)
{
    bool is_so = true;

    for (uint32_t w = 1; w < run->setup->num_workers; ++w) {
        is_so = is_so && (run->statuses[w][call][0] == status);
    }
    return is_so;
}

/* A reducer is poisoned by what cannot be undone or told: after the last vote on worker 0 alone, in the lazy form, where the
 * communicator itself failed, or between steps where the error memory was being written. */
static const char *judge_poison(const run_t *run, char text[1024])
{
    for (int call = CALL_STEP_1; (call < NUM_CALLS) && run->is_poisoned[0]; ++call) {
        psgd_status_t mine = run->statuses[0][call][0];

        if (mine == PSGD_OK) {
            continue;
        }
        if (run->setup->is_lazy || others_have(run, (call_t)call, PSGD_OK) ||
            others_have(run, (call_t)call, PSGD_ERR_COMM) || (step_of((call_t)call) < 0)) {
            return NULL;
        }
        snprintf(text, 1024, "%s is poisoned though all workers failed together: %s", CALL_NAMES[call],
                 run->sentences[0][call]);
        return text;
    }
    return NULL;
}

static const char *judge_updates(const run_t *run, const run_t *expected, char text[1024])
{
    if (gives_up_alike(run)) {
        return NULL;
    }
    for (uint32_t w = 0; w < run->setup->num_workers; ++w) {
        for (int step_number = 0; (step_number < NUM_STEPS) && !run->is_poisoned[0]; ++step_number) {
            if (memcmp(run->updates[w][step_number], expected->updates[w][step_number], sizeof(run->updates[0][0])) !=
                0) {
                snprintf(text, 1024, "worker %u's update of step %d is not that of a run without a fault", w,
                         step_number + 1);
                return text;
            }
        }
    }
    return NULL;
}

static void remove_files(const char *path)
{
    char name[128];

    unlink(path);
    for (unsigned number = 0; number < 8; ++number) {
        for (unsigned w = 0; w < MAX_WORKERS; ++w) {
            snprintf(name, sizeof(name), "%s.%u.%u", path, number, w);
            unlink(name);
        }
    }
}

/* For the reader of a failed run: what worker 0 was told first. */
static const char *first_failure(const run_t *run)
{
    static char text[640];

    text[0] = '\0';
    for (int call = 0; (call < NUM_CALLS) && (text[0] == '\0'); ++call) {
        if (run->statuses[0][call][0] != PSGD_OK) {
            snprintf(text, sizeof(text), "; %s: %s: %s", CALL_NAMES[call], psgd_status_name(run->statuses[0][call][0]),
                     run->sentences[0][call]);
        }
    }
    return text;
}

typedef struct tally {
    uint64_t runs, fired, poisoned, restarted, failed;
} tally_t;

/* What becomes of the checkpoint that a poisoned run has left. */
static const char *judge_restart(const run_t *run, const run_t *expected, char text[1024])
{
    static const fault_t none = {FAULT_NONE, 0, 0, false};
    worker_outcome_t     outcomes[WORKERS_MAX];
    run_t               *again = calloc(1, sizeof(*again));
    const char          *wrong = NULL;

    if (again == NULL) {
        return "no memory for a restart";
    }
    again->setup      = run->setup;
    again->path       = run->path;
    again->is_restart = true;
    injector_set(&none);
    run_workers(again, outcomes);
    for (uint32_t w = 0; (w < run->setup->num_workers) && (wrong == NULL); ++w) {
        if (again->statuses[w][CALL_STEP_4][0] != PSGD_OK) {
            snprintf(text, 1024, "worker %u's restart: %s %s %s", w, again->sentences[w][CALL_CREATE],
                     again->sentences[w][CALL_LOAD], again->sentences[w][CALL_STEP_4]);
            wrong = text;
        } else if (memcmp(again->updates[w][NUM_STEPS - 1], expected->updates[w][NUM_STEPS - 1],
                          sizeof(run->updates[0][0])) != 0) {
            snprintf(text, 1024, "after a restart worker %u's update of step %d is not that of a run without a fault",
                     w, NUM_STEPS);
            wrong = text;
        }
    }
    free(again);
    return wrong;
}

/* One run with one fault; returns whether there was such a call. */
static bool run_with(const setup_t *setup, const fault_t *fault, const run_t *expected, run_t *run, const char *path,
                     tally_t *tally)
{
    const int64_t    allocations = injector_live_allocations(), objects = injector_live_objects();
    worker_outcome_t outcomes[WORKERS_MAX];
    const char      *wrong = NULL;
    char             text[1024], what[160];
    bool             has_fired;

    memset(run, 0, sizeof(*run));
    run->setup    = setup;
    run->path     = path;
    current       = fault;
    current_setup = setup;
    injector_set(fault);
    alarm(RUN_SECONDS);
    run_workers(run, outcomes);
    alarm(0);
    describe(fault, what);
    for (uint32_t w = 0; (w < setup->num_workers) && (wrong == NULL); ++w) {
        wrong = outcomes[w].status != PSGD_OK ? outcomes[w].sentence : NULL;
    }
    wrong = wrong == NULL ? judge_calls(run, text) : wrong;
    wrong = wrong == NULL ? judge_poison(run, text) : wrong;
    wrong = (wrong == NULL) && (expected != NULL) ? judge_updates(run, expected, text) : wrong;
    if ((wrong == NULL) && !may_keep_memory(run, fault) && (injector_live_allocations() != allocations)) {
        snprintf(text, sizeof(text), "%lld allocations leaked", (long long)(injector_live_allocations() - allocations));
        wrong = text;
    }
    if ((wrong == NULL) && (injector_live_objects() != objects)) {
        snprintf(text, sizeof(text), "%lld OpenCL objects leaked", (long long)(injector_live_objects() - objects));
        wrong = text;
    }
    has_fired = injector_fired() > 0;
    /* Parameters are the caller's, and so is restoring them. */
    if ((wrong == NULL) && (expected != NULL) && run->is_poisoned[0] && !setup->has_optimizer &&
        (access(path, F_OK) == 0)) {
        wrong = judge_restart(run, expected, text);
        tally->restarted += 1;
    }
    remove_files(path);
    tally->runs += 1;
    tally->fired += has_fired ? 1 : 0;
    tally->poisoned += run->is_poisoned[0] ? 1 : 0;
    if ((wrong != NULL) && !warms_up) {
        printf("FAILED: %s: %s%s\n", what, wrong, first_failure(run));
        fflush(stdout);
        tally->failed += 1;
    }
    return has_fired;
}

/* ---- all of them ---- */

typedef struct plan {
    fault_kind_t kind;
    const char  *name;
    int          codes[8]; /* ends in 0 */
} plan_t;

/* OpenCL's: no device memory, no resources, no host memory, what a lost or confused device says, a build that fails. */
static const plan_t PLANS[] = {
    {FAULT_ALLOCATION, "allocation", {ENOMEM, 0}},
    {FAULT_FILE, "file", {ENOSPC, EIO, 0}},
    {FAULT_OPENCL, "opencl", {-5, -4, -6, -14, -36, -2, -11, 0}},
};

enum { NUM_PLANS = sizeof(PLANS) / sizeof(PLANS[0]) };

/* The command line. */
static const char *kind   = "all";
static int64_t     stride = 1, first = 1, only_setup = 0; /* 0: all setups */

/* Every stride-th call of a kind, with the codes by turns, once and from there on. */
static void run_plan(const setup_t *setup, const plan_t *plan, const char *path, tally_t *tally)
{
    run_t *expected = calloc(1, sizeof(*expected)), *run = calloc(1, sizeof(*run));
    bool   goes_on = true;
    int    turn    = 0;

    if ((expected == NULL) || (run == NULL)) {
        tally->failed += 1;
        goes_on = false;
    } else { /* twice: what is kept for later runs is there then */
        const fault_t none = {FAULT_NONE, 0, 0, false};

        warms_up = true;
        run_with(setup, &none, NULL, expected, path, &(tally_t){0});
        warms_up = false;
        run_with(setup, &none, NULL, expected, path, tally);
    }
    for (int64_t number = first; goes_on; number += stride, ++turn) {
        int codes = 0;

        while (plan->codes[codes] != 0) {
            codes += 1;
        }
        for (int persists = 0; (persists < 2) && goes_on; ++persists) {
            const fault_t fault = {plan->kind, number, plan->codes[(turn + persists) % codes], persists != 0};

            goes_on = run_with(setup, &fault, expected, run, path, tally);
        }
    }
    free(run);
    free(expected);
}

START_TEST(faults__leave_nothing_behind)
{
    const setup_t *setup       = &SETUPS[_i / NUM_PLANS];
    const plan_t  *plan        = &PLANS[_i % NUM_PLANS];
    char           directory[] = "/tmp/psgd-faults-XXXXXX", path[64];
    tally_t        tally       = {0};

    if (((strcmp(kind, "all") != 0) && (strcmp(kind, plan->name) != 0)) ||
        ((only_setup != 0) && (setup != &SETUPS[only_setup - 1]))) {
        return;
    }
    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/run", directory);
    run_plan(setup, plan, path, &tally);
    rmdir(directory);
    printf("%s, %s: %llu runs, a fault in %llu, %llu poisoned, %llu of them restarted from a checkpoint, %llu wrong\n",
           setup->name, plan->name, (unsigned long long)tally.runs, (unsigned long long)tally.fired,
           (unsigned long long)tally.poisoned, (unsigned long long)tally.restarted, (unsigned long long)tally.failed);
    fflush(stdout);
    ck_assert_uint_gt(tally.fired, 0);
    ck_assert_uint_eq(tally.failed, 0);
}
END_TEST

/* A self-test in which a call fails says so, or passes all the same where it could do without. Its programs stay in the layer that compiles
 * once: OpenCL's objects are not compared. */
static bool test_device_with(const plan_t *plan, const fault_t *fault, uint64_t *wrong)
{
    const int64_t   allocations = injector_live_allocations();
    cl_device_id    device      = workers_device(0)->id;
    psgd_selftest_t found       = PSGD_SELFTEST_INIT;
    psgd_status_t   status;
    bool            has_fired;

    injector_set(fault);
    injector_arm();
    status = psgd_device_selftest(device, &found);
    injector_disarm();
    has_fired = injector_fired() > 0;
    injector_stop();
    if ((found.passed != (status == PSGD_OK)) || ((status != PSGD_OK) && (psgd_last_error()[0] == '\0')) ||
        (injector_live_allocations() != allocations)) {
        printf("FAILED: the self-test: %s number %lld (%s) fails with %d: %s, passed %d, %lld allocations leaked\n",
               plan->name, (long long)fault->number, injector_name(), fault->code, psgd_status_name(status),
               found.passed, (long long)(injector_live_allocations() - allocations));
        *wrong += 1;
    }
    return has_fired;
}

START_TEST(faults__of_a_selftest_are_told)
{
    const plan_t *plan  = &PLANS[_i];
    uint64_t      wrong = 0;
    const int64_t step  = (stride + 9) / 10; /* a self-test is short */
    int64_t       number;

    if (((strcmp(kind, "all") != 0) && (strcmp(kind, plan->name) != 0)) || (only_setup > 1)) {
        return;
    }
    test_device_with(plan, &(fault_t){FAULT_NONE, 0, 0, false}, &wrong); /* what is kept for later is there then */
    for (number = 1; test_device_with(plan, &(fault_t){plan->kind, number, plan->codes[0], false}, &wrong);
         number += step) {
    }
    printf("the self-test, %s: faults up to call %lld, %llu wrong\n", plan->name, (long long)number,
           (unsigned long long)wrong);
    fflush(stdout);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(faults__have_their_layer)
{
    for (uint32_t w = 0; w < MAX_WORKERS; ++w) {
        workers_device(w); /* the loader opens its layers, and what devices allocate is no leak of a run's */
    }
    ck_assert_msg(injector_open(), "OPENCL_LAYERS does not name the fault layer");
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("faults");
    TCase *tcase = tcase_create("one after the other");
    int    result;

    kind   = argc > 1 ? argv[1] : kind;
    stride = argc > 2 ? atoll(argv[2]) : stride;
    first  = argc > 3 ? atoll(argv[3]) : first;
    only_setup = argc > 4 ? atoll(argv[4]) : only_setup;
    if ((stride < 1) || (first < 1) || (only_setup < 0) || (only_setup > NUM_SETUPS)) {
        fprintf(stderr, "usage: test_faults [allocation|file|opencl|all [STRIDE [FIRST [SETUP]]]]    SETUP: 1 to %d\n",
                NUM_SETUPS);
        return 2;
    }
    signal(SIGSEGV, die);
    signal(SIGABRT, die);
    signal(SIGALRM, die);
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, faults__have_their_layer);
    tcase_add_loop_test(tcase, faults__of_a_selftest_are_told, 0, NUM_PLANS);
    tcase_add_loop_test(tcase, faults__leave_nothing_behind, 0, NUM_SETUPS * NUM_PLANS);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
