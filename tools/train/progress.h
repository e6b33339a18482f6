/* What a user sees while it runs: on a terminal, a line that is rewritten; in a pipe, nothing. */
#ifndef PSGD_TRAIN_PROGRESS_H
#define PSGD_TRAIN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    bool        visible;     /* false: all calls do nothing */
    const char *label;       /* what is running: "plain" */
    double      start, last; /* seconds */
} progress_t;

/* visible: whether this worker speaks; stderr must be a terminal too. */
progress_t progress_begin(const char *label, bool visible);

/* Whether it is time for a new line. */
bool progress_is_due(const progress_t *progress);

/* Writes the line: `done` of `total` steps, the mean loss since the last one. */
void progress_write(progress_t *progress, uint64_t done, uint64_t total, double loss);

/* Removes the line. */
void progress_end(progress_t *progress);

#endif
