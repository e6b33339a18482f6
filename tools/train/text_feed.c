#include "text_feed.h"

#include <stdlib.h>
#include <string.h>

/* The streams in host memory, and how the part is cut. */
typedef struct cut {
    const text_part_t *part;
    size_t             first; /* this worker's first piece */
    size_t             streams, places;
    size_t             piece; /* words */
    uint64_t           steps;
    uint32_t          *words, *targets, *order;
    uint64_t          *keys; /* of one batch: word and place, to be sorted */
} cut_t;

static int compare_keys(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

/* The places of one batch, by word, then by place. */
static void sort_places(const uint32_t *words, size_t batch, uint64_t *keys, uint32_t *order)
{
    for (size_t n = 0; n < batch; ++n) {
        keys[n] = (uint64_t)words[n] << 32 | n;
    }
    qsort(keys, batch, sizeof(*keys), compare_keys);
    for (size_t n = 0; n < batch; ++n) {
        order[n] = (uint32_t)(keys[n] & UINT32_MAX);
    }
}

static void fill_step(const cut_t *cut, uint64_t step)
{
    const size_t batch = cut->streams * cut->places;

    for (size_t n = 0; n < batch; ++n) {
        const size_t at     = step * cut->places + n / cut->streams; /* in the piece */
        const size_t word   = (cut->first + n % cut->streams) * cut->piece + at;
        const bool   exists = at < cut->piece && word < cut->part->count;

        cut->targets[step * batch + n] = exists ? cut->part->words[word] : (uint32_t)TEXT_FEED_NOTHING;
        cut->words[step * batch + n]   = exists && word > 0 ? cut->part->words[word - 1] : (uint32_t)TEXT_END;
    }
    sort_places(cut->words + step * batch, batch, cut->keys, cut->order + step * batch);
}

static tool_status_t fill(cut_t *cut)
{
    const size_t  batch  = cut->streams * cut->places;
    const size_t  count  = cut->steps * batch;
    tool_status_t status = tool_alloc(count, sizeof(*cut->words), "the streams of words", &cut->words);

    if (status == TOOL_OK) {
        status = tool_alloc(count, sizeof(*cut->targets), "the streams of words", &cut->targets);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(count, sizeof(*cut->order), "the order of words", &cut->order);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(batch, sizeof(*cut->keys), "the order of words", &cut->keys);
    }
    for (uint64_t step = 0; step < cut->steps && status == TOOL_OK; ++step) {
        fill_step(cut, step);
    }
    return status;
}

static tool_status_t upload(const gpu_t *gpu, const uint32_t *numbers, size_t count, cl_mem *mem_p)
{
    tool_status_t status = gpu_alloc(gpu, count, sizeof(cl_uint), "the streams of words", mem_p);

    return status == TOOL_OK ? gpu_write(gpu, *mem_p, numbers, count * sizeof(*numbers)) : status;
}

static tool_status_t upload_all(const cut_t *cut, text_feed_t *feed)
{
    const size_t  count  = feed->steps * feed->batch;
    tool_status_t status = upload(feed->gpu, cut->words, count, &feed->words);

    if (status == TOOL_OK) {
        status = upload(feed->gpu, cut->targets, count, &feed->targets);
    }
    return status == TOOL_OK ? upload(feed->gpu, cut->order, count, &feed->order) : status;
}

tool_status_t text_feed_create(const gpu_t *gpu, const text_part_t *part, const workers_t *workers, size_t streams,
                               size_t places, bool is_whole, text_feed_t *feed_p)
{
    const size_t  pieces = workers->count * streams;
    cut_t         cut    = {.part = part, .first = workers->index * streams, .streams = streams, .places = places};
    text_feed_t   feed   = {.gpu = gpu, .batch = streams * places};
    tool_status_t status = TOOL_OK;

    cut.piece  = is_whole ? (part->count + pieces - 1) / pieces : part->count / pieces;
    cut.steps  = is_whole ? (cut.piece + places - 1) / places : cut.piece / places;
    feed.steps = cut.steps;
    if (feed.steps > 0) {
        status = fill(&cut);
        if (status == TOOL_OK) {
            status = upload_all(&cut, &feed);
        }
    }
    free(cut.words);
    free(cut.targets);
    free(cut.order);
    free(cut.keys);
    if (status != TOOL_OK) {
        text_feed_free(&feed);
        return status;
    }
    *feed_p = feed;
    return TOOL_OK;
}

void text_feed_free(text_feed_t *feed)
{
    gpu_free(feed->words);
    gpu_free(feed->targets);
    gpu_free(feed->order);
    memset(feed, 0, sizeof(*feed));
}

tool_status_t text_feed_enqueue(const text_feed_t *feed, uint64_t step, network_t *network)
{
    const size_t  first  = step * feed->batch;
    tool_status_t status = gpu_copy(feed->gpu, (span_t){feed->words, first}, (span_t){network->input, 0}, feed->batch);

    if (status == TOOL_OK) {
        status = gpu_copy(feed->gpu, (span_t){feed->targets, first}, (span_t){network->targets, 0}, feed->batch);
    }
    return status == TOOL_OK
               ? gpu_copy(feed->gpu, (span_t){feed->order, first}, (span_t){network->order, 0}, feed->batch)
               : status;
}
