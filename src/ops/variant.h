/* In which of two ways the kernels of the passes over M are compiled: see cl/vector.clh. */
#ifndef PSGD_OPS_VARIANT_H
#define PSGD_OPS_VARIANT_H

#include "device/device.h"

/* What is done with the error; PSGD_FORM of the kernels. */
typedef enum psgd_form {
    PSGD_FORM_NO_FEEDBACK   = 0, /* M = g; there is no error memory */
    PSGD_FORM_TRANSACTIONAL = 1, /* M = g + e over g; e is written when the step is certain */
    PSGD_FORM_LAZY          = 2, /* M = g + e over the error memory, which holds M between steps */
    PSGD_FORM_HALF = 3 /* as transactional, e in bfloat16; in places error memories are counted in elements then */
} psgd_form_t;

enum { PSGD_GROUP_LANES = 64 /* work-items of a group where there are no vectors */ };

/* Whether kernels walk in vectors, one work-item a group. */
static inline bool psgd_uses_vectors(const psgd_device_t *device)
{
    return psgd_device_limits(device)->vector_floats > 1;
}

/* Work-items of a group. */
static inline size_t psgd_group_size(const psgd_device_t *device)
{
    return psgd_uses_vectors(device) ? 1 : PSGD_GROUP_LANES;
}

/* How many rounds the loops of a work-item may make together, which tiles are cut by where there are no vectors. The CPU among
 * those devices is Mesa's llvmpipe, which silently stops at 65535 rounds. Elsewhere shorter loops would only mean more parts of
 * sums, which at high ranks outgrow the matrix. */
static inline uint64_t psgd_max_loops(const psgd_device_t *device)
{
    return psgd_device_limits(device)->is_cpu ? 50000 : UINT32_MAX;
}

/* Of the matrices that a kernel is compiled for. */
typedef struct psgd_ranks {
    uint32_t common;  /* that all have; 0 where they differ */
    uint32_t largest; /* >= 1; 1 where the kernel keeps nothing of a factor */
} psgd_ranks_t;

enum { PSGD_VARIANT_OPTIONS_BYTES = 160 };

/* The options of the compiler: "-DPSGD_VECTORS=1 -DPSGD_WIDTH=16 -DPSGD_REGISTERS=2 -DPSGD_GROUP=64 -DPSGD_FORM=1 ...". */
void psgd_variant_options(const psgd_device_t *device, psgd_form_t form, psgd_ranks_t ranks,
                          char options[PSGD_VARIANT_OPTIONS_BYTES]);

#endif
