/* One step of the algorithm. */
#ifndef PSGD_CORE_STEP_H
#define PSGD_CORE_STEP_H

#include "core/reducer.h"

/* A step on gradients in device memory, by tensor index; `factors`: what they are multiplied by (ops/rescale.h), or NULL;
 * `update`: what it does to parameters (core/update.h), or NULL; `local` is this worker's failure before it came here (its
 * gradients are not touched then), which all workers are told. Returns the same status on every worker. */
psgd_status_t psgd_reducer_run_step(psgd_reducer_t *reducer, const psgd_view_t *grads, const float *factors,
                                    const psgd_update_t *update, psgd_status_t local);

/* A compressed step of a full iteration (step.c) or of half ones (alternate.c), and one that averages as it is (plain.c): from
 * the first message to the last vote and what follows it. */
void psgd_step_compressed(psgd_reducer_t *reducer);
void psgd_step_plain(psgd_reducer_t *reducer);
void psgd_step_alternating(psgd_reducer_t *reducer);

/* What compressed steps of both kinds do: cold start; and what is neither compressed nor small, which travels beside the
 * factors and has arrived before the last vote. */
void psgd_step_draw_cold_factors(psgd_reducer_t *reducer);
void psgd_step_begin_plain(psgd_reducer_t *reducer);
void psgd_step_finish_plain(psgd_reducer_t *reducer);

#endif
