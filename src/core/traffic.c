#include "core/traffic.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/half_errors.h"
#include "core/norm.h"
#include "core/phases.h"
#include "core/spans.h"
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

psgd_view_t psgd_traffic_small_view(const psgd_reducer_t *r)
{
    return r->buckets[0].small;
}

psgd_status_t psgd_traffic_stage_in(psgd_bucket_t *b, psgd_view_t from, float *host, uint64_t elems, const char *what)
{
    return psgd_stager_read(b->stager, from, host, bytes_of(elems), what);
}

psgd_status_t psgd_traffic_stage_out(psgd_bucket_t *b, const float *host, psgd_view_t to, size_t bytes,
                                     const char *what)
{
    const psgd_reducer_t *r        = b->reducer;
    const bool            may_wait = r->step.is_at_once && (r->num_buckets == 1);
    const uint64_t        begin_ns = psgd_now_ns();
    psgd_status_t         status   = may_wait ? psgd_stager_write(b->stager, host, to, bytes, what)
                                              : psgd_stager_enqueue_write(b->stager, host, to, bytes);

    psgd_spans_staged(b->reducer, what, psgd_bucket_index(b), bytes, begin_ns);
    return status;
}

/* ---- factors to the device ---- */

psgd_status_t psgd_traffic_upload_factor(psgd_bucket_t *b)
{
    if (b->plan->q_elems == 0) {
        return PSGD_OK;
    }
    return psgd_traffic_stage_out(b, b->factor, b->q, bytes_of(b->plan->q_elems),
                                  psgd_phase_name(PSGD_PHASE_ORTHONORMALIZE_Q));
}

psgd_status_t psgd_traffic_upload_update(psgd_reducer_t *r)
{
    size_t bytes = bytes_of(r->plan->q_elems) + r->plan->num_matrices * sizeof(psgd_update_scale_t);

    if (r->plan->q_elems == 0) {
        return PSGD_OK;
    }
    if (r->num_buckets > 1) { /* the room of their stagers is that of one */
        return psgd_buffer_enqueue_write(r->device, r->q, r->factor_scaled, bytes);
    }
    return psgd_traffic_stage_out(r->buckets, r->factor_scaled, r->q, bytes, psgd_phase_name(PSGD_PHASE_DECOMPRESS));
}

psgd_status_t psgd_traffic_write_sent(psgd_bucket_t *b, const psgd_message_t *message, psgd_view_t own)
{
    if ((message->narrow == NULL) || !b->reducer->config.error_feedback) {
        return PSGD_OK;
    }
    return psgd_buffer_enqueue_write(b->reducer->device, own, psgd_narrow_sent(message->narrow),
                                     psgd_narrow_factor_elems(message->narrow, message->kind) * sizeof(float));
}

/* ---- large uncompressed tensors ---- */

/* Calls transfer(tensor, its gradient) for every tensor of this route. */
typedef psgd_status_t (*transfer_fn)(psgd_bucket_t *b, const psgd_plan_tensor_t *tensor, psgd_view_t grad);

static psgd_status_t for_each_of_route(psgd_bucket_t *b, psgd_route_t route, transfer_fn transfer)
{
    for (size_t i = 0; i < b->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &b->plan->tensors[i];
        psgd_status_t             status;

        if (tensor->route != route) {
            continue;
        }
        status = transfer(b, tensor, b->grads[i]);
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "tensor '%s'", tensor->name);
        }
    }
    return PSGD_OK;
}

static psgd_status_t read_one_large(psgd_bucket_t *b, const psgd_plan_tensor_t *tensor, psgd_view_t grad)
{
    return psgd_buffer_enqueue_read(b->reducer->device, grad,
                                    psgd_message_payload(&b->message_large) + tensor->offset_elems,
                                    bytes_of(tensor->elems));
}

static psgd_status_t write_one_large(psgd_bucket_t *b, const psgd_plan_tensor_t *tensor, psgd_view_t grad)
{
    return psgd_buffer_enqueue_write(b->reducer->device, grad,
                                     psgd_message_payload(&b->message_large) + tensor->offset_elems,
                                     bytes_of(tensor->elems));
}

psgd_status_t psgd_traffic_begin_reading_large(psgd_bucket_t *b)
{
    psgd_status_t status;

    if (b->plan->large_elems == 0) {
        return PSGD_OK;
    }
    status = psgd_device_come_after(b->reducer->device, &b->read_1.mark); /* it may be in the caller's queue */
    if (status == PSGD_OK) {
        status = for_each_of_route(b, PSGD_ROUTE_LARGE, read_one_large);
    }
    return status == PSGD_OK ? psgd_device_mark(b->reducer->device, &b->large_mark) : status;
}

psgd_status_t psgd_traffic_end_reading_large(psgd_bucket_t *b)
{
    if (!psgd_step_is_healthy(b->reducer)) {
        return PSGD_OK;
    }
    return psgd_device_wait_mark(b->reducer->device, &b->large_mark, "the reading of large uncompressed tensors");
}

psgd_status_t psgd_traffic_write_large(psgd_bucket_t *b)
{
    return for_each_of_route(b, PSGD_ROUTE_LARGE, write_one_large);
}

/* ---- messages ---- */

/* The small tensors lie behind P where there is one bucket; else apart from it. */
static psgd_status_t read_small(psgd_bucket_t *b)
{
    return psgd_buffer_enqueue_read(b->reducer->device, b->small,
                                    psgd_message_payload(&b->message_1) + b->plan->p_elems,
                                    bytes_of(b->plan->small_elems));
}

psgd_status_t psgd_traffic_begin_reading_message_1(psgd_bucket_t *b)
{
    const bool    is_contiguous = b->reducer->num_buckets == 1;
    uint64_t      elems         = b->plan->p_elems + (is_contiguous ? b->plan->small_elems : 0);
    psgd_status_t status        = PSGD_OK;

    if (b->packer != NULL) {
        status = psgd_packer_enqueue_pack(b->packer, b->grads, b->small);
    }
    if ((status == PSGD_OK) && (b->packer != NULL) && !is_contiguous) {
        status = read_small(b);
    }
    if (status != PSGD_OK) {
        return status;
    }
    if (elems == 0) { /* small tensors alone, or nothing */
        return (b->packer != NULL) || (b->plan->large_elems > 0) ? psgd_device_mark(b->reducer->device, &b->read_1.mark)
                                                                 : PSGD_OK;
    }
    return psgd_stager_begin_read(b->stager, b->message_1_view, psgd_message_payload(&b->message_1), bytes_of(elems),
                                  &b->read_1);
}

/* A read that is under way; or the mark behind what was read without a stager. */
static psgd_status_t end_reading(psgd_bucket_t *b, psgd_staged_read_t *read, psgd_phase_t waits_for,
                                 psgd_phase_t is_for)
{
    const char    *what  = psgd_phase_name(waits_for);
    const uint64_t bytes = read->bytes;
    uint64_t       begin_ns;
    psgd_status_t  status;

    if (!psgd_step_is_healthy(b->reducer)) {
        return PSGD_OK;
    }
    status   = psgd_device_wait_mark(b->reducer->device, &read->mark, what);
    begin_ns = psgd_now_ns();
    if ((status == PSGD_OK) && read->is_under_way) {
        status = psgd_stager_end_read(b->stager, read, what);
        psgd_spans_staged(b->reducer, psgd_phase_name(is_for), psgd_bucket_index(b), bytes, begin_ns);
    }
    psgd_spans_poll(b->reducer);
    return status;
}

psgd_status_t psgd_traffic_end_reading_message_1(psgd_bucket_t *b)
{
    return end_reading(b, &b->read_1, PSGD_PHASE_COMPUTE_P, PSGD_PHASE_REDUCE_P);
}

psgd_status_t psgd_traffic_write_message_1(psgd_bucket_t *b)
{
    if (b->plan->p_elems == 0) {
        return PSGD_OK;
    }
    return psgd_traffic_stage_out(b, psgd_message_payload(&b->message_1), b->message_1_view, bytes_of(b->plan->p_elems),
                                  psgd_phase_name(PSGD_PHASE_REDUCE_P));
}

psgd_status_t psgd_traffic_begin_reading_message_2(psgd_bucket_t *b)
{
    psgd_status_t status;

    if (b->plan->num_matrices == 0) {
        return psgd_device_mark(b->reducer->device, &b->read_2.mark);
    }
    status = psgd_hasher_enqueue(b->reducer->hasher, b->p_hat, b->plan->p_elems, &b->p_hat_hash);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_stager_begin_read(b->stager, b->q_local, psgd_message_payload(&b->message_2),
                                  bytes_of(b->plan->q_elems), &b->read_2);
}

psgd_status_t psgd_traffic_end_reading_message_2(psgd_bucket_t *b)
{
    return end_reading(b, &b->read_2, PSGD_PHASE_COMPUTE_Q, PSGD_PHASE_REDUCE_Q);
}

void psgd_traffic_cancel_reading(psgd_bucket_t *b)
{
    psgd_mark_drop(&b->large_mark);
    if (b->stager != NULL) {
        psgd_stager_cancel_read(b->stager, &b->read_1);
        psgd_stager_cancel_read(b->stager, &b->read_2);
    } else {
        psgd_mark_drop(&b->read_1.mark);
        psgd_mark_drop(&b->read_2.mark);
    }
}

uint64_t psgd_traffic_hash_common(const psgd_bucket_t *b)
{
    const float *large = psgd_message_payload(&b->message_large);
    uint64_t     hash  = psgd_hash_words(psgd_bucket_small_means(b), b->plan->small_elems, 0);

    if (b->plan->large_elems > 0) {
        hash = psgd_hash_u64(hash, psgd_hash_words(large, b->plan->large_elems, 0));
    }
    return psgd_hash_u64(hash, b->p_hat_hash);
}

/* ---- the update ---- */

double psgd_traffic_square_of_uncompressed(const psgd_bucket_t *b)
{
    return psgd_norm_square(psgd_bucket_small_means(b), (size_t)b->plan->small_elems) +
           psgd_norm_square(psgd_message_payload(&b->message_large), (size_t)b->plan->large_elems);
}

void psgd_traffic_clip_uncompressed(psgd_bucket_t *b)
{
    float *small = psgd_bucket_small_means(b);
    float *large = psgd_message_payload(&b->message_large);

    psgd_norm_clip(b->reducer, small, small, (size_t)b->plan->small_elems);
    psgd_norm_clip(b->reducer, large, large, (size_t)b->plan->large_elems);
}

bool psgd_traffic_scale_factor(psgd_bucket_t *b)
{
    const float *q_mean = psgd_message_payload(&b->message_2);

    if (b->reducer->step.clip < 1.0f) {
        psgd_norm_clip(b->reducer, q_mean, b->factor_scaled, (size_t)b->plan->q_elems);
        q_mean = b->factor_scaled;
    }
    for (size_t m = 0; m < b->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &b->plan->matrices[m];
        uint64_t                  offset = matrix->q_offset_elems;

        if (psgd_update_scale_q(q_mean + offset, b->factor_scaled + offset, (size_t)(matrix->cols * matrix->r),
                                &b->scales[m]) != PSGD_OK) {
            return false;
        }
    }
    return true;
}

psgd_status_t psgd_traffic_write_small(psgd_bucket_t *b)
{
    return b->packer == NULL ? PSGD_OK
                             : psgd_buffer_enqueue_write(b->reducer->device, b->small, psgd_bucket_small_means(b),
                                                         bytes_of(b->plan->small_elems));
}

psgd_status_t psgd_traffic_write_uncompressed(psgd_bucket_t *b)
{
    psgd_status_t status = psgd_traffic_write_small(b);

    if ((status == PSGD_OK) && (b->packer != NULL)) {
        status = psgd_packer_enqueue_unpack(b->packer, b->small, b->grads);
    }
    return status == PSGD_OK ? psgd_traffic_write_large(b) : status;
}

/* ---- whole gradients, in pieces ---- */

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
