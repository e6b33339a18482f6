#define _POSIX_C_SOURCE 200809L /* getline() */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor_settings.h"

/* The library takes tensors below 2^40 elements. */
#define MAX_ELEMS (UINT64_C(1) << 40)

/* One line being read. */
typedef struct line {
    const char *path;
    unsigned    number; /* from 1 */
    const char *text;
    const char *at;
} line_t;

static tool_status_t fail_at(const line_t *line, const char *at, const char *sentence)
{
    return tool_fail(TOOL_USAGE, "%s:%u:%u: %s", line->path, line->number, (unsigned)(at - line->text) + 1, sentence);
}

static size_t skip_blanks(line_t *line)
{
    size_t length = strspn(line->at, " \t\r\n");

    line->at += length;
    return length;
}

static int is_at_end(const line_t *line)
{
    return *line->at == '\0' || *line->at == '#';
}

/* Behind the dims: word=value. */
static int is_at_setting(const line_t *line)
{
    return line->at[strcspn(line->at, "= \t\r\n#")] == '=';
}

/* A dim that stands alone between blanks. */
static tool_status_t read_dim(line_t *line, uint64_t elems, uint64_t *dim_p)
{
    const char        *begin = line->at;
    char              *end   = NULL;
    unsigned long long dim;

    if (*begin < '0' || *begin > '9') {
        return fail_at(line, begin, "a dim is a whole number of 1 or more");
    }
    errno    = 0;
    dim      = strtoull(begin, &end, 10);
    line->at = end;
    if (skip_blanks(line) == 0 && !is_at_end(line)) {
        return fail_at(line, end, "a dim is a whole number of 1 or more");
    }
    if (dim == 0) {
        return fail_at(line, begin, "a dim is a whole number of 1 or more");
    }
    if (errno != 0 || dim >= MAX_ELEMS / elems) {
        return fail_at(line, begin, "the tensor has 2^40 elements or more");
    }
    *dim_p = dim;
    return TOOL_OK;
}

static tool_status_t read_dims(line_t *line, uint64_t *dims, uint32_t *num_dims_p)
{
    uint64_t      elems    = 1;
    uint32_t      num_dims = 0;
    tool_status_t status   = TOOL_OK;

    if (is_at_end(line) || is_at_setting(line)) {
        return fail_at(line, line->at, "a tensor needs dims behind its name");
    }
    while (status == TOOL_OK && !is_at_end(line) && !is_at_setting(line)) {
        if (num_dims == PSGD_MAX_DIMS) {
            return fail_at(line, line->at, "a tensor has at most 8 dims");
        }
        status = read_dim(line, elems, &dims[num_dims]);
        if (status == TOOL_OK) {
            elems *= dims[num_dims++];
        }
    }
    *num_dims_p = num_dims;
    return status;
}

/* What stands behind the dims. */
static tool_status_t read_settings(line_t *line, model_tensor_t *tensor)
{
    tensor_settings_t settings;
    const char       *at = line->at, *sentence = NULL;

    if (tensor_settings_read(line->at, "#", &settings, &at, &sentence) == NULL) {
        return fail_at(line, at, sentence);
    }
    tensor->rank = settings.rank;
    tensor->view = settings.view;
    return TOOL_OK;
}

/* name dim dim ... settings */
static tool_status_t read_tensor(line_t *line, model_t *model)
{
    const char   *begin     = line->at;
    size_t        length    = strcspn(begin, " \t\r\n#");
    char          name[256] = "";
    uint64_t      dims[PSGD_MAX_DIMS];
    uint32_t      num_dims = 0;
    tool_status_t status;

    if (length >= sizeof(name)) {
        return fail_at(line, begin, "a name has at most 255 bytes");
    }
    memcpy(name, begin, length);
    if (model_find(model, name) != NULL) {
        return fail_at(line, begin, "there was a tensor of this name before");
    }
    line->at += length;
    skip_blanks(line);
    status = read_dims(line, dims, &num_dims);
    if (status == TOOL_OK) {
        status = model_add(model, name, num_dims, dims);
    }
    return status == TOOL_OK ? read_settings(line, &model->tensors[model->count - 1]) : status;
}

static tool_status_t read_lines(model_t *model, const char *path, FILE *file)
{
    char         *text     = NULL;
    size_t        capacity = 0;
    line_t        line     = {path, 0, NULL, NULL};
    tool_status_t status   = TOOL_OK;
    ssize_t       length;

    while (status == TOOL_OK && (length = getline(&text, &capacity, file)) >= 0) {
        line = (line_t){path, line.number + 1, text, text};
        if (strlen(text) != (size_t)length) {
            status = fail_at(&line, text + strlen(text), "a byte of 0: is this a text file?");
            break;
        }
        skip_blanks(&line);
        if (!is_at_end(&line)) {
            status = read_tensor(&line, model);
        }
    }
    free(text);
    if (status == TOOL_OK && ferror(file)) {
        return tool_fail(TOOL_USAGE, "--model: cannot read %s: %s", path, strerror(errno));
    }
    if (status == TOOL_OK && model->count == 0) {
        return tool_fail(TOOL_USAGE, "%s:%u:1: no tensor before the end of the file", path, line.number + 1);
    }
    return status;
}

tool_status_t model_read_file(model_t *model, const char *path)
{
    FILE         *file = fopen(path, "r");
    tool_status_t status;

    if (file == NULL) {
        return tool_fail(TOOL_USAGE, "--model takes resnet18, resnet50, lstm, gpt2 or a file; %s: %s", path,
                         strerror(errno));
    }
    status = read_lines(model, path, file);
    fclose(file);
    return status;
}
