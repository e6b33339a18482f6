/* Times of many rounds, and what they come to. */
#ifndef PSGD_BENCH_SERIES_H
#define PSGD_BENCH_SERIES_H

#include <stddef.h>

#include "workers.h"

/* What is timed in a round, milliseconds. */
typedef enum metric {
    METRIC_STEP,
    METRIC_FLOOR,
    METRIC_PLAIN,
    METRIC_PLAIN_COPY,
    METRIC_WRITTEN,          /* a step, and an optimizer's behind it */
    METRIC_FUSED,            /* a step with an optimizer's in it */
    METRIC_BACKWARD,         /* the simulated backward pass alone */
    METRIC_BLOCKING,         /* and a step behind it */
    METRIC_BLOCKING_EXPOSED, /* what that takes beyond the pass alone, in the same round and on the same worker */
    METRIC_BLOCKING_NETWORK, /* of that step: the device had nothing to do, and the host waited for others */
    METRIC_OVERLAPPED,       /* the same three of a step whose gradients are submitted as they come */
    METRIC_OVERLAPPED_EXPOSED,
    METRIC_OVERLAPPED_NETWORK,
    METRIC_KERNEL, /* compute_p + compute_q + decompress */
    METRIC_ORTHO,  /* orthonormalize_q + orthogonalize_p */
    METRIC_PHASES, /* one each from here on */
    NUM_METRICS = METRIC_PHASES + PSGD_NUM_PHASES
} metric_t;

typedef struct series {
    size_t  rounds;
    double *times; /* NUM_METRICS x rounds */
} series_t;

typedef struct spread {
    double median, min, max;
} spread_t;

/* All zero; freed by series_destroy(), also after an error. */
tool_status_t series_create(size_t rounds, series_t *series_p);
void          series_destroy(series_t *series);

void series_set(series_t *series, metric_t metric, size_t round, double ms);

/* A collective: of each round, the time of the slowest worker. */
tool_status_t series_take_slowest(series_t *series, const workers_t *workers);

/* Over the rounds of one metric, which it sorts. The median of an even number is the mean of the two in the middle. */
spread_t series_spread(series_t *series, metric_t metric);

#endif
