/* The plan: which tensors are compressed, as which matrices, and where everything lies in the buffers that travel.
 * Pure host arithmetic. Fixed at creation; the same on every worker. */
#ifndef PSGD_PLAN_PLAN_H
#define PSGD_PLAN_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

/* How a tensor travels. */
typedef enum psgd_route {
    PSGD_ROUTE_COMPRESSED, /* as P and Q */
    PSGD_ROUTE_FLATTENED,  /* as a part of the one matrix of the flattened gradient */
    PSGD_ROUTE_SMALL,      /* as it is, in the message of P */
    PSGD_ROUTE_LARGE       /* as it is, in collectives of its own (above PSGD_SMALL_TENSOR_BYTES) */
} psgd_route_t;

enum { PSGD_SMALL_TENSOR_BYTES = 256 * 1024 };

typedef struct psgd_plan_tensor {
    char              *name;
    uint64_t           name_hash;
    uint64_t           dims[PSGD_MAX_DIMS];
    uint32_t           num_dims;
    psgd_dtype_t       dtype;
    uint64_t           elems;
    psgd_matrix_view_t view;          /* complete; elems x 1 for a vector */
    bool               is_transposed; /* of the view that was given: the shorter side comes first */
    uint32_t           r;             /* of its matrices; 0: not compressed, or flattened */
    psgd_route_t       route;
    size_t   matrix_index; /* compressed: of the first of its view.batch matrices; flattened: of the one matrix */
    uint64_t offset_elems; /* small: from the first small tensor in message 1; large: from the first large tensor;
                                      * flattened: in the one matrix */
    bool     is_reshaped;  /* its matrices do not lie in it contiguously, one behind the other */
    bool is_copied; /* a step works on a single precision copy in the layout of its matrices: reshaped, or in 16 bits */
} psgd_plan_tensor_t;

/* One compressed matrix M, rows x cols, row-major. Its factors lie transposed, so that each column of P and Q is contiguous:
 * P as r x rows at p_offset_elems of every P buffer, Q as r x cols at q_offset_elems of every Q buffer. */
typedef struct psgd_plan_matrix {
    size_t      tensor_index;
    uint64_t    grad_offset_elems; /* in the tensor, or in its copy */
    const char *name; /* the tensor's */
    uint64_t    name_hash;
    uint64_t    rows, cols;
    uint32_t    r; /* min(rank, rows, cols) */
    uint64_t    p_offset_elems;
    uint64_t    q_offset_elems;
} psgd_plan_matrix_t;

typedef struct psgd_plan {
    psgd_plan_tensor_t *tensors;
    size_t              num_given;   /* the caller's tensors */
    size_t              num_tensors; /* and, behind them, that of the flattened gradient where there is one */
    psgd_plan_matrix_t *matrices; /* in tensor order */
    size_t              num_matrices;
    size_t              first_matrix;     /* of a slice (plan/slice.h): its number in the whole plan; else 0 */
    uint64_t            p_elems;          /* of all P together */
    uint64_t            q_elems;          /* of all Q together */
    uint64_t            small_elems;      /* of all small tensors together */
    uint64_t            large_elems;      /* of all large tensors together */
    uint64_t            matrix_elems;     /* of all compressed matrices together */
    uint64_t            total_elems;      /* of the caller's tensors */
    uint64_t            flattened_elems; /* of those that are parts of a flattened gradient, without what fills it up */
    uint64_t            compressed_elems; /* what a compressed step sends: p + q + small + large */
} psgd_plan_t;

/* Checks the tensors and the options that shape the plan, and makes it. Errors, each naming the tensor:
 * PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_UNSUPPORTED, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_plan_create(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                               psgd_plan_t **plan_p);
void psgd_plan_destroy(psgd_plan_t *plan);

/* Whether a rows x cols matrix is compressed at rank r_eff: (rows + cols) * r_eff * min_compression_rate < rows * cols. */
bool psgd_plan_compresses(uint64_t rows, uint64_t cols, uint32_t r_eff, double min_compression_rate);

/* The tensor of this name, or NULL. */
const psgd_plan_tensor_t *psgd_plan_find(const psgd_plan_t *plan, const char *name);

/* Whether its gradient travels as factors. */
bool psgd_plan_tensor_is_compressed(const psgd_plan_tensor_t *tensor);

/* Whether any tensor is reshaped; copied. */
bool psgd_plan_has_reshaped(const psgd_plan_t *plan);
bool psgd_plan_has_copied(const psgd_plan_t *plan);

/* Bytes of an element. */
size_t psgd_dtype_bytes(psgd_dtype_t dtype);

#endif
