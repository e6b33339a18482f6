/* A backward pass that computes nothing: kernels that keep the device busy for about as long as they are asked to, spread over the
 * tensors by their size. */
#ifndef PSGD_BENCH_BACKWARD_H
#define PSGD_BENCH_BACKWARD_H

#include "gpu.h"
#include "model.h"

typedef struct backward {
    const gpu_t   *gpu;
    const model_t *model;
    double         ms;           /* of the whole pass */
    double         loops_per_ms; /* of one launch */
    size_t         groups, group_items;
    cl_mem         ends; /* what the kernels write, so that no compiler leaves them out */
} backward_t;

/* A pass of about `ms` milliseconds, as fast as the device is now. Freed by backward_destroy(), also after an error. Waits. */
tool_status_t backward_create(const gpu_t *gpu, const model_t *model, double ms, backward_t *backward_p);
void          backward_destroy(backward_t *backward);

/* Enqueues the share of tensor `index`. */
tool_status_t backward_enqueue(const backward_t *backward, size_t index);

/* The whole pass, from the last tensor to the first. Waits. */
tool_status_t backward_run(const backward_t *backward);

#endif
