/* Messages that are two factors: P (rows x r), and behind it Q (cols x r), each column by column. They say P Q^T. */
#ifndef PSGD_TRAIN_FACTORS_H
#define PSGD_TRAIN_FACTORS_H

#include "compressor.h"
#include "singular.h"

size_t factors_words(const compressor_matrix_t *matrix);

/* Column `column` of the factors: P's is weight x singular value x left singular vector, Q's the right singular vector, of triple
 * number `index`. */
void factors_put(const compressor_matrix_t *matrix, const singular_t *singular, size_t index, double weight,
                 size_t column, uint32_t *message);

/* compressor_ops_t.decode. */
void factors_decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                    float scale, uint32_t *scratch, float *sum);

#endif
