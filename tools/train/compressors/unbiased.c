/* Unbiased rank r: M U, where the elements of U (cols x r) are +-1/sqrt(r), each sign equally likely: E[U U^T] = I, so that
 * (M U) U^T is M on average. U is the same on all workers: M U is linear in M, and can be added up. rows x r numbers are sent. */
#include <math.h>

#include "compressor.h"

static size_t message_words(const compressor_matrix_t *matrix)
{
    return matrix->rows * matrix->rank;
}

static size_t scratch_words(const compressor_matrix_t *matrix)
{
    return matrix->cols * matrix->rank;
}

/* u: U, column by column, without its factor 1/sqrt(r). */
static void draw_signs(const compressor_matrix_t *matrix, const compressor_draw_t *draw, uint32_t *u)
{
    random_stream_t stream = compressor_common_stream(matrix, draw);
    uint64_t        bits   = 0;

    for (size_t i = 0; i < scratch_words(matrix); ++i) {
        bits = i % 64 == 0 ? random_next(&stream) : bits >> 1;
        compressor_put(&u[i], (bits & 1) != 0 ? -1.0f : 1.0f);
    }
}

/* (row of M) (column of U), times sqrt(r). */
static double dot(const float *row, const uint32_t *column, size_t cols)
{
    double sum = 0.0;

    for (size_t j = 0; j < cols; ++j) {
        sum += (double)row[j] * (double)compressor_get(&column[j]);
    }
    return sum;
}

/* The message: M U, column by column. */
static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    const double factor = 1.0 / sqrt((double)matrix->rank);

    draw_signs(matrix, draw, scratch);
    for (size_t k = 0; k < matrix->rank; ++k) {
        for (size_t i = 0; i < matrix->rows; ++i) {
            double number = dot(&values[i * matrix->cols], &scratch[k * matrix->cols], matrix->cols);

            compressor_put(&message[k * matrix->rows + i], (float)(factor * number));
        }
    }
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    const float factor = scale / sqrtf((float)matrix->rank);

    draw_signs(matrix, draw, scratch);
    for (size_t i = 0; i < matrix->rows; ++i) {
        for (size_t k = 0; k < matrix->rank; ++k) {
            const uint32_t *column = &scratch[k * matrix->cols];
            float           number = factor * compressor_get(&message[k * matrix->rows + i]);

            for (size_t j = 0; j < matrix->cols; ++j) {
                sum[i * matrix->cols + j] += number * compressor_get(&column[j]);
            }
        }
    }
}

const compressor_ops_t unbiased_ops = {"unbiased", COMPRESSOR_SUMS, COMPRESSOR_NO_MEMORY, message_words, scratch_words,
                                       encode,     decode};
