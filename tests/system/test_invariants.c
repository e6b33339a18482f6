/* What must hold for every PowerSGD step, whatever the tensors, in every engine and form; through the public API,
 * workers being threads. */
#include <math.h>
#include <stdlib.h>

#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/variants.h"
#include "support/workers.h"

/* What fp32 may lose against float64 in a few steps of random gradients. */
static const double REFERENCE_BOUND = 1e-5;

/* What a balance of a few fp32 matrices may be off by. */
static const double ROUNDING_BOUND = 2e-6;

static psgd_tensor_t model[JOB_MODEL_TENSORS];

/* Engine and form of the jobs of the running test case. */
static const variant_t *current_variant = &VARIANTS[0];

static job_t describe(const psgd_tensor_t *tensors, size_t num_tensors)
{
    job_t job = job_describe(tensors, num_tensors);

    variant_apply(current_variant, &job.config);
    return job;
}

static job_t model_job(uint32_t num_workers)
{
    job_t job = describe(model, JOB_MODEL_TENSORS);

    job.num_workers = num_workers;
    job.q_stream    = 7;
    return job;
}

static double *allocate(uint64_t count)
{
    double *values = calloc(count, sizeof(*values));

    ck_assert_ptr_nonnull(values);
    return values;
}

/* out += factor * values */
static void accumulate(double *out, double factor, const float *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; ++i) {
        out[i] += factor * values[i];
    }
}

static double *mean_gradient(const job_t *job, uint32_t step)
{
    double *mean = allocate(job_total_elems(job));

    for (uint32_t w = 0; w < job->num_workers; ++w) {
        float *gradient = job_gradient(job, w, step);

        accumulate(mean, 1.0 / job->num_workers, gradient, job_total_elems(job));
        free(gradient);
    }
    return mean;
}

/* --- steps -------------------------------------------------------------------------------------------------------- */

START_TEST(reducer__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers)
{
    job_t        job = model_job((uint32_t)_i);
    job_record_t records[WORKERS_MAX];

    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_agrees_with_reference(&job, records, REFERENCE_BOUND);
    job_records_free(&job, records);
}
END_TEST

START_TEST(reducer__update_and_error_add_up_to_gradient_and_error_before)
{
    job_t        job = model_job(1);
    job_record_t record;
    uint64_t     total = job_total_elems(&job);

    job_run(&job, &record);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *expected = mean_gradient(&job, step);
        double *sum      = allocate(total);

        if (step > 0) {
            accumulate(expected, 1.0, job_error(&record, step - 1), total);
        }
        accumulate(sum, 1.0, job_update(&record, step), total);
        accumulate(sum, 1.0, job_error(&record, step), total);
        ck_assert_double_le(reference_difference(sum, expected, total), ROUNDING_BOUND);
        free(expected);
        free(sum);
    }
    job_record_free(&record);
}
END_TEST

START_TEST(reducer__what_was_not_yet_applied_is_the_mean_error)
{
    job_t        job = model_job(3);
    job_record_t records[WORKERS_MAX];

    job_run(&job, records);
    job_assert_nothing_lost(&job, records, 2.0 * ROUNDING_BOUND);
    job_records_free(&job, records);
}
END_TEST

/* Every worker gets what the mean over job->user workers' random gradients is. */
static void give_mean_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    job_t   original = model_job(*(const uint32_t *)job->user);
    double *mean     = mean_gradient(&original, step);

    (void)worker;
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] = (float)mean[i];
    }
    free(mean);
}

START_TEST(reducer__update_depends_on_the_mean_gradient_alone)
{
    uint32_t     num_workers = 3;
    job_t        together    = model_job(num_workers);
    job_t        alone       = model_job(1);
    job_record_t records[WORKERS_MAX], record;
    uint64_t     total = job_total_elems(&alone);

    alone.give_gradient = give_mean_gradient;
    alone.user          = &num_workers;
    job_run(&together, records);
    job_run(&alone, &record);
    for (uint32_t step = 0; step < alone.num_steps; ++step) {
        double *expected = job_wide(job_update(&record, step), total);

        ck_assert_double_le(job_difference(job_update(&records[0], step), expected, total), REFERENCE_BOUND);
        free(expected);
    }
    job_record_free(&record);
    job_records_free(&together, records);
}
END_TEST

/* Every matrix of a gradient = A B^T of rank 2, which the mean over two workers makes rank 4. The same in every step: a
 * Q that comes from an unrelated gradient may nearly miss the rows of this one, and little but rounding is left. */
static void give_low_rank_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    enum { RANK = 2 };

    (void)step;
    for (size_t t = 0; t < job->num_tensors; ++t) {
        const psgd_tensor_t *tensor = &job->tensors[t];
        uint64_t             rows = tensor->dims[0], cols = 1;
        uint64_t             stream = worker * 100 + t;
        float               *factors;

        for (uint32_t d = 1; d < tensor->num_dims; ++d) {
            cols *= tensor->dims[d];
        }
        factors = malloc((rows + cols) * RANK * sizeof(*factors));
        ck_assert_ptr_nonnull(factors);
        test_random_fill(factors, (rows + cols) * RANK, stream);
        for (uint64_t i = 0; i < rows * cols; ++i) {
            const float *a = factors + (i / cols) * RANK;
            const float *b = factors + (rows + i % cols) * RANK;

            gradient[i] = a[0] * b[0] + a[1] * b[1];
        }
        gradient += rows * cols;
        free(factors);
    }
}

START_TEST(reducer__gradient_of_low_rank_is_reproduced_exactly)
{
    job_t        job = describe(model, JOB_MODEL_TENSORS); /* the library's own first Q */
    job_record_t records[WORKERS_MAX];
    uint64_t     total      = job_total_elems(&job);
    int32_t      wide_rank  = model[7].rank;

    model[7].rank     = 0; /* rank 4 as the others */
    job.num_workers   = 2;
    job.give_gradient = give_low_rank_gradient;
    job_run(&job, records);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *expected = mean_gradient(&job, step);
        double *zeros    = allocate(total);
        double  size     = reference_difference(expected, zeros, total); /* |expected| */

        ck_assert_double_le(job_difference(job_update(&records[0], step), expected, total), REFERENCE_BOUND);
        for (uint32_t w = 0; w < job.num_workers; ++w) {
            ck_assert_double_le(job_difference(job_error(&records[w], step), zeros, total), REFERENCE_BOUND * size);
        }
        free(zeros);
        free(expected);
    }
    job_records_free(&job, records);
    model[7].rank = wide_rank;
}
END_TEST

START_TEST(reference__local_and_averaged_error_give_the_same_updates)
{
    job_t    job = model_job(3);
    double  *local_updates, *local_errors, *averaged_updates, *averaged_errors;
    uint64_t count;

    job.num_steps = 6;
    count         = job_total_elems(&job) * job.num_steps;
    job_reference(&job, false, &local_updates, &local_errors);
    job_reference(&job, true, &averaged_updates, &averaged_errors);
    ck_assert_double_le(reference_difference(local_updates, averaged_updates, count), 1e-11);
    ck_assert_double_le(reference_difference(local_errors, averaged_errors, count), 1e-11);
    free(local_updates);
    free(local_errors);
    free(averaged_updates);
    free(averaged_errors);
}
END_TEST

/* --- the factors -------------------------------------------------------------------------------------------------- */

/* One matrix of one worker, and what can be known of its factors from outside. */
typedef struct single_step {
    uint64_t rows, cols;
    uint32_t r;
    double  *m;      /* rows x cols: the gradient; there is no error yet */
    double  *q;      /* cols x r: what was imported */
    double  *update; /* rows x cols */
    double  *q_mean; /* cols x r: what was exported */
} single_step_t;

/* The q_mean of one tensor after the last step. */
static double *exported_factor(const job_record_t *record, const char *name, uint64_t elems)
{
    const float *q;
    uint64_t     cols;
    uint32_t     rank;

    assert_ok(psgd_state_get_factor(record->last_state, name, &cols, &rank, &q));
    ck_assert_uint_eq(cols * rank, elems);
    return job_wide(q, elems);
}

static single_step_t run_single_step(uint64_t rows, uint64_t cols, uint32_t r)
{
    psgd_tensor_t tensor = job_tensor("weight", rows, cols);
    job_t         job    = describe(&tensor, 1);
    single_step_t result = {rows, cols, r, NULL, NULL, NULL, NULL};
    float        *q      = malloc(cols * r * sizeof(*q));
    job_record_t  record;

    ck_assert_ptr_nonnull(q);
    job.config.rank                 = r;
    job.config.min_compression_rate = 0.0;
    job.num_steps                   = 1;
    job.q_stream                    = 5;
    job_run(&job, &record);
    test_random_fill(q, cols * r, job.q_stream << 32);
    result.m      = mean_gradient(&job, 0);
    result.q      = job_wide(q, cols * r);
    result.update = job_wide(job_update(&record, 0), rows * cols);
    result.q_mean = exported_factor(&record, "weight", cols * r);
    free(q);
    job_record_free(&record);
    return result;
}

static void single_step_free(single_step_t *step)
{
    free(step->m);
    free(step->q);
    free(step->update);
    free(step->q_mean);
}

/* out (a_rows x b_cols) = A (a_rows x inner) B (inner x b_cols); with strides, so that transposes can be given. */
static double *product(const double *a, uint64_t a_row_stride, uint64_t a_stride, const double *b, uint64_t b_stride,
                       uint64_t b_col_stride, uint64_t a_rows, uint64_t inner, uint64_t b_cols)
{
    double *out = allocate(a_rows * b_cols);

    for (uint64_t i = 0; i < a_rows; ++i) {
        for (uint64_t j = 0; j < b_cols; ++j) {
            for (uint64_t k = 0; k < inner; ++k) {
                out[i * b_cols + j] += a[i * a_row_stride + k * a_stride] * b[k * b_stride + j * b_col_stride];
            }
        }
    }
    return out;
}

static const struct {
    uint64_t rows, cols;
    uint32_t r;
} single_shapes[] = {{40, 56, 4}, {301, 23, 7}, {23, 301, 7}, {64, 64, 32}, {97, 1, 1}, {1, 31, 1}, {12, 5, 5}};

enum { NUM_SINGLE_SHAPES = sizeof(single_shapes) / sizeof(single_shapes[0]) };

/* P^ is not to be seen from outside, but U^T U = Q (P^^T P^) Q^T is Q Q^T if and only if P^^T P^ = I (full-rank Q). */
START_TEST(reducer__update_is_made_with_orthonormal_columns)
{
    single_step_t step = run_single_step(single_shapes[_i].rows, single_shapes[_i].cols, single_shapes[_i].r);
    uint64_t      rows = step.rows, cols = step.cols, r = step.r;
    double       *utu  = product(step.update, 1, cols, step.update, cols, 1, cols, rows, cols);
    double       *qqt  = product(step.q_mean, r, 1, step.q_mean, 1, r, cols, r, cols);

    ck_assert_double_le(reference_difference(utu, qqt, cols * cols), ROUNDING_BOUND);
    free(utu);
    free(qqt);
    single_step_free(&step);
}
END_TEST

/* P^ spans the columns of P = M Q, and the columns of U Q = P^ (Q^T Q) span the same as P^. */
START_TEST(reducer__update_spans_the_columns_of_p)
{
    single_step_t step  = run_single_step(single_shapes[_i].rows, single_shapes[_i].cols, single_shapes[_i].r);
    uint64_t      rows  = step.rows, cols = step.cols, r = step.r;
    double       *p     = product(step.m, cols, 1, step.q, r, 1, rows, cols, r);
    double       *basis = product(step.update, cols, 1, step.q_mean, r, 1, rows, cols, r);
    double       *inside, *projected;

    reference_orthonormalize(basis, rows, (uint32_t)r);
    inside    = product(basis, 1, r, p, r, 1, r, rows, r); /* basis^T P */
    projected = product(basis, r, 1, inside, r, 1, rows, r, r);
    ck_assert_double_le(reference_difference(projected, p, rows * r), 4.0 * ROUNDING_BOUND);
    free(p);
    free(basis);
    free(inside);
    free(projected);
    single_step_free(&step);
}
END_TEST

/* Q times an invertible matrix: A = I + a small full matrix, the same for all tensors of this rank. */
static psgd_status_t import_mixed_q(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *straight = NULL, *mixed = NULL;
    psgd_status_t status = PSGD_OK;

    (void)worker;
    if (step > 0) {
        return PSGD_OK;
    }
    worker_needs(psgd_state_create(&straight));
    worker_needs(psgd_state_create(&mixed));
    worker_needs(job_fill_factors(reducer, job, *(const uint64_t *)job->user, straight));
    for (size_t t = 0; t < job->num_tensors; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;
        const float       *q;
        float             *product_q;
        uint64_t           cols;
        uint32_t           r;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if (plan.rank == 0) {
            continue;
        }
        worker_needs(psgd_state_get_factor(straight, job->tensors[t].name, &cols, &r, &q));
        product_q = calloc(cols * r, sizeof(*product_q));
        worker_expects(product_q != NULL, "no memory for a factor");
        for (uint64_t i = 0; i < cols * r; ++i) {
            for (uint32_t k = 0; k < r; ++k) {
                uint32_t column = (uint32_t)(i % r);
                float    a      = (k == column ? 2.0f : 0.0f) + 0.25f * (float)((int)(k * 3 + column * 5) % 7 - 3);

                product_q[i] += q[i - column + k] * a;
            }
        }
        status = psgd_state_set_factor(mixed, job->tensors[t].name, cols, r, product_q);
        free(product_q);
        worker_needs(status);
    }
    status = psgd_reducer_import_state(reducer, mixed);
    psgd_state_destroy(straight);
    psgd_state_destroy(mixed);
    return status;
}

START_TEST(reducer__update_depends_on_the_span_of_q_alone)
{
    job_t        straight = model_job(2);
    job_t        mixed    = model_job(2);
    uint64_t     stream   = straight.q_stream;
    job_record_t straight_records[WORKERS_MAX], mixed_records[WORKERS_MAX];
    uint64_t     total = job_total_elems(&straight);

    mixed.q_stream    = 0;
    mixed.before_step = import_mixed_q;
    mixed.user        = &stream;
    job_run(&straight, straight_records);
    job_run(&mixed, mixed_records);
    for (uint32_t step = 0; step < straight.num_steps; ++step) {
        double *expected = job_wide(job_update(&straight_records[0], step), total);

        ck_assert_double_le(job_difference(job_update(&mixed_records[0], step), expected, total), REFERENCE_BOUND);
        free(expected);
    }
    job_records_free(&straight, straight_records);
    job_records_free(&mixed, mixed_records);
}
END_TEST

static void give_constant_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    (void)worker;
    (void)step;
    test_random_fill(gradient, job_total_elems(job), 99);
}

/* With a gradient that stays, steps without error feedback are a subspace iteration, which never loses energy. */
START_TEST(reducer__warm_start_captures_more_of_a_constant_gradient_with_every_step)
{
    psgd_tensor_t tensor = job_tensor("weight", 60, 80);
    job_t         job    = describe(&tensor, 1);
    job_record_t  record;
    double        first = 0.0, last = 0.0;

    job.num_steps             = 8;
    job.config.error_feedback = 0;
    job.give_gradient         = give_constant_gradient;
    job_run(&job, &record);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *zeros  = allocate(record.total_elems);
        double  energy = job_difference(job_update(&record, step), zeros, record.total_elems); /* |update| */

        ck_assert_double_ge(energy, last * (1.0 - 1e-6));
        first = step == 0 ? energy : first;
        last  = energy;
        free(zeros);
    }
    ck_assert_double_ge(last, first * 1.2);
    job_record_free(&record);
}
END_TEST

/* --- bits --------------------------------------------------------------------------------------------------------- */

START_TEST(reducer__same_run_gives_the_same_bits)
{
    job_t        job = model_job(2);
    job_record_t first[WORKERS_MAX], second[WORKERS_MAX];

    job.q_stream = 0; /* the library's own first Q */
    job_run(&job, first);
    job_run(&job, second);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        job_assert_same_bits(&first[w], &second[w]);
    }
    job_records_free(&job, first);
    job_records_free(&job, second);
}
END_TEST

/* The Q that a reducer of these tensors starts from. */
typedef struct first_factors {
    const psgd_tensor_t *tensors;
    size_t               num_tensors;
    uint64_t             seed;
    psgd_state_t        *states[WORKERS_MAX]; /* by worker */
} first_factors_t;

static psgd_status_t export_first_factors(worker_t *worker)
{
    first_factors_t *first   = worker->user;
    psgd_config_t    config  = PSGD_CONFIG_INIT;
    psgd_reducer_t  *reducer = NULL;
    psgd_status_t    status;

    config.seed = first->seed;
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, first->tensors,
                                     first->num_tensors, &config, worker->comm, &reducer));
    status = psgd_reducer_export_state(reducer, PSGD_ERROR_NONE, &first->states[worker->index]);
    psgd_reducer_destroy(reducer);
    return status;
}

static void collect_first_factors(first_factors_t *first, const psgd_tensor_t *tensors, size_t num_tensors,
                                  uint64_t seed, uint32_t num_workers)
{
    memset(first, 0, sizeof(*first));
    first->tensors     = tensors;
    first->num_tensors = num_tensors;
    first->seed        = seed;
    workers_run(num_workers, export_first_factors, first);
}

static void first_factors_free(first_factors_t *first)
{
    for (uint32_t w = 0; w < WORKERS_MAX; ++w) {
        psgd_state_destroy(first->states[w]);
    }
}

static bool factors_are_equal(const psgd_state_t *a, const char *a_name, const psgd_state_t *b, const char *b_name)
{
    const float *a_q, *b_q;
    uint64_t     a_cols, b_cols;
    uint32_t     a_rank, b_rank;

    assert_ok(psgd_state_get_factor(a, a_name, &a_cols, &a_rank, &a_q));
    assert_ok(psgd_state_get_factor(b, b_name, &b_cols, &b_rank, &b_q));
    ck_assert_uint_eq(a_cols, b_cols);
    ck_assert_uint_eq(a_rank, b_rank);
    return memcmp(a_q, b_q, a_cols * a_rank * sizeof(*a_q)) == 0;
}

START_TEST(reducer__random_numbers_depend_on_seed_and_name_alone)
{
    psgd_tensor_t   reversed[JOB_MODEL_TENSORS], alone = model[4];
    first_factors_t original, turned, single, many, other_seed;

    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        reversed[t] = model[JOB_MODEL_TENSORS - 1 - t];
    }
    collect_first_factors(&original, model, JOB_MODEL_TENSORS, 3, 1);
    collect_first_factors(&turned, reversed, JOB_MODEL_TENSORS, 3, 1);
    collect_first_factors(&single, &alone, 1, 3, 1);
    collect_first_factors(&many, model, JOB_MODEL_TENSORS, 3, 3);
    collect_first_factors(&other_seed, model, JOB_MODEL_TENSORS, 4, 1);

    ck_assert(factors_are_equal(original.states[0], "tall.weight", turned.states[0], "tall.weight"));
    ck_assert(factors_are_equal(original.states[0], "fc2.weight", turned.states[0], "fc2.weight"));
    ck_assert(factors_are_equal(original.states[0], "tall.weight", single.states[0], "tall.weight"));
    for (uint32_t w = 0; w < 3; ++w) {
        ck_assert(factors_are_equal(original.states[0], "wide.weight", many.states[w], "wide.weight"));
    }
    ck_assert(!factors_are_equal(original.states[0], "tall.weight", other_seed.states[0], "tall.weight"));
    ck_assert(!factors_are_equal(original.states[0], "fc1.weight", original.states[0], "fc2.weight"));
    first_factors_free(&original);
    first_factors_free(&turned);
    first_factors_free(&single);
    first_factors_free(&many);
    first_factors_free(&other_seed);
}
END_TEST

/* One test case for each engine and form: the variant is set before each of its tests. */
#define VARIANT_TABLE(ROW) ROW(0) ROW(1) ROW(2) ROW(3)

#define SETUP_ROW(index_) \
    static void use_variant_##index_(void) \
    { \
        current_variant = &VARIANTS[index_]; \
    }
VARIANT_TABLE(SETUP_ROW)
#undef SETUP_ROW

static void (*const use_variant[NUM_FIXED_VARIANTS])(void) = {
#define SETUP_ROW(index_) use_variant_##index_,
    VARIANT_TABLE(SETUP_ROW)
#undef SETUP_ROW
};

/* What the error memory has a part in. */
static void add_steps(TCase *tcase)
{
    tcase_add_loop_test(tcase, reducer__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers, 1,
                        WORKERS_MAX + 1);
    tcase_add_test(tcase, reducer__update_and_error_add_up_to_gradient_and_error_before);
    tcase_add_test(tcase, reducer__what_was_not_yet_applied_is_the_mean_error);
    tcase_add_test(tcase, reducer__update_depends_on_the_mean_gradient_alone);
}

/* What concerns updates alone, whose bits do not depend on the form (test_forms): in one form. */
static void add_updates(TCase *tcase)
{
    tcase_add_test(tcase, reducer__gradient_of_low_rank_is_reproduced_exactly);
    tcase_add_loop_test(tcase, reducer__update_is_made_with_orthonormal_columns, 0, NUM_SINGLE_SHAPES);
    tcase_add_loop_test(tcase, reducer__update_spans_the_columns_of_p, 0, NUM_SINGLE_SHAPES);
    tcase_add_test(tcase, reducer__update_depends_on_the_span_of_q_alone);
    tcase_add_test(tcase, reducer__warm_start_captures_more_of_a_constant_gradient_with_every_step);
    tcase_add_test(tcase, reducer__same_run_gives_the_same_bits);
}

int main(void)
{
    Suite *suite = suite_create("invariants");
    TCase *other = tcase_create("other");
    int    result;

    job_model(model);
    for (int v = 0; v < NUM_FIXED_VARIANTS; ++v) {
        TCase *tcase = tcase_create(VARIANTS[v].name);

        tcase_set_timeout(tcase, 0);
        tcase_add_checked_fixture(tcase, use_variant[v], NULL);
        add_steps(tcase);
        if (!VARIANTS[v].gradients_are_finite) {
            add_updates(tcase);
        }
        suite_add_tcase(suite, tcase);
    }
    tcase_add_test(other, reference__local_and_averaged_error_give_the_same_updates);
    tcase_add_test(other, reducer__random_numbers_depend_on_seed_and_name_alone);
    suite_add_tcase(suite, other);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
