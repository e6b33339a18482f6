/* The hash of device memory is the host's, for every count and offset, and differs where the words differ. */
#include <stdlib.h>

#include "base/hash.h"
#include "device/cl_device.h"
#include "ops/hash.h"
#include "support/suite.h"

enum { WORDS = 300007, MAX_OFFSET = 37 };

static psgd_device_t *device;
static psgd_hasher_t *hasher;
static uint32_t      *words;
static psgd_view_t    memory;

static void set_up(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_log_t         log  = psgd_log_open(NULL, NULL, PSGD_LOG_WARN);

    assert_ok(psgd_device_find(NULL, &info));
    assert_ok(psgd_device_open(NULL, info.device, NULL, &log, &device));
    assert_ok(psgd_hasher_create(device, &hasher));
    words = calloc(WORDS + MAX_OFFSET, sizeof(*words));
    ck_assert_ptr_nonnull(words);
    for (uint32_t i = 0; i < WORDS + MAX_OFFSET; ++i) {
        words[i] = (uint32_t)psgd_hash_mix(i); /* all bit patterns, those of NaN and denormals included */
    }
    assert_ok(psgd_buffer_create(device, (WORDS + MAX_OFFSET) * sizeof(*words), "the test's words", &memory));
    assert_ok(psgd_buffer_enqueue_write(device, memory, words, (WORDS + MAX_OFFSET) * sizeof(*words)));
    assert_ok(psgd_device_wait(device, "the test"));
}

static void tear_down(void)
{
    psgd_buffer_destroy(device, &memory);
    psgd_hasher_destroy(hasher);
    psgd_device_close(device);
    free(words);
}

static uint64_t hash_of(size_t offset, uint64_t count)
{
    uint64_t hash = 0;

    assert_ok(psgd_hasher_enqueue(hasher, psgd_view_at(memory, offset * sizeof(*words)), count, &hash));
    assert_ok(psgd_device_wait(device, "the test"));
    return hash;
}

START_TEST(hash__device_memory_has_the_hash_of_the_host)
{
    static const uint64_t COUNTS[] = {1, 2, 15, 16, 17, 63, 64, 65, 1000, 4096, 65537, WORDS};

    for (size_t c = 0; c < sizeof(COUNTS) / sizeof(COUNTS[0]); ++c) {
        for (size_t offset = 0; offset <= MAX_OFFSET; offset += offset < 4 ? 1 : 11) {
            uint64_t expected = psgd_hash_words(words + offset, COUNTS[c], 0);

            ck_assert_msg(hash_of(offset, COUNTS[c]) == expected, "%llu words from %zu on", (unsigned long long)COUNTS[c],
                          offset);
        }
    }
}
END_TEST

START_TEST(hash__several_may_be_under_way_at_once)
{
    uint64_t hashes[8];

    for (size_t i = 0; i < 8; ++i) {
        assert_ok(psgd_hasher_enqueue(hasher, psgd_view_at(memory, i * sizeof(*words)), 1000 + i, &hashes[i]));
    }
    assert_ok(psgd_device_wait(device, "the test"));
    for (size_t i = 0; i < 8; ++i) {
        ck_assert_uint_eq(hashes[i], psgd_hash_words(words + i, 1000 + i, 0));
    }
}
END_TEST

START_TEST(hash__one_flipped_bit_or_two_exchanged_words_change_it)
{
    static const size_t AT[]  = {0, 1, 15, 16, 4999, WORDS - 1};
    uint64_t            clean = hash_of(0, WORDS);

    for (size_t a = 0; a < sizeof(AT) / sizeof(AT[0]); ++a) {
        for (int bit = 0; bit < 32; bit += 31) {
            uint32_t flipped = words[AT[a]] ^ (UINT32_C(1) << bit);

            assert_ok(psgd_buffer_enqueue_write(device, psgd_view_at(memory, AT[a] * 4), &flipped, 4));
            ck_assert_uint_ne(hash_of(0, WORDS), clean);
            assert_ok(psgd_buffer_enqueue_write(device, psgd_view_at(memory, AT[a] * 4), &words[AT[a]], 4));
        }
    }
    assert_ok(psgd_buffer_enqueue_write(device, memory, &words[1], 4));
    assert_ok(psgd_buffer_enqueue_write(device, psgd_view_at(memory, 4), &words[0], 4));
    ck_assert_uint_ne(hash_of(0, WORDS), clean);
    assert_ok(psgd_buffer_enqueue_write(device, memory, words, 8));
    ck_assert_uint_eq(hash_of(0, WORDS), clean);
}
END_TEST

START_TEST(hash__zero_words_of_different_counts_differ)
{
    psgd_view_t zeros  = {NULL, 0};
    uint64_t    of_100 = 0, of_101 = 0;

    assert_ok(psgd_buffer_create(device, 101 * 4, "the test's zeros", &zeros));
    assert_ok(psgd_hasher_enqueue(hasher, zeros, 100, &of_100));
    assert_ok(psgd_hasher_enqueue(hasher, zeros, 101, &of_101));
    assert_ok(psgd_device_wait(device, "the test"));
    ck_assert_uint_ne(of_100, of_101);
    psgd_buffer_destroy(device, &zeros);
}
END_TEST

START_TEST(hash__destroying_nothing_is_fine)
{
    psgd_hasher_destroy(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *cases = tcase_create("hash");

    tcase_set_timeout(cases, 0);
    tcase_add_unchecked_fixture(cases, set_up, tear_down);
    tcase_add_test(cases, hash__device_memory_has_the_hash_of_the_host);
    tcase_add_test(cases, hash__several_may_be_under_way_at_once);
    tcase_add_test(cases, hash__one_flipped_bit_or_two_exchanged_words_change_it);
    tcase_add_test(cases, hash__zero_words_of_different_counts_differ);
    tcase_add_test(cases, hash__destroying_nothing_is_fine);
    suite_add_tcase(suite, cases);
    return psgd_run_suite(suite);
}
