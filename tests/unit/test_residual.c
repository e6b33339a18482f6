/* What a piece P Q^T leaves of M, bit for bit: over M, and into the error memory. (In 16 bits: test_copies.c.) */
#include <stdlib.h>
#include <string.h>

#include "op_fixture.h"
#include "ops/residual.h"
#include "reference/matrix_reference.h"
#include "support/suite.h"

typedef struct shape {
    size_t rows, cols, r;
} shape_t;

/* Bands of four rows and single ones, vectors that are whole, that overlap and that are not full; one that is cut into many tiles. */
static const shape_t SHAPES[] = {{1, 1, 1},  {4, 16, 2},     {7, 3, 3},     {13, 31, 5},
                                 {9, 70, 1}, {130, 2050, 4}, {2051, 33, 2}, {70, 66, 64}};
static const shape_t ALIKE[]  = {{5, 48, 3}, {6, 35, 3}, {3, 4, 3}};

enum {
    NUM_SHAPES   = sizeof(SHAPES) / sizeof(SHAPES[0]),
    NUM_ALIKE    = sizeof(ALIKE) / sizeof(ALIKE[0]),
    MAX_MATRICES = NUM_SHAPES
};

/* The variants, as numbers of loop tests. */
enum { VECTORS, ITEMS };

/* Some matrices, each in memory of its own, and their factors one behind the other. */
typedef struct matrices {
    const shape_t     *shapes;
    size_t             count, p_elems, q_elems;
    psgd_ragged_item_t items[MAX_MATRICES];
    float             *m[MAX_MATRICES], *p, *q;
    region_t           grads[MAX_MATRICES], errors[MAX_MATRICES], p_region, q_region;
} matrices_t;

static size_t elems_of(const matrices_t *matrices, size_t i)
{
    return matrices->shapes[i].rows * matrices->shapes[i].cols;
}

static float *random_values(size_t elems, uint64_t stream)
{
    float *values = test_alloc(elems, sizeof(*values));

    fill_uniform(values, elems, stream, 1.0f);
    return values;
}

static matrices_t create(const shape_t *shapes, size_t count)
{
    matrices_t all = {.shapes = shapes, .count = count};

    for (size_t i = 0; i < count; ++i) {
        all.items[i] = (psgd_ragged_item_t){.rows     = (uint32_t)shapes[i].rows,
                                            .cols     = (uint32_t)shapes[i].cols,
                                            .r        = (uint32_t)shapes[i].r,
                                            .p_offset = all.p_elems,
                                            .q_offset = all.q_elems};
        all.p_elems += shapes[i].r * shapes[i].rows;
        all.q_elems += shapes[i].r * shapes[i].cols;
        all.m[i]      = random_values(elems_of(&all, i), 10 + i);
        all.grads[i]  = region_create(op_device(), elems_of(&all, i), 4 * (i % 5), all.m[i]);
        all.errors[i] = region_create(op_device(), elems_of(&all, i), 4 * ((i + 2) % 5), NULL);
    }
    all.p        = random_values(all.p_elems, 1);
    all.q        = random_values(all.q_elems, 2);
    all.p_region = region_create(op_device(), all.p_elems, 12, all.p);
    all.q_region = region_create(op_device(), all.q_elems, 4, all.q);
    return all;
}

static void destroy(matrices_t *all)
{
    region_destroy(&all->q_region);
    region_destroy(&all->p_region);
    free(all->q);
    free(all->p);
    for (size_t i = 0; i < all->count; ++i) {
        region_destroy(&all->errors[i]);
        region_destroy(&all->grads[i]);
        free(all->m[i]);
    }
}

static void run(const matrices_t *all, psgd_residual_target_t target)
{
    const psgd_rounding_t no_rounding = {{NULL, 0}, 0};
    uint64_t              bytes       = psgd_device_bytes(op_device());
    psgd_view_t           grads[MAX_MATRICES], errors[MAX_MATRICES];
    psgd_ragged_t        *ragged   = NULL;
    psgd_residual_t      *residual = NULL;

    for (size_t i = 0; i < all->count; ++i) {
        grads[i]  = all->grads[i].view;
        errors[i] = all->errors[i].view;
    }
    assert_ok(psgd_ragged_create(op_device(), all->items, all->count, &ragged));
    assert_ok(psgd_residual_create(ragged, target, &residual));
    assert_ok(psgd_ragged_place(ragged, grads, target == PSGD_RESIDUAL_INTO_ERROR ? errors : NULL));
    assert_ok(psgd_residual_enqueue(residual, all->p_region.view, all->q_region.view, no_rounding));
    assert_ok(psgd_device_wait(op_device(), "a test of residuals"));
    psgd_residual_destroy(residual);
    psgd_ragged_destroy(ragged);
    ck_assert_uint_eq(psgd_device_bytes(op_device()), bytes);
}

static void check_same(const matrices_t *all, size_t i, const region_t *found_region, const float *expected,
                       const char *what)
{
    float *found = test_alloc(elems_of(all, i), sizeof(*found));
    size_t different;

    region_read(found_region, found);
    different = count_different(found, expected, elems_of(all, i));
    ck_assert_msg(different == 0, "%zu x %zu, r %zu: %zu of %zu elements of %s differ", all->shapes[i].rows,
                  all->shapes[i].cols, all->shapes[i].r, different, elems_of(all, i), what);
    free(found);
}

static void check(const matrices_t *all, psgd_residual_target_t target)
{
    const float *p = all->p, *q = all->q;

    for (size_t i = 0; i < all->count; ++i) {
        const shape_t *shape = &all->shapes[i];
        float         *chain = test_alloc(elems_of(all, i), sizeof(*chain));

        reference_error_chain(all->m[i], p, q, shape->rows, shape->cols, shape->r, chain);
        if (target == PSGD_RESIDUAL_OVER_M) {
            check_same(all, i, &all->grads[i], chain, "what is left over M");
        } else {
            check_same(all, i, &all->errors[i], chain, "the error memory");
            check_same(all, i, &all->grads[i], all->m[i], "M");
        }
        p += shape->r * shape->rows;
        q += shape->r * shape->cols;
        free(chain);
    }
}

static void check_all(int variant, const shape_t *shapes, size_t count)
{
    static const psgd_residual_target_t TARGETS[] = {PSGD_RESIDUAL_INTO_ERROR, PSGD_RESIDUAL_OVER_M};

    op_device_pretend(op_device(), variant == VECTORS ? 16 : 1);
    for (size_t t = 0; t < sizeof(TARGETS) / sizeof(TARGETS[0]); ++t) {
        matrices_t all = create(shapes, count);

        run(&all, TARGETS[t]);
        check(&all, TARGETS[t]);
        destroy(&all);
    }
}

START_TEST(residual__is_the_hosts_chain_for_every_shape)
{
    check_all(_i, SHAPES, NUM_SHAPES);
}
END_TEST

/* Kernels compiled for the rank. */
START_TEST(residual__is_the_hosts_chain_where_all_ranks_are_one)
{
    check_all(_i, ALIKE, NUM_ALIKE);
}
END_TEST

START_TEST(residual__destroy_of_null_does_nothing)
{
    psgd_residual_destroy(NULL);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, NULL, op_device_close);
    suite_add_tcase(suite, tests);
    return tests;
}

/* CK_RUN_CASE takes one of the cases alone. */
int main(void)
{
    Suite *suite = suite_create("residual");

    for (int variant = VECTORS; variant <= ITEMS; ++variant) {
        TCase *tests = add_case(suite, variant == VECTORS ? "vectors" : "items");

        tcase_add_loop_test(tests, residual__is_the_hosts_chain_for_every_shape, variant, variant + 1);
        tcase_add_loop_test(tests, residual__is_the_hosts_chain_where_all_ranks_are_one, variant, variant + 1);
        tcase_add_test(tests, residual__destroy_of_null_does_nothing);
    }
    return psgd_run_suite(suite);
}
