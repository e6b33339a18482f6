/* The updates of one tensor against the reference. */
#ifndef PSGD_BENCH_COMPARE_H
#define PSGD_BENCH_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include "items.h"
#include "options.h"
#include "status.h"

enum { COMPARE_STEPS = 2 };

/* How much a worker computes before it turns to projections, in multiplications: some seconds of one core. */
#define COMPARE_BUDGET 3e9

/* The same for its cheapest matrix: where even that costs more than the budget, one is compared element by element. */
#define COMPARE_BUDGET_FIRST 9e9

/* One matrix, or a tensor that is not compressed: what went in, and what came out. */
typedef struct compare_job {
    const item_t    *item;
    const options_t *options;
    uint32_t         num_workers;
    double           rounding;  /* of an update that is stored in 16 bits */
    double           allowance; /* what a compressed tensor may deviate by beyond that and what fp32 costs */
    const float     *updates[COMPARE_STEPS]; /* as the library left them, in the order of the item's elements */
    const float *before[COMPARE_STEPS]; /* Q before each step, cols x rank; or P, rows x rank. NULL: not compressed */
    const float *after[COMPARE_STEPS];  /* and behind it; NULL: not known */
} compare_job_t;

/* What compare_matrix() costs, in multiplications; 0 for a tensor that is not compressed. */
double compare_cost(const item_t *item);

/* Each raises *deviation to the largest that it finds. TOOL_WRONG, with a sentence, where that is beyond the bound. */

/* A tensor that is not compressed: the mean over the workers, every element. */
tool_status_t compare_plain(const compare_job_t *job, double *deviation);

/* A compressed one: every element, of both steps. */
tool_status_t compare_matrix(const compare_job_t *job, double *deviation);

/* The same by what must hold of M, U = P^ Q^T and both Q, for matrices where P and Q would cost too much:
 *     M - U is orthogonal to M Q z for random z (P^ spans the columns of M Q, and Q = M^T P^),
 *     and to U itself (P^ has orthonormal columns);
 *     rows of U lie in the span of the columns of the Q that the step has left, for some rows, while *budget lasts.
 * With half-iterations the second of these alone, where a step has one or two. */
tool_status_t compare_by_probes(const compare_job_t *job, double *budget);

#endif
