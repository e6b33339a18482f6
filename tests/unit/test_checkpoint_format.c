/* Checkpoints as bytes: what is written is read, and nothing that is not whole. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "core/checkpoint_format.h"
#include "support/suite.h"

START_TEST(crc32c__has_the_known_answers)
{
    /* RFC 3720, B.4; and the check value of the catalogue of CRCs. */
    unsigned char bytes[32];

    ck_assert_uint_eq(psgd_crc32c(0, "123456789", 9), 0xE3069283);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_uint_eq(psgd_crc32c(0, bytes, 32), 0x8A9136AA);
    memset(bytes, 0xFF, sizeof(bytes));
    ck_assert_uint_eq(psgd_crc32c(0, bytes, 32), 0x62A8AB43);
    for (int i = 0; i < 32; ++i) {
        bytes[i] = (unsigned char)i;
    }
    ck_assert_uint_eq(psgd_crc32c(0, bytes, 32), 0x46DD794E);
    ck_assert_uint_eq(psgd_crc32c(0, "", 0), 0);
    for (size_t cut = 0; cut <= 32; ++cut) {
        ck_assert_uint_eq(psgd_crc32c(psgd_crc32c(0, bytes, cut), bytes + cut, 32 - cut), 0x46DD794E);
    }
}
END_TEST

/* A small state: 2 tensors, one with a factor and an error, one with an error alone. */
static psgd_state_t *make_state(void)
{
    static const float FACTOR[6] = {1.0f, -2.0f, 3.5f, 0x1p-140f, -0.0f, 1e30f}, ERROR[5] = {0.0f, 1.0f, -1.0f, 1e-20f, 7.0f};
    psgd_state_t      *state = NULL;

    assert_ok(psgd_state_create(&state));
    assert_ok(psgd_state_set_step(state, 0x123456789ABCDEF, 0xFEDCBA9876543210));
    assert_ok(psgd_state_set_half_iterations(state, 41));
    assert_ok(psgd_state_set_factor(state, "w", 3, 2, FACTOR));
    assert_ok(psgd_state_set_error(state, "w", 5, ERROR));
    assert_ok(psgd_state_set_error(state, "layer.\xC3\xA9", 2, ERROR + 1));
    return state;
}

static const psgd_checkpoint_info_t INFO = {PSGD_ERROR_LOCAL, 3, 2, 0x1122334455667788};

static void encode(unsigned char **bytes_p, size_t *count_p)
{
    psgd_state_t *state = make_state();

    assert_ok(psgd_checkpoint_encode(state, &INFO, bytes_p, count_p));
    psgd_state_destroy(state);
}

START_TEST(format__what_was_written_is_read)
{
    psgd_state_t          *state = make_state(), *found = NULL;
    psgd_checkpoint_info_t info;
    unsigned char         *bytes = NULL;
    size_t                 count = 0;
    uint64_t               step, seed, half_iterations, length;
    uint32_t               columns;
    const float           *values, *expected;

    encode(&bytes, &count);
    assert_ok(psgd_checkpoint_decode(bytes, count, "file", &info, &found));
    ck_assert((info.form == INFO.form) && (info.num_workers == INFO.num_workers));
    ck_assert((info.worker_index == INFO.worker_index) && (info.save_id == INFO.save_id));
    assert_ok(psgd_state_get_step(found, &step, &seed));
    assert_ok(psgd_state_get_half_iterations(found, &half_iterations));
    ck_assert((step == 0x123456789ABCDEF) && (seed == 0xFEDCBA9876543210) && (half_iterations == 41));
    assert_ok(psgd_state_get_factor(found, "w", &length, &columns, &values));
    assert_ok(psgd_state_get_factor(state, "w", &length, &columns, &expected));
    ck_assert((length == 3) && (columns == 2) && (memcmp(values, expected, 6 * sizeof(float)) == 0));
    assert_ok(psgd_state_get_error(found, "w", &length, &values));
    assert_ok(psgd_state_get_error(state, "w", &length, &expected));
    ck_assert((length == 5) && (memcmp(values, expected, 5 * sizeof(float)) == 0));
    assert_ok(psgd_state_get_error(found, "layer.\xC3\xA9", &length, &values));
    ck_assert((length == 2) && (values[0] == 1.0f) && (values[1] == -1.0f));
    ck_assert_uint_eq(found->num_entries, 2);
    psgd_state_destroy(found);
    psgd_state_destroy(state);
    psgd_free(bytes);
}
END_TEST

/* The layout is a promise: these bytes stay readable. */
START_TEST(format__numbers_are_little_endian_at_their_places)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;

    encode(&bytes, &count);
    ck_assert_uint_eq(count, 80 + (32 + 1 + 24) + (32 + 1 + 20) + (32 + 8 + 8));
    ck_assert(memcmp(bytes, "PSGDCKPT\x01\0\0\0\x01\0\0\0\x03\0\0\0\x02\0\0\0\xEF\xCD\xAB\x89\x67\x45\x23\x01", 32) == 0);
    ck_assert(memcmp(bytes + 56, "\xEE\0\0\0\0\0\0\0\x03\0\0\0", 12) == 0);
    ck_assert(memcmp(bytes + 80, "\x01\0\0\0\x01\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0", 20) == 0);
    ck_assert(memcmp(bytes + 112, "w\0\0\x80\x3F\0\0\0\xC0", 9) == 0);
    psgd_free(bytes);
}
END_TEST

static void refuse(const unsigned char *bytes, size_t count, psgd_status_t expected, const char *words)
{
    psgd_checkpoint_info_t info  = {PSGD_ERROR_NONE, 9, 9, 9};
    psgd_state_t          *state = NULL;
    unsigned char         *exact = malloc(count + (count == 0)); /* so that a sanitizer sees what is read beyond it */

    ck_assert_ptr_nonnull(exact);
    memcpy(exact, bytes, count);
    assert_fails(psgd_checkpoint_decode(exact, count, "the file", &info, &state), expected, words);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "'the file'"));
    ck_assert_ptr_null(state);
    ck_assert_uint_eq(info.num_workers, 9);
    free(exact);
}

START_TEST(format__every_truncation_is_refused)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;

    encode(&bytes, &count);
    for (size_t length = 0; length < count; ++length) {
        refuse(bytes, length, PSGD_ERR_FILE, length < 80 ? "is no checkpoint" : "cut short");
    }
    psgd_free(bytes);
}
END_TEST

START_TEST(format__every_flipped_bit_is_refused)
{
    unsigned char *bytes = NULL;
    size_t         count = 0;

    encode(&bytes, &count);
    for (size_t bit = 0; bit < 8 * count; ++bit) {
        bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
        refuse(bytes, count, PSGD_ERR_FILE, bit < 64 ? "is no checkpoint" : (bit < 640 ? "the header is damaged" : "section"));
        bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
    }
    psgd_free(bytes);
}
END_TEST

static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; ++i) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

/* Makes the checksums right again after a forgery; of the header, and of the first section, whose size is `section`. */
static void seal(unsigned char *bytes, size_t section)
{
    put(bytes + 76, psgd_crc32c(0, bytes, 76), 4);
    put(bytes + 108, psgd_crc32c(psgd_crc32c(0, bytes + 80, 28), bytes + 112, section - 32), 4);
}

/* Whose checksums are right, and who lies all the same. */
START_TEST(format__files_that_lie_are_refused)
{
    static const struct {
        size_t        at;
        uint64_t      value;
        int           bytes;
        psgd_status_t status;
        const char   *words;
    } FORGERIES[] = {
        {8, 2, 4, PSGD_ERR_UNSUPPORTED, "is of version 2"},
        {8, 0, 4, PSGD_ERR_UNSUPPORTED, "is of version 0"},
        {12, 3, 4, PSGD_ERR_FILE, "form 3"},
        {16, 0, 4, PSGD_ERR_FILE, "worker 2 of 0"},
        {16, UINT32_MAX, 4, PSGD_ERR_FILE, "worker 2 of 4"},
        {16, 74566, 4, PSGD_ERR_FILE, "worker 2 of 74566"},
        {20, 3, 4, PSGD_ERR_FILE, "worker 3 of 3"},
        {56, 239, 8, PSGD_ERR_FILE, "says that it has 239"},
        {64, 4, 4, PSGD_ERR_FILE, "a section is cut short"},
        {64, 2, 4, PSGD_ERR_FILE, "48 bytes behind the last section"},
        {64, 0, 4, PSGD_ERR_FILE, "bytes behind the last"},
        {64, UINT32_MAX, 4, PSGD_ERR_FILE, "is cut short"},
        {80, 3, 4, PSGD_ERR_UNSUPPORTED, "kind 3"},
        {80, 0, 4, PSGD_ERR_UNSUPPORTED, "kind 0"},
        {84, 0, 4, PSGD_ERR_FILE, "a name of 0 bytes"},
        {84, UINT32_MAX, 4, PSGD_ERR_FILE, "is not in"},
        {88, 0, 8, PSGD_ERR_FILE, "a section of 0 x 2"},
        {88, UINT64_MAX, 8, PSGD_ERR_FILE, "is not in"},
        {88, 0x8000000000000001, 8, PSGD_ERR_FILE, "is not"},
        {96, 0, 4, PSGD_ERR_FILE, "a section of 3 x 0"},
        {96, UINT32_MAX, 4, PSGD_ERR_FILE, "is not in"},
        {112, 0, 1, PSGD_ERR_FILE, "a zero byte"},
    };

    for (size_t i = 0; i < sizeof(FORGERIES) / sizeof(FORGERIES[0]); ++i) {
        unsigned char *bytes = NULL;
        size_t         count = 0;

        encode(&bytes, &count);
        put(bytes + FORGERIES[i].at, FORGERIES[i].value, FORGERIES[i].bytes);
        seal(bytes, 57);
        refuse(bytes, count, FORGERIES[i].status, FORGERIES[i].words);
        psgd_free(bytes);
    }
}
END_TEST

START_TEST(format__an_optional_section_that_is_not_known_is_passed_over)
{
    psgd_state_t          *state = NULL;
    psgd_checkpoint_info_t info;
    unsigned char         *bytes = NULL;
    size_t                 count = 0;
    uint64_t               length;
    uint32_t               columns;
    const float           *values;

    encode(&bytes, &count);
    put(bytes + 80, 0x10007, 4);
    seal(bytes, 57);
    assert_ok(psgd_checkpoint_decode(bytes, count, "file", &info, &state));
    ck_assert_int_eq(psgd_state_get_factor(state, "w", &length, &columns, &values), PSGD_ERR_STATE);
    assert_ok(psgd_state_get_error(state, "w", &length, &values));
    psgd_state_destroy(state);
    psgd_free(bytes);
}
END_TEST

START_TEST(format__a_value_that_is_not_finite_is_refused)
{
    unsigned char         *bytes = NULL;
    size_t                 count = 0;
    psgd_checkpoint_info_t info;
    psgd_state_t          *state = NULL;

    encode(&bytes, &count);
    put(bytes + 113, 0x7FC00000, 4);
    seal(bytes, 57);
    assert_fails(psgd_checkpoint_decode(bytes, count, "file", &info, &state), PSGD_ERR_NONFINITE, "'w'");
    ck_assert_ptr_null(state);
    psgd_free(bytes);
}
END_TEST

START_TEST(format__a_state_without_a_step_is_not_written)
{
    psgd_state_t  *state = NULL;
    unsigned char *bytes = NULL;
    size_t         count = 0;

    assert_ok(psgd_state_create(&state));
    assert_fails(psgd_checkpoint_encode(state, &INFO, &bytes, &count), PSGD_ERR_STATE, "without a step");
    ck_assert_ptr_null(bytes);
    psgd_state_destroy(state);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoints as bytes");
    TCase *tcase = tcase_create("format");

    tcase_add_test(tcase, crc32c__has_the_known_answers);
    tcase_add_test(tcase, format__what_was_written_is_read);
    tcase_add_test(tcase, format__numbers_are_little_endian_at_their_places);
    tcase_add_test(tcase, format__every_truncation_is_refused);
    tcase_add_test(tcase, format__every_flipped_bit_is_refused);
    tcase_add_test(tcase, format__files_that_lie_are_refused);
    tcase_add_test(tcase, format__an_optional_section_that_is_not_known_is_passed_over);
    tcase_add_test(tcase, format__a_value_that_is_not_finite_is_refused);
    tcase_add_test(tcase, format__a_state_without_a_step_is_not_written);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
