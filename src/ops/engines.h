/* The engines of one reducer, each with some of its matrices: a pass goes through them all. */
#ifndef PSGD_OPS_ENGINES_H
#define PSGD_OPS_ENGINES_H

#include "ops/engine.h"

typedef struct psgd_engines psgd_engines_t;

/* choices[m]: PSGD_ENGINE_CLBLAST or PSGD_ENGINE_FUSED, for each matrix of the plan, which has one at least. An engine that
 * nobody chose is not made. `plan` outlives them. */
psgd_status_t psgd_engines_create(psgd_device_t *device, const psgd_plan_t *plan, const psgd_engine_t *choices,
                                  psgd_form_t form, psgd_engines_t **engines_p);

psgd_status_t psgd_engines_enqueue_compute_p(psgd_engines_t *engines, const psgd_step_views_t *views);
psgd_status_t psgd_engines_enqueue_compute_q(psgd_engines_t *engines, const psgd_step_views_t *views);
psgd_status_t psgd_engines_enqueue_decompress(psgd_engines_t *engines, const psgd_step_views_t *views);
psgd_status_t psgd_engines_enqueue_settle(psgd_engines_t *engines, const psgd_step_views_t *views);

void psgd_engines_destroy(psgd_engines_t *engines);

#endif
