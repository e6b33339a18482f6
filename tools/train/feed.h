/* Images and labels on the device, and the order in which a worker sees them. */
#ifndef PSGD_TRAIN_FEED_H
#define PSGD_TRAIN_FEED_H

#include "dataset.h"
#include "gpu.h"
#include "network.h"
#include "workers.h"

typedef struct feed {
    const gpu_t *gpu;
    uint32_t     count;        /* images in all */
    uint32_t     batch;        /* images of one worker in one step */
    cl_mem       images;       /* count x IMAGE_PIXELS bytes */
    cl_mem       labels;       /* count bytes */
    float        scale, shift; /* input = pixel * scale + shift: mean 0, deviation 1 over the training set */
    uint32_t    *all;          /* count: the order of the whole epoch, the same on every worker */
    uint32_t    *share;        /* share_capacity: this worker's part of it, step after step */
    uint32_t     share_capacity;
    uint32_t     share_count; /* of these, how many are images to be seen; the rest fill up the last batch */
    cl_mem       order;       /* share_capacity: `share` on the device */
} feed_t;

/* Copies the part to the device. *feed_p is freed by feed_free(). */
tool_status_t feed_create(const gpu_t *gpu, const dataset_part_t *part, double mean, double deviation, uint32_t batch,
                          feed_t *feed_p);
void          feed_free(feed_t *feed); /* fine for a feed_t that is all zero */

/* Steps that W workers can make before an image comes twice. */
uint64_t feed_steps(const feed_t *feed, const workers_t *workers);

/* The order of epoch `epoch`: one shuffle by the seed, the same on every worker, dealt out so that step s of worker
 * w sees positions (s W + w) batch up to the next. The shares are disjoint, of equal length, and what does not fill
 * a step of all workers is left out. Waits. */
tool_status_t feed_shuffle(feed_t *feed, const workers_t *workers, uint64_t seed, uint64_t epoch);

/* All images, once, dealt out evenly; the last batch is filled up. Waits. */
tool_status_t feed_deal(feed_t *feed, const workers_t *workers);

/* Enqueues batch number `step` of this worker's share into the network's input and targets. *scored_p is how many of
 * its images are to be seen (the batch, but for the last of feed_deal()). */
tool_status_t feed_enqueue(const feed_t *feed, uint64_t step, network_t *network, size_t *scored_p);

#endif
