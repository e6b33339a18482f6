/* M = g + e, in the gradient buffer. */
#include <math.h>
#include <stdlib.h>

#include "op_fixture.h"
#include "ops/error_feedback.h"
#include "support/suite.h"

static const size_t LENGTHS[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 63, 64, 65, 1023, 4095, 4096, 4097, 65537, 200003};
static const size_t OFFSETS[] = {0, 4, 12, 60};

enum { NUM_LENGTHS = sizeof(LENGTHS) / sizeof(LENGTHS[0]), NUM_OFFSETS = sizeof(OFFSETS) / sizeof(OFFSETS[0]) };

static void check_sum(psgd_error_feedback_t *feedback, const float *grad, const float *error, size_t elems,
                      size_t grad_offset, size_t error_offset)
{
    float   *expected     = test_alloc(elems, sizeof(*expected));
    float   *found        = test_alloc(elems, sizeof(*found));
    region_t grad_region  = region_create(op_device(), elems, grad_offset, grad);
    region_t error_region = region_create(op_device(), elems, error_offset, error);

    for (size_t i = 0; i < elems; ++i) {
        expected[i] = grad[i] + error[i];
    }
    assert_ok(psgd_error_feedback_enqueue(feedback, grad_region.view, error_region.view, elems));
    region_read(&grad_region, found);
    ck_assert_msg(count_different(found, expected, elems) == 0, "%zu elements at bytes %zu and %zu: %zu sums differ",
                  elems, grad_offset, error_offset, count_different(found, expected, elems));
    region_read(&error_region, found);
    ck_assert_msg(count_different(found, error, elems) == 0, "the error memory was written");

    region_destroy(&error_region);
    region_destroy(&grad_region);
    free(found);
    free(expected);
}

static void check_lengths_and_offsets(bool is_cpu)
{
    size_t                 longest  = LENGTHS[NUM_LENGTHS - 1];
    float                 *grad     = test_alloc(longest, sizeof(*grad));
    float                 *error    = test_alloc(longest, sizeof(*error));
    bool                   was_cpu  = psgd_device_limits(op_device())->is_cpu;
    psgd_error_feedback_t *feedback = NULL;

    fill_uniform(grad, longest, 1, 1.0f);
    fill_uniform(error, longest, 2, 1e-3f);
    op_device_pretend_cpu(op_device(), is_cpu);
    assert_ok(psgd_error_feedback_create(op_device(), &feedback));
    for (size_t length = 0; length < NUM_LENGTHS; ++length) {
        for (size_t offset = 0; offset < NUM_OFFSETS; ++offset) {
            check_sum(feedback, grad, error, LENGTHS[length], OFFSETS[offset],
                      OFFSETS[(offset + length) % NUM_OFFSETS]);
        }
    }
    psgd_error_feedback_destroy(feedback);
    op_device_pretend_cpu(op_device(), was_cpu);
    free(error);
    free(grad);
}

START_TEST(error_feedback__sums_are_exact_at_every_length_and_offset_in_the_form_for_cpus)
{
    check_lengths_and_offsets(true);
}
END_TEST

START_TEST(error_feedback__sums_are_exact_at_every_length_and_offset_in_the_form_for_gpus)
{
    check_lengths_and_offsets(false);
}
END_TEST

START_TEST(error_feedback__a_matrix_of_an_embedding_is_summed_whole)
{
    size_t                 elems    = psgd_test_shapes_are_reduced() ? 2887 * 65 : 28869 * 650;
    float                 *grad     = test_alloc(elems, sizeof(*grad));
    float                 *error    = test_alloc(elems, sizeof(*error));
    psgd_error_feedback_t *feedback = NULL;

    fill_uniform(grad, elems, 3, 1e-2f);
    fill_uniform(error, elems, 4, 1.0f);
    assert_ok(psgd_error_feedback_create(op_device(), &feedback));
    check_sum(feedback, grad, error, elems, 4, 0);
    psgd_error_feedback_destroy(feedback);
    free(error);
    free(grad);
}
END_TEST

START_TEST(error_feedback__what_is_not_finite_stays_visible)
{
    const float            grad[]  = {NAN, 1.0f, INFINITY, -INFINITY, 3e38f, 0.0f};
    const float            error[] = {1.0f, NAN, 1.0f, INFINITY, 3e38f, -0.0f};
    float                  found[6];
    region_t               grad_region  = region_create(op_device(), 6, 0, grad);
    region_t               error_region = region_create(op_device(), 6, 0, error);
    psgd_error_feedback_t *feedback     = NULL;

    assert_ok(psgd_error_feedback_create(op_device(), &feedback));
    assert_ok(psgd_error_feedback_enqueue(feedback, grad_region.view, error_region.view, 6));
    region_read(&grad_region, found);
    ck_assert(isnan(found[0]) && isnan(found[1]) && isnan(found[3]));
    ck_assert(isinf(found[2]) && isinf(found[4]) && (found[5] == 0.0f));
    psgd_error_feedback_destroy(feedback);
    region_destroy(&error_region);
    region_destroy(&grad_region);
}
END_TEST

START_TEST(error_feedback__destroy_of_null_does_nothing)
{
    psgd_error_feedback_destroy(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error feedback");
    TCase *tests = tcase_create("error feedback");

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, NULL, op_device_close);
    tcase_add_test(tests, error_feedback__sums_are_exact_at_every_length_and_offset_in_the_form_for_cpus);
    tcase_add_test(tests, error_feedback__sums_are_exact_at_every_length_and_offset_in_the_form_for_gpus);
    tcase_add_test(tests, error_feedback__a_matrix_of_an_embedding_is_summed_whole);
    tcase_add_test(tests, error_feedback__what_is_not_finite_stays_visible);
    tcase_add_test(tests, error_feedback__destroy_of_null_does_nothing);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
