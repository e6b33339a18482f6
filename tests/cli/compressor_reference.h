/* What the compressors of psgd-train are compared with, in float64 and as plainly as it can be written. */
#ifndef PSGD_TESTS_CLI_COMPRESSOR_REFERENCE_H
#define PSGD_TESTS_CLI_COMPRESSOR_REFERENCE_H

#include <stddef.h>

enum { REFERENCE_MAX_ELEMS = 64 * 32 };

/* M = sum over k of values[k] left_k right_k^T; values fall. Vector k of the left is left[k * rows ..], of the right right[k * cols ..]. */
typedef struct reference_singular {
    size_t count; /* min(rows, cols) */
    double values[64];
    double left[REFERENCE_MAX_ELEMS], right[REFERENCE_MAX_ELEMS];
} reference_singular_t;

/* One-sided Jacobi rotations (Hestenes 1958), until all columns are orthogonal. Vectors of a singular value 0 are 0. */
void reference_decompose(const float *matrix, size_t rows, size_t cols, reference_singular_t *singular);

/* probabilities[i] = min(1, c values[i]), where c makes them add up to `wanted`, by bisection; 1 for all that are not 0 where there are no
 * more than that. */
void reference_probabilities(const double *values, size_t count, size_t wanted, double *probabilities);

/* The count-th largest magnitude, by sorting. count >= 1. */
double reference_smallest_of_top(const float *values, size_t elems, size_t count);

#endif
