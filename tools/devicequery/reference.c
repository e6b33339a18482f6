#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool reference_create(size_t rows, size_t cols, size_t rank, const float *q, reference_t *reference_p)
{
    reference_t reference = {rows, cols, rank, NULL, NULL, NULL, NULL, NULL, NULL};

    reference.m      = calloc(rows * cols, sizeof(double));
    reference.p      = calloc(rows * rank, sizeof(double));
    reference.q      = calloc(cols * rank, sizeof(double));
    reference.q_hat  = calloc(cols * rank, sizeof(double));
    reference.error  = calloc(rows * cols, sizeof(double));
    reference.update = calloc(rows * cols, sizeof(double));
    if ((reference.m == NULL) || (reference.p == NULL) || (reference.q == NULL) || (reference.q_hat == NULL) ||
        (reference.error == NULL) || (reference.update == NULL)) {
        reference_destroy(&reference);
        return false;
    }
    for (size_t i = 0; i < cols * rank; ++i) {
        reference.q[i] = (double)q[i];
    }
    *reference_p = reference;
    return true;
}

void reference_destroy(reference_t *reference)
{
    free(reference->m);
    free(reference->p);
    free(reference->q);
    free(reference->q_hat);
    free(reference->error);
    free(reference->update);
    memset(reference, 0, sizeof(*reference));
}

static double dot_columns(const double *a, size_t length, size_t columns, size_t i, size_t j)
{
    double sum = 0.0;

    for (size_t k = 0; k < length; ++k) {
        sum += a[k * columns + i] * a[k * columns + j];
    }
    return sum;
}

/* Gram-Schmidt on the columns of a (length x columns), each twice against those before it. */
static void orthonormalize(double *a, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        double norm;

        for (size_t i = 0; i < 2 * j; ++i) {
            double along = dot_columns(a, length, columns, i % j, j);

            for (size_t k = 0; k < length; ++k) {
                a[k * columns + j] -= along * a[k * columns + i % j];
            }
        }
        norm = sqrt(dot_columns(a, length, columns, j, j));
        for (size_t k = 0; k < length; ++k) {
            a[k * columns + j] /= norm;
        }
    }
}

/* out = a b, with a (rows x inner) and b (inner x cols). */
static void multiply(const double *a, const double *b, size_t rows, size_t inner, size_t cols, double *out)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            double sum = 0.0;

            for (size_t k = 0; k < inner; ++k) {
                sum += a[i * inner + k] * b[k * cols + j];
            }
            out[i * cols + j] = sum;
        }
    }
}

/* out = a^T b, with a (inner x rows) and b (inner x cols). */
static void multiply_transposed(const double *a, const double *b, size_t rows, size_t inner, size_t cols, double *out)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            double sum = 0.0;

            for (size_t k = 0; k < inner; ++k) {
                sum += a[k * rows + i] * b[k * cols + j];
            }
            out[i * cols + j] = sum;
        }
    }
}

/* update = P^ Q^T and error = M - update */
static void decompress(reference_t *r)
{
    for (size_t i = 0; i < r->rows; ++i) {
        for (size_t j = 0; j < r->cols; ++j) {
            double sum = 0.0;

            for (size_t k = 0; k < r->rank; ++k) {
                sum += r->p[i * r->rank + k] * r->q[j * r->rank + k];
            }
            r->update[i * r->cols + j] = sum;
            r->error[i * r->cols + j]  = r->m[i * r->cols + j] - sum;
        }
    }
}

void reference_step(reference_t *r, const float *grad)
{
    for (size_t i = 0; i < r->rows * r->cols; ++i) {
        r->m[i] = (double)grad[i] + r->error[i]; /* error feedback */
    }
    memcpy(r->q_hat, r->q, r->cols * r->rank * sizeof(double));
    orthonormalize(r->q_hat, r->cols, r->rank);
    multiply(r->m, r->q_hat, r->rows, r->cols, r->rank, r->p);        /* P = M Q^ */
    orthonormalize(r->p, r->rows, r->rank);                           /* P^ = orthogonalize(P) */
    multiply_transposed(r->m, r->p, r->cols, r->rows, r->rank, r->q); /* Q = M^T P^ */
    decompress(r);
}
