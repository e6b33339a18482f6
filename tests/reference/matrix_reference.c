#include "reference/matrix_reference.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

void reference_multiply_p(const float *m, const float *q, size_t rows, size_t cols, size_t r, double *out,
                          double *magnitude)
{
    for (size_t k = 0; k < r; ++k) {
        for (size_t i = 0; i < rows; ++i) {
            double sum = 0.0, sum_abs = 0.0;

            for (size_t j = 0; j < cols; ++j) {
                double product = (double)q[k * cols + j] * (double)m[i * cols + j];

                sum += product;
                sum_abs += fabs(product);
            }
            out[k * rows + i] = sum;
            if (magnitude != NULL) {
                magnitude[k * rows + i] = sum_abs;
            }
        }
    }
}

void reference_multiply_q(const float *m, const float *p, size_t rows, size_t cols, size_t r, double *out,
                          double *magnitude)
{
    for (size_t k = 0; k < r; ++k) {
        for (size_t j = 0; j < cols; ++j) {
            out[k * cols + j] = 0.0;
            if (magnitude != NULL) {
                magnitude[k * cols + j] = 0.0;
            }
        }
        for (size_t i = 0; i < rows; ++i) {
            for (size_t j = 0; j < cols; ++j) {
                double product = (double)p[k * rows + i] * (double)m[i * cols + j];

                out[k * cols + j] += product;
                if (magnitude != NULL) {
                    magnitude[k * cols + j] += fabs(product);
                }
            }
        }
    }
}

double reference_sum_bound(double magnitude, size_t terms)
{
    return 8.0 * sqrt((double)terms) * ldexp(1.0, -24) * magnitude + (double)terms * (double)FLT_MIN;
}

static float *allocate(size_t elems)
{
    float *memory = malloc((elems > 0 ? elems : 1) * sizeof(*memory));

    if (memory == NULL) {
        abort();
    }
    return memory;
}

/* 0 where |x| < 2^-40. */
static double without_dust(double x)
{
    return fabs(x) < ldexp(1.0, -40) ? 0.0 : x;
}

void reference_update(const float *p, const float *q, size_t rows, size_t cols, size_t r, float *out)
{
    double largest = 0.0;
    int    e       = 0;
    float *scaled, *clean;

    for (size_t n = 0; n < r * cols; ++n) {
        largest = fmax(largest, fabs((double)q[n]));
    }
    if (largest > 0.0) {
        frexp(largest, &e); /* largest lies in [2^(e-1), 2^e) */
        e -= 1;
    }
    scaled = allocate(r * cols);
    clean  = allocate(r * rows);
    for (size_t n = 0; n < r * cols; ++n) {
        scaled[n] = (float)without_dust(ldexp((double)q[n], -e));
    }
    for (size_t n = 0; n < r * rows; ++n) {
        clean[n] = (float)without_dust((double)p[n]);
    }
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            float  chain = 0.0f;
            double result;

            for (size_t k = 0; k < r; ++k) {
                chain = fmaf(clean[k * rows + i], scaled[k * cols + j], chain);
            }
            result            = ldexp((double)chain, e);
            out[i * cols + j] = fabs(result) < (double)FLT_MIN ? 0.0f : (float)result;
        }
    }
    free(clean);
    free(scaled);
}

void reference_error_chain(const float *m, const float *p, const float *q, size_t rows, size_t cols, size_t r,
                           float *out)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            float chain = m[i * cols + j];

            for (size_t k = 0; k < r; ++k) {
                chain = fmaf(-p[k * rows + i], q[k * cols + j], chain);
            }
            out[i * cols + j] = chain;
        }
    }
}

void reference_error(const float *m, const float *p, const float *q, size_t rows, size_t cols, size_t r, double *out,
                     double *magnitude)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            double rest = m[i * cols + j], sum_abs = fabs(rest);

            for (size_t k = 0; k < r; ++k) {
                double product = (double)p[k * rows + i] * (double)q[k * cols + j];

                rest -= product;
                sum_abs += fabs(product);
            }
            out[i * cols + j]       = rest;
            magnitude[i * cols + j] = sum_abs;
        }
    }
}
