/* The update P^ Qbar^T, bit for bit, and the error M - P^ Q_w^T. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "op_fixture.h"
#include "ops/decompress.h"
#include "reference/matrix_reference.h"
#include "support/suite.h"

typedef struct shape {
    size_t rows, cols, r;
} shape_t;

static const shape_t SHAPES[] = {
    {1, 1, 1},      {1, 2, 1},     {2, 1, 1},      {1, 37, 1},    {37, 1, 1},    {3, 5, 2},
    {4, 16, 4},     {5, 17, 3},    {7, 7, 7},      {8, 64, 8},    {13, 31, 5},   {61, 127, 7},
    {127, 61, 31},  {97, 101, 32}, {64, 27, 16},   {10, 512, 10}, {3, 4099, 2},  {4099, 3, 2},
    {257, 1025, 4}, {1031, 70, 9}, {130, 2050, 1}, {33, 515, 33}, {70, 150, 65},
};

static const size_t OFFSETS[] = {0, 4, 12, 60};

enum { NUM_SHAPES = sizeof(SHAPES) / sizeof(SHAPES[0]), NUM_OFFSETS = sizeof(OFFSETS) / sizeof(OFFSETS[0]) };

/* ------------------------------------------------------------------------------------------------------------------
 * The scale of Qbar
 * ---------------------------------------------------------------------------------------------------------------- */

enum { SCALE_ELEMS = 64 };

/* Entries of every size from 2^e down to far below dust, some denormal, some zero. */
static void fill_graded(float *q, int e)
{
    for (int i = 0; i < SCALE_ELEMS; ++i) {
        double entry = ldexp(1.0 + (double)(i * 0x51E9B % 0x800000) / 0x800000, e - i);

        q[i] = (float)((i % 3 == 1) ? -entry : entry);
    }
    q[SCALE_ELEMS - 1] = -0.0f;
    q[SCALE_ELEMS - 2] = 0.0f;
}

static bool is_normal_or_zero(float x)
{
    return (x == 0.0f) || (isfinite(x) && (fabsf(x) >= FLT_MIN));
}

START_TEST(scale__is_exact_and_free_of_denormals_for_every_exponent)
{
    for (int e = -149; e < 120; ++e) {
        float               q[SCALE_ELEMS], scaled[SCALE_ELEMS];
        psgd_update_scale_t scale = {0.0f, 0.0f, 0.0f, 0.0f};

        fill_graded(q, e);
        assert_ok(psgd_update_scale_q(q, scaled, SCALE_ELEMS, &scale));
        ck_assert_msg((fabsf(scaled[0]) >= 1.0f) && (fabsf(scaled[0]) < 2.0f), "2^%d: scaled to %g", e,
                      (double)scaled[0]);
        for (int i = 0; i < SCALE_ELEMS; ++i) {
            double exact = ldexp((double)q[i], -e);

            if (fabs(exact) < ldexp(1.0, -40)) {
                exact = 0.0;
            }
            ck_assert_msg((double)scaled[i] == exact, "2^%d, entry %d: %a is not %a", e, i, (double)scaled[i], exact);
            ck_assert(is_normal_or_zero(scaled[i]));
        }
        ck_assert_msg((double)scale.scale_1 * (double)scale.scale_2 == ldexp(1.0, e), "2^%d: %a %a", e,
                      (double)scale.scale_1, (double)scale.scale_2);
        ck_assert(is_normal_or_zero(scale.scale_1) && is_normal_or_zero(scale.scale_2));
        ck_assert_msg((double)scale.flush_below == ldexp(1.0, -126 - (e < 0 ? e : 0)), "2^%d: %a", e,
                      (double)scale.flush_below);
    }
}
END_TEST

START_TEST(scale__of_zeros_is_one)
{
    const float         q[4] = {0.0f, -0.0f, 0.0f, 0.0f};
    float               scaled[4];
    psgd_update_scale_t scale;

    memset(scaled, 0xFF, sizeof(scaled));
    assert_ok(psgd_update_scale_q(q, scaled, 4, &scale));
    ck_assert((scale.scale_1 == 1.0f) && (scale.scale_2 == 1.0f) && (scale.flush_below == FLT_MIN));
    for (int i = 0; i < 4; ++i) {
        ck_assert((scaled[i] == 0.0f) && !signbit(scaled[i]));
    }
}
END_TEST

START_TEST(scale__may_be_taken_in_place)
{
    float               q[SCALE_ELEMS], in_place[SCALE_ELEMS], apart[SCALE_ELEMS];
    psgd_update_scale_t scale, scale_apart;

    fill_graded(q, -73);
    memcpy(in_place, q, sizeof(q));
    assert_ok(psgd_update_scale_q(in_place, in_place, SCALE_ELEMS, &scale));
    assert_ok(psgd_update_scale_q(q, apart, SCALE_ELEMS, &scale_apart));
    ck_assert_uint_eq(count_different(in_place, apart, SCALE_ELEMS), 0);
    ck_assert(memcmp(&scale, &scale_apart, sizeof(scale)) == 0);
}
END_TEST

START_TEST(scale__refuses_nan_inf_and_what_could_overflow_and_writes_nothing)
{
    const float               refused[] = {NAN, -NAN, INFINITY, -INFINITY, FLT_MAX, 0x1p120f, -0x1p120f};
    const psgd_update_scale_t untouched = {3.0f, 5.0f, 7.0f, 9.0f};

    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); ++i) {
        float               q[3]      = {1.0f, 0.0f, 2.0f};
        float               scaled[3] = {11.0f, 13.0f, 17.0f};
        psgd_update_scale_t scale     = untouched;

        q[1] = refused[i];
        assert_fails(psgd_update_scale_q(q, scaled, 3, &scale), PSGD_ERR_NONFINITE, "2^120");
        ck_assert((scaled[0] == 11.0f) && (scaled[1] == 13.0f) && (scaled[2] == 17.0f));
        ck_assert(memcmp(&scale, &untouched, sizeof(scale)) == 0);
    }
}
END_TEST

START_TEST(scale__takes_the_largest_float_below_the_limit)
{
    const float         q[2] = {nextafterf(0x1p120f, 0.0f), -0x1p80f};
    float               scaled[2];
    psgd_update_scale_t scale;

    assert_ok(psgd_update_scale_q(q, scaled, 2, &scale));
    ck_assert((scaled[0] == nextafterf(2.0f, 0.0f)) && (scaled[1] == -0x1p-39f));
}
END_TEST

#if defined(__SSE2__)
START_TEST(scale__does_not_depend_on_a_process_that_flushes_denormals)
{
    const unsigned flush_and_zero = 0x8040; /* FTZ and DAZ of MXCSR */
    const unsigned before         = _mm_getcsr();

    for (int e = -149; e < -100; ++e) {
        float               q[SCALE_ELEMS], expected[SCALE_ELEMS], found[SCALE_ELEMS];
        psgd_update_scale_t expected_scale, found_scale;

        fill_graded(q, e);
        assert_ok(psgd_update_scale_q(q, expected, SCALE_ELEMS, &expected_scale));
        _mm_setcsr(before | flush_and_zero);
        psgd_update_scale_q(q, found, SCALE_ELEMS, &found_scale);
        _mm_setcsr(before);
        ck_assert_uint_eq(count_different(expected, found, SCALE_ELEMS), 0);
        ck_assert(memcmp(&expected_scale, &found_scale, sizeof(found_scale)) == 0);
    }
}
END_TEST
#endif

/* ------------------------------------------------------------------------------------------------------------------
 * One matrix on the device
 * ---------------------------------------------------------------------------------------------------------------- */

/* The input of one decompression on the host. */
typedef struct matrix {
    shape_t shape;
    float  *m;      /* rows x cols */
    float  *p;      /* r x rows, rows of M's order have norm below 1 */
    float  *q_mean; /* r x cols */
    float  *q_own;  /* r x cols */
} matrix_t;

/* Ordinary numbers of the given size, and among them: entries of P from dust to 2^-144, entries of Q that are zero or
 * far smaller than the rest, and terms of which the second takes away the first but for its rounding. */
static matrix_t make_matrix(shape_t shape, double q_size)
{
    matrix_t matrix = {shape, NULL, NULL, NULL, NULL};
    size_t   rows = shape.rows, cols = shape.cols, r = shape.r;

    matrix.m      = test_alloc(rows * cols, sizeof(float));
    matrix.p      = test_alloc(r * rows, sizeof(float));
    matrix.q_mean = test_alloc(r * cols, sizeof(float));
    matrix.q_own  = test_alloc(r * cols, sizeof(float));
    fill_uniform(matrix.m, rows * cols, 1, 1.0f);
    fill_uniform(matrix.p, r * rows, 2, (float)(1.0 / sqrt((double)r)));
    fill_uniform(matrix.q_mean, r * cols, 3, 1.0f);
    fill_uniform(matrix.q_own, r * cols, 4, 1.0f);
    for (size_t n = 0; n < r * rows; ++n) {
        matrix.p[n] = (n % 11 == 10) ? ldexpf(matrix.p[n], -(int)(9 * (n % 17))) : matrix.p[n];
    }
    for (size_t n = 0; n < r * cols; ++n) {
        double entry = (double)matrix.q_mean[n];

        entry            = (n % 13 == 12) ? ldexp(entry, -(int)(7 * (n % 19))) : ((n % 29 == 28) ? 0.0 : entry);
        matrix.q_mean[n] = (float)(entry * q_size); /* rounded where it becomes denormal */
    }
    for (size_t i = 0; (r > 1) && (i < rows); i += 7) {
        matrix.p[rows + i] = -matrix.p[i];
    }
    for (size_t i = 8; i < rows; i += 9) { /* a tiny row: its update is 0, and its error is not */
        for (size_t k = 0; k < r; ++k) {
            matrix.p[k * rows + i] = ldexpf(matrix.p[k * rows + i], -45);
        }
        for (size_t j = 0; j < cols; ++j) {
            matrix.m[i * cols + j] = ldexpf(matrix.m[i * cols + j], -45);
        }
    }
    for (size_t j = 0; (r > 1) && (j < cols); j += 3) {
        matrix.q_mean[cols + j] = nextafterf(matrix.q_mean[j], 0.0f);
    }
    return matrix;
}

static void free_matrix(matrix_t *matrix)
{
    free(matrix->q_own);
    free(matrix->q_mean);
    free(matrix->p);
    free(matrix->m);
}

/* How kernels are compiled. */
typedef struct way {
    psgd_form_t form;
    uint32_t    vector_floats; /* 1: work-items side by side, the form for GPUs */
} way_t;

/* The variants, as numbers of loop tests. */
enum { VECTORS, ITEMS };

static way_t way_of(int variant, psgd_form_t form)
{
    return (way_t){form, variant == VECTORS ? 16 : 1};
}

enum { COMPANION_RANK = 65, MAX_COMPANION_RANK = 1024, COMPANION_SIDE = 67 };

/* Beside the matrix is another one, all zero, of a higher rank: with it, the same kernels serve every rank. */
static psgd_ragged_item_t companion_of(shape_t shape)
{
    uint32_t r = shape.r < COMPANION_RANK ? COMPANION_RANK : MAX_COMPANION_RANK;

    return (psgd_ragged_item_t){.rows        = COMPANION_SIDE,
                                .cols        = COMPANION_SIDE,
                                .r           = r,
                                .scale_index = 0,
                                .p_offset    = shape.r * shape.rows,
                                .q_offset    = shape.r * shape.cols};
}

static float *with_room(const float *values, size_t elems, size_t room)
{
    float *all = test_alloc(elems + room, sizeof(*all));

    memcpy(all, values, elems * sizeof(*all));
    return all;
}

static void run_kernel(way_t way, const psgd_ragged_item_t items[2], const psgd_view_t grads[2],
                       const psgd_view_t errors[2], const psgd_decompress_views_t *views)
{
    psgd_ragged_t       *ragged       = NULL;
    psgd_decompressor_t *decompressor = NULL;

    op_device_pretend(op_device(), way.vector_floats);
    assert_ok(psgd_ragged_create(op_device(), items, 2, &ragged));
    assert_ok(psgd_decompressor_create(ragged, way.form, &decompressor));
    assert_ok(psgd_ragged_place(ragged, grads, way.form == PSGD_FORM_TRANSACTIONAL ? errors : NULL));
    assert_ok(psgd_decompressor_enqueue(decompressor, views));
    assert_ok(psgd_device_wait(op_device(), "a test of decompression"));
    psgd_decompressor_destroy(decompressor);
    psgd_ragged_destroy(ragged);
}

/* Runs it with all operands at byte offsets that follow from `offset`. error NULL: without error feedback. */
static void decompress(way_t way, const matrix_t *matrix, size_t offset, float *update, float *error)
{
    shape_t             shape     = matrix->shape;
    size_t              elems     = shape.rows * shape.cols;
    size_t              p_elems   = shape.r * shape.rows, q_elems = shape.r * shape.cols;
    psgd_ragged_item_t  companion = companion_of(shape);
    size_t              room      = (size_t)companion.r * COMPANION_SIDE;
    float              *all_p = with_room(matrix->p, p_elems, room), *all_q = with_room(matrix->q_mean, q_elems, room);
    float              *all_own   = with_room(matrix->q_own, q_elems, room);
    psgd_update_scale_t scales[2] = {{1.0f, 1.0f, FLT_MIN, 0.0f}, {0.0f, 0.0f, 0.0f, 0.0f}};
    psgd_ragged_item_t  items[2]  = {companion,
                                     {.rows        = (uint32_t)shape.rows,
                                      .cols        = (uint32_t)shape.cols,
                                      .r           = (uint32_t)shape.r,
                                      .scale_index = 1}};
    float              *zeros     = test_alloc((size_t)COMPANION_SIDE * COMPANION_SIDE, sizeof(*zeros));
    region_t            p, q, own, grad, rest, scale, other_grad, other_rest;

    assert_ok(psgd_update_scale_q(matrix->q_mean, all_q, q_elems, &scales[1]));
    p          = region_create(op_device(), p_elems + room, OFFSETS[(offset + 1) % NUM_OFFSETS], all_p);
    q          = region_create(op_device(), q_elems + room, OFFSETS[(offset + 2) % NUM_OFFSETS], all_q);
    own        = region_create(op_device(), q_elems + room, OFFSETS[(offset + 3) % NUM_OFFSETS], all_own);
    grad       = region_create(op_device(), elems, OFFSETS[offset], matrix->m);
    rest       = region_create(op_device(), elems, OFFSETS[(offset + 2) % NUM_OFFSETS], NULL);
    scale      = region_create(op_device(), 2 * sizeof(scales[0]) / sizeof(float), 4, (const float *)(const void *)scales);
    other_grad = region_create(op_device(), (size_t)COMPANION_SIDE * COMPANION_SIDE, 0, zeros);
    other_rest = region_create(op_device(), (size_t)COMPANION_SIDE * COMPANION_SIDE, 8, NULL);

    const psgd_view_t             grads[2]  = {other_grad.view, grad.view};
    const psgd_view_t             errors[2] = {other_rest.view, rest.view};
    const psgd_decompress_views_t views     = {p.view, q.view, scale.view, own.view, {{NULL, 0}, 0}};

    run_kernel(way, items, grads, errors, &views);
    region_read(&grad, update);
    if (error != NULL) {
        region_read(&rest, error);
    }
    region_destroy(&other_rest);
    region_destroy(&other_grad);
    region_destroy(&scale);
    region_destroy(&rest);
    region_destroy(&grad);
    region_destroy(&own);
    region_destroy(&q);
    region_destroy(&p);
    free(zeros);
    free(all_own);
    free(all_q);
    free(all_p);
}

static void check_update(const matrix_t *matrix, const float *update)
{
    shape_t shape    = matrix->shape;
    size_t  elems    = shape.rows * shape.cols;
    float  *expected = test_alloc(elems, sizeof(*expected));
    size_t  different;

    reference_update(matrix->p, matrix->q_mean, shape.rows, shape.cols, shape.r, expected);
    different = count_different(update, expected, elems);
    ck_assert_msg(different == 0, "%zu x %zu, r %zu: %zu of %zu elements of the update differ", shape.rows, shape.cols,
                  shape.r, different, elems);
    free(expected);
}

static void check_error(const matrix_t *matrix, const float *error)
{
    shape_t shape     = matrix->shape;
    size_t  elems     = shape.rows * shape.cols;
    double *exact     = test_alloc(elems, sizeof(*exact));
    double *magnitude = test_alloc(elems, sizeof(*magnitude));
    float  *chain     = test_alloc(elems, sizeof(*chain));
    size_t  different = 0;

    reference_error(matrix->m, matrix->p, matrix->q_own, shape.rows, shape.cols, shape.r, exact, magnitude);
    for (size_t i = 0; i < elems; ++i) {
        different +=
            fabs((double)error[i] - exact[i]) > ((double)shape.r + 1.0) * ldexp(magnitude[i], -24) + (double)FLT_MIN;
    }
    ck_assert_msg(different == 0, "%zu x %zu, r %zu: %zu of %zu elements of the error are not right to rounding",
                  shape.rows, shape.cols, shape.r, different, elems);
    reference_error_chain(matrix->m, matrix->p, matrix->q_own, shape.rows, shape.cols, shape.r, chain);
    different = count_different(error, chain, elems);
    ck_assert_msg(different == 0, "%zu x %zu, r %zu: %zu of %zu elements of the error differ", shape.rows, shape.cols,
                  shape.r, different, elems);
    free(chain);
    free(magnitude);
    free(exact);
}

static void check_matrix(way_t way, shape_t shape, double q_size, size_t offset)
{
    bool     has_error = way.form == PSGD_FORM_TRANSACTIONAL;
    matrix_t matrix    = make_matrix(shape, q_size);
    float   *update    = test_alloc(shape.rows * shape.cols, sizeof(*update));
    float   *error     = has_error ? test_alloc(shape.rows * shape.cols, sizeof(*error)) : NULL;

    decompress(way, &matrix, offset, update, error);
    check_update(&matrix, update);
    if (has_error) {
        check_error(&matrix, error);
    }
    free(error);
    free(update);
    free_matrix(&matrix);
}

/* Every shape at an offset of its own; every offset comes. */
static void check_all_shapes(way_t way)
{
    size_t step = psgd_test_shapes_are_reduced() ? 5 : 1;

    for (size_t i = 0; i < NUM_SHAPES; i += step) {
        check_matrix(way, SHAPES[i], 0.01, i % NUM_OFFSETS);
    }
    for (size_t r = 1; r <= 32; r += step * step) {
        check_matrix(way, (shape_t){37, 53, r}, 1.0, r % NUM_OFFSETS);
    }
}

START_TEST(decompress__update_and_error_are_right_for_every_shape)
{
    check_all_shapes(way_of(_i, PSGD_FORM_TRANSACTIONAL));
}
END_TEST

START_TEST(decompress__update_alone_is_right_for_every_shape)
{
    check_all_shapes(way_of(_i, _i == VECTORS ? PSGD_FORM_NO_FEEDBACK : PSGD_FORM_LAZY));
}
END_TEST

START_TEST(decompress__update_has_the_hosts_bits_at_every_size_of_q)
{
    static const double  SIZES[] = {1e-44, 1e-42, 3e-39, 1e-38, 2e-37, 1e-36, 1e-31, 1e-20, 1e-3, 1e10, 1e30, 1e36};

    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); i += psgd_test_shapes_are_reduced() ? 4 : 1) {
        check_matrix(way_of(_i, PSGD_FORM_NO_FEEDBACK), (shape_t){61, 127, 7}, SIZES[i], 1);
        check_matrix(way_of(_i, PSGD_FORM_NO_FEEDBACK), (shape_t){19, 70, 1}, SIZES[i], 0);
    }
}
END_TEST

START_TEST(decompress__zero_factors_give_a_zero_update_and_leave_m_as_the_error)
{
    shape_t              shape        = {23, 45, 3};
    matrix_t             matrix       = make_matrix(shape, 1.0);
    float                update[23 * 45], error[23 * 45];

    memset(matrix.q_mean, 0, shape.r * shape.cols * sizeof(float));
    memset(matrix.q_own, 0, shape.r * shape.cols * sizeof(float));
    decompress(way_of(_i, PSGD_FORM_TRANSACTIONAL), &matrix, 2, update, error);
    for (size_t i = 0; i < shape.rows * shape.cols; ++i) {
        ck_assert((update[i] == 0.0f) && !signbit(update[i]));
    }
    ck_assert_uint_eq(count_different(error, matrix.m, shape.rows * shape.cols), 0);
    free_matrix(&matrix);
}
END_TEST

START_TEST(decompress__update_alone_does_not_look_at_m)
{
    shape_t              shape        = {9, 35, 2};
    matrix_t             matrix       = make_matrix(shape, 1.0);
    float                update[9 * 35];

    for (size_t i = 0; i < shape.rows * shape.cols; ++i) {
        matrix.m[i] = NAN;
    }
    decompress(way_of(_i, PSGD_FORM_NO_FEEDBACK), &matrix, 3, update, NULL);
    check_update(&matrix, update);
    free_matrix(&matrix);
}
END_TEST

START_TEST(decompress__high_ranks_are_chains_too)
{
    way_t way = way_of(_i, PSGD_FORM_TRANSACTIONAL);

    check_matrix(way, (shape_t){psgd_test_shapes_are_reduced() ? 67 : 1024, 66, 1024}, 1e-4, 1);
    check_matrix(way, (shape_t){29, 300, 513}, 1e3, 2);
}
END_TEST

START_TEST(decompress__large_matrices_are_right)
{
    if (psgd_test_shapes_are_reduced()) {
        check_matrix(way_of(_i, PSGD_FORM_TRANSACTIONAL), (shape_t){2887, 65, 4}, 1e-2, 1);
        check_matrix(way_of(_i, PSGD_FORM_TRANSACTIONAL), (shape_t){51, 4608, 8}, 1e-2, 0);
    } else {
        check_matrix(way_of(_i, PSGD_FORM_TRANSACTIONAL), (shape_t){28869, 650, 4}, 1e-2, 1);
        check_matrix(way_of(_i, PSGD_FORM_TRANSACTIONAL), (shape_t){512, 4608, 8}, 1e-2, 0);
        check_matrix(way_of(_i, PSGD_FORM_TRANSACTIONAL), (shape_t){20011, 48, 5}, 1e-2, 3);
    }
}
END_TEST

START_TEST(decompress__destroy_of_null_does_nothing)
{
    psgd_decompressor_destroy(NULL);
}
END_TEST

static void add_device_tests(TCase *device, int variant)
{
    const TTest *const tests[] = {
        decompress__update_and_error_are_right_for_every_shape,
        decompress__update_alone_is_right_for_every_shape,
        decompress__update_has_the_hosts_bits_at_every_size_of_q,
        decompress__zero_factors_give_a_zero_update_and_leave_m_as_the_error,
        decompress__update_alone_does_not_look_at_m,
        decompress__high_ranks_are_chains_too,
        decompress__large_matrices_are_right,
    };

    tcase_set_timeout(device, 0);
    tcase_add_unchecked_fixture(device, NULL, op_device_close);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); ++i) {
        tcase_add_loop_test(device, tests[i], variant, variant + 1);
    }
}

int main(void)
{
    Suite *suite   = suite_create("decompress");
    TCase *scale   = tcase_create("scale");
    TCase *vectors = tcase_create("vectors");
    TCase *items   = tcase_create("items");

    tcase_add_test(scale, scale__is_exact_and_free_of_denormals_for_every_exponent);
    tcase_add_test(scale, scale__of_zeros_is_one);
    tcase_add_test(scale, scale__may_be_taken_in_place);
    tcase_add_test(scale, scale__refuses_nan_inf_and_what_could_overflow_and_writes_nothing);
    tcase_add_test(scale, scale__takes_the_largest_float_below_the_limit);
#if defined(__SSE2__)
    tcase_add_test(scale, scale__does_not_depend_on_a_process_that_flushes_denormals);
#endif
    tcase_add_test(scale, decompress__destroy_of_null_does_nothing);
    suite_add_tcase(suite, scale);
    add_device_tests(vectors, VECTORS);
    suite_add_tcase(suite, vectors);
    add_device_tests(items, ITEMS);
    suite_add_tcase(suite, items);
    return psgd_run_suite(suite);
}
