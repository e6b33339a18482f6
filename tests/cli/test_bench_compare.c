/* What psgd-bench checks results with: right ones pass, and each kind of wrong one is found. And how it sums up
 * times. */
#include <math.h>
#include <stdlib.h>

#include "compare.h"
#include "gradients.h"
#include "reference.h"
#include "series.h"
#include "support/suite.h"
#include "tool_asserts.h"

enum { ROWS = 48, COLS = 36, RANK = 3, WORKERS = 3, ELEMS = ROWS * COLS, FIRST = 64 };

/* What the library would have left, as the reference has it. */
static float              updates[COMPARE_STEPS][ELEMS];
static float              factors[COMPARE_STEPS + 1][COLS * RANK];
static item_piece_t       piece = {0, FIRST, ELEMS};
static item_t             item  = {.name          = "fc.weight",
                                   .rows          = ROWS,
                                   .cols          = COLS,
                                   .rank          = RANK,
                                   .batch         = 1,
                                   .is_contiguous = true,
                                   .pieces        = &piece,
                                   .num_pieces    = 1};
static options_t          options;

static compare_job_t make_job(bool has_error_feedback)
{
    compare_job_t job = {.item = &item, .options = &options, .num_workers = WORKERS};

    options = (options_t){.gradient_scale = 1.0, .warm_start = 1, .error_feedback = has_error_feedback};
    for (int step = 0; step < COMPARE_STEPS; ++step) {
        job.updates[step] = updates[step];
        job.before[step]  = factors[step];
        job.after[step]   = factors[step + 1];
    }
    return job;
}

static double mean_gradient(int step, size_t i)
{
    double sum = 0.0;

    for (uint32_t w = 0; w < WORKERS; ++w) {
        sum += (double)gradients_value(gradients_key(w, (uint64_t)step), FIRST + i);
    }
    return sum / WORKERS;
}

/* Both steps by the reference, kept as floats. */
static void make_results(bool has_error_feedback)
{
    double      row[COLS];
    reference_t r;

    assert_tool_ok(reference_create(ROWS, COLS, RANK, 0, &r));
    for (size_t i = 0; i < COLS * RANK; ++i) {
        factors[0][i] = gradients_value(7, i);
        r.q[i]        = (double)factors[0][i];
    }
    for (int step = 0; step < COMPARE_STEPS; ++step) {
        for (size_t i = 0; i < ELEMS; ++i) {
            double error = step > 0 && has_error_feedback ? r.m[i] - (double)updates[step - 1][i] : 0.0;

            r.m[i] = error + mean_gradient(step, i);
        }
        reference_step(&r);
        for (size_t i = 0; i < ROWS; ++i) {
            reference_update_row(&r, i, row);
            for (size_t j = 0; j < COLS; ++j) {
                updates[step][i * COLS + j] = (float)row[j];
            }
        }
        for (size_t i = 0; i < COLS * RANK; ++i) {
            factors[step + 1][i] = (float)r.q[i];
        }
    }
    reference_destroy(&r);
}

static tool_status_t probe(const compare_job_t *job)
{
    double budget = COMPARE_BUDGET;

    return compare_by_probes(job, &budget);
}

static tool_status_t compare(const compare_job_t *job)
{
    double deviation = 0.0;

    return compare_matrix(job, &deviation);
}

START_TEST(compare__right_updates_pass)
{
    for (int has_error_feedback = 0; has_error_feedback < 2; ++has_error_feedback) {
        compare_job_t job;
        double        deviation = 0.0;

        make_results(has_error_feedback != 0);
        job = make_job(has_error_feedback != 0);
        assert_tool_ok(compare_matrix(&job, &deviation));
        ck_assert_double_lt(deviation, 1e-6);
        assert_tool_ok(probe(&job));
    }
}
END_TEST

START_TEST(compare__one_wrong_element_is_found)
{
    compare_job_t job;

    make_results(true);
    updates[1][ELEMS - 1] += 1e-3f;
    job = make_job(true);
    assert_tool_fails(compare(&job), TOOL_WRONG, "the update of fc.weight in step 2");
    assert_tool_fails(probe(&job), TOOL_WRONG, "in step 2");
    updates[1][ELEMS - 1] = NAN;
    assert_tool_fails(compare(&job), TOOL_WRONG, "in step 2 deviates by nan");
    assert_tool_fails(probe(&job), TOOL_WRONG, "in step 2");
}
END_TEST

START_TEST(compare__forgotten_error_feedback_is_found)
{
    compare_job_t job;

    make_results(false);
    job = make_job(true);
    assert_tool_fails(compare(&job), TOOL_WRONG, "in step 2");
    assert_tool_fails(probe(&job), TOOL_WRONG, "in step 2");
}
END_TEST

START_TEST(compare__updates_of_the_wrong_size_are_found)
{
    compare_job_t job;

    make_results(true);
    for (size_t i = 0; i < ELEMS; ++i) {
        updates[0][i] *= 1.001f; /* as if P^ were not quite orthonormal */
    }
    job = make_job(true);
    assert_tool_fails(compare(&job), TOOL_WRONG, "in step 1");
    assert_tool_fails(probe(&job), TOOL_WRONG, "in step 1");
    for (size_t i = 0; i < ELEMS; ++i) {
        updates[0][i] = 0.0f;
    }
    assert_tool_fails(compare(&job), TOOL_WRONG, "in step 1");
    assert_tool_fails(probe(&job), TOOL_WRONG, "in step 1");
}
END_TEST

START_TEST(compare__the_gradient_itself_is_not_taken_for_an_update)
{
    compare_job_t job;

    make_results(true);
    for (size_t i = 0; i < ELEMS; ++i) {
        updates[0][i] = (float)mean_gradient(0, i); /* M - M is orthogonal to everything; its rows betray it */
    }
    job = make_job(true);
    assert_tool_fails(compare(&job), TOOL_WRONG, "the update of fc.weight in step 1");
    assert_tool_fails(probe(&job), TOOL_WRONG, "the span of the rows of the update of fc.weight in step 1");
}
END_TEST

START_TEST(compare__plain_means_are_compared_element_by_element)
{
    double        deviation = 0.0;
    compare_job_t job;

    make_results(true);
    for (int step = 0; step < COMPARE_STEPS; ++step) {
        for (size_t i = 0; i < ELEMS; ++i) {
            updates[step][i] = (float)mean_gradient(step, i);
        }
    }
    job = make_job(true);
    assert_tool_ok(compare_plain(&job, &deviation));
    ck_assert_double_lt(deviation, 1e-7);
    updates[1][5] += 1e-4f;
    assert_tool_fails(compare_plain(&job, &deviation), TOOL_WRONG, "the mean of fc.weight in step 2");
    ck_assert_double_gt(deviation, 9e-5);
}
END_TEST

START_TEST(series__sums_up_by_median_least_and_most)
{
    static const double times[] = {5.0, 1.0, 4.0, 2.0};
    series_t            series;
    spread_t            spread;

    for (size_t rounds = 3; rounds <= 4; ++rounds) {
        assert_tool_ok(series_create(rounds, &series));
        for (size_t i = 0; i < rounds; ++i) {
            series_set(&series, METRIC_FLOOR, i, times[i]);
        }
        spread = series_spread(&series, METRIC_FLOOR);
        ck_assert_double_eq(spread.median, rounds == 3 ? 4.0 : 3.0);
        ck_assert_double_eq(spread.min, 1.0);
        ck_assert_double_eq(spread.max, 5.0);
        ck_assert_double_eq(series_spread(&series, METRIC_STEP).max, 0.0);
        series_destroy(&series);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bench_compare");
    TCase *tcase = tcase_create("compare");

    tcase_add_test(tcase, compare__right_updates_pass);
    tcase_add_test(tcase, compare__one_wrong_element_is_found);
    tcase_add_test(tcase, compare__forgotten_error_feedback_is_found);
    tcase_add_test(tcase, compare__updates_of_the_wrong_size_are_found);
    tcase_add_test(tcase, compare__the_gradient_itself_is_not_taken_for_an_update);
    tcase_add_test(tcase, compare__plain_means_are_compared_element_by_element);
    tcase_add_test(tcase, series__sums_up_by_median_least_and_most);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
