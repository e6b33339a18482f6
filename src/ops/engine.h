/* The seam between the algorithm and the two ways to do its matrix products.
 *
 * An engine does the three passes over N, each over all compressed matrices of the plan, by enqueueing:
 *   compute_p    A   M = g + e, left in the gradient buffer; P = M Q^
 *   compute_q    B   Q_w = M^T P^
 *   decompress   C   e = M - P^ Q_w^T into the error memory; update = P^ Qbar^T into the gradient buffer
 * Without error feedback M = g, and C writes the update alone.
 * The update is the fma chain of ops/decompress.h in every engine: the same bits on every worker. */
#ifndef PSGD_OPS_ENGINE_H
#define PSGD_OPS_ENGINE_H

#include "device/buffer.h"
#include "device/device.h"
#include "plan/plan.h"

/* How Qbar of one matrix was scaled for the update: see ops/decompress.h. */
typedef struct psgd_update_scale {
    float scale_1, scale_2; /* powers of two; the update is chain * scale_1 * scale_2 */
    float flush_below;      /* a chain of smaller magnitude gives 0 */
} psgd_update_scale_t;

/* Where everything of one step lies. Factors are laid out by the plan (r x rows, r x cols). */
typedef struct psgd_step_views {
    const psgd_view_t         *grads;         /* by tensor index */
    const psgd_view_t         *errors;        /* by matrix index; NULL without error feedback */
    psgd_view_t                q_hat;         /* in A:  Q with orthonormal columns */
    psgd_view_t                p;             /* out A: this worker's P */
    psgd_view_t                p_hat;         /* in B, C */
    psgd_view_t                q_local;       /* out B, in C: Q_w */
    psgd_view_t                q_scaled;      /* in C: Qbar, scaled per matrix */
    const psgd_update_scale_t *update_scales; /* in C: by matrix index */
} psgd_step_views_t;

typedef struct psgd_engine_state psgd_engine_state_t;

typedef struct psgd_engine_ops {
    const char *name;

    /* Compiles and allocates all that the passes need, so that they allocate nothing. `plan` outlives the engine. */
    psgd_status_t (*create)(psgd_device_t *device, const psgd_plan_t *plan, bool error_feedback,
                            psgd_engine_state_t **engine_p);
    psgd_status_t (*enqueue_compute_p)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    psgd_status_t (*enqueue_compute_q)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    psgd_status_t (*enqueue_decompress)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    void (*destroy)(psgd_engine_state_t *engine); /* NULL is fine */
} psgd_engine_ops_t;

extern const psgd_engine_ops_t psgd_engine_clblast;

#endif
