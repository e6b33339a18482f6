/* Times of several rounds. */
#ifndef PSGD_ADVISE_ROUNDS_H
#define PSGD_ADVISE_ROUNDS_H

#include "workers.h"

/* A collective: of each round the slowest worker's time; *median_p is their median. times[0 .. count) are these
 * times then, by size. */
tool_status_t rounds_slowest_median(const workers_t *workers, double *times, size_t count, double *median_p);

/* The median of times[0 .. count), count >= 1, which it sorts. */
double rounds_median(double *times, size_t count);

#endif
