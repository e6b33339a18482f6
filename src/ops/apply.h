/* The optimizer's step on parameters, from the factors of an update or from an array: cl/apply.cl. */
#ifndef PSGD_OPS_APPLY_H
#define PSGD_OPS_APPLY_H

#include "ops/ragged.h"

typedef struct psgd_rule_numbers {
    float minus_rate;
    float lambda;
    float decay;
} psgd_rule_numbers_t;

typedef struct psgd_apply psgd_apply_t;

/* from_factors: the items are matrices; else tensors of one row, whose updates lie in an array, at p_offset. `ragged`, in whose
 * places the parameters lie where gradients do and momenta where error memories do, outlives it. */
psgd_status_t psgd_apply_create(psgd_ragged_t *ragged, bool from_factors, psgd_rule_t rule, bool has_momentum,
                                psgd_apply_t **apply_p);

/* Of all items, which have been placed. update_scales as psgd_decompress_views_t has them. Allocate nothing. */
psgd_status_t psgd_apply_enqueue_factors(psgd_apply_t *apply, psgd_view_t p, psgd_view_t q, psgd_view_t update_scales,
                                         psgd_rule_numbers_t numbers);
psgd_status_t psgd_apply_enqueue_values(psgd_apply_t *apply, psgd_view_t updates, psgd_rule_numbers_t numbers);

/* Parameters rounded to half precision, for items of one row: in the places of `ragged` those lie where gradients do, offsets in
 * units of theirs, and the parameters where error memories do. */
psgd_status_t psgd_apply_enqueue_narrow(psgd_apply_t *apply);

void psgd_apply_destroy(psgd_apply_t *apply);

#endif
