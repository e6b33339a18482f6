/* The parts of a compressed step (core/step.h) of all buckets, in one order for all workers:
 *
 *     while messages of some buckets travel, P of the buckets behind them is computed, and Q of those whose message 1 is there.
 *
 * Buckets come from the last to the first, as a backward pass brings their gradients. The order is fixed at creation and depends on the
 * plan alone: neither on which gradients come first nor on how fast anything is, so that all workers begin the same collectives in the
 * same order, and judge each vote when the same ones are under way. */
#ifndef PSGD_CORE_PIPELINE_H
#define PSGD_CORE_PIPELINE_H

#include "core/bucket.h"

/* For the buckets of the reducer. */
psgd_status_t psgd_pipeline_create(psgd_reducer_t *reducer);
void          psgd_pipeline_destroy(psgd_pipeline_t *pipeline);

/* Before the first part of a step, and when the step is over. In between, waiting for the device makes progress with messages. */
void psgd_pipeline_begin(psgd_reducer_t *reducer);
void psgd_pipeline_end(psgd_reducer_t *reducer);

/* P of a bucket whose gradients have just come needs no other worker: where they come after nothing but the caller's own queue, and that
 * is in order, P is enqueued there, right behind them, whatever part is next. Otherwise it waits for its turn. */
void psgd_pipeline_follow(psgd_bucket_t *bucket);
bool psgd_pipeline_may_follow(const psgd_bucket_t *bucket); /* in this step */

/* Runs parts in their order, until one would have to wait: for gradients, for the device, for other workers. */
void psgd_pipeline_advance(psgd_reducer_t *reducer);

/* Runs all that are left, and waits. All gradients have been submitted. */
void psgd_pipeline_finish(psgd_reducer_t *reducer);

/* The reducer's patience for one wait for other workers, which counts how long the device has nothing to do meanwhile (step.network_ns). */
psgd_patience_t psgd_pipeline_patience(psgd_reducer_t *reducer);

/* Whether this bucket is the last one in the order. */
bool psgd_pipeline_is_last(const psgd_bucket_t *bucket);

#endif
