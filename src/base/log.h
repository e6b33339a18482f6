/* Log lines: to the caller's callback, else to stderr at the level of PSGD_LOG. */
#ifndef PSGD_BASE_LOG_H
#define PSGD_BASE_LOG_H

#include <psgd/psgd.h>

typedef struct psgd_log {
    psgd_log_fn      callback; /* NULL: stderr */
    void            *user;
    psgd_log_level_t level;    /* lines above it are not made */
    uint32_t         worker_index;
    uint32_t         num_workers; /* above 1, a line names its worker */
} psgd_log_t;

/* From the configuration's fields; with no callback the level is PSGD_LOG's, "warn" where it is not set or not known. */
psgd_log_t psgd_log_open(psgd_log_fn callback, void *user, psgd_log_level_t level);

/* One line, without a newline. */
void psgd_log(const psgd_log_t *log, psgd_log_level_t level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
