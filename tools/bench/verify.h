/* Before anything is timed: are the results right? */
#ifndef PSGD_BENCH_VERIFY_H
#define PSGD_BENCH_VERIFY_H

#include "bench.h"

/* Bounds on deviations, relative to the largest element of gradient plus error. fp32 leaves some 1e-7, a wrong formula
 * 1e-2 and more. */
#define VERIFY_BOUND 2e-5
#define VERIFY_PROBE_BOUND 1e-4

typedef struct verified {
    unsigned steps;
    uint64_t checked_elems; /* of the updates of a step, compared one by one with the reference */
    uint64_t probed_elems;  /* in matrices too costly for that, checked by projections */
    double   seconds;       /* that all this took */
    double   deviation;     /* the largest found among checked_elems, relative as above */
} verified_t;

/* A collective: two steps of the reducer at this rank from Q that the host knows, the second with error feedback in
 * play and its gradients submitted one by one, compared with the reference in double precision. The updates must have the
 * same bits on every worker; so each tensor is compared by one of them. Errors: TOOL_WRONG, TOOL_FAILED; where it fails it
 * has said why. */
tool_status_t verify_run(const bench_t *bench, uint32_t rank, verified_t *verified_p);

#endif
