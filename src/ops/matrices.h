/* The matrices of an engine, as items of ragged launches. */
#ifndef PSGD_OPS_MATRICES_H
#define PSGD_OPS_MATRICES_H

#include "ops/engine.h"
#include "ops/ragged.h"

typedef struct psgd_matrices {
    const psgd_plan_t *plan;
    size_t            *indices; /* in plan->matrices, rising */
    size_t             count;
    psgd_ragged_t     *ragged;
    psgd_view_t       *grads, *errors; /* by item, as handed to psgd_ragged_place() */
} psgd_matrices_t;

/* `count` indices, copied. `plan` outlives it. What was made before a failure is freed by psgd_matrices_destroy(). */
psgd_status_t psgd_matrices_create(psgd_device_t *device, const psgd_plan_t *plan, const size_t *indices, size_t count,
                                   psgd_matrices_t *matrices);

/* The same for all matrices of the plan, in its order. */
psgd_status_t psgd_matrices_create_all(psgd_device_t *device, const psgd_plan_t *plan, psgd_matrices_t *matrices);
void psgd_matrices_destroy(psgd_matrices_t *matrices);

/* Where they lie in this step. */
psgd_status_t psgd_matrices_place(psgd_matrices_t *matrices, const psgd_step_views_t *views);

/* Their error memories alone, for work on these between steps; the next step places anew. views->grads is not read. */
psgd_status_t psgd_matrices_place_errors(psgd_matrices_t *matrices, const psgd_step_views_t *views);

#endif
