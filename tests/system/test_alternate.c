/* Alternating half-iterations (config.half_iterations), in both engines: against the float64 reference; what they send; steps
 * that fail; state. What the powersgd package computed is in test_golden.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/vote.h"
#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { NUM_ENGINES = 2, MOST_WORKERS = 4 };

static const double        BOUND                = 3e-5; /* of alternating steps: see tests/golden/README.md */
static const psgd_engine_t ENGINES[NUM_ENGINES] = {PSGD_ENGINE_CLBLAST, PSGD_ENGINE_FUSED};

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static job_t alternating_job(psgd_engine_t engine, uint32_t half_iterations)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers            = 2;
    job.num_steps              = 5;
    job.config.engine          = engine;
    job.config.half_iterations = half_iterations;
    return job;
}

/* --- what they compute -------------------------------------------------------------------------------------------- */

static const struct {
    uint32_t     half_iterations;
    uint32_t     num_workers;
    int          error_feedback;
    uint64_t     start_step;
    int          gradients_are_finite;
    job_memory_t memory;
} options[] = {
    {1, 1, 1, 0, 0, JOB_ONE_BUFFER},       {1, 2, 1, 0, 0, JOB_CHANGING_BUFFERS}, {1, 2, 0, 0, 0, JOB_ONE_BUFFER},
    {2, 2, 1, 2, 0, JOB_HOST_POINTERS},    {2, 3, 1, 0, 1, JOB_SEPARATE_BUFFERS}, {2, 1, 0, 1, 0, JOB_SEPARATE_BUFFERS},
    {3, 2, 1, 1, 0, JOB_CHANGING_BUFFERS}, {5, 4, 1, 0, 1, JOB_ONE_BUFFER},
};

enum { NUM_OPTIONS = sizeof(options) / sizeof(options[0]) };

START_TEST(alternate__steps_are_those_of_the_reference)
{
    job_t        job    = alternating_job(ENGINES[_i % NUM_ENGINES], options[_i / NUM_ENGINES].half_iterations);
    uint64_t     total  = job_total_elems(&job);
    double      *updates, *errors;
    job_record_t records[WORKERS_MAX];

    job.num_workers                 = options[_i / NUM_ENGINES].num_workers;
    job.config.error_feedback       = options[_i / NUM_ENGINES].error_feedback;
    job.config.start_step           = options[_i / NUM_ENGINES].start_step;
    job.config.gradients_are_finite = options[_i / NUM_ENGINES].gradients_are_finite;
    job.memory                      = options[_i / NUM_ENGINES].memory;
    job.q_stream                    = 7;
    job_run(&job, records);
    job_reference(&job, false, &updates, &errors);
    job_assert_equal_updates(&job, records);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *error = job_mean_error(&job, records, step);

        ck_assert_double_le(job_difference(job_update(&records[0], step), updates + step * total, total), BOUND);
        ck_assert_double_le(reference_difference(error, errors + step * total, total), BOUND);
        free(error);
    }
    free(errors);
    free(updates);
    job_records_free(&job, records);
}
END_TEST

/* Sum over t of mean(g_t) - update_t = mean(e_T), whatever the factors are. */
START_TEST(alternate__what_is_left_out_is_remembered)
{
    job_t        job = alternating_job(ENGINES[_i], 1);
    job_record_t records[WORKERS_MAX];

    job.config.warm_start = 0;
    job.num_workers       = 3;
    job_run(&job, records);
    job_assert_nothing_lost(&job, records, 1e-6);
    job_records_free(&job, records);
}
END_TEST

START_TEST(alternate__cold_starts_draw_the_same_factors_on_all_workers_and_in_every_run)
{
    job_t        job = alternating_job(ENGINES[_i], 2);
    job_record_t records[WORKERS_MAX], again[WORKERS_MAX];

    job.config.warm_start = 0;
    job.num_workers       = MOST_WORKERS;
    job_run(&job, records);
    job_run(&job, again);
    job_assert_equal_updates(&job, records);
    job_assert_same_bits(&records[0], &again[0]);
    job_records_free(&job, again);
    job_records_free(&job, records);
}
END_TEST

/* --- what they send ----------------------------------------------------------------------------------------------- */

static void count_elems(uint64_t *p_elems, uint64_t *q_elems, uint64_t *other_elems)
{
    static const uint32_t R = 4; /* the model's, where a tensor has none of its own */

    *p_elems = *q_elems = *other_elems = 0;
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        uint64_t rows = model[t].dims[0], cols = 1;
        uint32_t r = model[t].rank > 0 ? (uint32_t)model[t].rank : R;

        for (uint32_t d = 1; d < model[t].num_dims; ++d) {
            cols *= model[t].dims[d];
        }
        if ((model[t].num_dims > 1) && (model[t].rank >= 0) && ((rows + cols) * r * 2 < rows * cols)) {
            *p_elems += rows * r;
            *q_elems += cols * r;
        } else {
            *other_elems += rows * cols;
        }
    }
}

START_TEST(alternate__each_half_iteration_sends_one_factor_in_one_message)
{
    job_t        job = alternating_job(PSGD_ENGINE_FUSED, (uint32_t)_i);
    uint64_t     p_elems, q_elems, other_elems;
    job_record_t records[WORKERS_MAX];

    count_elems(&p_elems, &q_elems, &other_elems);
    job_run(&job, records);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        const psgd_stats_t *stats = &records[1].stats[step];
        uint64_t            elems = other_elems;

        for (uint32_t half = step * (uint32_t)_i; half < (step + 1) * (uint32_t)_i; ++half) {
            elems += (half % 2 == 0 ? q_elems : p_elems) + psgd_vote_elems(job.num_workers);
        }
        ck_assert_uint_eq(stats->messages_last_step, (uint64_t)_i);
        ck_assert_uint_eq(stats->bytes_last_step, elems * sizeof(float));
        ck_assert_uint_eq(stats->compressed_elems, other_elems + (p_elems + q_elems) * (uint64_t)_i / 2);
    }
    job_records_free(&job, records);
}
END_TEST

/* --- steps that fail ---------------------------------------------------------------------------------------------- */

/* A step in which worker 1 has a NaN: it fails on all. */
static psgd_status_t try_a_bad_step(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    float        *gradient = job_gradient(job, worker, step + 100);
    float        *grads[JOB_MODEL_TENSORS];
    float        *next   = gradient;
    psgd_status_t status;

    for (size_t t = 0; t < job->num_tensors; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        grads[t] = next;
        next += plan.elems;
    }
    if (worker == 1) {
        grads[step % 2 == 0 ? 4 : 7][5] = (float)NAN;
    }
    status = psgd_reducer_step_host(reducer, grads, job->num_tensors);
    free(gradient);
    worker_expects(status == PSGD_ERR_NONFINITE, "a step with a NaN ended with %s", psgd_status_name(status));
    return PSGD_OK;
}

START_TEST(alternate__a_step_that_fails_has_not_happened)
{
    job_t        good = alternating_job(ENGINES[_i % NUM_ENGINES], (uint32_t)(_i / NUM_ENGINES) + 1), disturbed = good;
    job_record_t good_records[WORKERS_MAX], records[WORKERS_MAX];

    disturbed.before_step = try_a_bad_step;
    job_run(&good, good_records);
    job_run(&disturbed, records);
    for (uint32_t w = 0; w < good.num_workers; ++w) {
        job_assert_same_bits(&good_records[w], &records[w]);
    }
    job_records_free(&good, good_records);
    job_records_free(&disturbed, records);
}
END_TEST

/* --- state -------------------------------------------------------------------------------------------------------- */

enum { STEPS_BEFORE = 3, STEPS_AFTER = 2 };

static void later_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    job_t  whole = *job;
    float *values;

    whole.give_gradient = NULL;
    values              = job_gradient(&whole, worker, step + STEPS_BEFORE);
    memcpy(gradient, values, job_total_elems(job) * sizeof(*gradient));
    free(values);
}

static psgd_status_t resume(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const job_record_t *before = job->user;

    return step == 0 ? psgd_reducer_import_state(reducer, before[worker].last_state) : PSGD_OK;
}

START_TEST(alternate__an_exported_state_continues_bit_for_bit)
{
    job_t        whole = alternating_job(ENGINES[_i % NUM_ENGINES], (uint32_t)(_i / NUM_ENGINES) + 1);
    job_t        before, after;
    job_record_t whole_records[WORKERS_MAX], before_records[WORKERS_MAX], after_records[WORKERS_MAX];

    before              = whole;
    before.num_steps    = STEPS_BEFORE;
    after               = whole;
    after.num_steps     = STEPS_AFTER;
    after.give_gradient = later_gradient;
    after.before_step   = resume;
    after.user          = before_records;
    job_run(&whole, whole_records);
    job_run(&before, before_records);
    job_run(&after, after_records);
    for (uint32_t w = 0; w < whole.num_workers; ++w) {
        for (uint32_t step = 0; step < STEPS_AFTER; ++step) {
            job_assert_same_update(&whole_records[w], STEPS_BEFORE + step, &after_records[w], step);
            job_assert_equal_errors(&whole_records[w], STEPS_BEFORE + step, &after_records[w], step);
        }
    }
    job_records_free(&whole, whole_records);
    job_records_free(&before, before_records);
    job_records_free(&after, after_records);
}
END_TEST

static psgd_reducer_t *create_alone(test_device_t *device, uint32_t half_iterations, psgd_comm_t **comm_p)
{
    psgd_tensor_t   tensor  = job_tensor("weight", 40, 56);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;

    config.half_iterations = half_iterations;
    assert_ok(psgd_comm_self_create(comm_p));
    assert_ok(psgd_reducer_create(device->context, device->id, device->queue, &tensor, 1, &config, *comm_p, &reducer));
    return reducer;
}

START_TEST(alternate__a_state_that_goes_on_from_the_other_factor_is_refused)
{
    static float    p[40 * 4], q[56 * 4];
    test_device_t   device;
    psgd_comm_t    *comm = NULL, *full_comm = NULL;
    psgd_reducer_t *alternating, *full;
    psgd_state_t   *state = NULL;
    uint64_t        half_iterations = 0;

    assert_ok(test_device_open(&device));
    alternating = create_alone(&device, 1, &comm);
    full        = create_alone(&device, 0, &full_comm);
    assert_ok(psgd_state_create(&state));
    assert_ok(psgd_state_set_factor(state, "weight", 56, 4, q));
    assert_fails(psgd_reducer_import_state(alternating, state), PSGD_ERR_STATE, "another number of half-iterations");
    assert_ok(psgd_state_set_step(state, 7, 0));
    assert_ok(psgd_state_set_half_iterations(state, 7)); /* an odd number: Q is next */
    assert_ok(psgd_state_get_half_iterations(state, &half_iterations));
    ck_assert_uint_eq(half_iterations, 7);
    assert_ok(psgd_reducer_import_state(alternating, state));
    assert_ok(psgd_reducer_import_state(full, state));
    assert_ok(psgd_state_set_half_iterations(state, 8));
    assert_ok(psgd_state_set_factor(state, "weight", 40, 4, p));
    assert_ok(psgd_reducer_import_state(alternating, state));
    assert_fails(psgd_reducer_import_state(full, state), PSGD_ERR_STATE, "full iterations");
    assert_fails(psgd_state_set_half_iterations(NULL, 0), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_get_half_iterations(state, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    psgd_state_destroy(state);
    psgd_reducer_destroy(full);
    psgd_reducer_destroy(alternating);
    psgd_comm_destroy(full_comm);
    psgd_comm_destroy(comm);
    test_device_close(&device);
}
END_TEST

START_TEST(alternate__too_many_half_iterations_are_refused)
{
    psgd_tensor_t   tensor  = job_tensor("weight", 400, 560);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_comm_t    *comm    = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    config.half_iterations = PSGD_MAX_HALF_ITERATIONS + 1;
    assert_fails(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, &config, comm, &reducer), PSGD_ERR_INVALID_ARGUMENT,
                 "config.half_iterations is 17");
    config.half_iterations = 8;
    config.rank            = 130;
    config.min_compression_rate = 0.0;
    assert_fails(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, &config, comm, &reducer), PSGD_ERR_INVALID_ARGUMENT,
                 "rank 130 times config.half_iterations 8");
    ck_assert_ptr_null(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("alternating half-iterations");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, alternate__steps_are_those_of_the_reference, 0, NUM_OPTIONS * NUM_ENGINES);
    tcase_add_loop_test(tcase, alternate__what_is_left_out_is_remembered, 0, NUM_ENGINES);
    tcase_add_loop_test(tcase, alternate__cold_starts_draw_the_same_factors_on_all_workers_and_in_every_run, 0, NUM_ENGINES);
    tcase_add_loop_test(tcase, alternate__each_half_iteration_sends_one_factor_in_one_message, 1, 4);
    tcase_add_loop_test(tcase, alternate__a_step_that_fails_has_not_happened, 0, 3 * NUM_ENGINES);
    tcase_add_loop_test(tcase, alternate__an_exported_state_continues_bit_for_bit, 0, 2 * NUM_ENGINES);
    tcase_add_test(tcase, alternate__a_state_that_goes_on_from_the_other_factor_is_refused);
    tcase_add_test(tcase, alternate__too_many_half_iterations_are_refused);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
