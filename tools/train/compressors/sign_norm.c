/* Sign and norm: the sign of each element, and the mean of their magnitudes, |M|_1 / (rows cols), which all of them get. */
#include <math.h>

#include "compressor.h"
#include "signs.h"

static size_t no_words(const compressor_matrix_t *matrix)
{
    (void)matrix;
    return 0;
}

/* The mean, and behind it the signs. */
static size_t message_words(const compressor_matrix_t *matrix)
{
    return 1 + signs_words(matrix->rows * matrix->cols);
}

static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    size_t elems = matrix->rows * matrix->cols;
    double norm  = 0.0;

    (void)draw;
    (void)scratch;
    for (size_t i = 0; i < elems; ++i) {
        norm += fabs((double)values[i]);
    }
    compressor_put(&message[0], (float)(norm / (double)elems));
    signs_pack(values, elems, &message[1]);
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    (void)draw;
    (void)scratch;
    signs_add(&message[1], matrix->rows * matrix->cols, scale * compressor_get(&message[0]), sum);
}

const compressor_ops_t sign_norm_ops = {
    "sign + norm", COMPRESSOR_GATHERS, COMPRESSOR_ERROR, message_words, no_words, encode, decode};
