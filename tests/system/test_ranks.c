/* Ranks that change between steps (psgd_reducer_set_ranks): in both engines and forms, full and half-iterations. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/strongest.h"
#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { CHANGE_STEP = 2, LATER_STEP = 4, NUM_STEPS = 6 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static const struct {
    psgd_engine_t engine;
    int           gradients_are_finite;
    int           warm_start;
    uint32_t      half_iterations;
    uint32_t      num_workers;
    job_memory_t  memory;
} options[] = {
    {PSGD_ENGINE_FUSED, 0, 1, 0, 2, JOB_ONE_BUFFER},   {PSGD_ENGINE_FUSED, 1, 1, 0, 3, JOB_HOST_POINTERS},
    {PSGD_ENGINE_CLBLAST, 1, 1, 0, 2, JOB_ONE_BUFFER}, {PSGD_ENGINE_AUTO, 0, 0, 0, 2, JOB_SEPARATE_BUFFERS},
    {PSGD_ENGINE_FUSED, 0, 1, 1, 2, JOB_ONE_BUFFER},   {PSGD_ENGINE_CLBLAST, 0, 1, 3, 2, JOB_HOST_POINTERS},
};

enum { NUM_OPTIONS = sizeof(options) / sizeof(options[0]) };

/* With reduced shapes, every second of the options: new ranks are new kernels, which take seconds to compile. */
static bool is_left_out(int option)
{
    return psgd_test_shapes_are_reduced() && (option % 2 == 1);
}

static job_t rank_job(int option)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers                 = options[option].num_workers;
    job.num_steps                   = NUM_STEPS;
    job.memory                      = options[option].memory;
    job.config.engine               = options[option].engine;
    job.config.gradients_are_finite = options[option].gradients_are_finite;
    job.config.warm_start           = options[option].warm_start;
    job.config.half_iterations      = options[option].half_iterations;
    return job;
}

/* --- while it works ----------------------------------------------------------------------------------------------- */

static const uint32_t LARGER[JOB_MODEL_TENSORS]  = {8, 0, 6, 0, 5, 9, 9, 3, 0};
static const uint32_t SMALLER[JOB_MODEL_TENSORS] = {3, 0, 0, 2, 1, 0, 0, 1, 0};

static psgd_status_t expect_ranks(psgd_reducer_t *reducer, const uint32_t *ranks)
{
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        worker_expects((plan.rank == 0) || (ranks[t] == 0) || (plan.rank == ranks[t]), "tensor %zu has rank %u", t, plan.rank);
    }
    return PSGD_OK;
}

/* Up, and then down. */
static psgd_status_t change_ranks(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const uint32_t *ranks = step == CHANGE_STEP ? LARGER : SMALLER;

    (void)job;
    (void)worker;
    if ((step != CHANGE_STEP) && (step != LATER_STEP)) {
        return PSGD_OK;
    }
    worker_needs(psgd_reducer_set_ranks(reducer, ranks, JOB_MODEL_TENSORS));
    return expect_ranks(reducer, ranks);
}

/* Sum over t of mean(g_t) - update_t = mean(e_T): no change of rank has lost anything. */
START_TEST(ranks__nothing_is_lost_when_they_change)
{
    job_t        job = rank_job(_i);
    job_record_t records[WORKERS_MAX];

    if (is_left_out(_i)) {
        return;
    }
    job.before_step = change_ranks;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, 2e-6);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        ck_assert_uint_eq(records[0].stats[step].steps, step + 1);
    }
    ck_assert_uint_gt(records[0].stats[CHANGE_STEP].bytes_last_step, records[0].stats[CHANGE_STEP - 1].bytes_last_step);
    ck_assert_uint_lt(records[0].stats[LATER_STEP].bytes_last_step, records[0].stats[CHANGE_STEP - 1].bytes_last_step);
    job_records_free(&job, records);
}
END_TEST

/* --- to the same, and back ---------------------------------------------------------------------------------------- */

static psgd_status_t change_nothing(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    static const uint32_t SAME[JOB_MODEL_TENSORS] = {4, 0, 4, 4, 4, 0, 0, 2, 0};

    (void)job;
    (void)worker;
    (void)step;
    return psgd_reducer_set_ranks(reducer, SAME, JOB_MODEL_TENSORS);
}

/* Everything that a reducer remembers has come along. */
START_TEST(ranks__the_same_ranks_change_no_bit)
{
    job_t        once = rank_job(_i), changed = once;
    job_record_t once_records[WORKERS_MAX], records[WORKERS_MAX];

    if ((once.config.engine == PSGD_ENGINE_AUTO) || is_left_out(_i)) {
        return; /* with auto two runs may measure differently */
    }
    changed.before_step = change_nothing;
    job_run(&once, once_records);
    job_run(&changed, records);
    for (uint32_t w = 0; w < once.num_workers; ++w) {
        job_assert_same_updates(&once_records[w], &records[w]);
        for (uint32_t step = 0; step < once.num_steps; ++step) {
            job_assert_equal_errors(&once_records[w], step, &records[w], step);
        }
    }
    job_records_free(&once, once_records);
    job_records_free(&changed, records);
}
END_TEST

/* --- refusals ----------------------------------------------------------------------------------------------------- */

/* Worker 1 wants something else, or something that cannot be: nobody changes. */
static psgd_status_t disagree(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    uint32_t      ranks[JOB_MODEL_TENSORS];
    psgd_status_t expected = step % 2 == 0 ? PSGD_ERR_MISMATCH : PSGD_ERR_INVALID_ARGUMENT;
    psgd_status_t status;

    (void)job;
    memcpy(ranks, LARGER, sizeof(ranks));
    ranks[4] = worker == 1 ? (step % 2 == 0 ? 7 : PSGD_MAX_RANK + 1) : ranks[4];
    status   = psgd_reducer_set_ranks(reducer, ranks, step == 3 && worker == 1 ? 3 : JOB_MODEL_TENSORS);
    worker_expects(status == expected, "unlike ranks ended with %s (%s)", psgd_status_name(status), psgd_last_error());
    worker_expects((expected != PSGD_ERR_MISMATCH) || (strstr(psgd_last_error(), "its rank") != NULL), "%s",
                   psgd_last_error());
    return PSGD_OK;
}

START_TEST(ranks__workers_that_do_not_agree_all_refuse_and_go_on_as_before)
{
    job_t        once = rank_job(_i), refused = once;
    job_record_t once_records[WORKERS_MAX], records[WORKERS_MAX];

    if ((once.config.engine == PSGD_ENGINE_AUTO) || is_left_out(_i)) {
        return;
    }
    refused.before_step = disagree;
    job_run(&once, once_records);
    job_run(&refused, records);
    for (uint32_t w = 0; w < once.num_workers; ++w) {
        job_assert_same_updates(&once_records[w], &records[w]);
        for (uint32_t step = 0; step < once.num_steps; ++step) {
            job_assert_equal_errors(&once_records[w], step, &records[w], step);
        }
    }
    job_records_free(&once, once_records);
    job_records_free(&refused, records);
}
END_TEST

START_TEST(ranks__null_is_told)
{
    psgd_tensor_t   tensor  = job_tensor("weight", 40, 56);
    psgd_reducer_t *reducer = NULL;
    psgd_comm_t    *comm    = NULL;
    uint32_t        rank    = 2;

    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, NULL, comm, &reducer));
    assert_fails(psgd_reducer_set_ranks(NULL, &rank, 1), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_set_ranks(reducer, NULL, 1), PSGD_ERR_INVALID_ARGUMENT, "ranks is NULL");
    assert_fails(psgd_reducer_set_ranks(reducer, &rank, 2), PSGD_ERR_INVALID_ARGUMENT, "num_tensors is 2");
    assert_ok(psgd_reducer_set_ranks(reducer, &rank, 1));
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

/* --- the strongest ------------------------------------------------------------------------------------------------ */

enum { LENGTH = 61, COLUMNS = 7, KEPT = 3 };

/* F = U S W with orthonormal U, known S and a rotation W: its strongest columns are those of U S. */
START_TEST(strongest__columns_are_the_leading_singular_vectors)
{
    static const double SIZES[COLUMNS] = {1e-3, 5.0, 0.0, 2.0, 1.0, 30.0, 1e-9};
    static const int    ORDER[KEPT]    = {5, 1, 3};
    double              u[LENGTH * COLUMNS], w[COLUMNS * COLUMNS];
    float               random[LENGTH * COLUMNS], factor[COLUMNS * LENGTH], kept[KEPT * LENGTH];

    test_random_fill(random, LENGTH * COLUMNS, 1);
    for (size_t i = 0; i < LENGTH * COLUMNS; ++i) {
        u[i] = (double)random[i];
    }
    for (size_t i = 0; i < COLUMNS * COLUMNS; ++i) {
        w[i] = (double)random[i + 5];
    }
    reference_orthonormalize(u, LENGTH, COLUMNS);
    reference_orthonormalize(w, COLUMNS, COLUMNS);
    for (size_t c = 0; c < COLUMNS; ++c) {
        for (size_t i = 0; i < LENGTH; ++i) {
            double sum = 0.0;

            for (size_t k = 0; k < COLUMNS; ++k) {
                sum += u[i * COLUMNS + k] * SIZES[k] * w[k * COLUMNS + c];
            }
            factor[c * LENGTH + i] = (float)sum;
        }
    }
    assert_ok(psgd_strongest_columns(factor, LENGTH, COLUMNS, kept, KEPT));
    for (size_t c = 0; c < KEPT; ++c) {
        double along = 0.0, square = 0.0;

        for (size_t i = 0; i < LENGTH; ++i) {
            along += (double)kept[c * LENGTH + i] * u[i * COLUMNS + (size_t)ORDER[c]];
            square += (double)kept[c * LENGTH + i] * (double)kept[c * LENGTH + i];
        }
        ck_assert_double_le(fabs(fabs(along) - SIZES[ORDER[c]]), 1e-5 * SIZES[ORDER[c]]);
        ck_assert_double_le(fabs(sqrt(square) - SIZES[ORDER[c]]), 1e-5 * SIZES[ORDER[c]]);
    }
}
END_TEST

START_TEST(strongest__of_zeros_are_zeros)
{
    float factor[COLUMNS * LENGTH] = {0.0f}, kept[KEPT * LENGTH];

    memset(kept, 0xFF, sizeof(kept));
    assert_ok(psgd_strongest_columns(factor, LENGTH, COLUMNS, kept, KEPT));
    for (size_t i = 0; i < KEPT * LENGTH; ++i) {
        ck_assert(kept[i] == 0.0f);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ranks");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, ranks__nothing_is_lost_when_they_change, 0, NUM_OPTIONS);
    tcase_add_loop_test(tcase, ranks__the_same_ranks_change_no_bit, 0, NUM_OPTIONS);
    tcase_add_loop_test(tcase, ranks__workers_that_do_not_agree_all_refuse_and_go_on_as_before, 0, NUM_OPTIONS);
    tcase_add_test(tcase, ranks__null_is_told);
    tcase_add_test(tcase, strongest__columns_are_the_leading_singular_vectors);
    tcase_add_test(tcase, strongest__of_zeros_are_zeros);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
