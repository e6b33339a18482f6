/* The factors of several pieces side by side, so that one chain sums P_1 Q_1^T + P_2 Q_2^T + ...: cl/stack.cl. */
#ifndef PSGD_OPS_STACK_H
#define PSGD_OPS_STACK_H

#include "device/buffer.h"
#include "device/device.h"

typedef struct psgd_stack psgd_stack_t;

/* For factors that lie one behind the other, that of matrix m at offsets[m], up to offsets[m + 1] (elements; num_matrices + 1 of
 * them, rising; copied); and for `pieces` pieces. Allocates the room of all. Waits for the upload. `what` names the room in
 * errors. */
psgd_status_t psgd_stack_create(psgd_device_t *device, const uint64_t *offsets, size_t num_matrices, uint32_t pieces,
                                const char *what, psgd_stack_t **stack_p);

/* Puts all matrices' factors of one piece in. Allocates nothing. */
psgd_status_t psgd_stack_enqueue(psgd_stack_t *stack, psgd_view_t factors, uint32_t piece);

/* The room: matrix m's factors of all pieces from `pieces` * offsets[m] on. */
psgd_view_t psgd_stack_view(const psgd_stack_t *stack);

void psgd_stack_destroy(psgd_stack_t *stack);

#endif
