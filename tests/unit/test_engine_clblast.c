/* The clblast engine: products by CLBlast, direct and indirect, between the kernels of error feedback and
 * decompression. */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clblast_c.h>

#include "device/cl_device.h"
#include "op_fixture.h"
#include "ops/decompress.h"
#include "ops/engine.h"
#include "reference/matrix_reference.h"
#include "support/suite.h"

typedef struct shape {
    size_t rows, cols, r;
} shape_t;

/* Equal shapes among them; multiples of CLBlast's tiles, too, which need the fewest copies on the indirect path. */
static const shape_t SMALL_SHAPES[] = {{1, 1, 1},     {1, 67, 1},  {67, 1, 1},     {13, 31, 5},
                                       {31, 13, 5},   {13, 31, 5}, {10, 512, 4},   {512, 10, 4},
                                       {97, 101, 16}, {64, 27, 8}, {128, 128, 32}, {64, 576, 4}};

/* The widest, the tallest, and one of many equal ones of two models. */
static const shape_t LARGE_SHAPES[]         = {{28869, 650, 4}, {512, 4608, 8}, {2600, 650, 2}};
static const shape_t LARGE_SHAPES_REDUCED[] = {{2887, 65, 4}, {51, 461, 8}, {260, 65, 2}};

enum {
    NUM_SMALL_SHAPES = sizeof(SMALL_SHAPES) / sizeof(SMALL_SHAPES[0]),
    NUM_LARGE_SHAPES = sizeof(LARGE_SHAPES) / sizeof(LARGE_SHAPES[0]),
    ALWAYS_INDIRECT  = 1,   /* values of XGEMM_MIN_INDIRECT_SIZE: r * rows * cols from its cube on go indirect */
    DEFAULT_INDIRECT = 896, /* CLBlast's own for devices that it does not know */
    MAX_SHAPES       = 16
};

/* CLBlast's parameters are global to the process, and stay until the next override. */
static void set_indirect_size(size_t size)
{
    const char  *name = "XGEMM_MIN_INDIRECT_SIZE";
    cl_device_id id   = psgd_device_id(op_device());

    ck_assert_int_eq(CLBlastOverrideParameters(id, "GemmRoutine", CLBlastPrecisionSingle, 1, &name, &size),
                     CLBlastSuccess);
}

/* ------------------------------------------------------------------------------------------------------------------
 * A plan, its buffers, and a pass over them
 * ---------------------------------------------------------------------------------------------------------------- */

/* The matrices of one step on the device. Byte offsets differ from matrix to matrix. */
typedef struct job {
    psgd_plan_t         plan;
    psgd_plan_matrix_t  matrices[MAX_SHAPES];
    psgd_update_scale_t scales[MAX_SHAPES];
    float              *grad[MAX_SHAPES], *error[MAX_SHAPES], *m[MAX_SHAPES]; /* m = grad + error */
    float              *q_hat, *p_hat, *q_mean, *q_scaled;
    region_t            grad_regions[MAX_SHAPES], error_regions[MAX_SHAPES];
    region_t            q_hat_region, p_region, p_hat_region, q_local_region, q_scaled_region;
    psgd_view_t         grad_views[MAX_SHAPES], error_views[MAX_SHAPES];
    psgd_step_views_t   views;
    bool                error_feedback;
} job_t;

static psgd_plan_t make_plan(const shape_t *shapes, size_t num_shapes, psgd_plan_matrix_t *matrices)
{
    psgd_plan_t plan = {.matrices = matrices, .num_matrices = num_shapes};

    ck_assert_uint_le(num_shapes, MAX_SHAPES);
    for (size_t i = 0; i < num_shapes; ++i) {
        matrices[i] = (psgd_plan_matrix_t){.tensor_index   = num_shapes - 1 - i, /* not the matrix's own number */
                                           .name           = "some.weight",
                                           .rows           = shapes[i].rows,
                                           .cols           = shapes[i].cols,
                                           .r              = (uint32_t)shapes[i].r,
                                           .p_offset_elems = plan.p_elems,
                                           .q_offset_elems = plan.q_elems};
        plan.p_elems += shapes[i].r * shapes[i].rows;
        plan.q_elems += shapes[i].r * shapes[i].cols;
        plan.matrix_elems += shapes[i].rows * shapes[i].cols;
    }
    return plan;
}

static float *random_floats(size_t elems, uint64_t stream, float scale)
{
    float *values = test_alloc(elems, sizeof(*values));

    fill_uniform(values, elems, stream, scale);
    return values;
}

static void make_matrix(job_t *job, psgd_device_t *device, size_t i)
{
    const psgd_plan_matrix_t *matrix = &job->matrices[i];
    size_t                    elems  = matrix->rows * matrix->cols;
    size_t                    offset = (i % 4) * 20; /* 0, 20, 40, 60 */

    job->grad[i]  = random_floats(elems, 100 + i, 1.0f);
    job->error[i] = random_floats(elems, 200 + i, 0.5f);
    job->m[i]     = test_alloc(elems, sizeof(float));
    for (size_t n = 0; n < elems; ++n) {
        job->m[i][n] = job->error_feedback ? job->grad[i][n] + job->error[i][n] : job->grad[i][n];
    }
    job->grad_regions[i]  = region_create(device, elems, offset, job->grad[i]);
    job->error_regions[i] = region_create(device, elems, 0, job->error[i]);

    job->grad_views[matrix->tensor_index] = job->grad_regions[i].view;
    job->error_views[i]                   = job->error_regions[i].view;
}

static job_t *make_job(psgd_device_t *device, const shape_t *shapes, size_t num_shapes, bool error_feedback)
{
    job_t *job = test_alloc(1, sizeof(*job));

    job->plan           = make_plan(shapes, num_shapes, job->matrices);
    job->error_feedback = error_feedback;
    for (size_t i = 0; i < num_shapes; ++i) {
        make_matrix(job, device, i);
    }
    job->q_hat    = random_floats(job->plan.q_elems, 1, 0.1f);
    job->p_hat    = random_floats(job->plan.p_elems, 2, 0.1f);
    job->q_mean   = random_floats(job->plan.q_elems, 3, 10.0f);
    job->q_scaled = test_alloc(job->plan.q_elems, sizeof(float));
    for (size_t i = 0; i < num_shapes; ++i) {
        const psgd_plan_matrix_t *matrix = &job->matrices[i];

        assert_ok(psgd_update_scale_q(job->q_mean + matrix->q_offset_elems, job->q_scaled + matrix->q_offset_elems,
                                      matrix->r * matrix->cols, &job->scales[i]));
    }
    /* What the products write holds NaN before: beta is 0 and must not let it through. */
    job->q_hat_region    = region_create(device, job->plan.q_elems, 4, job->q_hat);
    job->p_region        = region_create(device, job->plan.p_elems, 12, NULL);
    job->p_hat_region    = region_create(device, job->plan.p_elems, 60, job->p_hat);
    job->q_local_region  = region_create(device, job->plan.q_elems, 0, NULL);
    job->q_scaled_region = region_create(device, job->plan.q_elems, 8, job->q_scaled);

    job->views = (psgd_step_views_t){.grads         = job->grad_views,
                                     .errors        = error_feedback ? job->error_views : NULL,
                                     .q_hat         = job->q_hat_region.view,
                                     .p             = job->p_region.view,
                                     .p_hat         = job->p_hat_region.view,
                                     .q_local       = job->q_local_region.view,
                                     .q_scaled      = job->q_scaled_region.view,
                                     .update_scales = job->scales};
    return job;
}

static void free_job(job_t *job)
{
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        region_destroy(&job->grad_regions[i]);
        region_destroy(&job->error_regions[i]);
        free(job->m[i]);
        free(job->error[i]);
        free(job->grad[i]);
    }
    region_destroy(&job->q_hat_region);
    region_destroy(&job->p_region);
    region_destroy(&job->p_hat_region);
    region_destroy(&job->q_local_region);
    region_destroy(&job->q_scaled_region);
    free(job->q_scaled);
    free(job->q_mean);
    free(job->p_hat);
    free(job->q_hat);
    free(job);
}

/* Every entry within the rounding of a sum of `terms` products. */
static void check_product(const char *what, const psgd_plan_matrix_t *matrix, const float *found, const double *exact,
                          const double *magnitude, size_t elems, size_t terms)
{
    size_t wrong = 0, first = elems;

    for (size_t n = 0; n < elems; ++n) {
        if (!(fabs((double)found[n] - exact[n]) <= reference_sum_bound(magnitude[n], terms))) {
            first = (wrong == 0) ? n : first;
            wrong += 1;
        }
    }
    ck_assert_msg(wrong == 0, "%s of %zu x %zu, r %u: %zu of %zu entries are wrong; number %zu is %g, exactly %g", what,
                  (size_t)matrix->rows, (size_t)matrix->cols, matrix->r, wrong, elems, first, (double)found[first],
                  exact[first]);
}

static void check_same(const char *what, const psgd_plan_matrix_t *matrix, const float *found, const float *expected)
{
    size_t elems     = matrix->rows * matrix->cols;
    size_t different = count_different(found, expected, elems);

    ck_assert_msg(different == 0, "%s of %zu x %zu, r %u: %zu of %zu elements differ", what, (size_t)matrix->rows,
                  (size_t)matrix->cols, matrix->r, different, elems);
}

/* After pass A: M in the gradient buffers, P = M Q^, error memory as it was. */
static void check_compute_p(job_t *job)
{
    float *p = test_alloc(job->plan.p_elems, sizeof(*p));

    region_read(&job->p_region, p);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix    = &job->matrices[i];
        float                    *found     = test_alloc(matrix->rows * matrix->cols, sizeof(*found));
        size_t                    p_elems   = matrix->r * matrix->rows;
        double                   *exact     = test_alloc(p_elems, sizeof(*exact));
        double                   *magnitude = test_alloc(p_elems, sizeof(*magnitude));

        region_read(&job->grad_regions[i], found);
        check_same("M", matrix, found, job->m[i]);
        region_read(&job->error_regions[i], found);
        check_same("the error memory after A", matrix, found, job->error[i]);
        reference_multiply_p(job->m[i], job->q_hat + matrix->q_offset_elems, matrix->rows, matrix->cols, matrix->r,
                             exact, magnitude);
        check_product("P", matrix, p + matrix->p_offset_elems, exact, magnitude, p_elems, matrix->cols);
        free(magnitude);
        free(exact);
        free(found);
    }
    free(p);
}

/* After pass B: Q_w = M^T P^, which is left in q_local; M as it was. */
static void check_compute_q(job_t *job, float *q_local)
{
    region_read(&job->q_local_region, q_local);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix    = &job->matrices[i];
        float                    *found     = test_alloc(matrix->rows * matrix->cols, sizeof(*found));
        size_t                    q_elems   = matrix->r * matrix->cols;
        double                   *exact     = test_alloc(q_elems, sizeof(*exact));
        double                   *magnitude = test_alloc(q_elems, sizeof(*magnitude));

        region_read(&job->grad_regions[i], found);
        check_same("M after B", matrix, found, job->m[i]);
        reference_multiply_q(job->m[i], job->p_hat + matrix->p_offset_elems, matrix->rows, matrix->cols, matrix->r,
                             exact, magnitude);
        check_product("Q", matrix, q_local + matrix->q_offset_elems, exact, magnitude, q_elems, matrix->rows);
        free(magnitude);
        free(exact);
        free(found);
    }
}

/* After pass C: the update bit for bit, and the error for the Q_w that pass B made. */
static void check_decompress(job_t *job, const float *q_local)
{
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix   = &job->matrices[i];
        const float              *p_hat    = job->p_hat + matrix->p_offset_elems;
        float                    *found    = test_alloc(matrix->rows * matrix->cols, sizeof(*found));
        float                    *expected = test_alloc(matrix->rows * matrix->cols, sizeof(*expected));

        region_read(&job->grad_regions[i], found);
        reference_update(p_hat, job->q_mean + matrix->q_offset_elems, matrix->rows, matrix->cols, matrix->r, expected);
        check_same("the update", matrix, found, expected);
        region_read(&job->error_regions[i], found);
        if (job->error_feedback) {
            reference_error_chain(job->m[i], p_hat, q_local + matrix->q_offset_elems, matrix->rows, matrix->cols,
                                  matrix->r, expected);
            check_same("the error", matrix, found, expected);
        } else {
            check_same("an error memory that is not in use", matrix, found, job->error[i]);
        }
        free(expected);
        free(found);
    }
}

static void check_passes(const shape_t *shapes, size_t num_shapes, bool error_feedback)
{
    job_t               *job     = make_job(op_device(), shapes, num_shapes, error_feedback);
    float               *q_local = test_alloc(job->plan.q_elems, sizeof(*q_local));
    psgd_engine_state_t *engine  = NULL;

    assert_ok(psgd_engine_clblast.create(op_device(), &job->plan, error_feedback, &engine));
    assert_ok(psgd_engine_clblast.enqueue_compute_p(engine, &job->views));
    check_compute_p(job);
    assert_ok(psgd_engine_clblast.enqueue_compute_q(engine, &job->views));
    check_compute_q(job, q_local);
    assert_ok(psgd_engine_clblast.enqueue_decompress(engine, &job->views));
    check_decompress(job, q_local);
    psgd_engine_clblast.destroy(engine);
    free(q_local);
    free_job(job);
}

static uint64_t temp_bytes_of(const shape_t *shapes, size_t num_shapes)
{
    psgd_plan_matrix_t   matrices[MAX_SHAPES];
    psgd_plan_t          plan   = make_plan(shapes, num_shapes, matrices);
    uint64_t             before = psgd_device_bytes(op_device());
    uint64_t             bytes;
    psgd_engine_state_t *engine = NULL;

    assert_ok(psgd_engine_clblast.create(op_device(), &plan, true, &engine));
    bytes = psgd_device_bytes(op_device()) - before;
    psgd_engine_clblast.destroy(engine);
    ck_assert_uint_eq(psgd_device_bytes(op_device()), before);
    return bytes;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Direct products: what is small, or thin
 * ---------------------------------------------------------------------------------------------------------------- */

START_TEST(clblast_direct__passes_are_right_for_every_shape)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, true);
}
END_TEST

START_TEST(clblast_direct__passes_are_right_without_error_feedback)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, false);
}
END_TEST

START_TEST(clblast_direct__passes_are_right_for_large_matrices)
{
    check_passes(psgd_test_shapes_are_reduced() ? LARGE_SHAPES_REDUCED : LARGE_SHAPES, NUM_LARGE_SHAPES, true);
}
END_TEST

START_TEST(clblast_direct__takes_no_temporary_memory_and_keeps_none_of_the_warm_up)
{
    ck_assert_uint_eq(temp_bytes_of(SMALL_SHAPES, NUM_SMALL_SHAPES), 0);
}
END_TEST

START_TEST(clblast_direct__a_plan_without_matrices_is_nothing_to_do)
{
    psgd_plan_t          plan   = {.num_matrices = 0};
    psgd_step_views_t    views  = {.grads = NULL};
    psgd_engine_state_t *engine = NULL;

    assert_ok(psgd_engine_clblast.create(op_device(), &plan, true, &engine));
    assert_ok(psgd_engine_clblast.enqueue_compute_p(engine, &views));
    assert_ok(psgd_engine_clblast.enqueue_compute_q(engine, &views));
    assert_ok(psgd_engine_clblast.enqueue_decompress(engine, &views));
    psgd_engine_clblast.destroy(engine);
    psgd_engine_clblast.destroy(NULL);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * Several workers in one process
 * ---------------------------------------------------------------------------------------------------------------- */

enum { NUM_THREADS = 3, NUM_ROUNDS = 20 };

/* One worker: a device of its own, and the P of its last round. */
typedef struct worker {
    pthread_t      thread;
    psgd_device_t *device;
    job_t         *job;
    psgd_status_t  status;
    char           sentence[512];
} worker_t;

static psgd_status_t run_rounds(worker_t *worker)
{
    psgd_engine_state_t *engine = NULL;
    psgd_status_t        status;

    status = psgd_engine_clblast.create(worker->device, &worker->job->plan, false, &engine);
    for (int round = 0; (status == PSGD_OK) && (round < NUM_ROUNDS); ++round) {
        status = psgd_engine_clblast.enqueue_compute_p(engine, &worker->job->views);
        if (status == PSGD_OK) {
            status = psgd_engine_clblast.enqueue_compute_q(engine, &worker->job->views);
        }
        if (status == PSGD_OK) {
            status = psgd_device_wait(worker->device, "a round");
        }
    }
    psgd_engine_clblast.destroy(engine);
    return status;
}

static void *run_worker(void *argument)
{
    worker_t *worker = argument;

    worker->status = run_rounds(worker);
    snprintf(worker->sentence, sizeof(worker->sentence), "%s", psgd_last_error());
    return NULL;
}

START_TEST(clblast_direct__workers_of_one_process_do_not_disturb_each_other)
{
    static const shape_t shapes[] = {{97, 101, 16}, {13, 31, 5}};
    worker_t             workers[NUM_THREADS];

    memset(workers, 0, sizeof(workers));
    for (int w = 0; w < NUM_THREADS; ++w) {
        assert_ok(op_device_open(NULL, &workers[w].device));
        workers[w].job = make_job(workers[w].device, shapes, 2, false);
    }
    for (int w = 0; w < NUM_THREADS; ++w) {
        ck_assert_int_eq(pthread_create(&workers[w].thread, NULL, run_worker, &workers[w]), 0);
    }
    for (int w = 0; w < NUM_THREADS; ++w) {
        float *q_local = test_alloc(workers[w].job->plan.q_elems, sizeof(*q_local));

        ck_assert_int_eq(pthread_join(workers[w].thread, NULL), 0);
        ck_assert_msg(workers[w].status == PSGD_OK, "worker %d: %s", w, workers[w].sentence);
        check_compute_p(workers[w].job);
        check_compute_q(workers[w].job, q_local);
        free(q_local);
        free_job(workers[w].job);
        psgd_device_close(workers[w].device);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * Log and errors
 * ---------------------------------------------------------------------------------------------------------------- */

typedef struct lines {
    int  count;
    char text[4][1024];
} lines_t;

static void keep_line(psgd_log_level_t level, const char *line, void *user)
{
    lines_t *lines = user;

    if ((level <= PSGD_LOG_INFO) && (lines->count < 4)) {
        snprintf(lines->text[lines->count], sizeof(lines->text[0]), "%s", line);
        lines->count += 1;
    }
}

START_TEST(clblast_errors__creation_says_that_it_compiles_and_how_long_it_took)
{
    lines_t              lines  = {0, {"", "", "", ""}};
    psgd_log_t           log    = psgd_log_open(keep_line, &lines, PSGD_LOG_INFO);
    psgd_device_t       *device = NULL;
    psgd_engine_state_t *engine = NULL;
    const shape_t        shape  = {13, 31, 5};
    psgd_plan_matrix_t   matrix[MAX_SHAPES];
    psgd_plan_t          plan = make_plan(&shape, 1, matrix);

    assert_ok(op_device_open(&log, &device));
    lines.count = 0;
    assert_ok(psgd_engine_clblast.create(device, &plan, true, &engine));
    ck_assert_int_eq(lines.count, 2);
    ck_assert_msg(strstr(lines.text[0], "compiling CLBlast's GEMM") != NULL, "%s", lines.text[0]);
    ck_assert_msg(strstr(lines.text[0], "first time") != NULL, "%s", lines.text[0]);
    ck_assert_msg(strstr(lines.text[1], "ready") != NULL && strstr(lines.text[1], " s") != NULL, "%s", lines.text[1]);
    psgd_engine_clblast.destroy(engine);
    psgd_device_close(device);
}
END_TEST

START_TEST(clblast_errors__a_matrix_beyond_32_bits_is_refused_at_creation)
{
    const shape_t        shapes[] = {{65536, 32768, 1}, {3000000000u, 1, 1}};
    psgd_plan_matrix_t   matrix[MAX_SHAPES];
    psgd_engine_state_t *engine = NULL;
    uint64_t             before = psgd_device_bytes(op_device());

    for (int i = 0; i < 2; ++i) {
        psgd_plan_t plan = make_plan(&shapes[i], 1, matrix);

        assert_fails(psgd_engine_clblast.create(op_device(), &plan, true, &engine), PSGD_ERR_UNSUPPORTED,
                     "some.weight");
        assert_fails(psgd_engine_clblast.create(op_device(), &plan, true, &engine), PSGD_ERR_UNSUPPORTED, "2^31");
        ck_assert_ptr_null(engine);
        ck_assert_uint_eq(psgd_device_bytes(op_device()), before);
    }
}
END_TEST

START_TEST(clblast_errors__an_offset_beyond_32_bits_is_refused_at_the_call)
{
    const shape_t        shape  = {13, 31, 5};
    job_t               *job    = make_job(op_device(), &shape, 1, false);
    psgd_engine_state_t *engine = NULL;

    assert_ok(psgd_engine_clblast.create(op_device(), &job->plan, false, &engine));
    job->grad_views[0].offset_bytes = ((size_t)INT32_MAX - 13 * 31 + 1) * sizeof(float);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_UNSUPPORTED, "its gradient");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_UNSUPPORTED, "2^31");
    job->grad_views[0]            = job->grad_regions[0].view;
    job->views.p.offset_bytes     = (size_t)INT32_MAX * sizeof(float);
    job->views.p_hat.offset_bytes = (size_t)INT32_MAX * sizeof(float);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_UNSUPPORTED, "a factor");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_UNSUPPORTED, "a factor");
    psgd_engine_clblast.destroy(engine);
    free_job(job);
}
END_TEST

START_TEST(clblast_errors__clblasts_own_are_named)
{
    const shape_t        shape  = {13, 31, 5};
    job_t               *job    = make_job(op_device(), &shape, 1, false);
    psgd_engine_state_t *engine = NULL;

    assert_ok(psgd_engine_clblast.create(op_device(), &job->plan, false, &engine));
    job->grad_views[0].offset_bytes += 4096; /* beyond the end of its buffer */
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_CLBLAST,
                 "CLBlastInsufficientMemoryB (-1010)");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_CLBLAST,
                 "Q = M^T P of tensor 'some.weight' (r 5, 13 x 31)");
    psgd_engine_clblast.destroy(engine);
    free_job(job);
}
END_TEST

START_TEST(clblast_errors__a_device_too_full_to_compile_ahead_is_no_error)
{
    const shape_t               shape  = {1009, 523, 4};
    lines_t                     lines  = {0, {"", "", "", ""}};
    psgd_log_t                  log    = psgd_log_open(keep_line, &lines, PSGD_LOG_INFO);
    psgd_device_t              *device = NULL;
    psgd_engine_state_t        *engine = NULL;
    const psgd_device_limits_t *limits = NULL;
    psgd_device_limits_t       *writable;
    psgd_plan_matrix_t          matrix[MAX_SHAPES];
    psgd_plan_t                 plan = make_plan(&shape, 1, matrix);

    assert_ok(op_device_open(&log, &device));
    limits = psgd_device_limits(device);
    memcpy(&writable, &limits, sizeof(writable));
    writable->max_allocation_bytes = 1009 * 523 * sizeof(float); /* the gradient fits, the warm-up just does not */
    lines.count                    = 0;
    assert_ok(psgd_engine_clblast.create(device, &plan, true, &engine));
    ck_assert_int_eq(lines.count, 2);
    ck_assert_msg(strstr(lines.text[1], "no room") != NULL, "%s", lines.text[1]);
    ck_assert_uint_eq(psgd_device_bytes(device), 0);
    psgd_engine_clblast.destroy(engine);
    psgd_device_close(device);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * Indirect products: what AMD's and Intel's devices do for much smaller matrices than PoCL
 * ---------------------------------------------------------------------------------------------------------------- */

static void go_indirect(void)
{
    set_indirect_size(ALWAYS_INDIRECT);
}

static void go_back(void)
{
    set_indirect_size(DEFAULT_INDIRECT);
}

START_TEST(clblast_indirect__passes_are_right_for_every_shape)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, true);
}
END_TEST

START_TEST(clblast_indirect__passes_are_right_for_large_matrices)
{
    check_passes(psgd_test_shapes_are_reduced() ? LARGE_SHAPES_REDUCED : LARGE_SHAPES, NUM_LARGE_SHAPES, false);
}
END_TEST

START_TEST(clblast_indirect__has_temporary_memory_of_its_own_for_the_largest_product)
{
    const shape_t small = {13, 31, 5}, large = {97, 301, 16};
    const shape_t both[] = {{13, 31, 5}, {97, 301, 16}};

    ck_assert_uint_gt(temp_bytes_of(&small, 1), 0);
    ck_assert_uint_ge(temp_bytes_of(&large, 1), 97 * 301 * sizeof(float));
    ck_assert_uint_eq(temp_bytes_of(both, 2), temp_bytes_of(&large, 1));
}
END_TEST

START_TEST(clblast_indirect__parameters_that_change_after_creation_are_an_error_in_words)
{
    const shape_t        shape  = {97, 101, 16};
    job_t               *job    = make_job(op_device(), &shape, 1, false);
    psgd_engine_state_t *engine = NULL;

    set_indirect_size(DEFAULT_INDIRECT);
    assert_ok(psgd_engine_clblast.create(op_device(), &job->plan, false, &engine));
    set_indirect_size(ALWAYS_INDIRECT);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_CLBLAST, "temporary memory");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_CLBLAST, "some.weight");
    psgd_engine_clblast.destroy(engine);
    free_job(job);
}
END_TEST

int main(void)
{
    Suite *suite    = suite_create("the clblast engine");
    TCase *direct   = tcase_create("direct");
    TCase *errors   = tcase_create("errors");
    TCase *indirect = tcase_create("indirect");

    tcase_set_timeout(direct, 0);
    tcase_add_test(direct, clblast_direct__passes_are_right_for_every_shape);
    tcase_add_test(direct, clblast_direct__passes_are_right_without_error_feedback);
    tcase_add_test(direct, clblast_direct__passes_are_right_for_large_matrices);
    tcase_add_test(direct, clblast_direct__takes_no_temporary_memory_and_keeps_none_of_the_warm_up);
    tcase_add_test(direct, clblast_direct__a_plan_without_matrices_is_nothing_to_do);
    tcase_add_test(direct, clblast_direct__workers_of_one_process_do_not_disturb_each_other);
    suite_add_tcase(suite, direct);

    tcase_set_timeout(errors, 0);
    tcase_add_test(errors, clblast_errors__creation_says_that_it_compiles_and_how_long_it_took);
    tcase_add_test(errors, clblast_errors__a_matrix_beyond_32_bits_is_refused_at_creation);
    tcase_add_test(errors, clblast_errors__an_offset_beyond_32_bits_is_refused_at_the_call);
    tcase_add_test(errors, clblast_errors__clblasts_own_are_named);
    tcase_add_test(errors, clblast_errors__a_device_too_full_to_compile_ahead_is_no_error);
    suite_add_tcase(suite, errors);

    tcase_set_timeout(indirect, 0);
    tcase_add_checked_fixture(indirect, go_indirect, go_back);
    tcase_add_test(indirect, clblast_indirect__passes_are_right_for_every_shape);
    tcase_add_test(indirect, clblast_indirect__passes_are_right_for_large_matrices);
    tcase_add_test(indirect, clblast_indirect__has_temporary_memory_of_its_own_for_the_largest_product);
    tcase_add_test(indirect, clblast_indirect__parameters_that_change_after_creation_are_an_error_in_words);
    tcase_add_unchecked_fixture(indirect, NULL, op_device_close); /* the last case to run */
    suite_add_tcase(suite, indirect);
    return psgd_run_suite(suite);
}
