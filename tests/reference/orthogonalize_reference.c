#include "reference/orthogonalize_reference.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *allocate(size_t count)
{
    double *memory = calloc(count, sizeof(*memory));

    if (memory == NULL) {
        fprintf(stderr, "no memory for the reference (%zu doubles)\n", count);
        abort();
    }
    return memory;
}

static double dot(const double *x, const double *y, size_t count)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; ++i) {
        sum += x[i] * y[i];
    }
    return sum;
}

static double dot_float(const float *x, const float *y, size_t count)
{
    double sum = 0.0;

    for (size_t i = 0; i < count; ++i) {
        sum += (double)x[i] * (double)y[i];
    }
    return sum;
}

/* x -= 2 v (v . x), for a unit vector v, or v = 0. */
static void reflect(double *x, const double *v, size_t count)
{
    double twice = 2.0 * dot(v, x, count);

    for (size_t i = 0; i < count; ++i) {
        x[i] -= twice * v[i];
    }
}

/* v = the unit vector whose reflection takes x to a multiple of the first unit vector; 0 where x is 0. */
static void make_reflection(const double *x, double *v, size_t count)
{
    double norm = sqrt(dot(x, x, count));

    memcpy(v, x, count * sizeof(*v));
    if (norm == 0.0) {
        return;
    }
    v[0] += x[0] >= 0.0 ? norm : -norm;
    norm = sqrt(dot(v, v, count));
    for (size_t i = 0; i < count; ++i) {
        v[i] /= norm;
    }
}

/* Each column in its own units: the basis does not depend on them, and squares neither overflow nor vanish. */
static void load_scaled(const float *p, double *work, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        double largest = 0.0;

        for (size_t i = 0; i < length; ++i) {
            largest = fmax(largest, fabs((double)p[j * length + i]));
        }
        for (size_t i = 0; i < length; ++i) {
            work[j * length + i] = largest > 0.0 ? (double)p[j * length + i] / largest : 0.0;
        }
    }
}

void reference_orthogonalize(const float *p, double *q, size_t length, size_t columns)
{
    double *work       = allocate(length * columns);
    double *reflectors = allocate(length * columns); /* number k has its first k elements 0 */

    load_scaled(p, work, length, columns);
    for (size_t k = 0; k < columns; ++k) {
        make_reflection(&work[k * length + k], &reflectors[k * length + k], length - k);
        for (size_t j = k; j < columns; ++j) {
            reflect(&work[j * length + k], &reflectors[k * length + k], length - k);
        }
    }
    /* Q = H_0 H_1 .. H_{columns-1} applied to the unit vectors. */
    memset(q, 0, length * columns * sizeof(*q));
    for (size_t j = 0; j < columns; ++j) {
        q[j * length + j] = work[j * length + j] < 0.0 ? -1.0 : 1.0;
        for (size_t k = columns; k-- > 0;) {
            reflect(&q[j * length + k], &reflectors[k * length + k], length - k);
        }
    }
    free(reflectors);
    free(work);
}

double reference_orthogonality_error(const float *q, size_t length, size_t columns)
{
    double worst = 0.0;

    for (size_t j = 0; j < columns; ++j) {
        for (size_t k = 0; k <= j; ++k) {
            double entry = dot_float(&q[j * length], &q[k * length], length) - (j == k ? 1.0 : 0.0);

            worst = (fabs(entry) <= worst) ? worst : fabs(entry); /* NaN is kept */
        }
    }
    return worst;
}

/* |x - basis basis^T x|; x is overwritten. */
static double distance_to(double *x, const double *basis, size_t length, size_t columns)
{
    double *coefficients = allocate(columns);
    double  distance;

    for (size_t k = 0; k < columns; ++k) {
        coefficients[k] = dot(&basis[k * length], x, length);
    }
    for (size_t k = 0; k < columns; ++k) {
        for (size_t i = 0; i < length; ++i) {
            x[i] -= coefficients[k] * basis[k * length + i];
        }
    }
    distance = sqrt(dot(x, x, length));
    free(coefficients);
    return distance;
}

double reference_span_error(const float *p, const float *q, size_t length, size_t columns)
{
    double *scaled = allocate(length * columns);
    double *basis  = allocate(length * columns);
    double  worst  = 0.0;

    load_scaled(p, scaled, length, columns);
    for (size_t i = 0; i < length * columns; ++i) {
        basis[i] = (double)q[i];
    }
    for (size_t j = 0; j < columns; ++j) {
        double norm = sqrt(dot(&scaled[j * length], &scaled[j * length], length));
        double left = norm > 0.0 ? distance_to(&scaled[j * length], basis, length, columns) / norm : 0.0;

        worst = left <= worst ? worst : left; /* NaN is kept */
    }
    free(basis);
    free(scaled);
    return worst;
}

double reference_subspace_distance(const float *q, const double *basis, size_t length, size_t columns)
{
    double *column = allocate(length);
    double  worst  = 0.0;

    for (size_t j = 0; j < columns; ++j) {
        double left;

        for (size_t i = 0; i < length; ++i) {
            column[i] = (double)q[j * length + i];
        }
        left  = distance_to(column, basis, length, columns);
        worst = left <= worst ? worst : left; /* NaN is kept */
    }
    free(column);
    return worst;
}
