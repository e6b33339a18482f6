#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/env.h"

static const char *const LEVEL_NAMES[] = {"off", "error", "warn", "info", "debug"};

enum { NUM_LEVELS = sizeof(LEVEL_NAMES) / sizeof(LEVEL_NAMES[0]) };

static psgd_log_level_t level_from_environment(void)
{
    const char *text = psgd_env_value(PSGD_ENV_LOG);

    for (int i = 0; text != NULL && i < NUM_LEVELS; ++i) {
        if (strcmp(text, LEVEL_NAMES[i]) == 0) {
            return (psgd_log_level_t)i;
        }
    }
    return PSGD_LOG_WARN;
}

psgd_log_t psgd_log_open(psgd_log_fn callback, void *user, psgd_log_level_t level)
{
    psgd_log_t log = {callback, user, level, 0, 1};

    if (callback == NULL) {
        log.level = level_from_environment();
    }
    return log;
}

void psgd_log(const psgd_log_t *log, psgd_log_level_t level, const char *format, ...)
{
    char    line[1024];
    int     used = 0;
    va_list arguments;

    if (level > log->level) {
        return;
    }
    if (log->num_workers > 1) {
        used = snprintf(line, sizeof(line), "worker %u of %u: ", log->worker_index, log->num_workers);
    }
    va_start(arguments, format);
    vsnprintf(line + used, sizeof(line) - (size_t)used, format, arguments);
    va_end(arguments);
    if (log->callback != NULL) {
        log->callback(level, line, log->user);
    } else {
        fprintf(stderr, "psgd %s: %s\n", LEVEL_NAMES[level], line);
    }
}
