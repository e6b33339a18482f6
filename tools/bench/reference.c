#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

tool_status_t reference_create(size_t rows, size_t cols, size_t rank, reference_t *reference_p)
{
    tool_status_t status;

    *reference_p = (reference_t){rows, cols, rank, NULL, NULL, NULL, NULL};
    status       = tool_alloc(rows * cols, sizeof(double), "the reference's matrix", &reference_p->m);
    if (status == TOOL_OK) {
        status = tool_alloc(rows * rank, sizeof(double), "the reference's P", &reference_p->p);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(cols * rank, sizeof(double), "the reference's Q", &reference_p->q);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(cols * rank, sizeof(double), "the reference's Q", &reference_p->q_hat);
    }
    return status;
}

void reference_destroy(reference_t *reference)
{
    free(reference->m);
    free(reference->p);
    free(reference->q);
    free(reference->q_hat);
    memset(reference, 0, sizeof(*reference));
}

static double dot(const double *a, const double *b, size_t count)
{
    double sum = 0.0;

    for (size_t k = 0; k < count; ++k) {
        sum += a[k] * b[k];
    }
    return sum;
}

/* sums[i] += x a[i] */
static void add_scaled(double x, const double *a, size_t count, double *sums)
{
    for (size_t i = 0; i < count; ++i) {
        sums[i] += x * a[i];
    }
}

/* along[i] = column i of a times column j, for i < j: row by row, as a lies in memory. */
static void project(const double *a, size_t length, size_t columns, size_t j, double *along)
{
    memset(along, 0, j * sizeof(*along));
    for (size_t k = 0; k < length; ++k) {
        add_scaled(a[k * columns + j], a + k * columns, j, along);
    }
}

void reference_orthonormalize(double *a, size_t length, size_t columns)
{
    double along[PSGD_MAX_RANK];

    for (size_t j = 0; j < columns; ++j) {
        double square = 0.0;
        double norm;

        for (int pass = 0; pass < 2; ++pass) {
            project(a, length, columns, j, along);
            for (size_t k = 0; k < length; ++k) {
                a[k * columns + j] -= dot(along, a + k * columns, j);
            }
        }
        for (size_t k = 0; k < length; ++k) {
            square += a[k * columns + j] * a[k * columns + j];
        }
        norm = sqrt(square);
        for (size_t k = 0; k < length; ++k) {
            a[k * columns + j] /= norm;
        }
    }
}

void reference_step(reference_t *r)
{
    memcpy(r->q_hat, r->q, r->cols * r->rank * sizeof(double));
    reference_orthonormalize(r->q_hat, r->cols, r->rank);
    memset(r->p, 0, r->rows * r->rank * sizeof(double));
    for (size_t i = 0; i < r->rows; ++i) { /* P = M Q^ */
        for (size_t j = 0; j < r->cols; ++j) {
            add_scaled(r->m[i * r->cols + j], r->q_hat + j * r->rank, r->rank, r->p + i * r->rank);
        }
    }
    reference_orthonormalize(r->p, r->rows, r->rank);
    memset(r->q, 0, r->cols * r->rank * sizeof(double));
    for (size_t i = 0; i < r->rows; ++i) { /* Q = M^T P^ */
        for (size_t j = 0; j < r->cols; ++j) {
            add_scaled(r->m[i * r->cols + j], r->p + i * r->rank, r->rank, r->q + j * r->rank);
        }
    }
}

void reference_update_row(const reference_t *r, size_t i, double *row)
{
    for (size_t j = 0; j < r->cols; ++j) {
        row[j] = dot(r->p + i * r->rank, r->q + j * r->rank, r->rank);
    }
}

void reference_leave_error(reference_t *r, double *row)
{
    for (size_t i = 0; i < r->rows; ++i) {
        reference_update_row(r, i, row);
        add_scaled(-1.0, row, r->cols, r->m + i * r->cols);
    }
}

double reference_cost(size_t rows, size_t cols, size_t rank)
{
    double r = (double)rank;

    return 4.0 * (double)rows * (double)cols * r + 2.0 * (double)(rows + cols) * r * r;
}
