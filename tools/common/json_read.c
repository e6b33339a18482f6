#include "json_read.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BYTES = 1 << 20 };

typedef struct reader {
    const char *path;
    const char *text;
    const char *at;
} reader_t;

static tool_status_t fail_at(const reader_t *reader, const char *sentence)
{
    unsigned line = 1, column = 1;

    for (const char *at = reader->text; at < reader->at; ++at) {
        column = *at == '\n' ? 1 : column + 1;
        line += *at == '\n';
    }
    return tool_fail(TOOL_FAILED, "%s:%u:%u: %s", reader->path, line, column, sentence);
}

static void skip_blanks(reader_t *reader)
{
    reader->at += strspn(reader->at, " \t\r\n");
}

/* Whether this character comes next; then it is behind us. */
static bool take_char(reader_t *reader, char c)
{
    skip_blanks(reader);
    if (*reader->at != c) {
        return false;
    }
    ++reader->at;
    return true;
}

/* "text", its escapes left as they stand: keys have none, and texts are for people to read. */
static tool_status_t read_text(reader_t *reader, char *text, size_t capacity)
{
    size_t used = 0;

    if (!take_char(reader, '"')) {
        return fail_at(reader, "a text in \" is expected here");
    }
    for (; *reader->at != '"'; ++reader->at) {
        if (*reader->at == '\0' || *reader->at == '\n') {
            return fail_at(reader, "the text has no end");
        }
        if (used + 2 >= capacity) {
            return fail_at(reader, "the text is too long");
        }
        text[used++] = *reader->at;
        if (*reader->at == '\\' && reader->at[1] == '"') {
            text[used++] = *++reader->at;
        }
    }
    ++reader->at;
    text[used] = '\0';
    return TOOL_OK;
}

static bool take_word(reader_t *reader, const char *word)
{
    if (strncmp(reader->at, word, strlen(word)) != 0) {
        return false;
    }
    reader->at += strlen(word);
    return true;
}

static tool_status_t read_number(reader_t *reader, json_entry_t *entry)
{
    char  *end = NULL;
    double number;

    skip_blanks(reader);
    if (entry->count == JSON_READ_MAX_NUMBERS) {
        return fail_at(reader, "the list is too long");
    }
    if (take_word(reader, "true")) {
        number = 1.0;
    } else if (take_word(reader, "false")) {
        number = 0.0;
    } else {
        number = strtod(reader->at, &end);
        if ((*reader->at != '-' && (*reader->at < '0' || *reader->at > '9')) || !isfinite(number)) {
            return fail_at(reader, "a number, a text, true, false, null or a list of numbers is expected here");
        }
        reader->at = end;
    }
    entry->numbers[entry->count++] = number;
    return TOOL_OK;
}

static tool_status_t read_list(reader_t *reader, json_entry_t *entry)
{
    tool_status_t status = TOOL_OK;

    entry->is_list = true;
    if (take_char(reader, ']')) {
        return TOOL_OK;
    }
    do {
        status = read_number(reader, entry);
    } while (status == TOOL_OK && take_char(reader, ','));
    if (status == TOOL_OK && !take_char(reader, ']')) {
        return fail_at(reader, "',' or ']' is expected here");
    }
    return status;
}

static tool_status_t read_value(reader_t *reader, json_entry_t *entry)
{
    entry->kind = JSON_NUMBERS;
    skip_blanks(reader);
    if (*reader->at == '"') {
        entry->kind = JSON_TEXT;
        return read_text(reader, entry->text, sizeof(entry->text));
    }
    if (take_word(reader, "null")) {
        entry->kind = JSON_NULL;
        return TOOL_OK;
    }
    return take_char(reader, '[') ? read_list(reader, entry) : read_number(reader, entry);
}

static tool_status_t read_entry(reader_t *reader, json_take_fn take, void *user)
{
    json_entry_t  entry  = {.kind = JSON_NULL};
    tool_status_t status = read_text(reader, entry.key, sizeof(entry.key));

    if (status == TOOL_OK && !take_char(reader, ':')) {
        return fail_at(reader, "':' is expected here");
    }
    if (status == TOOL_OK) {
        status = read_value(reader, &entry);
    }
    return status == TOOL_OK ? take(&entry, user) : status;
}

static tool_status_t read_object(reader_t *reader, json_take_fn take, void *user)
{
    tool_status_t status = TOOL_OK;

    if (!take_char(reader, '{')) {
        return fail_at(reader, "'{' is expected here");
    }
    if (!take_char(reader, '}')) {
        do {
            status = read_entry(reader, take, user);
        } while (status == TOOL_OK && take_char(reader, ','));
        if (status == TOOL_OK && !take_char(reader, '}')) {
            return fail_at(reader, "',' or '}' is expected here");
        }
    }
    skip_blanks(reader);
    return status == TOOL_OK && *reader->at != '\0' ? fail_at(reader, "nothing is expected behind the object") : status;
}

/* The whole file, ended by 0; freed by free(). */
static tool_status_t load(const char *path, char **text_p)
{
    FILE         *file   = fopen(path, "rb");
    char         *text   = NULL;
    size_t        length = 0;
    tool_status_t status;

    if (file == NULL) {
        return tool_fail(TOOL_FAILED, "%s: %s", path, strerror(errno));
    }
    status = tool_alloc(MOST_BYTES + 1, 1, "a file", &text);
    if (status == TOOL_OK) {
        length = fread(text, 1, MOST_BYTES, file);
        if (ferror(file)) {
            status = tool_fail(TOOL_FAILED, "cannot read %s: %s", path, strerror(errno));
        } else if (length == MOST_BYTES || strlen(text) != length) {
            status = tool_fail(TOOL_FAILED, "%s is not a file that this tool wrote", path);
        }
    }
    fclose(file);
    if (status != TOOL_OK) {
        free(text);
        return status;
    }
    *text_p = text;
    return TOOL_OK;
}

tool_status_t json_read(const char *path, json_take_fn take, void *user)
{
    char         *text   = NULL;
    tool_status_t status = load(path, &text);

    if (status == TOOL_OK) {
        reader_t reader = {path, text, text};

        status = read_object(&reader, take, user);
    }
    free(text);
    return status;
}
