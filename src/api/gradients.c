#include "api/gradients.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/memory.h"
#include "base/memory.h"
#include "base/status.h"
#include "device/buffer.h"

static size_t grad_elem_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return psgd_dtype_bytes(reducer->plan->tensors[index].dtype);
}

static uint64_t grad_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return reducer->plan->tensors[index].elems * grad_elem_bytes(reducer, index);
}

/* Whether this step takes a gradient to the host and back as it is. */
static bool is_moved_by_host(const psgd_reducer_t *reducer, const psgd_plan_tensor_t *tensor)
{
    const bool is_plain = reducer->step_number < reducer->config.start_step;

    return !tensor->is_copied && (is_plain || (tensor->route == PSGD_ROUTE_LARGE));
}

static psgd_status_t check_grad(const psgd_reducer_t *reducer, size_t index, const psgd_buffer_t *grad)
{
    const psgd_plan_tensor_t *tensor = &reducer->plan->tensors[index];
    char                      whose[PSGD_SENTENCE_BYTES / 2];
    psgd_status_t status = psgd_check_tensor_mem(reducer, "gradient", index, grad, grad_elem_bytes(reducer, index));

    if ((status != PSGD_OK) || !is_moved_by_host(reducer, tensor)) {
        return status;
    }
    snprintf(whose, sizeof(whose), "the gradient of tensor %zu '%s'", index, tensor->name);
    return psgd_check_host_access(reducer, whose, grad->mem);
}

psgd_status_t psgd_gradients_check_range(const psgd_reducer_t *reducer, size_t first, const void *grads,
                                         size_t num_grads)
{
    const size_t count = reducer->plan->num_given;

    if (grads == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    }
    if ((num_grads == 0) || (first >= count) || (num_grads > count - first)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensors %zu to %zu + %zu - 1 were submitted, but the reducer was created for %zu tensors",
                         first, first, num_grads, count);
    }
    for (size_t i = first; i < first + num_grads; ++i) {
        if (reducer->is_submitted[i]) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu '%s' was submitted twice in step %" PRIu64, i,
                             reducer->plan->tensors[i].name, reducer->step_number);
        }
    }
    return PSGD_OK;
}

psgd_status_t psgd_gradients_check_count(const psgd_reducer_t *reducer, const void *grads, size_t num_grads)
{
    if (grads == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    }
    if (num_grads != reducer->plan->num_given) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "num_grads is %zu, but the reducer was created for %zu tensors",
                         num_grads, reducer->plan->num_given);
    }
    return PSGD_OK;
}

/* No gradient that this step has got lies where tensor `index` has its own. */
static psgd_status_t check_overlap(const psgd_reducer_t *reducer, size_t index)
{
    const psgd_view_t *places = reducer->places;

    for (size_t k = 0; k < reducer->plan->num_given; ++k) {
        const size_t first = index < k ? index : k, second = index < k ? k : index;

        if ((k != index) && reducer->is_placed[k] &&
            psgd_places_overlap(&places[index], grad_bytes(reducer, index), &places[k], grad_bytes(reducer, k))) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                             "the gradients of tensors %zu '%s' and %zu '%s' overlap in one buffer", first,
                             reducer->plan->tensors[first].name, second, reducer->plan->tensors[second].name);
        }
    }
    return PSGD_OK;
}

void psgd_gradients_begin(psgd_reducer_t *reducer)
{
    memset(reducer->is_placed, 0, reducer->plan->num_given * sizeof(reducer->is_placed[0]));
    memset(reducer->host_places, 0, reducer->plan->num_given * sizeof(reducer->host_places[0]));
    reducer->has_moved = false;
}

void psgd_gradients_forget(psgd_reducer_t *reducer)
{
    memset(reducer->grads, 0, reducer->plan->num_given * sizeof(reducer->grads[0]));
}

psgd_status_t psgd_gradients_read(psgd_reducer_t *reducer, size_t first, const psgd_buffer_t *grads, size_t num_grads)
{
    psgd_status_t status = PSGD_OK;

    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        const size_t      i    = first + n;
        const psgd_view_t view = {grads[n].mem, grads[n].offset_bytes};

        status             = check_grad(reducer, i, &grads[n]);
        reducer->has_moved = reducer->has_moved || (view.mem != reducer->grads[i].mem) ||
                             (view.offset_bytes != reducer->grads[i].offset_bytes);
        reducer->grads[i] = view;
        if (status == PSGD_OK) {
            status = psgd_locate_mem(reducer, grads[n].mem, grads[n].offset_bytes, &reducer->places[i]);
        }
        if ((status == PSGD_OK) && reducer->has_moved) {
            status = check_overlap(reducer, i);
        }
        reducer->is_placed[i] = true;
    }
    return status;
}

/* ---- gradients in host memory ---- */

static psgd_status_t create_host_grads(psgd_reducer_t *reducer)
{
    size_t        count = reducer->plan->num_given;
    psgd_status_t status;

    if (reducer->host_grads != NULL) {
        return PSGD_OK;
    }
    status = psgd_alloc(count, sizeof(*reducer->host_grads), "the table of gradients", &reducer->host_grads);
    for (size_t i = 0; (status == PSGD_OK) && (i < count); ++i) {
        status = psgd_buffer_create(reducer->device, (size_t)grad_bytes(reducer, i), "the device copy of a gradient",
                                    &reducer->host_grads[i]);
    }
    if (status != PSGD_OK) {
        for (size_t i = 0; (reducer->host_grads != NULL) && (i < count); ++i) {
            psgd_buffer_destroy(reducer->device, &reducer->host_grads[i]);
        }
        psgd_free(reducer->host_grads);
        reducer->host_grads = NULL;
    }
    return status;
}

static psgd_status_t check_host_grad(const psgd_reducer_t *reducer, size_t index, const float *grad)
{
    const char *name = reducer->plan->tensors[index].name;

    if (grad == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is NULL", index, name);
    }
    if ((uintptr_t)grad % grad_elem_bytes(reducer, index) != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is not aligned to %zu bytes",
                         index, name, grad_elem_bytes(reducer, index));
    }
    return PSGD_OK;
}

psgd_status_t psgd_gradients_read_host(psgd_reducer_t *reducer, size_t first, float *const *grads, size_t num_grads,
                                       const float *factors)
{
    psgd_status_t status = PSGD_OK;

    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        status = check_host_grad(reducer, first + n, grads[n]);
    }
    if (status == PSGD_OK) {
        status = create_host_grads(reducer);
    }
    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        const size_t i = first + n;

        reducer->grads[i]       = reducer->host_grads[i];
        reducer->host_places[i] = grads[n];
        if ((factors == NULL) || (factors[i] != 0.0f)) {
            status = psgd_buffer_enqueue_write(reducer->device, reducer->host_grads[i], grads[n],
                                               (size_t)grad_bytes(reducer, i));
        }
    }
    return status;
}

bool psgd_gradients_are_on_host(const psgd_reducer_t *reducer)
{
    for (size_t i = 0; i < reducer->plan->num_given; ++i) {
        if (reducer->host_places[i] != NULL) {
            return true;
        }
    }
    return false;
}

psgd_status_t psgd_gradients_write_host(psgd_reducer_t *reducer)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        if (reducer->host_places[i] != NULL) {
            status = psgd_buffer_enqueue_read(reducer->device, reducer->host_grads[i], reducer->host_places[i],
                                              (size_t)grad_bytes(reducer, i));
        }
    }
    status = psgd_device_settle(reducer->device, status, "the reading of the update");
    if (status != PSGD_OK) { /* the step is committed: this worker alone lacks its update */
        psgd_reducer_poison(reducer, status, false);
    }
    return status;
}
