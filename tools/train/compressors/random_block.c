/* Random block: of each matrix a run of elements, which begins at a random one and goes on behind the last with the first. The start
 * is the same on all workers, so that their runs can be added up. */
#include "compressor.h"

static size_t no_words(const compressor_matrix_t *matrix)
{
    (void)matrix;
    return 0;
}

/* Where this step's run begins; 0 where it holds the whole matrix. */
static size_t first_of(const compressor_matrix_t *matrix, const compressor_draw_t *draw)
{
    size_t          elems  = matrix->rows * matrix->cols;
    random_stream_t stream = compressor_common_stream(matrix, draw);

    return compressor_budget(matrix) == elems ? 0 : random_below(&stream, (uint32_t)elems);
}

static tool_status_t encode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const float *values,
                            uint32_t *scratch, uint32_t *message)
{
    size_t elems = matrix->rows * matrix->cols;
    size_t first = first_of(matrix, draw);

    (void)scratch;
    for (size_t i = 0; i < compressor_budget(matrix); ++i) {
        compressor_put(&message[i], values[(first + i) % elems]);
    }
    return TOOL_OK;
}

static void decode(const compressor_matrix_t *matrix, const compressor_draw_t *draw, const uint32_t *message,
                   float scale, uint32_t *scratch, float *sum)
{
    size_t elems = matrix->rows * matrix->cols;
    size_t first = first_of(matrix, draw);

    (void)scratch;
    for (size_t i = 0; i < compressor_budget(matrix); ++i) {
        sum[(first + i) % elems] += scale * compressor_get(&message[i]);
    }
}

const compressor_ops_t random_block_ops = {
    "random block", COMPRESSOR_SUMS, COMPRESSOR_ERROR, compressor_budget, no_words, encode, decode};
