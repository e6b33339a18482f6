#include "score.h"

/* Sums of loss and hits over at most `most` batches of this worker's share. */
static tool_status_t score_batches(task_t *task, const workers_t *workers, uint64_t most, network_t *network,
                                   double sums[2])
{
    uint64_t      batches = 0;
    tool_status_t status  = network_take_score(network, &sums[0], &sums[1]); /* what training has left there */

    if (status == TOOL_OK) {
        status = task->ops->begin_test(task, workers, &batches);
    }
    for (uint64_t i = 0; i < batches && i < most && status == TOOL_OK; ++i) {
        size_t scored = 0;

        status = task->ops->enqueue_test(task, i, network, &scored);
        if (status == TOOL_OK) {
            status = network_enqueue_forward(network, scored);
        }
        if (status == TOOL_OK) { /* products that are enqueued hold memory: not that of all batches at once */
            status = gpu_wait(network->gpu);
        }
    }
    if (status == TOOL_OK) {
        status = network_take_score(network, &sums[0], &sums[1]);
    }
    return status == TOOL_OK ? task->ops->end_test(task) : status;
}

tool_status_t score_all(task_t *task, const workers_t *workers, network_t *network, score_t *score_p)
{
    double        sums[2] = {0.0, 0.0};
    tool_status_t status  = score_batches(task, workers, UINT64_MAX, network, sums);

    if (status == TOOL_OK) {
        status = workers_sum(workers, sums, 2);
    }
    if (status == TOOL_OK) {
        score_p->loss    = sums[0] / (double)task->test_count;
        score_p->quality = task->ops->quality(score_p->loss, sums[1] / (double)task->test_count);
    }
    return status;
}

tool_status_t score_rehearse(task_t *task, const workers_t *workers, network_t *network)
{
    double sums[2] = {0.0, 0.0};

    return score_batches(task, workers, 1, network, sums);
}
