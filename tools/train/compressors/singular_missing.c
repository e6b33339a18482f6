/* In place of singular.c where there is no LAPACKE. */
#include "singular.h"

const bool singular_is_available = false;

size_t singular_scratch_words(size_t rows, size_t cols)
{
    (void)rows;
    (void)cols;
    return 0;
}

tool_status_t singular_decompose(const float *values, size_t rows, size_t cols, uint32_t *scratch,
                                 singular_t *singular_p)
{
    (void)values;
    (void)scratch;
    (void)singular_p;
    return tool_fail(TOOL_FAILED, "no singular values of a %zu x %zu gradient: built without LAPACKE", rows, cols);
}
