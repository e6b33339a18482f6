#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

tool_status_t reference_create(size_t rows, size_t cols, size_t rank, size_t half_iterations, reference_t *reference_p)
{
    tool_status_t status;

    *reference_p = (reference_t){.rows = rows, .cols = cols, .rank = rank, .half_iterations = half_iterations};
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
    if (status == TOOL_OK && half_iterations > 0) {
        status = tool_alloc(rows * cols, sizeof(double), "the reference's matrix", &reference_p->before);
    }
    return status;
}

void reference_destroy(reference_t *reference)
{
    free(reference->m);
    free(reference->p);
    free(reference->q);
    free(reference->q_hat);
    free(reference->before);
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

/* P = M Q^ */
static void compute_p(reference_t *r)
{
    memcpy(r->q_hat, r->q, r->cols * r->rank * sizeof(double));
    reference_orthonormalize(r->q_hat, r->cols, r->rank);
    memset(r->p, 0, r->rows * r->rank * sizeof(double));
    for (size_t i = 0; i < r->rows; ++i) {
        for (size_t j = 0; j < r->cols; ++j) {
            add_scaled(r->m[i * r->cols + j], r->q_hat + j * r->rank, r->rank, r->p + i * r->rank);
        }
    }
}

/* P^ over P, and Q = M^T P^ */
static void compute_q(reference_t *r)
{
    reference_orthonormalize(r->p, r->rows, r->rank);
    memset(r->q, 0, r->cols * r->rank * sizeof(double));
    for (size_t i = 0; i < r->rows; ++i) {
        for (size_t j = 0; j < r->cols; ++j) {
            add_scaled(r->m[i * r->cols + j], r->p + i * r->rank, r->rank, r->q + j * r->rank);
        }
    }
}

/* One half-iteration: M loses its piece. */
static void iterate_half(reference_t *r)
{
    const double *q = r->q;

    if (r->halves_done % 2 == 0) {
        compute_q(r);
    } else {
        compute_p(r);
        q = r->q_hat;
    }
    for (size_t i = 0; i < r->rows; ++i) {
        for (size_t j = 0; j < r->cols; ++j) {
            r->m[i * r->cols + j] -= dot(r->p + i * r->rank, q + j * r->rank, r->rank);
        }
    }
    r->halves_done += 1;
}

void reference_step(reference_t *r)
{
    if (r->half_iterations == 0) {
        compute_p(r);
        compute_q(r);
        return;
    }
    memcpy(r->before, r->m, r->rows * r->cols * sizeof(double));
    for (size_t half = 0; half < r->half_iterations; ++half) {
        iterate_half(r);
    }
}

void reference_update_row(const reference_t *r, size_t i, double *row)
{
    for (size_t j = 0; j < r->cols; ++j) {
        row[j] = r->half_iterations > 0 ? r->before[i * r->cols + j] - r->m[i * r->cols + j]
                                        : dot(r->p + i * r->rank, r->q + j * r->rank, r->rank);
    }
}

void reference_leave_error(reference_t *r, double *row)
{
    if (r->half_iterations > 0) {
        return; /* M is that already */
    }
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
