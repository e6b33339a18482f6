/* Random numbers: known answers of Philox4x32-10, the same bits on the device, and their shape. */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "device/cl_device.h"
#include "device/program.h"
#include "support/suite.h"

enum { WORDS_A_ELEM = 5 /* as kernel selftest_random writes them: four words, and the bits of the number */ };

static psgd_device_t  *device;
static psgd_program_t *program;

static void set_up(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_log_t         log  = psgd_log_open(NULL, NULL, PSGD_LOG_WARN);

    assert_ok(psgd_device_find(NULL, &info));
    assert_ok(psgd_device_open(NULL, info.device, NULL, &log, &device));
    assert_ok(psgd_program_get(device, "selftest.cl", "", &program));
}

static void tear_down(void)
{
    psgd_device_close(device);
}

/* Runs a kernel of selftest.cl with `items` work-items, and reads `count` words of what it wrote. */
static void draw(const char *name, uint64_t key, uint64_t step, uint32_t column, uint32_t first, size_t items, size_t count,
                 uint32_t *words)
{
    psgd_kernel_t *kernel = NULL;
    psgd_view_t    view   = {NULL, 0};

    assert_ok(psgd_kernel_create(program, name, &kernel));
    assert_ok(psgd_buffer_create(device, count * sizeof(*words), "the test's numbers", &view));

    const psgd_arg_t args[] = {PSGD_ARG(key), PSGD_ARG(step), PSGD_ARG(column), PSGD_ARG(first), PSGD_ARG_MEM(view)};

    assert_ok(psgd_kernel_enqueue(device, kernel, 1, &items, NULL, args, sizeof(args) / sizeof(args[0])));
    assert_ok(psgd_buffer_enqueue_read(device, view, words, count * sizeof(*words)));
    assert_ok(psgd_device_wait(device, "the test"));
    psgd_buffer_destroy(device, &view);
    psgd_kernel_destroy(kernel);
}

static uint64_t two(uint32_t low, uint32_t high)
{
    return ((uint64_t)high << 32) | low;
}

/* From Random123's file of known answers: counter, key, result. */
static const uint32_t KNOWN[][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
};

enum { NUM_KNOWN = sizeof(KNOWN) / sizeof(KNOWN[0]) };

START_TEST(random__device_draws_the_known_words_of_philox)
{
    const uint32_t *known = KNOWN[_i];
    uint32_t        words[WORDS_A_ELEM];

    draw("selftest_random", two(known[4], known[5]), two(known[2], known[3]), known[1], known[0], 1, WORDS_A_ELEM, words);
    for (int w = 0; w < 4; ++w) {
        ck_assert_uint_eq(words[w], known[6 + w]);
    }
}
END_TEST

/* The number that the header's formula makes of the known words. */
START_TEST(random__host_makes_the_numbers_of_the_known_words)
{
    const uint32_t *known = KNOWN[_i];
    double          sum   = -8388608.0;
    float           value = psgd_random_value(two(known[4], known[5]), two(known[2], known[3]), known[1], known[0]);

    for (int w = 0; w < 4; ++w) {
        sum += (double)(known[6 + w] >> 10);
    }
    ck_assert_double_eq((double)value, sum / 4194304.0);
}
END_TEST

enum { ELEMS = 16 * 1024 };

static const struct {
    uint64_t key, step;
    uint32_t column, first;
} PLACES[] = {
    {0, 0, 0, 0},
    {UINT64_C(0x0123456789ABCDEF), 1, 31, 1000},
    {UINT64_C(0xFFFFFFFF00000000), UINT64_C(0xFFFFFFFF), 1023, 0x7FFFF000},
    {UINT64_MAX, UINT64_MAX, UINT32_MAX, 0xFFFFE000}, /* the element number wraps round */
};

enum { NUM_PLACES = sizeof(PLACES) / sizeof(PLACES[0]) };

START_TEST(random__device_and_host_draw_the_same_bits)
{
    uint32_t *words = calloc(ELEMS * WORDS_A_ELEM, sizeof(*words));
    uint32_t *by_16 = calloc(ELEMS, sizeof(*by_16));

    ck_assert_ptr_nonnull(words);
    ck_assert_ptr_nonnull(by_16);
    draw("selftest_random", PLACES[_i].key, PLACES[_i].step, PLACES[_i].column, PLACES[_i].first, ELEMS, ELEMS * WORDS_A_ELEM,
         words);
    draw("selftest_random16", PLACES[_i].key, PLACES[_i].step, PLACES[_i].column, PLACES[_i].first, ELEMS / 16, ELEMS, by_16);
    for (uint32_t i = 0; i < ELEMS; ++i) {
        float    value = psgd_random_value(PLACES[_i].key, PLACES[_i].step, PLACES[_i].column, PLACES[_i].first + i);
        uint32_t bits;

        memcpy(&bits, &value, sizeof(bits));
        ck_assert_uint_eq(words[WORDS_A_ELEM * i + 4], bits);
        ck_assert_uint_eq(by_16[i], bits);
    }
    free(by_16);
    free(words);
}
END_TEST

START_TEST(random__fill_is_the_numbers_in_order)
{
    float filled[100];

    psgd_random_fill(filled, 100, 5, 6, 7);
    for (uint32_t i = 0; i < 100; ++i) {
        ck_assert(filled[i] == psgd_random_value(5, 6, 7, i));
    }
}
END_TEST

START_TEST(random__numbers_lie_in_their_range_around_zero_with_their_deviation)
{
    enum { COUNT = 200000 };
    double sum = 0.0, squares = 0.0;

    for (uint32_t i = 0; i < COUNT; ++i) {
        double value = (double)psgd_random_value(42, 0, 0, i);

        ck_assert(value >= -2.0 && value < 2.0);
        sum += value;
        squares += value * value;
    }
    ck_assert_double_eq_tol(sum / COUNT, 0.0, 6 * 0.577 / sqrt(COUNT));
    ck_assert_double_eq_tol(sqrt(squares / COUNT), sqrt(1.0 / 3.0), 0.005);
}
END_TEST

START_TEST(random__key_depends_on_seed_name_and_purpose)
{
    uint64_t name = psgd_hash_string(0, "fc.weight");
    uint64_t key  = psgd_random_key(1, name, PSGD_RANDOM_FIRST_Q);

    ck_assert_uint_eq(key, psgd_random_key(1, name, PSGD_RANDOM_FIRST_Q));
    ck_assert_uint_ne(key, psgd_random_key(2, name, PSGD_RANDOM_FIRST_Q));
    ck_assert_uint_ne(key, psgd_random_key(1, psgd_hash_string(0, "fc.bias"), PSGD_RANDOM_FIRST_Q));
    ck_assert_uint_ne(key, psgd_random_key(1, name, PSGD_RANDOM_REPLACED_P));
    ck_assert_uint_ne(psgd_random_key(1, name, PSGD_RANDOM_REPLACED_P), psgd_random_key(1, name, PSGD_RANDOM_REPLACED_Q));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *cases = tcase_create("random");

    tcase_set_timeout(cases, 0);
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_add_loop_test(cases, random__device_draws_the_known_words_of_philox, 0, NUM_KNOWN);
    tcase_add_loop_test(cases, random__host_makes_the_numbers_of_the_known_words, 0, NUM_KNOWN);
    tcase_add_loop_test(cases, random__device_and_host_draw_the_same_bits, 0, NUM_PLACES);
    tcase_add_test(cases, random__fill_is_the_numbers_in_order);
    tcase_add_test(cases, random__numbers_lie_in_their_range_around_zero_with_their_deviation);
    tcase_add_test(cases, random__key_depends_on_seed_name_and_purpose);
    suite_add_tcase(suite, cases);
    return psgd_run_suite(suite);
}
