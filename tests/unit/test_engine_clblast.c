/* The clblast engine: products by CLBlast, direct and indirect, between the kernels of error feedback and
 * decompression. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <clblast_c.h>

#include "device/cl_device.h"
#include "engine_job.h"
#include "ops/decompress.h"
#include "ops/matrices.h"
#include "support/suite.h"

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

static void check_passes(const shape_t *shapes, size_t num_shapes, psgd_form_t form)
{
    const job_setup_t setup = {.shapes = shapes, .num_shapes = num_shapes, .form = form, .seed = 1};

    job_check_step(op_device(), &psgd_engine_clblast, &setup);
}

static job_t *make_job(psgd_device_t *device, const shape_t *shapes, size_t num_shapes)
{
    const job_setup_t setup = {
        .shapes = shapes, .num_shapes = num_shapes, .form = PSGD_FORM_NO_FEEDBACK, .seed = 1};

    return job_create(device, &setup);
}

static psgd_status_t create_for_all(psgd_device_t *device, const psgd_plan_t *plan, psgd_engine_state_t **engine_p)
{
    size_t indices[JOB_MAX_MATRICES];

    for (size_t i = 0; i < plan->num_matrices; ++i) {
        indices[i] = i;
    }
    return psgd_engine_clblast.create(device, plan, indices, plan->num_matrices, PSGD_FORM_NO_FEEDBACK, engine_p);
}

/* A pass that failed may have left something to the device that reads the engine's tables. */
static void destroy_after_failure(psgd_engine_state_t *engine)
{
    assert_ok(psgd_device_wait(op_device(), "what failed passes have left"));
    psgd_engine_clblast.destroy(engine);
}

/* What the kernels that go with CLBlast keep on the device. */
static uint64_t table_bytes_of(psgd_device_t *device, const psgd_plan_t *plan)
{
    size_t               indices[JOB_MAX_MATRICES];
    psgd_matrices_t      matrices     = {.plan = NULL};
    psgd_decompressor_t *decompressor = NULL;
    uint64_t             before       = psgd_device_bytes(device);
    uint64_t             bytes;

    for (size_t i = 0; i < plan->num_matrices; ++i) {
        indices[i] = i;
    }
    assert_ok(psgd_matrices_create(device, plan, indices, plan->num_matrices, &matrices));
    assert_ok(psgd_decompressor_create(matrices.ragged, PSGD_FORM_NO_FEEDBACK, &decompressor));
    bytes = psgd_device_bytes(device) - before;
    psgd_decompressor_destroy(decompressor);
    psgd_matrices_destroy(&matrices);
    return bytes;
}

static uint64_t temp_bytes_of(const shape_t *shapes, size_t num_shapes)
{
    psgd_plan_matrix_t   matrices[JOB_MAX_MATRICES];
    psgd_plan_t          plan   = job_plan(shapes, num_shapes, matrices);
    uint64_t             before = psgd_device_bytes(op_device());
    uint64_t             bytes;
    psgd_engine_state_t *engine = NULL;

    assert_ok(create_for_all(op_device(), &plan, &engine));
    bytes = psgd_device_bytes(op_device()) - before - table_bytes_of(op_device(), &plan);
    psgd_engine_clblast.destroy(engine);
    ck_assert_uint_eq(psgd_device_bytes(op_device()), before);
    return bytes;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Direct products: what is small, or thin
 * ---------------------------------------------------------------------------------------------------------------- */

START_TEST(clblast_direct__passes_are_right_for_every_shape)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, PSGD_FORM_TRANSACTIONAL);
}
END_TEST

START_TEST(clblast_direct__passes_are_right_without_error_feedback)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, PSGD_FORM_NO_FEEDBACK);
}
END_TEST

START_TEST(clblast_direct__passes_are_right_in_the_lazy_form)
{
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, PSGD_FORM_LAZY);
}
END_TEST

/* Some steps in both forms from the same error on, in buffers that change: the host's M in each, bit for bit. */
START_TEST(clblast_direct__both_forms_have_the_same_m_from_step_to_step)
{
    job_setup_t          setup = {.shapes = SMALL_SHAPES, .num_shapes = NUM_SMALL_SHAPES, .seed = 3, .grad_mems = 5};
    job_t               *jobs[2];
    psgd_engine_state_t *engines[2];

    for (int f = 0; f < 2; ++f) {
        setup.form = f == 0 ? PSGD_FORM_TRANSACTIONAL : PSGD_FORM_LAZY;
        jobs[f]    = job_create(op_device(), &setup);
        engines[f] = job_engine(jobs[f], &psgd_engine_clblast);
    }
    for (uint64_t step = 0; step < 3; ++step) {
        for (int f = 0; f < 2; ++f) {
            job_run(jobs[f], &psgd_engine_clblast, engines[f]);
        }
        job_check_same_m(jobs[0], jobs[1]);
        for (int f = 0; f < 2; ++f) {
            job_next(jobs[f], 10 + step, step == 0);
        }
    }
    for (int f = 0; f < 2; ++f) {
        psgd_engine_clblast.destroy(engines[f]);
        job_destroy(jobs[f]);
    }
}
END_TEST

START_TEST(clblast_direct__settling_leaves_exactly_the_error)
{
    const job_setup_t setup = {
        .shapes = SMALL_SHAPES, .num_shapes = NUM_SMALL_SHAPES, .seed = 4, .form = PSGD_FORM_LAZY, .every_second = true};
    job_t               *job    = job_create(op_device(), &setup);
    psgd_engine_state_t *engine = job_engine(job, &psgd_engine_clblast);

    job_run(job, &psgd_engine_clblast, engine);
    job_settle(job, &psgd_engine_clblast, engine);
    job_next(job, 5, false);
    job_run(job, &psgd_engine_clblast, engine);
    psgd_engine_clblast.destroy(engine);
    job_destroy(job);
}
END_TEST

START_TEST(clblast_direct__other_matrices_of_the_plan_are_left_alone)
{
    const job_setup_t setup = {.shapes       = SMALL_SHAPES,
                               .num_shapes   = NUM_SMALL_SHAPES,
                               .seed         = 6,
                               .form         = PSGD_FORM_TRANSACTIONAL,
                               .error_mems   = 3,
                               .every_second = true};

    job_check_step(op_device(), &psgd_engine_clblast, &setup);
}
END_TEST

START_TEST(clblast_direct__one_matrix_alone_is_one_matrix_alone)
{
    job_check_one(op_device(), &psgd_engine_clblast, SMALL_SHAPES, NUM_SMALL_SHAPES);
}
END_TEST

START_TEST(clblast_direct__passes_are_right_for_large_matrices)
{
    check_passes(psgd_test_shapes_are_reduced() ? LARGE_SHAPES_REDUCED : LARGE_SHAPES, NUM_LARGE_SHAPES,
                 PSGD_FORM_TRANSACTIONAL);
}
END_TEST

START_TEST(clblast_direct__takes_no_temporary_memory_and_keeps_none_of_the_warm_up)
{
    ck_assert_uint_eq(temp_bytes_of(SMALL_SHAPES, NUM_SMALL_SHAPES), 0);
}
END_TEST

START_TEST(clblast_direct__destroy_of_null_does_nothing)
{
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

    status = create_for_all(worker->device, &worker->job->plan, &engine);
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
        workers[w].job = make_job(workers[w].device, shapes, 2);
        job_give_factors(workers[w].job);
    }
    for (int w = 0; w < NUM_THREADS; ++w) {
        ck_assert_int_eq(pthread_create(&workers[w].thread, NULL, run_worker, &workers[w]), 0);
    }
    for (int w = 0; w < NUM_THREADS; ++w) {
        ck_assert_int_eq(pthread_join(workers[w].thread, NULL), 0);
        ck_assert_msg(workers[w].status == PSGD_OK, "worker %d: %s", w, workers[w].sentence);
        job_check_p(workers[w].job);
        job_check_compute_q(workers[w].job);
        job_destroy(workers[w].job);
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
    psgd_plan_matrix_t   matrix[JOB_MAX_MATRICES];
    psgd_plan_t          plan = job_plan(&shape, 1, matrix);

    assert_ok(op_device_open(&log, &device));
    lines.count = 0;
    assert_ok(create_for_all(device, &plan, &engine));
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
    psgd_plan_matrix_t   matrix[JOB_MAX_MATRICES];
    psgd_engine_state_t *engine = NULL;
    uint64_t             before = psgd_device_bytes(op_device());

    for (int i = 0; i < 2; ++i) {
        psgd_plan_t plan = job_plan(&shapes[i], 1, matrix);

        assert_fails(create_for_all(op_device(), &plan, &engine), PSGD_ERR_UNSUPPORTED,
                     "some.weight");
        assert_fails(create_for_all(op_device(), &plan, &engine), PSGD_ERR_UNSUPPORTED, "2^31");
        ck_assert_ptr_null(engine);
        ck_assert_uint_eq(psgd_device_bytes(op_device()), before);
    }
}
END_TEST

START_TEST(clblast_errors__an_offset_beyond_32_bits_is_refused_at_the_call)
{
    const shape_t        shape  = {13, 31, 5};
    job_t               *job    = make_job(op_device(), &shape, 1);
    psgd_engine_state_t *engine = NULL;

    assert_ok(create_for_all(op_device(), &job->plan, &engine));
    job->grad_views[0].offset_bytes = ((size_t)INT32_MAX - 13 * 31 + 1) * sizeof(float);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_UNSUPPORTED, "its gradient");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_UNSUPPORTED, "2^31");
    job->grad_views[0]            = arena_view(&job->grad_arenas[0], 0);
    job->views.p.offset_bytes     = (size_t)INT32_MAX * sizeof(float);
    job->views.p_hat.offset_bytes = (size_t)INT32_MAX * sizeof(float);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_UNSUPPORTED, "a factor");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_UNSUPPORTED, "a factor");
    destroy_after_failure(engine);
    job_destroy(job);
}
END_TEST

START_TEST(clblast_errors__clblasts_own_are_named)
{
    const shape_t        shape  = {13, 31, 5};
    job_t               *job    = make_job(op_device(), &shape, 1);
    psgd_engine_state_t *engine = NULL;

    assert_ok(create_for_all(op_device(), &job->plan, &engine));
    job->grad_views[0].offset_bytes += 4096; /* beyond the end of its buffer */
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_CLBLAST,
                 "CLBlastInsufficientMemoryB (-1010)");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_CLBLAST,
                 "Q = M^T P of tensor 'some.weight' (r 5, 13 x 31)");
    destroy_after_failure(engine);
    job_destroy(job);
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
    psgd_plan_matrix_t          matrix[JOB_MAX_MATRICES];
    psgd_plan_t                 plan = job_plan(&shape, 1, matrix);

    assert_ok(op_device_open(&log, &device));
    limits = psgd_device_limits(device);
    memcpy(&writable, &limits, sizeof(writable));
    writable->max_allocation_bytes = 1009 * 523 * sizeof(float); /* the gradient fits, the warm-up just does not */
    lines.count                    = 0;
    assert_ok(create_for_all(device, &plan, &engine));
    ck_assert_int_eq(lines.count, 2);
    ck_assert_msg(strstr(lines.text[1], "no room") != NULL, "%s", lines.text[1]);
    ck_assert_uint_eq(psgd_device_bytes(device), table_bytes_of(device, &plan));
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
    check_passes(SMALL_SHAPES, NUM_SMALL_SHAPES, PSGD_FORM_TRANSACTIONAL);
}
END_TEST

START_TEST(clblast_indirect__passes_are_right_for_large_matrices)
{
    check_passes(psgd_test_shapes_are_reduced() ? LARGE_SHAPES_REDUCED : LARGE_SHAPES, NUM_LARGE_SHAPES,
                 PSGD_FORM_NO_FEEDBACK);
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
    job_t               *job    = make_job(op_device(), &shape, 1);
    psgd_engine_state_t *engine = NULL;

    set_indirect_size(DEFAULT_INDIRECT);
    assert_ok(create_for_all(op_device(), &job->plan, &engine));
    set_indirect_size(ALWAYS_INDIRECT);
    assert_fails(psgd_engine_clblast.enqueue_compute_p(engine, &job->views), PSGD_ERR_CLBLAST, "temporary memory");
    assert_fails(psgd_engine_clblast.enqueue_compute_q(engine, &job->views), PSGD_ERR_CLBLAST, "some.weight");
    destroy_after_failure(engine);
    job_destroy(job);
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
    tcase_add_test(direct, clblast_direct__passes_are_right_in_the_lazy_form);
    tcase_add_test(direct, clblast_direct__both_forms_have_the_same_m_from_step_to_step);
    tcase_add_test(direct, clblast_direct__settling_leaves_exactly_the_error);
    tcase_add_test(direct, clblast_direct__other_matrices_of_the_plan_are_left_alone);
    tcase_add_test(direct, clblast_direct__one_matrix_alone_is_one_matrix_alone);
    tcase_add_test(direct, clblast_direct__passes_are_right_for_large_matrices);
    tcase_add_test(direct, clblast_direct__takes_no_temporary_memory_and_keeps_none_of_the_warm_up);
    tcase_add_test(direct, clblast_direct__destroy_of_null_does_nothing);
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
