/* Reading JSON of the tools' own: one object of texts, numbers, booleans, and lists of numbers. */
#ifndef PSGD_TOOLS_JSON_READ_H
#define PSGD_TOOLS_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "status.h"

enum { JSON_READ_MAX_NUMBERS = 64 };

typedef enum json_kind { JSON_NULL, JSON_TEXT, JSON_NUMBERS } json_kind_t;

/* One key and its value. A number is a list of one; true and false are 1 and 0. */
typedef struct json_entry {
    char        key[64];
    json_kind_t kind;
    bool        is_list;
    char        text[256];
    double      numbers[JSON_READ_MAX_NUMBERS];
    size_t      count;
} json_entry_t;

/* Called for each key. Other than TOOL_OK ends the reading. */
typedef tool_status_t (*json_take_fn)(const json_entry_t *entry, void *user);

/* Reads the file `path`. Errors: TOOL_FAILED; of what stands in it, with file, line and column, both from 1. */
tool_status_t json_read(const char *path, json_take_fn take, void *user);

#endif
