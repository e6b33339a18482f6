/* Signum (Bernstein et al. 2019): the sign of each element of the momentum. The sum over the workers is a vote; whose sign is the
 * update, where it is not a draw. */
#include "compressor.h"
#include "signs.h"

static size_t no_words(const compressor_matrix_t *matrix)
{
    (void)matrix;
    return 0;
}

static size_t message_words(const compressor_matrix_t *matrix)
{
    return signs_words(matrix->rows * matrix->cols);
}

static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    (void)draw;
    (void)scratch;
    signs_pack(values, matrix->rows * matrix->cols, message);
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    (void)draw;
    (void)scratch;
    signs_add(message, matrix->rows * matrix->cols, scale, sum);
}

const compressor_ops_t signum_ops = {"Signum", COMPRESSOR_GATHERS, COMPRESSOR_MOMENTUM, message_words, no_words, encode,
                                     decode};
