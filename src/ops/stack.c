#include "ops/stack.h"

#include "base/arith.h"
#include "base/memory.h"
#include "device/program.h"

enum { GROUP_SIZE = 64 };

struct psgd_stack {
    psgd_device_t *device;
    psgd_kernel_t *kernel;
    psgd_view_t    offsets; /* num_matrices + 1 */
    psgd_view_t    room;
    uint32_t       num_matrices;
    uint32_t       pieces;
    uint64_t       elems; /* of one piece, all matrices */
};

static psgd_status_t create_buffers(psgd_stack_t *stack, const uint64_t *offsets, const char *what)
{
    size_t        offset_bytes = (stack->num_matrices + (size_t)1) * sizeof(offsets[0]);
    psgd_status_t status;

    status = psgd_buffer_create(stack->device, offset_bytes, "the table of a stack", &stack->offsets);
    if (status != PSGD_OK) {
        return status;
    }
    status =
        psgd_buffer_create(stack->device, (size_t)(stack->pieces * stack->elems) * sizeof(float), what, &stack->room);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(stack->device, stack->offsets, offsets, offset_bytes);
    return psgd_device_settle(stack->device, status, "uploading the table of a stack");
}

psgd_status_t psgd_stack_create(psgd_device_t *device, const uint64_t *offsets, size_t num_matrices, uint32_t pieces,
                                const char *what, psgd_stack_t **stack_p)
{
    psgd_program_t *program = NULL;
    psgd_stack_t   *stack;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*stack), "a stack of factors", &stack);
    if (status != PSGD_OK) {
        return status;
    }
    stack->device       = device;
    stack->num_matrices = (uint32_t)num_matrices;
    stack->pieces       = pieces;
    stack->elems        = offsets[num_matrices];
    status              = create_buffers(stack, offsets, what);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_program_get(device, "stack.cl", "", &program);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_kernel_create(program, "stack", &stack->kernel);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *stack_p = stack;
    return PSGD_OK;

destroy:
    psgd_stack_destroy(stack);
    return status;
}

psgd_status_t psgd_stack_enqueue(psgd_stack_t *stack, psgd_view_t factors, uint32_t piece)
{
    uint64_t         from_offset = factors.offset_bytes / sizeof(float);
    uint64_t         to_offset   = stack->room.offset_bytes / sizeof(float);
    const size_t     local       = GROUP_SIZE;
    const size_t     global      = (size_t)psgd_round_up(stack->elems, GROUP_SIZE);
    const psgd_arg_t args[]      = {PSGD_ARG_MEM(stack->offsets), PSGD_ARG(stack->num_matrices), PSGD_ARG(piece),
                                    PSGD_ARG(stack->pieces),      PSGD_ARG_MEM(factors),         PSGD_ARG(from_offset),
                                    PSGD_ARG_MEM(stack->room),    PSGD_ARG(to_offset),           PSGD_ARG(stack->elems)};

    return psgd_kernel_enqueue(stack->device, stack->kernel, 1, &global, &local, args, sizeof(args) / sizeof(args[0]));
}

psgd_view_t psgd_stack_view(const psgd_stack_t *stack)
{
    return stack->room;
}

void psgd_stack_destroy(psgd_stack_t *stack)
{
    if (stack == NULL) {
        return;
    }
    psgd_kernel_destroy(stack->kernel);
    psgd_buffer_destroy(stack->device, &stack->room);
    psgd_buffer_destroy(stack->device, &stack->offsets);
    psgd_free(stack);
}
