/* What psgd-advise says a step sends, against the plan that a reducer would make; and calibration files. */
#define _POSIX_C_SOURCE 200809L /* mkstemp() */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calibration.h"
#include "output.h"
#include "plan/plan.h"
#include "plan/slice.h"
#include "support/suite.h"
#include "tool_asserts.h"
#include "traffic.h"

static char path[] = "/tmp/test_advise_XXXXXX";

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

/* The model's traffic at these settings is the plan's, bucket by bucket. */
static void compare(const model_t *model, uint32_t rank, double rate, uint64_t bucket_bytes)
{
    psgd_config_t  config  = PSGD_CONFIG_INIT;
    psgd_tensor_t *tensors = NULL;
    psgd_plan_t   *plan    = NULL;
    bucket_list_t  list    = {0};
    size_t        *firsts  = calloc(model->count, sizeof(*firsts));
    uint64_t       sum     = 0;

    config.rank                 = rank;
    config.min_compression_rate = rate;
    ck_assert_ptr_nonnull(firsts);
    assert_tool_ok(model_make_tensors(model, PSGD_F32, &tensors));
    ck_assert_int_eq(psgd_plan_create(tensors, model->count, &config, &plan), PSGD_OK);
    assert_tool_ok(buckets_make(model, rank, rate, bucket_bytes, &list));
    ck_assert_uint_eq(list.total.elems, plan->total_elems);
    ck_assert_uint_eq(list.total.matrix_elems, plan->matrix_elems);
    ck_assert_uint_eq(list.total.p_elems, plan->p_elems);
    ck_assert_uint_eq(list.total.q_elems, plan->q_elems);
    ck_assert_uint_eq(list.total.small_elems, plan->small_elems);
    ck_assert_uint_eq(list.total.large_elems, plan->large_elems);
    ck_assert_uint_eq(traffic_sent_elems(&list.total), plan->compressed_elems);
    ck_assert_uint_eq(list.count, psgd_plan_divide(plan, bucket_bytes, firsts));
    for (size_t i = 0; i < list.count; ++i) { /* ours come from the last tensor on */
        const size_t end = i == 0 ? model->count : firsts[list.count - i];

        sum = 0;
        for (size_t t = firsts[list.count - 1 - i]; t < end; ++t) {
            sum += model->tensors[t].elems;
        }
        ck_assert_uint_eq(list.buckets[i].elems, sum);
    }
    buckets_free(&list);
    psgd_plan_destroy(plan);
    free(tensors);
    free(firsts);
}

START_TEST(traffic__is_that_of_the_library_for_built_in_models)
{
    static const char *const names[] = {"resnet18", "resnet50", "lstm", "gpt2"};

    for (size_t m = 0; m < sizeof(names) / sizeof(names[0]); ++m) {
        model_t model = {0};

        assert_tool_ok(model_load(names[m], &model));
        for (uint32_t rank = 1; rank <= 512; rank *= 3) {
            compare(&model, rank, 2.0, 0);
            compare(&model, rank, 0.0, 25000000);
            compare(&model, rank, 1.0, 1000);
        }
        model_free(&model);
    }
}
END_TEST

START_TEST(traffic__is_that_of_the_library_for_tensors_with_settings)
{
    model_t model = {0};

    write_file("plain 100 200\nnever 500 600 rank=never\nown 300 400 rank=7\nbias 10\nlong 100000\n"
               "experts 8 512 256 rank=2 view=8,512,256,131072,256,1\nconv 3 3 64 128 view=1,128,576,0,1,128\n");
    assert_tool_ok(model_load(path, &model));
    for (uint32_t rank = 1; rank <= 256; rank *= 2) {
        compare(&model, rank, 2.0, 0);
        compare(&model, rank, 2.0, 300000);
    }
    model_free(&model);
}
END_TEST

/* ---- calibration files ---- */

static calibration_t example(void)
{
    calibration_t c = {.elems              = 123,
                       .workers            = 2,
                       .has_device         = true,
                       .shares_memory      = true,
                       .device_gbs         = 12.5,
                       .launch_us          = 3.0,
                       .staging_gbs        = 7.0,
                       .staging_latency_us = 9.0,
                       .host_gbs           = 2.0,
                       .num_ranks          = 2,
                       .has_link           = true};

    snprintf(c.model, sizeof(c.model), "resnet18");
    snprintf(c.device, sizeof(c.device), "a device");
    for (uint32_t i = 0; i < 2; ++i) {
        c.ranks[i] = (measured_rank_t){i + 1, {1e-3, 2e-3, 3e-3, 4e-3, 5e-3 * (i + 1)}, {9, 8, 7, 6, 5, 4, 0}};
    }
    c.network      = (network_t){.latency_s = 5e-6, .wire_s_per_byte = 8e-9, .host_s_per_byte = 0.5e-9};
    c.network.wire = (cost_curve_t){{{1000.0, 9e-9}, {1e6, 8e-9}}, 2};
    return c;
}

START_TEST(calibration__what_was_written_is_read)
{
    for (int in_memory = 0; in_memory < 2; ++in_memory) {
        calibration_t wrote = example(), read = {0};

        if (in_memory != 0) {
            wrote.in_memory    = true;
            wrote.network.host = wrote.network.wire;
            wrote.network.wire = (cost_curve_t){.count = 0};
        }
        assert_tool_ok(output_write(path, calibration_write, &wrote));
        assert_tool_ok(calibration_read(path, &read));
        ck_assert_str_eq(read.model, "resnet18");
        ck_assert_str_eq(read.device, "a device");
        ck_assert_uint_eq(read.elems, 123);
        ck_assert_uint_eq(read.workers, 2);
        ck_assert(read.has_device && read.shares_memory && read.has_link && !read.is_finite);
        ck_assert(read.in_memory == (in_memory != 0));
        ck_assert_double_eq(read.device_gbs, 12.5);
        ck_assert_ptr_null(calibration_find(&read, 3));
        ck_assert_ptr_nonnull(calibration_find(&read, 2));
        ck_assert_double_eq_tol(calibration_find(&read, 2)->local.host_s, 10e-3, 1e-12);
        ck_assert_uint_eq(calibration_find(&read, 2)->traffic.small_elems, 5);
        ck_assert_double_eq_tol(read.network.latency_s, 5e-6, 1e-14);
        ck_assert_uint_eq(in_memory != 0 ? read.network.host.count : read.network.wire.count, 2);
        ck_assert_double_eq_tol((in_memory != 0 ? read.network.host : read.network.wire).points[1].s_per_byte, 8e-9,
                                1e-17);
    }
}
END_TEST

START_TEST(calibration__what_is_wrong_in_a_file_is_said)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", ":1:1: '{' is expected here"},
        {"{}", "is no calibration"},
        {"{\n  \"a\" 1}", ":2:7: ':' is expected here"},
        {"{\"a\": \"b}", "the text has no end"},
        {"{\"a\": [1, x]}", "a number, a text, true, false, null or a list of numbers is expected here"},
        {"{\"a\": [1 2]}", "',' or ']' is expected here"},
        {"{\"a\": 1} 2", "nothing is expected behind the object"},
        {"{\"schema\": 1, \"has_device\": true, \"ranks\": [1, 2]}", "are not equally long"},
        {"{\"schema\": 1, \"has_device\": true, \"device_gbs\": -3}", "device_gbs is -3: it cannot be negative"},
        {"{\"schema\": 1, \"has_device\": true, \"device_gbs\": 0}", "must be above 0"},
        {"{\"schema\": 1, \"device_gbs\": [1]}", "device_gbs must be a number"},
        {"{\"schema\": 1, \"ranks\": 4}", "ranks must be a list of numbers"},
        {"{\"schema\": 1, \"has_link\": true}", "link_bytes is empty"},
        {"{\"schema\": 1, \"has_link\": true, \"link_bytes\": [5, 5], \"link_ns_per_byte\": [1, 1]}",
         "link_bytes must grow"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
        calibration_t calibration;

        write_file(cases[i].text);
        assert_tool_fails(calibration_read(path, &calibration), TOOL_FAILED, cases[i].words);
    }
    assert_tool_fails(calibration_read("/nowhere/there", &(calibration_t){0}), TOOL_FAILED,
                      "/nowhere/there: No such file");
}
END_TEST

int main(void)
{
    Suite *suite  = suite_create("advise_traffic");
    TCase *tcase  = tcase_create("traffic");
    int    file   = mkstemp(path);
    int    result = EXIT_FAILURE;

    if (file < 0) {
        perror(path);
        return EXIT_FAILURE;
    }
    close(file);
    tcase_add_test(tcase, traffic__is_that_of_the_library_for_built_in_models);
    tcase_add_test(tcase, traffic__is_that_of_the_library_for_tensors_with_settings);
    tcase_add_test(tcase, calibration__what_was_written_is_read);
    tcase_add_test(tcase, calibration__what_is_wrong_in_a_file_is_said);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    unlink(path);
    return result;
}
