#include "ops/matrices.h"

#include <string.h>

#include "base/memory.h"

static psgd_status_t create_ragged(psgd_device_t *device, psgd_matrices_t *matrices)
{
    psgd_ragged_item_t *items = NULL;
    psgd_status_t       status;

    status = psgd_alloc(matrices->count, sizeof(*items), "a table of matrices", &items);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < matrices->count; ++i) {
        const psgd_plan_matrix_t *matrix = &matrices->plan->matrices[matrices->indices[i]];

        items[i].rows        = (uint32_t)matrix->rows; /* the plan keeps both below 2^32 */
        items[i].cols        = (uint32_t)matrix->cols;
        items[i].r           = matrix->r;
        items[i].scale_index = (uint32_t)(matrices->plan->first_matrix + matrices->indices[i]);
        items[i].p_offset    = matrix->p_offset_elems;
        items[i].q_offset    = matrix->q_offset_elems;
    }
    status = psgd_ragged_create(device, items, matrices->count, &matrices->ragged);
    psgd_free(items);
    return status;
}

psgd_status_t psgd_matrices_create(psgd_device_t *device, const psgd_plan_t *plan, const size_t *indices, size_t count,
                                   psgd_matrices_t *matrices)
{
    psgd_status_t status;

    matrices->plan  = plan;
    matrices->count = count;
    status          = psgd_alloc(count, sizeof(*matrices->indices), "an engine's matrices", &matrices->indices);
    if (status != PSGD_OK) {
        return status;
    }
    memcpy(matrices->indices, indices, count * sizeof(*indices));
    status = psgd_alloc(count, sizeof(*matrices->grads), "a table of gradients", &matrices->grads);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*matrices->errors), "a table of error memories", &matrices->errors);
    if (status != PSGD_OK) {
        return status;
    }
    return create_ragged(device, matrices);
}

psgd_status_t psgd_matrices_create_all(psgd_device_t *device, const psgd_plan_t *plan, psgd_matrices_t *matrices)
{
    size_t       *indices = NULL;
    psgd_status_t status;

    status = psgd_alloc(plan->num_matrices, sizeof(*indices), "the indices of all matrices", &indices);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < plan->num_matrices; ++m) {
        indices[m] = m;
    }
    status = psgd_matrices_create(device, plan, indices, plan->num_matrices, matrices);
    psgd_free(indices);
    return status;
}

void psgd_matrices_destroy(psgd_matrices_t *matrices)
{
    psgd_ragged_destroy(matrices->ragged);
    psgd_free(matrices->errors);
    psgd_free(matrices->grads);
    psgd_free(matrices->indices);
    memset(matrices, 0, sizeof(*matrices));
}

psgd_status_t psgd_matrices_place(psgd_matrices_t *matrices, const psgd_step_views_t *views)
{
    for (size_t i = 0; i < matrices->count; ++i) {
        size_t m = matrices->indices[i];

        matrices->grads[i] = views->grads[m];
        if (views->errors != NULL) {
            matrices->errors[i] = views->errors[m];
        }
    }
    return psgd_ragged_place(matrices->ragged, matrices->grads, views->errors != NULL ? matrices->errors : NULL);
}

psgd_status_t psgd_matrices_place_errors(psgd_matrices_t *matrices, const psgd_step_views_t *views)
{
    for (size_t i = 0; i < matrices->count; ++i) {
        matrices->errors[i] = views->errors[matrices->indices[i]];
    }
    /* In the gradients' stead too: those of the last step may be gone by now. */
    return psgd_ragged_place(matrices->ragged, matrices->errors, matrices->errors);
}
