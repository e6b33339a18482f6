/* Random K: of each matrix K elements, each set of K equally likely. The set is the same on all workers, so that what they
 * send can be added up. */
#include "compressor.h"

static size_t scratch_words(const compressor_matrix_t *matrix)
{
    return matrix->rows * matrix->cols;
}

/* places[0 .. K): this step's elements, by the first K exchanges of a shuffle of all. */
static void draw_places(const compressor_matrix_t *matrix, const compressor_draw_t *draw, uint32_t *places)
{
    random_stream_t stream = compressor_common_stream(matrix, draw);
    uint32_t        elems  = (uint32_t)(matrix->rows * matrix->cols);
    uint32_t        count  = (uint32_t)compressor_budget(matrix);

    for (uint32_t i = 0; i < elems; ++i) {
        places[i] = i;
    }
    for (uint32_t i = 0; i < count && count < elems; ++i) {
        uint32_t chosen = i + random_below(&stream, elems - i);
        uint32_t place  = places[chosen];

        places[chosen] = places[i];
        places[i]      = place;
    }
}

static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    draw_places(matrix, draw, scratch);
    for (size_t i = 0; i < compressor_budget(matrix); ++i) {
        compressor_put(&message[i], values[scratch[i]]);
    }
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    draw_places(matrix, draw, scratch);
    for (size_t i = 0; i < compressor_budget(matrix); ++i) {
        sum[scratch[i]] += scale * compressor_get(&message[i]);
    }
}

const compressor_ops_t random_k_ops = {"random K", COMPRESSOR_SUMS, COMPRESSOR_ERROR, compressor_budget, scratch_words,
                                       encode,     decode};
