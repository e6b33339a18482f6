#include "network_reference.h"

#include <math.h>
#include <string.h>

/* y[o] = b[o] + sum over i of w[o][i] x[i] */
static void linear(const double *w, const double *b, const double *x, size_t in, size_t out, double *y)
{
    for (size_t o = 0; o < out; ++o) {
        y[o] = b[o];
        for (size_t i = 0; i < in; ++i) {
            y[o] += w[o * in + i] * x[i];
        }
    }
}

/* From dy: adds to dw and db; dx = w^T dy, where it is not NULL. */
static void linear_back(const double *w, const double *x, const double *dy, size_t in, size_t out, double *dw,
                        double *db, double *dx)
{
    for (size_t i = 0; dx != NULL && i < in; ++i) {
        dx[i] = 0.0;
    }
    for (size_t o = 0; o < out; ++o) {
        db[o] += dy[o];
        for (size_t i = 0; i < in; ++i) {
            dw[o * in + i] += dy[o] * x[i];
            if (dx != NULL) {
                dx[i] += w[o * in + i] * dy[o];
            }
        }
    }
}

static void relu(double *y, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        y[i] = fmax(y[i], 0.0);
    }
}

static void relu_back(const double *y, double *dy, size_t count)
{
    for (size_t i = 0; i < count; ++i) {
        dy[i] = y[i] > 0.0 ? dy[i] : 0.0;
    }
}

/* The loss of one example, over ten classes; dz is its gradient. */
static double cross_entropy(const double *z, uint32_t label, double *dz)
{
    double sum = 0.0;

    for (int c = 0; c < 10; ++c) {
        sum += exp(z[c]);
    }
    for (int c = 0; c < 10; ++c) {
        dz[c] = exp(z[c]) / sum - ((uint32_t)c == label);
    }
    return log(sum) - z[label];
}

/* What filter tap k = (channel, ky, kx) of a 5x5 convolution with two zeros on each side sees at position i of a
 * side x side image: its index in the image, or -1 for a zero. */
static long seen(size_t i, size_t k, size_t side)
{
    long row    = (long)(i / side) + (long)(k % 25 / 5) - 2;
    long column = (long)(i % side) + (long)(k % 5) - 2;

    if (row < 0 || column < 0 || row >= (long)side || column >= (long)side) {
        return -1;
    }
    return ((long)(k / 25) * (long)side + row) * (long)side + column;
}

/* x: channels x side x side; y: filters x side x side */
static void convolve(const double *w, const double *b, const double *x, size_t channels, size_t side, size_t filters,
                     double *y)
{
    size_t taps = channels * 25;

    for (size_t f = 0; f < filters; ++f) {
        for (size_t i = 0; i < side * side; ++i) {
            double sum = b[f];
            for (size_t k = 0; k < taps; ++k) {
                long from = seen(i, k, side);
                sum += from < 0 ? 0.0 : w[f * taps + k] * x[from];
            }
            y[f * side * side + i] = sum;
        }
    }
}

/* From dy: adds to dw and db; dx where it is not NULL. */
static void convolve_back(const double *w, const double *x, const double *dy, size_t channels, size_t side,
                          size_t filters, double *dw, double *db, double *dx)
{
    size_t taps = channels * 25;

    for (size_t i = 0; dx != NULL && i < channels * side * side; ++i) {
        dx[i] = 0.0;
    }
    for (size_t f = 0; f < filters; ++f) {
        for (size_t i = 0; i < side * side; ++i) {
            double d = dy[f * side * side + i];
            db[f] += d;
            for (size_t k = 0; d != 0.0 && k < taps; ++k) {
                long from = seen(i, k, side);
                if (from >= 0) {
                    dw[f * taps + k] += d * x[from];
                }
                if (from >= 0 && dx != NULL) {
                    dx[from] += d * w[f * taps + k];
                }
            }
        }
    }
}

/* Where the greatest of the four of z (side x side) that make pooled element i stands. */
static size_t greatest(const double *z, size_t side, size_t i)
{
    size_t corner = i / (side / 2) * 2 * side + i % (side / 2) * 2;
    size_t best   = corner;

    for (size_t k = 1; k < 4; ++k) {
        size_t other = corner + k / 2 * side + k % 2;
        best         = z[other] > z[best] ? other : best;
    }
    return best;
}

/* y: channels x side/2 x side/2 */
static void pool(const double *z, size_t channels, size_t side, double *y)
{
    size_t quarter = side * side / 4;

    for (size_t c = 0; c < channels; ++c) {
        for (size_t i = 0; i < quarter; ++i) {
            y[c * quarter + i] = z[c * side * side + greatest(z + c * side * side, side, i)];
        }
    }
}

static void pool_back(const double *z, const double *dy, size_t channels, size_t side, double *dz)
{
    size_t quarter = side * side / 4;

    memset(dz, 0, channels * side * side * sizeof(*dz));
    for (size_t c = 0; c < channels; ++c) {
        for (size_t i = 0; i < quarter; ++i) {
            dz[c * side * side + greatest(z + c * side * side, side, i)] = dy[c * quarter + i];
        }
    }
}

static void widen(const float *from, size_t count, double *to)
{
    for (size_t i = 0; i < count; ++i) {
        to[i] = from[i];
    }
}

static void scale(double *values, size_t count, double factor)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] *= factor;
    }
}

/* What both models are widened by at most. */
enum { MAX_WIDTH = REFERENCE_MAX_WIDTH };

/* One example; the gradients are of loss * weight, and added up. */
static double mlp_example(const reference_params_t *params, size_t width, const float *image, uint32_t label,
                          double weight, const reference_params_t *grads)
{
    double *const *p = params->tensors;
    const size_t   first = 256 * width, second = 128 * width;
    double x[784], a[256 * MAX_WIDTH], b[128 * MAX_WIDTH], z[10], da[256 * MAX_WIDTH], db[128 * MAX_WIDTH], dz[10],
        loss;

    widen(image, 784, x);
    linear(p[0], p[1], x, 784, first, a);
    relu(a, first);
    linear(p[2], p[3], a, first, second, b);
    relu(b, second);
    linear(p[4], p[5], b, second, 10, z);
    loss = cross_entropy(z, label, dz);
    if (grads != NULL) {
        double *const *g = grads->tensors;
        scale(dz, 10, weight);
        linear_back(p[4], b, dz, second, 10, g[4], g[5], db);
        relu_back(b, db, second);
        linear_back(p[2], a, db, first, second, g[2], g[3], da);
        relu_back(a, da, first);
        linear_back(p[0], x, da, 784, first, g[0], g[1], NULL);
    }
    return loss;
}

/* Convolution, then ReLU, then pooling: in this order, other than the kernels. */
static double cnn_example(const reference_params_t *params, size_t width, const float *image, uint32_t label,
                          double weight, const reference_params_t *grads)
{
    enum { C1 = 8 * MAX_WIDTH, C2 = 16 * MAX_WIDTH, H = 64 * MAX_WIDTH };
    double *const *p = params->tensors;
    const size_t   n1 = 8 * width, n2 = 16 * width, hidden = 64 * width, flat = n2 * 49;
    double         x[784], c1[C1 * 784], a[C1 * 196], c2[C2 * 196], b[C2 * 49], h[H], z[10];
    double         dc1[C1 * 784], da[C1 * 196], dc2[C2 * 196], db[C2 * 49], dh[H], dz[10], loss;

    widen(image, 784, x);
    convolve(p[0], p[1], x, 1, 28, n1, c1);
    relu(c1, n1 * 784);
    pool(c1, n1, 28, a);
    convolve(p[2], p[3], a, n1, 14, n2, c2);
    relu(c2, n2 * 196);
    pool(c2, n2, 14, b);
    linear(p[4], p[5], b, flat, hidden, h);
    relu(h, hidden);
    linear(p[6], p[7], h, hidden, 10, z);
    loss = cross_entropy(z, label, dz);
    if (grads != NULL) {
        double *const *g = grads->tensors;
        scale(dz, 10, weight);
        linear_back(p[6], h, dz, hidden, 10, g[6], g[7], dh);
        relu_back(h, dh, hidden);
        linear_back(p[4], b, dh, flat, hidden, g[4], g[5], db);
        pool_back(c2, db, n2, 14, dc2);
        relu_back(c2, dc2, n2 * 196);
        convolve_back(p[2], a, dc2, n1, 14, n2, g[2], g[3], da);
        pool_back(c1, da, n1, 28, dc1);
        relu_back(c1, dc1, n1 * 784);
        convolve_back(p[0], x, dc1, 1, 28, n1, g[0], g[1], NULL);
    }
    return loss;
}

typedef double (*example_fn)(const reference_params_t *, size_t, const float *, uint32_t, double,
                             const reference_params_t *);

static double mean_loss(example_fn example, const reference_params_t *params, size_t width, const float *images,
                        const uint32_t *labels, size_t batch, const reference_params_t *grads)
{
    double sum = 0.0;

    for (size_t n = 0; n < batch; ++n) {
        sum += example(params, width, images + n * 784, labels[n], 1.0 / (double)batch, grads);
    }
    return sum / (double)batch;
}

double reference_mlp(const reference_params_t *params, size_t width, const float *images, const uint32_t *labels,
                     size_t batch, const reference_params_t *grads)
{
    return mean_loss(mlp_example, params, width, images, labels, batch, grads);
}

double reference_cnn(const reference_params_t *params, size_t width, const float *images, const uint32_t *labels,
                     size_t batch, const reference_params_t *grads)
{
    return mean_loss(cnn_example, params, width, images, labels, batch, grads);
}
