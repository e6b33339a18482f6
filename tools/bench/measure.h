/* How long a step takes, and what it is measured against, in the same process and at the same concurrency. */
#ifndef PSGD_BENCH_MEASURE_H
#define PSGD_BENCH_MEASURE_H

#include "bench.h"
#include "series.h"
#include "verify.h"

/* What came out at one rank. Times are those of the slowest worker of each round, milliseconds. */
typedef struct measured {
    uint32_t   rank;
    verified_t verified;

    /* From the first loop, in which the step runs as users run it. */
    spread_t step;
    spread_t floor;
    spread_t plain; /* MPI_Allreduce of the uncompressed gradient */
    spread_t plain_copy;
    spread_t written; /* with --update: the step and an optimizer's behind it, and both in one */
    spread_t fused;
    spread_t backward; /* with --backward-ms: the pass alone; with a step behind it, and beside it */
    spread_t blocking, blocking_exposed, blocking_network;
    spread_t overlapped, overlapped_exposed, overlapped_network;

    /* From the second, in which the device is drained after each phase. */
    spread_t exact_step;
    spread_t kernel; /* the phases that pass over N: compute_p + compute_q + decompress */
    spread_t kernel_floor;
    spread_t ortho; /* orthonormalize_q + orthogonalize_p */
    spread_t phases[PSGD_NUM_PHASES];

    /* Of the reducer and its last step. */
    double   change_ms; /* of the rank, with --rank-before; on this worker */
    uint64_t launches;
    uint64_t messages;
    uint64_t wire_bytes;       /* handed to the communicator by a worker */
    uint64_t device_bytes;     /* held by the reducer */
    uint64_t compressed_elems; /* N */
    size_t   num_compressed;   /* tensors */
    size_t   num_fused;        /* of these, by the fused engine */
    double   compression_rate;
} measured_t;

/* A collective: both loops at one rank. Where it fails it has said why. */
tool_status_t measure_run(const bench_t *bench, uint32_t rank, measured_t *measured_p);

/* Ratios of medians; NaN where nothing is compressed. */
double measured_floor_fraction(const measured_t *measured);        /* floor / step */
double measured_kernel_floor_fraction(const measured_t *measured); /* floor / kernel, of the second loop */
double measured_ortho_share(const measured_t *measured);           /* ortho / step, of the second loop */
double measured_plain_ratio(const measured_t *measured);           /* plain / step */
double measured_exposed_ratio(const measured_t *measured);         /* overlapped / blocking, beyond the backward pass */

/* The word of the engine that compresses all, "mixed", or "none" where nothing is compressed. */
const char *measured_engine(const measured_t *measured);

#endif
