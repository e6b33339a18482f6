/* Devices as drivers may describe them: each that cannot be used says why, and a driver that fails hides nothing else. What they
 * answer comes from answers_layer.c. */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <stdio.h>
#include <stdlib.h>

#include "device/cl_device.h"
#include "support/suite.h"

/* The only device, described while a question has another answer. */
static psgd_device_info_t describe(cl_device_info what, const char *answer)
{
    psgd_device_info_t info  = PSGD_DEVICE_INFO_INIT;
    size_t             count = 0;
    char               setting[128];

    snprintf(setting, sizeof(setting), "%u %s", (unsigned)what, answer);
    ck_assert_int_eq(setenv("ANSWERS_LAYER_DEVICE", setting, 1), 0);
    assert_ok(psgd_device_list(&info, 1, &count));
    ck_assert_int_eq(unsetenv("ANSWERS_LAYER_DEVICE"), 0);
    ck_assert_uint_eq(count, 1);
    return info;
}

START_TEST(device__that_cannot_be_used_says_why)
{
    static const struct {
        cl_device_info what;
        const char    *answer, *reason;
    } CASES[] = {
        {CL_DEVICE_AVAILABLE, "is 0", "the device is not available"},
        {CL_DEVICE_AVAILABLE, "fails -5", "the driver does not answer CL_DEVICE_AVAILABLE: CL_OUT_OF_RESOURCES (-5)"},
        {CL_DEVICE_GLOBAL_MEM_SIZE, "fails -30", "does not answer CL_DEVICE_GLOBAL_MEM_SIZE: CL_INVALID_VALUE (-30)"},
        {CL_DEVICE_NAME, "fails -33", "does not answer CL_DEVICE_NAME: CL_INVALID_DEVICE (-33)"},
        {CL_DEVICE_COMPILER_AVAILABLE, "is 0", "no compiler"},
        {CL_DEVICE_VERSION, "says OpenCL 1.1 old", "the driver offers 'OpenCL 1.1 old'"},
        {CL_DEVICE_VERSION, "says OpenCL 0.9", "OpenCL 1.2 is needed"},
        {CL_DEVICE_VERSION, "says something else", "OpenCL 1.2 is needed"},
        {CL_DEVICE_ENDIAN_LITTLE, "is 0", "big-endian"},
        {CL_DEVICE_SINGLE_FP_CONFIG, "is 2", "lacks rounding to nearest"},
        {CL_DEVICE_MAX_WORK_GROUP_SIZE, "is 0", "no work-items, no memory, or no compute units"},
        {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "is 0", "no work-items, no memory, or no compute units"},
        {CL_DEVICE_MAX_COMPUTE_UNITS, "is 0", "no work-items, no memory, or no compute units"},
    };

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); ++i) {
        psgd_device_info_t info = describe(CASES[i].what, CASES[i].answer);

        ck_assert_msg(!info.is_usable && (strstr(info.reason, CASES[i].reason) != NULL), "0x%x %s: '%s' is not in '%s'",
                      (unsigned)CASES[i].what, CASES[i].answer, CASES[i].reason, info.reason);
    }
}
END_TEST

START_TEST(device__that_can_be_used_may_be_of_any_kind_and_version)
{
    static const struct {
        const char        *answer;
        psgd_device_kind_t kind;
    } KINDS[] = {{"is 2", PSGD_DEVICE_CPU},
                 {"is 4", PSGD_DEVICE_GPU},
                 {"is 8", PSGD_DEVICE_ACCELERATOR},
                 {"is 16", PSGD_DEVICE_OTHER}};

    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); ++i) {
        psgd_device_info_t info = describe(CL_DEVICE_TYPE, KINDS[i].answer);

        ck_assert(info.is_usable && (info.kind == KINDS[i].kind));
    }
    ck_assert(describe(CL_DEVICE_VERSION, "says OpenCL 1.2").is_usable);
    ck_assert(describe(CL_DEVICE_VERSION, "says OpenCL 2.0 new").is_usable);
    ck_assert_str_eq(describe(CL_DEVICE_NAME, "says   indented").name, "indented");
}
END_TEST

/* Words of the list of extensions, not parts of words. */
START_TEST(device__extensions_are_whole_words)
{
    ck_assert_int_eq(describe(CL_DEVICE_EXTENSIONS, "says cl_khr_fp16").has_fp16, 1);
    ck_assert_int_eq(describe(CL_DEVICE_EXTENSIONS, "says a cl_khr_fp16 b").has_fp16, 1);
    ck_assert_int_eq(describe(CL_DEVICE_EXTENSIONS, "says x_cl_khr_fp16 cl_khr_fp16_y").has_fp16, 0);
    ck_assert_int_eq(describe(CL_DEVICE_EXTENSIONS, "says cl_khr_fp16_y cl_khr_fp16").has_fp16, 1);
    ck_assert_int_eq(describe(CL_DEVICE_PROFILE, "says EMBEDDED_PROFILE").is_usable, 0);
}
END_TEST

static size_t count_devices(const char *failing_call, psgd_status_t expected)
{
    size_t        count = 99;
    psgd_status_t status;

    ck_assert_int_eq(setenv("ANSWERS_LAYER_FAILS", failing_call, 1), 0);
    status = psgd_device_list(NULL, 0, &count);
    ck_assert_int_eq(unsetenv("ANSWERS_LAYER_FAILS"), 0);
    ck_assert_msg(status == expected, "%s: %s", failing_call, psgd_last_error());
    return count;
}

START_TEST(list__no_driver_and_none_that_has_devices_are_no_error)
{
    ck_assert_uint_eq(count_devices("clGetPlatformIDs 0 -1001", PSGD_OK), 0);
    ck_assert_uint_eq(count_devices("clGetDeviceIDs 0 -1", PSGD_OK), 0);
    ck_assert_uint_eq(count_devices("clGetDeviceIDs 0 -5", PSGD_OK), 0);    /* a broken driver; it is logged */
    ck_assert_uint_eq(count_devices("clGetPlatformInfo 0 -5", PSGD_OK), 1); /* its name stays empty */
    ck_assert_uint_eq(count_devices("clGetPlatformInfo 1 -5", PSGD_OK), 1);
}
END_TEST

START_TEST(list__what_fails_is_named)
{
    ck_assert_uint_eq(count_devices("clGetPlatformIDs 0 -6", PSGD_ERR_OPENCL), 99);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "cannot list its platforms"));
    ck_assert_uint_eq(count_devices("clGetPlatformIDs 1 -6", PSGD_ERR_OPENCL), 99);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "clGetPlatformIDs failed: CL_OUT_OF_HOST_MEMORY"));
    ck_assert_uint_eq(count_devices("clGetDeviceIDs 1 -6", PSGD_ERR_OPENCL), 99);
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), "platform 0 listed 1 devices and then none"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("what devices answer");
    TCase *tcase = tcase_create("answers");

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, device__that_cannot_be_used_says_why);
    tcase_add_test(tcase, device__that_can_be_used_may_be_of_any_kind_and_version);
    tcase_add_test(tcase, device__extensions_are_whole_words);
    tcase_add_test(tcase, list__no_driver_and_none_that_has_devices_are_no_error);
    tcase_add_test(tcase, list__what_fails_is_named);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
