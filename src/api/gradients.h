/* The caller's gradients of a step: checked, and as views in reducer->grads. */
#ifndef PSGD_API_GRADIENTS_H
#define PSGD_API_GRADIENTS_H

#include "core/reducer.h"

/* Before those of a step; and after a step that failed, since not all pairs of them may have been compared: the next one does. */
void psgd_gradients_begin(psgd_reducer_t *reducer);
void psgd_gradients_forget(psgd_reducer_t *reducer);

/* Whether there is one for each tensor; or one for each of this range, none of which the step under way has got yet. */
psgd_status_t psgd_gradients_check_count(const psgd_reducer_t *reducer, const void *grads, size_t num_grads);
psgd_status_t psgd_gradients_check_range(const psgd_reducer_t *reducer, size_t first, const void *grads,
                                         size_t num_grads);

/* Those of tensors `first` to first + num_grads - 1. Most callers bring the same buffers in every step, so that pairs of
 * them are compared once: not before one has moved. */
psgd_status_t psgd_gradients_read(psgd_reducer_t *reducer, size_t first, const psgd_buffer_t *grads, size_t num_grads);

/* The same of gradients in host memory, into the device copy, which the step works on; enqueued. Those that are not there (a factor of 0)
 * are not read. */
psgd_status_t psgd_gradients_read_host(psgd_reducer_t *reducer, size_t first, float *const *grads, size_t num_grads,
                                       const float *factors);

/* Whether the step has got any such; and the update, to where they came from (waits). */
bool          psgd_gradients_are_on_host(const psgd_reducer_t *reducer);
psgd_status_t psgd_gradients_write_host(psgd_reducer_t *reducer);

#endif
