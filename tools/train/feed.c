#include "feed.h"

#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "random.h"

static tool_status_t allocate(feed_t *feed, const dataset_part_t *part)
{
    tool_status_t status;

    status = gpu_alloc(feed->gpu, part->images.bytes, 1, "the images", &feed->images);
    if (status == TOOL_OK) {
        status = gpu_alloc(feed->gpu, part->labels.bytes, 1, "the labels", &feed->labels);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(feed->gpu, feed->share_capacity, sizeof(cl_uint), "the order of images", &feed->order);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(feed->count, sizeof(*feed->all), "the order of images", &feed->all);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(feed->share_capacity, sizeof(*feed->share), "the order of images", &feed->share);
    }
    return status;
}

tool_status_t feed_create(const gpu_t *gpu, const dataset_part_t *part, double mean, double deviation, uint32_t batch,
                          feed_t *feed_p)
{
    feed_t        feed = {.gpu = gpu, .count = part->count, .batch = batch};
    tool_status_t status;

    feed.scale          = (float)(1.0 / deviation);
    feed.shift          = (float)(-mean / deviation);
    feed.share_capacity = (part->count + batch - 1) / batch * batch; /* what one worker alone sees */
    status              = allocate(&feed, part);
    if (status == TOOL_OK) {
        status = gpu_write(gpu, feed.images, part->images.values, part->images.bytes);
    }
    if (status == TOOL_OK) {
        status = gpu_write(gpu, feed.labels, part->labels.values, part->labels.bytes);
    }
    if (status != TOOL_OK) {
        feed_free(&feed);
        return status;
    }
    *feed_p = feed;
    return TOOL_OK;
}

void feed_free(feed_t *feed)
{
    gpu_free(feed->images);
    gpu_free(feed->labels);
    gpu_free(feed->order);
    free(feed->all);
    free(feed->share);
    memset(feed, 0, sizeof(*feed));
}

uint64_t feed_steps(const feed_t *feed, const workers_t *workers)
{
    return feed->count / ((uint64_t)feed->batch * workers->count);
}

static void count_up(uint32_t *numbers, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        numbers[i] = i;
    }
}

static tool_status_t upload_share(feed_t *feed)
{
    return gpu_write(feed->gpu, feed->order, feed->share, feed->share_capacity * sizeof(*feed->share));
}

tool_status_t feed_shuffle(feed_t *feed, const workers_t *workers, uint64_t seed, uint64_t epoch)
{
    random_stream_t stream = random_stream(seed, UINT64_C(0x6F72646572) + epoch);
    uint64_t        steps  = feed_steps(feed, workers);

    count_up(feed->all, feed->count);
    random_shuffle(&stream, feed->all, feed->count);
    for (uint64_t step = 0; step < steps; ++step) {
        uint64_t first = (step * workers->count + workers->index) * feed->batch;
        memcpy(feed->share + step * feed->batch, feed->all + first, feed->batch * sizeof(*feed->share));
    }
    feed->share_count = (uint32_t)(steps * feed->batch);
    return upload_share(feed);
}

tool_status_t feed_deal(feed_t *feed, const workers_t *workers)
{
    uint32_t mine = 0;

    for (uint64_t image = workers->index; image < feed->count; image += workers->count) {
        feed->share[mine++] = (uint32_t)image;
    }
    memset(feed->share + mine, 0, (feed->share_capacity - mine) * sizeof(*feed->share));
    feed->share_count = mine;
    return upload_share(feed);
}

tool_status_t feed_enqueue(const feed_t *feed, uint64_t step, network_t *network, size_t *scored_p)
{
    uint64_t      first  = step * feed->batch;
    uint64_t      left   = feed->share_count - first;
    cl_uint       start  = (cl_uint)first;
    cl_uint       pixels = IMAGE_PIXELS;
    tool_status_t status;

    status = GPU_LAUNCH(feed->gpu, GPU_KERNEL_GATHER_IMAGES, (size_t)feed->batch * IMAGE_PIXELS, GPU_ARG(feed->images),
                        GPU_ARG(feed->order), GPU_ARG(start), GPU_ARG(pixels), GPU_ARG(feed->scale),
                        GPU_ARG(feed->shift), GPU_ARG(network->input));
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(feed->gpu, GPU_KERNEL_GATHER_LABELS, feed->batch, GPU_ARG(feed->labels),
                            GPU_ARG(feed->order), GPU_ARG(start), GPU_ARG(network->targets));
    }
    if (status == TOOL_OK) {
        *scored_p = left < feed->batch ? (size_t)left : feed->batch;
    }
    return status;
}
