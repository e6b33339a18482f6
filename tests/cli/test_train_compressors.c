/* Each compressor of psgd-train against its formula in float64: what its message says of a matrix, and how long the message is. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compressor_reference.h"
#include "compressors/atomo.h"
#include "compressors/compressor.h"
#include "compressors/singular.h"
#include "support/suite.h"
#include "tool_asserts.h"

/* So many standard deviations from its expectation no mean is, of some thousands that are looked at. */
static const double DEVIATIONS = 6.0;

typedef struct shape {
    size_t   rows, cols;
    uint32_t rank;
} shape_t;

static const shape_t shapes[] = {{1, 7, 1},  {7, 1, 1},   {1, 1, 1},   {13, 5, 2},
                                 {5, 13, 5}, {64, 27, 4}, {27, 64, 3}, {16, 16, 1}};

enum { NUM_SHAPES = sizeof(shapes) / sizeof(shapes[0]), MAX_ELEMS = 64 * 27 };

static compressor_matrix_t matrix_of(const shape_t *shape)
{
    return (compressor_matrix_t){shape->rows, shape->cols, shape->rank, 77 + shape->rows};
}

/* Random numbers, none of them 0. */
static void fill(float *values, size_t count, uint64_t purpose)
{
    random_stream_t stream = random_stream(3, purpose);

    for (size_t i = 0; i < count; ++i) {
        double number = 2.0 * random_unit(&stream) - 1.0;

        values[i] = (float)(number + (number < 0.0 ? -1e-3 : 1e-3));
    }
}

/* said = what the message of `values` says. The message's words behind its end, and the result's, stay as they are. */
static void pass(compressor_t compressor, const compressor_matrix_t *matrix, compressor_draw_t draw,
                 const float *values, float *said)
{
    const compressor_ops_t *ops     = compressor_find(compressor);
    const size_t            elems   = matrix->rows * matrix->cols;
    const size_t            words   = ops->message_words(matrix);
    uint32_t               *message = malloc((words + 1) * sizeof(*message));
    uint32_t               *scratch = malloc((ops->scratch_words(matrix) + 1) * sizeof(*scratch));

    ck_assert(message != NULL && scratch != NULL);
    message[words] = UINT32_C(0xABCDEF01);
    assert_tool_ok(ops->encode(matrix, &draw, values, scratch, message));
    ck_assert_uint_eq(message[words], UINT32_C(0xABCDEF01));
    memset(said, 0, elems * sizeof(*said));
    ops->decode(matrix, &draw, message, 1.0f, scratch, said);
    free(scratch);
    free(message);
}

static bool can_run(compressor_t compressor)
{
    return singular_is_available || (compressor != COMPRESSOR_SVD && compressor != COMPRESSOR_ATOMO);
}

START_TEST(compressors__messages_have_the_sizes_that_are_documented)
{
    /* 64 x 27 at rank 4: (64 + 27) 4 = 364 numbers; 1728 signs in 54 words. 13 x 5 at rank 2: 36; 65 signs in 3. 1 x 7 at rank 1: 8, but
     * the matrix has 7 elements. */
    static const struct {
        compressor_t compressor;
        size_t       words[3];
    } rows[]                      = {{COMPRESSOR_RANDOM_BLOCK, {364, 36, 7}}, {COMPRESSOR_RANDOM_K, {364, 36, 7}},
                                     {COMPRESSOR_TOP_K, {364, 36, 6}},        {COMPRESSOR_SIGN_NORM, {55, 4, 2}},
                                     {COMPRESSOR_SIGNUM, {54, 3, 1}},         {COMPRESSOR_SVD, {364, 36, 8}},
                                     {COMPRESSOR_ATOMO, {364, 36, 8}},        {COMPRESSOR_UNBIASED, {256, 26, 1}}};
    static const shape_t sizes[3] = {{64, 27, 4}, {13, 5, 2}, {1, 7, 1}};

    ck_assert_uint_eq(sizeof(rows) / sizeof(rows[0]), NUM_COMPRESSORS - 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        for (size_t s = 0; s < 3; ++s) {
            compressor_matrix_t matrix = matrix_of(&sizes[s]);

            ck_assert_uint_eq(compressor_find(rows[i].compressor)->message_words(&matrix), rows[i].words[s]);
        }
    }
}
END_TEST

START_TEST(compressors__a_zero_matrix_stays_zero)
{
    static const float zeros[MAX_ELEMS];
    static float       said[MAX_ELEMS];

    for (int c = COMPRESSOR_RANDOM_BLOCK; c < NUM_COMPRESSORS; ++c) {
        for (size_t s = 0; s < NUM_SHAPES && can_run((compressor_t)c) && c != COMPRESSOR_SIGNUM; ++s) {
            compressor_matrix_t matrix = matrix_of(&shapes[s]);

            pass((compressor_t)c, &matrix, (compressor_draw_t){1, s, 0}, zeros, said);
            for (size_t i = 0; i < matrix.rows * matrix.cols; ++i) {
                ck_assert_double_eq((double)said[i], 0.0);
            }
        }
    }
}
END_TEST

/* How many of said[0 .. elems) are there; each of those is the value itself. */
static size_t count_sent(const float *values, const float *said, size_t elems)
{
    size_t sent = 0;

    for (size_t i = 0; i < elems; ++i) {
        if (said[i] < 0.0f || said[i] > 0.0f) {
            ck_assert_double_eq((double)said[i], (double)values[i]);
            sent += 1;
        }
    }
    return sent;
}

START_TEST(random_block__sends_one_run_of_the_matrix_that_begins_anywhere)
{
    static float values[MAX_ELEMS], said[MAX_ELEMS];

    for (size_t s = 0; s < NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems = matrix.rows * matrix.cols, starts = 0, wanted = compressor_budget(&matrix);
        bool               *begun = calloc(elems, sizeof(*begun));

        ck_assert_ptr_nonnull(begun);
        fill(values, elems, s);
        for (uint64_t step = 0; step < 20 * elems; ++step) {
            size_t edges = 0;

            pass(COMPRESSOR_RANDOM_BLOCK, &matrix, (compressor_draw_t){9, step, (uint32_t)step % 3}, values, said);
            ck_assert_uint_eq(count_sent(values, said, elems), wanted);
            for (size_t i = 0; i < elems; ++i) {
                bool is_sent = fabsf(said[i]) > 0.0f, was_sent = fabsf(said[(i + elems - 1) % elems]) > 0.0f;

                edges += is_sent && !was_sent;
                starts += is_sent && !was_sent && !begun[i];
                begun[i] |= is_sent && !was_sent;
            }
            ck_assert_uint_eq(edges, wanted < elems ? 1 : 0);
        }
        ck_assert_uint_eq(starts, wanted < elems ? elems : 0); /* each is missed once in e^20 */
        free(begun);
    }
}
END_TEST

START_TEST(random_k__sends_k_elements_each_as_often_as_any_other)
{
    static float  values[MAX_ELEMS], said[MAX_ELEMS];
    static size_t times[MAX_ELEMS];
    enum { STEPS = 400 };

    for (size_t s = 0; s < NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems = matrix.rows * matrix.cols, wanted = compressor_budget(&matrix);
        double              share = (double)wanted / (double)elems;

        fill(values, elems, s);
        memset(times, 0, sizeof(times));
        for (uint64_t step = 0; step < STEPS; ++step) {
            pass(COMPRESSOR_RANDOM_K, &matrix, (compressor_draw_t){9, step, (uint32_t)step % 3}, values, said);
            ck_assert_uint_eq(count_sent(values, said, elems), wanted);
            for (size_t i = 0; i < elems; ++i) {
                times[i] += fabsf(said[i]) > 0.0f;
            }
        }
        for (size_t i = 0; i < elems; ++i) {
            ck_assert_double_le(fabs((double)times[i] - STEPS * share),
                                DEVIATIONS * sqrt(STEPS * share * (1.0 - share)));
        }
    }
}
END_TEST

START_TEST(random_ones__are_functions_of_seed_matrix_and_step_and_not_of_the_worker)
{
    static float              values[MAX_ELEMS], first[MAX_ELEMS], second[MAX_ELEMS];
    static const compressor_t common[] = {COMPRESSOR_RANDOM_BLOCK, COMPRESSOR_RANDOM_K, COMPRESSOR_UNBIASED};
    compressor_matrix_t       matrix = matrix_of(&shapes[5]), other = matrix;
    const size_t              bytes = matrix.rows * matrix.cols * sizeof(float);

    other.key += 1;
    fill(values, MAX_ELEMS, 1);
    for (size_t i = 0; i < 3; ++i) {
        pass(common[i], &matrix, (compressor_draw_t){1, 2, 0}, values, first);
        pass(common[i], &matrix, (compressor_draw_t){1, 2, 5}, values, second);
        ck_assert_mem_eq(first, second, bytes);
        pass(common[i], &matrix, (compressor_draw_t){1, 3, 0}, values, second);
        ck_assert_mem_ne(first, second, bytes);
        pass(common[i], &matrix, (compressor_draw_t){2, 2, 0}, values, second);
        ck_assert_mem_ne(first, second, bytes);
        pass(common[i], &other, (compressor_draw_t){1, 2, 0}, values, second);
        ck_assert_mem_ne(first, second, bytes);
    }
}
END_TEST

START_TEST(sign_norm__says_the_mean_magnitude_with_each_sign)
{
    static float values[MAX_ELEMS], said[MAX_ELEMS];

    for (size_t s = 0; s < NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems  = matrix.rows * matrix.cols;
        double              mean   = 0.0;

        fill(values, elems, s);
        for (size_t i = 0; i < elems; ++i) {
            mean += fabs((double)values[i]) / (double)elems;
        }
        pass(COMPRESSOR_SIGN_NORM, &matrix, (compressor_draw_t){1, 1, 0}, values, said);
        for (size_t i = 0; i < elems; ++i) {
            ck_assert_double_eq_tol((double)said[i], values[i] < 0.0f ? -mean : mean, (double)FLT_EPSILON * mean);
        }
    }
}
END_TEST

START_TEST(signum__says_each_sign_and_a_zero_is_positive)
{
    static float values[MAX_ELEMS], said[MAX_ELEMS];

    for (size_t s = 0; s < NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems  = matrix.rows * matrix.cols;

        fill(values, elems, s);
        values[elems / 2] = s % 2 == 0 ? 0.0f : -0.0f;
        pass(COMPRESSOR_SIGNUM, &matrix, (compressor_draw_t){1, 1, 0}, values, said);
        for (size_t i = 0; i < elems; ++i) {
            ck_assert_double_eq((double)said[i], values[i] < 0.0f ? -1.0 : 1.0);
        }
    }
}
END_TEST

START_TEST(top_k__sends_the_largest_magnitudes_also_where_many_are_equal)
{
    static float values[MAX_ELEMS], said[MAX_ELEMS];

    for (size_t s = 0; s < 2 * NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s % NUM_SHAPES]);
        size_t              elems  = matrix.rows * matrix.cols;
        size_t              count  = compressor_find(COMPRESSOR_TOP_K)->message_words(&matrix) / 2;
        double              smallest;

        fill(values, elems, s);
        for (size_t i = 0; i < elems && s >= NUM_SHAPES; ++i) { /* three magnitudes, 0 is none of them */
            values[i] = copysignf(1.0f + (float)(i * 7 % 3), values[i]);
        }
        smallest = reference_smallest_of_top(values, elems, count);
        pass(COMPRESSOR_TOP_K, &matrix, (compressor_draw_t){1, 1, 0}, values, said);
        ck_assert_uint_eq(count_sent(values, said, elems), count);
        for (size_t i = 0; i < elems; ++i) {
            double magnitude = fabs((double)values[i]);

            ck_assert(fabsf(said[i]) > 0.0f ? magnitude >= smallest : magnitude <= smallest);
        }
    }
}
END_TEST

static double norm_of_difference(const float *a, const float *b, size_t count)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; ++i) {
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    }
    return sqrt(sum);
}

/* Of two factors of r columns nothing is nearer than what leaves out the other singular values (Eckart and Young 1936). */
START_TEST(svd__is_as_near_as_a_matrix_of_rank_r_can_be)
{
    static reference_singular_t exact;
    static float                values[MAX_ELEMS], said[MAX_ELEMS];

    for (size_t s = 0; s < NUM_SHAPES && singular_is_available; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems  = matrix.rows * matrix.cols;
        double              left   = 0.0;

        fill(values, elems, s);
        reference_decompose(values, matrix.rows, matrix.cols, &exact);
        for (size_t k = matrix.rank; k < exact.count; ++k) {
            left += exact.values[k] * exact.values[k];
        }
        pass(COMPRESSOR_SVD, &matrix, (compressor_draw_t){1, 1, 0}, values, said);
        ck_assert_double_eq_tol(norm_of_difference(values, said, elems), sqrt(left), 1e-5 * exact.values[0]);
    }
}
END_TEST

START_TEST(atomo__probabilities_are_those_of_the_water_filling)
{
    random_stream_t stream = random_stream(1, 2);

    for (int round = 0; round < 200; ++round) {
        float  values[12];
        double exact[12], probabilities[12], scale, last = 1e3;
        size_t count = 1 + random_below(&stream, 12), wanted = 1 + random_below(&stream, (uint32_t)count), certain;

        for (size_t i = 0; i < count;
             ++i) { /* falling, by factors of up to 10, and in a third of the rounds zeros at the end */
            last *= 1.0 - 0.9 * random_unit(&stream);
            values[i] = round % 3 == 0 && i > count / 2 ? 0.0f : (float)last;
            exact[i]  = (double)values[i];
        }
        reference_probabilities(exact, count, wanted, probabilities);
        certain = atomo_fill(values, count, wanted, &scale);
        ck_assert_uint_le(certain, wanted);
        for (size_t i = 0; i < count; ++i) {
            ck_assert_double_eq_tol(i < certain ? 1.0 : scale * exact[i], probabilities[i], 1e-9);
        }
    }
}
END_TEST

START_TEST(atomo__draws_exactly_as_many_as_wanted_each_with_its_probability)
{
    static const float values[8] = {9.0f, 4.0f, 3.0f, 2.5f, 1.0f, 0.5f, 0.25f, 0.0f};
    const double       exact[8]  = {9.0, 4.0, 3.0, 2.5, 1.0, 0.5, 0.25, 0.0};
    random_stream_t    stream    = random_stream(4, 4);
    enum { DRAWS = 20000 };

    for (size_t wanted = 1; wanted <= 6; ++wanted) {
        double probabilities[8];
        size_t times[8] = {0}, picked[8];

        reference_probabilities(exact, 8, wanted, probabilities);
        for (int draw = 0; draw < DRAWS; ++draw) {
            ck_assert_uint_eq(atomo_pick(values, 8, wanted, &stream, picked), wanted);
            for (size_t k = 0; k < wanted; ++k) {
                ck_assert(k == 0 || picked[k] > picked[k - 1]);
                times[picked[k]] += 1;
            }
        }
        for (size_t i = 0; i < 8; ++i) {
            double p = probabilities[i];

            ck_assert_double_le(fabs((double)times[i] - DRAWS * p), DEVIATIONS * sqrt(DRAWS * p * (1.0 - p)) + 1e-6);
        }
    }
}
END_TEST

/* The standard deviation of an element of what spectral Atomo says is at most the sum of those of its terms: term k is
 * s_k u_ik v_jk / p_k with probability p_k, and 0 else. */
static double atomo_deviation(const reference_singular_t *exact, const double *probabilities,
                              const compressor_matrix_t *matrix, size_t i, size_t j)
{
    double sum = 0.0;

    for (size_t k = 0; k < exact->count; ++k) {
        double term = fabs(exact->values[k] * exact->left[k * matrix->rows + i] * exact->right[k * matrix->cols + j]);

        sum += probabilities[k] > 0.0 ? term * sqrt(1.0 / probabilities[k] - 1.0) : 0.0;
    }
    return sum;
}

/* means[i]: of what the messages of so many steps say. */
static void average(compressor_t compressor, const compressor_matrix_t *matrix, const float *values, size_t steps,
                    double *means)
{
    static float said[MAX_ELEMS];
    const size_t elems = matrix->rows * matrix->cols;

    memset(means, 0, elems * sizeof(*means));
    for (uint64_t step = 0; step < steps; ++step) {
        pass(compressor, matrix, (compressor_draw_t){5, step, 1}, values, said);
        for (size_t i = 0; i < elems; ++i) {
            means[i] += (double)said[i] / (double)steps;
        }
    }
}

START_TEST(atomo__is_right_on_average)
{
    static reference_singular_t exact;
    static float                values[MAX_ELEMS];
    static double               means[MAX_ELEMS];
    enum { STEPS = 3000 };

    for (size_t s = 0; s < 5 && singular_is_available; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems  = matrix.rows * matrix.cols;
        double              probabilities[64];

        fill(values, elems, s);
        reference_decompose(values, matrix.rows, matrix.cols, &exact);
        reference_probabilities(exact.values, exact.count, matrix.rank, probabilities);
        average(COMPRESSOR_ATOMO, &matrix, values, STEPS, means);
        for (size_t i = 0; i < elems; ++i) {
            double deviation = atomo_deviation(&exact, probabilities, &matrix, i / matrix.cols, i % matrix.cols);

            ck_assert_double_le(fabs(means[i] - (double)values[i]), DEVIATIONS * deviation / sqrt(STEPS) + 1e-5);
        }
    }
}
END_TEST

START_TEST(atomo__workers_draw_for_themselves)
{
    static float        values[MAX_ELEMS], first[MAX_ELEMS], second[MAX_ELEMS];
    compressor_matrix_t matrix = matrix_of(&shapes[5]);

    if (singular_is_available) {
        fill(values, MAX_ELEMS, 1);
        pass(COMPRESSOR_ATOMO, &matrix, (compressor_draw_t){1, 2, 0}, values, first);
        pass(COMPRESSOR_ATOMO, &matrix, (compressor_draw_t){1, 2, 1}, values, second);
        ck_assert_mem_ne(first, second, sizeof(first));
    }
}
END_TEST

/* Element (i, j) of M U U^T: m_ij, which is certain, and of each other element of the row a part of mean 0 and variance m_il^2 / r. */
START_TEST(unbiased__is_right_on_average)
{
    static float  values[MAX_ELEMS];
    static double means[MAX_ELEMS];
    enum { STEPS = 2000 };

    for (size_t s = 0; s < NUM_SHAPES; ++s) {
        compressor_matrix_t matrix = matrix_of(&shapes[s]);
        size_t              elems  = matrix.rows * matrix.cols;

        fill(values, elems, s);
        average(COMPRESSOR_UNBIASED, &matrix, values, STEPS, means);
        for (size_t i = 0; i < elems; ++i) {
            double others = 0.0;

            for (size_t l = 0; l < matrix.cols; ++l) {
                double other = (double)values[i / matrix.cols * matrix.cols + l];

                others += l == i % matrix.cols ? 0.0 : other * other;
            }
            ck_assert_double_le(fabs(means[i] - (double)values[i]),
                                DEVIATIONS * sqrt(others / (matrix.rank * (double)STEPS)) + 1e-4);
        }
    }
}
END_TEST

/* Of the unit matrix it says U U^T, and of any other M that times M. */
START_TEST(unbiased__says_m_u_u_transposed)
{
    static float              unit[16 * 16], product[16 * 16], values[16 * 16], said[16 * 16];
    const compressor_matrix_t matrix = {16, 16, 2, 5};
    const compressor_draw_t   draw   = {8, 3, 0};

    fill(values, 16 * 16, 1);
    for (size_t i = 0; i < 16; ++i) {
        unit[i * 16 + i] = 1.0f;
    }
    pass(COMPRESSOR_UNBIASED, &matrix, draw, unit, product);
    pass(COMPRESSOR_UNBIASED, &matrix, draw, values, said);
    for (size_t i = 0; i < 16; ++i) {
        ck_assert_double_eq_tol((double)product[i * 16 + i], 1.0, 1e-6);
        for (size_t j = 0; j < 16; ++j) {
            double sum = 0.0, part = fabs((double)product[i * 16 + j]);

            for (size_t l = 0; l < 16; ++l) {
                sum += (double)values[i * 16 + l] * (double)product[l * 16 + j];
            }
            ck_assert_double_eq_tol((double)said[i * 16 + j], sum, 1e-5);
            ck_assert(part < 1e-6 || fabs(part - 1.0) < 1e-6); /* of two terms +-1/2 */
        }
    }
}
END_TEST

START_TEST(what_needs_singular_values__is_refused_where_the_build_has_none)
{
    for (int c = 0; c < NUM_COMPRESSORS; ++c) {
        if (can_run((compressor_t)c)) {
            assert_tool_ok(compressor_check((compressor_t)c));
        } else {
            assert_tool_fails(compressor_check((compressor_t)c), TOOL_FAILED, "liblapacke-dev");
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("psgd-train: compressors");
    TCase *tests = tcase_create("compressors");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, compressors__messages_have_the_sizes_that_are_documented);
    tcase_add_test(tests, compressors__a_zero_matrix_stays_zero);
    tcase_add_test(tests, random_block__sends_one_run_of_the_matrix_that_begins_anywhere);
    tcase_add_test(tests, random_k__sends_k_elements_each_as_often_as_any_other);
    tcase_add_test(tests, random_ones__are_functions_of_seed_matrix_and_step_and_not_of_the_worker);
    tcase_add_test(tests, sign_norm__says_the_mean_magnitude_with_each_sign);
    tcase_add_test(tests, signum__says_each_sign_and_a_zero_is_positive);
    tcase_add_test(tests, top_k__sends_the_largest_magnitudes_also_where_many_are_equal);
    tcase_add_test(tests, svd__is_as_near_as_a_matrix_of_rank_r_can_be);
    tcase_add_test(tests, atomo__probabilities_are_those_of_the_water_filling);
    tcase_add_test(tests, atomo__draws_exactly_as_many_as_wanted_each_with_its_probability);
    tcase_add_test(tests, atomo__is_right_on_average);
    tcase_add_test(tests, atomo__workers_draw_for_themselves);
    tcase_add_test(tests, unbiased__is_right_on_average);
    tcase_add_test(tests, unbiased__says_m_u_u_transposed);
    tcase_add_test(tests, what_needs_singular_values__is_refused_where_the_build_has_none);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
