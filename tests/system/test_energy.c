/* What a reducer tells of itself: how much of the gradients the factors capture (config.energy_every), in both engines and forms,
 * full and half-iterations; lines of statistics (config.log_every). */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { NUM_STEPS = 5, MOST_WORKERS = 4 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static const struct {
    psgd_engine_t engine;
    int           gradients_are_finite;
    int           error_feedback;
    uint32_t      half_iterations;
    uint64_t      energy_every;
    uint32_t      num_workers;
    job_memory_t  memory;
} options[] = {
    {PSGD_ENGINE_FUSED, 0, 1, 0, 1, 2, JOB_ONE_BUFFER},   {PSGD_ENGINE_FUSED, 1, 1, 0, 2, 3, JOB_HOST_POINTERS},
    {PSGD_ENGINE_CLBLAST, 1, 1, 0, 1, 2, JOB_ONE_BUFFER}, {PSGD_ENGINE_CLBLAST, 0, 0, 0, 1, 2, JOB_SEPARATE_BUFFERS},
    {PSGD_ENGINE_FUSED, 0, 1, 1, 1, 2, JOB_ONE_BUFFER},   {PSGD_ENGINE_CLBLAST, 0, 1, 3, 1, 1, JOB_HOST_POINTERS},
    {PSGD_ENGINE_FUSED, 0, 0, 2, 2, 4, JOB_ONE_BUFFER},
};

enum { NUM_OPTIONS = sizeof(options) / sizeof(options[0]) };

/* What every worker was told after every step: of all tensors, and of each. */
static psgd_energy_t told[MOST_WORKERS][NUM_STEPS][JOB_MODEL_TENSORS + 1];

static psgd_status_t ask(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_energy_t *energies = told[worker][step];

    for (size_t t = 0; t <= job->num_tensors; ++t) {
        size_t             index = t == job->num_tensors ? SIZE_MAX : t;
        psgd_tensor_plan_t plan  = PSGD_TENSOR_PLAN_INIT;
        psgd_status_t      status;

        energies[t] = (psgd_energy_t)PSGD_ENERGY_INIT;
        plan.rank   = 1;
        if (index != SIZE_MAX) {
            worker_needs(psgd_reducer_get_tensor_plan(reducer, index, &plan));
        }
        status = psgd_reducer_get_energy(reducer, index, &energies[t]);
        worker_expects(status == (plan.rank > 0 ? PSGD_OK : PSGD_ERR_STATE), "the energy of tensor %zu: %s", t,
                       psgd_status_name(status));
    }
    return PSGD_OK;
}

static void add_squares(const job_t *job, const double *values, double squares[JOB_MODEL_TENSORS])
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        uint64_t elems = 1;

        for (uint32_t d = 0; d < job->tensors[t].num_dims; ++d) {
            elems *= job->tensors[t].dims[d];
        }
        for (uint64_t i = 0; i < elems; ++i) {
            squares[t] += *values * *values;
            ++values;
        }
    }
}

/* The sums over the workers of |M_w|^2 before a step, and of |M_w|^2 - |e_w|^2 = what was captured. */
static void compute_squares(const job_t *job, const job_record_t *records, uint32_t step, double total[JOB_MODEL_TENSORS],
                            double left[JOB_MODEL_TENSORS])
{
    uint64_t elems = job_total_elems(job);

    memset(total, 0, JOB_MODEL_TENSORS * sizeof(*total));
    memset(left, 0, JOB_MODEL_TENSORS * sizeof(*left));
    for (uint32_t w = 0; w < job->num_workers; ++w) {
        float  *gradient = job_gradient(job, w, step);
        double *m        = job_wide(gradient, elems);
        double *error    = job_wide(job_error(&records[w], step), elems);

        for (uint64_t i = 0; (step > 0) && (i < elems); ++i) {
            m[i] += (double)job_error(&records[w], step - 1)[i];
        }
        add_squares(job, m, total);
        add_squares(job, error, left);
        free(error);
        free(m);
        free(gradient);
    }
}

static void assert_near(double found, double expected, double scale, const char *what, uint32_t step, size_t tensor)
{
    ck_assert_msg(fabs(found - expected) <= 3e-6 * scale, "%s of tensor %zu in step %u: %.9g is not %.9g", what, tensor, step, found,
                  expected);
}

START_TEST(energy__is_that_of_the_gradients_and_of_the_error_memories)
{
    job_t        job = job_describe(model, JOB_MODEL_TENSORS);
    job_record_t records[WORKERS_MAX];

    job.num_workers                 = options[_i].num_workers;
    job.num_steps                   = NUM_STEPS;
    job.memory                      = options[_i].memory;
    job.after_step                  = ask;
    job.config.engine               = options[_i].engine;
    job.config.gradients_are_finite = options[_i].gradients_are_finite;
    job.config.error_feedback       = options[_i].error_feedback;
    job.config.half_iterations      = options[_i].half_iterations;
    job.config.energy_every         = options[_i].energy_every;
    job_run(&job, records);
    for (uint32_t step = 0; step < NUM_STEPS; ++step) {
        uint32_t      measured = step - step % (uint32_t)options[_i].energy_every;
        double        total[JOB_MODEL_TENSORS], left[JOB_MODEL_TENSORS];
        psgd_energy_t sum = PSGD_ENERGY_INIT;

        compute_squares(&job, records, measured, total, left);
        for (size_t t = 0; t <= JOB_MODEL_TENSORS; ++t) {
            const psgd_energy_t *energy = &told[0][step][t];

            for (uint32_t w = 1; w < job.num_workers; ++w) {
                ck_assert(memcmp(&told[w][step][t], energy, sizeof(*energy)) == 0);
            }
            if ((t == JOB_MODEL_TENSORS) || (energy->total <= 0.0)) {
                continue; /* all of them; or not compressed */
            }
            ck_assert_uint_eq(energy->step, measured);
            assert_near(energy->total, total[t], total[t], "the energy", step, t);
            ck_assert((energy->captured_share > 0.0) && (energy->captured_share < 1.0));
            if (options[_i].error_feedback) {
                assert_near(energy->captured, total[t] - left[t], total[t], "what was captured", step, t);
                assert_near(energy->error_norm * energy->error_norm * job.num_workers, left[t], total[t], "the error", step, t);
            }
            sum.total += energy->total;
            sum.captured += energy->captured;
        }
        assert_near(told[0][step][JOB_MODEL_TENSORS].total, sum.total, sum.total, "the sum", step, 0);
        assert_near(told[0][step][JOB_MODEL_TENSORS].captured, sum.captured, sum.total, "what was captured", step, 0);
    }
    job_records_free(&job, records);
}
END_TEST

/* --- the alarm ---------------------------------------------------------------------------------------------------- */

static _Atomic int num_warnings;

static void count_warnings(psgd_log_level_t level, const char *line, void *user)
{
    (void)user;
    num_warnings += (level == PSGD_LOG_WARN) && (strstr(line, "the error memory has grown") != NULL) ? 1 : 0;
}

/* The same gradient again and again. */
static void constant_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    (void)worker;
    (void)step;
    test_random_fill(gradient, job_total_elems(job), 77);
}

/* A job of one matrix at rank 1 from a new Q each step, which forgets much; warnings are counted from now on. */
static job_t forgetful_job(const psgd_tensor_t *tensor,
                           void (*give_gradient)(const job_t *, uint32_t, uint32_t, float *), uint32_t num_steps)
{
    job_t job = job_describe(tensor, 1);

    num_warnings            = 0;
    job.num_steps           = num_steps;
    job.exports_last_alone  = true;
    job.give_gradient       = give_gradient;
    job.config.rank         = 1;
    job.config.warm_start   = 0;
    job.config.energy_every = 1;
    job.config.engine       = PSGD_ENGINE_FUSED;
    job.config.log          = count_warnings;
    job.config.log_level    = PSGD_LOG_WARN;
    return job;
}

/* At rank 1 a random matrix of 20 x 20 is remembered until the memory settles; one of 500 x 600 grows and grows. */
START_TEST(energy__an_error_memory_that_grows_and_does_not_slow_down_is_told_once)
{
    psgd_tensor_t tensor = _i == 0 ? job_tensor("weight", 20, 20) : job_tensor("weight", 500, 600);
    job_t         job    = forgetful_job(&tensor, constant_gradient, 40);
    job_record_t  record;

    job_run(&job, &record);
    ck_assert_int_eq(num_warnings, _i);
    ck_assert_uint_eq(record.stats[0].error_alarms, 0);
    ck_assert_uint_eq(record.stats[job.num_steps - 1].error_alarms, (uint64_t)_i);
    job_record_free(&record);
}
END_TEST

/* After a first gradient that is ten times as large, the memory takes longer to grow tenfold than its norms are kept one by one. */
static void slow_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    float size = step == 0 ? 10.0f : 1.0f + 0.01f * (float)step;

    constant_gradient(job, worker, step, gradient);
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] *= size;
    }
}

START_TEST(energy__an_error_memory_that_grows_slowly_is_told_too)
{
    psgd_tensor_t tensor = job_tensor("weight", 500, 600);
    job_t         job    = forgetful_job(&tensor, slow_gradient, 120);
    job_record_t  record;

    job_run(&job, &record);
    ck_assert_int_eq(num_warnings, 1);
    ck_assert_uint_eq(record.stats[65].error_alarms, 0);
    ck_assert_uint_eq(record.stats[job.num_steps - 1].error_alarms, 1);
    job_record_free(&record);
}
END_TEST

/* --- statistics on a schedule -------------------------------------------------------------------------------------- */

static _Atomic int num_lines;

static void count_lines(psgd_log_level_t level, const char *line, void *user)
{
    (void)user;
    num_lines += (level == PSGD_LOG_INFO) && (strstr(line, "ms a step on average over the last 2 (") != NULL) &&
                         (strstr(line, "decompress ") != NULL)
                     ? 1
                     : 0;
}

START_TEST(log_every__writes_a_line_on_one_worker)
{
    job_t        job = job_describe(model, JOB_MODEL_TENSORS);
    job_record_t records[WORKERS_MAX];

    num_lines            = 0;
    job.num_workers      = 2;
    job.num_steps        = NUM_STEPS;
    job.config.log_every = 2;
    job.config.log       = count_lines;
    job.config.log_level = PSGD_LOG_INFO;
    job.config.engine    = PSGD_ENGINE_FUSED;
    job_run(&job, records);
    ck_assert_int_eq(num_lines, NUM_STEPS / 2);
    job_records_free(&job, records);
}
END_TEST

START_TEST(energy__what_cannot_be_told_is_an_error)
{
    psgd_tensor_t   tensor  = job_tensor("weight", 40, 56);
    psgd_energy_t   energy  = PSGD_ENERGY_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_comm_t    *comm    = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, NULL, comm, &reducer));
    assert_fails(psgd_reducer_get_energy(reducer, 0, &energy), PSGD_ERR_STATE, "config.energy_every is 0");
    assert_fails(psgd_reducer_get_energy(reducer, 1, &energy), PSGD_ERR_INVALID_ARGUMENT, "1 tensors");
    assert_fails(psgd_reducer_get_energy(reducer, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_reducer_get_energy(NULL, 0, &energy), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    energy.struct_size = 0;
    assert_fails(psgd_reducer_get_energy(reducer, 0, &energy), PSGD_ERR_INVALID_ARGUMENT, "PSGD_ENERGY_INIT");
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("energy");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, energy__is_that_of_the_gradients_and_of_the_error_memories, 0, NUM_OPTIONS);
    tcase_add_loop_test(tcase, energy__an_error_memory_that_grows_and_does_not_slow_down_is_told_once, 0, 2);
    tcase_add_test(tcase, energy__an_error_memory_that_grows_slowly_is_told_too);
    tcase_add_test(tcase, log_every__writes_a_line_on_one_worker);
    tcase_add_test(tcase, energy__what_cannot_be_told_is_an_error);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
