/* What is learnt: everything that training on images and training on a text do differently. A new kind is a file of its own
 * with a load function here. */
#ifndef PSGD_TRAIN_TASK_H
#define PSGD_TRAIN_TASK_H

#include "gpu.h"
#include "json.h"
#include "network.h"
#include "options.h"
#include "workers.h"

typedef struct task task_t;

/* How results are called, and written: of an accuracy of 0.5, with a scale of 100 and a unit of " %", 50.00 %. */
typedef struct task_words {
    const char *examples; /* "images" */
    const char *quality;  /* in JSON, and behind "test" in the table: "accuracy" */
    double      scale;
    const char *unit;       /* of a value */
    const char *difference; /* of a difference between two of them */
} task_words_t;

typedef struct task_ops {
    task_words_t words;

    /* Of all data, so that workers can compare what they have read. */
    uint64_t (*hash)(const task_t *task);

    /* On the device: the network, and the data; steps_per_epoch. Errors: TOOL_FAILED, too little for these workers too. */
    tool_status_t (*build)(task_t *task, const gpu_t *gpu, const workers_t *workers, network_t *network);

    /* Before step number `step` of an epoch, the first or the one that a saved run goes on with: the order of examples.
     * Where that is 0, nothing is left of the epoch before. Waits. */
    tool_status_t (*begin_epoch)(task_t *task, const workers_t *workers, uint64_t epoch, uint64_t step);

    /* Enqueues this worker's batch of that step into the network. *scored_p: as network_enqueue_forward() takes it. */
    tool_status_t (*enqueue)(const task_t *task, uint64_t step, network_t *network, size_t *scored_p);

    /* A test: before, *batches_p is this worker's share; each of its batches; and behind, when training may go on. */
    tool_status_t (*begin_test)(task_t *task, const workers_t *workers, uint64_t *batches_p);
    tool_status_t (*enqueue_test)(const task_t *task, uint64_t batch, network_t *network, size_t *scored_p);
    tool_status_t (*end_test)(task_t *task);

    /* From the mean loss (nats), and which part of the examples were hits. */
    double (*quality)(double loss, double hits);

    /* What a program wants to know of the data and the model. */
    void (*write_json)(const task_t *task, json_t *json);

    void (*destroy)(task_t *task);
} task_ops_t;

/* What all kinds have in common; the first member of each. */
struct task {
    const task_ops_t *ops;
    const options_t  *options;
    const char       *data;            /* what the data are called */
    uint64_t          train_count;     /* examples */
    uint64_t          test_count;      /* examples that a test scores, of all workers */
    uint64_t          step_examples;   /* of one worker */
    uint64_t          steps_per_epoch; /* from build() on */
    char              meaning[96];     /* of the quality, in the table */
};

/* Reads the data that the options name. *task_p is freed by its ops->destroy(). */
tool_status_t task_load_images(const options_t *options, task_t **task_p);
tool_status_t task_load_text(const options_t *options, task_t **task_p);

#endif
