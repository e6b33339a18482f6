#include "option_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct option_table {
    const option_row_t *rows;
    size_t              num_rows;
} option_table_t;

/* The row of `argument`, "--name" or "--name=value"; *value_p is what stands behind '=', or NULL. */
static const option_row_t *find_row(const option_table_t *table, const char *argument, const char **value_p)
{
    size_t name_length = strcspn(argument, "=");

    for (size_t i = 0; i < table->num_rows; ++i) {
        if (strlen(table->rows[i].name) == name_length && strncmp(table->rows[i].name, argument, name_length) == 0) {
            *value_p = argument[name_length] == '=' ? argument + name_length + 1 : NULL;
            return &table->rows[i];
        }
    }
    return NULL;
}

static tool_status_t parse_integer(const option_row_t *row, const char *text, uint64_t *number_p)
{
    char              *end;
    unsigned long long number;

    errno  = 0;
    number = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0') { /* strtoull() itself takes spaces and signs */
        return tool_fail(TOOL_USAGE, "%s takes a whole number, not '%s'", row->name, text);
    }
    if (errno != 0 || (double)number < row->min || (double)number > row->max) {
        return tool_fail(TOOL_USAGE, "%s takes a whole number from %.0f to %.0f, not %s", row->name, row->min, row->max,
                         text);
    }
    *number_p = number;
    return TOOL_OK;
}

static tool_status_t parse_real(const option_row_t *row, const char *text, double *number_p)
{
    char  *end;
    double number = strtod(text, &end);

    if (end == text || *end != '\0') {
        return tool_fail(TOOL_USAGE, "%s takes a number, not '%s'", row->name, text);
    }
    if (!(number >= row->min && number <= row->max)) { /* NaN too */
        return tool_fail(TOOL_USAGE, "%s takes a number from %g to %g, not %s", row->name, row->min, row->max, text);
    }
    *number_p = number;
    return TOOL_OK;
}

static tool_status_t parse_choice(const option_row_t *row, const char *text, int *choice_p)
{
    for (int i = 0; row->choices[i] != NULL; ++i) {
        if (strcmp(row->choices[i], text) == 0) {
            *choice_p = i;
            return TOOL_OK;
        }
    }
    return tool_fail(TOOL_USAGE, "%s takes %s, not '%s'", row->name, row->value, text);
}

/* Writes the value of one option that takes one. */
static tool_status_t parse_value(const option_row_t *row, const char *text, void *options)
{
    char         *field = (char *)options + row->offset;
    uint64_t      whole = 0;
    uint32_t      narrow;
    double        real   = 0.0;
    int           choice = 0;
    tool_status_t status;

    switch (row->kind) {
    case OPTION_U32:
        status = parse_integer(row, text, &whole);
        narrow = (uint32_t)whole;
        memcpy(field, &narrow, sizeof(narrow));
        return status;
    case OPTION_U64:
        status = parse_integer(row, text, &whole);
        memcpy(field, &whole, sizeof(whole));
        return status;
    case OPTION_REAL:
        status = parse_real(row, text, &real);
        memcpy(field, &real, sizeof(real));
        return status;
    case OPTION_CHOICE:
        status = parse_choice(row, text, &choice);
        memcpy(field, &choice, sizeof(choice));
        return status;
    case OPTION_TEXT:
    case OPTION_OPTIONAL_TEXT:
        if (text[0] == '\0') {
            return tool_fail(TOOL_USAGE, "%s takes a text that is not empty", row->name);
        }
        memcpy(field, &text, sizeof(text));
        return TOOL_OK;
    case OPTION_FLAG: break;
    }
    return tool_fail(TOOL_USAGE, "%s takes no value", row->name);
}

/* Reads the option at argv[*next] and moves *next behind it and its value. */
static tool_status_t parse_option(const option_table_t *table, int argc, char **argv, int *next, void *options)
{
    const char         *argument = argv[(*next)++];
    const char         *value    = NULL;
    const option_row_t *row      = find_row(table, argument, &value);
    bool                more     = *next < argc;

    if (row == NULL) {
        return tool_fail(TOOL_USAGE, "unknown option '%s'; --help lists the options", argument);
    }
    if (row->kind == OPTION_FLAG) {
        if (value != NULL) {
            return tool_fail(TOOL_USAGE, "%s takes no value", row->name);
        }
        *(bool *)((char *)options + row->offset) = true;
        return TOOL_OK;
    }
    if (row->kind == OPTION_OPTIONAL_TEXT) {
        *(bool *)((char *)options + row->given_offset) = true;
        if (value == NULL && !(more && argv[*next][0] != '-')) {
            return TOOL_OK; /* no value follows */
        }
    }
    if (value == NULL) {
        if (!more) {
            return tool_fail(TOOL_USAGE, "%s takes a value: %s", row->name, row->value);
        }
        value = argv[(*next)++];
    }
    return parse_value(row, value, options);
}

tool_status_t option_table_parse(const option_row_t *rows, size_t num_rows, int argc, char **argv, void *options)
{
    const option_table_t table  = {rows, num_rows};
    tool_status_t        status = TOOL_OK;

    for (int next = 1; next < argc && status == TOOL_OK;) {
        status = parse_option(&table, argc, argv, &next, options);
    }
    return status;
}

void option_table_print(const option_row_t *rows, size_t num_rows, FILE *file)
{
    for (size_t i = 0; i < num_rows; ++i) {
        char left[64];

        snprintf(left, sizeof(left), "%s %s", rows[i].name, rows[i].value != NULL ? rows[i].value : "");
        if (rows[i].help != NULL) {
            fprintf(file, "  %-30s %s\n", left, rows[i].help);
        }
    }
}
