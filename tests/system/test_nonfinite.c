/* NaN, Inf and overflow: on any one worker, in any tensor, in every kind of step. All workers end the step with PSGD_ERR_NONFINITE, nothing
 * has changed, and what follows has the bits of a run that never had such a gradient. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum {
    NUM_WORKERS = 3,
    NUM_TENSORS = 4,
    GOOD_STEPS  = 3,
    FIRST_ELEMS = 24 * 20,
    OTHER_ELEMS = 30 * 17,
    SMALL_ELEMS = 5,
    LARGE_ELEMS = 270 * 250,
    TOTAL_ELEMS = FIRST_ELEMS + OTHER_ELEMS + SMALL_ELEMS + LARGE_ELEMS
};

/* ---- the kinds of steps ---- */

typedef struct setup {
    const char *name;
    void (*configure)(psgd_config_t *config);
} setup_t;

static void as_it_is(psgd_config_t *config)
{
    config->engine = PSGD_ENGINE_FUSED;
}

static void by_clblast(psgd_config_t *config)
{
    config->engine = PSGD_ENGINE_CLBLAST;
}

static void by_owners(psgd_config_t *config)
{
    config->sharing = PSGD_SHARING_OWNERS;
}

static void without_feedback(psgd_config_t *config)
{
    config->error_feedback = 0;
}

static void from_a_new_q(psgd_config_t *config)
{
    config->warm_start = 0;
}

static void by_half_iterations(psgd_config_t *config)
{
    config->half_iterations = 3;
}

static void by_half_iterations_of_owners(psgd_config_t *config)
{
    config->half_iterations = 2;
    config->sharing         = PSGD_SHARING_OWNERS;
}

static void on_a_bf16_wire(psgd_config_t *config)
{
    config->wire = PSGD_BF16;
}

static void on_an_f16_wire(psgd_config_t *config)
{
    config->wire = PSGD_F16;
}

static void with_bf16_errors(psgd_config_t *config)
{
    config->error_dtype = PSGD_BF16;
}

static void clipped(psgd_config_t *config)
{
    config->max_norm = 1.0;
}

static void measured(psgd_config_t *config)
{
    config->energy_every = 1;
    config->check_every  = 1;
}

static void flattened(psgd_config_t *config)
{
    config->flatten = 1;
}

static void plain(psgd_config_t *config)
{
    config->start_step = 1000;
}

static const setup_t SETUPS[] = {
    {"default", as_it_is},
    {"clblast", by_clblast},
    {"owners", by_owners},
    {"no feedback", without_feedback},
    {"cold start", from_a_new_q},
    {"half-iterations", by_half_iterations},
    {"half-iterations by owners", by_half_iterations_of_owners},
    {"bf16 wire", on_a_bf16_wire},
    {"f16 wire", on_an_f16_wire},
    {"bf16 errors", with_bf16_errors},
    {"clipped", clipped},
    {"measured", measured},
    {"flattened", flattened},
    {"plain", plain},
};

enum { NUM_SETUPS = sizeof(SETUPS) / sizeof(SETUPS[0]) };

/* ---- the bad gradients ---- */

typedef struct bad {
    const char *name;
    size_t      begin, elems; /* of the gradient */
    float       value;
    bool        is_on_all;     /* only their sum is not finite */
    bool        needs_factors; /* the gradient and its sum are finite */
} bad_t;

static const bad_t BAD[] = {
    {"NaN in the first matrix", 77, 1, NAN, false, false},
    {"Inf in another matrix", FIRST_ELEMS + 13, 1, INFINITY, false, false},
    {"-Inf in a small tensor", FIRST_ELEMS + OTHER_ELEMS + 2, 1, -INFINITY, false, false},
    {"NaN in a large tensor", TOTAL_ELEMS - 1, 1, NAN, false, false},
    {"NaN all over", 0, TOTAL_ELEMS, NAN, false, false},
    {"a matrix whose factors overflow", 0, FIRST_ELEMS, FLT_MAX, false, true},
    {"a sum that overflows", FIRST_ELEMS + OTHER_ELEMS, 1, FLT_MAX, true, false},
    {"a large sum that overflows", TOTAL_ELEMS - 9, 1, FLT_MAX, true, false},
};

enum { NUM_BAD = sizeof(BAD) / sizeof(BAD[0]) };

/* ---- a run ---- */

typedef struct run {
    const setup_t *setup;
    bool           has_bad_steps; /* behind each good one but the last: all of BAD, on every worker in turn */
    float          updates[NUM_WORKERS][GOOD_STEPS][TOTAL_ELEMS];
    psgd_stats_t   stats[NUM_WORKERS];
} run_t;

static void ignore_line(psgd_log_level_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

static psgd_status_t create(worker_t *worker, psgd_reducer_t **reducer_p)
{
    const run_t  *run    = worker->user;
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_tensor_t tensors[NUM_TENSORS];

    tensors[0]              = job_tensor("first", 24, 20);
    tensors[1]              = job_tensor("other", 30, 17);
    tensors[2]              = job_tensor("small", SMALL_ELEMS, 0);
    tensors[3]              = job_tensor("large", 270, 250);
    tensors[3].rank         = PSGD_NEVER_COMPRESS;
    config.rank             = 2;
    config.engine           = PSGD_ENGINE_FUSED;
    config.deadline_seconds = 120.0;
    config.log              = ignore_line;
    run->setup->configure(&config);
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, tensors, NUM_TENSORS,
                               &config, worker->comm, reducer_p);
}

static psgd_status_t step(worker_t *worker, psgd_reducer_t *reducer, cl_mem mem, float *values)
{
    psgd_buffer_t grads[NUM_TENSORS] = {{mem, 0},
                                        {mem, FIRST_ELEMS * sizeof(float)},
                                        {mem, (FIRST_ELEMS + OTHER_ELEMS) * sizeof(float)},
                                        {mem, (FIRST_ELEMS + OTHER_ELEMS + SMALL_ELEMS) * sizeof(float)}};
    psgd_status_t status;

    worker_needs(test_buffer_write(worker->device, mem, 0, values, TOTAL_ELEMS));
    status = psgd_reducer_step(reducer, grads, NUM_TENSORS);
    if (status == PSGD_OK) {
        worker_needs(test_buffer_read(worker->device, mem, 0, values, TOTAL_ELEMS));
    }
    return status;
}

/* All workers hear of it, in the same words but for "here". */
static psgd_status_t bad_step(worker_t *worker, psgd_reducer_t *reducer, cl_mem mem, const bad_t *bad, uint32_t where)
{
    float        *values = calloc(TOTAL_ELEMS, sizeof(*values));
    char          named[24];
    psgd_status_t status;

    worker_expects(values != NULL, "no memory for a gradient");
    test_random_fill(values, TOTAL_ELEMS, 900 + worker->index);
    for (size_t i = 0; (bad->is_on_all || (worker->index == where)) && (i < bad->elems); ++i) {
        values[bad->begin + i] = bad->value;
    }
    status = step(worker, reducer, mem, values);
    free(values);
    worker_expects(status == PSGD_ERR_NONFINITE, "%s on worker %u: %s", bad->name, where, psgd_status_name(status));
    snprintf(named, sizeof(named), "worker %u", where);
    worker_expects((strstr(psgd_last_error(), named) != NULL) || (strstr(psgd_last_error(), "overflow") != NULL),
                   "%s on worker %u: %s", bad->name, where, psgd_last_error());
    return PSGD_OK;
}

/* In how many places a run has it: on each worker in turn, or on all together. */
static uint32_t places_of(const bad_t *bad, const setup_t *setup)
{
    if (bad->needs_factors && (setup->configure == plain)) {
        return 0;
    }
    return bad->is_on_all ? 1 : NUM_WORKERS;
}

static psgd_status_t bad_steps(worker_t *worker, psgd_reducer_t *reducer, cl_mem mem)
{
    const run_t *run = worker->user;

    for (int b = 0; b < NUM_BAD; ++b) {
        for (uint32_t where = 0; where < places_of(&BAD[b], run->setup); ++where) {
            worker_needs(bad_step(worker, reducer, mem, &BAD[b], where));
        }
    }
    return PSGD_OK;
}

static uint64_t count_bad_steps(const setup_t *setup)
{
    uint64_t count = 0;

    for (int b = 0; b < NUM_BAD; ++b) {
        count += (GOOD_STEPS - 1) * places_of(&BAD[b], setup);
    }
    return count;
}

static psgd_status_t act(worker_t *worker)
{
    run_t          *run     = worker->user;
    psgd_reducer_t *reducer = NULL;
    cl_mem          mem     = NULL;

    worker_needs(test_buffer_create(worker->device, TOTAL_ELEMS, &mem));
    worker_needs(create(worker, &reducer));
    for (int number = 0; number < GOOD_STEPS; ++number) {
        float *update = run->updates[worker->index][number];

        test_random_fill(update, TOTAL_ELEMS, 40 + (uint64_t)number * NUM_WORKERS + worker->index);
        worker_needs(step(worker, reducer, mem, update));
        if (run->has_bad_steps && (number < GOOD_STEPS - 1)) {
            worker_needs(bad_steps(worker, reducer, mem));
        }
    }
    run->stats[worker->index] = (psgd_stats_t)PSGD_STATS_INIT;
    worker_needs(psgd_reducer_get_stats(reducer, &run->stats[worker->index]));
    psgd_reducer_destroy(reducer);
    clReleaseMemObject(mem);
    return PSGD_OK;
}

static run_t *run_setup(const setup_t *setup, bool has_bad_steps)
{
    run_t *run = calloc(1, sizeof(*run));

    ck_assert_ptr_nonnull(run);
    run->setup         = setup;
    run->has_bad_steps = has_bad_steps;
    workers_run(NUM_WORKERS, act, run);
    return run;
}

START_TEST(step__with_a_number_that_is_not_finite_has_not_happened)
{
    const setup_t *setup = &SETUPS[_i];
    run_t         *clean = run_setup(setup, false), *run = run_setup(setup, true);

    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        for (int number = 0; number < GOOD_STEPS; ++number) {
            ck_assert_msg(memcmp(run->updates[w][number], clean->updates[w][number], sizeof(run->updates[0][0])) == 0,
                          "%s: worker %u's update of step %d is another one", setup->name, w, number);
        }
        ck_assert_uint_eq(run->stats[w].steps, GOOD_STEPS);
        ck_assert_uint_eq(run->stats[w].skipped_steps, count_bad_steps(setup));
    }
    free(run);
    free(clean);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nonfinite");
    TCase *tcase = tcase_create("kinds of steps");
    int    result;

    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, step__with_a_number_that_is_not_finite_has_not_happened, 0, NUM_SETUPS);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
