/* Signs as bits, 32 in a word: 1 where a number is negative. A zero, of either sign, counts as positive. */
#ifndef PSGD_TRAIN_SIGNS_H
#define PSGD_TRAIN_SIGNS_H

#include <stddef.h>
#include <stdint.h>

size_t signs_words(size_t count);

/* words[0 .. signs_words(count)); bits behind the last sign are 0. */
void signs_pack(const float *values, size_t count, uint32_t *words);

/* sum[i] += or -= magnitude, as the sign says. */
void signs_add(const uint32_t *words, size_t count, float magnitude, float *sum);

#endif
