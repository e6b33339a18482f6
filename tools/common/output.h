/* Where results go: standard output, or a file. */
#ifndef PSGD_TOOLS_OUTPUT_H
#define PSGD_TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "status.h"

/* Sees to it that `path` can be written before anything long is run, so that a wrong path costs no hour. What the file
 * holds stays until there is something new. NULL: TOOL_OK. */
tool_status_t output_check(const char *path);

typedef void (*output_write_fn)(const void *results, FILE *file);

/* Has `write` write the results to the file `path`, or to standard output where it is NULL. A full disk shows here. */
tool_status_t output_write(const char *path, output_write_fn write, const void *results);

/* For --json [FILE]: the table goes to standard output, and the JSON to json_file; or, where json is set without a file, the JSON goes to
 * standard output in place of the table. */
tool_status_t output_write_results(bool json, const char *json_file, output_write_fn write_table,
                                   output_write_fn write_json, const void *results);

#endif
