#include "device/sources.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "kernel_table.h"

enum { MAX_INCLUDE_DEPTH = 8, MAX_NAME_BYTES = 128, READ_CHUNK_BYTES = 65536 };

/* ---- the embedded files ---- */

#define ROW(file_, symbol_) extern const unsigned char psgd_kernel_##symbol_[];
PSGD_KERNEL_TABLE(ROW)
#undef ROW

static const struct {
    const char          *file;
    const unsigned char *text; /* ends in a 0 */
} EMBEDDED[] = {
#define ROW(file_, symbol_) {file_, psgd_kernel_##symbol_},
    PSGD_KERNEL_TABLE(ROW)
#undef ROW
};

enum { NUM_EMBEDDED = sizeof(EMBEDDED) / sizeof(EMBEDDED[0]) };

const char *psgd_source_name(size_t index)
{
    return index < NUM_EMBEDDED ? EMBEDDED[index].file : NULL;
}

/* The embedded text of a file; NULL where there is none of this name. */
static const char *find_embedded(const char *file)
{
    for (size_t i = 0; i < NUM_EMBEDDED; ++i) {
        if (strcmp(file, EMBEDDED[i].file) == 0) {
            return (const char *)EMBEDDED[i].text;
        }
    }
    return NULL;
}

/* ---- a text that grows ---- */

typedef struct text {
    char  *chars; /* ends in a 0; NULL while empty */
    size_t length;
    size_t room;
} text_t;

static psgd_status_t append(text_t *text, const char *chars, size_t length)
{
    size_t needed = text->length + length + 1;
    char  *grown;

    if ((text->chars == NULL) || (needed > text->room)) {
        grown = realloc(text->chars, 2 * needed);
        if (grown == NULL) {
            return psgd_fail(PSGD_ERR_HOST_MEMORY, "no host memory for the text of a kernel (%zu bytes)", 2 * needed);
        }
        text->chars = grown;
        text->room  = 2 * needed;
    }
    memcpy(text->chars + text->length, chars, length);
    text->length += length;
    text->chars[text->length] = '\0';
    return PSGD_OK;
}

static psgd_status_t append_line_directive(text_t *text, const char *file, size_t line)
{
    char directive[MAX_NAME_BYTES + 64];
    int  length = snprintf(directive, sizeof(directive), "#line %zu \"%.*s\"\n", line, MAX_NAME_BYTES, file);

    return append(text, directive, (size_t)length);
}

/* ---- files on disk ---- */

static psgd_status_t read_stream(FILE *stream, const char *path, text_t *text)
{
    char         *chunk = NULL;
    size_t        bytes;
    psgd_status_t status;

    status = psgd_alloc(READ_CHUNK_BYTES, 1, "reading a kernel", &chunk);
    while (status == PSGD_OK) {
        bytes = fread(chunk, 1, READ_CHUNK_BYTES, stream);
        if (memchr(chunk, '\0', bytes) != NULL) {
            status = psgd_fail(PSGD_ERR_BUILD, "kernel file '%s' holds a zero byte: it is not text", path);
        } else {
            status = append(text, chunk, bytes);
        }
        if (bytes < READ_CHUNK_BYTES) {
            break;
        }
    }
    if ((status == PSGD_OK) && ferror(stream)) {
        status = psgd_fail(PSGD_ERR_BUILD, "cannot read kernel file '%s': %s", path, strerror(errno));
    }
    psgd_free(chunk);
    return status;
}

static psgd_status_t read_file(const char *directory, const char *file, text_t *text)
{
    char          path[4096];
    FILE         *stream;
    psgd_status_t status;
    int           length = snprintf(path, sizeof(path), "%s/%s", directory, file);

    if ((length < 0) || ((size_t)length >= sizeof(path))) {
        return psgd_fail(PSGD_ERR_BUILD, "the path of kernel file '%s' in PSGD_KERNEL_DIR is too long", file);
    }
    stream = fopen(path, "rb");
    if (stream == NULL) {
        return psgd_fail(PSGD_ERR_BUILD, "cannot open kernel file '%s': %s; PSGD_KERNEL_DIR names the directory", path,
                         strerror(errno));
    }
    status = read_stream(stream, path, text);
    fclose(stream); /* only read */
    return status;
}

/* ---- includes ---- */

/* Whether a line is `#include "name"`; the name has no directory. */
static bool is_include(const char *line, size_t length, char name[MAX_NAME_BYTES])
{
    static const char WORD[] = "include";
    const char       *end    = line + length;
    const char       *close;

    while ((line < end) && ((*line == ' ') || (*line == '\t'))) {
        ++line;
    }
    if ((line == end) || (*line++ != '#')) {
        return false;
    }
    while ((line < end) && ((*line == ' ') || (*line == '\t'))) {
        ++line;
    }
    if (((size_t)(end - line) < sizeof(WORD)) || (strncmp(line, WORD, sizeof(WORD) - 1) != 0)) {
        return false;
    }
    line += sizeof(WORD) - 1;
    while ((line < end) && ((*line == ' ') || (*line == '\t'))) {
        ++line;
    }
    if ((line == end) || (*line++ != '"')) {
        return false;
    }
    close = memchr(line, '"', (size_t)(end - line));
    if ((close == NULL) || ((size_t)(close - line) >= MAX_NAME_BYTES)) {
        return false;
    }
    memcpy(name, line, (size_t)(close - line));
    name[close - line] = '\0';
    return true;
}

static psgd_status_t append_file(text_t *text, const char *file, const char *directory, unsigned depth);

/* Appends the lines of one file, and in place of its include lines the files that they name. */
static psgd_status_t append_lines(text_t *text, const char *lines, const char *file, const char *directory,
                                  unsigned depth)
{
    char          name[MAX_NAME_BYTES];
    size_t        line   = 1;
    psgd_status_t status = append_line_directive(text, file, line);

    for (; (status == PSGD_OK) && (*lines != '\0'); ++line) {
        size_t length = strcspn(lines, "\n");

        if (is_include(lines, length, name)) {
            status = append_file(text, name, directory, depth + 1);
            if (status != PSGD_OK) {
                return psgd_fail_in(status, "%s:%zu", file, line);
            }
            status = append_line_directive(text, file, line + 1);
        } else {
            status = append(text, lines, length);
            if (status == PSGD_OK) {
                status = append(text, "\n", 1);
            }
        }
        lines += length + (lines[length] == '\n');
    }
    return status;
}

static psgd_status_t append_file(text_t *text, const char *file, const char *directory, unsigned depth)
{
    const char   *embedded;
    text_t        from_disk = {NULL, 0, 0};
    psgd_status_t status;

    if (depth > MAX_INCLUDE_DEPTH) {
        return psgd_fail(PSGD_ERR_BUILD, "kernel file '%s' is included %u deep: does it include itself?", file, depth);
    }
    if (directory != NULL) {
        status = read_file(directory, file, &from_disk);
        if (status == PSGD_OK) {
            status = append_lines(text, from_disk.chars, file, directory, depth);
        }
        free(from_disk.chars);
        return status;
    }
    embedded = find_embedded(file);
    if (embedded == NULL) {
        return psgd_fail(PSGD_ERR_BUILD,
                         "there is no kernel file '%s' in the library (src/device/CMakeLists.txt lists them)", file);
    }
    return append_lines(text, embedded, file, directory, depth);
}

psgd_status_t psgd_source_load(const char *file, const char *directory, char **text_p)
{
    text_t        text = {NULL, 0, 0};
    psgd_status_t status;

    status = append_file(&text, file, directory, 0);
    if (status != PSGD_OK) {
        free(text.chars);
        return status;
    }
    *text_p = text.chars;
    return PSGD_OK;
}
