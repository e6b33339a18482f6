#include "factors.h"

size_t factors_words(const compressor_matrix_t *matrix)
{
    return (matrix->rows + matrix->cols) * matrix->rank;
}

void factors_put(const compressor_matrix_t *matrix, const singular_t *singular, size_t index, double weight,
                 size_t column, uint32_t *message)
{
    uint32_t    *p    = &message[column * matrix->rows];
    uint32_t    *q    = &message[matrix->rank * matrix->rows + column * matrix->cols];
    const double size = weight * (double)singular->values[index];

    for (size_t i = 0; i < matrix->rows; ++i) {
        compressor_put(&p[i], (float)(size * (double)singular->left[i * singular->count + index]));
    }
    for (size_t j = 0; j < matrix->cols; ++j) {
        compressor_put(&q[j], singular->right[index * matrix->cols + j]);
    }
}

void factors_decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                    float scale, uint32_t *scratch, float *sum)
{
    const uint32_t *qs = &message[matrix->rank * matrix->rows];

    (void)draw;
    (void)scratch;
    for (size_t i = 0; i < matrix->rows; ++i) {
        for (size_t k = 0; k < matrix->rank; ++k) {
            float           p = scale * compressor_get(&message[k * matrix->rows + i]);
            const uint32_t *q = &qs[k * matrix->cols];

            for (size_t j = 0; j < matrix->cols; ++j) {
                sum[i * matrix->cols + j] += p * compressor_get(&q[j]);
            }
        }
    }
}
