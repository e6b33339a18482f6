#define _POSIX_C_SOURCE 200809L /* getline() */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* Whether the line goes on with `word`; then it is behind that. */
static int takes_word(line_t *line, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(line->at, word, length) != 0) {
        return 0;
    }
    line->at += length;
    return 1;
}

/* A setting has ended: blanks or the end of the line follow. */
static int ends_setting(line_t *line)
{
    return skip_blanks(line) > 0 || is_at_end(line);
}

/* rank=R or rank=never, behind the '=' */
static tool_status_t read_rank(line_t *line, int32_t *rank_p)
{
    const char        *begin = line->at;
    char              *end   = NULL;
    unsigned long long rank;

    if (takes_word(line, "never") && ends_setting(line)) {
        *rank_p = PSGD_NEVER_COMPRESS;
        return TOOL_OK;
    }
    rank     = strtoull(begin, &end, 10);
    line->at = end;
    if (*begin < '0' || *begin > '9' || rank < 1 || rank > PSGD_MAX_RANK || !ends_setting(line)) {
        return fail_at(line, begin, "rank= takes a whole number from 1 to 1024, or never");
    }
    *rank_p = (int32_t)rank;
    return TOOL_OK;
}

/* view=batch,rows,cols,batch_stride,row_stride,col_stride, behind the '='. Whether it fits the tensor the library says. */
static tool_status_t read_view(line_t *line, psgd_matrix_view_t *view)
{
    const char     *begin    = line->at;
    uint64_t *const fields[] = {&view->batch,        &view->rows,       &view->cols,
                                &view->batch_stride, &view->row_stride, &view->col_stride};
    const size_t    count    = sizeof(fields) / sizeof(fields[0]);

    for (size_t i = 0; i < count; ++i) {
        char *end = NULL;

        errno      = 0;
        *fields[i] = strtoull(line->at, &end, 10);
        if (*line->at < '0' || *line->at > '9' || errno != 0 || (i + 1 < count && *end != ',')) {
            return fail_at(line, begin,
                           "view= takes batch,rows,cols and the three strides, whole numbers with commas between");
        }
        line->at = end + (i + 1 < count);
    }
    return ends_setting(line)
               ? TOOL_OK
               : fail_at(line, begin,
                         "view= takes batch,rows,cols and the three strides, whole numbers with commas between");
}

static tool_status_t read_settings(line_t *line, model_tensor_t *tensor)
{
    tool_status_t status = TOOL_OK;

    while (status == TOOL_OK && !is_at_end(line)) {
        if (takes_word(line, "rank=")) {
            status = read_rank(line, &tensor->rank);
        } else if (takes_word(line, "view=")) {
            status = read_view(line, &tensor->view);
        } else {
            status = fail_at(line, line->at, "behind the dims stand rank= and view= alone");
        }
    }
    return status;
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
