/* The engine whose passes are this library's own kernels: each does all that it can in one reading of M, for all matrices in
 * one launch, and a second small launch where sums were split.
 *
 *     A   ops/compute_p.h     M = g + e and P = M Q^ together
 *     B   ops/compute_q.h     Q_w = M^T P^
 *     C   ops/decompress.h    error and update together */
#include "base/arith.h"
#include "base/memory.h"
#include "ops/compute_p.h"
#include "ops/compute_q.h"
#include "ops/decompress.h"
#include "ops/engine.h"
#include "ops/matrices.h"

struct psgd_engine_state {
    psgd_device_t       *device;
    psgd_matrices_t      matrices;
    psgd_compute_p_t    *compute_p;
    psgd_compute_q_t    *compute_q;
    psgd_decompressor_t *decompressor;
    psgd_view_t          parts; /* of A and of B, which take turns */
};

static void fused_destroy(psgd_engine_state_t *engine)
{
    if (engine == NULL) {
        return;
    }
    psgd_buffer_destroy(engine->device, &engine->parts);
    psgd_decompressor_destroy(engine->decompressor);
    psgd_compute_q_destroy(engine->compute_q);
    psgd_compute_p_destroy(engine->compute_p);
    psgd_matrices_destroy(&engine->matrices);
    psgd_free(engine);
}

static psgd_status_t create_passes(psgd_engine_state_t *engine, psgd_form_t form)
{
    psgd_status_t status;

    status = psgd_compute_p_create(engine->matrices.ragged, form, true, &engine->compute_p);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_compute_q_create(engine->matrices.ragged, form, &engine->compute_q);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_decompressor_create(engine->matrices.ragged, form, &engine->decompressor);
}

static psgd_status_t fused_create(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices,
                                  size_t num_matrices, psgd_form_t form, psgd_engine_state_t **engine_p)
{
    psgd_engine_state_t *engine;
    uint64_t             part_elems;
    psgd_status_t        status;

    status = psgd_alloc(1, sizeof(*engine), "the fused engine", &engine);
    if (status != PSGD_OK) {
        return status;
    }
    engine->device = device;
    status         = psgd_matrices_create(device, plan, matrices, num_matrices, &engine->matrices);
    if (status != PSGD_OK) {
        goto destroy_engine;
    }
    status = create_passes(engine, form);
    if (status != PSGD_OK) {
        goto destroy_engine;
    }
    part_elems = psgd_max(psgd_compute_p_part_elems(engine->compute_p), psgd_compute_q_part_elems(engine->compute_q));
    status     = psgd_buffer_create(device, (size_t)part_elems * sizeof(float), "the partial sums of P and Q", &engine->parts);
    if (status != PSGD_OK) {
        goto destroy_engine;
    }
    *engine_p = engine;
    return PSGD_OK;

destroy_engine:
    fused_destroy(engine);
    return status;
}

static psgd_status_t fused_enqueue_compute_p(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    const psgd_compute_p_views_t pass = {views->q_hat, views->p, views->p_hat, views->q_local, engine->parts};
    psgd_status_t                status;

    status = psgd_matrices_place(&engine->matrices, views);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_compute_p_enqueue(engine->compute_p, &pass);
}

static psgd_status_t fused_enqueue_compute_q(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    psgd_status_t status = psgd_matrices_place(&engine->matrices, views);

    return status != PSGD_OK ? status
                             : psgd_compute_q_enqueue(engine->compute_q, views->p_hat, views->q_local, engine->parts);
}

static psgd_status_t fused_enqueue_decompress(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    const psgd_decompress_views_t pass = {views->p_hat, views->q_scaled, views->update_scales, views->q_local,
                                          views->rounding};

    return psgd_decompressor_enqueue(engine->decompressor, &pass);
}

static psgd_status_t fused_enqueue_one(psgd_engine_state_t *engine, size_t item, const psgd_step_views_t *views)
{
    psgd_status_t status;

    psgd_ragged_focus(engine->matrices.ragged, item);
    status = fused_enqueue_compute_p(engine, views);
    if (status == PSGD_OK) {
        status = fused_enqueue_compute_q(engine, views);
    }
    psgd_ragged_focus(engine->matrices.ragged, SIZE_MAX);
    return status;
}

static psgd_status_t fused_enqueue_settle(psgd_engine_state_t *engine, const psgd_step_views_t *views)
{
    psgd_status_t status = psgd_matrices_place_errors(&engine->matrices, views);

    return status != PSGD_OK ? status
                             : psgd_compute_p_enqueue_settle(engine->compute_p, views->p_hat, views->q_local);
}

const psgd_engine_ops_t psgd_engine_fused = {.kind               = PSGD_ENGINE_FUSED,
                                             .create             = fused_create,
                                             .enqueue_compute_p  = fused_enqueue_compute_p,
                                             .enqueue_compute_q  = fused_enqueue_compute_q,
                                             .enqueue_decompress = fused_enqueue_decompress,
                                             .enqueue_one        = fused_enqueue_one,
                                             .enqueue_settle     = fused_enqueue_settle,
                                             .destroy            = fused_destroy};
