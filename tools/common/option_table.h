/* A command line as a table: an option is a row. */
#ifndef PSGD_TOOLS_OPTION_TABLE_H
#define PSGD_TOOLS_OPTION_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "status.h"

typedef enum option_kind {
    OPTION_FLAG,         /* bool */
    OPTION_U32,          /* uint32_t */
    OPTION_U64,          /* uint64_t */
    OPTION_REAL,         /* double */
    OPTION_TEXT,         /* const char *, of argv */
    OPTION_CHOICE,       /* int: the index of a word */
    OPTION_OPTIONAL_TEXT /* bool at given_offset, and const char *: NULL where no value follows */
} option_kind_t;

/* One option: how it is written, where it goes, what it may be, and what --help says. */
typedef struct option_row {
    const char        *name;
    const char        *value; /* in --help; NULL for a flag */
    option_kind_t      kind;
    size_t             offset; /* in the tool's struct of options */
    double             min, max;
    const char *const *choices; /* ends in NULL */
    const char        *help;    /* NULL: not listed */
    size_t             given_offset;
} option_row_t;

/* Reads argv[1 .. argc) into the struct; what is not given stays as it is. Errors: TOOL_USAGE, with a sentence that
 * names the option. */
tool_status_t option_table_parse(const option_row_t *rows, size_t num_rows, int argc, char **argv, void *options);

/* The rows of --help. */
void option_table_print(const option_row_t *rows, size_t num_rows, FILE *file);

#endif
