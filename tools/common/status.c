#include "status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef tool_fail /* a macro for static analysis */

enum { SENTENCE_BYTES = 4096 };

static char        last_error[SENTENCE_BYTES];
static const char *program = "psgd";

void tool_set_name(const char *name)
{
    program = name;
}

const char *tool_name(void)
{
    return program;
}

int tool_exit_code(tool_status_t status)
{
    return status == TOOL_ALL_FAILED ? TOOL_FAILED : (int)status;
}

tool_status_t tool_fail(tool_status_t status, const char *format, ...)
{
    char    sentence[SENTENCE_BYTES]; /* made aside: an argument may be the last error itself */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    memcpy(last_error, sentence, strlen(sentence) + 1);
    return status;
}

const char *tool_last_error(void)
{
    return last_error;
}

tool_status_t tool_check(psgd_status_t result, const char *doing)
{
    if (result == PSGD_OK) {
        return TOOL_OK;
    }
    return tool_fail(TOOL_FAILED, "%s: %s (%s)", doing, psgd_last_error(), psgd_status_name(result));
}

tool_status_t tool_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp)
{
    void *memory = calloc(count > 0 ? count : 1, elem_bytes);

    if (memory == NULL) {
        return tool_fail(TOOL_FAILED, "out of host memory: %zu x %zu bytes for %s", count, elem_bytes, what);
    }
    memcpy(memory_pp, &memory, sizeof(memory));
    return TOOL_OK; // cppcheck-suppress memleak ; it is in *memory_pp
}
