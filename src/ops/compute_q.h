/* Pass B: Q_w = M^T P^ in one reading of M. The kernel is cl/compute_q.cl. */
#ifndef PSGD_OPS_COMPUTE_Q_H
#define PSGD_OPS_COMPUTE_Q_H

#include "ops/ragged.h"
#include "ops/variant.h"

typedef struct psgd_compute_q psgd_compute_q_t;

/* M lies in the gradients' buffers, or in the error memory (PSGD_FORM_LAZY). `ragged` outlives it. */
psgd_status_t psgd_compute_q_create(psgd_ragged_t *ragged, psgd_form_t form, psgd_compute_q_t **compute_q_p);

/* What the sums of tiles take, in floats; 0: every tile has all rows. */
uint64_t psgd_compute_q_part_elems(const psgd_compute_q_t *compute_q);

/* p_hat: r x rows; q_local: r x cols; parts: room for psgd_compute_q_part_elems() floats. Allocates nothing. */
psgd_status_t psgd_compute_q_enqueue(psgd_compute_q_t *b, psgd_view_t p_hat, psgd_view_t q_local, psgd_view_t parts);

void psgd_compute_q_destroy(psgd_compute_q_t *b);

#endif
