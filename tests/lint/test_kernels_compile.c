/* Every kernel file compiles alone: with no -D at all, so that each parameter has its default. */
#define _POSIX_C_SOURCE 200809L /* scandir */

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/cl_device.h"
#include "device/program.h"
#include "support/suite.h"

static psgd_device_t *open_device(void)
{
    static psgd_log_t  log; /* silent */
    psgd_device_info_t info   = PSGD_DEVICE_INFO_INIT;
    psgd_device_t     *device = NULL;

    assert_ok(psgd_device_find(NULL, &info));
    assert_ok(psgd_device_open(NULL, info.device, NULL, &log, &device));
    return device;
}

static int is_kernel_file(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);

    return (length > 3) && (strcmp(entry->d_name + length - 3, ".cl") == 0);
}

static int list_kernel_files(struct dirent ***entries_p)
{
    const char *source_dir = getenv("PSGD_TEST_SOURCE_DIR");
    char        folder[4096];
    int         count;

    ck_assert_msg(source_dir != NULL, "PSGD_TEST_SOURCE_DIR is not set: it names the project's root");
    snprintf(folder, sizeof(folder), "%s/cl", source_dir);
    count = scandir(folder, entries_p, is_kernel_file, alphasort);
    ck_assert_msg(count > 0, "%s holds no kernels", folder);
    return count;
}

START_TEST(kernels__each_file_compiles_alone)
{
    psgd_device_t  *device  = open_device();
    struct dirent **entries = NULL;
    int             count   = list_kernel_files(&entries);

    for (int i = 0; i < count; i++) {
        psgd_program_t *program = NULL;
        psgd_status_t   status  = psgd_program_get(device, entries[i]->d_name, "", &program);

        ck_assert_msg(status == PSGD_OK, "cl/%s: %s", entries[i]->d_name, psgd_last_error());
        free(entries[i]);
    }
    free(entries);
    psgd_device_close(device);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kernels");
    TCase *tests = tcase_create("compile");

    tcase_add_test(tests, kernels__each_file_compiles_alone);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
