/* The language model of psgd-train written down naively, in double precision, one stream and one word at a time. It has no
 * backward pass: gradients are differences of its losses. */
#ifndef PSGD_TESTS_CLI_LSTM_REFERENCE_H
#define PSGD_TESTS_CLI_LSTM_REFERENCE_H

#include <stddef.h>
#include <stdint.h>

enum { LSTM_REFERENCE_MAX_TENSORS = 9, LSTM_REFERENCE_MAX_UNITS = 64, LSTM_REFERENCE_MAX_WORDS = 256 };

/* Of a model: sizes, and its tensors, row-major: embedding; of two layers W_ih, W_hh, bias; the softmax's weight
 * (NULL: tied) and bias. */
typedef struct lstm_reference {
    size_t  vocabulary, embedding, hidden, streams, places;
    double *tensors[LSTM_REFERENCE_MAX_TENSORS];
} lstm_reference_t;

/* The sum of the cross-entropies of a batch (words and targets: place * streams + stream; a target of UINT32_MAX asks for
 * nothing), which begins with `state` and leaves it as it ends: for each layer h, then c, streams x hidden. */
double lstm_reference_loss(const lstm_reference_t *model, const uint32_t *words, const uint32_t *targets,
                           double *state);

#endif
