/* The recorded steps of tests/golden (its README has the format). */
#ifndef PSGD_TESTS_SUPPORT_GOLDEN_H
#define PSGD_TESTS_SUPPORT_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

#include "reference/powersgd_reference.h"

enum { GOLDEN_MAX_TENSORS = 16, GOLDEN_MAX_DRAWS = 64 };

/* What a step may differ by (relative 2-norm), for full iterations and for the alternating scheme. */
#define GOLDEN_BOUND_FULL        1e-5
#define GOLDEN_BOUND_ALTERNATING 3e-5

/* Full iterations, then the alternating scheme. */
#define GOLDEN_FULL_CASES \
    "hook_w1_r1", "hook_w2_r2", "hook_w2_r4", "hook_w2_r4_cold", "hook_w2_r4_delay2", "hook_w2_r4_noef", "hook_w3_r4"
#define GOLDEN_ALTERNATING_CASES \
    "epfml_w1_r2_half", "epfml_w2_r2_delay2", "epfml_w2_r4_half", "epfml_w2_r4_iters2", "epfml_w3_r1_iters4"

typedef struct golden_tensor {
    char     name[64];
    uint64_t dims[PSGD_MAX_DIMS];
    uint32_t num_dims;
    uint64_t elems;
    bool     is_compressed;
    uint64_t rows, cols; /* of the matrix view */
} golden_tensor_t;

/* A starting factor, rows x cols, row-major. */
typedef struct golden_draw {
    bool         is_p;
    uint64_t     step;
    uint64_t     rows, cols;
    const float *values;
} golden_draw_t;

typedef struct golden {
    char            name[64];
    uint32_t        num_workers;
    uint32_t        rank;
    uint32_t        num_steps;
    double          min_compression_rate;
    bool            error_feedback;
    bool            warm_start;
    uint32_t        half_iterations_per_step;
    uint32_t        plain_steps_first;
    golden_tensor_t tensors[GOLDEN_MAX_TENSORS];
    size_t          num_tensors;
    uint64_t        total_elems; /* of one gradient: all tensors, one behind the other */
    golden_draw_t   draws[GOLDEN_MAX_DRAWS];
    size_t          num_draws;
    float          *values;      /* the whole of NAME.f32 */
    uint64_t        num_values;
    const float    *steps;       /* in `values`: where step 0 begins */
} golden_t;

/* Reads tests/golden/NAME.txt and NAME.f32; the running test fails where they are not as the README says. */
golden_t *golden_load(const char *name);
void golden_free(golden_t *golden);

/* The gradient of a worker, the update, and the mean error memory after a step: total_elems each. */
const float *golden_gradient(const golden_t *golden, uint32_t step, uint32_t worker);
const float *golden_update(const golden_t *golden, uint32_t step);
const float *golden_mean_error(const golden_t *golden, uint32_t step);

/* The factor that compressed tensor `tensor_index` starts `step` from, Q, or P in the alternating scheme; or NULL where none is
 * given for that step (a warm start goes on with what it has). A warm start's draw for a later step is given at step 0, and waits
 * until then. */
const golden_draw_t *golden_starting_factor(const golden_t *golden, uint32_t step, size_t tensor_index);

/* What the reference is to compute for this case. */
void golden_reference_setup(const golden_t *golden, reference_shape_t *shapes, reference_options_t *options);

/* The tensors and the configuration of this case for a reducer; names point into `golden`. */
void golden_reducer_setup(const golden_t *golden, psgd_tensor_t *tensors, psgd_config_t *config);

/* |ours - recorded| / |recorded| over all tensors; |ours - recorded| where the recorded values are zero. */
double golden_difference(const double *ours, const float *recorded, uint64_t count);

#endif
