#include "base/status.h"

#include <stdio.h>
#include <string.h>

#undef psgd_fail /* macros for static analysis */
#undef psgd_fail_in

enum { LAST_ERROR_BYTES = 4096 }; /* a build log's beginning fits */

static _Thread_local char last_error[LAST_ERROR_BYTES];

const char *psgd_last_error(void)
{
    return last_error;
}

const char *psgd_status_string(psgd_status_t status)
{
    switch (status) {
#define ROW(name_, value_, text_) \
    case PSGD_##name_: return text_;
        PSGD_STATUS_TABLE(ROW)
#undef ROW
    }
    return "unknown status";
}

const char *psgd_status_name(psgd_status_t status)
{
    switch (status) {
#define ROW(name_, value_, text_) \
    case PSGD_##name_: return "PSGD_" #name_;
        PSGD_STATUS_TABLE(ROW)
#undef ROW
    }
    return "unknown status";
}

psgd_status_t psgd_fail_v(psgd_status_t status, const char *format, va_list arguments)
{
    /* An argument may be the last error itself, so the new sentence is made aside. */
    char sentence[LAST_ERROR_BYTES];

    vsnprintf(sentence, sizeof(sentence), format, arguments);
    memcpy(last_error, sentence, strlen(sentence) + 1);
    return status;
}

psgd_status_t psgd_fail(psgd_status_t status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    psgd_fail_v(status, format, arguments);
    va_end(arguments);
    return status;
}

psgd_status_t psgd_fail_in(psgd_status_t status, const char *context_format, ...)
{
    char    context[512];
    va_list arguments;

    va_start(arguments, context_format);
    vsnprintf(context, sizeof(context), context_format, arguments);
    va_end(arguments);
    return psgd_fail(status, "%s: %s", context, last_error);
}
