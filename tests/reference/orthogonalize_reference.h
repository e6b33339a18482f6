/* Orthogonalization in float64: Householder's method, and the two distances that the library bounds. Shares nothing with
 * the library. A matrix is `columns` vectors of `length` elements, one behind the other. */
#ifndef PSGD_TESTS_REFERENCE_ORTHOGONALIZE_REFERENCE_H
#define PSGD_TESTS_REFERENCE_ORTHOGONALIZE_REFERENCE_H

#include <stddef.h>

/* q = an orthonormal basis of the columns of p (of the first k columns, for every k), by Householder reflections; the sign
 * of each column such that q_j . p_j >= 0. columns <= length. Where columns depend on those before them, q has some
 * orthonormal completion. */
void reference_orthogonalize(const float *p, double *q, size_t length, size_t columns);

/* max |I - Q^T Q|, every entry. */
double reference_orthogonality_error(const float *q, size_t length, size_t columns);

/* max over j of |p_j - Q Q^T p_j| / |p_j|; columns of p that are zero count as 0. */
double reference_span_error(const float *p, const float *q, size_t length, size_t columns);

/* max over j of |q_j - Q' Q'^T q_j|: how far the columns of q lie outside the space of the orthonormal `basis`. */
double reference_subspace_distance(const float *q, const double *basis, size_t length, size_t columns);

#endif
