/* With F = U S V^T, the columns of F V are those of U S. V has the eigenvectors of F^T F, a small matrix, which Jacobi's rotations
 * find in double precision: they need nothing but the four operations and square roots. */
#include "core/strongest.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

enum { MAX_SWEEPS = 60 };

static const double NEGLIGIBLE =
    1e-30; /* of a product of two diagonal entries: the square of an angle that rounds to none */

/* A symmetric matrix, and the rotations so far: n x n each, row-major. */
typedef struct eigen {
    double  *a;
    double  *v;
    uint32_t n;
} eigen_t;

static double *at(double *matrix, uint32_t n, uint32_t i, uint32_t j)
{
    return &matrix[(size_t)i * n + j];
}

static void rotate_columns(double *matrix, uint32_t n, uint32_t p, uint32_t q, double c, double s)
{
    for (uint32_t k = 0; k < n; ++k) {
        double x = *at(matrix, n, k, p), y = *at(matrix, n, k, q);

        *at(matrix, n, k, p) = c * x - s * y;
        *at(matrix, n, k, q) = s * x + c * y;
    }
}

static void rotate_rows(double *matrix, uint32_t n, uint32_t p, uint32_t q, double c, double s)
{
    for (uint32_t k = 0; k < n; ++k) {
        double x = *at(matrix, n, p, k), y = *at(matrix, n, q, k);

        *at(matrix, n, p, k) = c * x - s * y;
        *at(matrix, n, q, k) = s * x + c * y;
    }
}

/* Makes a_pq zero (Golub, Van Loan, section 8.5.2). Returns whether that took a rotation. */
static bool annihilate(eigen_t *e, uint32_t p, uint32_t q)
{
    double pq = *at(e->a, e->n, p, q), pp = *at(e->a, e->n, p, p), qq = *at(e->a, e->n, q, q);
    double tau, t, c;

    if (pq * pq <= NEGLIGIBLE * pp * qq) {
        return false;
    }
    tau = (qq - pp) / (2.0 * pq);
    t   = (tau >= 0.0 ? 1.0 : -1.0) / (fabs(tau) + sqrt(1.0 + tau * tau));
    c   = 1.0 / sqrt(1.0 + t * t);
    rotate_columns(e->a, e->n, p, q, c, t * c);
    rotate_rows(e->a, e->n, p, q, c, t * c);
    rotate_columns(e->v, e->n, p, q, c, t * c);
    return true;
}

static void diagonalize(eigen_t *e)
{
    bool has_changed = true;

    for (uint32_t i = 0; i < e->n; ++i) {
        *at(e->v, e->n, i, i) = 1.0;
    }
    for (int sweep = 0; has_changed && (sweep < MAX_SWEEPS); ++sweep) {
        has_changed = false;
        for (uint32_t p = 0; p + 1 < e->n; ++p) {
            for (uint32_t q = p + 1; q < e->n; ++q) {
                has_changed = annihilate(e, p, q) || has_changed;
            }
        }
    }
}

/* F^T F */
static void form_gram(const float *factor, uint64_t length, eigen_t *e)
{
    for (uint32_t i = 0; i < e->n; ++i) {
        for (uint32_t j = 0; j <= i; ++j) {
            const float *x = factor + i * length, *y = factor + j * length;
            double       sum = 0.0;

            for (uint64_t k = 0; k < length; ++k) {
                sum += (double)x[k] * (double)y[k];
            }
            *at(e->a, e->n, i, j) = sum;
            *at(e->a, e->n, j, i) = sum;
        }
    }
}

/* The largest eigenvalue that is left; it counts no more from then on. */
static uint32_t take_largest(eigen_t *e)
{
    uint32_t largest = 0;

    for (uint32_t i = 1; i < e->n; ++i) {
        largest = *at(e->a, e->n, i, i) > *at(e->a, e->n, largest, largest) ? i : largest;
    }
    *at(e->a, e->n, largest, largest) = -1.0;
    return largest;
}

/* Column `index` of F V. */
static void combine(const float *factor, uint64_t length, const eigen_t *e, uint32_t index, float *to)
{
    for (uint64_t k = 0; k < length; ++k) {
        double sum = 0.0;

        for (uint32_t i = 0; i < e->n; ++i) {
            sum += (double)factor[i * length + k] * *at(e->v, e->n, i, index);
        }
        to[k] = (float)sum;
    }
}

psgd_status_t psgd_strongest_columns(const float *factor, uint64_t length, uint32_t columns, float *to, uint32_t kept)
{
    eigen_t       e = {NULL, NULL, columns};
    psgd_status_t status;

    status = psgd_alloc((size_t)columns * columns, sizeof(double), "the products of a factor's columns", &e.a);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc((size_t)columns * columns, sizeof(double), "the directions of a factor", &e.v);
    if (status == PSGD_OK) {
        form_gram(factor, length, &e);
        diagonalize(&e);
        for (uint32_t c = 0; c < kept; ++c) {
            combine(factor, length, &e, take_largest(&e), to + c * length);
        }
    }
    psgd_free(e.v);
    psgd_free(e.a);
    return status;
}
