#include "singular.h"

#include <string.h>

#include <lapacke.h>

const bool singular_is_available = true;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A copy of M, which LAPACK destroys, and the three results. What it works in LAPACKE allocates. */
size_t singular_scratch_words(size_t rows, size_t cols)
{
    size_t count = smaller(rows, cols);

    return rows * cols + count + rows * count + count * cols;
}

/* LAPACKE's row-major form would transpose everything twice. Row-major M is column-major M^T = right^T diag(values) left^T, whose
 * left singular vectors in columns are `right` in rows, and the other way round. */
tool_status_t singular_decompose(const float *values, size_t rows, size_t cols, uint32_t *scratch,
                                 singular_t *singular_p)
{
    size_t     count = smaller(rows, cols);
    float     *copy  = (float *)(void *)scratch;
    float     *sizes = copy + rows * cols;
    float     *left  = sizes + count;
    float     *right = left + rows * count;
    lapack_int result;

    memcpy(copy, values, rows * cols * sizeof(*copy));
    result = LAPACKE_sgesdd(LAPACK_COL_MAJOR, 'S', (lapack_int)cols, (lapack_int)rows, copy, (lapack_int)cols, sizes,
                            right, (lapack_int)cols, left, (lapack_int)count);
    if (result != 0) {
        return tool_fail(TOOL_FAILED,
                         "the singular values of a %zu x %zu gradient were not found (LAPACK's sgesdd: %d)", rows, cols,
                         (int)result);
    }
    *singular_p = (singular_t){count, sizes, left, right};
    return TOOL_OK;
}
