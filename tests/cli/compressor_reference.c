#include "compressor_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rotates vectors a and b of `length`, and the same for x and y of `other`, so that a and b become orthogonal. Whether they were not. */
static int rotate(double *a, double *b, size_t length, double *x, double *y, size_t other)
{
    double aa = 0.0, bb = 0.0, ab = 0.0, tau, t, c, s;

    for (size_t i = 0; i < length; ++i) {
        aa += a[i] * a[i];
        bb += b[i] * b[i];
        ab += a[i] * b[i];
    }
    if (fabs(ab) <= 1e-15 * sqrt(aa * bb)) {
        return 0;
    }
    tau = (bb - aa) / (2.0 * ab);
    t   = (tau >= 0.0 ? 1.0 : -1.0) / (fabs(tau) + sqrt(1.0 + tau * tau));
    c   = 1.0 / sqrt(1.0 + t * t);
    s   = c * t;
    for (size_t i = 0; i < length; ++i) {
        double old = a[i];

        a[i] = c * old - s * b[i];
        b[i] = s * old + c * b[i];
    }
    for (size_t i = 0; i < other; ++i) {
        double old = x[i];

        x[i] = c * old - s * y[i];
        y[i] = s * old + c * y[i];
    }
    return 1;
}

static void swap(double *a, double *b, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        double item = a[i];

        a[i] = b[i];
        b[i] = item;
    }
}

/* Of the `count` vectors of `length` in `long_side`, those of `short_side` (count each) begin as the unit matrix. */
static void orthogonalize(double *long_side, size_t length, double *short_side, size_t count, double *values)
{
    int goes_on = 1;

    memset(short_side, 0, count * count * sizeof(*short_side));
    for (size_t k = 0; k < count; ++k) {
        short_side[k * count + k] = 1.0;
    }
    for (int sweep = 0; sweep < 60 && goes_on; ++sweep) {
        goes_on = 0;
        for (size_t a = 0; a < count; ++a) {
            for (size_t b = a + 1; b < count; ++b) {
                goes_on |= rotate(&long_side[a * length], &long_side[b * length], length, &short_side[a * count],
                                  &short_side[b * count], count);
            }
        }
    }
    for (size_t k = 0; k < count; ++k) {
        double norm = 0.0;

        for (size_t i = 0; i < length; ++i) {
            norm += long_side[k * length + i] * long_side[k * length + i];
        }
        values[k] = sqrt(norm);
        for (size_t i = 0; i < length && values[k] > 0.0; ++i) {
            long_side[k * length + i] /= values[k];
        }
    }
    for (size_t a = 0; a < count; ++a) {
        for (size_t b = a + 1; b < count; ++b) {
            if (values[b] > values[a]) {
                swap(&values[a], &values[b], 1);
                swap(&long_side[a * length], &long_side[b * length], length);
                swap(&short_side[a * count], &short_side[b * count], count);
            }
        }
    }
}

void reference_decompose(const float *matrix, size_t rows, size_t cols, reference_singular_t *singular)
{
    const int is_wide = cols > rows; /* then its rows are made orthogonal, else its columns */

    singular->count = is_wide ? rows : cols;
    for (size_t i = 0; i < rows; ++i) {
        for (size_t j = 0; j < cols; ++j) {
            double number = (double)matrix[i * cols + j];

            if (is_wide) {
                singular->right[i * cols + j] = number;
            } else {
                singular->left[j * rows + i] = number;
            }
        }
    }
    if (is_wide) {
        orthogonalize(singular->right, cols, singular->left, rows, singular->values);
    } else {
        orthogonalize(singular->left, rows, singular->right, cols, singular->values);
    }
}

void reference_probabilities(const double *values, size_t count, size_t wanted, double *probabilities)
{
    double low = 0.0, high = 1e30;
    size_t positive = 0;

    for (size_t i = 0; i < count; ++i) {
        positive += values[i] > 0.0;
    }
    for (int round = 0; round < 400; ++round) {
        double middle = 0.5 * (low + high), sum = 0.0;

        for (size_t i = 0; i < count; ++i) {
            sum += fmin(1.0, middle * values[i]);
        }
        if (sum < (double)wanted) {
            low = middle;
        } else {
            high = middle;
        }
    }
    for (size_t i = 0; i < count; ++i) {
        probabilities[i] = positive <= wanted ? values[i] > 0.0 : fmin(1.0, low * values[i]);
    }
}

static int compare_falling(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x < y) - (x > y);
}

double reference_smallest_of_top(const float *values, size_t elems, size_t count)
{
    double magnitudes[REFERENCE_MAX_ELEMS];

    for (size_t i = 0; i < elems; ++i) {
        magnitudes[i] = fabs((double)values[i]);
    }
    qsort(magnitudes, elems, sizeof(*magnitudes), compare_falling);
    return magnitudes[count - 1];
}
