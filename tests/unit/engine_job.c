#include "engine_job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ops/decompress.h"
#include "reference/matrix_reference.h"
#include "support/suite.h"

/* ------------------------------------------------------------------------------------------------------------------
 * Creation
 * ---------------------------------------------------------------------------------------------------------------- */

psgd_plan_t job_plan(const shape_t *shapes, size_t num_shapes, psgd_plan_matrix_t *matrices)
{
    psgd_plan_t plan = {.matrices = matrices, .num_matrices = num_shapes};

    ck_assert_uint_le(num_shapes, JOB_MAX_MATRICES);
    for (size_t i = 0; i < num_shapes; ++i) {
        matrices[i] = (psgd_plan_matrix_t){.name           = "some.weight",
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

static size_t elems_of(const job_t *job, size_t i)
{
    return (size_t)(job->matrices[i].rows * job->matrices[i].cols);
}

static float *random_floats(size_t elems, uint64_t stream, float scale)
{
    float *values = test_alloc(elems, sizeof(*values));

    fill_uniform(values, elems, stream, scale);
    return values;
}

static float *nan_floats(size_t elems)
{
    float *values = test_alloc(elems, sizeof(*values));

    for (size_t n = 0; n < elems; ++n) {
        values[n] = NAN;
    }
    return values;
}

static bool has_feedback(const job_t *job)
{
    return job->setup.form != PSGD_FORM_NO_FEEDBACK;
}

static bool is_lazy(const job_t *job)
{
    return job->setup.form == PSGD_FORM_LAZY;
}

/* e = M' - P^' Q_w'^T, by the chain that the library promises. */
static void chain_of(const job_t *job, size_t i, const float *m, const float *p_hat, const float *q_local, float *error)
{
    const psgd_plan_matrix_t *matrix = &job->matrices[i];

    reference_error_chain(m, p_hat + matrix->p_offset_elems, q_local + matrix->q_offset_elems, matrix->rows, matrix->cols,
                          matrix->r, error);
}

/* A gradient, and M = g + e, in a rounding of its own. */
static void draw_gradient(job_t *job, size_t i, uint64_t seed)
{
    size_t elems = elems_of(job, i);

    fill_uniform(job->grad[i], elems, 1000 * seed + 100 + i, 1.0f);
    for (size_t n = 0; n < elems; ++n) {
        job->m[i][n] = has_feedback(job) ? job->grad[i][n] + job->error[i][n] : job->grad[i][n];
    }
}

/* What the engine finds: M' in the lazy form, the e it stands for else. */
static void make_matrix(job_t *job, size_t i, const float *p_before, const float *q_before)
{
    uint64_t seed  = job->setup.seed;
    size_t   elems = elems_of(job, i);
    float   *m_before = random_floats(elems, 1000 * seed + 200 + i, 0.5f);

    job->grad[i]   = test_alloc(elems, sizeof(float));
    job->error[i]  = test_alloc(elems, sizeof(float));
    job->m[i]      = test_alloc(elems, sizeof(float));
    job->stored[i] = test_alloc(elems, sizeof(float));
    if (has_feedback(job)) {
        chain_of(job, i, m_before, p_before, q_before, job->error[i]);
    }
    memcpy(job->stored[i], is_lazy(job) ? m_before : job->error[i], elems * sizeof(float));
    draw_gradient(job, i, seed);
    free(m_before);
}

static void draw_factors(job_t *job, uint64_t seed)
{
    fill_uniform(job->q_hat, job->plan.q_elems, 1000 * seed + 1, 0.1f);
    fill_uniform(job->p_hat, job->plan.p_elems, 1000 * seed + 2, 0.1f);
    fill_uniform(job->q_mean, job->plan.q_elems, 1000 * seed + 3, 10.0f);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix = &job->matrices[i];

        assert_ok(psgd_update_scale_q(job->q_mean + matrix->q_offset_elems, job->q_scaled + matrix->q_offset_elems,
                                      matrix->r * matrix->cols, &job->scales[i]));
    }
}

/* ---- where the matrices lie ---- */

static size_t grad_arena_of(const job_t *job, size_t i)
{
    return i % job->num_grad_arenas;
}

static size_t error_arena_of(const job_t *job, size_t i)
{
    return i * job->num_error_arenas / job->plan.num_matrices;
}

static void place(job_t *job, size_t arena_index, arena_t *arenas, size_t (*arena_of)(const job_t *, size_t),
                  float *const *values, psgd_view_t *views, size_t seed)
{
    const float *some[JOB_MAX_MATRICES] = {NULL};
    size_t       elems[JOB_MAX_MATRICES] = {0}, which[JOB_MAX_MATRICES];
    size_t       count = 0;

    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        if (arena_of(job, i) == arena_index) {
            some[count]  = values[i];
            elems[count] = elems_of(job, i);
            which[count] = i;
            count += 1;
        }
    }
    arenas[arena_index] = arena_create(job->device, some, elems, count, seed + arena_index);
    for (size_t n = 0; n < count; ++n) {
        views[which[n]] = arena_view(&arenas[arena_index], n);
    }
}

/* seed: of the offsets. */
static void place_all(job_t *job, size_t seed)
{
    for (size_t a = 0; a < job->num_grad_arenas; ++a) {
        place(job, a, job->grad_arenas, grad_arena_of, job->grad, job->grad_views, seed);
    }
    for (size_t a = 0; a < job->num_error_arenas; ++a) {
        place(job, a, job->error_arenas, error_arena_of, job->stored, job->error_views, seed + 1);
    }
}

/* The how-manieth of its arena. */
static size_t member_of(const job_t *job, size_t i, size_t (*arena_of)(const job_t *, size_t))
{
    size_t member = 0;

    for (size_t other = 0; other < i; ++other) {
        member += arena_of(job, other) == arena_of(job, i);
    }
    return member;
}

void job_read_memory(job_t *job)
{
    for (size_t a = 0; a < job->num_grad_arenas; ++a) {
        arena_read(&job->grad_arenas[a]);
    }
    for (size_t a = 0; a < job->num_error_arenas; ++a) {
        arena_read(&job->error_arenas[a]);
    }
}

const float *job_grad_memory(const job_t *job, size_t i)
{
    return arena_member(&job->grad_arenas[grad_arena_of(job, i)], member_of(job, i, grad_arena_of));
}

const float *job_error_memory(const job_t *job, size_t i)
{
    return arena_member(&job->error_arenas[error_arena_of(job, i)], member_of(job, i, error_arena_of));
}

static void make_regions(job_t *job)
{
    psgd_device_t *device = job->device;

    job->q_hat_region   = region_create(device, job->plan.q_elems, 4, job->q_hat);
    job->p_region       = region_create(device, job->plan.p_elems, 12, job->p_before);
    job->q_local_region = region_create(device, job->plan.q_elems, 0, job->q_before);
    /* Until there are new ones the last step's P^, which the lazy form alone may look at; and nothing. */
    job->p_hat_region    = region_create(device, job->plan.p_elems, 60, is_lazy(job) ? job->p_hat : NULL);
    job->q_scaled_region = region_create(device, job->plan.q_elems, 8, NULL);
    job->scales_region   = region_create(device, 4 * job->plan.num_matrices, 20, NULL);
    job->views           = (psgd_step_views_t){.grads         = job->grad_views,
                                               .errors        = has_feedback(job) ? job->error_views : NULL,
                                               .q_hat         = job->q_hat_region.view,
                                               .p             = job->p_region.view,
                                               .p_hat         = job->p_hat_region.view,
                                               .q_local       = job->q_local_region.view,
                                               .q_scaled      = job->q_scaled_region.view,
                                               .update_scales = job->scales_region.view};
}

job_t *job_create(psgd_device_t *device, const job_setup_t *setup)
{
    job_t   *job  = test_alloc(1, sizeof(*job));
    uint64_t seed = setup->seed;
    float   *q_first;

    job->device           = device;
    job->setup            = *setup;
    job->plan             = job_plan(setup->shapes, setup->num_shapes, job->matrices);
    job->num_grad_arenas  = setup->grad_mems > 0 ? setup->grad_mems : setup->num_shapes;
    job->num_error_arenas = setup->error_mems > 0 ? setup->error_mems : 1;
    ck_assert_uint_le(job->num_grad_arenas, setup->num_shapes);
    ck_assert_uint_le(job->num_error_arenas, setup->num_shapes);
    for (size_t i = 0; i < setup->num_shapes; i += setup->every_second ? 2 : 1) {
        job->selected[job->num_selected++] = i;
    }

    job->p_hat = random_floats(job->plan.p_elems, 1000 * seed + 4, 0.1f); /* the step before's, until the next are drawn */
    q_first    = random_floats(job->plan.q_elems, 1000 * seed + 5, 1.0f);
    for (size_t i = 0; i < setup->num_shapes; ++i) {
        make_matrix(job, i, job->p_hat, q_first);
    }
    job->p_before = nan_floats(job->plan.p_elems); /* what passes write holds NaN before, and that must not come through */
    job->q_before = is_lazy(job) ? q_first : nan_floats(job->plan.q_elems);
    if (!is_lazy(job)) {
        free(q_first);
    }
    job->q_hat    = test_alloc(job->plan.q_elems, sizeof(float));
    job->q_mean   = test_alloc(job->plan.q_elems, sizeof(float));
    job->q_scaled = test_alloc(job->plan.q_elems, sizeof(float));
    job->p        = test_alloc(job->plan.p_elems, sizeof(float));
    job->q_local  = test_alloc(job->plan.q_elems, sizeof(float));
    place_all(job, 0);
    make_regions(job);
    draw_factors(job, seed);
    region_write(&job->q_hat_region, job->q_hat);
    return job;
}

void job_destroy(job_t *job)
{
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        arena_destroy(&job->grad_arenas[i]);
        arena_destroy(&job->error_arenas[i]);
        free(job->stored[i]);
        free(job->m[i]);
        free(job->error[i]);
        free(job->grad[i]);
    }
    region_destroy(&job->q_hat_region);
    region_destroy(&job->p_region);
    region_destroy(&job->p_hat_region);
    region_destroy(&job->q_local_region);
    region_destroy(&job->q_scaled_region);
    region_destroy(&job->scales_region);
    free(job->q_local);
    free(job->p);
    free(job->q_before);
    free(job->p_before);
    free(job->q_scaled);
    free(job->q_mean);
    free(job->p_hat);
    free(job->q_hat);
    free(job);
}

psgd_engine_state_t *job_engine(const job_t *job, const psgd_engine_ops_t *ops)
{
    psgd_engine_state_t *engine = NULL;

    assert_ok(ops->create(job->device, &job->plan, job->selected, job->num_selected, job->setup.form, &engine));
    return engine;
}

void job_give_factors(job_t *job)
{
    float *scales = test_alloc(job->plan.num_matrices, 4 * sizeof(*scales));

    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        memcpy(scales + 4 * i, &job->scales[i], sizeof(job->scales[i]));
    }
    region_write(&job->p_hat_region, job->p_hat);
    region_write(&job->q_scaled_region, job->q_scaled);
    region_write(&job->scales_region, scales);
    free(scales);
}

/* ------------------------------------------------------------------------------------------------------------------
 * Checks
 * ---------------------------------------------------------------------------------------------------------------- */

static bool is_selected(const job_t *job, size_t i)
{
    return !job->setup.every_second || (i % 2 == 0);
}

static void check_same(const char *what, const psgd_plan_matrix_t *matrix, const float *found, const float *expected,
                       size_t elems)
{
    size_t different = count_different(found, expected, elems);

    ck_assert_msg(different == 0, "%s of %zu x %zu, r %u: %zu of %zu elements differ", what, (size_t)matrix->rows,
                  (size_t)matrix->cols, matrix->r, different, elems);
}

/* Every entry within the rounding of a sum of `terms` products. */
static void check_product(const char *what, const psgd_plan_matrix_t *matrix, const float *found, const double *exact,
                          const double *magnitude, size_t elems, size_t terms)
{
    size_t wrong = 0, first = 0;

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

static void check_p_of(const job_t *job, size_t i)
{
    const psgd_plan_matrix_t *matrix    = &job->matrices[i];
    size_t                    elems     = matrix->r * (size_t)matrix->rows;
    double                   *exact     = test_alloc(elems, sizeof(*exact));
    double                   *magnitude = test_alloc(elems, sizeof(*magnitude));

    reference_multiply_p(job->m[i], job->q_hat + matrix->q_offset_elems, matrix->rows, matrix->cols, matrix->r, exact,
                         magnitude);
    check_product("P", matrix, job->p + matrix->p_offset_elems, exact, magnitude, elems, matrix->cols);
    free(magnitude);
    free(exact);
}

static void check_q_of(const job_t *job, size_t i)
{
    const psgd_plan_matrix_t *matrix    = &job->matrices[i];
    size_t                    elems     = matrix->r * (size_t)matrix->cols;
    double                   *exact     = test_alloc(elems, sizeof(*exact));
    double                   *magnitude = test_alloc(elems, sizeof(*magnitude));

    reference_multiply_q(job->m[i], job->p_hat + matrix->p_offset_elems, matrix->rows, matrix->cols, matrix->r, exact,
                         magnitude);
    check_product("Q", matrix, job->q_local + matrix->q_offset_elems, exact, magnitude, elems, matrix->rows);
    free(magnitude);
    free(exact);
}

/* A and B leave M in the gradient's buffer, or (lazy) in the error memory, and the other as it was. */
static void check_m(const job_t *job, size_t i, const char *pass)
{
    const float *grad  = is_selected(job, i) && !is_lazy(job) ? job->m[i] : job->grad[i];
    const float *error = is_selected(job, i) && is_lazy(job) ? job->m[i] : job->stored[i];
    char         what[64];

    snprintf(what, sizeof(what), "the gradient buffer after %s", pass);
    check_same(what, &job->matrices[i], job_grad_memory(job, i), grad, elems_of(job, i));
    snprintf(what, sizeof(what), "the error memory after %s", pass);
    check_same(what, &job->matrices[i], job_error_memory(job, i), error, elems_of(job, i));
}

void job_check_p(job_t *job)
{
    region_read(&job->p_region, job->p);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix = &job->matrices[i];

        if (is_selected(job, i)) {
            check_p_of(job, i);
        } else {
            check_same("P that is not the engine's", matrix, job->p + matrix->p_offset_elems,
                       job->p_before + matrix->p_offset_elems, matrix->r * (size_t)matrix->rows);
        }
    }
}

void job_check_compute_p(job_t *job)
{
    job_read_memory(job);
    job_check_p(job);
    region_read(&job->q_local_region, job->q_local);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix = &job->matrices[i];

        check_m(job, i, "A");
        check_same("Q_w after A", matrix, job->q_local + matrix->q_offset_elems, job->q_before + matrix->q_offset_elems,
                   matrix->r * (size_t)matrix->cols);
    }
}

void job_check_compute_q(job_t *job)
{
    float *p_hat = test_alloc(job->plan.p_elems, sizeof(*p_hat));

    job_read_memory(job);
    region_read(&job->q_local_region, job->q_local);
    region_read(&job->p_hat_region, p_hat);
    ck_assert_uint_eq(count_different(p_hat, job->p_hat, job->plan.p_elems), 0);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        const psgd_plan_matrix_t *matrix = &job->matrices[i];

        check_m(job, i, "B");
        if (is_selected(job, i)) {
            check_q_of(job, i);
        } else {
            check_same("Q_w that is not the engine's", matrix, job->q_local + matrix->q_offset_elems,
                       job->q_before + matrix->q_offset_elems, matrix->r * (size_t)matrix->cols);
        }
    }
    free(p_hat);
}

static void check_factors_are_as_they_were(const job_t *job)
{
    float *p       = test_alloc(job->plan.p_elems, sizeof(*p));
    float *q       = test_alloc(job->plan.q_elems, sizeof(*q));
    size_t p_elems = job->plan.p_elems, q_elems = job->plan.q_elems;

    region_read(&job->p_region, p);
    ck_assert_uint_eq(count_different(p, job->p, p_elems), 0);
    region_read(&job->p_hat_region, p);
    ck_assert_uint_eq(count_different(p, job->p_hat, p_elems), 0);
    region_read(&job->q_hat_region, q);
    ck_assert_uint_eq(count_different(q, job->q_hat, q_elems), 0);
    region_read(&job->q_local_region, q);
    ck_assert_uint_eq(count_different(q, job->q_local, q_elems), 0);
    region_read(&job->q_scaled_region, q);
    ck_assert_uint_eq(count_different(q, job->q_scaled, q_elems), 0);
    free(q);
    free(p);
}

/* The update bit for bit, and in the transactional form the error for the Q_w that pass B made. */
static void check_update(const job_t *job, size_t i)
{
    const psgd_plan_matrix_t *matrix   = &job->matrices[i];
    float                    *expected = test_alloc(elems_of(job, i), sizeof(*expected));

    reference_update(job->p_hat + matrix->p_offset_elems, job->q_mean + matrix->q_offset_elems, matrix->rows, matrix->cols,
                     matrix->r, expected);
    check_same("the update", matrix, job_grad_memory(job, i), expected, elems_of(job, i));
    switch (job->setup.form) {
    case PSGD_FORM_NO_FEEDBACK: memcpy(expected, job->stored[i], elems_of(job, i) * sizeof(float)); break;
    case PSGD_FORM_TRANSACTIONAL: chain_of(job, i, job->m[i], job->p_hat, job->q_local, expected); break;
    case PSGD_FORM_LAZY: memcpy(expected, job->m[i], elems_of(job, i) * sizeof(float)); break;
    case PSGD_FORM_HALF: ck_abort_msg("test_copies has the form with an error memory in 16 bits"); break;
    }
    check_same("the error memory after C", matrix, job_error_memory(job, i), expected, elems_of(job, i));
    free(expected);
}

void job_check_decompress(job_t *job)
{
    job_read_memory(job);
    check_factors_are_as_they_were(job);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        if (is_selected(job, i)) {
            check_update(job, i);
        } else {
            check_m(job, i, "C");
        }
    }
}

/* ------------------------------------------------------------------------------------------------------------------
 * Steps
 * ---------------------------------------------------------------------------------------------------------------- */

void job_run(job_t *job, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine)
{
    assert_ok(ops->enqueue_compute_p(engine, &job->views));
    job_check_compute_p(job);
    job_give_factors(job);
    assert_ok(ops->enqueue_compute_q(engine, &job->views));
    job_check_compute_q(job);
    assert_ok(ops->enqueue_decompress(engine, &job->views));
    job_check_decompress(job);
}

static void move(job_t *job, uint64_t seed)
{
    arena_t grads[JOB_MAX_MATRICES], errors[JOB_MAX_MATRICES];
    size_t  num_matrices = job->plan.num_matrices;

    memcpy(grads, job->grad_arenas, sizeof(grads));
    memcpy(errors, job->error_arenas, sizeof(errors));
    memset(job->grad_arenas, 0, sizeof(job->grad_arenas));
    memset(job->error_arenas, 0, sizeof(job->error_arenas));
    job->num_grad_arenas  = job->num_grad_arenas > 1 ? job->num_grad_arenas - 1 : num_matrices;
    job->num_error_arenas = job->num_error_arenas > 1 ? job->num_error_arenas - 1 : (num_matrices + 1) / 2;
    place_all(job, (size_t)seed);
    for (size_t i = 0; i < num_matrices; ++i) { /* not before: the new ones have other addresses */
        arena_destroy(&grads[i]);
        arena_destroy(&errors[i]);
    }
}

/* What the error memory holds now, and the error it stands for. */
static void take_over_error(job_t *job, size_t i)
{
    chain_of(job, i, job->m[i], job->p_hat, job->q_local, job->error[i]);
    memcpy(job->stored[i], is_lazy(job) ? job->m[i] : job->error[i], elems_of(job, i) * sizeof(float));
}

void job_next(job_t *job, uint64_t seed, bool is_moved)
{
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        if (has_feedback(job) && is_selected(job, i)) {
            take_over_error(job, i);
        }
        draw_gradient(job, i, seed);
    }
    memcpy(job->p_before, job->p, job->plan.p_elems * sizeof(float));
    memcpy(job->q_before, job->q_local, job->plan.q_elems * sizeof(float));
    draw_factors(job, seed);
    region_write(&job->q_hat_region, job->q_hat);
    if (is_moved) {
        move(job, seed);
        return;
    }
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        arena_write(&job->grad_arenas[grad_arena_of(job, i)], member_of(job, i, grad_arena_of), job->grad[i]);
    }
}

void job_settle(job_t *job, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine)
{
    assert_ok(ops->enqueue_settle(engine, &job->views));
    job_read_memory(job);
    check_factors_are_as_they_were(job);
    for (size_t i = 0; i < job->plan.num_matrices; ++i) {
        if (is_selected(job, i)) {
            float *error = test_alloc(elems_of(job, i), sizeof(*error));

            chain_of(job, i, job->m[i], job->p_hat, job->q_local, error);
            check_same("the settled error", &job->matrices[i], job_error_memory(job, i), error, elems_of(job, i));
            memcpy(job->m[i], error, elems_of(job, i) * sizeof(*error));
            free(error);
        } else {
            check_same("an error memory that is not the engine's", &job->matrices[i], job_error_memory(job, i),
                       job->stored[i], elems_of(job, i));
        }
    }
    memset(job->q_local, 0, job->plan.q_elems * sizeof(float));
    region_write(&job->q_local_region, job->q_local);
}

void job_check_step(psgd_device_t *device, const psgd_engine_ops_t *ops, const job_setup_t *setup)
{
    job_t               *job    = job_create(device, setup);
    psgd_engine_state_t *engine = job_engine(job, ops);

    job_run(job, ops, engine);
    ops->destroy(engine);
    job_destroy(job);
}

/* ------------------------------------------------------------------------------------------------------------------
 * One matrix alone; two jobs
 * ---------------------------------------------------------------------------------------------------------------- */

/* Matrix i has been done, those behind it have not. */
static void check_done_up_to(job_t *job, size_t i)
{
    job_read_memory(job);
    region_read(&job->p_region, job->p);
    region_read(&job->q_local_region, job->q_local);
    check_p_of(job, i);
    check_q_of(job, i);
    for (size_t other = 0; other < job->plan.num_matrices; ++other) {
        const psgd_plan_matrix_t *matrix = &job->matrices[other];

        check_same("M", matrix, job_grad_memory(job, other), other <= i ? job->m[other] : job->grad[other],
                   elems_of(job, other));
        check_same("the error memory", matrix, job_error_memory(job, other), job->stored[other], elems_of(job, other));
        if (other > i) {
            check_same("P of another", matrix, job->p + matrix->p_offset_elems, job->p_before + matrix->p_offset_elems,
                       matrix->r * (size_t)matrix->rows);
            check_same("Q_w of another", matrix, job->q_local + matrix->q_offset_elems,
                       job->q_before + matrix->q_offset_elems, matrix->r * (size_t)matrix->cols);
        }
    }
}

void job_check_one(psgd_device_t *device, const psgd_engine_ops_t *ops, const shape_t *shapes, size_t num_shapes)
{
    const job_setup_t setup = {
        .shapes = shapes, .num_shapes = num_shapes, .form = PSGD_FORM_TRANSACTIONAL, .seed = 7, .grad_mems = 3};
    job_t               *job    = job_create(device, &setup);
    psgd_engine_state_t *engine = job_engine(job, ops);

    job_give_factors(job);
    for (size_t i = 0; i < num_shapes; ++i) {
        assert_ok(ops->enqueue_one(engine, i, &job->views));
        check_done_up_to(job, i);
    }
    ops->destroy(engine);
    job_destroy(job);
}

void job_check_same_m(const job_t *a, const job_t *b)
{
    for (size_t i = 0; i < a->plan.num_matrices; ++i) {
        check_same("M of the other form", &a->matrices[i], b->m[i], a->m[i], elems_of(a, i));
    }
}
