#include "rounds.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
    const double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

double rounds_median(double *times, size_t count)
{
    const size_t middle = count / 2;

    qsort(times, count, sizeof(*times), by_size);
    return count % 2 == 1 ? times[middle] : 0.5 * (times[middle - 1] + times[middle]);
}

tool_status_t rounds_slowest_median(const workers_t *workers, double *times, size_t count, double *median_p)
{
    tool_status_t status = workers_max(workers, times, (int)count);

    if (status == TOOL_OK) {
        *median_p = rounds_median(times, count);
    }
    return status;
}
