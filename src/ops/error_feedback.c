#include "ops/error_feedback.h"

#include <stdio.h>

#include "base/memory.h"
#include "device/program.h"

struct psgd_error_feedback {
    psgd_device_t  *device;
    psgd_program_t *program;
    psgd_kernel_t  *kernel;
    uint32_t        width; /* elements of a vector */
};

enum {
    CPU_WIDTH          = 16,
    GPU_WIDTH          = 4,
    CPU_ITEMS_PER_UNIT = 8,      /* work-items for each compute unit, so that a slow one does not hold up the rest */
    CPU_MIN_ELEMS      = 4096,   /* of one work-item: less is not worth starting one */
    CPU_MAX_ELEMS      = 524288, /* of one work-item: Mesa's llvmpipe breaks off a loop, silently, after 65535 rounds */
    GPU_WORK_GROUP_SIZE = 256
};

static uint64_t divide_up(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

psgd_status_t psgd_error_feedback_create(psgd_device_t *device, psgd_error_feedback_t **feedback_p)
{
    psgd_error_feedback_t *feedback;
    char                   options[64];
    psgd_status_t          status;

    status = psgd_alloc(1, sizeof(*feedback), "the error feedback kernel", &feedback);
    if (status != PSGD_OK) {
        return status;
    }
    feedback->device = device;
    feedback->width  = psgd_device_limits(device)->is_cpu ? CPU_WIDTH : GPU_WIDTH;
    snprintf(options, sizeof(options), "-DPSGD_WIDTH=%u", feedback->width);
    status = psgd_program_build(device, "error_feedback.cl", options, &feedback->program);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_kernel_create(feedback->program, "error_feedback_add", &feedback->kernel);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *feedback_p = feedback;
    return PSGD_OK;

destroy:
    psgd_error_feedback_destroy(feedback);
    return status;
}

psgd_status_t psgd_error_feedback_enqueue(psgd_error_feedback_t *feedback, psgd_view_t grad, psgd_view_t error,
                                          uint64_t elems)
{
    const psgd_device_limits_t *limits         = psgd_device_limits(feedback->device);
    uint64_t                    grad_offset    = grad.offset_bytes / sizeof(float);
    uint64_t                    error_offset   = error.offset_bytes / sizeof(float);
    uint64_t                    elems_per_item = feedback->width;
    size_t                      local          = 1;
    size_t                      global;

    if (limits->is_cpu) {
        elems_per_item = divide_up(elems, (uint64_t)limits->compute_units * CPU_ITEMS_PER_UNIT);
        elems_per_item = elems_per_item < CPU_MIN_ELEMS ? CPU_MIN_ELEMS : elems_per_item;
        elems_per_item = elems_per_item > CPU_MAX_ELEMS ? CPU_MAX_ELEMS : elems_per_item;
        elems_per_item = divide_up(elems_per_item, CPU_WIDTH) * CPU_WIDTH;
    } else {
        local = psgd_kernel_max_work_group_size(feedback->kernel);
        local = local < GPU_WORK_GROUP_SIZE ? local : GPU_WORK_GROUP_SIZE;
    }
    global = (size_t)divide_up(divide_up(elems, elems_per_item), local) * local;

    const psgd_arg_t args[] = {PSGD_ARG(elems),       PSGD_ARG(elems_per_item), PSGD_ARG_MEM(grad),
                               PSGD_ARG(grad_offset), PSGD_ARG_MEM(error),      PSGD_ARG(error_offset)};

    return psgd_kernel_enqueue(feedback->device, feedback->kernel, 1, &global, &local, args,
                               sizeof(args) / sizeof(args[0]));
}

void psgd_error_feedback_destroy(psgd_error_feedback_t *feedback)
{
    if (feedback == NULL) {
        return;
    }
    psgd_kernel_destroy(feedback->kernel);
    psgd_program_destroy(feedback->program);
    psgd_free(feedback);
}
