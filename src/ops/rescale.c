#include "ops/rescale.h"

#include <inttypes.h>

#include "base/memory.h"

struct psgd_rescale {
    psgd_device_t *device;
    size_t         num_tensors;
    psgd_ragged_t *ragged;
    psgd_tiling_t *tiling;
    psgd_kernel_t *kernel;
    psgd_view_t    factors; /* by tensor index */
    size_t         group_size;
};

static psgd_status_t create_ragged(psgd_rescale_t *rescale, const psgd_plan_t *plan)
{
    psgd_ragged_item_t *items = NULL;
    psgd_status_t       status;

    status = psgd_alloc(plan->num_given, sizeof(*items), "the table of tensors", &items);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < plan->num_given); ++i) {
        if (plan->tensors[i].elems > UINT32_MAX) {
            status = psgd_fail(PSGD_ERR_UNSUPPORTED,
                               "tensor %zu '%s' has %" PRIu64 " elements: a gradient that is scaled, or not there, "
                               "has fewer than 2^32",
                               i, plan->tensors[i].name, plan->tensors[i].elems);
        }
        items[i] =
            (psgd_ragged_item_t){.rows = 1, .cols = (uint32_t)plan->tensors[i].elems, .scale_index = (uint32_t)i};
    }
    if (status == PSGD_OK) {
        status = psgd_ragged_create(rescale->device, items, plan->num_given, &rescale->ragged);
    }
    psgd_free(items);
    return status == PSGD_OK ? psgd_tiling_create_of_rows(rescale->ragged, &rescale->tiling) : status;
}

static psgd_status_t create_kernel(psgd_rescale_t *rescale)
{
    char            options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(rescale->device, PSGD_FORM_NO_FEEDBACK, (psgd_ranks_t){0, 1}, options);
    status = psgd_program_get(rescale->device, "rescale.cl", options, &program);
    return status == PSGD_OK ? psgd_kernel_create(program, "rescale", &rescale->kernel) : status;
}

psgd_status_t psgd_rescale_create(psgd_device_t *device, const psgd_plan_t *plan, psgd_rescale_t **rescale_p)
{
    psgd_rescale_t *rescale;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*rescale), "the scaling of gradients", &rescale);
    if (status != PSGD_OK) {
        return status;
    }
    rescale->device      = device;
    rescale->num_tensors = plan->num_given;
    rescale->group_size  = psgd_group_size(device);
    status = psgd_buffer_create(device, plan->num_given * sizeof(float), "the factors of gradients", &rescale->factors);
    if (status == PSGD_OK) {
        status = create_ragged(rescale, plan);
    }
    if (status == PSGD_OK) {
        status = create_kernel(rescale);
    }
    if (status != PSGD_OK) {
        psgd_rescale_destroy(rescale);
        return status;
    }
    *rescale_p = rescale;
    return PSGD_OK;
}

psgd_status_t psgd_rescale_enqueue(psgd_rescale_t *rescale, const psgd_view_t *grads, const float *factors)
{
    const psgd_arg_t args[] = {PSGD_ARG_MEM(rescale->factors)};
    psgd_status_t    status;

    status =
        psgd_buffer_enqueue_write(rescale->device, rescale->factors, factors, rescale->num_tensors * sizeof(float));
    if (status == PSGD_OK) {
        status = psgd_ragged_place(rescale->ragged, grads, NULL);
    }
    return status == PSGD_OK ? psgd_tiling_enqueue(rescale->tiling, rescale->kernel, rescale->group_size, args, 1)
                             : status;
}

void psgd_rescale_destroy(psgd_rescale_t *rescale)
{
    if (rescale == NULL) {
        return;
    }
    psgd_kernel_destroy(rescale->kernel);
    psgd_tiling_destroy(rescale->tiling);
    psgd_ragged_destroy(rescale->ragged);
    psgd_buffer_destroy(rescale->device, &rescale->factors);
    psgd_free(rescale);
}
