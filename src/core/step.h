/* One step of the algorithm. */
#ifndef PSGD_CORE_STEP_H
#define PSGD_CORE_STEP_H

#include "core/bucket.h"

/* A step on the gradients in reducer->grads, which lie in device memory; `factors`: what they are multiplied by (ops/rescale.h), or
 * NULL; `update`: what it does to parameters (core/update.h), or NULL; `local` is this worker's failure before it came here (its
 * gradients are not touched then), which all workers are told. Returns the same status on every worker. */
psgd_status_t psgd_reducer_run_step(psgd_reducer_t *reducer, const float *factors, const psgd_update_t *update,
                                    psgd_status_t local);

/* The same in parts (step.is_open in between). Gradients of tensors `first` to first + count - 1 are in reducer->grads when they are
 * submitted, each once; what they wait for is added to the gate of their bucket before; is_behind: that is the caller's own queue alone.
 * Submitting does not wait. Where it or what comes before it fails, the failure is noted (psgd_step_note), and told at the end. */
void          psgd_reducer_begin_step(psgd_reducer_t *reducer, const float *factors, const psgd_update_t *update,
                                      psgd_status_t local);
psgd_gate_t  *psgd_reducer_gate_of(psgd_reducer_t *reducer, size_t tensor);
void          psgd_reducer_submit_tensors(psgd_reducer_t *reducer, size_t first, size_t count, bool is_behind);
void          psgd_reducer_go_on(psgd_reducer_t *reducer); /* as far as is possible without waiting */
psgd_status_t psgd_reducer_end_step(psgd_reducer_t *reducer);

/* The parts of a compressed step of full iterations, of one bucket: from its gradients to its Qbar (step.c). Between them its messages
 * travel, and other buckets have their turn: core/pipeline.h. Then the commit, of all buckets together. */
void psgd_step_orthonormalize_q(psgd_bucket_t *bucket);
void psgd_step_compute_p(psgd_bucket_t *bucket);
void psgd_step_read_plain(psgd_bucket_t *bucket);
void psgd_step_send_plain(psgd_bucket_t *bucket);
void psgd_step_send_p(psgd_bucket_t *bucket);
void psgd_step_compute_q(psgd_bucket_t *bucket);
void psgd_step_send_q(psgd_bucket_t *bucket);
void psgd_step_finish_q(psgd_bucket_t *bucket);
void psgd_step_commit(psgd_reducer_t *reducer);

/* A compressed step of half-iterations (alternate.c), and one that averages as it is (plain.c): from the first message to what follows
 * the last vote. */
void psgd_step_plain(psgd_reducer_t *reducer);
void psgd_step_alternating(psgd_reducer_t *reducer);

/* What compressed steps of both kinds do: cold start; and the end of what is neither compressed nor small, which travels beside the
 * factors. */
void psgd_step_draw_cold_factors(psgd_reducer_t *reducer);
void psgd_step_finish_plain(psgd_bucket_t *bucket);

#endif
