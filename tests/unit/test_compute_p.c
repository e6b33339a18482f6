/* Pass A without its product: M = g + e alone, as the clblast engine has it. What the fused engine makes of the pass is tested
 * in test_engine_fused.c. */
#include <math.h>
#include <stdlib.h>

#include "op_fixture.h"
#include "ops/compute_p.h"
#include "support/suite.h"

static const size_t LENGTHS[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 63, 64, 65, 1023, 4095, 4096, 4097, 65537};
static const size_t OFFSETS[] = {0, 4, 12, 60};

enum { NUM_LENGTHS = sizeof(LENGTHS) / sizeof(LENGTHS[0]), NUM_OFFSETS = sizeof(OFFSETS) / sizeof(OFFSETS[0]) };

/* M over the gradient, of a matrix of so many rows. */
static void form_m(uint32_t vector_floats, size_t rows, size_t cols, const region_t *grad, const region_t *error)
{
    const psgd_ragged_item_t item    = {.rows = (uint32_t)rows, .cols = (uint32_t)cols, .r = 1};
    const psgd_compute_p_views_t views = {grad->view, grad->view, grad->view, grad->view, grad->view}; /* not touched */
    psgd_ragged_t           *ragged    = NULL;
    psgd_compute_p_t        *compute_p = NULL;

    op_device_pretend(op_device(), vector_floats);
    assert_ok(psgd_ragged_create(op_device(), &item, 1, &ragged));
    assert_ok(psgd_compute_p_create(ragged, PSGD_FORM_TRANSACTIONAL, false, &compute_p));
    ck_assert_uint_eq(psgd_compute_p_part_elems(compute_p), 0);
    assert_ok(psgd_ragged_place(ragged, &grad->view, &error->view));
    assert_ok(psgd_compute_p_enqueue(compute_p, &views));
    assert_ok(psgd_device_wait(op_device(), "a test of pass A"));
    psgd_compute_p_destroy(compute_p);
    psgd_ragged_destroy(ragged);
}

static void check_sum(uint32_t vector_floats, size_t rows, size_t cols, size_t grad_offset, size_t error_offset)
{
    size_t   elems = rows * cols;
    float   *grad = test_alloc(elems, sizeof(*grad)), *error = test_alloc(elems, sizeof(*error));
    float   *expected = test_alloc(elems, sizeof(*expected)), *found = test_alloc(elems, sizeof(*found));
    region_t grad_region, error_region;

    fill_uniform(grad, elems, 1, 1.0f);
    fill_uniform(error, elems, 2, 1e-3f);
    for (size_t i = 0; i < elems; ++i) {
        expected[i] = grad[i] + error[i];
    }
    grad_region  = region_create(op_device(), elems, grad_offset, grad);
    error_region = region_create(op_device(), elems, error_offset, error);
    form_m(vector_floats, rows, cols, &grad_region, &error_region);
    region_read(&grad_region, found);
    ck_assert_msg(count_different(found, expected, elems) == 0, "%zu x %zu at bytes %zu and %zu: %zu sums differ", rows, cols,
                  grad_offset, error_offset, count_different(found, expected, elems));
    region_read(&error_region, found);
    ck_assert_msg(count_different(found, error, elems) == 0, "the error memory was written");
    region_destroy(&error_region);
    region_destroy(&grad_region);
    free(found);
    free(expected);
    free(error);
    free(grad);
}

static void check_lengths_and_offsets(uint32_t vector_floats)
{
    for (size_t length = 0; length < NUM_LENGTHS; ++length) {
        size_t offset = OFFSETS[length % NUM_OFFSETS];
        size_t other  = OFFSETS[(length / 2) % NUM_OFFSETS];

        check_sum(vector_floats, 1, LENGTHS[length], offset, other);
        check_sum(vector_floats, 7, LENGTHS[length], other, offset);
        check_sum(vector_floats, LENGTHS[length], 3, 0, 4);
    }
}

START_TEST(form_m__sums_are_exact_at_every_length_and_offset_with_vectors)
{
    check_lengths_and_offsets(16);
    check_lengths_and_offsets(4);
}
END_TEST

START_TEST(form_m__sums_are_exact_at_every_length_and_offset_with_work_items_side_by_side)
{
    check_lengths_and_offsets(1);
}
END_TEST

START_TEST(form_m__a_matrix_of_an_embedding_is_summed_whole)
{
    if (psgd_test_shapes_are_reduced()) {
        check_sum(16, 2887, 65, 4, 0);
    } else {
        check_sum(16, 28869, 650, 4, 0);
    }
}
END_TEST

START_TEST(form_m__what_is_not_finite_stays_visible)
{
    const float grad[]  = {NAN, 1.0f, INFINITY, -INFINITY, 3e38f, 0.0f};
    const float error[] = {1.0f, NAN, 1.0f, INFINITY, 3e38f, -0.0f};
    float       found[6];
    region_t    grad_region  = region_create(op_device(), 6, 0, grad);
    region_t    error_region = region_create(op_device(), 6, 0, error);

    form_m(16, 1, 6, &grad_region, &error_region);
    region_read(&grad_region, found);
    ck_assert(isnan(found[0]) && isnan(found[1]) && isnan(found[3]));
    ck_assert(isinf(found[2]) && isinf(found[4]) && (found[5] == 0.0f));
    region_destroy(&error_region);
    region_destroy(&grad_region);
    psgd_compute_p_destroy(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("M = g + e");
    TCase *tests = tcase_create("M = g + e");

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, NULL, op_device_close);
    tcase_add_test(tests, form_m__sums_are_exact_at_every_length_and_offset_with_vectors);
    tcase_add_test(tests, form_m__sums_are_exact_at_every_length_and_offset_with_work_items_side_by_side);
    tcase_add_test(tests, form_m__a_matrix_of_an_embedding_is_summed_whole);
    tcase_add_test(tests, form_m__what_is_not_finite_stays_visible);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
