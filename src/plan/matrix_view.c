#include "plan/matrix_view.h"

#include <inttypes.h>

#include "base/status.h"

static const uint64_t MAX_BATCH = (UINT64_C(1) << 20) - 1;

typedef struct axis {
    uint64_t extent, stride;
} axis_t;

enum { NUM_AXES = 3 };

bool psgd_matrix_view_is_default(const psgd_matrix_view_t *view)
{
    return (view->batch == 0) && (view->rows == 0) && (view->cols == 0) && (view->batch_stride == 0) &&
           (view->row_stride == 0) && (view->col_stride == 0);
}

psgd_matrix_view_t psgd_matrix_view_of_matrix(uint64_t rows, uint64_t cols)
{
    return (psgd_matrix_view_t){1, rows, cols, rows * cols, cols, 1};
}

/* Rising strides. */
static void sort_axes(axis_t axes[NUM_AXES])
{
    for (int end = NUM_AXES - 1; end > 0; --end) {
        for (int i = 0; i < end; ++i) {
            if (axes[i].stride > axes[i + 1].stride) {
                axis_t larger = axes[i];

                axes[i]     = axes[i + 1];
                axes[i + 1] = larger;
            }
        }
    }
}

/* Whether the axes that matter nest without gaps or overlaps: each stride is the product of the extents within it. */
static bool axes_nest(axis_t axes[NUM_AXES])
{
    uint64_t within = 1;

    sort_axes(axes);
    for (int i = 0; i < NUM_AXES; ++i) {
        if (axes[i].extent == 1) {
            continue;
        }
        if (axes[i].stride != within) {
            return false;
        }
        within *= axes[i].extent;
    }
    return true;
}

psgd_status_t psgd_matrix_view_check(const psgd_matrix_view_t *view, uint64_t elems)
{
    axis_t axes[NUM_AXES] = {
        {view->batch, view->batch_stride}, {view->rows, view->row_stride}, {view->cols, view->col_stride}};

    if ((view->batch == 0) || (view->rows == 0) || (view->cols == 0) || (view->batch > MAX_BATCH)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "its view is %" PRIu64 " matrices of %" PRIu64 " x %" PRIu64
                         "; none may be 0 (or all fields of the view), and the batch is below 2^20",
                         view->batch, view->rows, view->cols);
    }
    if ((view->batch != elems / view->rows / view->cols) || (view->batch * view->rows * view->cols != elems)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "its view is %" PRIu64 " matrices of %" PRIu64 " x %" PRIu64 ", but it has %" PRIu64
                         " elements",
                         view->batch, view->rows, view->cols, elems);
    }
    if (!axes_nest(axes)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "its view has strides %" PRIu64 " (batch of %" PRIu64 "), %" PRIu64 " (%" PRIu64
                         " rows) and %" PRIu64 " (%" PRIu64
                         " columns), which do not cover each element once: sorted, they are "
                         "1 and then each the one before times its extent",
                         view->batch_stride, view->batch, view->row_stride, view->rows, view->col_stride, view->cols);
    }
    return PSGD_OK;
}

bool psgd_matrix_view_is_contiguous(const psgd_matrix_view_t *view)
{
    return ((view->cols == 1) || (view->col_stride == 1)) && ((view->rows == 1) || (view->row_stride == view->cols)) &&
           ((view->batch == 1) || (view->batch_stride == view->rows * view->cols));
}

psgd_matrix_view_t psgd_matrix_view_transposed(const psgd_matrix_view_t *view)
{
    return (psgd_matrix_view_t){view->batch,        view->cols,       view->rows,
                                view->batch_stride, view->col_stride, view->row_stride};
}

uint64_t psgd_matrix_view_element(const psgd_matrix_view_t *view, uint64_t b, uint64_t i, uint64_t j)
{
    return b * view->batch_stride + i * view->row_stride + j * view->col_stride;
}
