/* PowerSGD, one step (Vogels, Karimireddy, Jaggi 2019, Algorithms 1 and 2), for all compressed matrices at once:
 *
 *     M_w = g_w + e_w                      error feedback
 *     P   = mean_w(M_w orthonormalize(Q))  message 1
 *     P^  = orthogonalize(P)
 *     Q_w = M_w^T P^;  Qbar = mean_w(Q_w)  message 2; Qbar is the next step's Q
 *     update = P^ Qbar^T
 *     e_w = M_w - P^ Q_w^T                 the local error: this worker's own Q_w
 *
 * Error memory, Q and the step's number change only after the vote of message 2, so that a step that fails anywhere before
 * has not happened; all but the lazy form (config.gradients_are_finite), whose error memory changes in compute_p, and which a
 * failure poisons from there on. Shapes: M rows x cols, P rows x r, Q cols x r; in memory P and Q lie transposed (plan/plan.h). */
#include "core/step.h"

#include <string.h>

#include "core/energy.h"
#include "core/exchange.h"
#include "core/norm.h"
#include "core/owners.h"
#include "core/phases.h"
#include "core/traffic.h"
#include "core/update.h"
#include "ops/decompress.h"

/* Cold start: a fresh random factor, unless one was imported. */
void psgd_step_draw_cold_factors(psgd_reducer_t *r)
{
    for (size_t m = 0; !r->config.warm_start && (m < r->plan->num_matrices); ++m) {
        if (!r->is_imported[m]) {
            psgd_reducer_draw_factor(r, m, r->step_number);
        }
    }
}

/* What is neither compressed nor small starts first and travels beside the factors. */
void psgd_step_begin_plain(psgd_reducer_t *r)
{
    if (r->plan->large_elems > 0) {
        psgd_step_note(r, psgd_traffic_read_large(r));
        psgd_exchange_begin(r, &r->message_large, r->plan->large_elems, psgd_reducer_hash_bits(r));
    }
}

/* Q^ = orthonormalize(Q). The update depends on the span of Q alone; an orthonormal basis of it is what keeps fp32 exact
 * enough where r exceeds the gradient's rank. */
static psgd_status_t orthonormalize_q(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_traffic_upload_factor(r);

    if ((status != PSGD_OK) || (r->plan->num_matrices == 0)) {
        return status;
    }
    return psgd_orthogonalizer_enqueue(r->orthogonalizer_q, r->q, r->q_hat, r->step_number);
}

/* M = g + e;  P_w = M Q^. In the lazy form this is where the error memory changes. */
static psgd_status_t compute_p(psgd_reducer_t *r)
{
    psgd_step_views_t views = psgd_traffic_step_views(r);

    if (r->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    r->step.has_changed_state = r->form == PSGD_FORM_LAZY;
    return psgd_engines_enqueue_compute_p(r->engines, &views);
}

/* P = mean_w(P_w), and the mean of the small uncompressed tensors; with owners, each of them has only what it owns of these. */
static void reduce_p(psgd_reducer_t *r)
{
    if (psgd_owners_take_p(r)) {
        psgd_owners_reduce_p(r);
        return;
    }
    psgd_step_note(r, psgd_step_is_healthy(r) ? psgd_traffic_read_message_1(r) : PSGD_OK);
    psgd_exchange_begin(r, &r->message_1, r->plan->p_elems + r->plan->small_elems, psgd_reducer_hash_bits(r));
    if (psgd_step_goes_on(r)) {
        psgd_exchange_finish(r, &r->message_1, psgd_phase_name(PSGD_PHASE_REDUCE_P));
    }
    psgd_exchange_average(r, &r->message_1);
    if (psgd_step_is_healthy(r)) {
        psgd_step_note(r, psgd_traffic_write_message_1(r));
    }
}

/* P^ = orthogonalize(P). */
static psgd_status_t orthogonalize_p(psgd_reducer_t *r)
{
    if (r->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    return psgd_orthogonalizer_enqueue(r->orthogonalizer_p, r->message_1_view, r->p_hat, r->step_number);
}

/* On unlike devices the same P may give other bits of P^, and Q^: those of each matrix's owner are shared. */
static void share_q_hat(psgd_reducer_t *r)
{
    psgd_owners_share(r, r->q_hat, PSGD_FACTOR_Q);
}

static void share_p_hat(psgd_reducer_t *r)
{
    if (psgd_owners_take_p(r)) {
        psgd_owners_share_message_1(r);
    } else {
        psgd_owners_share(r, r->p_hat, PSGD_FACTOR_P);
    }
}

/* Q_w = M^T P^. */
static psgd_status_t compute_q(psgd_reducer_t *r)
{
    psgd_step_views_t views = psgd_traffic_step_views(r);

    return r->plan->num_matrices == 0 ? PSGD_OK : psgd_engines_enqueue_compute_q(r->engines, &views);
}

/* The large tensors have arrived before the last vote is cast. */
void psgd_step_finish_plain(psgd_reducer_t *r)
{
    if (r->plan->large_elems > 0) {
        psgd_exchange_finish(r, &r->message_large, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
        psgd_exchange_average(r, &r->message_large);
    }
}

/* |update|^2 = |Qbar|^2, and the uncompressed means. */
static void take_norm(psgd_reducer_t *r)
{
    float *small = psgd_message_payload(&r->message_1) + r->plan->p_elems;

    if (psgd_norm_is_wanted(r)) {
        psgd_norm_take(r, psgd_norm_square(psgd_message_payload(&r->message_2), (size_t)r->plan->q_elems) +
                              psgd_traffic_square_of_uncompressed(r, small));
        psgd_traffic_clip_uncompressed(r, small);
    }
}

/* Qbar = mean_w(Q_w), with the last vote; Qbar is scaled so that the update below is exactly rounded on every device. */
static void reduce_q(psgd_reducer_t *r)
{
    if (psgd_step_is_healthy(r)) {
        psgd_step_note(r, psgd_energy_enqueue(r));
    }
    if (psgd_step_is_healthy(r)) {
        psgd_step_note(r, psgd_traffic_read_message_2(r));
        psgd_energy_add(r, psgd_message_payload(&r->message_2), true);
    }
    psgd_exchange_begin(r, &r->message_2, r->plan->q_elems, psgd_traffic_hash_common(r));
    if (psgd_step_goes_on(r)) {
        psgd_exchange_finish(r, &r->message_2, psgd_phase_name(PSGD_PHASE_REDUCE_Q));
    }
    psgd_exchange_average(r, &r->message_2);
    if (psgd_step_goes_on(r)) {
        take_norm(r);
    }
    if (psgd_step_goes_on(r) && !psgd_traffic_scale_factor(r)) {
        psgd_exchange_overflow(r, "the update");
    }
}

/* Into the gradients' buffers; what travelled uncompressed is put in its place. An optimizer that cannot take the factors follows. */
static psgd_status_t write_update(psgd_reducer_t *r, const float *small, psgd_view_t small_view)
{
    psgd_step_views_t views  = psgd_traffic_step_views(r);
    psgd_status_t     status = PSGD_OK;

    if (r->plan->num_matrices > 0) {
        status = psgd_engines_enqueue_decompress(r->engines, &views);
    }
    if (status == PSGD_OK) {
        status = psgd_traffic_write_uncompressed(r, small, small_view);
    }
    return (status == PSGD_OK) && (r->step.update != NULL) ? psgd_update_enqueue_written(r) : status;
}

/* e = M - P^ Q_w^T (the lazy form leaves that to the next step);  update = P^ Qbar^T, which an optimizer's step applies as it is
 * formed. */
static psgd_status_t decompress(psgd_reducer_t *r)
{
    psgd_step_views_t views      = psgd_traffic_step_views(r);
    const float      *small      = psgd_message_payload(&r->message_1) + r->plan->p_elems;
    psgd_view_t       small_view = psgd_traffic_small_view(r);
    psgd_status_t     status     = psgd_traffic_upload_update(r);

    if (status == PSGD_OK) {
        status = psgd_traffic_write_sent(r, &r->message_2, r->q_local);
    }
    if (status == PSGD_OK) {
        status = psgd_update_takes_factors(r) ? psgd_update_enqueue(r, views.p_hat, views.q_scaled, small, small_view)
                                              : write_update(r, small, small_view);
    }
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_DECOMPRESS));
}

/* Warm start: Qbar is the next step's Q. */
static void keep_factor(psgd_reducer_t *r)
{
    memcpy(r->factor, psgd_message_payload(&r->message_2), r->plan->q_elems * sizeof(float));
    memset(r->is_imported, 0, r->plan->num_matrices * sizeof(r->is_imported[0]));
}

void psgd_step_compressed(psgd_reducer_t *r)
{
    psgd_step_draw_cold_factors(r);
    psgd_phase_exchange(r, PSGD_PHASE_EXCHANGE_PLAIN, psgd_step_begin_plain);
    psgd_phase_compute(r, PSGD_PHASE_ORTHONORMALIZE_Q, orthonormalize_q);
    if (r->owners != NULL) {
        psgd_phase_exchange(r, PSGD_PHASE_ORTHONORMALIZE_Q, share_q_hat);
    }
    psgd_phase_compute(r, PSGD_PHASE_COMPUTE_P, compute_p);
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_P, reduce_p);
    psgd_phase_compute(r, PSGD_PHASE_ORTHOGONALIZE_P, orthogonalize_p);
    if (r->owners != NULL) {
        psgd_phase_exchange(r, PSGD_PHASE_ORTHOGONALIZE_P, share_p_hat);
    }
    psgd_phase_compute(r, PSGD_PHASE_COMPUTE_Q, compute_q);
    psgd_phase_exchange(r, PSGD_PHASE_EXCHANGE_PLAIN, psgd_step_finish_plain);
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_Q, reduce_q);
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_Q, psgd_energy_share);
    if (psgd_step_goes_on(r)) { /* all workers commit */
        keep_factor(r);
        psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, decompress);
    }
}
