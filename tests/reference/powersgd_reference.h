/* PowerSGD on the host in float64: Algorithms 1 and 2 of Vogels, Karimireddy, Jaggi (NeurIPS 2019), as plain as they
 * can be written, to hold the library against. All workers live in one process and a mean is a loop over them.
 *
 * One worker's gradient, error or update is one vector: all tensors, one behind the other, in their order. Matrices and
 * factors are row-major: M rows x cols, P rows x r, Q cols x r. */
#ifndef PSGD_TESTS_REFERENCE_POWERSGD_REFERENCE_H
#define PSGD_TESTS_REFERENCE_POWERSGD_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { REFERENCE_MAX_DIMS = 8, REFERENCE_NEVER_COMPRESS = -1 };

typedef struct reference_shape {
    uint64_t dims[REFERENCE_MAX_DIMS];
    uint32_t num_dims;
    int32_t  rank; /* 0: that of the options; REFERENCE_NEVER_COMPRESS */
} reference_shape_t;

typedef struct reference_options {
    uint32_t num_workers;
    uint32_t rank;
    double   min_compression_rate;
    uint64_t start_step;     /* steps before it average without compression */
    bool     error_feedback;
    bool     warm_start;     /* false: every compressed step starts from a Q given by reference_set_q() */
    bool     averaged_error; /* e_w = M_w - update, as the paper's code and PyTorch; false: e_w = M_w - P^ Q_w^T */

    /* 0: the paper's full iteration, P then Q. k >= 1: k half-iterations a step, alternating between P and Q:
     *
     *    even ones, from 0: P^ = orthonormalize(P); Q_w = M_w^T P^; M_w -= P^ Q_w^T; Q = mean_w(Q_w); update += P^ Q^T
     *    odd ones:          Q^ = orthonormalize(Q); P_w = M_w Q^;   M_w -= P_w Q^^T; P = mean_w(P_w); update += P Q^^T
     *
     * and e_w = what is left of M_w. The count runs on across steps; half-iteration 0 starts from a P given by
     * reference_set_p(). */
    uint32_t half_iterations;
} reference_options_t;

#define REFERENCE_OPTIONS_INIT { 1, 4, 2.0, 0, true, true, false, 0 }

/* How one tensor is treated. */
typedef struct reference_tensor {
    uint64_t offset_elems; /* in a worker's vector */
    uint64_t elems;
    uint64_t rows, cols;   /* elems x 1 for a tensor of one dimension */
    uint32_t r;            /* 0: not compressed */
    double  *p;            /* rows x r: the last P^ (full iterations), or the last mean P */
    double  *q;            /* cols x r: the last mean Q, which the next step starts from */
} reference_tensor_t;

typedef struct reference {
    reference_options_t options;
    reference_tensor_t *tensors;
    size_t              num_tensors;
    uint64_t            total_elems;
    double            **errors; /* by worker: total_elems each; zero for what is not compressed */
    uint64_t            step;   /* how many were done */
    uint64_t            half_iterations_done;
} reference_t;

/* NULL where memory ran out. Factors are zero until they are set. */
reference_t *reference_create(const reference_shape_t *shapes, size_t num_shapes, const reference_options_t *options);
void reference_destroy(reference_t *reference);

/* Gives a tensor the factor to start from; only its span matters. */
void reference_set_q(reference_t *reference, size_t tensor_index, const double *q);
void reference_set_p(reference_t *reference, size_t tensor_index, const double *p);

/* One step: grads[w] and update are vectors of total_elems. */
void reference_step(reference_t *reference, const double *const *grads, double *update);

/* out = mean over the workers of the error memory. */
void reference_mean_error(const reference_t *reference, double *out);

/* Makes the columns of a (length x columns, row-major, columns <= length) orthonormal: Gram-Schmidt, twice. A column
 * that vanishes is replaced by the unit vector that is farthest from the columns before it. */
void reference_orthonormalize(double *a, uint64_t length, uint32_t columns);

/* |a - b| / |b| in the 2-norm; |a| where b is zero. */
double reference_difference(const double *a, const double *b, uint64_t count);

#endif
