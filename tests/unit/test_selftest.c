/* The self-test passes on a device that computes rightly, and finds kernels that do not. */
#define _GNU_SOURCE /* setenv, mkdtemp */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/suite.h"

enum { MAX_FILE_BYTES = 1 << 16, MAX_PATH_BYTES = 512 };

static cl_device_id find_device(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;

    assert_ok(psgd_device_find(NULL, &info));
    return info.device;
}

START_TEST(selftest__passes_on_this_device)
{
    psgd_selftest_t found = PSGD_SELFTEST_INIT;

    found.passed            = 17;
    found.flushes_denormals = 17;
    assert_ok(psgd_device_selftest(find_device(), &found));
    ck_assert_uint_eq(found.struct_size, sizeof(found));
    ck_assert_uint_ge(found.update_values, 50000);
    ck_assert_uint_eq(found.update_wrong, 0);
    ck_assert_uint_ge(found.random_values, 10000);
    ck_assert_uint_eq(found.random_wrong, 0);
    ck_assert_double_gt(found.orthogonality_error, 0.0);
    ck_assert_double_le(found.orthogonality_error, 9.5e-7);
    ck_assert_int_eq(found.passed, 1);
    ck_assert(found.flushes_denormals == 0 || found.flushes_denormals == 1);
}
END_TEST

START_TEST(selftest__refuses_bad_arguments_and_writes_nothing)
{
    psgd_selftest_t found = PSGD_SELFTEST_INIT;

    assert_fails(psgd_device_selftest(NULL, &found), PSGD_ERR_INVALID_ARGUMENT, "device is NULL");
    assert_fails(psgd_device_selftest(find_device(), NULL), PSGD_ERR_INVALID_ARGUMENT, "selftest_p is NULL");
    ck_assert_uint_eq(found.update_values, 0);
    found.struct_size = 0;
    assert_fails(psgd_device_selftest(find_device(), &found), PSGD_ERR_INVALID_ARGUMENT, "PSGD_SELFTEST_INIT");
}
END_TEST

/* ---- kernels with a mistake, from a directory of their own ---- */

static char directory[] = "/tmp/psgd_selftest_XXXXXX";

static void make_path(const char *where, const char *file, char path[MAX_PATH_BYTES])
{
    int length = snprintf(path, MAX_PATH_BYTES, "%s/%s", where, file);

    ck_assert_int_gt(length, 0);
    ck_assert_int_lt(length, MAX_PATH_BYTES);
}

static void read_text(const char *file, char text[MAX_FILE_BYTES])
{
    char   path[MAX_PATH_BYTES];
    FILE  *stream;
    size_t bytes;

    make_path(PSGD_TEST_KERNEL_DIR, file, path);
    stream = fopen(path, "rb");
    ck_assert_msg(stream != NULL, "cannot open %s", path);
    bytes = fread(text, 1, MAX_FILE_BYTES - 1, stream);
    ck_assert_uint_lt(bytes, MAX_FILE_BYTES - 1);
    text[bytes] = '\0';
    fclose(stream);
}

static void write_text(const char *file, const char *text)
{
    char  path[MAX_PATH_BYTES];
    FILE *stream;

    make_path(directory, file, path);
    stream = fopen(path, "wb");
    ck_assert_msg(stream != NULL, "cannot create %s", path);
    ck_assert_uint_eq(fwrite(text, 1, strlen(text), stream), strlen(text));
    ck_assert_int_eq(fclose(stream), 0);
}

/* Does this with each file of a directory. */
static void for_each_file(const char *where, void (*visit)(const char *file))
{
    DIR *opened = opendir(where);

    ck_assert_msg(opened != NULL, "cannot open %s", where);
    for (const struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        if (entry->d_name[0] != '.') {
            visit(entry->d_name);
        }
    }
    closedir(opened);
}

static void copy_file(const char *file)
{
    static char text[MAX_FILE_BYTES];

    read_text(file, text);
    write_text(file, text);
}

/* Copies the kernels, with every `right` of one file made `wrong`. */
static void copy_kernels(const char *wrong_file, const char *right, const char *wrong)
{
    static char text[MAX_FILE_BYTES], changed[MAX_FILE_BYTES];
    const char *next = text;
    size_t      used = 0;

    for_each_file(PSGD_TEST_KERNEL_DIR, copy_file);
    read_text(wrong_file, text);
    for (const char *at = strstr(next, right); at != NULL; at = strstr(next, right)) {
        used += (size_t)snprintf(changed + used, MAX_FILE_BYTES - used, "%.*s%s", (int)(at - next), next, wrong);
        next = at + strlen(right);
    }
    ck_assert_msg(next != text, "'%s' is not in %s", right, wrong_file);
    used += (size_t)snprintf(changed + used, MAX_FILE_BYTES - used, "%s", next);
    ck_assert_uint_lt(used, MAX_FILE_BYTES);
    write_text(wrong_file, changed);
}

static void make_directory(void)
{
    memcpy(directory + sizeof(directory) - 7, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(directory));
    ck_assert_int_eq(setenv("PSGD_KERNEL_DIR", directory, 1), 0);
}

static void remove_file(const char *file)
{
    char path[MAX_PATH_BYTES];

    make_path(directory, file, path);
    unlink(path);
}

static void remove_directory(void)
{
    unsetenv("PSGD_KERNEL_DIR");
    for_each_file(directory, remove_file);
    rmdir(directory);
}

/* An update without fma, two that keep what should become zero, a Philox of a round less, projections that fall short. */
static const struct {
    const char *file, *right, *wrong;
    bool        update, random, orthogonality; /* what it breaks */
} MISTAKES[] = {
    {"decompress.cl", "#pragma OPENCL FP_CONTRACT OFF",
     "#pragma OPENCL FP_CONTRACT OFF\n#define fma(x_, y_, z_) ((x_) * (y_) + (z_))", true, false, false},
    {"decompress.cl", "b.flush_below = scale[2];", "b.flush_below = 0.0f;", true, false, false},
    {"decompress.cl", "#define PSGD_DUST 0x1p-40f", "#define PSGD_DUST 0x1p-41f", true, false, false},
    {"random.clh", "#define PSGD_PHILOX_ROUNDS 10", "#define PSGD_PHILOX_ROUNDS 9", false, true, false},
    {"orthogonalize_tile.clh", "(vector_t)(-coefficients[k])", "(vector_t)(-0.9f * coefficients[k])", false, false, true},
};

enum { NUM_MISTAKES = sizeof(MISTAKES) / sizeof(MISTAKES[0]) };

START_TEST(selftest__finds_kernels_that_compute_wrongly)
{
    psgd_selftest_t found = PSGD_SELFTEST_INIT;
    cl_device_id    id    = find_device();

    copy_kernels(MISTAKES[_i].file, MISTAKES[_i].right, MISTAKES[_i].wrong);
    assert_ok(psgd_device_selftest(id, &found));
    ck_assert_int_eq(found.update_wrong > 0, MISTAKES[_i].update);
    ck_assert_int_eq(found.random_wrong > 0, MISTAKES[_i].random);
    ck_assert_int_eq(found.orthogonality_error > 9.5e-7, MISTAKES[_i].orthogonality);
    ck_assert_int_eq(found.passed, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("selftest");
    TCase *right = tcase_create("right");
    TCase *wrong = tcase_create("wrong");

    tcase_set_timeout(right, 0);
    tcase_add_test(right, selftest__passes_on_this_device);
    tcase_add_test(right, selftest__refuses_bad_arguments_and_writes_nothing);
    suite_add_tcase(suite, right);
    tcase_set_timeout(wrong, 0);
    tcase_add_checked_fixture(wrong, make_directory, remove_directory);
    tcase_add_loop_test(wrong, selftest__finds_kernels_that_compute_wrongly, 0, NUM_MISTAKES);
    suite_add_tcase(suite, wrong);
    return psgd_run_suite(suite);
}
