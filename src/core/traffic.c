#include "core/traffic.h"

#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/half_errors.h"
#include "core/norm.h"
#include "core/phases.h"
#include "ops/decompress.h"

static size_t bytes_of(uint64_t elems)
{
    return (size_t)elems * sizeof(float);
}

psgd_step_views_t psgd_traffic_step_views(const psgd_reducer_t *r)
{
    psgd_step_views_t views;

    views.grads         = r->matrix_grads;
    views.errors        = r->config.error_feedback ? r->errors : NULL;
    views.rounding      = psgd_half_errors_rounding(r);
    views.q_hat         = r->q_hat;
    views.p             = r->message_1_view;
    views.p_hat         = r->p_hat;
    views.q_local = r->alternation != NULL ? r->message_1_view : r->q_local; /* half-iterations send either factor */
    views.q_scaled      = r->q;
    views.update_scales = psgd_view_at(r->q, bytes_of(psgd_reducer_update_elems(r)));
    if (r->half_errors != NULL) {
        views.errors = psgd_half_errors_places(r);
    }
    return views;
}

psgd_status_t psgd_traffic_stage_in(psgd_reducer_t *r, psgd_view_t from, float *host, uint64_t elems, const char *what)
{
    return psgd_stager_read(r->stager, from, host, bytes_of(elems), what);
}

psgd_status_t psgd_traffic_stage_out(psgd_reducer_t *r, const float *host, psgd_view_t to, size_t bytes,
                                     const char *what)
{
    return psgd_stager_write(r->stager, host, to, bytes, what);
}

psgd_status_t psgd_traffic_upload_factor(psgd_reducer_t *r)
{
    if (r->plan->q_elems == 0) {
        return PSGD_OK;
    }
    return psgd_traffic_stage_out(r, r->factor, r->q, bytes_of(r->plan->q_elems),
                                  psgd_phase_name(PSGD_PHASE_ORTHONORMALIZE_Q));
}

psgd_status_t psgd_traffic_upload_update(psgd_reducer_t *r)
{
    size_t bytes = bytes_of(r->plan->q_elems) + r->plan->num_matrices * sizeof(psgd_update_scale_t);

    if (r->plan->q_elems == 0) {
        return PSGD_OK;
    }
    return psgd_traffic_stage_out(r, r->factor_scaled, r->q, bytes, psgd_phase_name(PSGD_PHASE_DECOMPRESS));
}

/* Calls transfer(tensor, its gradient) for every tensor of this route. */
typedef psgd_status_t (*transfer_fn)(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, psgd_view_t grad);

static psgd_status_t for_each_of_route(psgd_reducer_t *r, psgd_route_t route, transfer_fn transfer)
{
    for (size_t i = 0; i < r->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];
        psgd_status_t             status;

        if (tensor->route != route) {
            continue;
        }
        status = transfer(r, tensor, r->step.grads[i]);
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "tensor '%s'", tensor->name);
        }
    }
    return PSGD_OK;
}

static psgd_status_t read_one_large(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, psgd_view_t grad)
{
    return psgd_buffer_enqueue_read(r->device, grad, psgd_message_payload(&r->message_large) + tensor->offset_elems,
                                    bytes_of(tensor->elems));
}

static psgd_status_t write_one_large(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, psgd_view_t grad)
{
    return psgd_buffer_enqueue_write(r->device, grad, psgd_message_payload(&r->message_large) + tensor->offset_elems,
                                     bytes_of(tensor->elems));
}

psgd_view_t psgd_traffic_small_view(const psgd_reducer_t *r)
{
    return psgd_view_at(r->message_1_view, bytes_of(r->plan->p_elems));
}

psgd_status_t psgd_traffic_read_large(psgd_reducer_t *r)
{
    psgd_status_t status;

    if (!psgd_step_is_healthy(r)) {
        return PSGD_OK;
    }
    status = for_each_of_route(r, PSGD_ROUTE_LARGE, read_one_large);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_device_wait(r->device, "the reading of large uncompressed tensors");
}

psgd_status_t psgd_traffic_read_message_1(psgd_reducer_t *r)
{
    uint64_t      elems  = r->plan->p_elems + r->plan->small_elems;
    psgd_status_t status = PSGD_OK;

    if (r->packer != NULL) {
        status = psgd_packer_enqueue_pack(r->packer, r->step.grads, psgd_traffic_small_view(r));
    }
    if ((status != PSGD_OK) || (elems == 0)) {
        return status;
    }
    return psgd_traffic_stage_in(r, r->message_1_view, psgd_message_payload(&r->message_1), elems,
                                 psgd_phase_name(PSGD_PHASE_COMPUTE_P));
}

psgd_status_t psgd_traffic_write_message_1(psgd_reducer_t *r)
{
    if (r->plan->p_elems == 0) {
        return PSGD_OK;
    }
    return psgd_traffic_stage_out(r, psgd_message_payload(&r->message_1), r->message_1_view, bytes_of(r->plan->p_elems),
                                  psgd_phase_name(PSGD_PHASE_REDUCE_P));
}

psgd_status_t psgd_traffic_read_message_2(psgd_reducer_t *r)
{
    psgd_status_t status;

    if (r->plan->num_matrices == 0) {
        return psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_COMPUTE_Q));
    }
    status = psgd_hasher_enqueue(r->hasher, r->p_hat, r->plan->p_elems, &r->step.p_hat_hash);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_traffic_stage_in(r, r->q_local, psgd_message_payload(&r->message_2), r->plan->q_elems,
                                 psgd_phase_name(PSGD_PHASE_COMPUTE_Q));
}

psgd_status_t psgd_traffic_write_sent(psgd_reducer_t *r, const psgd_message_t *message, psgd_view_t own)
{
    if ((message->narrow == NULL) || !r->config.error_feedback) {
        return PSGD_OK;
    }
    return psgd_buffer_enqueue_write(r->device, own, psgd_narrow_sent(message->narrow),
                                     psgd_narrow_factor_elems(message->narrow, message->kind) * sizeof(float));
}

uint64_t psgd_traffic_hash_common(const psgd_reducer_t *r)
{
    const float *small = psgd_message_payload(&r->message_1) + r->plan->p_elems;
    const float *large = psgd_message_payload(&r->message_large);
    uint64_t     hash  = psgd_hash_words(small, r->plan->small_elems, 0);

    if (r->plan->large_elems > 0) {
        hash = psgd_hash_u64(hash, psgd_hash_words(large, r->plan->large_elems, 0));
    }
    return psgd_hash_u64(hash, r->step.p_hat_hash);
}

double psgd_traffic_square_of_uncompressed(const psgd_reducer_t *r, const float *small)
{
    return psgd_norm_square(small, (size_t)r->plan->small_elems) +
           psgd_norm_square(psgd_message_payload(&r->message_large), (size_t)r->plan->large_elems);
}

void psgd_traffic_clip_uncompressed(psgd_reducer_t *r, float *small)
{
    float *large = psgd_message_payload(&r->message_large);

    psgd_norm_clip(r, small, small, (size_t)r->plan->small_elems);
    psgd_norm_clip(r, large, large, (size_t)r->plan->large_elems);
}

bool psgd_traffic_scale_factor(psgd_reducer_t *r)
{
    const float *q_mean = psgd_message_payload(&r->message_2);

    if (r->step.clip < 1.0f) {
        psgd_norm_clip(r, q_mean, r->factor_scaled, (size_t)r->plan->q_elems);
        q_mean = r->factor_scaled;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];
        uint64_t                  offset = matrix->q_offset_elems;

        if (psgd_update_scale_q(q_mean + offset, r->factor_scaled + offset, (size_t)(matrix->cols * matrix->r),
                                &r->update_scales[m]) != PSGD_OK) {
            return false;
        }
    }
    return true;
}

psgd_status_t psgd_traffic_write_large(psgd_reducer_t *r)
{
    return for_each_of_route(r, PSGD_ROUTE_LARGE, write_one_large);
}

psgd_status_t psgd_traffic_write_uncompressed(psgd_reducer_t *r, const float *small, psgd_view_t small_view)
{
    psgd_status_t status = PSGD_OK;

    if (r->packer != NULL) {
        status = psgd_buffer_enqueue_write(r->device, small_view, small, bytes_of(r->plan->small_elems));
        if (status == PSGD_OK) {
            status = psgd_packer_enqueue_unpack(r->packer, small_view, r->step.grads);
        }
    }
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_traffic_write_large(r);
}

psgd_status_t psgd_traffic_enqueue_span(psgd_reducer_t *r, const psgd_view_t *arrays, size_t num_arrays,
                                        psgd_span_elems_fn elems_of, uint64_t begin, uint64_t end, float *host,
                                        bool to_device)
{
    uint64_t array_begin = 0;

    for (size_t i = 0; (i < num_arrays) && (array_begin < end); ++i) {
        uint64_t array_end = array_begin + elems_of(r->plan, i);
        uint64_t from      = begin > array_begin ? begin : array_begin;
        uint64_t to        = end < array_end ? end : array_end;

        if (from < to) {
            psgd_view_t   view   = psgd_view_at(arrays[i], bytes_of(from - array_begin));
            float        *place  = host + (from - begin);
            psgd_status_t status = to_device ? psgd_buffer_enqueue_write(r->device, view, place, bytes_of(to - from))
                                             : psgd_buffer_enqueue_read(r->device, view, place, bytes_of(to - from));

            if (status != PSGD_OK) {
                return status;
            }
        }
        array_begin = array_end;
    }
    return PSGD_OK;
}
