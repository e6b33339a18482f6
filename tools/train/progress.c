#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

#include "clock.h"

static const double SECONDS_BETWEEN_LINES = 0.2;

progress_t progress_begin(const char *label, bool visible)
{
    double now = clock_now();

    return (progress_t){visible && isatty(STDERR_FILENO), label, now, now};
}

bool progress_is_due(const progress_t *progress)
{
    return progress->visible && clock_now() - progress->last >= SECONDS_BETWEEN_LINES;
}

void progress_write(progress_t *progress, uint64_t done, uint64_t total, double loss)
{
    double   now     = clock_now();
    double   seconds = now - progress->start;
    unsigned left    = (unsigned)(seconds / (double)done * (double)(total - done) + 0.5);

    fprintf(stderr, "\r%-20s step %llu of %llu, loss %.3f, %.1f ms a step, %u:%02u left \033[K", progress->label,
            (unsigned long long)done, (unsigned long long)total, loss, 1e3 * seconds / (double)done, left / 60,
            left % 60);
    fflush(stderr);
    progress->last = now;
}

void progress_end(progress_t *progress)
{
    if (progress->visible) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}
