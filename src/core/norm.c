/* Every worker holds the same Qbar and the same means of uncompressed tensors, and
 *
 *     |P^ Qbar^T| = |Qbar|        since the columns of P^ are orthonormal
 *
 * so that the norm takes a pass over factors and none over N; and a clipped update is one that is made from a smaller Qbar. The
 * arithmetic is the host's, in one order: the same bits on all workers. */
#include "core/norm.h"

#include <math.h>

#include "base/vectorize.h"

enum { LANES = 8 };

bool psgd_norm_is_wanted(const psgd_reducer_t *r)
{
    return r->config.max_norm > 0.0;
}

/* Lane i adds up every LANES-th square, from i on. */
PSGD_VECTORIZE
static void add_squares(const float *values, size_t elems, double sums[LANES])
{
    size_t whole = elems / LANES * LANES;

    for (size_t at = 0; at < whole; at += LANES) {
        for (size_t lane = 0; lane < LANES; ++lane) {
            double x = (double)values[at + lane];

            sums[lane] += x * x;
        }
    }
    for (size_t at = whole; at < elems; ++at) {
        sums[at - whole] += (double)values[at] * (double)values[at];
    }
}

double psgd_norm_square(const float *values, size_t elems)
{
    double sums[LANES] = {0.0};
    double sum         = 0.0;

    add_squares(values, elems, sums);
    for (size_t lane = 0; lane < LANES; ++lane) {
        sum += sums[lane];
    }
    return sum;
}

void psgd_norm_take(psgd_reducer_t *r, double square)
{
    r->step.update_norm = sqrt(square);
    r->step.clip = r->step.update_norm > r->config.max_norm ? (float)(r->config.max_norm / r->step.update_norm) : 1.0f;
}

PSGD_VECTORIZE
static void multiply(const float *values, float *to, size_t elems, float factor)
{
    for (size_t i = 0; i < elems; ++i) {
        to[i] = values[i] * factor;
    }
}

void psgd_norm_clip(const psgd_reducer_t *r, const float *values, float *to, size_t elems)
{
    if ((r->step.clip < 1.0f) || (to != values)) {
        multiply(values, to, elems, r->step.clip);
    }
}
