/* What moves between device, host and wire: every copy of a step, and no arithmetic but the scaling of Qbar. */
#ifndef PSGD_CORE_TRAFFIC_H
#define PSGD_CORE_TRAFFIC_H

#include "core/bucket.h"

/* Where everything of this step lies, of all buckets together. */
psgd_step_views_t psgd_traffic_step_views(const psgd_reducer_t *reducer);

/* Where the small tensors of all buckets lie on the device, one behind the other. */
psgd_view_t psgd_traffic_small_view(const psgd_reducer_t *reducer);

/* Device memory to a message (waits), and host memory to the device; `what` names it in errors. */
psgd_status_t psgd_traffic_stage_in(psgd_bucket_t *bucket, psgd_view_t from, float *host, uint64_t elems,
                                    const char *what);
psgd_status_t psgd_traffic_stage_out(psgd_bucket_t *bucket, const float *host, psgd_view_t to, size_t bytes,
                                     const char *what);

/* q := Q; of all buckets, Qbar scaled for the update with the scales behind it. The host memory stays untouched until the device is
 * waited for. */
psgd_status_t psgd_traffic_upload_factor(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_upload_update(psgd_reducer_t *reducer);

/* From the device into messages: the large uncompressed tensors; P and the small uncompressed tensors; Q_w, and the hash of P^. What
 * begins is enqueued; what ends it waits, unless the step has failed here. */
psgd_status_t psgd_traffic_begin_reading_large(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_end_reading_large(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_begin_reading_message_1(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_end_reading_message_1(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_begin_reading_message_2(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_end_reading_message_2(psgd_bucket_t *bucket);

/* What has begun and was not ended, after the device has been waited for. */
void psgd_traffic_cancel_reading(psgd_bucket_t *bucket);

/* The mean of P back to the device. */
psgd_status_t psgd_traffic_write_message_1(psgd_bucket_t *bucket);

/* This worker's own factors as they were sent in a message, over those that it computed: what its error memory takes off is what the
 * others have got. Nothing to do where they travel in single precision, or there is no error memory. Enqueued. */
psgd_status_t psgd_traffic_write_sent(psgd_bucket_t *bucket, const psgd_message_t *message, psgd_view_t own);

/* The hash of what all workers hold alike before the vote of message 2: P^ and the means of the uncompressed tensors. */
uint64_t psgd_traffic_hash_common(const psgd_bucket_t *bucket);

/* factor_scaled and its scales from the Qbar in message 2, clipped. False where it is too large for the update to be finite. */
bool psgd_traffic_scale_factor(psgd_bucket_t *bucket);

/* The means of the uncompressed tensors: of the small ones to the device; of all into the gradient buffers; of the large ones alone. */
psgd_status_t psgd_traffic_write_small(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_write_uncompressed(psgd_bucket_t *bucket);
psgd_status_t psgd_traffic_write_large(psgd_bucket_t *bucket);

/* The sum of their squares; and all of them clipped by the norm of the update. */
double psgd_traffic_square_of_uncompressed(const psgd_bucket_t *bucket);
void   psgd_traffic_clip_uncompressed(psgd_bucket_t *bucket);

/* Elements begin to end - 1 of `num_spans` arrays thought of as one behind the other, between the device and `host`.
 * `elems_of(context, i)` is the length of array i. Enqueued. */
typedef uint64_t (*psgd_span_elems_fn)(const psgd_plan_t *plan, size_t index);
psgd_status_t psgd_traffic_enqueue_span(psgd_reducer_t *reducer, const psgd_view_t *arrays, size_t num_arrays,
                                        psgd_span_elems_fn elems_of, uint64_t begin, uint64_t end, float *host,
                                        bool to_device);

#endif
