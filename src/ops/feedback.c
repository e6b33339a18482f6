#include "ops/feedback.h"

#include "base/memory.h"
#include "ops/decompress.h"
#include "ops/residual.h"

struct psgd_feedback {
    psgd_device_t   *device;
    psgd_kernel_t   *add;
    psgd_tiling_t   *tiling;
    psgd_residual_t *leave;
    psgd_view_t      keys;
    size_t           group_size;
};

static psgd_status_t create_kernel(psgd_feedback_t *feedback, psgd_ragged_t *ragged)
{
    char            options[PSGD_VARIANT_OPTIONS_BYTES];
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    psgd_variant_options(feedback->device, PSGD_FORM_NO_FEEDBACK, (psgd_ranks_t){0, 1}, options);
    status = psgd_program_get(feedback->device, "add_error.cl", options, &program);
    if (status == PSGD_OK) {
        status = psgd_kernel_create(program, "add_error", &feedback->add);
    }
    return status == PSGD_OK ? psgd_decompress_tiling(ragged, &feedback->tiling) : status;
}

static psgd_status_t upload_keys(psgd_feedback_t *feedback, const uint32_t *keys, size_t num_keys)
{
    size_t        bytes  = num_keys * sizeof(*keys);
    psgd_status_t status = psgd_buffer_create(feedback->device, bytes, "the keys of chance", &feedback->keys);

    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(feedback->device, feedback->keys, keys, bytes);
    }
    return status == PSGD_OK ? psgd_device_wait(feedback->device, "the keys of chance") : status;
}

psgd_status_t psgd_feedback_create(psgd_ragged_t *ragged, const uint32_t *keys, size_t num_keys,
                                   psgd_feedback_t **feedback_p)
{
    psgd_feedback_t *feedback;
    psgd_status_t    status;

    status = psgd_alloc(1, sizeof(*feedback), "error feedback in 16 bits", &feedback);
    if (status != PSGD_OK) {
        return status;
    }
    feedback->device     = psgd_ragged_device(ragged);
    feedback->group_size = psgd_group_size(feedback->device);
    status               = create_kernel(feedback, ragged);
    if (status == PSGD_OK) {
        status = psgd_residual_create(ragged, PSGD_RESIDUAL_INTO_BFLOAT, &feedback->leave);
    }
    if (status == PSGD_OK) {
        status = upload_keys(feedback, keys, num_keys);
    }
    if (status != PSGD_OK) {
        psgd_feedback_destroy(feedback);
        return status;
    }
    *feedback_p = feedback;
    return PSGD_OK;
}

psgd_status_t psgd_feedback_enqueue_add(psgd_feedback_t *feedback)
{
    return psgd_tiling_enqueue(feedback->tiling, feedback->add, feedback->group_size, NULL, 0);
}

psgd_status_t psgd_feedback_enqueue_leave(psgd_feedback_t *feedback, psgd_view_t p, psgd_view_t q, uint32_t step_key)
{
    return psgd_residual_enqueue_rounded(feedback->leave, p, q, feedback->keys, step_key);
}

void psgd_feedback_destroy(psgd_feedback_t *feedback)
{
    if (feedback == NULL) {
        return;
    }
    psgd_buffer_destroy(feedback->device, &feedback->keys);
    psgd_residual_destroy(feedback->leave);
    psgd_tiling_destroy(feedback->tiling);
    psgd_kernel_destroy(feedback->add);
    psgd_free(feedback);
}
