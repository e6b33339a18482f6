#include "ops/pack.h"

#include "base/memory.h"
#include "ops/ragged.h"
#include "ops/variant.h"

struct psgd_packer {
    const psgd_plan_t *plan;
    size_t             count;
    psgd_view_t       *grads; /* by item */
    psgd_ragged_t     *ragged;
    psgd_tiling_t     *tiling;
    psgd_kernel_t     *pack;
    psgd_kernel_t     *unpack;
    size_t             group_size;
};

static bool is_small(const psgd_plan_tensor_t *tensor)
{
    return tensor->route == PSGD_ROUTE_SMALL;
}

static size_t count_small(const psgd_plan_t *plan)
{
    size_t count = 0;

    for (size_t i = 0; i < plan->num_tensors; ++i) {
        count += is_small(&plan->tensors[i]) ? 1 : 0;
    }
    return count;
}

static psgd_status_t create_ragged(psgd_device_t *device, psgd_packer_t *packer)
{
    psgd_ragged_item_t *items = NULL;
    size_t              n     = 0;
    psgd_status_t       status;

    status = psgd_alloc(packer->count, sizeof(*items), "the table of small tensors", &items);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < packer->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &packer->plan->tensors[i];

        if (is_small(tensor)) {
            items[n++] = (psgd_ragged_item_t){.rows = 1, .cols = (uint32_t)tensor->elems, .p_offset = tensor->offset_elems};
        }
    }
    status = psgd_ragged_create(device, items, packer->count, &packer->ragged);
    psgd_free(items);
    return status;
}

static psgd_status_t create_kernels(psgd_device_t *device, psgd_packer_t *packer)
{
    char          options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_program_t *program = NULL;
    psgd_status_t status;

    psgd_variant_options(device, PSGD_FORM_NO_FEEDBACK, (psgd_ranks_t){0, 1}, options);
    status = psgd_program_get(device, "pack.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_create(program, "pack", &packer->pack);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_kernel_create(program, "unpack", &packer->unpack);
}

psgd_status_t psgd_packer_create(psgd_device_t *device, const psgd_plan_t *plan, psgd_packer_t **packer_p)
{
    psgd_packer_t *packer;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*packer), "the packing of small tensors", &packer);
    if (status != PSGD_OK) {
        return status;
    }
    packer->plan       = plan;
    packer->count      = count_small(plan);
    packer->group_size = psgd_group_size(device);
    status             = psgd_alloc(packer->count, sizeof(*packer->grads), "the table of small tensors", &packer->grads);
    if (status != PSGD_OK) {
        goto destroy_packer;
    }
    status = create_ragged(device, packer);
    if (status != PSGD_OK) {
        goto destroy_packer;
    }
    status = psgd_tiling_create_of_rows(packer->ragged, &packer->tiling);
    if (status != PSGD_OK) {
        goto destroy_packer;
    }
    status = create_kernels(device, packer);
    if (status != PSGD_OK) {
        goto destroy_packer;
    }
    *packer_p = packer;
    return PSGD_OK;

destroy_packer:
    psgd_packer_destroy(packer);
    return status;
}

static psgd_status_t enqueue(psgd_packer_t *packer, psgd_kernel_t *kernel, const psgd_view_t *grads, psgd_view_t packed)
{
    uint64_t         packed_offset = packed.offset_bytes / sizeof(float);
    const psgd_arg_t args[]        = {PSGD_ARG_MEM(packed), PSGD_ARG(packed_offset)};
    size_t           n             = 0;
    psgd_status_t    status;

    for (size_t i = 0; i < packer->plan->num_tensors; ++i) {
        if (is_small(&packer->plan->tensors[i])) {
            packer->grads[n++] = grads[i];
        }
    }
    status = psgd_ragged_place(packer->ragged, packer->grads, NULL);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_tiling_enqueue(packer->tiling, kernel, packer->group_size, args, sizeof(args) / sizeof(args[0]));
}

psgd_status_t psgd_packer_enqueue_pack(psgd_packer_t *packer, const psgd_view_t *grads, psgd_view_t packed)
{
    return enqueue(packer, packer->pack, grads, packed);
}

psgd_status_t psgd_packer_enqueue_unpack(psgd_packer_t *packer, psgd_view_t packed, const psgd_view_t *grads)
{
    return enqueue(packer, packer->unpack, grads, packed);
}

void psgd_packer_destroy(psgd_packer_t *packer)
{
    if (packer == NULL) {
        return;
    }
    psgd_kernel_destroy(packer->unpack);
    psgd_kernel_destroy(packer->pack);
    psgd_tiling_destroy(packer->tiling);
    psgd_ragged_destroy(packer->ragged);
    psgd_free(packer->grads);
    psgd_free(packer);
}
