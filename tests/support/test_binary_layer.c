/* The layer that keeps what PoCL compiled for other processes (binary_layer.c): a program whose kernels come from a kept build answers as
 * one that was compiled, and what cannot be kept is compiled. Runs with that layer and a kernel cache of its own. */
#define _GNU_SOURCE /* setenv, mkdtemp, nftw */
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/suite.h"
#include "support/test_device.h"

enum { NUM_BUILDS = 8 }; /* so often is a program built before it is kept: binary_layer.c */

static const char TEXT[] = "__kernel void fill(__global float *out) { out[get_global_id(0)] = VALUE; }\n";

static test_device_t device;
static char          cache[] = "/tmp/psgd_test_binary_layer.XXXXXX";

static void open_all(void)
{
    char path[sizeof(cache) + 16];

    ck_assert_ptr_nonnull(mkdtemp(cache));
    snprintf(path, sizeof(path), "%s/programs", cache);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    ck_assert_int_eq(setenv("PSGD_TEST_KERNEL_CACHE", cache, 1), 0);
    assert_ok(test_device_open(&device));
}

static int remove_it(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static void close_all(void)
{
    test_device_close(&device);
    nftw(cache, remove_it, 8, FTW_DEPTH | FTW_PHYS);
}

/* How many builds are kept. */
static int count_kept(void)
{
    char           path[sizeof(cache) + 16];
    DIR           *directory;
    struct dirent *entry;
    int            count = 0;

    snprintf(path, sizeof(path), "%s/programs", cache);
    directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    for (entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        count += strchr(entry->d_name, '.') == NULL;
    }
    closedir(directory);
    return count;
}

static cl_program make(const char *text)
{
    cl_int     result;
    cl_program program = clCreateProgramWithSource(device.context, 1, &text, NULL, &result);

    ck_assert_int_eq(result, CL_SUCCESS);
    return program;
}

static cl_program make_and_build(const char *text, const char *options)
{
    cl_program program = make(text);

    ck_assert_int_eq(clBuildProgram(program, 1, &device.id, options, NULL, NULL), CL_SUCCESS);
    return program;
}

/* As often as it takes until it is kept. */
static void build_often(const char *text, const char *options)
{
    for (int i = 0; i < NUM_BUILDS; ++i) {
        ck_assert_int_eq(clReleaseProgram(make_and_build(text, options)), CL_SUCCESS);
    }
}

/* What the kernel writes. */
static float run(cl_program program)
{
    const size_t one = 1;
    cl_int       result;
    cl_kernel    kernel = clCreateKernel(program, "fill", &result);
    cl_mem       out    = NULL;
    float        value  = 0;

    ck_assert_int_eq(result, CL_SUCCESS);
    assert_ok(test_buffer_create(&device, 1, &out));
    ck_assert_int_eq(clSetKernelArg(kernel, 0, sizeof(cl_mem), &out), CL_SUCCESS);
    ck_assert_int_eq(clEnqueueNDRangeKernel(device.queue, kernel, 1, NULL, &one, NULL, 0, NULL, NULL), CL_SUCCESS);
    assert_ok(test_buffer_read(&device, out, 0, &value, 1));
    ck_assert_int_eq(clReleaseMemObject(out), CL_SUCCESS);
    ck_assert_int_eq(clReleaseKernel(kernel), CL_SUCCESS);
    return value;
}

START_TEST(kept__is_what_is_built_often_by_its_text_and_options)
{
    cl_program program;

    for (int i = 1; i < NUM_BUILDS; ++i) {
        ck_assert_int_eq(clReleaseProgram(make_and_build(TEXT, "-DVALUE=1")), CL_SUCCESS);
    }
    ck_assert_int_eq(count_kept(), 0);
    ck_assert_int_eq(clReleaseProgram(make_and_build(TEXT, "-DVALUE=1")), CL_SUCCESS);
    ck_assert_int_eq(count_kept(), 1);
    build_often(TEXT, "-DVALUE=2");
    ck_assert_int_eq(count_kept(), 2);
    for (int value = 1; value <= 3; ++value) { /* the last one is compiled */
        char options[32];

        snprintf(options, sizeof(options), "-DVALUE=%d", value);
        program = make_and_build(TEXT, options);
        ck_assert(run(program) == (float)value);
        ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
    }
    ck_assert_int_eq(count_kept(), 2);
}
END_TEST

START_TEST(kept__answers_as_if_it_were_compiled)
{
    char            text[256], names[32], options[32];
    size_t          num_kernels = 0, bytes = 0;
    cl_uint         references = 0;
    cl_program      program, of_kernel = NULL;
    cl_context      context = NULL;
    cl_build_status status  = CL_BUILD_NONE;
    cl_kernel       kernel;

    build_often(TEXT, "-DVALUE=4");
    program = make_and_build(TEXT, "-DVALUE=4");
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_SOURCE, sizeof(text), text, NULL), CL_SUCCESS);
    ck_assert_str_eq(text, TEXT);
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_CONTEXT, sizeof(cl_context), &context, NULL), CL_SUCCESS);
    ck_assert(context == device.context);
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_NUM_KERNELS, sizeof(num_kernels), &num_kernels, NULL),
                     CL_SUCCESS);
    ck_assert_uint_eq(num_kernels, 1);
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_KERNEL_NAMES, sizeof(names), names, NULL), CL_SUCCESS);
    ck_assert_str_eq(names, "fill");
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(bytes), &bytes, NULL), CL_SUCCESS);
    ck_assert_uint_gt(bytes, 0);
    ck_assert_int_eq(clGetProgramBuildInfo(program, device.id, CL_PROGRAM_BUILD_STATUS, sizeof(status), &status, NULL),
                     CL_SUCCESS);
    ck_assert_int_eq(status, CL_BUILD_SUCCESS);
    ck_assert_int_eq(
        clGetProgramBuildInfo(program, device.id, CL_PROGRAM_BUILD_OPTIONS, sizeof(options), options, NULL),
        CL_SUCCESS);
    ck_assert_str_eq(options, "-DVALUE=4");
    ck_assert_int_eq(clRetainProgram(program), CL_SUCCESS);
    ck_assert_int_eq(clGetProgramInfo(program, CL_PROGRAM_REFERENCE_COUNT, sizeof(references), &references, NULL),
                     CL_SUCCESS);
    ck_assert_uint_eq(references, 2);
    ck_assert_int_eq(clCreateKernelsInProgram(program, 1, &kernel, NULL), CL_SUCCESS);
    ck_assert_int_eq(clGetKernelInfo(kernel, CL_KERNEL_PROGRAM, sizeof(cl_program), &of_kernel, NULL), CL_SUCCESS);
    ck_assert(of_kernel == program);
    ck_assert_int_eq(clReleaseKernel(kernel), CL_SUCCESS);
    ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
    ck_assert(run(program) == 4);
    ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
}
END_TEST

START_TEST(kept__what_is_damaged_is_compiled)
{
    char           path[sizeof(cache) + 300];
    DIR           *directory;
    struct dirent *entry;
    cl_program     program;

    build_often(TEXT, "-DVALUE=5");
    snprintf(path, sizeof(path), "%s/programs", cache);
    directory = opendir(path);
    ck_assert_ptr_nonnull(directory);
    for (entry = readdir(directory); entry != NULL; entry = readdir(directory)) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/programs/%s", cache, entry->d_name);
            ck_assert_int_eq(truncate(path, 100), 0);
        }
    }
    closedir(directory);
    program = make_and_build(TEXT, "-DVALUE=5");
    ck_assert(run(program) == 5);
    ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
}
END_TEST

START_TEST(not_kept__is_what_the_compiler_says_something_about)
{
    char       log[4096];
    const int  before = count_kept();
    cl_program program;

    build_often("#warning look here\n__kernel void fill(__global float *out) { *out = 1; }\n", "");
    for (int i = 0; i < 2 * NUM_BUILDS; ++i) {
        program = make("__kernel void fill(__global float *out) { undeclared_name = 1; }\n");
        ck_assert_int_eq(clBuildProgram(program, 1, &device.id, "", NULL, NULL), CL_BUILD_PROGRAM_FAILURE);
        ck_assert_int_eq(clGetProgramBuildInfo(program, device.id, CL_PROGRAM_BUILD_LOG, sizeof(log), log, NULL),
                         CL_SUCCESS);
        ck_assert_ptr_nonnull(strstr(log, "undeclared_name"));
        ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
    }
    ck_assert_int_eq(count_kept(), before);
}
END_TEST

START_TEST(not_kept__is_what_includes_files_or_is_built_again)
{
    const int  before = count_kept();
    cl_program program;

    build_often("#include \"/dev/null\"\n__kernel void fill(__global float *out) { *out = 1; }\n", "");
    ck_assert_int_eq(count_kept(), before);
    build_often(TEXT, "-DVALUE=6");
    program = make_and_build(TEXT, "-DVALUE=6");
    ck_assert_int_eq(clBuildProgram(program, 1, &device.id, "-DVALUE=7", NULL, NULL), CL_SUCCESS);
    ck_assert(run(program) == 7);
    ck_assert_int_eq(clReleaseProgram(program), CL_SUCCESS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("binary_layer");
    TCase *kept  = tcase_create("kept");

    tcase_add_unchecked_fixture(kept, open_all, close_all);
    tcase_add_test(kept, kept__is_what_is_built_often_by_its_text_and_options);
    tcase_add_test(kept, kept__answers_as_if_it_were_compiled);
    tcase_add_test(kept, kept__what_is_damaged_is_compiled);
    tcase_add_test(kept, not_kept__is_what_the_compiler_says_something_about);
    tcase_add_test(kept, not_kept__is_what_includes_files_or_is_built_again);
    suite_add_tcase(suite, kept);
    return psgd_run_suite(suite);
}
