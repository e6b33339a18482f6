/* What an LSTM has to beat: a model that knows nothing but the word before.
 *
 * Kneser-Ney's, interpolated (Chen and Goodman 1999, section 2.7), with the discounts estimated from the training part, in double
 * precision. c(v w): how often w follows v; N(v .): words that follow v; N(. w): words that w follows; N(. .): pairs.
 *
 *   P(w | v) = (max(c(v w) - D, 0) + D N(v .) P(w)) / c(v)          D  = n1 / (n1 + 2 n2), of the c(v w)
 *   P(w)     = (max(N(. w) - D', 0) + D' words / vocabulary) / N(. .)   D' the same of the N(. w); words: those with N(. w) > 0
 *
 * Before the first word stands an end of sentence. P(w | v) = P(w) for a v that training does not have. */
#ifndef PSGD_TRAIN_BIGRAM_H
#define PSGD_TRAIN_BIGRAM_H

#include "text.h"

/* exp of the mean of -log P over the held-out words. */
tool_status_t bigram_perplexity(const text_t *text, double *perplexity_p);

#endif
