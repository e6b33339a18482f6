/* The device that a worker trains on: context, one in-order queue, kernels. All work is enqueued there, and only
 * what says so waits for it. */
#ifndef PSGD_TOOLS_GPU_H
#define PSGD_TOOLS_GPU_H

#include <psgd/psgd.h>

#include "status.h"

/* Kernels that a tool brings: the embedded files, and what to take from which. */
typedef struct gpu_source {
    const char          *file;
    const unsigned char *text; /* ends in 0x00 */
} gpu_source_t;

typedef struct gpu_kernel_row {
    const char *file;
    const char *name;
} gpu_kernel_row_t;

enum { GPU_MAX_KERNELS = 32 };

typedef struct gpu_program {
    const gpu_source_t     *sources;
    size_t                  num_sources;
    const gpu_kernel_row_t *kernels; /* those of one file stand together */
    size_t                  num_kernels;
} gpu_program_t;

typedef struct gpu {
    psgd_device_info_t info;
    cl_context         context;
    cl_command_queue   queue; /* in order */
    gpu_program_t      program;
    cl_kernel          kernels[GPU_MAX_KERNELS];    /* in the order of program.kernels */
    size_t             most_items[GPU_MAX_KERNELS]; /* of a work-group, for each */
} gpu_t;

/* Part of a buffer of floats. */
typedef struct span {
    cl_mem mem;
    size_t offset; /* elements */
} span_t;

/* Opens the device and compiles the kernels of `program` (static storage) for it. *gpu_p is freed by gpu_close().
 * Errors: TOOL_FAILED. */
tool_status_t gpu_open(const psgd_device_info_t *info, const gpu_program_t *program, gpu_t *gpu_p);
void          gpu_close(gpu_t *gpu); /* fine for a gpu_t that is all zero */

/* TOOL_OK where `result` is CL_SUCCESS; else a sentence with the call, the error and the device. */
tool_status_t gpu_check(const gpu_t *gpu, cl_int result, const char *call);

/* A buffer of `count` zeroed elements (at least one); freed by gpu_free(). `what` names it in the sentence. */
tool_status_t gpu_alloc(const gpu_t *gpu, size_t count, size_t elem_bytes, const char *what, cl_mem *mem_p);
void          gpu_free(cl_mem mem); /* NULL is fine */

/* Zeroes count floats. */
tool_status_t gpu_zero(const gpu_t *gpu, span_t span, size_t count);

/* Enqueues the copy of count elements of 4 bytes; the two must not overlap. */
tool_status_t gpu_copy(const gpu_t *gpu, span_t from, span_t to, size_t count);

/* Transfers between host and device memory, each from the start of the buffer; they wait until it is done. */
tool_status_t gpu_write(const gpu_t *gpu, cl_mem to, const void *from, size_t bytes);
tool_status_t gpu_read(const gpu_t *gpu, cl_mem from, void *to, size_t bytes);

/* Waits until all that was enqueued is done. */
tool_status_t gpu_wait(const gpu_t *gpu);

typedef struct gpu_arg {
    size_t      bytes;
    const void *value;
} gpu_arg_t;

#define GPU_ARG(x_) ((gpu_arg_t){sizeof(x_), &(x_)})

/* Enqueues kernel number `kernel` for work-items 0 .. count - 1, rounded up to whole work-groups: the kernel leaves out
 * those from `count` on, which it gets as its first argument (uint). Behind it come args[0 .. num_args). */
tool_status_t gpu_launch(const gpu_t *gpu, size_t kernel, size_t count, const gpu_arg_t *args, size_t num_args);

/* gpu_launch() with the arguments listed. */
#define GPU_LAUNCH(gpu_, kernel_, count_, ...) \
    gpu_launch(gpu_, kernel_, count_, (const gpu_arg_t[]){__VA_ARGS__}, \
               sizeof((const gpu_arg_t[]){__VA_ARGS__}) / sizeof(gpu_arg_t))

/* Enqueues so many work-groups of so many work-items (at most most_items[kernel]); the arguments are args alone. */
tool_status_t gpu_launch_groups(const gpu_t *gpu, size_t kernel, size_t groups, size_t group_items,
                                const gpu_arg_t *args, size_t num_args);

#define GPU_LAUNCH_GROUPS(gpu_, kernel_, groups_, group_items_, ...) \
    gpu_launch_groups(gpu_, kernel_, groups_, group_items_, (const gpu_arg_t[]){__VA_ARGS__}, \
                      sizeof((const gpu_arg_t[]){__VA_ARGS__}) / sizeof(gpu_arg_t))

#endif
