/* A run of a plan's tensors as a plan of its own. */
#ifndef PSGD_PLAN_SLICE_H
#define PSGD_PLAN_SLICE_H

#include "plan/plan.h"

/* Into how many runs the tensors of `plan` are divided where each shall have at least bucket_bytes of gradients, but for the one that
 * begins with tensor 0: a backward pass has the last tensor's gradient first, and so runs are filled from there. No bound (0), or a
 * flattened gradient: one. firsts_p: NULL, or room for num_given numbers; firsts_p[k] is the first tensor of run k, in rising order. */
size_t psgd_plan_divide(const psgd_plan_t *plan, uint64_t bucket_bytes, size_t *firsts_p);

/* Tensors first to first + count - 1 of a plan without a flattened gradient: indices and offsets begin at 0, names stay the plan's, which
 * outlives it. Freed by psgd_plan_slice_destroy(). */
psgd_status_t psgd_plan_slice(const psgd_plan_t *plan, size_t first, size_t count, psgd_plan_t **slice_p);
void          psgd_plan_slice_destroy(psgd_plan_t *slice);

#endif
