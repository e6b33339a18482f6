/* The fused engine: all passes, forms and kernel variants, against the host, against the clblast engine and against itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_job.h"
#include "ops/compute_p.h"
#include "ops/compute_q.h"
#include "support/suite.h"

/* One of them, with an even number, has the rank 33. Wherever it is, kernels take the rank of each matrix from its item, and are
 * the same ones: compiling takes longer than everything else here. */
#define COMPANION \
    { \
        66, 515, 33 \
    }

static const shape_t SHAPES[] = {
    {1, 1, 1},      {1, 67, 1},     {67, 1, 1},    {13, 31, 5},    {31, 13, 5},    {13, 31, 5},  {10, 512, 4},
    {512, 10, 4},   {97, 101, 16},  {64, 27, 8},   {128, 128, 32}, {64, 576, 4},   {2, 3, 2},    {5, 4, 3},
    {257, 1031, 7}, {1031, 257, 3}, {70, 1025, 6}, {3, 4099, 3},   {4099, 3, 2},   {4, 16, 1},   {8, 64, 2},
    {37, 53, 31},   COMPANION,      {515, 66, 9},
};

/* As in language models, convolutions and embeddings, and what is as wide or as tall as it gets. */
static const shape_t LARGE_SHAPES[] = {{28869, 650, 4}, {512, 4608, 8}, {2600, 650, 2},
                                       {3, 100003, 2},  {100003, 3, 2}, {20011, 48, 5}, COMPANION};
static const shape_t LARGE_SHAPES_REDUCED[] = {{2887, 65, 4}, {51, 4608, 8}, {260, 650, 2},
                                               {3, 20011, 2}, {20011, 3, 2}, {2001, 48, 5}, COMPANION};

static const shape_t HIGH_RANKS[]         = {{301, 280, 33}, {280, 301, 64}, {300, 277, 256}, {70, 2100, 65}};
static const shape_t HIGH_RANKS_REDUCED[] = {{75, 70, 33}, {70, 76, 64}};

/* For Oclgrind, which is a thousand times slower; every path through the kernels all the same. */
static const shape_t TINY_SHAPES[] = {{1, 1, 1}, {5, 3, 2}, {6, 37, 5}, {9, 70, 3}, {17, 4, 1}};

enum {
    NUM_SHAPES             = sizeof(SHAPES) / sizeof(SHAPES[0]),
    NUM_LARGE_SHAPES       = sizeof(LARGE_SHAPES) / sizeof(LARGE_SHAPES[0]),
    NUM_HIGH_RANKS         = sizeof(HIGH_RANKS) / sizeof(HIGH_RANKS[0]),
    NUM_HIGH_RANKS_REDUCED = sizeof(HIGH_RANKS_REDUCED) / sizeof(HIGH_RANKS_REDUCED[0]),
    NUM_TINY_SHAPES        = sizeof(TINY_SHAPES) / sizeof(TINY_SHAPES[0]),
    WORK_ITEMS             = 1 /* of vector_floats: the variant for GPUs */
};

static const psgd_engine_ops_t *const FUSED = &psgd_engine_fused;

static const psgd_form_t FORMS[] = {PSGD_FORM_NO_FEEDBACK, PSGD_FORM_TRANSACTIONAL, PSGD_FORM_LAZY};

/* ---- variants ---- */

static uint32_t own_variant;

static void remember_variant(void)
{
    own_variant = psgd_device_limits(op_device())->vector_floats; /* as it is restored after each test */
}

static void restore_variant(void)
{
    op_device_pretend(op_device(), own_variant);
}

static void check_steps_in_all_forms(uint32_t vector_floats, job_setup_t setup)
{
    op_device_pretend(op_device(), vector_floats);
    for (size_t f = 0; f < sizeof(FORMS) / sizeof(FORMS[0]); ++f) {
        setup.form = FORMS[f];
        job_check_step(op_device(), FUSED, &setup);
    }
}

static const job_setup_t EVERY_SHAPE = {
    .shapes = SHAPES, .num_shapes = NUM_SHAPES, .seed = 1, .grad_mems = 3, .error_mems = 2};

START_TEST(fused_variants__passes_are_right_for_every_shape_with_work_items_side_by_side)
{
    check_steps_in_all_forms(WORK_ITEMS, EVERY_SHAPE);
}
END_TEST

/* In the form that has most to do: what is special about the width is the same in all of them. */
START_TEST(fused_variants__passes_are_right_for_every_shape_with_vectors_of_4)
{
    job_setup_t setup = EVERY_SHAPE;

    op_device_pretend(op_device(), 4);
    setup.form = PSGD_FORM_LAZY;
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

START_TEST(fused_variants__passes_are_right_for_every_shape_with_vectors_of_8)
{
    check_steps_in_all_forms(8, EVERY_SHAPE);
}
END_TEST

START_TEST(fused_variants__passes_are_right_for_every_shape_with_vectors_of_16)
{
    check_steps_in_all_forms(16, EVERY_SHAPE);
}
END_TEST

/* All ranks from 1 to 32 in one engine. */
START_TEST(fused_variants__passes_are_right_for_every_rank)
{
    static const uint32_t VARIANTS[] = {WORK_ITEMS, 16};
    shape_t               shapes[33];
    job_setup_t           setup = {.shapes = shapes, .num_shapes = 33, .seed = 2, .grad_mems = 1};

    for (size_t r = 1; r <= 32; ++r) {
        shapes[r - 1] = (shape_t){37 + r % 4, 53 + 3 * (r % 5), r};
    }
    shapes[32] = (shape_t)COMPANION;
    for (size_t v = 0; v < sizeof(VARIANTS) / sizeof(VARIANTS[0]); ++v) {
        check_steps_in_all_forms(VARIANTS[v], setup);
    }
}
END_TEST

/* Matrices of one rank: kernels compiled for it. */
static void check_equal_ranks(uint32_t vector_floats, const size_t *ranks, size_t num_ranks)
{
    op_device_pretend(op_device(), vector_floats);
    for (size_t n = 0; n < num_ranks; ++n) {
        const size_t  r        = ranks[n];
        const shape_t shapes[] = {{37, 53, r}, {53, 37, r}, {r, 600, r}, {131, r + 1, r}};
        job_setup_t   setup    = {.shapes = shapes, .num_shapes = 4, .seed = 10 + r};

        setup.form = n % 2 == 0 ? PSGD_FORM_TRANSACTIONAL : PSGD_FORM_LAZY;
        job_check_step(op_device(), FUSED, &setup);
    }
}

START_TEST(fused_variants__kernels_compiled_for_a_rank_are_right)
{
    static const size_t RANKS[]   = {1, 7, 32}; /* kernels of their own each, which take seconds to compile */
    size_t              num_ranks = psgd_test_shapes_are_reduced() ? 2 : sizeof(RANKS) / sizeof(RANKS[0]);

    check_equal_ranks(16, RANKS, num_ranks);
    check_equal_ranks(WORK_ITEMS, RANKS, num_ranks);
}
END_TEST

START_TEST(fused_variants__high_ranks_are_right)
{
    bool        is_reduced = psgd_test_shapes_are_reduced() != 0;
    job_setup_t setup      = {.shapes     = is_reduced ? HIGH_RANKS_REDUCED : HIGH_RANKS,
                              .num_shapes = is_reduced ? NUM_HIGH_RANKS_REDUCED : NUM_HIGH_RANKS,
                              .seed       = 3};

    check_steps_in_all_forms(16, setup);
    check_steps_in_all_forms(WORK_ITEMS, setup);
}
END_TEST

/* Mesa's llvmpipe stops a work-item after 65535 rounds of its loops without a word: tiles must be cut by rounds. */
START_TEST(fused_loops__work_items_side_by_side_make_as_many_rounds_as_high_ranks_need)
{
    static const shape_t shapes[] = {{8, 4100, 300}, {9, 2048, 1024}, {1030, 70, 520}};
    job_setup_t          setup    = {.shapes = shapes, .num_shapes = 3, .seed = 6, .form = PSGD_FORM_TRANSACTIONAL};

    op_device_pretend(op_device(), WORK_ITEMS);
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

START_TEST(fused_variants__a_high_rank_that_all_matrices_have_is_right)
{
    static const shape_t shapes[] = {{90, 64, 64}, {64, 200, 64}};
    job_setup_t          setup    = {.shapes = shapes, .num_shapes = 2, .seed = 4, .form = PSGD_FORM_LAZY};

    op_device_pretend(op_device(), 16);
    job_check_step(op_device(), FUSED, &setup);
    op_device_pretend(op_device(), WORK_ITEMS);
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

static job_setup_t large_setup(psgd_form_t form)
{
    return (job_setup_t){.shapes     = psgd_test_shapes_are_reduced() ? LARGE_SHAPES_REDUCED : LARGE_SHAPES,
                         .num_shapes = NUM_LARGE_SHAPES,
                         .seed       = 5,
                         .form       = form,
                         .error_mems = 3};
}

START_TEST(fused_variants__large_matrices_are_right_with_vectors)
{
    job_setup_t setup = large_setup(PSGD_FORM_TRANSACTIONAL);

    op_device_pretend(op_device(), 16);
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

START_TEST(fused_variants__large_matrices_are_right_with_work_items_side_by_side)
{
    job_setup_t setup = large_setup(PSGD_FORM_LAZY);

    op_device_pretend(op_device(), WORK_ITEMS);
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

/* ---- buffers ---- */

enum { NUM_ALIKE = 40 };

/* Matrices with gradients in so many buffers, and error memories in so many. */
static void check_buffers(size_t grad_mems, size_t error_mems)
{
    shape_t     shapes[NUM_ALIKE];
    job_setup_t setup = {.shapes     = shapes,
                         .num_shapes = NUM_ALIKE,
                         .seed       = 100 + grad_mems,
                         .grad_mems  = grad_mems,
                         .error_mems = error_mems};

    for (size_t i = 0; i < NUM_ALIKE; ++i) {
        shapes[i] = (shape_t){5 + i % 7, 9 + i % 11, 1 + i % 4};
    }
    shapes[12] = (shape_t)COMPANION;
    setup.form = PSGD_FORM_TRANSACTIONAL;
    job_check_step(op_device(), FUSED, &setup);
    setup.form = PSGD_FORM_LAZY;
    job_check_step(op_device(), FUSED, &setup);
}

START_TEST(fused_buffers__gradients_and_errors_may_lie_in_any_number_of_buffers)
{
    static const size_t GRAD_MEMS[]  = {1, 2, 15, 16, 17, 33, 40};
    static const size_t ERROR_MEMS[] = {1, 3, 1, 1, 1, 40, 7};

    for (size_t n = 0; n < sizeof(GRAD_MEMS) / sizeof(GRAD_MEMS[0]); ++n) {
        check_buffers(GRAD_MEMS[n], ERROR_MEMS[n]);
    }
}
END_TEST

START_TEST(fused_buffers__without_error_feedback_too)
{
    shape_t     shapes[NUM_ALIKE];
    job_setup_t setup = {.shapes = shapes, .num_shapes = NUM_ALIKE, .seed = 200, .form = PSGD_FORM_NO_FEEDBACK};

    for (size_t i = 0; i < NUM_ALIKE; ++i) {
        shapes[i] = (shape_t){5 + i % 7, 9 + i % 11, 1 + i % 4};
    }
    shapes[12] = (shape_t)COMPANION;
    job_check_step(op_device(), FUSED, &setup);
}
END_TEST

START_TEST(fused_buffers__other_matrices_of_the_plan_are_left_alone)
{
    job_setup_t setup = {.shapes       = SHAPES,
                         .num_shapes   = NUM_SHAPES,
                         .seed         = 6,
                         .grad_mems    = 5,
                         .error_mems   = 3,
                         .every_second = true};

    check_steps_in_all_forms(own_variant, setup);
    check_steps_in_all_forms(WORK_ITEMS, setup);
}
END_TEST

START_TEST(fused_buffers__one_matrix_alone_is_one_matrix_alone)
{
    static const shape_t shapes[] = {{13, 31, 5}, {512, 10, 4}, {1, 67, 1}, {4099, 3, 2}, {3, 4099, 3}, {600, 10, 4}, COMPANION};

    job_check_one(op_device(), FUSED, shapes, sizeof(shapes) / sizeof(shapes[0]));
    op_device_pretend(op_device(), WORK_ITEMS);
    job_check_one(op_device(), FUSED, shapes, sizeof(shapes) / sizeof(shapes[0]));
}
END_TEST

/* ---- from step to step ---- */

/* Some steps in both forms from the same error on, in buffers that change: each has the host's M, update and error bit for bit,
 * and the one form those of the other. */
static void check_forms_agree(uint32_t vector_floats)
{
    job_setup_t          setup = EVERY_SHAPE;
    job_t               *jobs[2];
    psgd_engine_state_t *engines[2];

    op_device_pretend(op_device(), vector_floats);
    for (int f = 0; f < 2; ++f) {
        setup.form = f == 0 ? PSGD_FORM_TRANSACTIONAL : PSGD_FORM_LAZY;
        jobs[f]    = job_create(op_device(), &setup);
        engines[f] = job_engine(jobs[f], FUSED);
    }
    for (uint64_t step = 0; step < 3; ++step) {
        for (int f = 0; f < 2; ++f) {
            job_run(jobs[f], FUSED, engines[f]);
        }
        job_check_same_m(jobs[0], jobs[1]);
        ck_assert_uint_eq(count_different(jobs[0]->p, jobs[1]->p, jobs[0]->plan.p_elems), 0);
        ck_assert_uint_eq(count_different(jobs[0]->q_local, jobs[1]->q_local, jobs[0]->plan.q_elems), 0);
        for (int f = 0; f < 2; ++f) {
            job_next(jobs[f], 20 + step, step == 0);
        }
    }
    for (int f = 0; f < 2; ++f) {
        FUSED->destroy(engines[f]);
        job_destroy(jobs[f]);
    }
}

START_TEST(fused_steps__both_forms_have_the_same_bits_from_step_to_step)
{
    check_forms_agree(16);
    check_forms_agree(WORK_ITEMS);
}
END_TEST

static void check_settling(uint32_t vector_floats, bool every_second)
{
    job_setup_t          setup = EVERY_SHAPE;
    job_t               *job;
    psgd_engine_state_t *engine;

    op_device_pretend(op_device(), vector_floats);
    setup.form         = PSGD_FORM_LAZY;
    setup.every_second = every_second;
    job                = job_create(op_device(), &setup);
    engine             = job_engine(job, FUSED);
    job_run(job, FUSED, engine);
    job_settle(job, FUSED, engine);
    job_next(job, 30, every_second);
    job_run(job, FUSED, engine);
    FUSED->destroy(engine);
    job_destroy(job);
}

START_TEST(fused_steps__settling_leaves_exactly_the_error_with_vectors)
{
    check_settling(16, false);
}
END_TEST

START_TEST(fused_steps__settling_leaves_exactly_the_error_with_work_items_side_by_side)
{
    check_settling(WORK_ITEMS, true);
}
END_TEST

/* P and Q_w of one run. */
static job_t *run_products(const job_setup_t *setup)
{
    job_t               *job    = job_create(op_device(), setup);
    psgd_engine_state_t *engine = job_engine(job, FUSED);

    assert_ok(FUSED->enqueue_compute_p(engine, &job->views));
    job_give_factors(job);
    assert_ok(FUSED->enqueue_compute_q(engine, &job->views));
    region_read(&job->p_region, job->p);
    region_read(&job->q_local_region, job->q_local);
    FUSED->destroy(engine);
    return job;
}

START_TEST(fused_steps__results_have_the_same_bits_from_run_to_run)
{
    static const uint32_t VARIANTS[] = {WORK_ITEMS, 16};
    job_setup_t           setup      = large_setup(PSGD_FORM_TRANSACTIONAL);

    for (size_t v = 0; v < sizeof(VARIANTS) / sizeof(VARIANTS[0]); ++v) {
        job_t *first, *second;

        op_device_pretend(op_device(), VARIANTS[v]);
        first  = run_products(&setup);
        second = run_products(&setup);
        ck_assert_uint_eq(count_different(first->p, second->p, first->plan.p_elems), 0);
        ck_assert_uint_eq(count_different(first->q_local, second->q_local, first->plan.q_elems), 0);
        job_destroy(second);
        job_destroy(first);
    }
}
END_TEST

/* Both engines on the same gradients and errors: M and the update have the same bits. */
START_TEST(fused_steps__m_and_the_update_have_the_bits_of_the_clblast_engine)
{
    const psgd_engine_ops_t *const ENGINES[] = {FUSED, &psgd_engine_clblast};
    const job_setup_t              setup     = {
                          .shapes = SHAPES, .num_shapes = 12, .seed = 8, .form = PSGD_FORM_LAZY, .grad_mems = 2};
    job_t *jobs[2];

    for (int e = 0; e < 2; ++e) {
        psgd_engine_state_t *engine;

        jobs[e] = job_create(op_device(), &setup);
        engine  = job_engine(jobs[e], ENGINES[e]);
        assert_ok(ENGINES[e]->enqueue_compute_p(engine, &jobs[e]->views));
        job_give_factors(jobs[e]);
        assert_ok(ENGINES[e]->enqueue_compute_q(engine, &jobs[e]->views));
        assert_ok(ENGINES[e]->enqueue_decompress(engine, &jobs[e]->views));
        job_read_memory(jobs[e]);
        ENGINES[e]->destroy(engine);
    }
    for (size_t i = 0; i < setup.num_shapes; ++i) {
        size_t elems = SHAPES[i].rows * SHAPES[i].cols;

        ck_assert_uint_eq(count_different(job_grad_memory(jobs[0], i), job_grad_memory(jobs[1], i), elems), 0);
        ck_assert_uint_eq(count_different(job_error_memory(jobs[0], i), job_error_memory(jobs[1], i), elems), 0);
    }
    job_destroy(jobs[1]);
    job_destroy(jobs[0]);
}
END_TEST

/* ---- what is not finite ---- */

/* One gradient entry of the matrix is not finite: row `row` of P and column `col` of Q_w are not either, all else is. */
static void check_visible(float poison, psgd_form_t form, size_t row, size_t col)
{
    static const shape_t shapes[] = {{23, 85, 5}, COMPANION};
    const shape_t        shape    = shapes[0];
    const job_setup_t    setup    = {.shapes = shapes, .num_shapes = 2, .seed = 9, .form = form};
    job_t               *job    = job_create(op_device(), &setup);
    psgd_engine_state_t *engine = job_engine(job, FUSED);

    job->grad[0][row * shape.cols + col] = poison;
    arena_write(&job->grad_arenas[0], 0, job->grad[0]);
    assert_ok(FUSED->enqueue_compute_p(engine, &job->views));
    job_give_factors(job);
    assert_ok(FUSED->enqueue_compute_q(engine, &job->views));
    region_read(&job->p_region, job->p);
    region_read(&job->q_local_region, job->q_local);
    for (size_t n = 0; n < shape.r * shape.rows; ++n) {
        ck_assert_msg(!isfinite(job->p[n]) == (n % shape.rows == row), "%g in row %zu: P %zu is %g", (double)poison, row, n,
                      (double)job->p[n]);
    }
    for (size_t n = 0; n < shape.r * shape.cols; ++n) {
        ck_assert_msg(!isfinite(job->q_local[n]) == (n % shape.cols == col), "%g in column %zu: Q %zu is %g",
                      (double)poison, col, n, (double)job->q_local[n]);
    }
    FUSED->destroy(engine);
    job_destroy(job);
}

START_TEST(fused_steps__what_is_not_finite_stays_visible)
{
    static const uint32_t VARIANTS[] = {WORK_ITEMS, 16};

    for (size_t v = 0; v < sizeof(VARIANTS) / sizeof(VARIANTS[0]); ++v) {
        op_device_pretend(op_device(), VARIANTS[v]);
        for (size_t f = 0; f < sizeof(FORMS) / sizeof(FORMS[0]); ++f) {
            check_visible(NAN, FORMS[f], 0, 0);
            check_visible(INFINITY, FORMS[f], 22, 84);
            check_visible(-INFINITY, FORMS[f], 9, 33);
        }
    }
}
END_TEST

/* ---- partial sums ---- */

static const shape_t RESNET18[] = {
    {64, 147, 4},   {64, 576, 4},    {64, 576, 4},    {64, 576, 4},    {64, 576, 4},    {128, 576, 4},  {128, 1152, 4},
    {128, 64, 4},   {128, 1152, 4},  {128, 1152, 4},  {256, 1152, 4},  {256, 2304, 4},  {256, 128, 4},  {256, 2304, 4},
    {256, 2304, 4}, {512, 2304, 4},  {512, 4608, 4},  {512, 256, 4},   {512, 4608, 4},  {512, 4608, 4}, {1000, 512, 4},
};
static const shape_t LSTM[]   = {{28869, 650, 4}, {2600, 650, 4}, {2600, 650, 4}, {2600, 650, 4},
                                 {2600, 650, 4},  {2600, 650, 4}, {2600, 650, 4}};
static const shape_t SQUARE[] = {{4096, 4096, 4}};
static const shape_t FOUR[]   = {{4096, 4096, 4}, {4096, 4096, 4}, {4096, 4096, 4}, {4096, 11008, 4}};
static const shape_t WIDE[]   = {{3, 100003, 3}};
static const shape_t TALL[]   = {{100003, 3, 3}};

typedef struct table {
    const char    *name;
    const shape_t *shapes;
    size_t         num_shapes;
} table_t;

#define TABLE(name_, shapes_) \
    { \
        name_, shapes_, sizeof(shapes_) / sizeof((shapes_)[0]) \
    }

static const table_t TABLES[] = {
    TABLE("ResNet-18", RESNET18), TABLE("LSTM", LSTM), TABLE("4096^2", SQUARE),
    TABLE("four squares", FOUR),  TABLE("wide", WIDE), TABLE("tall", TALL),
};

typedef struct parts {
    uint64_t p_elems, q_elems;
    double   bound_elems; /* of each */
} parts_t;

/* What passes A and B of the table ask for at this rank; no matrix is allocated. */
static parts_t count_parts(const table_t *table, size_t rank)
{
    psgd_ragged_item_t items[JOB_MAX_MATRICES + 1];
    psgd_ragged_t     *ragged    = NULL;
    psgd_compute_p_t  *compute_p = NULL;
    psgd_compute_q_t  *compute_q = NULL;
    double             elems = 0.0, factors = 0.0;
    parts_t            parts;

    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < table->num_shapes; ++i) {
        shape_t shape   = table->shapes[i];
        size_t  shorter = shape.rows < shape.cols ? shape.rows : shape.cols;

        items[i].rows = (uint32_t)shape.rows;
        items[i].cols = (uint32_t)shape.cols;
        items[i].r    = (uint32_t)(rank < shorter ? rank : shorter);
        elems += (double)(shape.rows * shape.cols);
        factors += (double)((shape.rows + shape.cols) * items[i].r);
    }
    /* A small one of the highest rank, so that all tables have the same kernels. It is not split. */
    items[table->num_shapes] = (psgd_ragged_item_t){.rows = 16, .cols = 16, .r = 257};
    assert_ok(psgd_ragged_create(op_device(), items, table->num_shapes + 1, &ragged));
    assert_ok(psgd_compute_p_create(ragged, PSGD_FORM_TRANSACTIONAL, true, &compute_p));
    assert_ok(psgd_compute_q_create(ragged, PSGD_FORM_TRANSACTIONAL, &compute_q));
    parts.p_elems     = psgd_compute_p_part_elems(compute_p);
    parts.q_elems     = psgd_compute_q_part_elems(compute_q);
    parts.bound_elems = fmax(2.0 * 1048576.0 / 4.0, 0.02 * elems) + 4.0 * factors;
    psgd_compute_q_destroy(compute_q);
    psgd_compute_p_destroy(compute_p);
    psgd_ragged_destroy(ragged);
    return parts;
}

static void check_memory_of_parts(uint32_t vector_floats, size_t rank)
{
    op_device_pretend(op_device(), vector_floats);
    for (size_t t = 0; t < sizeof(TABLES) / sizeof(TABLES[0]); ++t) {
        parts_t parts = count_parts(&TABLES[t], rank);

        ck_assert_msg((double)parts.p_elems <= parts.bound_elems, "%s, rank %zu, variant %u: pass A's parts take %llu floats",
                      TABLES[t].name, rank, vector_floats, (unsigned long long)parts.p_elems);
        ck_assert_msg((double)parts.q_elems <= parts.bound_elems, "%s, rank %zu, variant %u: pass B's parts take %llu floats",
                      TABLES[t].name, rank, vector_floats, (unsigned long long)parts.q_elems);
    }
}

START_TEST(fused_parts__memory_of_partial_sums_is_bounded)
{
    static const size_t RANKS[]   = {4, 32, 1, 256}; /* kernels of their own each */
    size_t              num_ranks = psgd_test_shapes_are_reduced() ? 2 : sizeof(RANKS) / sizeof(RANKS[0]);

    for (size_t n = 0; n < num_ranks; ++n) {
        check_memory_of_parts(16, RANKS[n]);
        check_memory_of_parts(WORK_ITEMS, RANKS[n]);
    }
}
END_TEST

/* What other tests call large does split its sums. */
START_TEST(fused_parts__sums_are_split_where_a_matrix_is_long)
{
    const job_setup_t setup = large_setup(PSGD_FORM_TRANSACTIONAL);
    const table_t     table = {"large", setup.shapes, setup.num_shapes};

    op_device_pretend(op_device(), 16);
    ck_assert_uint_gt(count_parts(&table, 2).p_elems, 0);
    ck_assert_uint_gt(count_parts(&table, 2).q_elems, 0);
    op_device_pretend(op_device(), WORK_ITEMS);
    ck_assert_uint_gt(count_parts(&table, 2).p_elems, 0);
    ck_assert_uint_gt(count_parts(&table, 2).q_elems, 0);
}
END_TEST

/* Work-items side by side share pieces of 2048 columns, or shorter ones where the rounds of their loops are bounded, as on a CPU without
 * vectors. A piece has r x 16 sums, of up to 16 rows. */
START_TEST(fused_parts__pieces_of_a_long_row_are_as_long_as_loops_may_be)
{
    static const shape_t  HIGH_RANK[] = {{1024, 2048, 1024}};
    const table_t         wide = TABLE("wide", WIDE), high_rank = TABLE("of high rank", HIGH_RANK);
    psgd_device_limits_t *limits;

    op_device_pretend(op_device(), WORK_ITEMS);
    memcpy(&limits, &(const psgd_device_limits_t *){psgd_device_limits(op_device())},
           sizeof(limits)); /* it is not const */
    limits->is_cpu = false;
    ck_assert_uint_eq(count_parts(&wide, 3).p_elems, (100003 + 2047) / 2048 * 3 * 16);
    ck_assert_uint_eq(count_parts(&high_rank, 1024).p_elems, 0);
    limits->is_cpu = true; /* 2048 columns take 65600 rounds, 1024 columns 32800, and 50000 are allowed */
    ck_assert_uint_eq(count_parts(&high_rank, 1024).p_elems, 2 * 1024 * 1024);
}
END_TEST

/* ---- tiny ---- */

static void check_tiny(uint32_t vector_floats)
{
    job_setup_t setup = {.shapes = TINY_SHAPES, .num_shapes = NUM_TINY_SHAPES, .seed = 11, .grad_mems = 2};

    check_steps_in_all_forms(vector_floats, setup);
}

START_TEST(fused_tiny__passes_are_right_with_vectors)
{
    check_tiny(4);
}
END_TEST

START_TEST(fused_tiny__passes_are_right_with_work_items_side_by_side)
{
    check_tiny(WORK_ITEMS);
}
END_TEST

static void check_tiny_settling(uint32_t vector_floats)
{
    const job_setup_t setup = {.shapes = TINY_SHAPES, .num_shapes = NUM_TINY_SHAPES, .seed = 12, .form = PSGD_FORM_LAZY};
    job_t               *job;
    psgd_engine_state_t *engine;

    op_device_pretend(op_device(), vector_floats);
    job    = job_create(op_device(), &setup);
    engine = job_engine(job, FUSED);
    job_run(job, FUSED, engine);
    job_settle(job, FUSED, engine);
    FUSED->destroy(engine);
    job_destroy(job);
}

START_TEST(fused_tiny__settling_leaves_exactly_the_error_with_vectors)
{
    check_tiny_settling(4);
}
END_TEST

START_TEST(fused_tiny__settling_leaves_exactly_the_error_with_work_items_side_by_side)
{
    check_tiny_settling(WORK_ITEMS);
}
END_TEST

START_TEST(fused_tiny__destroy_of_null_does_nothing)
{
    FUSED->destroy(NULL);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, remember_variant, NULL);
    tcase_add_checked_fixture(tests, NULL, restore_variant);
    suite_add_tcase(suite, tests);
    return tests;
}

/* CK_RUN_CASE takes one of the cases alone. The device stays open for all of them, since with it the programs go. */
int main(void)
{
    Suite *suite = suite_create("the fused engine");
    TCase *tests;
    int    result;

    tests = add_case(suite, "tiny_vectors");
    tcase_add_test(tests, fused_tiny__passes_are_right_with_vectors);
    tcase_add_test(tests, fused_tiny__settling_leaves_exactly_the_error_with_vectors);

    tests = add_case(suite, "tiny_items");
    tcase_add_test(tests, fused_tiny__passes_are_right_with_work_items_side_by_side);
    tcase_add_test(tests, fused_tiny__settling_leaves_exactly_the_error_with_work_items_side_by_side);
    tcase_add_test(tests, fused_tiny__destroy_of_null_does_nothing);

    tests = add_case(suite, "items");
    tcase_add_test(tests, fused_variants__passes_are_right_for_every_shape_with_work_items_side_by_side);
    tcase_add_test(tests, fused_variants__large_matrices_are_right_with_work_items_side_by_side);
    tcase_add_test(tests, fused_steps__settling_leaves_exactly_the_error_with_work_items_side_by_side);

    tests = add_case(suite, "vectors");
    tcase_add_test(tests, fused_variants__passes_are_right_for_every_shape_with_vectors_of_16);
    tcase_add_test(tests, fused_variants__large_matrices_are_right_with_vectors);
    tcase_add_test(tests, fused_steps__settling_leaves_exactly_the_error_with_vectors);

    tests = add_case(suite, "loops");
    tcase_add_test(tests, fused_loops__work_items_side_by_side_make_as_many_rounds_as_high_ranks_need);

    tests = add_case(suite, "variants");
    tcase_add_test(tests, fused_variants__passes_are_right_for_every_shape_with_vectors_of_4);
    tcase_add_test(tests, fused_variants__passes_are_right_for_every_shape_with_vectors_of_8);
    tcase_add_test(tests, fused_variants__passes_are_right_for_every_rank);
    tcase_add_test(tests, fused_variants__kernels_compiled_for_a_rank_are_right);
    tcase_add_test(tests, fused_variants__high_ranks_are_right);
    tcase_add_test(tests, fused_variants__a_high_rank_that_all_matrices_have_is_right);

    tests = add_case(suite, "buffers");
    tcase_add_test(tests, fused_buffers__gradients_and_errors_may_lie_in_any_number_of_buffers);
    tcase_add_test(tests, fused_buffers__without_error_feedback_too);
    tcase_add_test(tests, fused_buffers__other_matrices_of_the_plan_are_left_alone);
    tcase_add_test(tests, fused_buffers__one_matrix_alone_is_one_matrix_alone);

    tests = add_case(suite, "steps");
    tcase_add_test(tests, fused_steps__both_forms_have_the_same_bits_from_step_to_step);
    tcase_add_test(tests, fused_steps__results_have_the_same_bits_from_run_to_run);
    tcase_add_test(tests, fused_steps__m_and_the_update_have_the_bits_of_the_clblast_engine);
    tcase_add_test(tests, fused_steps__what_is_not_finite_stays_visible);

    tests = add_case(suite, "parts");
    tcase_add_test(tests, fused_parts__memory_of_partial_sums_is_bounded);
    tcase_add_test(tests, fused_parts__sums_are_split_where_a_matrix_is_long);
    tcase_add_test(tests, fused_parts__pieces_of_a_long_row_are_as_long_as_loops_may_be);
    result = psgd_run_suite(suite);
    op_device_close();
    return result;
}
