/* Factors between device memory and the host, by every way there is. */
#include <stdlib.h>
#include <string.h>

#include "comm/staging.h"
#include "op_fixture.h"
#include "support/suite.h"

enum { ELEMS = 5003, OFFSET_BYTES = 12 };

static const psgd_staging_t WAYS[] = {PSGD_STAGING_AUTO, PSGD_STAGING_COPY, PSGD_STAGING_PINNED, PSGD_STAGING_MAP};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static psgd_stager_t *make_stager(psgd_staging_t how, const region_t *scratch)
{
    psgd_stager_t *stager = NULL;

    assert_ok(psgd_stager_create(op_device(), how, scratch->buffer, ELEMS * sizeof(float), &stager));
    return stager;
}

/* `values` to the middle of a buffer and back, in pieces of a length. */
static void check_round_trip(psgd_staging_t how, size_t elems)
{
    float          sent[ELEMS], received[ELEMS], kept[ELEMS];
    region_t       region;
    psgd_stager_t *stager;

    fill_uniform(sent, elems, 1, 1.0f);
    region = region_create(op_device(), elems, OFFSET_BYTES, NULL);
    stager = make_stager(how, &region);
    assert_ok(psgd_stager_write(stager, sent, region.view, elems * sizeof(float), "a test's write"));
    assert_ok(psgd_device_wait(op_device(), "a test's write"));
    region_read(&region, kept);
    ck_assert_uint_eq(count_different(kept, sent, elems), 0);
    memset(received, 0xFF, sizeof(received));
    assert_ok(psgd_stager_read(stager, region.view, received, elems * sizeof(float), "a test's read"));
    ck_assert_uint_eq(count_different(received, sent, elems), 0);
    assert_ok(psgd_device_wait(op_device(), "the end of a test"));
    psgd_stager_destroy(stager);
    region_destroy(&region);
}

START_TEST(staging__what_goes_to_the_device_comes_back_by_every_way)
{
    for (int w = 0; w < NUM_WAYS; ++w) {
        check_round_trip(WAYS[w], ELEMS);
        check_round_trip(WAYS[w], ELEMS / 3);
    }
}
END_TEST

START_TEST(staging__measuring_leaves_the_scratch_as_it_was)
{
    float          values[ELEMS], kept[ELEMS];
    region_t       region;
    psgd_stager_t *stager = NULL;
    bool           was    = psgd_device_limits(op_device())->has_unified_memory;

    fill_uniform(values, ELEMS, 2, 1.0f);
    region = region_create(op_device(), ELEMS, 0, values);
    op_device_pretend_unified(op_device(), false); /* so that it measures */
    assert_ok(psgd_stager_create(op_device(), PSGD_STAGING_AUTO, region.view, ELEMS * sizeof(float), &stager));
    op_device_pretend_unified(op_device(), was);
    ck_assert(psgd_stager_how(stager) == PSGD_STAGING_COPY || psgd_stager_how(stager) == PSGD_STAGING_PINNED);
    region_read(&region, kept);
    ck_assert_uint_eq(count_different(kept, values, ELEMS), 0);
    psgd_stager_destroy(stager);
    region_destroy(&region);
}
END_TEST

START_TEST(staging__auto_maps_where_memory_is_shared)
{
    bool           was    = psgd_device_limits(op_device())->has_unified_memory;
    region_t       region = region_create(op_device(), ELEMS, 0, NULL);
    psgd_stager_t *stager;

    op_device_pretend_unified(op_device(), true);
    stager = make_stager(PSGD_STAGING_AUTO, &region);
    op_device_pretend_unified(op_device(), was);
    ck_assert_int_eq(psgd_stager_how(stager), PSGD_STAGING_MAP);
    psgd_stager_destroy(stager);
    psgd_stager_destroy(NULL);
    region_destroy(&region);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("staging");
    TCase *tests = tcase_create("staging");

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, NULL, op_device_close);
    tcase_add_test(tests, staging__what_goes_to_the_device_comes_back_by_every_way);
    tcase_add_test(tests, staging__measuring_leaves_the_scratch_as_it_was);
    tcase_add_test(tests, staging__auto_maps_where_memory_is_shared);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
