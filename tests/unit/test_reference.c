/* The float64 reference against what PyTorch's hook and the epfml package computed: proves the reader of tests/golden
 * and the reference that other tests compare with. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "reference/powersgd_reference.h"
#include "support/golden.h"
#include "support/suite.h"

static const char *const full_cases[]        = {GOLDEN_FULL_CASES};
static const char *const alternating_cases[] = {GOLDEN_ALTERNATING_CASES};

enum {
    NUM_FULL_CASES        = sizeof(full_cases) / sizeof(full_cases[0]),
    NUM_ALTERNATING_CASES = sizeof(alternating_cases) / sizeof(alternating_cases[0])
};

static double *widen(const float *values, uint64_t count)
{
    double *wide = malloc(count * sizeof(*wide));

    ck_assert_ptr_nonnull(wide);
    for (uint64_t i = 0; i < count; ++i) {
        wide[i] = values[i];
    }
    return wide;
}

static void start_from_q(reference_t *reference, const golden_t *golden, uint32_t step)
{
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        const golden_draw_t *draw = golden_starting_factor(golden, step, t);

        if (draw != NULL) {
            double *q = widen(draw->values, draw->rows * draw->cols);

            ck_assert_uint_eq(draw->rows, golden->tensors[t].cols);
            ck_assert_uint_eq(draw->cols, reference->tensors[t].r);
            reference_set_q(reference, t, q);
            free(q);
        }
    }
}

/* The P0 are grouped by matrix shape, in order of first appearance; in these cases every shape appears once, so that
 * this is the tensor order. */
static void start_from_p(reference_t *reference, const golden_t *golden)
{
    size_t d = 0;

    for (size_t t = 0; t < golden->num_tensors; ++t) {
        if (golden->tensors[t].is_compressed) {
            double *p = widen(golden->draws[d].values, golden->draws[d].rows * golden->draws[d].cols);

            ck_assert(golden->draws[d].is_p);
            ck_assert_uint_eq(golden->draws[d].rows, golden->tensors[t].rows);
            reference_set_p(reference, t, p);
            free(p);
            d++;
        }
    }
}

/* The largest difference of an update and of a mean error over the steps of one case. */
static void replay(const char *name, double *update_difference_p, double *error_difference_p)
{
    golden_t           *golden = golden_load(name);
    reference_shape_t   shapes[GOLDEN_MAX_TENSORS];
    reference_options_t options;
    reference_t        *reference;
    double             *update, *error, **grads;
    uint64_t            total        = golden->total_elems;
    double              worst_update = 0.0, worst_error = 0.0;

    golden_reference_setup(golden, shapes, &options);
    reference = reference_create(shapes, golden->num_tensors, &options);
    update    = malloc(golden->total_elems * sizeof(*update));
    error     = malloc(golden->total_elems * sizeof(*error));
    grads     = calloc(golden->num_workers, sizeof(*grads));
    ck_assert(reference != NULL && update != NULL && error != NULL && grads != NULL);
    ck_assert_uint_eq(reference->total_elems, golden->total_elems);
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        ck_assert_int_eq(golden->tensors[t].is_compressed, reference->tensors[t].r > 0);
    }

    if (golden->half_iterations_per_step > 0) {
        start_from_p(reference, golden);
    }
    for (uint32_t step = 0; step < golden->num_steps; ++step) {
        if (golden->half_iterations_per_step == 0) {
            start_from_q(reference, golden, step);
        }
        for (uint32_t w = 0; w < golden->num_workers; ++w) {
            grads[w] = widen(golden_gradient(golden, step, w), golden->total_elems);
        }
        reference_step(reference, (const double *const *)grads, update);
        reference_mean_error(reference, error);
        worst_update = fmax(worst_update, golden_difference(update, golden_update(golden, step), total));
        worst_error  = fmax(worst_error, golden_difference(error, golden_mean_error(golden, step), total));
        for (uint32_t w = 0; w < golden->num_workers; ++w) {
            free(grads[w]);
        }
    }

    printf("reference, %s: update differs by %.2e, mean error by %.2e\n", name, worst_update, worst_error);
    *update_difference_p = worst_update;
    *error_difference_p  = worst_error;
    free(grads);
    free(error);
    free(update);
    reference_destroy(reference);
    golden_free(golden);
}

START_TEST(reference__full_iterations_give_the_recorded_steps)
{
    double update_difference, error_difference;

    replay(full_cases[_i], &update_difference, &error_difference);
    ck_assert_double_le(update_difference, GOLDEN_BOUND_FULL);
    ck_assert_double_le(error_difference, GOLDEN_BOUND_FULL);
}
END_TEST

START_TEST(reference__alternating_half_iterations_give_the_recorded_steps)
{
    double update_difference, error_difference;

    replay(alternating_cases[_i], &update_difference, &error_difference);
    ck_assert_double_le(update_difference, GOLDEN_BOUND_ALTERNATING);
    ck_assert_double_le(error_difference, GOLDEN_BOUND_ALTERNATING);
}
END_TEST

static double orthogonality_error(const double *a, uint64_t length, uint32_t columns)
{
    double worst = 0.0;

    for (uint32_t j = 0; j < columns; ++j) {
        for (uint32_t k = 0; k < columns; ++k) {
            double dot = 0.0;

            for (uint64_t i = 0; i < length; ++i) {
                dot += a[i * columns + j] * a[i * columns + k];
            }
            worst = fmax(worst, fabs(dot - (j == k ? 1.0 : 0.0)));
        }
    }
    return worst;
}

START_TEST(reference__orthonormalize_spans_the_given_columns)
{
    /* Columns 1, 2 and 4 are independent, 0 is zero, 3 = column 1 + column 2. */
    double       a[7 * 5];
    const double original[7][5] = {{0, 1, 2, 3, 0.5},   {0, -1, 1, 0, 1e-3}, {0, 2, 0, 2, 0},    {0, 0, 1, 1, -3},
                                   {0, 1, -1, 0, 1e-3}, {0, 3, 1, 4, 0},     {0, 0.5, 2, 2.5, 0}};

    memcpy(a, original, sizeof(a));
    reference_orthonormalize(a, 7, 5);
    ck_assert_double_le(orthogonality_error(a, 7, 5), 1e-15 * 8);
    for (uint32_t j = 0; j < 5; ++j) {
        double left = 0.0; /* |a_j - A A^T a_j|^2 */

        for (uint32_t i = 0; i < 7; ++i) {
            double x = original[i][j];

            for (uint32_t k = 0; k < 5; ++k) {
                double dot = 0.0;

                for (uint32_t l = 0; l < 7; ++l) {
                    dot += a[l * 5 + k] * original[l][j];
                }
                x -= dot * a[i * 5 + k];
            }
            left += x * x;
        }
        ck_assert_double_le(sqrt(left), 1e-14);
    }
}
END_TEST

START_TEST(reference__orthonormalize_replaces_vanished_columns)
{
    double zeros[6 * 4]  = {0};
    double equal[6 * 3];
    double tiny[3 * 2]   = {1e-200, 2e-200, 3e-200, 4e-200, 0.0, 1e-200};
    double square[2 * 2] = {1.0, 1.0, 2.0, 2.0};

    for (size_t i = 0; i < 18; ++i) {
        equal[i] = (double)(i / 3) - 2.5;
    }
    reference_orthonormalize(zeros, 6, 4);
    reference_orthonormalize(equal, 6, 3);
    reference_orthonormalize(tiny, 3, 2);
    reference_orthonormalize(square, 2, 2);
    ck_assert_double_le(orthogonality_error(zeros, 6, 4), 1e-15);
    ck_assert_double_le(orthogonality_error(equal, 6, 3), 1e-15 * 4);
    ck_assert_double_le(orthogonality_error(tiny, 3, 2), 1e-15 * 4);
    ck_assert_double_le(orthogonality_error(square, 2, 2), 1e-15 * 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reference");
    TCase *tcase = tcase_create("powersgd");

    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, reference__full_iterations_give_the_recorded_steps, 0, NUM_FULL_CASES);
    tcase_add_loop_test(tcase, reference__alternating_half_iterations_give_the_recorded_steps, 0,
                        NUM_ALTERNATING_CASES);
    tcase_add_test(tcase, reference__orthonormalize_spans_the_given_columns);
    tcase_add_test(tcase, reference__orthonormalize_replaces_vanished_columns);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
