#include "backward.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "clock.h"
#include "kernels.h"

enum {
    GROUPS_PER_UNIT = 4,  /* on GPUs: all units are busy, and there is room for another queue's work beside it */
    GROUP_ITEMS     = 64, /* on GPUs; on CPUs one work-item a core */
    FIRST_LOOPS     = 1000,
    MOST_LOOPS      = 1 << 30,
    TRIALS          = 10 /* of which the shortest counts: the machine may be busy with something else in the others */
};

static const double LAUNCH_MS = 1.0; /* at most: kernels of a backward pass are short, and let others between them */
static const double TRIAL_MS  = 4.0; /* at least: long against what a launch takes */

static tool_status_t launch(const backward_t *b, cl_uint loops)
{
    return GPU_LAUNCH_GROUPS(b->gpu, BENCH_KERNEL_SPEND_TIME, b->groups, b->group_items, GPU_ARG(loops),
                             GPU_ARG(b->ends));
}

static tool_status_t time_launch(const backward_t *b, cl_uint loops, double *ms_p)
{
    double        begin  = clock_now();
    tool_status_t status = launch(b, loops);

    if (status == TOOL_OK) {
        status = gpu_wait(b->gpu);
    }
    *ms_p = 1e3 * (clock_now() - begin);
    return status;
}

/* How many loops a launch makes in a millisecond, at best. */
static tool_status_t calibrate(backward_t *b)
{
    cl_uint       loops  = FIRST_LOOPS;
    double        ms     = 0.0, least;
    tool_status_t status = time_launch(b, loops, &ms); /* loads the kernel */

    if (status == TOOL_OK) {
        status = time_launch(b, loops, &ms);
    }
    while (status == TOOL_OK && ms < TRIAL_MS && loops < MOST_LOOPS) {
        loops *= 2;
        status = time_launch(b, loops, &ms);
    }
    least = ms;
    for (int trial = 1; trial < TRIALS && status == TOOL_OK; ++trial) {
        status = time_launch(b, loops, &ms);
        least  = fmin(least, ms);
    }
    b->loops_per_ms = (double)loops / least;
    return status;
}

tool_status_t backward_create(const gpu_t *gpu, const model_t *model, double ms, backward_t *b)
{
    const bool    is_cpu = gpu->info.kind == PSGD_DEVICE_CPU;
    const size_t  units  = gpu->info.compute_units > 0 ? gpu->info.compute_units : 1;
    const size_t  most   = gpu->most_items[BENCH_KERNEL_SPEND_TIME];
    tool_status_t status;

    *b             = (backward_t){.gpu = gpu, .model = model, .ms = ms};
    b->groups      = is_cpu ? units : units * GROUPS_PER_UNIT;
    b->group_items = is_cpu ? 1 : (most < GROUP_ITEMS ? most : GROUP_ITEMS);
    status = gpu_alloc(gpu, b->groups * b->group_items, sizeof(cl_uint), "what the simulated backward pass writes",
                       &b->ends);
    return status == TOOL_OK ? calibrate(b) : status;
}

void backward_destroy(backward_t *backward)
{
    gpu_free(backward->ends);
    memset(backward, 0, sizeof(*backward));
}

tool_status_t backward_enqueue(const backward_t *b, size_t index)
{
    const double  ms       = b->ms * (double)b->model->tensors[index].elems / (double)b->model->elems;
    const size_t  launches = (size_t)fmax(1.0, ceil(ms / LAUNCH_MS));
    const cl_uint loops    = (cl_uint)(b->loops_per_ms * ms / (double)launches);
    tool_status_t status   = TOOL_OK;

    for (size_t i = 0; i < launches && loops > 0 && status == TOOL_OK; ++i) {
        status = launch(b, loops);
    }
    return status;
}

tool_status_t backward_run(const backward_t *b)
{
    tool_status_t status = TOOL_OK;

    for (size_t t = b->model->count; t-- > 0 && status == TOOL_OK;) {
        status = backward_enqueue(b, t);
    }
    return status == TOOL_OK ? gpu_wait(b->gpu) : status;
}
