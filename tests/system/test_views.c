/* Tensors whose matrices are not dims[0] x the rest: views by strides, batches, transposed and flattened ones. What they give has
 * the bits of a model whose tensors are those matrices. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

enum { NUM_STEPS = 4, MAX_TENSORS = 16, NUM_VIEWED = 8 };

static const uint64_t Q_STREAM = 77;

/* ---- two models of the same matrices ------------------------------------------------------------------------------ */

/* Tensors with views, and a tensor for each of their matrices. */
typedef struct models {
    psgd_tensor_t viewed[NUM_VIEWED];
    psgd_tensor_t straight[MAX_TENSORS];
    size_t        num_straight;
    char          names[MAX_TENSORS][32];

    /* by straight tensor: what it is the matrix of */
    size_t   source[MAX_TENSORS];
    uint64_t batch[MAX_TENSORS];
} models_t;

static models_t models;

static psgd_tensor_t tensor_of(const char *name, uint32_t num_dims, uint64_t d0, uint64_t d1, uint64_t d2, uint64_t d3)
{
    psgd_tensor_t tensor = PSGD_TENSOR_INIT;

    tensor.name     = name;
    tensor.num_dims = num_dims;
    tensor.dims[0]  = d0;
    tensor.dims[1]  = d1;
    tensor.dims[2]  = d2;
    tensor.dims[3]  = d3;
    return tensor;
}

static psgd_matrix_view_t view_of(const psgd_tensor_t *tensor)
{
    psgd_matrix_view_t view = tensor->view;
    uint64_t           cols = 1;

    for (uint32_t d = 1; d < tensor->num_dims; ++d) {
        cols *= tensor->dims[d];
    }
    return view.batch > 0 ? view : (psgd_matrix_view_t){1, tensor->dims[0], cols, 0, cols, 1};
}

static void make_models(void)
{
    psgd_tensor_t *viewed = models.viewed;

    viewed[0]      = tensor_of("conv.hwio", 4, 3, 3, 8, 18);
    viewed[0].view = (psgd_matrix_view_t){1, 18, 72, 0, 1, 18};
    viewed[1]      = tensor_of("qkv", 2, 25, 81, 0, 0);
    viewed[1].view = (psgd_matrix_view_t){3, 25, 27, 27, 81, 1};
    viewed[2]      = tensor_of("experts", 3, 4, 21, 30, 0);
    viewed[2].view = (psgd_matrix_view_t){4, 21, 30, 630, 30, 1};
    viewed[3]      = tensor_of("lying", 2, 150, 19, 0, 0);
    viewed[3].view = (psgd_matrix_view_t){1, 19, 150, 0, 1, 19};
    viewed[4]      = tensor_of("flat.storage", 1, 1320, 0, 0, 0);
    viewed[4].view = (psgd_matrix_view_t){1, 33, 40, 12345, 40, 1}; /* the stride of a batch of one matters to nobody */
    viewed[5]      = tensor_of("bias", 1, 40, 0, 0, 0);
    viewed[6]      = tensor_of("plain", 2, 40, 56, 0, 0);
    viewed[7]      = tensor_of("heads", 2, 60, 22, 0, 0); /* three transposed matrices side by side, in each row */
    viewed[7].view = (psgd_matrix_view_t){2, 11, 60, 11, 1, 22};
    for (size_t t = 0; t < NUM_VIEWED; ++t) {
        const psgd_matrix_view_t view = view_of(&viewed[t]);

        for (uint64_t b = 0; b < view.batch; ++b) {
            size_t k = models.num_straight++;

            snprintf(models.names[k], sizeof(models.names[k]), b == 0 ? "%s" : "%s.%d", viewed[t].name, (int)b);
            models.straight[k] = viewed[t].num_dims == 1 && viewed[t].view.batch == 0
                                     ? viewed[t]
                                     : tensor_of(models.names[k], 2, view.rows, view.cols, 0, 0);
            models.source[k]   = t;
            models.batch[k]    = b;
        }
    }
}

static uint64_t elems_of(const psgd_tensor_t *tensor)
{
    uint64_t elems = 1;

    for (uint32_t d = 0; d < tensor->num_dims; ++d) {
        elems *= tensor->dims[d];
    }
    return elems;
}

/* straight := the matrices of a vector of all viewed tensors. */
static void straighten(const float *viewed, float *straight)
{
    for (size_t k = 0; k < models.num_straight; ++k) {
        const psgd_matrix_view_t view  = view_of(&models.viewed[models.source[k]]);
        uint64_t                 first = models.batch[k] * view.batch_stride;

        for (size_t t = 0; t < models.source[k]; ++t) {
            first += elems_of(&models.viewed[t]);
        }
        for (uint64_t i = 0; i < view.rows; ++i) {
            for (uint64_t j = 0; j < view.cols; ++j) {
                *straight++ = viewed[first + i * view.row_stride + j * view.col_stride];
            }
        }
    }
}

/* ---- jobs --------------------------------------------------------------------------------------------------------- */

static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED, .energy_every = 1},
    {.engine = PSGD_ENGINE_FUSED, .is_finite = true, .start_step = 1, .max_norm = 4.0, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .memory = JOB_SEPARATE_BUFFERS},
    {.engine = PSGD_ENGINE_CLBLAST, .is_finite = true, .without_feedback = true, .start_step = 1, .max_norm = 4.0},
    {.engine          = PSGD_ENGINE_FUSED,
     .half_iterations = 3,
     .start_step      = 1,
     .max_norm        = 4.0,
     .memory          = JOB_CHANGING_BUFFERS},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static job_t job_of(int way, const psgd_tensor_t *tensors, size_t num_tensors)
{
    job_t job = way_job(&WAYS[way], tensors, num_tensors);

    job.num_steps                   = NUM_STEPS;
    job.config.min_compression_rate = 1.0;
    return job;
}

/* The factor of each matrix from a stream of its own, in the order of the matrices; those of a batch together. */
static psgd_status_t import_factors(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = PSGD_OK;
    uint64_t      matrix = 0;

    (void)worker;
    if (step != 0) {
        return PSGD_OK;
    }
    worker_needs(psgd_state_create(&state));
    for (size_t t = 0; (t < job->num_tensors) && (status == PSGD_OK); ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;
        uint64_t           length;
        float             *factor;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if (plan.rank == 0) {
            continue;
        }
        length = job->config.half_iterations > 0 ? plan.rows : plan.cols;
        factor = malloc(plan.batch * length * plan.rank * sizeof(*factor));
        worker_expects(factor != NULL, "no memory for a factor");
        for (uint64_t b = 0; b < plan.batch; ++b) {
            test_random_fill(factor + b * length * plan.rank, length * plan.rank, (Q_STREAM << 32) + matrix++);
        }
        status = psgd_state_set_factor(state, job->tensors[t].name, plan.batch * length, plan.rank, factor);
        free(factor);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

static job_t viewed_job(int way)
{
    job_t job = job_of(way, models.viewed, NUM_VIEWED);

    job.before_step = import_factors;
    return job;
}

static void straight_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    const job_t *viewed = job->user;
    float       *values = job_gradient(viewed, worker, step);

    straighten(values, gradient);
    free(values);
}

static job_t straight_job(int way, const job_t *viewed)
{
    job_t job = job_of(way, models.straight, models.num_straight);

    job.before_step   = import_factors;
    job.give_gradient = straight_gradient;
    job.user          = (void *)(uintptr_t)viewed;
    return job;
}

static void assert_straight(const float *viewed, const float *straight, uint64_t elems, const char *what, uint32_t step)
{
    float *straightened = malloc(elems * sizeof(*straightened));

    ck_assert_ptr_nonnull(straightened);
    straighten(viewed, straightened);
    for (uint64_t i = 0; i < elems; ++i) {
        ck_assert_msg(straightened[i] == straight[i], "step %u: %s: element %d is %g, and %g", step, what, (int)i,
                      (double)straightened[i], (double)straight[i]);
    }
    free(straightened);
}

static void assert_jobs_are_the_same(const job_t *viewed, const job_t *straight)
{
    job_record_t viewed_records[WORKERS_MAX], straight_records[WORKERS_MAX];

    job_run(viewed, viewed_records);
    job_run(straight, straight_records);
    job_assert_equal_updates(viewed, viewed_records);
    for (uint32_t w = 0; w < viewed->num_workers; ++w) {
        for (uint32_t step = 0; step < viewed->num_steps; ++step) {
            assert_straight(job_update(&viewed_records[w], step), job_update(&straight_records[w], step),
                            straight_records[w].total_elems, "the update", step);
            assert_straight(job_error(&viewed_records[w], step), job_error(&straight_records[w], step),
                            straight_records[w].total_elems, "the error memory", step);
            ck_assert_uint_gt(viewed_records[w].stats[step].bytes_last_step, 0);
            ck_assert_uint_eq(viewed_records[w].stats[step].bytes_last_step,
                              straight_records[w].stats[step].bytes_last_step);
        }
    }
    job_records_free(viewed, viewed_records);
    job_records_free(straight, straight_records);
}

START_TEST(view__gives_the_bits_of_tensors_that_are_its_matrices)
{
    job_t viewed = viewed_job(_i), straight = straight_job(_i, &viewed);

    assert_jobs_are_the_same(&viewed, &straight);
}
END_TEST

/* ---- what else a reducer does, with views ------------------------------------------------------------------------- */

/* Under the sanitizers every other way does. */
static bool is_left_out(int way)
{
    return psgd_test_shapes_are_reduced() && (way % 2 == 1);
}

static const uint8_t *gaps_of(const job_t *job, uint32_t worker, uint32_t step)
{
    static uint8_t has_gradient[2][2][MAX_TENSORS]; /* by worker, and which of the two models */
    bool           is_viewed = job->num_tensors == NUM_VIEWED;
    uint8_t       *row       = has_gradient[worker][is_viewed];

    for (size_t t = 0; t < job->num_tensors; ++t) {
        row[t] = ((is_viewed ? t : models.source[t]) + step + worker) % 3 != 0;
    }
    return row;
}

static void tell_all(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options)
{
    options->gradient_scale = 1.0f / (float)(3 + step + 2 * worker);
    options->has_gradient   = gaps_of(job, worker, step);
}

START_TEST(view__takes_part_in_scales_and_gaps)
{
    job_t viewed = viewed_job(_i), straight = straight_job(_i, &viewed);

    if (is_left_out(_i)) {
        return;
    }
    viewed.give_options = straight.give_options = tell_all;
    assert_jobs_are_the_same(&viewed, &straight);
}
END_TEST

/* To rank 2 and, since the new columns' random numbers go by names, not up again. */
static psgd_status_t shrink(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    uint32_t ranks[MAX_TENSORS];

    (void)worker;
    for (size_t t = 0; t < job->num_tensors; ++t) {
        ranks[t] = 2;
    }
    return step == 1 ? psgd_reducer_set_ranks(reducer, ranks, job->num_tensors) : PSGD_OK;
}

START_TEST(view__stays_when_ranks_change)
{
    job_t viewed = viewed_job(_i), straight = straight_job(_i, &viewed);

    if (is_left_out(_i)) {
        return;
    }
    viewed.after_step = straight.after_step = shrink;
    assert_jobs_are_the_same(&viewed, &straight);
}
END_TEST

START_TEST(view__state_goes_out_and_in_with_the_shape_of_the_tensor)
{
    job_t viewed = viewed_job(_i), straight = straight_job(_i, &viewed);

    if (is_left_out(_i)) {
        return;
    }
    viewed.after_step = job_reimport;
    assert_jobs_are_the_same(&viewed, &straight);
}
END_TEST

/* ---- the shorter side ---------------------------------------------------------------------------------------------- */

/* Views as orthogonalize_shorter makes them. */
START_TEST(orthogonalize_shorter__is_the_transposed_view_of_tall_matrices)
{
    psgd_tensor_t tensors[] = {job_tensor("tall", 151, 19), job_tensor("wide", 17, 203), job_tensor("square", 40, 40)};
    psgd_tensor_t lying[]   = {tensors[0], tensors[1], tensors[2]};
    job_record_t  records[WORKERS_MAX], expected[WORKERS_MAX];
    job_t         shorter = job_of(_i, tensors, 3), turned = job_of(_i, lying, 3);

    lying[0].view                        = (psgd_matrix_view_t){1, 19, 151, 0, 1, 19};
    shorter.config.orthogonalize_shorter = 1;
    job_run(&shorter, records);
    job_run(&turned, expected);
    for (uint32_t w = 0; w < shorter.num_workers; ++w) {
        job_assert_same_bits(&records[w], &expected[w]);
    }
    job_records_free(&shorter, records);
    job_records_free(&turned, expected);
}
END_TEST

/* ---- flattened ------------------------------------------------------------------------------------------------------ */

/* 40 + 2240 + 1152 + 77 = 3509 elements, and one tensor that stays out: a square of side 60. */
enum { NUM_FLAT = 5, SIDE = 60, FLAT_ELEMS = 3509 };

static psgd_tensor_t flat_tensors[NUM_FLAT], square_tensors[2];

static void make_flat_models(void)
{
    flat_tensors[0]      = job_tensor("bias", 40, 0);
    flat_tensors[1]      = job_tensor("fc", 40, 56);
    flat_tensors[2]      = job_tensor("never", 10, 11);
    flat_tensors[2].rank = PSGD_NEVER_COMPRESS;
    flat_tensors[3]      = tensor_of("conv", 4, 16, 8, 3, 3);
    flat_tensors[4]      = job_tensor("small", 7, 11);
    square_tensors[0]    = flat_tensors[2];
    square_tensors[1]    = job_tensor(PSGD_FLATTENED_NAME, SIDE, SIDE);
}

/* Of a vector of all flat tensors: the one that stays out, then all others and zeros. */
static void square_of(const float *flat, float *square)
{
    memset(square, 0, (110 + SIDE * SIDE) * sizeof(*square));
    memcpy(square, flat + 2280, 110 * sizeof(*square));
    memcpy(square + 110, flat, 2280 * sizeof(*square));
    memcpy(square + 110 + 2280, flat + 2390, (FLAT_ELEMS - 2280) * sizeof(*square));
}

static void square_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    float *values = job_gradient(job->user, worker, step);

    square_of(values, gradient);
    free(values);
}

/* The update beyond the gradient's end is nobody's. */
static void assert_flat(const job_record_t *flat, const job_record_t *square, uint32_t step)
{
    static float squared[110 + SIDE * SIDE];
    const float *expected = job_update(square, step);

    square_of(job_update(flat, step), squared);
    for (size_t i = 0; i < 110 + FLAT_ELEMS; ++i) {
        ck_assert_msg(squared[i] == expected[i], "step %u: element %zu is %g, and %g", step, i, (double)squared[i],
                      (double)expected[i]);
    }
}

START_TEST(flatten__is_one_square_matrix_of_all_but_those_never_compressed)
{
    job_record_t flat_records[WORKERS_MAX], square_records[WORKERS_MAX];
    job_t        flat = job_of(_i, flat_tensors, NUM_FLAT), square = job_of(_i, square_tensors, 2);
    uint64_t     elems = 0;
    const float *error = NULL;

    flat.config.flatten  = 1;
    square.give_gradient = square_gradient;
    square.user          = &flat;
    job_run(&flat, flat_records);
    job_run(&square, square_records);
    job_assert_equal_updates(&flat, flat_records);
    for (uint32_t w = 0; w < flat.num_workers; ++w) {
        for (uint32_t step = 0; step < NUM_STEPS; ++step) {
            assert_flat(&flat_records[w], &square_records[w], step);
        }
        ck_assert_uint_eq(flat_records[w].stats[0].num_compressed_tensors, 4);
        ck_assert_uint_eq(flat_records[w].stats[0].num_plain_tensors, 1);
        ck_assert_uint_eq(flat_records[w].stats[0].uncompressed_elems, FLAT_ELEMS + 110);
        if (flat.config.error_feedback) {
            assert_ok(psgd_state_get_error(flat_records[w].last_state, PSGD_FLATTENED_NAME, &elems, &error));
            ck_assert_uint_eq(elems, SIDE * SIDE);
            ck_assert(memcmp(error, job_error(&square_records[w], NUM_STEPS - 1) + 110, elems * sizeof(*error)) == 0);
        }
    }
    job_records_free(&flat, flat_records);
    job_records_free(&square, square_records);
}
END_TEST

static psgd_status_t change_flat_ranks(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    uint32_t           ranks[NUM_FLAT] = {2, 0, 0, 2, 0};
    psgd_tensor_plan_t plan            = PSGD_TENSOR_PLAN_INIT;
    psgd_energy_t      energy          = PSGD_ENERGY_INIT;

    (void)worker;
    if (step != 1) {
        return PSGD_OK;
    }
    worker_needs(psgd_reducer_set_ranks(reducer, ranks, NUM_FLAT));
    worker_needs(psgd_reducer_get_tensor_plan(reducer, 3, &plan));
    worker_expects((plan.rank == 2) && (plan.rows == SIDE) && (plan.is_copied == 1), "rank %u", plan.rank);
    worker_expects(plan.sent_elems == (uint64_t)(240.0 * 1152.0 / FLAT_ELEMS + 0.5), "%d elements are sent",
                   (int)plan.sent_elems);
    ranks[4] = 3;
    worker_expects(psgd_reducer_set_ranks(reducer, ranks, NUM_FLAT) == PSGD_ERR_INVALID_ARGUMENT,
                   "two ranks were taken");
    worker_expects(strstr(psgd_last_error(), "one flattened matrix") != NULL, "%s", psgd_last_error());
    return job->config.energy_every == 0 ? PSGD_OK : psgd_reducer_get_energy(reducer, 1, &energy);
}

START_TEST(flatten__has_one_rank)
{
    job_record_t records[WORKERS_MAX];
    job_t        job = job_of(0, flat_tensors, NUM_FLAT);

    job.config.flatten      = 1;
    job.config.energy_every = 0;
    job.after_step          = change_flat_ranks;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    ck_assert_uint_lt(records[0].stats[2].bytes_last_step, records[0].stats[1].bytes_last_step);
    job_records_free(&job, records);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("views");
    TCase *tcase = tcase_create("threads");
    int    result;

    make_models();
    make_flat_models();
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, view__gives_the_bits_of_tensors_that_are_its_matrices, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, view__takes_part_in_scales_and_gaps, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, view__stays_when_ranks_change, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, view__state_goes_out_and_in_with_the_shape_of_the_tensor, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, orthogonalize_shorter__is_the_transposed_view_of_tall_matrices, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, flatten__is_one_square_matrix_of_all_but_those_never_compressed, 0, NUM_WAYS);
    tcase_add_test(tcase, flatten__has_one_rank);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
