/* The base room: status, log, environment, memory, clock, hash, numbers in 16 bits. */
#define _POSIX_C_SOURCE 200809L /* setenv, mkdtemp, mkfifo */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/env.h"
#include "base/file.h"
#include "base/half.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/status.h"
#include "support/half.h"
#include "support/suite.h"

START_TEST(status__every_status_has_its_name_and_words)
{
#define ROW(name_, value_, text_) \
    ck_assert_int_eq(PSGD_##name_, value_); \
    ck_assert_str_eq(psgd_status_name(PSGD_##name_), "PSGD_" #name_); \
    ck_assert_str_eq(psgd_status_string(PSGD_##name_), text_);
    PSGD_STATUS_TABLE(ROW)
#undef ROW
    ck_assert_str_eq(psgd_status_name(PSGD_OK), "PSGD_OK");
    ck_assert_str_eq(psgd_status_name(PSGD_ERR_TIMEOUT), "PSGD_ERR_TIMEOUT");
    ck_assert_str_eq(psgd_status_string(PSGD_ERR_TIMEOUT), "the deadline passed");
    ck_assert_str_eq(psgd_status_string((psgd_status_t)-1000), "unknown status");
    ck_assert_str_eq(psgd_status_name((psgd_status_t)1), "unknown status");
}
END_TEST

START_TEST(status__a_context_goes_before_the_sentence_and_long_ones_are_cut)
{
    char long_text[8000];

    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    ck_assert_int_eq(psgd_fail(PSGD_ERR_STATE, "the sum is %d", 7), PSGD_ERR_STATE);
    ck_assert_int_eq(psgd_fail_in(PSGD_ERR_STATE, "tensor '%s'", "w"), PSGD_ERR_STATE);
    ck_assert_str_eq(psgd_last_error(), "tensor 'w': the sum is 7");
    ck_assert_int_eq(psgd_fail(PSGD_ERR_STATE, "again: %s", psgd_last_error()), PSGD_ERR_STATE);
    ck_assert_str_eq(psgd_last_error(), "again: tensor 'w': the sum is 7");
    ck_assert_int_eq(psgd_fail(PSGD_ERR_STATE, "%s", long_text), PSGD_ERR_STATE);
    ck_assert_uint_eq(strlen(psgd_last_error()), 4095);
}
END_TEST

static char             logged[2000];
static psgd_log_level_t logged_level;
static void            *logged_user;

static void keep_line(psgd_log_level_t level, const char *line, void *user)
{
    logged_level = level;
    logged_user  = user;
    strncpy(logged, line, sizeof(logged) - 1);
}

START_TEST(log__a_callback_gets_the_lines_up_to_its_level)
{
    int        user = 0;
    psgd_log_t log  = psgd_log_open(keep_line, &user, PSGD_LOG_INFO);

    logged[0] = '\0';
    psgd_log(&log, PSGD_LOG_DEBUG, "not this");
    ck_assert_str_eq(logged, "");
    psgd_log(&log, PSGD_LOG_INFO, "step %d", 3);
    ck_assert_str_eq(logged, "step 3");
    ck_assert_int_eq(logged_level, PSGD_LOG_INFO);
    ck_assert_ptr_eq(logged_user, &user);
    log.num_workers  = 4;
    log.worker_index = 2;
    psgd_log(&log, PSGD_LOG_ERROR, "late");
    ck_assert_str_eq(logged, "worker 2 of 4: late");
}
END_TEST

START_TEST(log__without_a_callback_the_environment_names_the_level)
{
    unsetenv("PSGD_LOG");
    ck_assert_int_eq(psgd_log_open(NULL, NULL, PSGD_LOG_DEBUG).level, PSGD_LOG_WARN);
    setenv("PSGD_LOG", "debug", 1);
    ck_assert_int_eq(psgd_log_open(NULL, NULL, PSGD_LOG_OFF).level, PSGD_LOG_DEBUG);
    setenv("PSGD_LOG", "off", 1);
    ck_assert_int_eq(psgd_log_open(NULL, NULL, PSGD_LOG_WARN).level, PSGD_LOG_OFF);
    setenv("PSGD_LOG", "loud", 1);
    ck_assert_int_eq(psgd_log_open(NULL, NULL, PSGD_LOG_OFF).level, PSGD_LOG_WARN);
    unsetenv("PSGD_LOG");
}
END_TEST

START_TEST(env__lists_every_variable_with_value_and_meaning)
{
    psgd_env_info_t info;
    size_t          count = 0;

    setenv("PSGD_DEVICE", "gpu", 1);
    for (; psgd_env_get(count, &info); ++count) {
        ck_assert_int_eq(strncmp(info.name, "PSGD_", 5), 0);
        ck_assert_uint_gt(strlen(info.meaning), 10);
        if (strcmp(info.name, "PSGD_DEVICE") == 0) {
            ck_assert_str_eq(info.value, "gpu");
        }
    }
    ck_assert_uint_eq(count, PSGD_NUM_ENV);
    setenv("PSGD_DEVICE", "", 1);
    ck_assert_ptr_null(psgd_env_value(PSGD_ENV_DEVICE));
    ck_assert_int_eq(psgd_env_get(0, NULL), 0);
    unsetenv("PSGD_DEVICE");
}
END_TEST

START_TEST(memory__is_zeroed_and_an_overflowing_size_is_refused)
{
    unsigned char *bytes = NULL;
    void          *none  = NULL;

    assert_ok(psgd_alloc(1000, 3, "bytes", &bytes));
    for (size_t i = 0; i < 3000; ++i) {
        ck_assert_uint_eq(bytes[i], 0);
    }
    psgd_free(bytes);
    assert_fails(psgd_alloc(SIZE_MAX / 2, 4, "the moon", &none), PSGD_ERR_HOST_MEMORY, "the moon");
    ck_assert_ptr_null(none);
    assert_ok(psgd_alloc(0, 8, "nothing", &none));
    ck_assert_ptr_nonnull(none);
    psgd_free(none);
}
END_TEST

START_TEST(clock__seconds_saturate_and_zero_means_the_default)
{
    ck_assert_uint_eq(psgd_seconds_to_ns(1.5, 60), UINT64_C(1500000000));
    ck_assert_uint_eq(psgd_seconds_to_ns(0.0, 60), UINT64_C(60000000000));
    ck_assert_uint_eq(psgd_seconds_to_ns(1e300, 60), UINT64_C(9000000000000000000));
}
END_TEST

START_TEST(clock__resting_gets_longer_but_stays_short)
{
    uint64_t start = psgd_now_ns();

    for (uint32_t round = 0; round < 300; ++round) {
        psgd_rest(round);
    }
    ck_assert_uint_lt(psgd_now_ns() - start, UINT64_C(2000000000));
    start = psgd_now_ns();
    psgd_rest(UINT32_MAX);
    ck_assert_uint_ge(psgd_now_ns() - start, UINT64_C(90000));
}
END_TEST

START_TEST(hash__every_bit_and_the_length_matter)
{
    unsigned char data[37];
    uint64_t      whole;

    for (size_t i = 0; i < sizeof(data); ++i) {
        data[i] = (unsigned char)(i * 7);
    }
    whole = psgd_hash_bytes(0, data, sizeof(data));
    for (size_t bit = 0; bit < sizeof(data) * 8; ++bit) {
        data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        ck_assert_uint_ne(psgd_hash_bytes(0, data, sizeof(data)), whole);
        data[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    }
    ck_assert_uint_ne(psgd_hash_bytes(0, data, sizeof(data) - 1), whole);
    ck_assert_uint_ne(psgd_hash_string(0, "ab"), psgd_hash_string(0, "ba"));
}
END_TEST

START_TEST(hash__words_hash_by_place_and_parts_add_up)
{
    uint32_t words[100];
    uint64_t whole;

    for (uint32_t i = 0; i < 100; ++i) {
        words[i] = i / 2; /* pairs of equal words, whose places still differ */
    }
    whole = psgd_hash_words(words, 100, 0);
    ck_assert_uint_eq(psgd_hash_add(psgd_hash_words(words, 33, 0), psgd_hash_words(words + 33, 67, 33)), whole);
    words[10] = 6;
    words[12] = 5; /* was 5 and 6: the same words in other places */
    ck_assert_uint_ne(psgd_hash_words(words, 100, 0), whole);
    ck_assert_uint_eq(psgd_hash_words(words, 0, 0), 0);
}
END_TEST

/* Every number in 16 bits, its neighbours' mean, and what lies just beside that. */
START_TEST(half__numbers_are_rounded_to_nearest_even_and_come_back_as_they_were)
{
    for (uint32_t bits = 0; bits < 0x7F80; ++bits) {
        for (int dtype = PSGD_F16; dtype <= PSGD_BF16; ++dtype) {
            float x         = half_decode((psgd_dtype_t)dtype, (uint16_t)bits),
                  next      = half_decode((psgd_dtype_t)dtype, (uint16_t)(bits + 1));
            float middle    = 0.5f * x + 0.5f * next;
            float values[5] = {x, middle, nextafterf(middle, 0.0f), nextafterf(middle, INFINITY), -middle}, decoded[5];
            uint16_t halves[5];

            if (!isfinite(next)) {
                continue;
            }
            if (dtype == PSGD_F16) {
                psgd_half_encode(values, 5, 1.0f, halves);
                psgd_half_decode(halves, 5, 1.0f, decoded);
            } else {
                psgd_bfloat_encode(values, 5, halves);
                psgd_bfloat_decode(halves, 5, decoded);
            }
            for (int i = 0; i < 5; ++i) {
                uint16_t must = half_encode((psgd_dtype_t)dtype, values[i]);

                ck_assert_msg(halves[i] == must, "%.9g became %04x and not %04x", (double)values[i], halves[i], must);
                ck_assert(decoded[i] == half_decode((psgd_dtype_t)dtype, must));
            }
        }
    }
}
END_TEST

START_TEST(half__scales_are_powers_of_two_and_too_large_numbers_become_infinite)
{
    const float values[] = {0x1p-40f, -0x1.004p-30f, 0x1.ffcp-22f, 3.0f * 0x1p-60f, 65519.0f, 65520.0f, -INFINITY};
    uint16_t    halves[7];
    float       decoded[7];

    psgd_half_encode(values, 4, 0x1p36f, halves);
    psgd_half_decode(halves, 4, 0x1p-36f, decoded);
    ck_assert(memcmp(values, decoded, 4 * sizeof(float)) == 0);
    psgd_half_encode(values + 4, 3, 1.0f, halves);
    psgd_half_decode(halves, 3, 1.0f, decoded);
    ck_assert(decoded[0] == 65504.0f);
    ck_assert(isinf(decoded[1]) && (decoded[1] > 0.0f));
    ck_assert(isinf(decoded[2]) && (decoded[2] < 0.0f));
}
END_TEST

START_TEST(file__what_is_no_regular_file_is_refused_and_not_waited_for)
{
    char           directory[] = "/tmp/psgd_test_base_XXXXXX";
    char           name[sizeof(directory) + sizeof("/pipe")];
    unsigned char *bytes = NULL;
    size_t         count = 0;

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(name, sizeof(name), "%s/pipe", directory);
    ck_assert_int_eq(mkfifo(name, 0600), 0);
    ck_assert_int_eq(psgd_file_read(name, &bytes, &count), PSGD_ERR_FILE);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "is no file that can be read at once"));
    ck_assert_int_eq(psgd_file_read(directory, &bytes, &count), PSGD_ERR_FILE);
    ck_assert_ptr_null(bytes);
    unlink(name);
    rmdir(directory);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *tcase = tcase_create("base");

    tcase_add_test(tcase, status__every_status_has_its_name_and_words);
    tcase_add_test(tcase, status__a_context_goes_before_the_sentence_and_long_ones_are_cut);
    tcase_add_test(tcase, log__a_callback_gets_the_lines_up_to_its_level);
    tcase_add_test(tcase, log__without_a_callback_the_environment_names_the_level);
    tcase_add_test(tcase, env__lists_every_variable_with_value_and_meaning);
    tcase_add_test(tcase, memory__is_zeroed_and_an_overflowing_size_is_refused);
    tcase_add_test(tcase, clock__seconds_saturate_and_zero_means_the_default);
    tcase_add_test(tcase, clock__resting_gets_longer_but_stays_short);
    tcase_add_test(tcase, hash__every_bit_and_the_length_matter);
    tcase_add_test(tcase, hash__words_hash_by_place_and_parts_add_up);
    tcase_add_test(tcase, half__numbers_are_rounded_to_nearest_even_and_come_back_as_they_were);
    tcase_add_test(tcase, half__scales_are_powers_of_two_and_too_large_numbers_become_infinite);
    tcase_add_test(tcase, file__what_is_no_regular_file_is_refused_and_not_waited_for);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
