/* P^ = orthogonalize(P), for all matrices of a step at once: Gram-Schmidt applied twice, spread over the device.
 *
 * For every finite input: max |I - P^T P| <= 9.5e-7, and per column |p_j - P^ P^T p_j| <= 2e-6 |p_j|. A column that vanishes
 * (relative to its own size) is replaced by a random one, orthogonalized against those before it, so that P^ always has
 * orthonormal columns. A column with NaN or Inf, and those after it, become NaN. The bits depend on the input, random_key
 * and step alone, not on the work-group size. */
#ifndef PSGD_OPS_ORTHOGONALIZE_H
#define PSGD_OPS_ORTHOGONALIZE_H

#include "device/buffer.h"
#include "device/device.h"

/* One matrix: `columns` vectors of `length` elements each, one behind the other from offset_elems of the buffer on.
 * columns <= length < 2^32. */
typedef struct psgd_columns {
    uint64_t offset_elems;
    uint64_t length;
    uint32_t columns;
    uint64_t random_key; /* of the columns that replace vanished ones (psgd_random_key) */
} psgd_columns_t;

typedef struct psgd_orthogonalizer psgd_orthogonalizer_t;

/* Compiles the kernels and uploads the table of the matrices, which is copied. num_matrices >= 1. Waits for the upload. */
psgd_status_t psgd_orthogonalizer_create(psgd_device_t *device, const psgd_columns_t *matrices, size_t num_matrices,
                                         psgd_orthogonalizer_t **orthogonalizer_p);

/* How a work-group shares its 64 lanes: group_size work-items (a power of two up to 64), each with vectors of vector_lanes
 * lanes (1; or 16 with a group of 1). at_once (with a group of 1): everything in one launch, in which a matrix is one work-item's,
 * and not spread over the device. The bits depend on none of it. */
typedef struct psgd_orthogonalize_shape {
    uint32_t group_size;
    uint32_t vector_lanes;
    bool     at_once;
} psgd_orthogonalize_shape_t;

/* The same with a shape of the caller's choice, where psgd_orthogonalizer_create() goes by the device. The group is made
 * smaller where the device's limits ask for it. */
psgd_status_t psgd_orthogonalizer_create_shaped(psgd_device_t *device, const psgd_columns_t *matrices,
                                                size_t num_matrices, psgd_orthogonalize_shape_t shape,
                                                psgd_orthogonalizer_t **orthogonalizer_p);

/* Enqueues out = orthogonalize(in) for all matrices. The number of launches depends on the shape and on the largest
 * number of columns alone. `in` and `out` may be the same. `step` numbers the random columns. Allocates nothing. NULL: there are
 * no matrices. */
psgd_status_t psgd_orthogonalizer_enqueue(psgd_orthogonalizer_t *orthogonalizer, psgd_view_t in, psgd_view_t out,
                                          uint64_t step);

void psgd_orthogonalizer_destroy(psgd_orthogonalizer_t *orthogonalizer);

#endif
