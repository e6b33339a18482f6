/* A step of k half-iterations, which alternate between the two factors from one step to the next:
 *
 *     M_w = g_w + e_w
 *     for k half-iterations:
 *         even ones, from 0 on:  P^ = orthonormalize(P)    odd ones:  Q^ = orthonormalize(Q)
 *                                Q_w = M_w^T P^                       P_w = M_w Q^
 *                                M_w = M_w - P^ Q_w^T                 M_w = M_w - P_w Q^^T       its own error feedback
 *                                Q = mean_w(Q_w)                      P = mean_w(P_w)            a message with a vote
 *     update = the sum over the half-iterations of P^ Q^T and P Q^^T
 *     e_w = M_w
 *
 * The factor that the last one computed is what the next step starts from. Against a full iteration, which is two of these on the
 * same M, one half-iteration a step sends half as much in one message, and its factor is a step old.
 *
 * As in step.c nothing that lasts changes before the last vote: M is formed over the gradient and what a piece leaves of it too.
 * Only the last piece is taken off on the way into the error memory. The update is one chain over the factors of all pieces. */
#include "core/alternate.h"

#include <string.h>

#include "base/arith.h"
#include "base/hash.h"
#include "base/memory.h"
#include "core/energy.h"
#include "core/exchange.h"
#include "core/half_errors.h"
#include "core/norm.h"
#include "core/owners.h"
#include "core/phases.h"
#include "core/step.h"
#include "core/traffic.h"
#include "core/update.h"
#include "ops/compute_p.h"
#include "ops/decompress.h"
#include "ops/matrices.h"
#include "ops/residual.h"
#include "ops/stack.h"

/* The pieces of a step up to so many are orthogonal to each other. */
enum { ORTHOGONAL_PIECES = 2 };

struct psgd_alternation {
    uint32_t count; /* half-iterations a step */
    uint32_t half;  /* the one under way, from 0 in each step */

    /* What is done with M, and with the factors of all pieces. */
    psgd_matrices_t      matrices;
    psgd_compute_p_t    *form_m;       /* M = g + e; NULL without error feedback */
    psgd_residual_t     *take_off;     /* M -= a piece; NULL with one half-iteration a step */
    psgd_residual_t     *leave_error;  /* e = M - a piece; NULL without error feedback */
    psgd_plan_t          stacked_plan; /* the plan, with `count` times the rank */
    psgd_matrices_t      stacked;
    psgd_stack_t        *p_stack, *q_stack;
    psgd_decompressor_t *sum_pieces;

    /* Host memory. */
    float               *means;  /* of each half-iteration, room_elems apart */
    float               *scaled; /* the same scaled for the update; behind them the scales */
    psgd_update_scale_t *scales;
    uint64_t             room_elems;
    psgd_update_array_t *arrays;   /* of one matrix, by half-iteration */
    float               *p_pieces; /* the stacks, where the norm of the update takes more than squares; else NULL */
    float               *q_pieces;
    uint64_t             common_hash; /* of the uncompressed means of the last step; told in the next */
};

/* ---- which side ---- */

static bool computes_q(const psgd_reducer_t *r)
{
    return psgd_alternation_computes_q(r->half_iterations_done + r->alternation->half);
}

static psgd_phase_t phase_of_product(const psgd_reducer_t *r)
{
    return computes_q(r) ? PSGD_PHASE_COMPUTE_Q : PSGD_PHASE_COMPUTE_P;
}

/* Elements of what this half-iteration starts from, and of what it computes. */
static uint64_t in_elems(const psgd_reducer_t *r)
{
    return computes_q(r) ? r->plan->p_elems : r->plan->q_elems;
}

static uint64_t out_elems(const psgd_reducer_t *r)
{
    return computes_q(r) ? r->plan->q_elems : r->plan->p_elems;
}

static psgd_view_t in_hat(const psgd_reducer_t *r)
{
    return computes_q(r) ? r->p_hat : r->q_hat;
}

/* The P and Q of this worker's own piece. */
static psgd_view_t own_p(const psgd_reducer_t *r)
{
    return computes_q(r) ? r->p_hat : r->message_1_view;
}

static psgd_view_t own_q(const psgd_reducer_t *r)
{
    return computes_q(r) ? r->message_1_view : r->q_hat;
}

/* What the half-iteration starts from: of the last step, or of the half-iteration before. */
static const float *in_factor(const psgd_reducer_t *r)
{
    const psgd_alternation_t *a = r->alternation;

    return a->half == 0 ? r->factor : a->means + (a->half - 1) * a->room_elems;
}

/* The first message carries the small uncompressed tensors too. */
static psgd_message_t *message_of(psgd_reducer_t *r)
{
    return r->alternation->half == 0 ? &r->buckets->message_1 : &r->buckets->message_2;
}

static uint64_t small_elems(const psgd_reducer_t *r)
{
    return r->alternation->half == 0 ? r->plan->small_elems : 0;
}

/* ---- a half-iteration ---- */

static psgd_status_t place(psgd_reducer_t *r)
{
    psgd_step_views_t views = psgd_traffic_step_views(r);

    return psgd_matrices_place(&r->alternation->matrices, &views);
}

/* M = g + e */
static psgd_status_t form_m(psgd_reducer_t *r)
{
    const psgd_compute_p_views_t not_touched = {r->q_hat, r->q_hat, r->q_hat, r->q_hat, r->q_hat};
    psgd_status_t                status      = place(r);

    if ((status != PSGD_OK) || (r->alternation->form_m == NULL)) {
        return status;
    }
    return psgd_compute_p_enqueue(r->alternation->form_m, &not_touched);
}

/* P^ = orthonormalize(P), or Q^ = orthonormalize(Q). */
static psgd_status_t orthonormalize(psgd_reducer_t *r)
{
    psgd_orthogonalizer_t *orthogonalizer = computes_q(r) ? r->buckets->orthogonalizer_p : r->buckets->orthogonalizer_q;
    psgd_status_t          status;

    status =
        psgd_traffic_stage_out(r->buckets, in_factor(r), r->q, in_elems(r) * sizeof(float), "the factor to start from");
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_orthogonalizer_enqueue(orthogonalizer, r->q, in_hat(r), r->step_number);
}

static void share_hat(psgd_reducer_t *r)
{
    psgd_owners_share(r->buckets, in_hat(r), computes_q(r) ? PSGD_FACTOR_P : PSGD_FACTOR_Q);
}

/* Q_w = M^T P^, or P_w = M Q^; the orthonormal factor goes to those of the update. */
static psgd_status_t multiply(psgd_reducer_t *r)
{
    psgd_alternation_t *a      = r->alternation;
    psgd_stack_t       *stack  = computes_q(r) ? a->p_stack : a->q_stack;
    psgd_step_views_t   views  = psgd_traffic_step_views(r);
    psgd_status_t       status = a->half == 0 ? form_m(r) : PSGD_OK;

    if (status == PSGD_OK) {
        status = psgd_stack_enqueue(stack, in_hat(r), a->half);
    }
    if ((status == PSGD_OK) && (a->half == 0)) {
        status = psgd_energy_enqueue(r);
    }
    if (status != PSGD_OK) {
        return status;
    }
    views.errors = NULL; /* M is there already */
    return computes_q(r) ? psgd_engines_enqueue_compute_q(r->buckets->engines, &views)
                         : psgd_engines_enqueue_compute_p(r->buckets->engines, &views);
}

/* This worker's factor into the message, the small tensors behind it; and the hash of the orthonormal factor. Waits. */
static psgd_status_t read_message(psgd_reducer_t *r)
{
    psgd_message_t *message = message_of(r);
    psgd_status_t   status  = PSGD_OK;

    if ((r->buckets->packer != NULL) && (r->alternation->half == 0)) {
        status = psgd_packer_enqueue_pack(r->buckets->packer, r->step_grads, r->buckets->small);
        if (status == PSGD_OK) {
            status =
                psgd_buffer_enqueue_read(r->device, r->buckets->small, psgd_message_payload(message) + out_elems(r),
                                         (size_t)small_elems(r) * sizeof(float));
        }
    }
    if ((status == PSGD_OK) && (r->plan->num_matrices > 0)) {
        status = psgd_hasher_enqueue(r->hasher, in_hat(r), in_elems(r), &r->buckets->p_hat_hash);
    }
    if ((status != PSGD_OK) || (out_elems(r) == 0)) {
        return status == PSGD_OK ? psgd_device_wait(r->device, psgd_phase_name(phase_of_product(r))) : status;
    }
    return psgd_traffic_stage_in(r->buckets, r->message_1_view, psgd_message_payload(message), out_elems(r),
                                 psgd_phase_name(phase_of_product(r)));
}

/* What workers hold alike: where the half-iteration started from, made orthonormal; and what is told late. */
static uint64_t hash_common(const psgd_reducer_t *r)
{
    const psgd_alternation_t *a    = r->alternation;
    uint64_t                  hash = psgd_hash_words(in_factor(r), in_elems(r), r->half_iterations_done + a->half);

    return psgd_hash_u64(psgd_hash_u64(psgd_hash_u64(hash, r->buckets->p_hat_hash), a->common_hash), r->check_hash);
}

/* M = M - P^ Q_w^T, or M - P_w Q^^T. */
static psgd_status_t take_off(psgd_reducer_t *r)
{
    return psgd_residual_enqueue(r->alternation->take_off, own_p(r), own_q(r), psgd_half_errors_rounding(r));
}

/* Q = mean_w(Q_w), or P = mean_w(P_w). What the next half-iteration needs of M is computed while the message travels. */
static void reduce(psgd_reducer_t *r)
{
    psgd_alternation_t *a       = r->alternation;
    psgd_message_t     *message = message_of(r);
    bool                is_last = a->half + 1 == a->count;

    if (psgd_step_is_healthy(r)) {
        psgd_step_note(r, read_message(r));
        psgd_energy_add(r->buckets, psgd_message_payload(message), computes_q(r));
    }
    message->kind = computes_q(r) ? PSGD_FACTOR_Q : PSGD_FACTOR_P;
    psgd_exchange_begin(r, message, (size_t)(out_elems(r) + small_elems(r)), hash_common(r));
    if ((r->plan->num_matrices > 0) && psgd_step_is_healthy(r)) {
        psgd_step_note(r, psgd_traffic_write_sent(r->buckets, message, r->message_1_view));
    }
    if (!is_last && (r->plan->num_matrices > 0) && psgd_step_is_healthy(r)) {
        psgd_step_note(r, take_off(r));
    }
    if (psgd_step_goes_on(r)) {
        psgd_exchange_finish(r, message, psgd_phase_name(computes_q(r) ? PSGD_PHASE_REDUCE_Q : PSGD_PHASE_REDUCE_P));
    }
    psgd_exchange_average(r, message);
    if (psgd_step_goes_on(r)) {
        memcpy(a->means + a->half * a->room_elems, psgd_message_payload(message), (size_t)out_elems(r) * sizeof(float));
    }
}

static void iterate_half(psgd_reducer_t *r)
{
    const bool         is_q         = computes_q(r);
    const psgd_phase_t orthonormal  = is_q ? PSGD_PHASE_ORTHOGONALIZE_P : PSGD_PHASE_ORTHONORMALIZE_Q;
    const psgd_phase_t reduction    = is_q ? PSGD_PHASE_REDUCE_Q : PSGD_PHASE_REDUCE_P;
    const bool         has_matrices = r->plan->num_matrices > 0;

    if (has_matrices) {
        psgd_phase_compute(r, orthonormal, orthonormalize);
        if (r->buckets->owners != NULL) {
            psgd_phase_exchange(r, orthonormal, share_hat);
        }
        psgd_phase_compute(r, phase_of_product(r), multiply);
    }
    if (r->alternation->half + 1 == r->alternation->count) { /* the large tensors are there before the last vote */
        psgd_step_finish_plain(r->buckets);
    }
    psgd_phase_exchange(r, reduction, reduce);
}

/* ---- after the last vote ---- */

/* The squares of the means: of one piece, and of two, which are orthogonal: the second is of what the first has left, and what
 * is left of a projection P^ P^^T M has nothing in the span of P^. */
static double square_of_means(const psgd_reducer_t *r)
{
    const psgd_alternation_t *a   = r->alternation;
    double                    sum = 0.0;

    for (uint32_t half = 0; half < a->count; ++half) {
        bool is_q = psgd_alternation_computes_q(r->half_iterations_done + half);

        sum += psgd_norm_square(a->means + half * a->room_elems, (size_t)(is_q ? r->plan->q_elems : r->plan->p_elems));
    }
    return sum;
}

static double dot(const float *x, const float *y, uint64_t elems)
{
    double sum = 0.0;

    for (uint64_t i = 0; i < elems; ++i) {
        sum += (double)x[i] * (double)y[i];
    }
    return sum;
}

/* The factors of all pieces on the host. */
static psgd_status_t read_pieces(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;
    psgd_status_t       status;

    status = psgd_buffer_enqueue_read(r->device, psgd_stack_view(a->p_stack), a->p_pieces,
                                      (size_t)(a->count * r->plan->p_elems) * sizeof(float));
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(r->device, psgd_stack_view(a->q_stack), a->q_pieces,
                                          (size_t)(a->count * r->plan->q_elems) * sizeof(float));
    }
    if (status == PSGD_OK) {
        status = psgd_device_wait(r->device, "reading the factors of a step");
    }
    if (status != PSGD_OK) {
        return status;
    }
    for (uint32_t half = 0; half < a->count; ++half) { /* the means are not there yet */
        bool is_q = psgd_alternation_computes_q(r->half_iterations_done + half);

        for (size_t m = 0; m < r->plan->num_matrices; ++m) {
            const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];
            uint64_t                  begin  = is_q ? matrix->q_offset_elems : matrix->p_offset_elems;
            uint64_t                  elems  = (is_q ? matrix->cols : matrix->rows) * matrix->r;

            memcpy((is_q ? a->q_pieces : a->p_pieces) + a->count * begin + half * elems,
                   a->means + half * a->room_elems + begin, (size_t)elems * sizeof(float));
        }
    }
    return PSGD_OK;
}

/* |P Q^T|^2 = the sum over k and l of (P^T P)_kl (Q^T Q)_kl */
static double square_of_pieces(const psgd_reducer_t *r)
{
    const psgd_alternation_t *a   = r->alternation;
    double                    sum = 0.0;

    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &a->stacked_plan.matrices[m];
        const float              *p      = a->p_pieces + matrix->p_offset_elems;
        const float              *q      = a->q_pieces + matrix->q_offset_elems;

        for (uint32_t k = 0; k < matrix->r; ++k) {
            for (uint32_t l = 0; l <= k; ++l) {
                double term = dot(p + k * matrix->rows, p + l * matrix->rows, matrix->rows) *
                              dot(q + k * matrix->cols, q + l * matrix->cols, matrix->cols);

                sum += k == l ? term : 2.0 * term;
            }
        }
    }
    return sum;
}

/* |update|, and the clipping that follows from it. */
static void take_norm(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;
    double              square;

    if (!psgd_norm_is_wanted(r)) {
        return;
    }
    if (a->p_pieces != NULL) {
        psgd_step_note(r, read_pieces(r));
        square = square_of_pieces(r);
    } else {
        square = square_of_means(r);
    }
    psgd_norm_take(r, square + psgd_traffic_square_of_uncompressed(r->buckets));
    psgd_traffic_clip_uncompressed(r->buckets);
}

/* The means of all half-iterations clipped, and scaled for the update, all of a matrix's alike. */
static void scale_pieces(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;

    take_norm(r);
    psgd_norm_clip(r, a->means, a->scaled, (size_t)(a->count * a->room_elems));
    for (size_t m = 0; psgd_step_goes_on(r) && (m < r->plan->num_matrices); ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];

        for (uint32_t half = 0; half < a->count; ++half) {
            bool     is_q  = psgd_alternation_computes_q(r->half_iterations_done + half);
            uint64_t begin = half * a->room_elems + (is_q ? matrix->q_offset_elems : matrix->p_offset_elems);

            a->arrays[half] = (psgd_update_array_t){a->scaled + begin, a->scaled + begin,
                                                    (size_t)((is_q ? matrix->cols : matrix->rows) * matrix->r)};
        }
        if (psgd_update_scale_arrays(a->arrays, a->count, &a->scales[m]) != PSGD_OK) {
            psgd_exchange_overflow(r, "the update");
        }
    }
}

/* e = M - the last piece. Of the last half-iteration, whose factors are still where they were computed. */
static psgd_status_t leave_error(psgd_reducer_t *r)
{
    return r->alternation->leave_error == NULL
               ? PSGD_OK
               : psgd_residual_enqueue(r->alternation->leave_error, own_p(r), own_q(r), psgd_half_errors_rounding(r));
}

/* The means go beside the orthonormal factors that they belong to. */
static psgd_status_t stack_means(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;
    const size_t        bytes =
        (size_t)(a->count * a->room_elems) * sizeof(float) + r->plan->num_matrices * sizeof(psgd_update_scale_t);
    psgd_status_t status;

    status = psgd_traffic_stage_out(r->buckets, a->scaled, r->q, bytes, psgd_phase_name(PSGD_PHASE_DECOMPRESS));
    for (uint32_t half = 0; (status == PSGD_OK) && (half < a->count); ++half) {
        bool is_q = psgd_alternation_computes_q(r->half_iterations_done + half);

        status = psgd_stack_enqueue(is_q ? a->q_stack : a->p_stack,
                                    psgd_view_at(r->q, (size_t)(half * a->room_elems) * sizeof(float)), half);
    }
    return status;
}

/* update = the sum of all pieces, over M */
static psgd_status_t sum_pieces(psgd_reducer_t *r)
{
    psgd_alternation_t           *a      = r->alternation;
    const psgd_step_views_t       views  = psgd_traffic_step_views(r);
    const psgd_decompress_views_t pieces = {psgd_stack_view(a->p_stack), psgd_stack_view(a->q_stack),
                                            views.update_scales, psgd_stack_view(a->q_stack), views.rounding};
    psgd_status_t                 status = psgd_matrices_place(&a->stacked, &views);

    return status == PSGD_OK ? psgd_decompressor_enqueue(a->sum_pieces, &pieces) : status;
}

static psgd_status_t update_parameters(psgd_reducer_t *r)
{
    const psgd_alternation_t *a    = r->alternation;
    const psgd_view_t         none = {NULL, 0};
    const bool                any  = r->plan->num_matrices > 0;

    psgd_status_t status = psgd_traffic_write_small(r->buckets);

    return status == PSGD_OK ? psgd_update_enqueue(r, any ? psgd_stack_view(a->p_stack) : none,
                                                   any ? psgd_stack_view(a->q_stack) : none, r->buckets->small)
                             : status;
}

/* An optimizer that cannot take the factors follows. */
static psgd_status_t write_uncompressed(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_traffic_write_uncompressed(r->buckets);

    return (status == PSGD_OK) && (r->step.update != NULL) ? psgd_update_enqueue_written(r) : status;
}

static psgd_status_t decompress(psgd_reducer_t *r)
{
    psgd_status_t status = PSGD_OK;

    if (r->plan->num_matrices > 0) {
        status = leave_error(r);
        if (status == PSGD_OK) {
            status = stack_means(r);
        }
        if ((status == PSGD_OK) && !psgd_update_takes_factors(r)) {
            status = sum_pieces(r);
        }
    }
    if (status == PSGD_OK) {
        status = psgd_update_takes_factors(r) ? update_parameters(r) : write_uncompressed(r);
    }
    return status == PSGD_OK ? psgd_device_wait(r->device, psgd_phase_name(PSGD_PHASE_DECOMPRESS)) : status;
}

/* The last mean is what the next step starts from. */
static void keep_factor(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;

    a->common_hash = psgd_hash_words(psgd_bucket_small_means(r->buckets), r->plan->small_elems, 0);
    if (r->plan->large_elems > 0) {
        a->common_hash = psgd_hash_u64(
            a->common_hash, psgd_hash_words(psgd_message_payload(&r->buckets->message_large), r->plan->large_elems, 0));
    }
    memcpy(r->factor, a->means + (a->count - 1) * a->room_elems, (size_t)out_elems(r) * sizeof(float));
    memset(r->is_imported, 0, r->plan->num_matrices * sizeof(r->is_imported[0]));
}

void psgd_step_alternating(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;

    psgd_step_draw_cold_factors(r);
    psgd_bucket_compute(r->buckets, PSGD_PHASE_EXCHANGE_PLAIN, psgd_traffic_begin_reading_large);
    psgd_step_send_plain(r->buckets);
    for (a->half = 0; a->half < a->count; ++a->half) {
        iterate_half(r);
    }
    a->half = a->count - 1; /* whose piece is still to be taken off */
    psgd_phase_exchange(r, PSGD_PHASE_REDUCE_Q, psgd_energy_share);
    psgd_phase_exchange(r, PSGD_PHASE_DECOMPRESS, scale_pieces);
    if (psgd_step_goes_on(r)) { /* all workers commit */
        keep_factor(r);
        psgd_phase_compute(r, PSGD_PHASE_DECOMPRESS, decompress);
        r->half_iterations_done += a->count;
    }
}

/* ---- create and destroy ---- */

static psgd_status_t create_host_arrays(psgd_reducer_t *r)
{
    psgd_alternation_t *a            = r->alternation;
    const size_t        num_matrices = r->plan->num_matrices;
    const size_t        elems        = (size_t)(a->count * a->room_elems);
    psgd_status_t       status;

    status = psgd_alloc(elems, sizeof(float), "the factors of a step", &a->means);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(elems + num_matrices * sizeof(psgd_update_scale_t) / sizeof(float), sizeof(float),
                        "the scaled factors of a step", &a->scaled);
    if (status != PSGD_OK) {
        return status;
    }
    a->scales = (psgd_update_scale_t *)(void *)(a->scaled + elems);
    if (psgd_norm_is_wanted(r) && (a->count > ORTHOGONAL_PIECES)) {
        status = psgd_alloc((size_t)(a->count * r->plan->p_elems), sizeof(float), "the P of all pieces", &a->p_pieces);
        if (status != PSGD_OK) {
            return status;
        }
        status = psgd_alloc((size_t)(a->count * r->plan->q_elems), sizeof(float), "the Q of all pieces", &a->q_pieces);
        if (status != PSGD_OK) {
            return status;
        }
    }
    return psgd_alloc(a->count, sizeof(*a->arrays), "the pieces of a matrix", &a->arrays);
}

/* The plan with `count` times the rank: the factors of all pieces of a matrix lie together. */
static psgd_status_t stack_plan(const psgd_plan_t *plan, psgd_alternation_t *a)
{
    psgd_plan_matrix_t *matrices = NULL;
    psgd_status_t       status;

    status = psgd_alloc(plan->num_matrices, sizeof(*matrices), "a plan of stacked factors", &matrices);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < plan->num_matrices; ++m) {
        matrices[m] = plan->matrices[m];
        matrices[m].r *= a->count;
        matrices[m].p_offset_elems *= a->count;
        matrices[m].q_offset_elems *= a->count;
    }
    a->stacked_plan          = *plan;
    a->stacked_plan.matrices = matrices;
    return PSGD_OK;
}

static psgd_status_t create_stack(psgd_reducer_t *r, bool is_p, const char *what, psgd_stack_t **stack_p)
{
    const psgd_plan_t *plan    = r->plan;
    uint64_t          *offsets = NULL;
    psgd_status_t      status;

    status = psgd_alloc(plan->num_matrices + 1, sizeof(*offsets), "the offsets of factors", &offsets);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < plan->num_matrices; ++m) {
        offsets[m] = is_p ? plan->matrices[m].p_offset_elems : plan->matrices[m].q_offset_elems;
    }
    offsets[plan->num_matrices] = is_p ? plan->p_elems : plan->q_elems;
    status = psgd_stack_create(r->device, offsets, plan->num_matrices, r->alternation->count, what, stack_p);
    psgd_free(offsets);
    return status;
}

static psgd_status_t create_matrices(psgd_reducer_t *r)
{
    psgd_alternation_t *a      = r->alternation;
    psgd_status_t       status = psgd_matrices_create_all(r->device, r->plan, &a->matrices);

    if (status == PSGD_OK) {
        status = stack_plan(r->plan, a);
    }
    return status == PSGD_OK ? psgd_matrices_create_all(r->device, &a->stacked_plan, &a->stacked) : status;
}

static psgd_status_t create_error_kernels(psgd_alternation_t *a, bool in_half)
{
    psgd_status_t status;

    status = psgd_compute_p_create(a->matrices.ragged, in_half ? PSGD_FORM_HALF : PSGD_FORM_TRANSACTIONAL, false,
                                   &a->form_m);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_residual_create(a->matrices.ragged, in_half ? PSGD_RESIDUAL_INTO_BFLOAT : PSGD_RESIDUAL_INTO_ERROR,
                                &a->leave_error);
}

static psgd_status_t create_kernels(psgd_reducer_t *r)
{
    psgd_alternation_t *a = r->alternation;
    psgd_status_t       status;

    status = create_matrices(r);
    if (status != PSGD_OK) {
        return status;
    }
    if (r->config.error_feedback) {
        status = create_error_kernels(a, r->config.error_dtype != PSGD_F32);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (a->count > 1) {
        status = psgd_residual_create(a->matrices.ragged, PSGD_RESIDUAL_OVER_M, &a->take_off);
        if (status != PSGD_OK) {
            return status;
        }
    }
    status = create_stack(r, true, "the P of all pieces", &a->p_stack);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_stack(r, false, "the Q of all pieces", &a->q_stack);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_decompressor_create(a->stacked.ragged, PSGD_FORM_NO_FEEDBACK, &a->sum_pieces);
}

psgd_status_t psgd_alternation_create(psgd_reducer_t *r)
{
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*r->alternation), "the alternating half-iterations", &r->alternation);
    if (status != PSGD_OK) {
        return status;
    }
    r->alternation->count      = r->config.half_iterations;
    r->alternation->room_elems = psgd_reducer_factor_room(r);
    status                     = create_host_arrays(r);
    if ((status != PSGD_OK) || (r->plan->num_matrices == 0)) {
        return status;
    }
    return create_kernels(r);
}

const psgd_plan_t *psgd_alternation_plan(const psgd_reducer_t *r)
{
    return &r->alternation->stacked_plan;
}

void psgd_alternation_inherit(psgd_reducer_t *next, const psgd_reducer_t *before)
{
    if (before->alternation != NULL) {
        next->alternation->common_hash = before->alternation->common_hash;
    }
}

void psgd_alternation_destroy(psgd_alternation_t *a, bool keep_memory)
{
    if (a == NULL) {
        return;
    }
    psgd_decompressor_destroy(a->sum_pieces);
    psgd_stack_destroy(a->q_stack);
    psgd_stack_destroy(a->p_stack);
    psgd_residual_destroy(a->leave_error);
    psgd_residual_destroy(a->take_off);
    psgd_compute_p_destroy(a->form_m);
    psgd_matrices_destroy(&a->stacked);
    psgd_free(a->stacked_plan.matrices);
    psgd_matrices_destroy(&a->matrices);
    psgd_free(a->arrays);
    if (!keep_memory) { /* else the device may still write to it */
        psgd_free(a->q_pieces);
        psgd_free(a->p_pieces);
        psgd_free(a->scaled);
        psgd_free(a->means);
    }
    psgd_free(a);
}
