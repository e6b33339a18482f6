/* PowerSGD, one step (Vogels, Karimireddy, Jaggi 2019, Algorithms 1 and 2), for all compressed matrices of a bucket at once:
 *
 *     M_w = g_w + e_w                      error feedback
 *     P   = mean_w(M_w orthonormalize(Q))  message 1
 *     P^  = orthogonalize(P)
 *     Q_w = M_w^T P^;  Qbar = mean_w(Q_w)  message 2; Qbar is the next step's Q
 *     update = P^ Qbar^T
 *     e_w = M_w - P^ Q_w^T                 the local error: this worker's own Q_w
 *
 * Error memory, Q and the step's number change only after the vote of message 2 of the last bucket, so that a step that fails anywhere
 * before has not happened; all but the lazy form (config.gradients_are_finite), whose error memory changes in compute_p, and which a
 * failure poisons from there on. Shapes: M rows x cols, P rows x r, Q cols x r; in memory P and Q lie transposed (plan/plan.h).
 * Which part of which bucket comes when: core/pipeline.c. */
#include "core/step.h"

#include <string.h>

#include "core/energy.h"
#include "core/exchange.h"
#include "core/norm.h"
#include "core/owners.h"
#include "core/phases.h"
#include "core/pipeline.h"
#include "core/traffic.h"
#include "core/update.h"
#include "ops/decompress.h"

/* ---- P_w ---- */

/* Cold start: a fresh random factor, unless one was imported. */
void psgd_step_draw_cold_factors(psgd_reducer_t *r)
{
    for (size_t m = 0; !r->config.warm_start && (m < r->plan->num_matrices); ++m) {
        if (!r->is_imported[m]) {
            psgd_reducer_draw_factor(r, m, r->step_number);
        }
    }
}

/* Q^ = orthonormalize(Q). The update depends on the span of Q alone; an orthonormal basis of it is what keeps fp32 exact
 * enough where r exceeds the gradient's rank. */
static psgd_status_t orthonormalize_q(psgd_bucket_t *b)
{
    psgd_status_t status = psgd_traffic_upload_factor(b);

    if ((status != PSGD_OK) || (b->plan->num_matrices == 0)) {
        return status;
    }
    return psgd_orthogonalizer_enqueue(b->orthogonalizer_q, b->q, b->q_hat, b->reducer->step_number);
}

/* On unlike devices the same P may give other bits of P^, and Q^: those of each matrix's owner are shared. */
static void share_q_hat(psgd_bucket_t *b)
{
    psgd_owners_share(b, b->q_hat, PSGD_FACTOR_Q);
}

/* M = g + e;  P_w = M Q^. In the lazy form this is where the error memory changes. */
static psgd_status_t compute_p(psgd_bucket_t *b)
{
    psgd_step_views_t views = psgd_bucket_views(b);

    if (b->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    b->reducer->step.has_changed_state = b->reducer->form == PSGD_FORM_LAZY;
    return psgd_engines_enqueue_compute_p(b->engines, &views);
}

static psgd_status_t mark_q_hat(psgd_bucket_t *b)
{
    psgd_mark_drop(&b->q_hat_mark);
    return psgd_pipeline_may_follow(b) ? psgd_device_mark(b->reducer->device, &b->q_hat_mark) : PSGD_OK;
}

void psgd_step_orthonormalize_q(psgd_bucket_t *b)
{
    psgd_bucket_compute(b, PSGD_PHASE_ORTHONORMALIZE_Q, orthonormalize_q);
    psgd_bucket_compute(b, PSGD_PHASE_ORTHONORMALIZE_Q, mark_q_hat);
}

void psgd_step_compute_p(psgd_bucket_t *b)
{
    if (b->owners != NULL) {
        psgd_bucket_exchange(b, PSGD_PHASE_ORTHONORMALIZE_Q, share_q_hat);
    }
    psgd_bucket_compute(b, PSGD_PHASE_EXCHANGE_PLAIN, psgd_bucket_take_gradients);
    psgd_bucket_compute(b, PSGD_PHASE_COMPUTE_P, compute_p);
    psgd_bucket_compute(b, PSGD_PHASE_COMPUTE_P, psgd_traffic_begin_reading_message_1);
}

/* ---- message 1 ---- */

void psgd_step_read_plain(psgd_bucket_t *b)
{
    psgd_bucket_compute(b, PSGD_PHASE_EXCHANGE_PLAIN, psgd_traffic_begin_reading_large);
}

/* What is neither compressed nor small travels beside the factors. */
static void begin_plain(psgd_bucket_t *b)
{
    psgd_step_note(b->reducer, psgd_traffic_end_reading_large(b));
    psgd_exchange_begin(b->reducer, &b->message_large, b->plan->large_elems, psgd_bucket_hash_bits(b));
}

void psgd_step_send_plain(psgd_bucket_t *b)
{
    if (b->plan->large_elems > 0) {
        psgd_bucket_exchange(b, PSGD_PHASE_EXCHANGE_PLAIN, begin_plain);
    }
}

/* P = mean_w(P_w), and the mean of the small uncompressed tensors; with owners, each of them has only what it owns of these. */
static void begin_p(psgd_bucket_t *b)
{
    psgd_step_note(b->reducer, psgd_traffic_end_reading_message_1(b));
    psgd_owners_begin_dominating(b);
    if (psgd_step_goes_on(b->reducer)) {
        psgd_exchange_begin(b->reducer, &b->message_1, b->plan->p_elems + b->plan->small_elems,
                            psgd_bucket_hash_bits(b));
    }
}

void psgd_step_send_p(psgd_bucket_t *b)
{
    psgd_bucket_exchange(b, PSGD_PHASE_REDUCE_P, begin_p);
}

static void finish_p(psgd_bucket_t *b)
{
    psgd_exchange_finish(b->reducer, &b->message_1, psgd_phase_name(PSGD_PHASE_REDUCE_P));
    psgd_owners_finish_dominating(b);
    if (psgd_owners_take_p(b)) {
        psgd_exchange_average_owned(b->reducer, &b->message_1);
    } else {
        psgd_exchange_average(b->reducer, &b->message_1);
    }
    if (psgd_step_is_healthy(b->reducer)) {
        psgd_step_note(b->reducer, psgd_traffic_write_message_1(b));
    }
}

/* ---- P^ and Q_w ---- */

/* P^ = orthogonalize(P). */
static psgd_status_t orthogonalize_p(psgd_bucket_t *b)
{
    if (b->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    return psgd_orthogonalizer_enqueue(b->orthogonalizer_p, b->message_1_view, b->p_hat, b->reducer->step_number);
}

static void share_p_hat(psgd_bucket_t *b)
{
    if (psgd_owners_take_p(b)) {
        psgd_owners_share_message_1(b);
    } else {
        psgd_owners_share(b, b->p_hat, PSGD_FACTOR_P);
    }
}

/* Q_w = M^T P^. */
static psgd_status_t compute_q(psgd_bucket_t *b)
{
    psgd_step_views_t views = psgd_bucket_views(b);

    return b->plan->num_matrices == 0 ? PSGD_OK : psgd_engines_enqueue_compute_q(b->engines, &views);
}

void psgd_step_compute_q(psgd_bucket_t *b)
{
    psgd_bucket_exchange(b, PSGD_PHASE_REDUCE_P, finish_p);
    psgd_bucket_compute(b, PSGD_PHASE_ORTHOGONALIZE_P, orthogonalize_p);
    if (b->owners != NULL) {
        psgd_bucket_exchange(b, PSGD_PHASE_ORTHOGONALIZE_P, share_p_hat);
    }
    psgd_bucket_compute(b, PSGD_PHASE_COMPUTE_Q, compute_q);
    if (psgd_pipeline_is_last(b)) { /* the M of all buckets are there */
        psgd_phase_compute(b->reducer, PSGD_PHASE_REDUCE_Q, psgd_energy_enqueue);
    }
    psgd_bucket_compute(b, PSGD_PHASE_COMPUTE_Q, psgd_traffic_begin_reading_message_2);
}

/* ---- message 2 ---- */

/* The large tensors have arrived before the last vote is cast. */
static void finish_plain(psgd_bucket_t *b)
{
    psgd_exchange_finish(b->reducer, &b->message_large, psgd_phase_name(PSGD_PHASE_EXCHANGE_PLAIN));
    psgd_exchange_average(b->reducer, &b->message_large);
}

void psgd_step_finish_plain(psgd_bucket_t *b)
{
    if (b->plan->large_elems > 0) {
        psgd_bucket_exchange(b, PSGD_PHASE_EXCHANGE_PLAIN, finish_plain);
    }
}

/* Qbar = mean_w(Q_w); that of the last bucket has the last vote. */
static void begin_q(psgd_bucket_t *b)
{
    psgd_step_note(b->reducer, psgd_traffic_end_reading_message_2(b));
    if (psgd_step_is_healthy(b->reducer)) {
        psgd_energy_add(b, psgd_message_payload(&b->message_2), true);
    }
    psgd_exchange_begin(b->reducer, &b->message_2, b->plan->q_elems, psgd_traffic_hash_common(b));
}

void psgd_step_send_q(psgd_bucket_t *b)
{
    psgd_step_finish_plain(b);
    psgd_bucket_exchange(b, PSGD_PHASE_REDUCE_Q, begin_q);
}

static void finish_q(psgd_bucket_t *b)
{
    psgd_exchange_finish(b->reducer, &b->message_2, psgd_phase_name(PSGD_PHASE_REDUCE_Q));
    psgd_exchange_average(b->reducer, &b->message_2);
}

void psgd_step_finish_q(psgd_bucket_t *b)
{
    psgd_bucket_exchange(b, PSGD_PHASE_REDUCE_Q, finish_q);
}

/* ---- after the last vote ---- */

/* |update|^2 = |Qbar|^2, and the uncompressed means. */
static void take_norm(psgd_reducer_t *r)
{
    double square = 0.0;

    if (!psgd_norm_is_wanted(r)) {
        return;
    }
    for (size_t i = 0; i < r->num_buckets; ++i) {
        const psgd_bucket_t *b = &r->buckets[i];

        square += psgd_norm_square(psgd_message_payload(&b->message_2), (size_t)b->plan->q_elems) +
                  psgd_traffic_square_of_uncompressed(b);
    }
    psgd_norm_take(r, square);
    for (size_t i = 0; i < r->num_buckets; ++i) {
        psgd_traffic_clip_uncompressed(&r->buckets[i]);
    }
}

/* Qbar is scaled so that the update is exactly rounded on every device. */
static void scale_factors(psgd_reducer_t *r)
{
    take_norm(r);
    for (size_t i = 0; psgd_step_goes_on(r) && (i < r->num_buckets); ++i) {
        if (!psgd_traffic_scale_factor(&r->buckets[i])) {
            psgd_exchange_overflow(r, "the update");
        }
    }
}

/* Warm start: Qbar is the next step's Q. */
static void keep_factors(psgd_reducer_t *r)
{
    for (size_t i = 0; i < r->num_buckets; ++i) {
        psgd_bucket_t *b = &r->buckets[i];

        memcpy(b->factor, psgd_message_payload(&b->message_2), b->plan->q_elems * sizeof(float));
    }
    memset(r->is_imported, 0, r->plan->num_matrices * sizeof(r->is_imported[0]));
}

/* Into the gradients' buffers; what travelled uncompressed is put in its place. */
static psgd_status_t write_update(psgd_bucket_t *b)
{
    psgd_step_views_t views  = psgd_bucket_views(b);
    psgd_status_t     status = PSGD_OK;

    if (b->plan->num_matrices > 0) {
        status = psgd_engines_enqueue_decompress(b->engines, &views);
    }
    return status == PSGD_OK ? psgd_traffic_write_uncompressed(b) : status;
}

/* Straight into the parameters, without an update ever being written. */
static psgd_status_t apply_factors(psgd_reducer_t *r)
{
    const psgd_step_views_t views  = psgd_traffic_step_views(r);
    psgd_status_t           status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = psgd_traffic_write_small(&r->buckets[i]);
    }
    return status == PSGD_OK ? psgd_update_enqueue(r, views.p_hat, views.q_scaled, psgd_traffic_small_view(r)) : status;
}

/* e = M - P^ Q_w^T (the lazy form leaves that to the next step);  update = P^ Qbar^T, which an optimizer's step applies as it is
 * formed, or, where it cannot, as it was written. */
static psgd_status_t decompress(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_traffic_upload_update(r);

    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = psgd_traffic_write_sent(&r->buckets[i], &r->buckets[i].message_2, r->buckets[i].q_local);
    }
    if ((status == PSGD_OK) && psgd_update_takes_factors(r)) {
        return apply_factors(r);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = write_update(&r->buckets[i]);
    }
    return (status == PSGD_OK) && (r->step.update != NULL) ? psgd_update_enqueue_written(r) : status;
}

void psgd_step_commit(psgd_reducer_t *r)
{
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_Q, scale_factors);
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_Q, psgd_energy_share);
    if (psgd_step_goes_on(r)) { /* all workers commit */
        keep_factors(r);
        psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, decompress);
    }
}
