/* Error feedback with an error memory in bfloat16: cl/add_error.cl, and cl/residual.cl for what is left. */
#ifndef PSGD_OPS_FEEDBACK_H
#define PSGD_OPS_FEEDBACK_H

#include "ops/ragged.h"

typedef struct psgd_feedback psgd_feedback_t;

/* keys: of chance, by scale_index, num_keys of them; copied. `ragged`, in whose places error memories are counted in elements, outlives
 * it. Waits. */
psgd_status_t psgd_feedback_create(psgd_ragged_t *ragged, const uint32_t *keys, size_t num_keys,
                                   psgd_feedback_t **feedback_p);

/* The items have been placed. Allocate nothing.
 *   add     M = g + e, over g
 *   leave   e = M - P Q^T, rounded by chance to one of its two neighbours; p: r x rows, q: r x cols, of all items */
psgd_status_t psgd_feedback_enqueue_add(psgd_feedback_t *feedback);
psgd_status_t psgd_feedback_enqueue_leave(psgd_feedback_t *feedback, psgd_view_t p, psgd_view_t q, uint32_t step_key);

void psgd_feedback_destroy(psgd_feedback_t *feedback);

#endif
