/* One matrix of a PowerSGD step, computed on the host in double precision: what the device is compared with.
 *
 * Written from Algorithms 1 and 2 of the paper, for one worker, where every mean is the worker's own value. */
#ifndef PSGD_DEVICEQUERY_REFERENCE_H
#define PSGD_DEVICEQUERY_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>

/* All matrices row-major. */
typedef struct reference {
    size_t  rows, cols, rank;
    double *m;      /* rows x cols: gradient plus error memory */
    double *p;      /* rows x rank */
    double *q;      /* cols x rank: of the last step, and the next step's start */
    double *q_hat;  /* cols x rank: q with orthonormal columns */
    double *error;  /* rows x cols: what the last update left out */
    double *update; /* rows x cols: P^ Q^T */
} reference_t;

/* Begins with error 0 and the given q (cols x rank). False where there is no memory. */
bool reference_create(size_t rows, size_t cols, size_t rank, const float *q, reference_t *reference_p);
void reference_destroy(reference_t *reference); /* fine where it is all zero */

/* One step with the gradient `grad` (rows x cols): sets update, error and q. */
void reference_step(reference_t *reference, const float *grad);

#endif
