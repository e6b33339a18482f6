#include "core/copies.h"

#include "base/memory.h"
#include "ops/arrange.h"

struct psgd_copies {
    psgd_arena_t    arena;
    psgd_view_t    *places; /* of the copies, by tensor index */
    psgd_arrange_t *arrange;
    psgd_view_t     padding; /* what fills up the flattened gradient */
    size_t          padding_bytes;
};

/* ---- create and destroy ---- */

/* A flattened tensor's copy lies in that of the matrix behind the caller's tensors. */
static uint64_t bytes_of_copy(const psgd_plan_t *plan, size_t i)
{
    const psgd_plan_tensor_t *tensor = &plan->tensors[i];
    bool has_own = (i == plan->num_given) || (tensor->is_copied && (tensor->route != PSGD_ROUTE_FLATTENED));

    return has_own ? tensor->elems * sizeof(float) : 0;
}

static psgd_status_t create_memory(psgd_bucket_t *b, psgd_copies_t *copies)
{
    psgd_array_t *arrays = NULL;
    psgd_status_t status = psgd_alloc(b->plan->num_tensors, sizeof(*arrays), "the table of copies", &arrays);

    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < b->plan->num_tensors; ++i) {
        arrays[i] = (psgd_array_t){b->plan->tensors[i].name, bytes_of_copy(b->plan, i)};
    }
    status = psgd_arena_create(b->reducer->device, arrays, b->plan->num_tensors, "the copies of gradients",
                               &copies->arena, copies->places);
    psgd_free(arrays);
    return status;
}

static void place_flattened(const psgd_plan_t *plan, psgd_copies_t *copies)
{
    psgd_view_t flat = copies->places[plan->num_given];

    for (size_t i = 0; i < plan->num_given; ++i) {
        const psgd_plan_tensor_t *tensor = &plan->tensors[i];

        if (tensor->route == PSGD_ROUTE_FLATTENED) {
            copies->places[i] = psgd_view_at(flat, (size_t)tensor->offset_elems * sizeof(float));
        }
    }
    copies->padding       = psgd_view_at(flat, (size_t)plan->flattened_elems * sizeof(float));
    copies->padding_bytes = (size_t)(plan->tensors[plan->num_given].elems - plan->flattened_elems) * sizeof(float);
}

psgd_status_t psgd_copies_create(psgd_bucket_t *b)
{
    psgd_copies_t *copies;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*copies), "the copies of gradients", &b->copies);
    if (status != PSGD_OK) {
        return status;
    }
    copies = b->copies;
    status = psgd_alloc(b->plan->num_tensors, sizeof(*copies->places), "the table of copies", &copies->places);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_memory(b, copies);
    if (status != PSGD_OK) {
        return status;
    }
    if (b->plan->num_tensors > b->plan->num_given) {
        place_flattened(b->plan, copies);
    }
    return psgd_arrange_create(b->reducer->device, b->plan, false, &copies->arrange);
}

void psgd_copies_destroy(psgd_device_t *device, psgd_copies_t *copies)
{
    if (copies == NULL) {
        return;
    }
    psgd_arrange_destroy(copies->arrange);
    psgd_arena_destroy(device, &copies->arena);
    psgd_free(copies->places);
    psgd_free(copies);
}

/* ---- a step ---- */

psgd_status_t psgd_copies_take(psgd_bucket_t *b)
{
    psgd_copies_t *copies = b->copies;
    psgd_status_t  status = PSGD_OK;

    for (size_t i = 0; i < b->plan->num_tensors; ++i) {
        if ((bytes_of_copy(b->plan, i) > 0) || b->plan->tensors[i].is_copied) {
            b->grads[i] = copies->places[i];
        }
    }
    if (copies->padding_bytes > 0) {
        status = psgd_buffer_enqueue_zero(b->reducer->device, copies->padding, copies->padding_bytes);
    }
    return status == PSGD_OK ? psgd_arrange_enqueue_in(copies->arrange, b->given, copies->places) : status;
}

psgd_status_t psgd_copies_give(psgd_bucket_t *b)
{
    return b->copies == NULL ? PSGD_OK : psgd_arrange_enqueue_out(b->copies->arrange, b->copies->places, b->given);
}
