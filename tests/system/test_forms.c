/* The two forms of a step: the default one, which happens on all workers or on none, and the lazy one
 * (config.gradients_are_finite), whose updates have the same bits and whose failures poison. In both engines. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/variants.h"
#include "support/workers.h"

enum { WORKERS = 2, NUM_ENGINES = 2 };

static const psgd_engine_t ENGINES[NUM_ENGINES] = {PSGD_ENGINE_CLBLAST, PSGD_ENGINE_FUSED};

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static job_t form_job(psgd_engine_t engine, int gradients_are_finite)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers                 = WORKERS;
    job.num_steps                   = 5;
    job.config.engine               = engine;
    job.config.gradients_are_finite = gradients_are_finite;
    return job;
}

/* Both jobs end with the same bits of updates in every step, and with the same error memory after the last. */
static void assert_jobs_agree(const job_t *a, const job_t *b)
{
    job_record_t a_records[WORKERS_MAX], b_records[WORKERS_MAX];

    job_run(a, a_records);
    job_run(b, b_records);
    job_assert_equal_updates(a, a_records);
    for (uint32_t w = 0; w < a->num_workers; ++w) {
        job_assert_same_updates(&a_records[w], &b_records[w]);
        for (uint32_t step = 0; step < a->num_steps; ++step) {
            if ((step + 1 == a->num_steps) || (!a->exports_last_alone && !b->exports_last_alone)) {
                job_assert_equal_errors(&a_records[w], step, &b_records[w], step);
            }
        }
    }
    job_records_free(a, a_records);
    job_records_free(b, b_records);
}

/* --- the same bits ------------------------------------------------------------------------------------------------ */

/* What a job may be asked for beside its form. */
static const struct {
    int      error_feedback;
    int      warm_start;
    uint64_t start_step;
    uint32_t num_workers;
} options[] = {{1, 1, 0, 2}, {1, 0, 0, 2}, {1, 1, 2, 3}, {0, 1, 0, 2}, {0, 0, 1, 1}, {1, 1, 0, 1}};

enum { NUM_OPTIONS = sizeof(options) / sizeof(options[0]) };

START_TEST(forms__give_the_same_bits)
{
    job_t defaults = form_job(ENGINES[_i % NUM_ENGINES], 0), lazy;
    int   option   = _i / NUM_ENGINES;

    defaults.num_workers             = options[option].num_workers;
    defaults.config.error_feedback   = options[option].error_feedback;
    defaults.config.warm_start       = options[option].warm_start;
    defaults.config.start_step       = options[option].start_step;
    lazy                             = defaults;
    lazy.config.gradients_are_finite = 1;
    assert_jobs_agree(&defaults, &lazy);
    lazy.exports_last_alone = true;
    assert_jobs_agree(&defaults, &lazy);
}
END_TEST

/* An export between steps settles the error memory of the lazy form, and changes no bit of what follows. */
START_TEST(lazy__an_export_after_every_step_changes_nothing)
{
    job_t often = form_job(ENGINES[_i], 1), once = often;

    once.exports_last_alone = true;
    assert_jobs_agree(&often, &once);
}
END_TEST

static psgd_status_t export_mean(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *state = NULL;

    (void)job;
    (void)worker;
    (void)step;
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_MEAN, &state));
    psgd_state_destroy(state);
    return PSGD_OK;
}

START_TEST(lazy__an_export_of_the_mean_changes_nothing)
{
    job_t never = form_job(ENGINES[_i], 1), always;

    never.exports_last_alone = true;
    always                   = never;
    always.after_step        = export_mean;
    assert_jobs_agree(&never, &always);
}
END_TEST

/* Error memories of one's own for two tensors, before steps 1 and 3. */
static psgd_status_t import_errors(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    static const size_t TENSORS[] = {0, 4};
    psgd_state_t       *state     = NULL;
    psgd_status_t       status    = PSGD_OK;

    if (step % 2 == 0) {
        return PSGD_OK;
    }
    worker_needs(psgd_state_create(&state));
    for (size_t i = 0; (i < 2) && (status == PSGD_OK); ++i) {
        const psgd_tensor_t *tensor = &job->tensors[TENSORS[i]];
        uint64_t             elems  = tensor->dims[0] * tensor->dims[1];
        float               *values = malloc(elems * sizeof(*values));

        worker_expects(values != NULL, "no memory for an error memory");
        test_random_fill(values, elems, 9000 + step * 10 + worker + 100 * i);
        status = psgd_state_set_error(state, tensor->name, elems, values);
        free(values);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

START_TEST(lazy__imported_errors_are_those_of_the_default_form)
{
    job_t        defaults = form_job(ENGINES[_i], 0), lazy, untouched = defaults;
    job_record_t with[WORKERS_MAX], without[WORKERS_MAX];

    defaults.before_step             = import_errors;
    lazy                             = defaults;
    lazy.config.gradients_are_finite = 1;
    lazy.exports_last_alone          = true;
    assert_jobs_agree(&defaults, &lazy);

    job_run(&defaults, with); /* and they matter */
    job_run(&untouched, without);
    ck_assert_mem_ne(job_update(&with[0], 1), job_update(&without[0], 1), with[0].total_elems * sizeof(float));
    job_records_free(&defaults, with);
    job_records_free(&untouched, without);
}
END_TEST

/* --- a state from one form into the other ------------------------------------------------------------------------- */

typedef struct continuation {
    uint32_t            begin;
    const psgd_state_t *states[WORKERS_MAX]; /* imported before the first step; NULL: none */
} continuation_t;

static void give_continued_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    const continuation_t *continuation = job->user;

    test_random_fill(gradient, job_total_elems(job), 500 + (step + continuation->begin) * 10 + worker);
}

static psgd_status_t import_state(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const continuation_t *continuation = job->user;

    return (step > 0) || (continuation->begin == 0) ? PSGD_OK
                                                    : psgd_reducer_import_state(reducer, continuation->states[worker]);
}

static job_t continued_job(continuation_t *continuation, psgd_engine_t engine, int gradients_are_finite,
                           uint32_t num_steps)
{
    job_t job = form_job(engine, gradients_are_finite);

    job.num_steps          = num_steps;
    job.exports_last_alone = true;
    job.give_gradient      = give_continued_gradient;
    job.before_step        = import_state;
    job.user               = continuation;
    return job;
}

/* Three steps in one form, three more in the other or the same: as six steps of the default form. */
START_TEST(state__of_one_form_continues_in_the_other_with_the_same_bits)
{
    enum { HALF = 3 };

    psgd_engine_t  engine     = ENGINES[_i / 4];
    continuation_t from_start = {0, {NULL}}, from_half = {HALF, {NULL}};
    job_t          whole  = continued_job(&from_start, engine, 0, 2 * HALF);
    job_t          first  = continued_job(&from_start, engine, _i % 2, HALF);
    job_t          second = continued_job(&from_half, engine, (_i / 2) % 2, HALF);
    job_record_t   whole_records[WORKERS_MAX], first_records[WORKERS_MAX], second_records[WORKERS_MAX];

    job_run(&whole, whole_records);
    job_run(&first, first_records);
    for (uint32_t w = 0; w < WORKERS; ++w) {
        from_half.states[w] = first_records[w].last_state;
    }
    job_run(&second, second_records);
    for (uint32_t w = 0; w < WORKERS; ++w) {
        for (uint32_t step = 0; step < HALF; ++step) {
            job_assert_same_update(&whole_records[w], step, &first_records[w], step);
            job_assert_same_update(&whole_records[w], HALF + step, &second_records[w], step);
        }
        job_assert_equal_errors(&whole_records[w], 2 * HALF - 1, &second_records[w], HALF - 1);
    }
    job_records_free(&whole, whole_records);
    job_records_free(&first, first_records);
    job_records_free(&second, second_records);
}
END_TEST

/* --- where gradients lie ------------------------------------------------------------------------------------------ */

/* More matrices than one launch reaches buffers (16), of several shapes, and vectors between them. */
enum { MANY_TENSORS = 37 };

static void describe_many(psgd_tensor_t tensors[MANY_TENSORS])
{
    static const uint64_t SHAPES[5][2] = {{24, 20}, {33, 17}, {24, 20}, {9, 0}, {16, 45}};
    static char           names[MANY_TENSORS][16];

    for (size_t t = 0; t < MANY_TENSORS; ++t) {
        snprintf(names[t], sizeof(names[t]), "tensor%zu", t);
        tensors[t] = job_tensor(names[t], SHAPES[t % 5][0], SHAPES[t % 5][1]);
    }
}

START_TEST(gradients__in_buffers_that_change_from_step_to_step_give_the_same_bits)
{
    psgd_tensor_t tensors[MANY_TENSORS];
    job_t         job = form_job(ENGINES[_i % NUM_ENGINES], _i / NUM_ENGINES);
    job_record_t  one[WORKERS_MAX], changing[WORKERS_MAX];

    describe_many(tensors);
    job.tensors     = tensors;
    job.num_tensors = MANY_TENSORS;
    job.config.rank = 2;
    job_run(&job, one);
    ck_assert_uint_gt(one[0].stats[0].num_compressed_tensors, 16);
    job.memory = JOB_CHANGING_BUFFERS;
    job_run(&job, changing);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        job_assert_same_bits(&one[w], &changing[w]);
    }
    job_records_free(&job, one);
    job_records_free(&job, changing);
}
END_TEST

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* A run in which one step goes wrong; its gradients are left out of the undisturbed run that it is compared to. */
enum { ROWS = 40, COLS = 56, VECTOR = 11, LARGE = 70000, ELEMS = ROWS * COLS + VECTOR + LARGE, STEPS = 5, TENSORS = 3 };

/* Where in the gradient the bad value is. */
enum { IN_WEIGHT = 17, IN_VECTOR = ROWS * COLS + 3, IN_LARGE = ROWS * COLS + VECTOR + 12345 };

typedef struct trial {
    psgd_engine_t engine;
    int           gradients_are_finite;
    uint64_t      start_step;
    int           bad_step;      /* -1: none */
    bool          is_wrong_call; /* the last worker passes NULL in the bad step */
    size_t        bad_place;
    float         bad_value;      /* of the last worker's gradient, unless is_wrong_call */
    bool          on_all_workers; /* the bad value */
    int           left_out;       /* the gradients of this step are left out, those behind it move up; -1: none */

    psgd_status_t statuses[WORKERS_MAX][STEPS];
    char          sentences[WORKERS_MAX][STEPS][512];
    float        *updates[WORKERS_MAX][STEPS];
    psgd_stats_t  stats[WORKERS_MAX];
    psgd_status_t export_status[WORKERS_MAX]; /* after the last step */
} trial_t;

static void ignore_line(psgd_log_level_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

static trial_t plan_trial(psgd_engine_t engine, int gradients_are_finite)
{
    trial_t trial;

    memset(&trial, 0, sizeof(trial));
    trial.engine               = engine;
    trial.gradients_are_finite = gradients_are_finite;
    trial.bad_step             = -1;
    trial.left_out             = -1;
    return trial;
}

static void trial_free(trial_t *trial)
{
    for (int w = 0; w < WORKERS_MAX; ++w) {
        for (int step = 0; step < STEPS; ++step) {
            free(trial->updates[w][step]);
        }
    }
}

static void try_step(trial_t *trial, const worker_t *worker, int step, psgd_reducer_t *reducer)
{
    bool   moves_up = (trial->left_out >= 0) && (step >= trial->left_out);
    bool   is_last  = worker->index + 1 == worker->count;
    float *values   = trial->updates[worker->index][step];
    float *grads[TENSORS];

    test_random_fill(values, ELEMS, 100 + (uint64_t)(step + (moves_up ? 1 : 0)) * WORKERS_MAX + worker->index);
    grads[0] = values;
    grads[1] = values + ROWS * COLS;
    grads[2] = values + ROWS * COLS + VECTOR;
    if ((step == trial->bad_step) && trial->is_wrong_call && is_last) {
        grads[1] = NULL;
    }
    if ((step == trial->bad_step) && !trial->is_wrong_call && (is_last || trial->on_all_workers)) {
        values[trial->bad_place] = trial->bad_value;
    }
    trial->statuses[worker->index][step] = psgd_reducer_step_host(reducer, grads, TENSORS);
    if (trial->statuses[worker->index][step] != PSGD_OK) {
        snprintf(trial->sentences[worker->index][step], sizeof(trial->sentences[0][0]), "%s", psgd_last_error());
    }
}

static psgd_status_t run_trial(worker_t *worker)
{
    trial_t        *trial            = worker->user;
    psgd_config_t   config           = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer          = NULL;
    psgd_state_t   *state            = NULL;
    psgd_tensor_t   tensors[TENSORS] = {job_tensor("weight", ROWS, COLS), job_tensor("vector", VECTOR, 0),
                                        job_tensor("large", LARGE, 0)};

    config.engine               = trial->engine;
    config.gradients_are_finite = trial->gradients_are_finite;
    config.start_step           = trial->start_step;
    config.deadline_seconds     = 240.0;
    config.log                  = ignore_line;
    trial->stats[worker->index] = (psgd_stats_t)PSGD_STATS_INIT;
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, tensors,
                                     TENSORS, &config, worker->comm, &reducer));
    for (int step = 0; step < STEPS; ++step) {
        trial->updates[worker->index][step] = malloc(ELEMS * sizeof(float));
        worker_expects(trial->updates[worker->index][step] != NULL, "no memory for a gradient");
        try_step(trial, worker, step, reducer);
    }
    trial->export_status[worker->index] = psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &state);
    psgd_state_destroy(state);
    worker_needs(psgd_reducer_get_stats(reducer, &trial->stats[worker->index]));
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

static void assert_all_end_with(const trial_t *trial, uint32_t num_workers, int step, psgd_status_t status,
                                const char *words)
{
    for (uint32_t w = 0; w < num_workers; ++w) {
        ck_assert_msg(trial->statuses[w][step] == status, "%s, finite %d, worker %u, step %d: %s (%s)",
                      psgd_engine_name(trial->engine), trial->gradients_are_finite, w, step,
                      psgd_status_name(trial->statuses[w][step]), trial->sentences[w][step]);
        ck_assert_msg(strstr(trial->sentences[w][step], words) != NULL, "worker %u, step %d: '%s' is not in: %s", w,
                      step, words, trial->sentences[w][step]);
    }
}

/* The bad step ended so, and every later call says that the reducer is poisoned, and why. */
static void assert_poisoned(const trial_t *trial, uint32_t num_workers, psgd_status_t status, const char *words)
{
    for (int step = 0; step < trial->bad_step; ++step) {
        assert_all_end_with(trial, num_workers, step, PSGD_OK, "");
    }
    assert_all_end_with(trial, num_workers, trial->bad_step, status, words);
    for (int step = trial->bad_step + 1; step < STEPS; ++step) {
        assert_all_end_with(trial, num_workers, step, PSGD_ERR_POISONED, "gradients_are_finite");
        assert_all_end_with(trial, num_workers, step, PSGD_ERR_POISONED, psgd_status_name(status));
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        ck_assert_int_eq(trial->export_status[w], PSGD_ERR_POISONED);
        ck_assert_uint_eq(trial->stats[w].steps, (uint64_t)trial->bad_step);
    }
}

/* The bad step ended so, and has not happened: the others are as in a run without it. */
static void assert_has_not_happened(const trial_t *trial, uint32_t num_workers, psgd_status_t status, const char *words)
{
    trial_t clean = plan_trial(trial->engine, trial->gradients_are_finite);

    clean.start_step = trial->start_step;
    clean.left_out   = trial->bad_step;
    workers_run(num_workers, run_trial, &clean);
    for (int step = 0; step < STEPS; ++step) {
        int clean_step = step > trial->bad_step ? step - 1 : step;

        if (step == trial->bad_step) {
            assert_all_end_with(trial, num_workers, step, status, words);
            continue;
        }
        assert_all_end_with(trial, num_workers, step, PSGD_OK, "");
        for (uint32_t w = 0; w < num_workers; ++w) {
            ck_assert_msg(memcmp(trial->updates[w][step], clean.updates[w][clean_step], ELEMS * sizeof(float)) == 0,
                          "%s, finite %d, worker %u: step %d differs", psgd_engine_name(trial->engine),
                          trial->gradients_are_finite, w, step);
        }
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        ck_assert_int_eq(trial->export_status[w], PSGD_OK);
        ck_assert_uint_eq(trial->stats[w].steps, STEPS - 1);
    }
    trial_free(&clean);
}

static const struct {
    size_t place;
    float  value;
    bool   on_all_workers;
} bad_values[] = {{IN_WEIGHT, (float)NAN, false},
                  {IN_VECTOR, (float)INFINITY, false},
                  {IN_LARGE, (float)NAN, false},
                  {IN_VECTOR, FLT_MAX, true}}; /* each is finite, their sum is not */

enum { NUM_BAD_VALUES = sizeof(bad_values) / sizeof(bad_values[0]) };

START_TEST(lazy__a_gradient_that_is_not_finite_poisons_all_workers)
{
    psgd_engine_t engine = ENGINES[_i % NUM_ENGINES];
    int           bad    = _i / NUM_ENGINES;

    for (int bad_step = 0; bad_step <= 2; bad_step += 2) {
        trial_t trial = plan_trial(engine, 1);

        trial.bad_step       = bad_step;
        trial.bad_place      = bad_values[bad].place;
        trial.bad_value      = bad_values[bad].value;
        trial.on_all_workers = bad_values[bad].on_all_workers;
        workers_run(WORKERS, run_trial, &trial);
        assert_poisoned(&trial, WORKERS, PSGD_ERR_NONFINITE, trial.on_all_workers ? "overflowed" : "worker 1");
        ck_assert_uint_eq(trial.stats[0].skipped_steps, 1);
        trial_free(&trial);
    }
}
END_TEST

START_TEST(lazy__a_gradient_that_is_not_finite_poisons_a_worker_alone)
{
    trial_t trial = plan_trial(ENGINES[_i], 1);

    trial.bad_step  = 1;
    trial.bad_place = IN_WEIGHT;
    trial.bad_value = (float)NAN;
    workers_run(1, run_trial, &trial);
    assert_poisoned(&trial, 1, PSGD_ERR_NONFINITE, "gradients_are_finite");
    trial_free(&trial);
}
END_TEST

START_TEST(default__a_gradient_that_is_not_finite_poisons_nobody)
{
    trial_t trial = plan_trial(ENGINES[_i], 0);

    trial.bad_step  = 2;
    trial.bad_place = IN_WEIGHT;
    trial.bad_value = (float)NAN;
    workers_run(WORKERS, run_trial, &trial);
    assert_has_not_happened(&trial, WORKERS, PSGD_ERR_NONFINITE, "worker 1");
    trial_free(&trial);
}
END_TEST

/* Without an error memory there is nothing that could not be undone. */
START_TEST(lazy__plain_steps_fail_as_in_the_default_form)
{
    trial_t trial = plan_trial(ENGINES[_i], 1);

    trial.start_step = 3;
    trial.bad_step   = 1;
    trial.bad_place  = IN_WEIGHT;
    trial.bad_value  = (float)NAN;
    workers_run(WORKERS, run_trial, &trial);
    assert_has_not_happened(&trial, WORKERS, PSGD_ERR_NONFINITE, "worker 1");
    trial_free(&trial);
}
END_TEST

START_TEST(lazy__a_wrong_call_of_a_worker_alone_has_not_happened)
{
    trial_t trial = plan_trial(ENGINES[_i % NUM_ENGINES], 1);

    trial.bad_step      = _i / NUM_ENGINES;
    trial.is_wrong_call = true;
    workers_run(1, run_trial, &trial);
    assert_has_not_happened(&trial, 1, PSGD_ERR_INVALID_ARGUMENT, "'vector' is NULL");
    trial_free(&trial);
}
END_TEST

START_TEST(lazy__a_wrong_call_of_one_worker_poisons_all)
{
    trial_t trial = plan_trial(ENGINES[_i], 1);

    trial.bad_step      = 2;
    trial.is_wrong_call = true;
    workers_run(WORKERS, run_trial, &trial);
    assert_poisoned(&trial, WORKERS, PSGD_ERR_INVALID_ARGUMENT, "worker 1 (invalid argument)");
    trial_free(&trial);
}
END_TEST

START_TEST(default__a_wrong_call_of_one_worker_poisons_nobody)
{
    trial_t trial = plan_trial(ENGINES[_i], 0);

    trial.bad_step      = 2;
    trial.is_wrong_call = true;
    workers_run(WORKERS, run_trial, &trial);
    assert_has_not_happened(&trial, WORKERS, PSGD_ERR_INVALID_ARGUMENT, "worker 1 (invalid argument)");
    trial_free(&trial);
}
END_TEST

int main(void)
{
    Suite *suite    = suite_create("forms");
    TCase *bits     = tcase_create("bits");
    TCase *failures = tcase_create("failures");
    int    result;

    job_model(model);
    tcase_set_timeout(bits, 0);
    tcase_add_loop_test(bits, forms__give_the_same_bits, 0, NUM_OPTIONS * NUM_ENGINES);
    tcase_add_loop_test(bits, lazy__an_export_after_every_step_changes_nothing, 0, NUM_ENGINES);
    tcase_add_loop_test(bits, lazy__an_export_of_the_mean_changes_nothing, 0, NUM_ENGINES);
    tcase_add_loop_test(bits, lazy__imported_errors_are_those_of_the_default_form, 0, NUM_ENGINES);
    tcase_add_loop_test(bits, state__of_one_form_continues_in_the_other_with_the_same_bits, 0, 4 * NUM_ENGINES);
    tcase_add_loop_test(bits, gradients__in_buffers_that_change_from_step_to_step_give_the_same_bits, 0,
                        2 * NUM_ENGINES);
    suite_add_tcase(suite, bits);
    tcase_set_timeout(failures, 0);
    tcase_add_loop_test(failures, lazy__a_gradient_that_is_not_finite_poisons_all_workers, 0,
                        NUM_BAD_VALUES * NUM_ENGINES);
    tcase_add_loop_test(failures, lazy__a_gradient_that_is_not_finite_poisons_a_worker_alone, 0, NUM_ENGINES);
    tcase_add_loop_test(failures, default__a_gradient_that_is_not_finite_poisons_nobody, 0, NUM_ENGINES);
    tcase_add_loop_test(failures, lazy__plain_steps_fail_as_in_the_default_form, 0, NUM_ENGINES);
    tcase_add_loop_test(failures, lazy__a_wrong_call_of_a_worker_alone_has_not_happened, 0, 2 * NUM_ENGINES);
    tcase_add_loop_test(failures, lazy__a_wrong_call_of_one_worker_poisons_all, 0, NUM_ENGINES);
    tcase_add_loop_test(failures, default__a_wrong_call_of_one_worker_poisons_nobody, 0, NUM_ENGINES);
    suite_add_tcase(suite, failures);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
