/* A test: what the model makes of the examples that it has not learnt from. */
#ifndef PSGD_TRAIN_SCORE_H
#define PSGD_TRAIN_SCORE_H

#include "network.h"
#include "task.h"
#include "workers.h"

typedef struct score {
    double loss;    /* mean cross-entropy, nats */
    double quality; /* task_words_t: an accuracy, 0 to 1, or a perplexity */
} score_t;

/* All of the test's examples, of which each worker takes its share. What training has added to the network's score is
 * lost. A collective. */
tool_status_t score_all(task_t *task, const workers_t *workers, network_t *network, score_t *score_p);

/* One batch, so that all kernels have run. Each worker for itself. */
tool_status_t score_rehearse(task_t *task, const workers_t *workers, network_t *network);

#endif
