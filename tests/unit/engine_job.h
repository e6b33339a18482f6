/* A step of one engine: a plan, all buffers of the step between guards, and what each pass has to leave in them. Both engines'
 * tests go through it.
 *
 * Between steps the error memory of the lazy form holds M', which stands for the error M' - P^' Q_w'^T, and p_hat and q_local
 * still hold P^' and Q_w'. Jobs of the same shapes and seed have the same gradients and the same error in every form, and so the
 * same M, bit for bit. */
#ifndef PSGD_TESTS_UNIT_ENGINE_JOB_H
#define PSGD_TESTS_UNIT_ENGINE_JOB_H

#include "op_fixture.h"
#include "ops/engine.h"

typedef struct shape {
    size_t rows, cols, r;
} shape_t;

enum { JOB_MAX_MATRICES = 64 };

typedef struct job_setup {
    const shape_t *shapes;
    size_t         num_shapes;
    psgd_form_t    form;
    uint64_t       seed;
    size_t         grad_mems;    /* buffers of gradients, which the matrices take in turn; 0: one each */
    size_t         error_mems;   /* buffers of error memories, which neighbours share; 0: one for all */
    bool           every_second; /* the engine gets the matrices 0, 2, 4 ... alone */
} job_setup_t;

typedef struct job {
    psgd_device_t      *device;
    job_setup_t         setup;
    psgd_plan_t         plan;
    psgd_plan_matrix_t  matrices[JOB_MAX_MATRICES];
    size_t              selected[JOB_MAX_MATRICES];
    size_t              num_selected;
    psgd_update_scale_t scales[JOB_MAX_MATRICES];

    /* On the host, a matrix each: g, e, M = g + e, and what the error memory held when the step began. */
    float *grad[JOB_MAX_MATRICES], *error[JOB_MAX_MATRICES], *m[JOB_MAX_MATRICES], *stored[JOB_MAX_MATRICES];
    float *p_before, *q_before; /* what p and q_local held when the step began */
    float *q_hat, *p_hat, *q_mean, *q_scaled;
    float *p, *q_local; /* as the engine made them */

    arena_t           grad_arenas[JOB_MAX_MATRICES], error_arenas[JOB_MAX_MATRICES];
    size_t            num_grad_arenas, num_error_arenas;
    region_t          q_hat_region, p_region, p_hat_region, q_local_region, q_scaled_region, scales_region;
    psgd_view_t       grad_views[JOB_MAX_MATRICES], error_views[JOB_MAX_MATRICES];
    psgd_step_views_t views;
} job_t;

/* Matrices one behind the other, none of which has the number of its tensor. */
psgd_plan_t job_plan(const shape_t *shapes, size_t num_shapes, psgd_plan_matrix_t *matrices);

job_t *job_create(psgd_device_t *device, const job_setup_t *setup);
void   job_destroy(job_t *job);

/* An engine for its matrices. */
psgd_engine_state_t *job_engine(const job_t *job, const psgd_engine_ops_t *ops);

/* What comes between A and B: P^ lies in p_hat, and the scaled Qbar in q_scaled. */
void job_give_factors(job_t *job);

/* After a pass: all that it should have written and nothing else. */
void job_check_compute_p(job_t *job);
void job_check_compute_q(job_t *job);
void job_check_decompress(job_t *job);

/* P = M Q^ alone, after A or later. */
void job_check_p(job_t *job);

/* All passes of one step, each checked. */
void job_run(job_t *job, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine);

/* Goes on to the next step: other gradients, which the caller has put where they were, or (is_moved) in other buffers, the
 * error memories too. */
void job_next(job_t *job, uint64_t seed, bool is_moved);

/* Lazy form, after a step: settles, and checks that exactly the error lies in the error memory then. Zeroes q_local, as callers
 * do; job_next() goes on from there. */
void job_settle(job_t *job, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine);

/* Creates everything, runs a step, destroys everything. */
void job_check_step(psgd_device_t *device, const psgd_engine_ops_t *ops, const job_setup_t *setup);

/* enqueue_one() for one matrix after another writes M, P and Q_w of that one alone. */
void job_check_one(psgd_device_t *device, const psgd_engine_ops_t *ops, const shape_t *shapes, size_t num_shapes);

/* Both jobs compressed the same M, bit for bit. */
void job_check_same_m(const job_t *a, const job_t *b);

/* What lies on the device now; matrix i's part of it. */
void         job_read_memory(job_t *job);
const float *job_grad_memory(const job_t *job, size_t i);
const float *job_error_memory(const job_t *job, size_t i);

#endif
