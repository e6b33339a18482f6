#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_BYTES = 4096 };

static char last_error[SENTENCE_BYTES];

train_status_t train_fail(train_status_t status, const char *format, ...)
{
    char    sentence[SENTENCE_BYTES]; /* made aside: an argument may be the last error itself */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    memcpy(last_error, sentence, strlen(sentence) + 1);
    return status;
}

const char *train_last_error(void)
{
    return last_error;
}

train_status_t train_check(psgd_status_t result, const char *doing)
{
    if (result == PSGD_OK) {
        return TRAIN_OK;
    }
    return train_fail(TRAIN_FAILED, "%s: %s (%s)", doing, psgd_last_error(), psgd_status_name(result));
}

train_status_t train_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp)
{
    void *memory = calloc(count > 0 ? count : 1, elem_bytes);

    if (memory == NULL) {
        return train_fail(TRAIN_FAILED, "out of host memory: %zu x %zu bytes for %s", count, elem_bytes, what);
    }
    memcpy(memory_pp, &memory, sizeof(memory));
    return TRAIN_OK;
}
