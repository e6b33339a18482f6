/* Spectral Atomo (Wang et al. 2018): which singular values are sent, and with what weight. */
#ifndef PSGD_TRAIN_ATOMO_H
#define PSGD_TRAIN_ATOMO_H

#include <stddef.h>

#include "random.h"

/* How many values are sent for certain; *scale_p: value i of the others with probability p_i = scale values[i] < 1, so that all
 * probabilities add up to `wanted`, or to the number of those that are not 0 where there are no more. This is the variance's minimum.
 * values[0 .. count): falling, none negative. 1 <= wanted <= count. */
size_t atomo_fill(const float *values, size_t count, size_t wanted, double *scale_p);

/* picked[0 .. *returned*), at most `wanted`: the values drawn, rising; each value i is among them with its probability p_i. */
size_t atomo_pick(const float *values, size_t count, size_t wanted, random_stream_t *stream, size_t *picked);

#endif
