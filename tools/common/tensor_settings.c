#include "tensor_settings.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const BLANKS = " \t\r\n";

/* What is being read. */
typedef struct cursor {
    const char *at;
    const char *ends;
} cursor_t;

static bool is_at_end(const cursor_t *cursor)
{
    return *cursor->at == '\0' || strchr(cursor->ends, *cursor->at) != NULL;
}

static bool takes_word(cursor_t *cursor, const char *word)
{
    size_t length = strlen(word);

    if (strncmp(cursor->at, word, length) != 0) {
        return false;
    }
    cursor->at += length;
    return true;
}

/* A setting has ended: blanks or the end follow. */
static bool ends_setting(cursor_t *cursor)
{
    size_t blanks = strspn(cursor->at, BLANKS);

    cursor->at += blanks;
    return blanks > 0 || is_at_end(cursor);
}

/* Digits alone, where strtoull() would take a sign too. */
static bool takes_number(cursor_t *cursor, uint64_t *number_p)
{
    char *end = NULL;

    if (*cursor->at < '0' || *cursor->at > '9') {
        return false;
    }
    errno      = 0;
    *number_p  = strtoull(cursor->at, &end, 10);
    cursor->at = end;
    return errno == 0;
}

static bool takes_rank(cursor_t *cursor, int32_t *rank_p)
{
    uint64_t rank = 0;

    if (takes_word(cursor, "never")) {
        *rank_p = PSGD_NEVER_COMPRESS;
        return ends_setting(cursor);
    }
    if (!takes_number(cursor, &rank) || rank < 1 || rank > PSGD_MAX_RANK) {
        return false;
    }
    *rank_p = (int32_t)rank;
    return ends_setting(cursor);
}

static bool takes_view(cursor_t *cursor, psgd_matrix_view_t *view)
{
    uint64_t *const fields[] = {&view->batch,        &view->rows,       &view->cols,
                                &view->batch_stride, &view->row_stride, &view->col_stride};
    const size_t    count    = sizeof(fields) / sizeof(fields[0]);

    for (size_t i = 0; i < count; ++i) {
        if ((i > 0 && !takes_word(cursor, ",")) || !takes_number(cursor, fields[i])) {
            return false;
        }
    }
    return ends_setting(cursor);
}

const char *tensor_settings_read(const char *text, const char *ends, tensor_settings_t *settings_p, const char **at_p,
                                 const char **sentence_p)
{
    tensor_settings_t settings = {0};
    cursor_t          cursor   = {text, ends};

    cursor.at += strspn(cursor.at, BLANKS);
    while (!is_at_end(&cursor)) {
        *at_p = cursor.at;
        if (takes_word(&cursor, "rank=")) {
            *sentence_p =
                takes_rank(&cursor, &settings.rank) ? NULL : "rank= takes a whole number from 1 to 1024, or never";
        } else if (takes_word(&cursor, "view=")) {
            *sentence_p = takes_view(&cursor, &settings.view)
                              ? NULL
                              : "view= takes batch,rows,cols and the three strides, whole numbers with commas between";
        } else {
            *sentence_p = "of a tensor, rank= and view= can be set";
        }
        if (*sentence_p != NULL) {
            return NULL;
        }
    }
    *settings_p = settings;
    return cursor.at;
}
