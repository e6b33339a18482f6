#include "ops/residual.h"

#include <stdio.h>

#include "base/memory.h"
#include "ops/decompress.h"

struct psgd_residual {
    psgd_ragged_t *ragged;
    psgd_kernel_t *kernel;
    psgd_tiling_t *tiling;
    size_t         group_size;
    bool           is_rounded;
};

enum { ROUNDING_ARGS = 2 }; /* the last ones */

static psgd_status_t make_kernel(psgd_residual_t *residual, psgd_residual_target_t target)
{
    psgd_device_t  *device = psgd_ragged_device(residual->ragged);
    char            variant[PSGD_VARIANT_OPTIONS_BYTES];
    char            options[PSGD_VARIANT_OPTIONS_BYTES + 24];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(device, PSGD_FORM_NO_FEEDBACK, psgd_ragged_ranks(residual->ragged), variant);
    snprintf(options, sizeof(options), "%s -DPSGD_INTO_ERROR=%d", variant, (int)target);
    status = psgd_program_get(device, "residual.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "residual", &residual->kernel);
}

psgd_status_t psgd_residual_create(psgd_ragged_t *ragged, psgd_residual_target_t target, psgd_residual_t **residual_p)
{
    psgd_residual_t *residual;
    psgd_status_t    status;

    status = psgd_alloc(1, sizeof(*residual), "the kernel of residuals", &residual);
    if (status != PSGD_OK) {
        return status;
    }
    residual->ragged     = ragged;
    residual->is_rounded = target == PSGD_RESIDUAL_INTO_BFLOAT;
    residual->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status               = make_kernel(residual, target);
    if (status != PSGD_OK) {
        goto destroy;
    }
    status = psgd_decompress_tiling(ragged, &residual->tiling);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *residual_p = residual;
    return PSGD_OK;

destroy:
    psgd_residual_destroy(residual);
    return status;
}

psgd_status_t psgd_residual_enqueue(psgd_residual_t *residual, psgd_view_t p, psgd_view_t q, psgd_rounding_t rounding)
{
    uint64_t         p_offset = p.offset_bytes / sizeof(float);
    uint64_t         q_offset = q.offset_bytes / sizeof(float);
    const psgd_arg_t args[]   = {PSGD_ARG_MEM(p),    PSGD_ARG(p_offset),          PSGD_ARG_MEM(q),
                                 PSGD_ARG(q_offset), PSGD_ARG_MEM(rounding.keys), PSGD_ARG(rounding.step_key)};
    size_t           num_args = sizeof(args) / sizeof(args[0]);

    return psgd_tiling_enqueue(residual->tiling, residual->kernel, residual->group_size, args,
                               residual->is_rounded ? num_args : num_args - ROUNDING_ARGS);
}

void psgd_residual_destroy(psgd_residual_t *residual)
{
    if (residual == NULL) {
        return;
    }
    psgd_tiling_destroy(residual->tiling);
    psgd_kernel_destroy(residual->kernel);
    psgd_free(residual);
}
