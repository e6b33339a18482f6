#include "ops/apply.h"

#include <stdio.h>

#include "base/memory.h"
#include "ops/decompress.h"

struct psgd_apply {
    psgd_ragged_t *ragged;
    psgd_kernel_t *apply;
    psgd_kernel_t *narrow;
    psgd_tiling_t *tiling;
    size_t         group_size;
};

static psgd_status_t make_kernels(psgd_apply_t *apply, bool from_factors, psgd_rule_t rule, bool has_momentum)
{
    psgd_device_t  *device = psgd_ragged_device(apply->ragged);
    psgd_ranks_t    ranks  = from_factors ? psgd_ragged_ranks(apply->ragged) : (psgd_ranks_t){0, 1};
    char            variant[PSGD_VARIANT_OPTIONS_BYTES];
    char            options[PSGD_VARIANT_OPTIONS_BYTES + 80];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(device, PSGD_FORM_NO_FEEDBACK, ranks, variant);
    snprintf(options, sizeof(options), "%s -DPSGD_FROM_FACTORS=%d -DPSGD_RULE=%d -DPSGD_MOMENTUM=%d", variant,
             from_factors ? 1 : 0, (int)rule, has_momentum ? 1 : 0);
    status = psgd_program_get(device, "apply.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_create(program, "apply", &apply->apply);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "narrow", &apply->narrow);
}

psgd_status_t psgd_apply_create(psgd_ragged_t *ragged, bool from_factors, psgd_rule_t rule, bool has_momentum,
                                psgd_apply_t **apply_p)
{
    psgd_apply_t *apply;
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*apply), "the kernels of the optimizer", &apply);
    if (status != PSGD_OK) {
        return status;
    }
    apply->ragged     = ragged;
    apply->group_size = psgd_group_size(psgd_ragged_device(ragged));
    status            = make_kernels(apply, from_factors, rule, has_momentum);
    if (status == PSGD_OK) {
        status = from_factors ? psgd_decompress_tiling(ragged, &apply->tiling)
                              : psgd_tiling_create_of_rows(ragged, &apply->tiling);
    }
    if (status != PSGD_OK) {
        psgd_apply_destroy(apply);
        return status;
    }
    *apply_p = apply;
    return PSGD_OK;
}

psgd_status_t psgd_apply_enqueue_factors(psgd_apply_t *apply, psgd_view_t p, psgd_view_t q, psgd_view_t update_scales,
                                         psgd_rule_numbers_t numbers)
{
    uint64_t         p_offset      = p.offset_bytes / sizeof(float);
    uint64_t         q_offset      = q.offset_bytes / sizeof(float);
    uint64_t         scales_offset = update_scales.offset_bytes / sizeof(float);
    const psgd_arg_t args[]        = {PSGD_ARG_MEM(p),
                                      PSGD_ARG(p_offset),
                                      PSGD_ARG_MEM(q),
                                      PSGD_ARG(q_offset),
                                      PSGD_ARG_MEM(update_scales),
                                      PSGD_ARG(scales_offset),
                                      PSGD_ARG(numbers.minus_rate),
                                      PSGD_ARG(numbers.lambda),
                                      PSGD_ARG(numbers.decay)};

    return psgd_tiling_enqueue(apply->tiling, apply->apply, apply->group_size, args, sizeof(args) / sizeof(args[0]));
}

psgd_status_t psgd_apply_enqueue_values(psgd_apply_t *apply, psgd_view_t updates, psgd_rule_numbers_t numbers)
{
    uint64_t         offset = updates.offset_bytes / sizeof(float);
    const psgd_arg_t args[] = {PSGD_ARG_MEM(updates), PSGD_ARG(offset), PSGD_ARG(numbers.minus_rate),
                               PSGD_ARG(numbers.lambda), PSGD_ARG(numbers.decay)};

    return psgd_tiling_enqueue(apply->tiling, apply->apply, apply->group_size, args, sizeof(args) / sizeof(args[0]));
}

psgd_status_t psgd_apply_enqueue_narrow(psgd_apply_t *apply)
{
    return psgd_tiling_enqueue(apply->tiling, apply->narrow, apply->group_size, NULL, 0);
}

void psgd_apply_destroy(psgd_apply_t *apply)
{
    if (apply == NULL) {
        return;
    }
    psgd_tiling_destroy(apply->tiling);
    psgd_kernel_destroy(apply->narrow);
    psgd_kernel_destroy(apply->apply);
    psgd_free(apply);
}
