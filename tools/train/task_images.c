/* Images and their classes: the mlp and the cnn. */
#include "task.h"

#include <stdio.h>
#include <stdlib.h>

#include "dataset.h"
#include "feed.h"

typedef struct image_task {
    task_t    base;
    dataset_t dataset;
    feed_t    train, test;
} image_task_t;

static uint64_t images_hash(const task_t *task)
{
    return dataset_hash(&((const image_task_t *)task)->dataset);
}

static tool_status_t check_count(const task_t *task, const workers_t *workers)
{
    if (task->steps_per_epoch == 0) {
        return tool_fail(TOOL_FAILED, "%u training images are too few for %u workers with a batch of %u each",
                         (unsigned)task->train_count, (unsigned)workers->count, (unsigned)task->options->batch);
    }
    return TOOL_OK;
}

static tool_status_t images_build(task_t *task, const gpu_t *gpu, const workers_t *workers, network_t *network)
{
    image_task_t    *images  = (image_task_t *)task;
    const options_t *options = task->options;
    double           mean = 0.0, deviation = 1.0;
    tool_status_t    status;

    dataset_moments(&images->dataset.train, &mean, &deviation);
    status = network_create(network, gpu, (model_t)options->model, options->width, options->depth, options->batch);
    if (status == TOOL_OK) {
        status = feed_create(gpu, &images->dataset.train, mean, deviation, options->batch, &images->train);
    }
    if (status == TOOL_OK) {
        status = feed_create(gpu, &images->dataset.test, mean, deviation, options->batch, &images->test);
    }
    if (status == TOOL_OK) {
        task->steps_per_epoch = feed_steps(&images->train, workers);
        status                = check_count(task, workers);
    }
    return status;
}

/* Steps are independent: the order of the whole epoch is all that there is to do. */
static tool_status_t images_begin_epoch(task_t *task, const workers_t *workers, uint64_t epoch, uint64_t step)
{
    (void)step;
    return feed_shuffle(&((image_task_t *)task)->train, workers, task->options->seed, epoch);
}

static tool_status_t images_enqueue(const task_t *task, uint64_t step, network_t *network, size_t *scored_p)
{
    return feed_enqueue(&((const image_task_t *)task)->train, step, network, scored_p);
}

static tool_status_t images_begin_test(task_t *task, const workers_t *workers, uint64_t *batches_p)
{
    feed_t       *test   = &((image_task_t *)task)->test;
    tool_status_t status = feed_deal(test, workers);

    *batches_p = (test->share_count + test->batch - 1) / test->batch;
    return status;
}

static tool_status_t images_enqueue_test(const task_t *task, uint64_t batch, network_t *network, size_t *scored_p)
{
    return feed_enqueue(&((const image_task_t *)task)->test, batch, network, scored_p);
}

static tool_status_t images_end_test(task_t *task)
{
    (void)task;
    return TOOL_OK;
}

static double accuracy(double loss, double hits)
{
    (void)loss;
    return hits;
}

static void images_write_json(const task_t *task, json_t *json)
{
    json_integer(json, "train_images", task->train_count);
    json_integer(json, "test_images", task->test_count);
}

static void images_destroy(task_t *task)
{
    image_task_t *images = (image_task_t *)task;

    feed_free(&images->train);
    feed_free(&images->test);
    dataset_free(&images->dataset);
    free(images);
}

static const task_ops_t image_ops = {
    .words        = {"images", "accuracy", 100.0, " %", " points"},
    .hash         = images_hash,
    .build        = images_build,
    .begin_epoch  = images_begin_epoch,
    .enqueue      = images_enqueue,
    .begin_test   = images_begin_test,
    .enqueue_test = images_enqueue_test,
    .end_test     = images_end_test,
    .quality      = accuracy,
    .write_json   = images_write_json,
    .destroy      = images_destroy,
};

tool_status_t task_load_images(const options_t *options, task_t **task_p)
{
    image_task_t *images = NULL;
    tool_status_t status = tool_alloc(1, sizeof(*images), "the data set", &images);

    if (status != TOOL_OK) {
        return status;
    }
    images->base =
        (task_t){.ops = &image_ops, .options = options, .data = options->data, .step_examples = options->batch};
    status = dataset_load(options->data, &images->dataset);
    if (status != TOOL_OK) {
        images_destroy(&images->base);
        return status;
    }
    images->base.train_count = images->dataset.train.count;
    images->base.test_count  = images->dataset.test.count;
    snprintf(images->base.meaning, sizeof(images->base.meaning), "test images classified rightly");
    *task_p = &images->base;
    return TOOL_OK;
}
