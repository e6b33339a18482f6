/* The command line. */
#ifndef PSGD_DEVICEQUERY_OPTIONS_H
#define PSGD_DEVICEQUERY_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

typedef enum mode {
    MODE_REPORT,      /* a table a device */
    MODE_LIST,        /* a line a device */
    MODE_ENVIRONMENT, /* the variables that the library reads */
    MODE_HELP,
    MODE_VERSION
} report_mode_t;

typedef struct options {
    report_mode_t mode;
    const char   *which; /* -d; NULL: all devices */
    bool          is_json;
    bool          is_selftest;
} options_t;

/* Reads the arguments; false with a sentence on stderr where they are wrong. */
bool options_read(int argc, char **argv, options_t *options_p);

void options_print_help(FILE *out);

#endif
