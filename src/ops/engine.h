/* The seam between the algorithm and the two ways to do its matrix products.
 *
 * An engine does the three passes over N, each over all of its matrices, by enqueueing:
 *   compute_p    A   M = g + e; P = M Q^
 *   compute_q    B   Q_w = M^T P^
 *   decompress   C   e = M - P^ Q_w^T; update = P^ Qbar^T into the gradient buffer
 * in one of four forms (ops/variant.h):
 *   no feedback     M = g, and C writes the update alone
 *   transactional   A writes M over g; C writes e and the update. Nothing that lasts changes before C
 *   half            the same, with an error memory in bfloat16
 *   lazy            A writes M over the error memory, which holds M and never e; C writes the update alone. The next step's A
 *                   forms e from the P^ and Q_w that it finds in p_hat and q_local, before they are overwritten
 * M, e and the update are fma chains in a fixed order, the same bits from the same factors in every engine and form, and the
 * update on every worker. P and Q_w are sums in an order of the engine's own. */
#ifndef PSGD_OPS_ENGINE_H
#define PSGD_OPS_ENGINE_H

#include "device/buffer.h"
#include "device/device.h"
#include "ops/rounding.h"
#include "ops/variant.h"
#include "plan/plan.h"

/* How Qbar of one matrix was scaled for the update: see ops/decompress.h. */
typedef struct psgd_update_scale {
    float scale_1, scale_2; /* powers of two; the update is chain * scale_1 * scale_2 */
    float flush_below;      /* a chain of smaller magnitude gives 0 */
    float unused;           /* the device reads four floats a matrix */
} psgd_update_scale_t;

/* Where everything of one step lies. Factors are laid out by the plan (r x rows, r x cols). */
typedef struct psgd_step_views {
    const psgd_view_t *grads;         /* by matrix index */
    const psgd_view_t *errors;        /* by matrix index; NULL without error feedback */
    psgd_view_t        q_hat;         /* in A:  Q with orthonormal columns */
    psgd_view_t        p;             /* out A: this worker's P */
    psgd_view_t        p_hat;         /* in B, C; in A, lazy: the last step's */
    psgd_view_t        q_local;       /* out B, in C: Q_w; in A, lazy: the last step's */
    psgd_view_t        q_scaled;      /* in C: Qbar, scaled per matrix */
    psgd_view_t        update_scales; /* in C: psgd_update_scale_t by matrix index */
    psgd_rounding_t    rounding;      /* in C: PSGD_FORM_HALF */
} psgd_step_views_t;

typedef struct psgd_engine_state psgd_engine_state_t;

typedef struct psgd_engine_ops {
    psgd_engine_t kind;

    /* For the matrices of `plan` with these indices, in rising order, num_matrices >= 1; copied. Compiles and allocates all
     * that the passes need, so that they allocate nothing. `plan` outlives the engine. */
    psgd_status_t (*create)(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices, size_t num_matrices,
                            psgd_form_t form, psgd_engine_state_t **engine_p);
    psgd_status_t (*enqueue_compute_p)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    psgd_status_t (*enqueue_compute_q)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    psgd_status_t (*enqueue_decompress)(psgd_engine_state_t *engine, const psgd_step_views_t *views);

    /* A and B of the item-th of its matrices alone, for measuring. */
    psgd_status_t (*enqueue_one)(psgd_engine_state_t *engine, size_t item, const psgd_step_views_t *views);

    /* Lazy form, between steps: the error memory holds e from here on; the caller zeroes q_local to say so. */
    psgd_status_t (*enqueue_settle)(psgd_engine_state_t *engine, const psgd_step_views_t *views);
    void (*destroy)(psgd_engine_state_t *engine); /* NULL is fine; nothing of its passes may be under way */
} psgd_engine_ops_t;

extern const psgd_engine_ops_t psgd_engine_clblast;
extern const psgd_engine_ops_t psgd_engine_fused;

#endif
