#include "series.h"

#include <stdlib.h>
#include <string.h>

tool_status_t series_create(size_t rounds, series_t *series_p)
{
    *series_p = (series_t){rounds, NULL};
    return tool_alloc(rounds * NUM_METRICS, sizeof(double), "the times of the rounds", &series_p->times);
}

void series_destroy(series_t *series)
{
    free(series->times);
    memset(series, 0, sizeof(*series));
}

void series_set(series_t *series, metric_t metric, size_t round, double ms)
{
    series->times[(size_t)metric * series->rounds + round] = ms;
}

tool_status_t series_take_slowest(series_t *series, const workers_t *workers)
{
    tool_status_t status = TOOL_OK;

    for (size_t m = 0; m < NUM_METRICS && status == TOOL_OK; ++m) {
        status = workers_max(workers, series->times + m * series->rounds, (int)series->rounds);
    }
    return status;
}

static int by_size(const void *a, const void *b)
{
    double left  = *(const double *)a;
    double right = *(const double *)b;

    return (left > right) - (left < right);
}

spread_t series_spread(series_t *series, metric_t metric)
{
    double *times  = series->times + (size_t)metric * series->rounds;
    size_t  middle = series->rounds / 2;

    qsort(times, series->rounds, sizeof(*times), by_size);
    return (spread_t){series->rounds % 2 == 1 ? times[middle] : 0.5 * (times[middle - 1] + times[middle]), times[0],
                      times[series->rounds - 1]};
}
