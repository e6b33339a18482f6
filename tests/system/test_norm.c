/* The norm of the update, and clipping by it (config.max_norm): in both engines and forms, full and half-iterations. */
#include <math.h>
#include <stdlib.h>

#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static const struct {
    psgd_engine_t engine;
    int           gradients_are_finite;
    uint32_t      half_iterations;
    uint64_t      start_step;
    uint32_t      num_workers;
    job_memory_t  memory;
} options[] = {
    {PSGD_ENGINE_FUSED, 0, 0, 1, 2, JOB_ONE_BUFFER},    {PSGD_ENGINE_FUSED, 1, 0, 0, 3, JOB_HOST_POINTERS},
    {PSGD_ENGINE_CLBLAST, 0, 0, 2, 1, JOB_ONE_BUFFER},  {PSGD_ENGINE_CLBLAST, 1, 0, 0, 2, JOB_SEPARATE_BUFFERS},
    {PSGD_ENGINE_FUSED, 0, 1, 1, 2, JOB_ONE_BUFFER},    {PSGD_ENGINE_FUSED, 0, 2, 0, 2, JOB_HOST_POINTERS},
    {PSGD_ENGINE_CLBLAST, 0, 3, 1, 2, JOB_ONE_BUFFER},  {PSGD_ENGINE_FUSED, 0, 5, 0, 4, JOB_ONE_BUFFER},
};

enum { NUM_OPTIONS = sizeof(options) / sizeof(options[0]) };

static job_t norm_job(int option, double max_norm)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers                 = options[option].num_workers;
    job.memory                      = options[option].memory;
    job.config.engine               = options[option].engine;
    job.config.gradients_are_finite = options[option].gradients_are_finite;
    job.config.half_iterations      = options[option].half_iterations;
    job.config.start_step           = options[option].start_step;
    job.config.max_norm             = max_norm;
    return job;
}

static double norm_of(const float *values, uint64_t count)
{
    double sum = 0.0;

    for (uint64_t i = 0; i < count; ++i) {
        sum += (double)values[i] * (double)values[i];
    }
    return sqrt(sum);
}

START_TEST(norm__is_that_of_the_update_and_the_same_on_all_workers)
{
    job_t        off = norm_job(_i, 0.0), measured = norm_job(_i, (double)INFINITY);
    uint64_t     total = job_total_elems(&off);
    job_record_t off_records[WORKERS_MAX], records[WORKERS_MAX];

    job_run(&off, off_records);
    job_run(&measured, records);
    for (uint32_t w = 0; w < off.num_workers; ++w) {
        job_assert_same_bits(&off_records[w], &records[w]);
        for (uint32_t step = 0; step < off.num_steps; ++step) {
            double norm = norm_of(job_update(&records[w], step), total);

            ck_assert_double_eq(off_records[w].stats[step].update_norm, 0.0);
            ck_assert_double_le(fabs(records[w].stats[step].update_norm - norm), 2e-6 * norm);
            ck_assert(records[w].stats[step].update_norm == records[0].stats[step].update_norm);
            ck_assert_uint_eq(records[w].stats[step].clipped_steps, 0);
        }
    }
    job_records_free(&off, off_records);
    job_records_free(&measured, records);
}
END_TEST

/* The update is scaled, and what the reducer remembers is not touched: later steps are those of a run that never clipped. */
START_TEST(norm__an_update_beyond_it_is_scaled_down_to_it_and_nothing_else_changes)
{
    job_t        free_run = norm_job(_i, (double)INFINITY), clipped;
    uint64_t     total    = job_total_elems(&free_run);
    double       max_norm;
    uint64_t     num_clipped = 0;
    job_record_t free_records[WORKERS_MAX], records[WORKERS_MAX];

    job_run(&free_run, free_records);
    max_norm = (free_records[0].stats[1].update_norm + free_records[0].stats[2].update_norm) / 2.0; /* above one of them */
    clipped  = norm_job(_i, max_norm);
    job_run(&clipped, records);
    job_assert_equal_updates(&clipped, records);
    for (uint32_t step = 0; step < clipped.num_steps; ++step) {
        double  norm   = free_records[0].stats[step].update_norm;
        double  factor = norm > max_norm ? max_norm / norm : 1.0;
        double *wide   = job_wide(job_update(&free_records[0], step), total);

        for (uint64_t i = 0; i < total; ++i) {
            wide[i] *= factor;
        }
        num_clipped += norm > max_norm ? 1 : 0;
        ck_assert_double_le(job_difference(job_update(&records[0], step), wide, total), 1e-6);
        ck_assert_double_le(norm_of(job_update(&records[0], step), total), max_norm * (1.0 + 2e-6));
        ck_assert(records[0].stats[step].update_norm == norm);
        ck_assert_uint_eq(records[0].stats[step].clipped_steps, num_clipped);
        for (uint32_t w = 0; w < clipped.num_workers; ++w) {
            job_assert_equal_errors(&free_records[w], step, &records[w], step);
        }
        free(wide);
    }
    ck_assert_uint_ge(num_clipped, 1);
    ck_assert_uint_lt(num_clipped, clipped.num_steps);
    job_records_free(&free_run, free_records);
    job_records_free(&clipped, records);
}
END_TEST

START_TEST(norm__values_that_make_no_sense_are_refused)
{
    static const double REFUSED[] = {-1.0, 1e-13, NAN, -INFINITY};
    psgd_tensor_t       tensor    = job_tensor("weight", 40, 56);
    psgd_config_t       config    = PSGD_CONFIG_INIT;
    psgd_reducer_t     *reducer   = NULL;
    psgd_comm_t        *comm      = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); ++i) {
        config.max_norm = REFUSED[i];
        assert_fails(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, &config, comm, &reducer), PSGD_ERR_INVALID_ARGUMENT,
                     "config.max_norm is");
    }
    psgd_comm_destroy(comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("norm");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, norm__is_that_of_the_update_and_the_same_on_all_workers, 0, NUM_OPTIONS);
    tcase_add_loop_test(tcase, norm__an_update_beyond_it_is_scaled_down_to_it_and_nothing_else_changes, 0, NUM_OPTIONS);
    tcase_add_test(tcase, norm__values_that_make_no_sense_are_refused);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
