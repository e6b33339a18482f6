/* What is shown, as text and as JSON. */
#ifndef PSGD_DEVICEQUERY_REPORT_H
#define PSGD_DEVICEQUERY_REPORT_H

#include <stddef.h>
#include <stdio.h>

#include <psgd/psgd.h>

#include "selftest.h"

/* The devices that were asked for, and the one to use. */
typedef struct survey {
    psgd_device_info_t       *infos; /* of all devices; freed by free() */
    size_t                    count;
    const psgd_device_info_t *shown; /* num_shown of infos: all, or that of -d */
    size_t                    num_shown;
    const psgd_device_info_t *chosen;        /* the usable one of -d, or what libpsgd chooses by itself; NULL: none */
    char                      message[4096]; /* where none: why, and what to install */
} survey_t;

void report_devices(FILE *out, const survey_t *survey);
void report_list(FILE *out, const survey_t *survey);
void report_selftest(FILE *out, const psgd_device_info_t *info, const selftest_t *selftest);
void report_environment(FILE *out);

/* One document; selftest NULL: not run. */
void report_json(FILE *out, const survey_t *survey, const selftest_t *selftest);
void report_json_environment(FILE *out);

#endif
