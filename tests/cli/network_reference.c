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

/* One example; the gradients are of loss * weight, and added up. */
static double mlp_example(const reference_params_t *params, const float *image, uint32_t label, double weight,
                          const reference_params_t *grads)
{
    double *const *p = params->tensors;
    double         x[784], a[256], b[128], z[10], da[256], db[128], dz[10], loss;

    widen(image, 784, x);
    linear(p[0], p[1], x, 784, 256, a);
    relu(a, 256);
    linear(p[2], p[3], a, 256, 128, b);
    relu(b, 128);
    linear(p[4], p[5], b, 128, 10, z);
    loss = cross_entropy(z, label, dz);
    if (grads != NULL) {
        double *const *g = grads->tensors;
        scale(dz, 10, weight);
        linear_back(p[4], b, dz, 128, 10, g[4], g[5], db);
        relu_back(b, db, 128);
        linear_back(p[2], a, db, 256, 128, g[2], g[3], da);
        relu_back(a, da, 256);
        linear_back(p[0], x, da, 784, 256, g[0], g[1], NULL);
    }
    return loss;
}

/* Convolution, then ReLU, then pooling: in this order, other than the kernels. */
static double cnn_example(const reference_params_t *params, const float *image, uint32_t label, double weight,
                          const reference_params_t *grads)
{
    double *const *p = params->tensors;
    double         x[784], c1[8 * 784], a[8 * 196], c2[16 * 196], b[784], h[64], z[10], loss;
    double         dc1[8 * 784], da[8 * 196], dc2[16 * 196], db[784], dh[64], dz[10];

    widen(image, 784, x);
    convolve(p[0], p[1], x, 1, 28, 8, c1);
    relu(c1, 8 * 784);
    pool(c1, 8, 28, a);
    convolve(p[2], p[3], a, 8, 14, 16, c2);
    relu(c2, 16 * 196);
    pool(c2, 16, 14, b);
    linear(p[4], p[5], b, 784, 64, h);
    relu(h, 64);
    linear(p[6], p[7], h, 64, 10, z);
    loss = cross_entropy(z, label, dz);
    if (grads != NULL) {
        double *const *g = grads->tensors;
        scale(dz, 10, weight);
        linear_back(p[6], h, dz, 64, 10, g[6], g[7], dh);
        relu_back(h, dh, 64);
        linear_back(p[4], b, dh, 784, 64, g[4], g[5], db);
        pool_back(c2, db, 16, 14, dc2);
        relu_back(c2, dc2, 16 * 196);
        convolve_back(p[2], a, dc2, 8, 14, 16, g[2], g[3], da);
        pool_back(c1, da, 8, 28, dc1);
        relu_back(c1, dc1, 8 * 784);
        convolve_back(p[0], x, dc1, 1, 28, 8, g[0], g[1], NULL);
    }
    return loss;
}

typedef double (*example_fn)(const reference_params_t *, const float *, uint32_t, double, const reference_params_t *);

static double mean_loss(example_fn example, const reference_params_t *params, const float *images,
                        const uint32_t *labels, size_t batch, const reference_params_t *grads)
{
    double sum = 0.0;

    for (size_t n = 0; n < batch; ++n) {
        sum += example(params, images + n * 784, labels[n], 1.0 / (double)batch, grads);
    }
    return sum / (double)batch;
}

double reference_mlp(const reference_params_t *params, const float *images, const uint32_t *labels, size_t batch,
                     const reference_params_t *grads)
{
    return mean_loss(mlp_example, params, images, labels, batch, grads);
}

double reference_cnn(const reference_params_t *params, const float *images, const uint32_t *labels, size_t batch,
                     const reference_params_t *grads)
{
    return mean_loss(cnn_example, params, images, labels, batch, grads);
}
