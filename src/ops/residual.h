/* What a piece P Q^T leaves of M, over M or into the error memory: cl/residual.cl. */
#ifndef PSGD_OPS_RESIDUAL_H
#define PSGD_OPS_RESIDUAL_H

#include "ops/ragged.h"
#include "ops/rounding.h"

typedef struct psgd_residual psgd_residual_t;

/* Where M - P Q^T goes. */
typedef enum psgd_residual_target {
    PSGD_RESIDUAL_OVER_M     = 0, /* M -= P Q^T, in the gradients' buffers */
    PSGD_RESIDUAL_INTO_ERROR = 1, /* e = M - P Q^T, and M stays */
    PSGD_RESIDUAL_INTO_BFLOAT =
        2 /* the same, rounded by chance to bfloat16; in places error memories are counted in elements */
} psgd_residual_target_t;

/* `ragged` outlives it. */
psgd_status_t psgd_residual_create(psgd_ragged_t *ragged, psgd_residual_target_t target, psgd_residual_t **residual_p);

/* p: r x rows, q: r x cols, of all items, each at its item's offset; rounding: of PSGD_RESIDUAL_INTO_BFLOAT. Allocates nothing. The
 * items have been placed. */
psgd_status_t psgd_residual_enqueue(psgd_residual_t *residual, psgd_view_t p, psgd_view_t q, psgd_rounding_t rounding);

void psgd_residual_destroy(psgd_residual_t *residual);

#endif
