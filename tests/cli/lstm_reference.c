#include "lstm_reference.h"

#include <math.h>
#include <string.h>

/* y = W x + y; W: rows x cols */
static void add_product(const double *w, const double *x, size_t rows, size_t cols, double *y)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t k = 0; k < cols; ++k) {
            y[i] += w[i * cols + k] * x[k];
        }
    }
}

static double squash(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* One layer at one place: from x, h and c to the next h and c. Torch's nn.LSTM, with 1 added to the forget gate's sum. */
static void cell(const double *w_ih, const double *w_hh, const double *bias, const double *x, size_t inputs,
                 size_t hidden, double *h, double *c)
{
    double sums[4 * LSTM_REFERENCE_MAX_UNITS];

    memcpy(sums, bias, 4 * hidden * sizeof(*sums));
    add_product(w_ih, x, 4 * hidden, inputs, sums);
    add_product(w_hh, h, 4 * hidden, hidden, sums);
    for (size_t k = 0; k < hidden; ++k) {
        const double in = squash(sums[k]), keep = squash(sums[hidden + k] + 1.0), what = tanh(sums[2 * hidden + k]);

        c[k] = keep * c[k] + in * what;
        h[k] = squash(sums[3 * hidden + k]) * tanh(c[k]);
    }
}

static double cross_entropy(const double *logits, size_t words, uint32_t target)
{
    double sum = 0.0;

    for (size_t w = 0; w < words; ++w) {
        sum += exp(logits[w]);
    }
    return log(sum) - logits[target];
}

/* What the model says behind one word: its loss. h and c: of both layers. */
static double say(const lstm_reference_t *model, uint32_t word, uint32_t target, double *const h[2], double *const c[2])
{
    double *const *p      = model->tensors;
    const double  *table  = p[0];
    const double  *weight = p[7] != NULL ? p[7] : table;
    double         logits[LSTM_REFERENCE_MAX_WORDS];

    cell(p[1], p[2], p[3], table + word * model->embedding, model->embedding, model->hidden, h[0], c[0]);
    cell(p[4], p[5], p[6], h[0], model->hidden, model->hidden, h[1], c[1]);
    memcpy(logits, p[8], model->vocabulary * sizeof(*logits));
    add_product(weight, h[1], model->vocabulary, model->hidden, logits);
    return target == UINT32_MAX ? 0.0 : cross_entropy(logits, model->vocabulary, target);
}

double lstm_reference_loss(const lstm_reference_t *model, const uint32_t *words, const uint32_t *targets, double *state)
{
    const size_t layer = 2 * model->streams * model->hidden;
    double       loss  = 0.0;

    for (size_t b = 0; b < model->streams; ++b) {
        double *const h[2] = {state + b * model->hidden, state + layer + b * model->hidden};
        double *const c[2] = {h[0] + layer / 2, h[1] + layer / 2};

        for (size_t t = 0; t < model->places; ++t) {
            loss += say(model, words[t * model->streams + b], targets[t * model->streams + b], h, c);
        }
    }
    return loss;
}
