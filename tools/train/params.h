/* The parameters of a model: tensors in one buffer, their gradients in a second and their velocities in a third, so
 * that the optimizer is one launch, and each tensor's gradient is a place (buffer, offset) that a reducer takes. */
#ifndef PSGD_TRAIN_PARAMS_H
#define PSGD_TRAIN_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu.h"

enum { PARAMS_MAX_TENSORS = 32, PARAMS_MAX_DIMS = 4 };

typedef struct param {
    const char *name; /* static storage */
    uint32_t    num_dims;
    uint64_t    dims[PARAMS_MAX_DIMS];
    double      bound; /* initial values are even in +-bound; 0: a bias, which starts at 0 */
    size_t      elems;
    size_t      offset; /* elements, in each of the three buffers */
} param_t;

typedef struct params {
    const gpu_t *gpu;
    param_t      tensors[PARAMS_MAX_TENSORS];
    size_t       count;
    size_t       elems;  /* of all tensors */
    size_t       extent; /* of each buffer; what lies between tensors is and stays 0 */
    cl_mem       values, grads, velocities;
    cl_mem       halves; /* the gradients in 16 bits; NULL where they are exchanged as they are */
} params_t;

/* Declares a tensor of initial values even in +-bound; *index_p is how layers know it. Before params_allocate(). */
tool_status_t params_add_within(params_t *params, const char *name, uint32_t num_dims, const uint64_t *dims,
                                double bound, size_t *index_p);

/* The same with a bound of sqrt(6 / fan_in) (He et al. 2015), fan_in: inputs of one output; 0: a bias. */
tool_status_t params_add(params_t *params, const char *name, uint32_t num_dims, const uint64_t *dims, size_t fan_in,
                         size_t *index_p);

tool_status_t params_allocate(params_t *params);

/* Room for gradients in 16 bits, which are exchanged in place of the others from here on. */
tool_status_t params_allocate_halves(params_t *params);
void          params_free(params_t *params);

/* Initial parameters: weights even in their bounds, a function of the seed and the tensor's place alone; biases and
 * velocities 0. Waits. */
tool_status_t params_init(params_t *params, uint64_t seed);

span_t        params_value(const params_t *params, size_t index);
span_t        params_grad(const params_t *params, size_t index);

/* What the library is told about tensor `index`, and where its gradient, its values and its velocities are. */
psgd_tensor_t params_tensor(const params_t *params, size_t index, psgd_dtype_t dtype, bool never_compress);
psgd_buffer_t params_grad_buffer(const params_t *params, size_t index);
psgd_buffer_t params_place(const params_t *params, size_t index, cl_mem mem);

/* The gradients of tensors first to first + count - 1, multiplied by `scale`, into those in 16 bits; and the whole update back. */
tool_status_t params_enqueue_narrow(const params_t *params, size_t first, size_t count, psgd_dtype_t dtype,
                                    float scale);
tool_status_t params_enqueue_widen(const params_t *params, psgd_dtype_t dtype);

/* One step of SGD with momentum by a rule, on the update in the gradients' place (psgd_rule_t has the formulas). */
tool_status_t params_enqueue_update(const params_t *params, psgd_rule_t rule, float momentum, float weight_decay,
                                    float rate);

/* The bits of all values as one number. Waits. */
tool_status_t params_hash(const params_t *params, uint64_t *hash_p);

#endif
