/* A text, word by word: the lstm. */
#include "task.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "bigram.h"
#include "text.h"
#include "text_feed.h"
#include "text_source.h"

typedef struct text_task {
    task_t      base;
    text_t      text;
    double      bigram; /* its perplexity */
    network_t  *network;
    text_feed_t train, test;
    float      *state; /* of training, while a test goes on */
} text_task_t;

static uint64_t text_task_hash(const task_t *task)
{
    return text_hash(&((const text_task_t *)task)->text);
}

static lstm_shape_t shape_of(const text_task_t *text)
{
    const options_t *options = text->base.options;

    return (lstm_shape_t){.vocabulary = text->text.vocabulary,
                          .embedding  = (size_t)options->embedding * options->width,
                          .hidden     = (size_t)options->hidden * options->width,
                          .streams    = options->batch,
                          .places     = options->bptt,
                          .tied       = options->tied};
}

static tool_status_t check_count(const task_t *task, const workers_t *workers)
{
    if (task->steps_per_epoch == 0) {
        return tool_fail(
            TOOL_FAILED,
            "%llu training words are too few for %u workers with a batch of %u streams each, %u words a step",
            (unsigned long long)task->train_count, (unsigned)workers->count, (unsigned)task->options->batch,
            (unsigned)task->options->bptt);
    }
    return TOOL_OK;
}

static tool_status_t text_build(task_t *task, const gpu_t *gpu, const workers_t *workers, network_t *network)
{
    text_task_t       *text  = (text_task_t *)task;
    const lstm_shape_t shape = shape_of(text);
    tool_status_t      status;

    text->network = network;
    status        = network_create_lstm(network, gpu, &shape);
    if (status == TOOL_OK) {
        status = text_feed_create(gpu, &text->text.train, workers, shape.streams, shape.places, false, &text->train);
    }
    if (status == TOOL_OK) {
        status = text_feed_create(gpu, &text->text.test, workers, shape.streams, shape.places, true, &text->test);
    }
    if (status == TOOL_OK) {
        status = tool_alloc(network_state_elems(network), sizeof(*text->state), "the hidden state", &text->state);
    }
    if (status == TOOL_OK) {
        task->steps_per_epoch = text->train.steps;
        status                = check_count(task, workers);
    }
    return status;
}

/* The order is the text's. The state goes on from step to step; a run that is resumed has read it. */
static tool_status_t text_begin_epoch(task_t *task, const workers_t *workers, uint64_t epoch, uint64_t step)
{
    (void)workers;
    (void)epoch;
    return step == 0 ? network_zero_state(((text_task_t *)task)->network) : TOOL_OK;
}

static tool_status_t text_enqueue(const task_t *task, uint64_t step, network_t *network, size_t *scored_p)
{
    *scored_p = network->batch;
    return text_feed_enqueue(&((const text_task_t *)task)->train, step, network);
}

static tool_status_t text_begin_test(task_t *task, const workers_t *workers, uint64_t *batches_p)
{
    text_task_t  *text   = (text_task_t *)task;
    tool_status_t status = network_read_state(text->network, text->state);

    (void)workers;
    *batches_p = text->test.steps;
    return status == TOOL_OK ? network_zero_state(text->network) : status;
}

static tool_status_t text_enqueue_test(const task_t *task, uint64_t batch, network_t *network, size_t *scored_p)
{
    *scored_p = network->batch;
    return text_feed_enqueue(&((const text_task_t *)task)->test, batch, network);
}

static tool_status_t text_end_test(task_t *task)
{
    const text_task_t *text = (const text_task_t *)task;

    return network_write_state(text->network, text->state);
}

static double perplexity(double loss, double hits)
{
    (void)hits;
    return exp(loss);
}

static void text_write_json(const task_t *task, json_t *json)
{
    const text_task_t *text  = (const text_task_t *)task;
    const lstm_shape_t shape = shape_of(text);

    json_integer(json, "vocabulary", text->text.vocabulary);
    json_integer(json, "train_words", task->train_count);
    json_integer(json, "test_words", task->test_count);
    json_real(json, "bigram_perplexity", text->bigram);
    json_integer(json, "embedding", shape.embedding);
    json_integer(json, "hidden", shape.hidden);
    json_integer(json, "bptt", shape.places);
    json_bool(json, "tied", shape.tied);
}

static void text_destroy(task_t *task)
{
    text_task_t *text = (text_task_t *)task;

    text_feed_free(&text->train);
    text_feed_free(&text->test);
    text_free(&text->text);
    free(text->state);
    free(text);
}

static const task_ops_t text_ops = {
    .words        = {"words", "perplexity", 1.0, "", ""},
    .hash         = text_task_hash,
    .build        = text_build,
    .begin_epoch  = text_begin_epoch,
    .enqueue      = text_enqueue,
    .begin_test   = text_begin_test,
    .enqueue_test = text_enqueue_test,
    .end_test     = text_end_test,
    .quality      = perplexity,
    .write_json   = text_write_json,
    .destroy      = text_destroy,
};

/* Reads the text, and learns what a bigram model can do with it. */
static tool_status_t load(text_task_t *text)
{
    const options_t *options = text->base.options;
    char            *bytes   = NULL;
    size_t           count   = 0;
    tool_status_t    status  = text_source_read(options->data, &bytes, &count);

    if (status == TOOL_OK) {
        status = text_make(text->base.data, bytes, count, options->vocabulary, &text->text);
    }
    free(bytes);
    return status == TOOL_OK ? bigram_perplexity(&text->text, &text->bigram) : status;
}

tool_status_t task_load_text(const options_t *options, task_t **task_p)
{
    text_task_t  *text   = NULL;
    tool_status_t status = tool_alloc(1, sizeof(*text), "the text", &text);

    if (status != TOOL_OK) {
        return status;
    }
    text->base = (task_t){.ops           = &text_ops,
                          .options       = options,
                          .data          = options->data != NULL ? options->data : TEXT_SOURCE_DEFAULT,
                          .step_examples = (uint64_t)options->batch * options->bptt};
    status     = load(text);
    if (status != TOOL_OK) {
        text_destroy(&text->base);
        return status;
    }
    text->base.train_count = text->text.train.count;
    text->base.test_count  = text->text.test.count;
    snprintf(text->base.meaning, sizeof(text->base.meaning), "of held-out words; a bigram model's is %.2f",
             text->bigram);
    *task_p = &text->base;
    return TOOL_OK;
}
