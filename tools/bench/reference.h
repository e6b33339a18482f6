/* PowerSGD of one matrix on the host, in double precision: what the updates are compared with.
 *
 * Written from Algorithms 1 and 2 of the paper. The update depends on the workers only through the mean of what they
 * compress, and the mean of their local error memories is what the last update left out of that mean:
 *
 *     M = mean_w(g_w) + e;  P^ = orthonormalize(M orthonormalize(Q));  Q = M^T P^;  update = P^ Q^T;  e = M - update
 *
 * With half-iterations P and Q take turns, M loses what each piece takes off, and the update is what M has lost:
 *
 *     even ones, from 0:  P^ = orthonormalize(P);  Q = M^T P^;  M -= P^ Q^T      odd ones:  Q^ from Q;  P = M Q^;  M -= P Q^^T
 *
 * All matrices row-major. M rows x cols, P rows x r, Q cols x r. */
#ifndef PSGD_BENCH_REFERENCE_H
#define PSGD_BENCH_REFERENCE_H

#include <stddef.h>

#include "status.h"

typedef struct reference {
    size_t  rows, cols, rank;
    double *m; /* set by the caller before each step, and by reference_leave_error() */
    double *p; /* half-iterations: set by the caller before the first */
    double *q;     /* of the last step, and the next step's start; set by the caller before the first */
    double *q_hat; /* q with orthonormal columns */

    size_t  half_iterations; /* of a step; 0: full iterations */
    size_t  halves_done;
    double *before; /* half-iterations: M as the step found it */
} reference_t;

/* All zero. Freed by reference_destroy(), also after an error. */
tool_status_t reference_create(size_t rows, size_t cols, size_t rank, size_t half_iterations, reference_t *reference_p);
void          reference_destroy(reference_t *reference);

/* P^ and Q from M and the last Q. */
void reference_step(reference_t *reference);

/* Row i of the update, cols elements. */
void reference_update_row(const reference_t *reference, size_t i, double *row);

/* e in place of M. */
void reference_leave_error(reference_t *reference, double *row);

/* Gram-Schmidt on the columns of a (length x columns), each twice against those before it. */
void reference_orthonormalize(double *a, size_t length, size_t columns);

/* What a step by this costs, in multiplications; to choose what can be checked in seconds. */
double reference_cost(size_t rows, size_t cols, size_t rank);

#endif
