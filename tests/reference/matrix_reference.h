/* Products of matrices on the host, as plain as they can be written: in float64, and the fma chains whose bits the
 * library promises. Everything is row-major; the factors lie transposed: p is r x rows, q is r x cols. */
#ifndef PSGD_TESTS_REFERENCE_MATRIX_REFERENCE_H
#define PSGD_TESTS_REFERENCE_MATRIX_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

/* out[k * rows + i] = sum_j q[k * cols + j] m[i * cols + j], and magnitude (NULL: not wanted) the same sum of absolute
 * values, which is what rounding errors are measured by. */
void reference_multiply_p(const float *m, const float *q, size_t rows, size_t cols, size_t r, double *out,
                          double *magnitude);

/* out[k * cols + j] = sum_i p[k * rows + i] m[i * cols + j], and magnitude likewise. */
void reference_multiply_q(const float *m, const float *p, size_t rows, size_t cols, size_t r, double *out,
                          double *magnitude);

/* How far a sum of `terms` products, summed in fp32 in any order, may be from its exact value, given their magnitude:
 * 8 sqrt(terms) units of rounding, where independent errors would give a fraction of one sqrt(terms). */
double reference_sum_bound(double magnitude, size_t terms);

/* The update by its definition, every step of it in float64 arithmetic that rounds nothing, but for the fmaf chain:
 * q is scaled by 2^-e so that its largest entry lies in [1, 2); entries of p and of the scaled q below 2^-40 count as
 * 0; chain over k of fmaf(p, q, c); times 2^e; 0 where that is below FLT_MIN. q is finite. */
void reference_update(const float *p, const float *q, size_t rows, size_t cols, size_t r, float *out);

/* out = m - p^T q by the chain over k of fmaf(-p, q, c) that begins with m. */
void reference_error_chain(const float *m, const float *p, const float *q, size_t rows, size_t cols, size_t r,
                           float *out);

/* out = m - p^T q in float64, and magnitude = |m| + sum |p| |q|. */
void reference_error(const float *m, const float *p, const float *q, size_t rows, size_t cols, size_t r, double *out,
                     double *magnitude);

#endif
