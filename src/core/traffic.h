/* What moves between device, host and wire: every copy of a step, and no arithmetic but the scaling of Qbar. */
#ifndef PSGD_CORE_TRAFFIC_H
#define PSGD_CORE_TRAFFIC_H

#include "core/reducer.h"

/* Where everything of this step lies, for the engine. */
psgd_step_views_t psgd_traffic_step_views(const psgd_reducer_t *reducer);

/* Device memory to a message (waits), and host memory to the device; `what` names it in errors. */
psgd_status_t psgd_traffic_stage_in(psgd_reducer_t *reducer, psgd_view_t from, float *host, uint64_t elems,
                                    const char *what);
psgd_status_t psgd_traffic_stage_out(psgd_reducer_t *reducer, const float *host, psgd_view_t to, size_t bytes,
                                     const char *what);

/* q := Q, or Qbar scaled for the update with the scales behind it. The host memory stays untouched until the device is
 * waited for. */
psgd_status_t psgd_traffic_upload_factor(psgd_reducer_t *reducer);
psgd_status_t psgd_traffic_upload_update(psgd_reducer_t *reducer);

/* The large uncompressed tensors into their message. Waits. */
psgd_status_t psgd_traffic_read_large(psgd_reducer_t *reducer);

/* P and the small uncompressed tensors into message 1 (waits), and the mean of P back to the device. */
psgd_status_t psgd_traffic_read_message_1(psgd_reducer_t *reducer);
psgd_status_t psgd_traffic_write_message_1(psgd_reducer_t *reducer);

/* Q_w into message 2, and the hash of P^ from the device. Waits. */
psgd_status_t psgd_traffic_read_message_2(psgd_reducer_t *reducer);

/* This worker's own factors as they were sent in a message, over those that it computed: what its error memory takes off is what the
 * others have got. Nothing to do where they travel in single precision, or there is no error memory. Enqueued. */
psgd_status_t psgd_traffic_write_sent(psgd_reducer_t *reducer, const psgd_message_t *message, psgd_view_t own);

/* The hash of what all workers hold alike before the last vote: P^ and the means of the uncompressed tensors. */
uint64_t psgd_traffic_hash_common(const psgd_reducer_t *reducer);

/* factor_scaled and update_scales from the Qbar in message 2, clipped. False where it is too large for the update to be finite. */
bool psgd_traffic_scale_factor(psgd_reducer_t *reducer);

/* The means of the uncompressed tensors into the gradient buffers: of the small ones by way of `small_view` of the device, and of
 * the large ones in their message. */
psgd_status_t psgd_traffic_write_uncompressed(psgd_reducer_t *reducer, const float *small, psgd_view_t small_view);

/* The large ones alone. */
psgd_status_t psgd_traffic_write_large(psgd_reducer_t *reducer);

/* The sum of their squares; and all of them clipped by the norm of the update. */
double psgd_traffic_square_of_uncompressed(const psgd_reducer_t *reducer, const float *small);
void   psgd_traffic_clip_uncompressed(psgd_reducer_t *reducer, float *small);

/* Where the small tensors lie in the device's copy of message 1 of a full iteration: behind all P. */
psgd_view_t psgd_traffic_small_view(const psgd_reducer_t *reducer);

/* Elements begin to end - 1 of `num_spans` arrays thought of as one behind the other, between the device and `host`.
 * `elems_of(context, i)` is the length of array i. Enqueued. */
typedef uint64_t (*psgd_span_elems_fn)(const psgd_plan_t *plan, size_t index);
psgd_status_t psgd_traffic_enqueue_span(psgd_reducer_t *reducer, const psgd_view_t *arrays, size_t num_arrays,
                                        psgd_span_elems_fn elems_of, uint64_t begin, uint64_t end, float *host,
                                        bool to_device);

#endif
