/* What copies gradients into the layout of their matrices and back (ops/arrange), and error feedback with a memory in 16 bits
 * (PSGD_FORM_HALF): every element against the host, in every variant of the kernels, and nothing else touched. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "op_fixture.h"
#include "ops/arrange.h"
#include "ops/compute_p.h"
#include "ops/decompress.h"
#include "ops/residual.h"
#include "plan/matrix_view.h"
#include "reference/matrix_reference.h"
#include "support/half.h"
#include "support/suite.h"

static const uint32_t VARIANTS[] = {1, 4, 8, 16};

enum { NUM_VARIANTS = sizeof(VARIANTS) / sizeof(VARIANTS[0]) };

static float random_half(psgd_dtype_t dtype, float x)
{
    return dtype == PSGD_F32 ? x : half_decode(dtype, half_encode(dtype, x));
}

/* ---- arrange ---- */

/* A tensor of a type and a view; batch 0: it is not compressed. */
typedef struct shape {
    psgd_dtype_t       dtype;
    psgd_matrix_view_t view;
} shape_t;

static const shape_t SHAPES[] = {
    {PSGD_F32, {1, 5, 7, 0, 1, 5}},     {PSGD_F16, {3, 4, 9, 9, 27, 1}},    {PSGD_BF16, {1, 1, 35, 0, 35, 1}},
    {PSGD_F32, {2, 70, 33, 33, 66, 1}}, {PSGD_BF16, {1, 67, 90, 0, 1, 67}}, {PSGD_F16, {2, 11, 13, 143, 13, 1}},
    {PSGD_F32, {4, 6, 10, 6, 1, 24}},   {PSGD_F16, {1, 1, 1, 0, 0, 1}},     {PSGD_BF16, {3, 5, 2, 1, 6, 3}},
};

enum { NUM_SHAPES = sizeof(SHAPES) / sizeof(SHAPES[0]) };

static uint64_t elems_of(const psgd_matrix_view_t *view)
{
    return view->batch * view->rows * view->cols;
}

static void describe(psgd_plan_t *plan, psgd_plan_tensor_t *tensors)
{
    memset(tensors, 0, NUM_SHAPES * sizeof(*tensors));
    *plan = (psgd_plan_t){.tensors = tensors, .num_tensors = NUM_SHAPES, .num_given = NUM_SHAPES};
    for (size_t i = 0; i < NUM_SHAPES; ++i) {
        tensors[i].dtype       = SHAPES[i].dtype;
        tensors[i].view        = SHAPES[i].view;
        tensors[i].elems       = elems_of(&SHAPES[i].view);
        tensors[i].route       = PSGD_ROUTE_COMPRESSED;
        tensors[i].is_reshaped = !psgd_matrix_view_is_contiguous(&SHAPES[i].view);
        tensors[i].is_copied   = true;
    }
}

/* Element n of tensor i as the test has it, and where its matrices, one behind the other, hold it. */
static float value_of(size_t i, uint64_t n, float sign)
{
    return random_half(SHAPES[i].dtype, sign * (float)((n * 37 + 11 * i) % 509 + 1) * 0.0037f);
}

static uint64_t element_of(size_t i, uint64_t place)
{
    const psgd_matrix_view_t *view = &SHAPES[i].view;
    uint64_t                  size = view->rows * view->cols;

    return psgd_matrix_view_element(view, place / size, place % size / view->cols, place % view->cols);
}

/* The given tensor as the device has it: in 16 bits two to a float of the region. */
static void pack_given(size_t i, float sign, float *memory)
{
    uint64_t elems = elems_of(&SHAPES[i].view);

    for (uint64_t n = 0; n < elems; ++n) {
        if (SHAPES[i].dtype == PSGD_F32) {
            memory[n] = value_of(i, n, sign);
        } else {
            ((uint16_t *)(void *)memory)[n] = half_encode(SHAPES[i].dtype, value_of(i, n, sign));
        }
    }
}

static size_t floats_of(size_t i)
{
    size_t elems = (size_t)elems_of(&SHAPES[i].view);

    return SHAPES[i].dtype == PSGD_F32 ? elems : (elems + 1) / 2;
}

static void check_arrange(uint32_t vector_floats, bool wide)
{
    psgd_plan_tensor_t tensors[NUM_SHAPES];
    psgd_plan_t        plan;
    region_t           given[NUM_SHAPES], copies[NUM_SHAPES];
    psgd_view_t        given_views[NUM_SHAPES], copy_views[NUM_SHAPES];
    psgd_arrange_t    *arrange = NULL;

    op_device_pretend(op_device(), vector_floats);
    describe(&plan, tensors);
    for (size_t i = 0; i < NUM_SHAPES; ++i) {
        size_t elems  = (size_t)tensors[i].elems;
        size_t floats = wide ? elems : floats_of(i);
        float *memory = test_alloc(floats, sizeof(*memory));

        if (!wide) {
            pack_given(i, 1.0f, memory);
        }
        given[i]       = region_create(op_device(), floats, 4 * (i % 5), memory);
        copies[i]      = region_create(op_device(), elems, 4 * (i % 3), NULL);
        given_views[i] = given[i].view;
        copy_views[i]  = copies[i].view;
        free(memory);
    }
    assert_ok(psgd_arrange_create(op_device(), &plan, wide, &arrange));
    if (!wide) {
        assert_ok(psgd_arrange_enqueue_in(arrange, given_views, copy_views));
    }
    assert_ok(psgd_device_wait(op_device(), "a test of copies"));
    for (size_t i = 0; i < NUM_SHAPES; ++i) {
        float *found = test_alloc((size_t)tensors[i].elems, sizeof(*found));

        region_read(&copies[i], found);
        for (uint64_t place = 0; place < tensors[i].elems; ++place) {
            ck_assert_msg(wide || (found[place] == value_of(i, element_of(i, place), 1.0f)), "tensor %zu, place %d", i,
                          (int)place);
            found[place] = value_of(i, element_of(i, place), -1.0f);
        }
        region_write(&copies[i], found);
        free(found);
    }
    assert_ok(psgd_arrange_enqueue_out(arrange, copy_views, given_views));
    assert_ok(psgd_device_wait(op_device(), "a test of copies"));
    for (size_t i = 0; i < NUM_SHAPES; ++i) {
        float *found = test_alloc(given[i].elems, sizeof(*found)), *must = test_alloc(given[i].elems, sizeof(*must));

        region_read(&given[i], found);
        if (wide) {
            for (uint64_t n = 0; n < tensors[i].elems; ++n) {
                must[n] = value_of(i, n, -1.0f);
            }
        } else {
            pack_given(i, -1.0f, must);
        }
        ck_assert_msg(memcmp(found, must, given[i].elems * sizeof(*must)) == 0, "tensor %zu went back wrongly", i);
        free(must);
        free(found);
    }
    psgd_arrange_destroy(arrange);
    for (size_t i = 0; i < NUM_SHAPES; ++i) {
        region_destroy(&copies[i]);
        region_destroy(&given[i]);
    }
}

START_TEST(arrange__matrices_go_to_their_copies_and_back_and_nothing_else_is_touched)
{
    check_arrange(VARIANTS[_i], false);
}
END_TEST

START_TEST(arrange__what_is_given_may_be_in_single_precision_whatever_the_type)
{
    check_arrange(VARIANTS[_i], true);
}
END_TEST

/* ---- feedback ---- */

/* The last two are cut into tiles: by columns, and by rows. */
static const struct {
    uint32_t rows, cols, r;
} MATRICES[] = {{1, 1, 1}, {7, 3, 2}, {5, 16, 4}, {33, 35, 3}, {3, 1040, 2}, {36, 130, 4}};

enum { NUM_MATRICES = sizeof(MATRICES) / sizeof(MATRICES[0]), MAX_ELEMS = 36 * 130 };

/* All of one run. */
typedef struct feedback_run {
    float    m[NUM_MATRICES][MAX_ELEMS]; /* after the error was added */
    float    update[NUM_MATRICES][MAX_ELEMS];
    uint16_t e[NUM_MATRICES][MAX_ELEMS + 1];
} feedback_run_t;

/* What is left: by itself, or in the pass that writes the update. */
typedef enum leaving { LEAVE_ALONE, LEAVE_WITH_UPDATE } leaving_t;

static float *factor(size_t elems, uint64_t stream)
{
    float *values = test_alloc(elems, sizeof(*values));

    fill_uniform(values, elems, stream, 0.5f);
    return values;
}

static uint16_t error_before(size_t i, size_t n)
{
    return half_encode(PSGD_BF16, (float)((n * 29 + i) % 401) * 0.01f - 2.0f);
}

static size_t elems_of_matrix(size_t i)
{
    return (size_t)MATRICES[i].rows * MATRICES[i].cols;
}

/* Device memory of one run. */
typedef struct feedback_memory {
    region_t       grads[NUM_MATRICES], errors, p, q, keys, scales;
    psgd_view_t    grad_views[NUM_MATRICES], error_views[NUM_MATRICES];
    psgd_ragged_t *ragged;
} feedback_memory_t;

/* All error memories in one buffer, each from an even number of halves on: where matrix i's begins. */
static size_t error_begin(size_t i)
{
    size_t at = 0;

    for (size_t k = 0; k < i; ++k) {
        at += (elems_of_matrix(k) + 1) / 2 * 2;
    }
    return at;
}

static void create_errors(feedback_memory_t *memory)
{
    float *values = test_alloc(error_begin(NUM_MATRICES) / 2, sizeof(*values));

    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        for (size_t n = 0; n < elems_of_matrix(i); ++n) {
            ((uint16_t *)(void *)values)[error_begin(i) + n] = error_before(i, n);
        }
    }
    memory->errors = region_create(op_device(), error_begin(NUM_MATRICES) / 2, 8, values);
    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        size_t first = memory->errors.view.offset_bytes / sizeof(uint16_t) + error_begin(i);

        memory->error_views[i] = (psgd_view_t){memory->errors.view.mem, first * sizeof(float)};
    }
    free(values);
}

static void create_memory(feedback_memory_t *memory)
{
    const psgd_update_scale_t scale = {1.0f, 1.0f, 0.0f, 0.0f};
    psgd_ragged_item_t        items[NUM_MATRICES];
    uint32_t                  keys[NUM_MATRICES];
    psgd_update_scale_t       scales[NUM_MATRICES];
    size_t                    p_elems = 0, q_elems = 0;
    float                    *values = test_alloc(MAX_ELEMS, sizeof(*values)), *p_values, *q_values;

    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        items[i] =
            (psgd_ragged_item_t){MATRICES[i].rows, MATRICES[i].cols, MATRICES[i].r, (uint32_t)i, p_elems, q_elems};
        keys[i]   = 77 + (uint32_t)i;
        scales[i] = scale;
        p_elems += (size_t)MATRICES[i].rows * MATRICES[i].r;
        q_elems += (size_t)MATRICES[i].cols * MATRICES[i].r;
        fill_uniform(values, elems_of_matrix(i), 500 + i, 1.0f);
        memory->grads[i]      = region_create(op_device(), elems_of_matrix(i), 4 * (i % 5), values);
        memory->grad_views[i] = memory->grads[i].view;
    }
    create_errors(memory);
    p_values       = factor(p_elems, 1);
    q_values       = factor(q_elems, 2);
    memory->p      = region_create(op_device(), p_elems, 4, p_values);
    memory->q      = region_create(op_device(), q_elems, 12, q_values);
    memory->keys   = region_create(op_device(), NUM_MATRICES, 0, (const float *)(const void *)keys);
    memory->scales = region_create(op_device(), 4 * (size_t)NUM_MATRICES, 0, (const float *)(const void *)scales);
    assert_ok(psgd_ragged_create(op_device(), items, NUM_MATRICES, &memory->ragged));
    assert_ok(psgd_ragged_place(memory->ragged, memory->grad_views, memory->error_views));
    free(q_values);
    free(p_values);
    free(values);
}

static void destroy_memory(feedback_memory_t *memory)
{
    psgd_ragged_destroy(memory->ragged);
    region_destroy(&memory->scales);
    region_destroy(&memory->keys);
    region_destroy(&memory->q);
    region_destroy(&memory->p);
    region_destroy(&memory->errors);
    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        region_destroy(&memory->grads[i]);
    }
}

static void form_m(feedback_memory_t *memory)
{
    const psgd_compute_p_views_t not_touched = {memory->q.view, memory->p.view, memory->p.view, memory->q.view,
                                                memory->p.view};
    psgd_compute_p_t            *form        = NULL;

    assert_ok(psgd_compute_p_create(memory->ragged, PSGD_FORM_HALF, false, &form));
    assert_ok(psgd_compute_p_enqueue(form, &not_touched));
    assert_ok(psgd_device_wait(op_device(), "a test of feedback"));
    psgd_compute_p_destroy(form);
}

static void leave(feedback_memory_t *memory, leaving_t leaving, uint32_t step_key)
{
    const psgd_rounding_t         rounding     = {memory->keys.view, step_key};
    const psgd_decompress_views_t views        = {memory->p.view, memory->q.view, memory->scales.view, memory->q.view,
                                                  rounding};
    psgd_residual_t              *residual     = NULL;
    psgd_decompressor_t          *decompressor = NULL;

    if (leaving == LEAVE_ALONE) {
        assert_ok(psgd_residual_create(memory->ragged, PSGD_RESIDUAL_INTO_BFLOAT, &residual));
        assert_ok(psgd_residual_enqueue(residual, memory->p.view, memory->q.view, rounding));
    } else {
        assert_ok(psgd_decompressor_create(memory->ragged, PSGD_FORM_HALF, &decompressor));
        assert_ok(psgd_decompressor_enqueue(decompressor, &views));
    }
    assert_ok(psgd_device_wait(op_device(), "a test of feedback"));
    psgd_decompressor_destroy(decompressor);
    psgd_residual_destroy(residual);
}

static void run_feedback(uint32_t vector_floats, leaving_t leaving, uint32_t step_key, feedback_run_t *run)
{
    feedback_memory_t memory;
    float            *errors = test_alloc(error_begin(NUM_MATRICES) / 2, sizeof(*errors));

    memset(&memory, 0, sizeof(memory));
    op_device_pretend(op_device(), vector_floats);
    create_memory(&memory);
    form_m(&memory);
    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        region_read(&memory.grads[i], run->m[i]);
    }
    leave(&memory, leaving, step_key);
    region_read(&memory.errors, errors);
    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        region_read(&memory.grads[i], run->update[i]);
        memcpy(run->e[i], (uint16_t *)(void *)errors + error_begin(i), elems_of_matrix(i) * sizeof(uint16_t));
    }
    destroy_memory(&memory);
    free(errors);
}

/* M is the host's, and each element that is left is one of the two neighbours of the host's chain; M stays, or the update is there. */
static void check_feedback(const feedback_run_t *run, leaving_t leaving)
{
    size_t p_at = 0, q_at = 0, p_elems = 0, q_elems = 0;
    float *p, *q, *values = test_alloc(MAX_ELEMS, sizeof(*values)), *exact = test_alloc(MAX_ELEMS, sizeof(*exact));

    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        p_elems += (size_t)MATRICES[i].rows * MATRICES[i].r;
        q_elems += (size_t)MATRICES[i].cols * MATRICES[i].r;
    }
    p = factor(p_elems, 1);
    q = factor(q_elems, 2);
    for (size_t i = 0; i < NUM_MATRICES; ++i) {
        size_t elems = (size_t)MATRICES[i].rows * MATRICES[i].cols;

        fill_uniform(values, elems, 500 + i, 1.0f);
        for (size_t n = 0; n < elems; ++n) {
            values[n] += half_decode(PSGD_BF16, error_before(i, n));
        }
        ck_assert_uint_eq(count_different(values, run->m[i], elems), 0);
        reference_error_chain(values, p + p_at, q + q_at, MATRICES[i].rows, MATRICES[i].cols, MATRICES[i].r, exact);
        for (size_t n = 0; n < elems; ++n) {
            uint32_t bits;

            memcpy(&bits, &exact[n], sizeof(bits));
            ck_assert_msg((run->e[i][n] == bits >> 16) || (run->e[i][n] == (bits >> 16) + 1),
                          "matrix %zu, element %zu: %08x became %04x", i, n, bits, run->e[i][n]);
        }
        if (leaving == LEAVE_WITH_UPDATE) {
            for (size_t n = 0; n < elems; ++n) {
                values[n] = 0.0f;
            }
            reference_error_chain(values, p + p_at, q + q_at, MATRICES[i].rows, MATRICES[i].cols, MATRICES[i].r, exact);
            for (size_t n = 0; n < elems; ++n) {
                values[n] = -exact[n] + 0.0f;
            }
        }
        for (size_t n = 0; n < elems; ++n) {
            ck_assert_msg(run->update[i][n] == values[n], "matrix %zu, element %zu: %g, and not %g", i, n,
                          (double)run->update[i][n], (double)values[n]);
        }
        p_at += (size_t)MATRICES[i].rows * MATRICES[i].r;
        q_at += (size_t)MATRICES[i].cols * MATRICES[i].r;
    }
    free(q);
    free(p);
    free(exact);
    free(values);
}

START_TEST(feedback__adds_the_error_and_leaves_a_neighbour_of_what_is_left)
{
    static feedback_run_t run;

    run_feedback(VARIANTS[_i], LEAVE_ALONE, 5, &run);
    check_feedback(&run, LEAVE_ALONE);
    run_feedback(VARIANTS[_i], LEAVE_WITH_UPDATE, 5, &run);
    check_feedback(&run, LEAVE_WITH_UPDATE);
}
END_TEST

/* What chance decides is the same in all variants, and another in another step. */
START_TEST(feedback__chance_goes_by_key_step_and_element_alone)
{
    static feedback_run_t first, again, later;
    size_t                different = 0;

    run_feedback(1, LEAVE_ALONE, 5, &first);
    run_feedback(VARIANTS[_i], LEAVE_WITH_UPDATE, 5, &again);
    run_feedback(VARIANTS[_i], LEAVE_ALONE, 6, &later);
    ck_assert(memcmp(first.e, again.e, sizeof(first.e)) == 0);
    for (size_t n = 0; n < MAX_ELEMS; ++n) {
        different += first.e[NUM_MATRICES - 1][n] != later.e[NUM_MATRICES - 1][n] ? 1 : 0;
    }
    ck_assert_uint_gt(different, MAX_ELEMS / 5);
    ck_assert_uint_lt(different, MAX_ELEMS * 4 / 5);
}
END_TEST

/* All variants, or one of them alone: devices of other kinds, where the rest is slow and serves nobody. */
static TCase *make_case(const char *name, int begin, int end)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 0);
    tcase_add_unchecked_fixture(tcase, NULL, op_device_close);
    tcase_add_loop_test(tcase, arrange__matrices_go_to_their_copies_and_back_and_nothing_else_is_touched, begin, end);
    tcase_add_loop_test(tcase, arrange__what_is_given_may_be_in_single_precision_whatever_the_type, begin, end);
    tcase_add_loop_test(tcase, feedback__adds_the_error_and_leaves_a_neighbour_of_what_is_left, begin, end);
    tcase_add_loop_test(tcase, feedback__chance_goes_by_key_step_and_element_alone, begin, end);
    return tcase;
}

int main(void)
{
    Suite *suite = suite_create("copies and feedback");

    suite_add_tcase(suite, make_case("items", 0, 1));
    suite_add_tcase(suite, make_case("vectors", 1, NUM_VARIANTS));
    return psgd_run_suite(suite);
}
