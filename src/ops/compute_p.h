/* Pass A: M = g + e, and P = M Q^ in the same reading. The kernels, and the forms, are those of cl/compute_p.cl. */
#ifndef PSGD_OPS_COMPUTE_P_H
#define PSGD_OPS_COMPUTE_P_H

#include "ops/ragged.h"
#include "ops/variant.h"

typedef struct psgd_compute_p psgd_compute_p_t;

/* The views of one pass; factors are those of all items, each at its item's offset. */
typedef struct psgd_compute_p_views {
    psgd_view_t q_hat;    /* in:  r x cols */
    psgd_view_t p;        /* out: r x rows */
    psgd_view_t p_before; /* in:  P^ of the step before; PSGD_FORM_LAZY */
    psgd_view_t q_before; /* in:  Q_w of the step before; PSGD_FORM_LAZY */
    psgd_view_t parts;    /* room for psgd_compute_p_part_elems() floats */
} psgd_compute_p_views_t;

/* with_product false: M alone is formed, q_hat, p and parts are not touched. `ragged` outlives it. */
psgd_status_t psgd_compute_p_create(psgd_ragged_t *ragged, psgd_form_t form, bool with_product,
                                    psgd_compute_p_t **compute_p_p);

/* What the sums of tiles take; 0: every tile has all columns. */
uint64_t psgd_compute_p_part_elems(const psgd_compute_p_t *compute_p);

/* Allocates nothing. The items have been placed. */
psgd_status_t psgd_compute_p_enqueue(psgd_compute_p_t *a, const psgd_compute_p_views_t *views);

/* PSGD_FORM_LAZY: what the error memory holds between two steps, M, becomes the error M - P^ Q_w^T itself. Whoever calls it
 * zeroes Q_w, so that the next pass finds the error as it is. */
psgd_status_t psgd_compute_p_enqueue_settle(psgd_compute_p_t *a, psgd_view_t p_before, psgd_view_t q_before);

void psgd_compute_p_destroy(psgd_compute_p_t *a);

#endif
