#include "floor.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "measure_kernels.h"

enum {
    CHUNKS_PER_UNIT = 4,   /* on CPUs: a few for each compute unit, so that a late one is made up for */
    GROUPS_PER_UNIT = 16,  /* on GPUs: enough to hide the latency of memory */
    GROUP_ITEMS     = 256, /* on GPUs; a power of two */
    CPU_VECTOR      = 16,  /* elements */
    GPU_VECTOR      = 4
};

static bool is_cpu(const gpu_t *gpu)
{
    return gpu->info.kind == PSGD_DEVICE_CPU;
}

static uint64_t vector_elems(const gpu_t *gpu)
{
    return is_cpu(gpu) ? CPU_VECTOR : GPU_VECTOR;
}

/* The largest power of two that all kernels with a work-group of more than one take, GROUP_ITEMS at most. */
static size_t group_items(const gpu_t *gpu)
{
    size_t items = GROUP_ITEMS;

    for (size_t k = MEASURE_KERNEL_ADD_STRIDED; k <= MEASURE_KERNEL_SUM_PARTIALS; ++k) {
        while (items > gpu->most_items[k]) {
            items /= 2;
        }
    }
    return items;
}

static uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void choose_shape(floor_t *floor)
{
    uint64_t vectors = floor->elems / vector_elems(floor->gpu);
    uint64_t units   = floor->gpu->info.compute_units > 0 ? floor->gpu->info.compute_units : 1;

    floor->group_items   = is_cpu(floor->gpu) ? 1 : group_items(floor->gpu);
    floor->partial_items = floor->group_items;
    if (is_cpu(floor->gpu)) {
        floor->groups = (size_t)at_most(units * CHUNKS_PER_UNIT, vectors);
    } else {
        floor->groups =
            (size_t)at_most(units * GROUPS_PER_UNIT, (vectors + floor->group_items - 1) / floor->group_items);
    }
}

static tool_status_t run_add(const floor_t *floor, uint64_t vectors, uint64_t chunk)
{
    if (is_cpu(floor->gpu)) {
        return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_ADD_CHUNKS, floor->groups, 1, GPU_ARG(vectors),
                                 GPU_ARG(chunk), GPU_ARG(floor->a), GPU_ARG(floor->b));
    }
    return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_ADD_STRIDED, floor->groups, floor->group_items,
                             GPU_ARG(vectors), GPU_ARG(floor->a), GPU_ARG(floor->b));
}

static tool_status_t run_fill(const floor_t *floor, uint64_t vectors, uint64_t chunk, cl_mem mem, float value)
{
    if (is_cpu(floor->gpu)) {
        return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_FILL_CHUNKS, floor->groups, 1, GPU_ARG(vectors),
                                 GPU_ARG(chunk), GPU_ARG(mem), GPU_ARG(value));
    }
    return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_FILL_STRIDED, floor->groups, floor->group_items,
                             GPU_ARG(vectors), GPU_ARG(mem), GPU_ARG(value));
}

static tool_status_t run_split(const floor_t *floor, uint64_t vectors, uint64_t chunk)
{
    if (is_cpu(floor->gpu)) {
        return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_SPLIT_CHUNKS, floor->groups, 1, GPU_ARG(vectors),
                                 GPU_ARG(chunk), GPU_ARG(floor->a), GPU_ARG(floor->b));
    }
    return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_SPLIT_STRIDED, floor->groups, floor->group_items,
                             GPU_ARG(vectors), GPU_ARG(floor->a), GPU_ARG(floor->b));
}

static tool_status_t run_sum(const floor_t *floor, uint64_t vectors, uint64_t chunk)
{
    gpu_arg_t     room       = {floor->group_items * sizeof(float), NULL}; /* local memory */
    gpu_arg_t     last_room  = {floor->partial_items * sizeof(float), NULL};
    cl_uint       num_groups = (cl_uint)floor->groups;
    tool_status_t status;

    if (is_cpu(floor->gpu)) {
        status = GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_SUM_CHUNKS, floor->groups, 1, GPU_ARG(vectors),
                                   GPU_ARG(chunk), GPU_ARG(floor->a), GPU_ARG(floor->partials));
    } else {
        status = GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_SUM_STRIDED, floor->groups, floor->group_items,
                                   GPU_ARG(vectors), GPU_ARG(floor->a), GPU_ARG(floor->partials), room);
    }
    if (status != TOOL_OK) {
        return status;
    }
    return GPU_LAUNCH_GROUPS(floor->gpu, MEASURE_KERNEL_SUM_PARTIALS, 1, floor->partial_items, GPU_ARG(num_groups),
                             GPU_ARG(floor->partials), GPU_ARG(floor->total), last_room);
}

/* The passes of each form. Before and behind the 7 N form, a = b = 1/2; the others end with a = 1/2 too, and find
 * b = 1/2 or do not read it. So the read-and-sum finds 1, or 1/2, everywhere, however often this is run. */
tool_status_t floor_run(const floor_t *floor)
{
    uint64_t      vectors = floor->elems / vector_elems(floor->gpu);
    uint64_t      chunk   = floor->groups > 0 ? (vectors + floor->groups - 1) / floor->groups : 0;
    tool_status_t status  = TOOL_OK;

    if (floor->elems == 0) {
        return TOOL_OK;
    }
    if (floor->form == FLOOR_UPDATE_ONLY) {
        status = run_sum(floor, vectors, chunk);
    } else {
        status = run_add(floor, vectors, chunk);
    }
    if (status == TOOL_OK) {
        status = run_sum(floor, vectors, chunk);
    }
    if (status == TOOL_OK && floor->form == FLOOR_TRANSACTIONAL) {
        status = run_split(floor, vectors, chunk);
    } else if (status == TOOL_OK) {
        status = run_fill(floor, vectors, chunk, floor->a, 0.5f);
    }
    return status == TOOL_OK ? gpu_wait(floor->gpu) : status;
}

tool_status_t floor_check(const floor_t *floor)
{
    double        each     = floor->form == FLOOR_UPDATE_ONLY ? 0.5 : 1.0;
    double        expected = each * (double)floor->elems;
    float         total    = 0.0f;
    tool_status_t status   = TOOL_OK;

    for (int i = 0; i < 2 && status == TOOL_OK; ++i) { /* the second finds what the first has left */
        status = floor_run(floor);
    }
    if (status == TOOL_OK && floor->elems > 0) {
        status = gpu_read(floor->gpu, floor->total, &total, sizeof(total));
    }
    if (status == TOOL_OK && !(fabs((double)total - expected) <= 1e-3 * expected)) {
        return tool_fail(TOOL_WRONG, "the floor's sum over %llu elements is %g and should be %g",
                         (unsigned long long)floor->elems, (double)total, expected);
    }
    return status;
}

tool_status_t floor_create(const gpu_t *gpu, floor_form_t form, uint64_t elems, floor_t *floor_p)
{
    floor_t      *floor   = floor_p;
    uint64_t      vector  = vector_elems(gpu);
    uint64_t      vectors = (elems + vector - 1) / vector;
    tool_status_t status  = TOOL_OK;

    *floor = (floor_t){.gpu = gpu, .form = form, .elems = vectors * vector};
    if (elems == 0) {
        return TOOL_OK;
    }
    choose_shape(floor);
    status = gpu_alloc(gpu, floor->elems, sizeof(float), "the floor's first array", &floor->a);
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, floor->elems, sizeof(float), "the floor's second array", &floor->b);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, floor->groups, sizeof(float), "the floor's partial sums", &floor->partials);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, 1, sizeof(float), "the floor's sum", &floor->total);
    }
    if (status == TOOL_OK) {
        status = run_fill(floor, vectors, (vectors + floor->groups - 1) / floor->groups, floor->a, 0.5f);
    }
    if (status == TOOL_OK) {
        status = run_fill(floor, vectors, (vectors + floor->groups - 1) / floor->groups, floor->b, 0.5f);
    }
    return status == TOOL_OK ? gpu_wait(gpu) : status;
}

void floor_destroy(floor_t *floor)
{
    gpu_free(floor->a);
    gpu_free(floor->b);
    gpu_free(floor->partials);
    gpu_free(floor->total);
    memset(floor, 0, sizeof(*floor));
}
