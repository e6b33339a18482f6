#include "plan/slice.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"

static uint64_t gradient_bytes(const psgd_plan_tensor_t *tensor)
{
    return tensor->elems * psgd_dtype_bytes(tensor->dtype);
}

size_t psgd_plan_divide(const psgd_plan_t *plan, uint64_t bucket_bytes, size_t *firsts_p)
{
    const bool is_whole = (bucket_bytes == 0) || (plan->num_tensors > plan->num_given);
    size_t     count    = 0;
    uint64_t   bytes    = 0;

    for (size_t i = plan->num_given; i-- > 0;) {
        bytes += gradient_bytes(&plan->tensors[i]);
        if ((i > 0) && (is_whole || (bytes < bucket_bytes))) {
            continue;
        }
        if (firsts_p != NULL) {
            memmove(firsts_p + 1, firsts_p, count * sizeof(*firsts_p));
            firsts_p[0] = i;
        }
        count += 1;
        bytes = 0;
    }
    return count;
}

/* ---- a slice ---- */

/* Matrices of the tensors before this one. */
static size_t matrices_before(const psgd_plan_t *plan, size_t tensor)
{
    size_t count = 0;

    while ((count < plan->num_matrices) && (plan->matrices[count].tensor_index < tensor)) {
        count += 1;
    }
    return count;
}

/* One more matrix, as it was but for where it lies. */
static void add_matrix(psgd_plan_t *slice, const psgd_plan_matrix_t *matrix, size_t first_tensor)
{
    psgd_plan_matrix_t *own = &slice->matrices[slice->num_matrices++];

    *own = *matrix;
    own->tensor_index -= first_tensor;
    own->p_offset_elems = slice->p_elems;
    own->q_offset_elems = slice->q_elems;
    slice->p_elems += matrix->rows * matrix->r;
    slice->q_elems += matrix->cols * matrix->r;
    slice->matrix_elems += matrix->rows * matrix->cols;
}

/* One more tensor, with its matrices. */
static void add_tensor(psgd_plan_t *slice, const psgd_plan_t *plan, size_t index, size_t first_tensor)
{
    psgd_plan_tensor_t *own = &slice->tensors[index - first_tensor];

    *own = plan->tensors[index];
    slice->total_elems += own->elems;
    if (own->route == PSGD_ROUTE_SMALL) {
        own->offset_elems = slice->small_elems;
        slice->small_elems += own->elems;
    } else if (own->route == PSGD_ROUTE_LARGE) {
        own->offset_elems = slice->large_elems;
        slice->large_elems += own->elems;
    } else {
        size_t first_matrix = own->matrix_index;

        own->matrix_index = slice->num_matrices;
        for (uint64_t b = 0; b < own->view.batch; ++b) {
            add_matrix(slice, &plan->matrices[first_matrix + b], first_tensor);
        }
    }
}

psgd_status_t psgd_plan_slice(const psgd_plan_t *plan, size_t first, size_t count, psgd_plan_t **slice_p)
{
    psgd_plan_t  *slice  = NULL;
    psgd_status_t status = psgd_alloc(1, sizeof(*slice), "a part of the plan", &slice);

    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*slice->tensors), "the tensors of a part of the plan", &slice->tensors);
    if (status == PSGD_OK) {
        slice->first_matrix = matrices_before(plan, first);
        status = psgd_alloc(matrices_before(plan, first + count) - slice->first_matrix, sizeof(*slice->matrices),
                            "the matrices of a part of the plan", &slice->matrices);
    }
    if (status != PSGD_OK) {
        psgd_plan_slice_destroy(slice);
        return status;
    }
    slice->num_given = slice->num_tensors = count;
    for (size_t i = first; i < first + count; ++i) {
        add_tensor(slice, plan, i, first);
    }
    slice->compressed_elems = slice->p_elems + slice->q_elems + slice->small_elems + slice->large_elems;
    *slice_p                = slice;
    return PSGD_OK;
}

void psgd_plan_slice_destroy(psgd_plan_t *slice)
{
    if (slice != NULL) {
        psgd_free(slice->matrices);
        psgd_free(slice->tensors);
        psgd_free(slice);
    }
}
