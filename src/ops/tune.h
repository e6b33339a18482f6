/* Which engine is faster on this device, for each shape of matrix: by measurement.
 *
 * The fused engine is measured first. Shapes that it is through with in a moment stay with it unmeasured: it does them in one
 * launch with all others, which no timing of one alone shows, and noise must not decide. Where that is true of all shapes, CLBlast
 * is not even compiled. */
#ifndef PSGD_OPS_TUNE_H
#define PSGD_OPS_TUNE_H

#include "ops/engine.h"

/* The engines that are compared, in this order. */
enum { PSGD_TUNE_FUSED, PSGD_TUNE_CLBLAST, PSGD_NUM_TUNED };

typedef struct psgd_timing {
    float ms[PSGD_NUM_TUNED]; /* of passes A and B of one such matrix (C is the same in all engines), or PSGD_NOT_TIMED_MS */
} psgd_timing_t;

static const float PSGD_NOT_TIMED_MS = 1e30f;

/* Times the matrices of `plan` with these indices, num_matrices >= 1, one for each shape. views: of a step on gradients and
 * error memories that are all zero, and stay so; the gradients may be the error memories themselves. Compiles both engines;
 * the measuring alone takes about `seconds` at most, and once through everything at least. */
psgd_status_t psgd_tune_measure(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices,
                                size_t num_matrices, psgd_form_t form, const psgd_step_views_t *views, double seconds,
                                psgd_timing_t *timings_p);

#endif
