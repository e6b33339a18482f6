#include "compressor.h"

#include <string.h>

#include "singular.h"

const char *const compressor_words[] = {"powersgd", "random-block", "random-k", "sign-norm", "top-k",
                                        "signum",   "atomo",        "svd",      "unbiased",  NULL};

static const compressor_ops_t *const table[NUM_COMPRESSORS] = {
    [COMPRESSOR_RANDOM_BLOCK] = &random_block_ops,
    [COMPRESSOR_RANDOM_K]     = &random_k_ops,
    [COMPRESSOR_SIGN_NORM]    = &sign_norm_ops,
    [COMPRESSOR_TOP_K]        = &top_k_ops,
    [COMPRESSOR_SIGNUM]       = &signum_ops,
    [COMPRESSOR_ATOMO]        = &atomo_ops,
    [COMPRESSOR_SVD]          = &svd_ops,
    [COMPRESSOR_UNBIASED]     = &unbiased_ops,
};

const compressor_ops_t *compressor_find(compressor_t compressor)
{
    return table[compressor];
}

bool compressor_keeps_momentum(compressor_t compressor)
{
    return table[compressor] != NULL && table[compressor]->memory == COMPRESSOR_MOMENTUM;
}

tool_status_t compressor_check(compressor_t compressor)
{
    bool needs_svd = compressor == COMPRESSOR_ATOMO || compressor == COMPRESSOR_SVD;

    return needs_svd && !singular_is_available
               ? tool_fail(TOOL_FAILED,
                           "--compressor %s needs LAPACKE, which this psgd-train was built without; install "
                           "liblapacke-dev and configure and build again",
                           compressor_words[compressor])
               : TOOL_OK;
}

size_t compressor_budget(const compressor_matrix_t *matrix)
{
    size_t elems = matrix->rows * matrix->cols;
    size_t sent  = matrix->rank * (matrix->rows + matrix->cols);

    return sent < elems ? sent : elems;
}

random_stream_t compressor_common_stream(const compressor_matrix_t *matrix, const compressor_draw_t *draw)
{
    return random_stream(draw->seed, random_mix(matrix->key ^ random_mix(draw->step)));
}

void compressor_put(uint32_t *word, float number)
{
    memcpy(word, &number, sizeof(number));
}

float compressor_get(const uint32_t *word)
{
    float number;

    memcpy(&number, word, sizeof(number));
    return number;
}
