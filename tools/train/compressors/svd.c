/* The best approximation of rank r: the r largest singular values and their vectors. */
#include "factors.h"

static size_t scratch_words(const compressor_matrix_t *matrix)
{
    return singular_scratch_words(matrix->rows, matrix->cols);
}

static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    singular_t    singular;
    tool_status_t status = singular_decompose(values, matrix->rows, matrix->cols, scratch, &singular);

    (void)draw;
    for (size_t k = 0; k < matrix->rank && status == TOOL_OK; ++k) {
        factors_put(matrix, &singular, k, 1.0, k, message);
    }
    return status;
}

const compressor_ops_t svd_ops = {"SVD",  COMPRESSOR_GATHERS, COMPRESSOR_ERROR, factors_words, scratch_words,
                                  encode, factors_decode};
