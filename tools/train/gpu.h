/* The device that a worker trains on: context, one in-order queue, kernels. All work is enqueued there, and only
 * what says so waits for it. */
#ifndef PSGD_TRAIN_GPU_H
#define PSGD_TRAIN_GPU_H

#include <psgd/psgd.h>

#include "status.h"

/* The kernels of this tool: how they are called here, the file that holds them (tools/train/), their name there. */
#define GPU_KERNEL_TABLE(ROW) \
    ROW(GATHER_IMAGES, "train_gather.cl", "gather_images") \
    ROW(GATHER_LABELS, "train_gather.cl", "gather_labels") \
    ROW(ADD_BIAS, "train_bias.cl", "add_bias") \
    ROW(MASK_BY_RELU, "train_bias.cl", "mask_by_relu") \
    ROW(POOL, "train_pool.cl", "bias_relu_pool") \
    ROW(UNPOOL, "train_pool.cl", "bias_relu_pool_backward") \
    ROW(SUM_ROWS, "train_sum.cl", "sum_rows") \
    ROW(SUM_EXAMPLES, "train_sum.cl", "sum_examples") \
    ROW(SOFTMAX, "train_softmax.cl", "softmax_cross_entropy") \
    ROW(MOMENTUM, "train_momentum.cl", "momentum_step")

typedef enum gpu_kernel {
#define GPU_KERNEL_ROW(id_, file_, name_) GPU_KERNEL_##id_,
    GPU_KERNEL_TABLE(GPU_KERNEL_ROW)
#undef GPU_KERNEL_ROW
        GPU_NUM_KERNELS
} gpu_kernel_t;

typedef struct gpu {
    psgd_device_info_t info;
    cl_context         context;
    cl_command_queue   queue; /* in order */
    cl_kernel          kernels[GPU_NUM_KERNELS];
    size_t             group_items[GPU_NUM_KERNELS]; /* work-group size of each */
} gpu_t;

/* Part of a buffer of floats. */
typedef struct span {
    cl_mem mem;
    size_t offset; /* elements */
} span_t;

/* Opens the device and compiles the kernels for it. *gpu_p is freed by gpu_close(). Errors: TRAIN_FAILED. */
train_status_t gpu_open(const psgd_device_info_t *info, gpu_t *gpu_p);
void           gpu_close(gpu_t *gpu); /* fine for a gpu_t that is all zero */

/* TRAIN_OK where `result` is CL_SUCCESS; else a sentence with the call, the error and the device. */
train_status_t gpu_check(const gpu_t *gpu, cl_int result, const char *call);

/* A buffer of `count` zeroed elements (at least one); freed by gpu_free(). `what` names it in the sentence. */
train_status_t gpu_alloc(const gpu_t *gpu, size_t count, size_t elem_bytes, const char *what, cl_mem *mem_p);
void           gpu_free(cl_mem mem); /* NULL is fine */

/* Zeroes count floats. */
train_status_t gpu_zero(const gpu_t *gpu, span_t span, size_t count);

/* Transfers between host and device memory, each from the start of the buffer; they wait until it is done. */
train_status_t gpu_write(const gpu_t *gpu, cl_mem to, const void *from, size_t bytes);
train_status_t gpu_read(const gpu_t *gpu, cl_mem from, void *to, size_t bytes);

/* Waits until all that was enqueued is done. */
train_status_t gpu_wait(const gpu_t *gpu);

typedef struct gpu_arg {
    size_t      bytes;
    const void *value;
} gpu_arg_t;

#define GPU_ARG(x_) ((gpu_arg_t){sizeof(x_), &(x_)})

/* Enqueues a kernel for work-items 0 .. count - 1, rounded up to whole work-groups: the kernel leaves out those from
 * `count` on, which it gets as its first argument (uint). Behind it come args[0 .. num_args). */
train_status_t gpu_launch(const gpu_t *gpu, gpu_kernel_t kernel, size_t count, const gpu_arg_t *args, size_t num_args);

/* gpu_launch() with the arguments listed. */
#define GPU_LAUNCH(gpu_, kernel_, count_, ...) \
    gpu_launch(gpu_, kernel_, count_, (const gpu_arg_t[]){__VA_ARGS__}, \
               sizeof((const gpu_arg_t[]){__VA_ARGS__}) / sizeof(gpu_arg_t))

#endif
