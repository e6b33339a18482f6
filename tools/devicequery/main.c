/* psgd-devicequery: what this machine's OpenCL devices are, and whether libpsgd can run on them. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <psgd/psgd.h>

#include "options.h"
#include "report.h"

enum {
    EXIT_USABLE          = 0,
    EXIT_NO_DEVICE       = 1, /* also where the report cannot be written */
    EXIT_WRONG_USAGE     = 2,
    EXIT_SELFTEST_FAILED = 3
};

/* ---- the survey ---- */

/* Keeps why no device can be used, and returns false. */
static bool fail(survey_t *survey, const char *sentence)
{
    snprintf(survey->message, sizeof(survey->message), "%s", sentence);
    return false;
}

static bool list_devices(survey_t *survey)
{
    size_t capacity = 0;

    if (psgd_device_list(NULL, 0, &capacity) != PSGD_OK) {
        return fail(survey, psgd_last_error());
    }
    survey->infos = calloc(capacity + 1, sizeof(*survey->infos));
    if (survey->infos == NULL) {
        return fail(survey, "no host memory for the list of devices");
    }
    for (size_t i = 0; i < capacity; ++i) {
        survey->infos[i] = (psgd_device_info_t)PSGD_DEVICE_INFO_INIT;
    }
    if (psgd_device_list(survey->infos, capacity, &survey->count) != PSGD_OK) {
        return fail(survey, psgd_last_error());
    }
    survey->count = survey->count < capacity ? survey->count : capacity;
    return true;
}

/* Whether `which` is the device's "3" or "1:0". */
static bool is_named_by_index(const psgd_device_info_t *info, const char *which)
{
    char index[32];
    char platform_device[32];

    snprintf(index, sizeof(index), "%" PRIu32, info->index);
    snprintf(platform_device, sizeof(platform_device), "%" PRIu32 ":%" PRIu32, info->platform_index,
             info->device_index);
    return (strcmp(which, index) == 0) || (strcmp(which, platform_device) == 0);
}

/* -d shows one device; one that is named by its index also where it cannot be used. */
static void show_one(survey_t *survey, const char *which)
{
    survey->shown     = survey->chosen;
    survey->num_shown = survey->chosen != NULL;
    for (size_t i = 0; (survey->chosen == NULL) && (i < survey->count); ++i) {
        if (is_named_by_index(&survey->infos[i], which)) {
            survey->shown     = &survey->infos[i];
            survey->num_shown = 1;
        }
    }
}

/* which: -d's words, or NULL for what libpsgd would choose by itself, PSGD_DEVICE included. */
static void choose_device(survey_t *survey, const char *which)
{
    psgd_device_info_t found = PSGD_DEVICE_INFO_INIT;

    if (psgd_device_find(which, &found) != PSGD_OK) {
        fail(survey, psgd_last_error());
        return;
    }
    for (size_t i = 0; i < survey->count; ++i) {
        if (survey->infos[i].device == found.device) {
            survey->chosen = &survey->infos[i];
        }
    }
    if (survey->chosen == NULL) {
        fail(survey, "the device that was chosen is gone from the list");
    }
}

static survey_t take_survey(const char *which)
{
    survey_t survey = {NULL, 0, NULL, 0, NULL, ""};

    if (!list_devices(&survey)) {
        survey.count = 0;
        return survey;
    }
    choose_device(&survey, which);
    if (which != NULL) {
        show_one(&survey, which);
    } else {
        survey.shown     = survey.infos;
        survey.num_shown = survey.count;
    }
    return survey;
}

/* ---- the modes ---- */

static selftest_t run_selftest(const psgd_device_info_t *info)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "self-test on '%s': compiling kernels, up to a minute the first time...\n", info->name);
    }
    return selftest_run(info);
}

static void print_report(const options_t *options, const survey_t *survey, const selftest_t *selftest)
{
    if (options->is_json) {
        report_json(stdout, survey, selftest);
        return;
    }
    if (options->mode == MODE_LIST) {
        report_list(stdout, survey);
    } else {
        report_devices(stdout, survey);
    }
    if (selftest != NULL) {
        report_selftest(stdout, survey->chosen, selftest);
    }
}

static int query_devices(const options_t *options)
{
    survey_t   survey    = take_survey(options->which);
    bool       is_tested = options->is_selftest && (survey.chosen != NULL);
    int        code      = survey.chosen != NULL ? EXIT_USABLE : EXIT_NO_DEVICE;
    selftest_t selftest;

    if (is_tested) {
        selftest = run_selftest(survey.chosen);
        code     = selftest.passed ? EXIT_USABLE : EXIT_SELFTEST_FAILED;
    }
    print_report(options, &survey, is_tested ? &selftest : NULL);
    if ((survey.chosen == NULL) && (options->is_json || (options->mode == MODE_LIST))) { /* the table says so itself */
        fprintf(stderr, "psgd-devicequery: no device can be used: %s\n", survey.message);
    }
    free(survey.infos);
    return code;
}

static int run(const options_t *options)
{
    switch (options->mode) {
    case MODE_HELP: options_print_help(stdout); return EXIT_USABLE;
    case MODE_VERSION: printf("psgd-devicequery (libpsgd) %s\n", psgd_version_string()); return EXIT_USABLE;
    case MODE_ENVIRONMENT:
        if (options->is_json) {
            report_json_environment(stdout);
        } else {
            report_environment(stdout);
        }
        return EXIT_USABLE;
    case MODE_REPORT:
    case MODE_LIST: break;
    }
    return query_devices(options);
}

/* What drivers and CLBlast have registered for the end of the process runs in an order of its own, and some crash there
 * (seen: CLBlast's cache giving programs back to an Oclgrind that is gone). The exit status is not to depend on that. */
static _Noreturn void leave(int code)
{
    _exit(code);
}

int main(int argc, char **argv)
{
    options_t options;
    int       code;

    if (!options_read(argc, argv, &options)) {
        return EXIT_WRONG_USAGE;
    }
    code = run(&options);
    if ((fflush(stdout) != 0) || ferror(stdout)) {
        fprintf(stderr, "psgd-devicequery: cannot write the report: %s\n", strerror(errno));
        code = code == EXIT_USABLE ? EXIT_NO_DEVICE : code;
    }
    leave(code);
}
