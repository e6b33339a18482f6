/* What a piece P Q^T leaves of M, over M or into the error memory: cl/residual.cl. */
#ifndef PSGD_OPS_RESIDUAL_H
#define PSGD_OPS_RESIDUAL_H

#include "ops/ragged.h"

typedef struct psgd_residual psgd_residual_t;

/* into_error false: M -= P Q^T, in the gradients' buffers; true: e = M - P Q^T, and M stays. `ragged` outlives it. */
psgd_status_t psgd_residual_create(psgd_ragged_t *ragged, bool into_error, psgd_residual_t **residual_p);

/* p: r x rows, q: r x cols, of all items, each at its item's offset. Allocates nothing. The items have been placed. */
psgd_status_t psgd_residual_enqueue(psgd_residual_t *residual, psgd_view_t p, psgd_view_t q);

void psgd_residual_destroy(psgd_residual_t *residual);

#endif
