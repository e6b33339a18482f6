/* The plan: which tensors are compressed, as which matrices, and where they lie. Pure host arithmetic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "plan/plan.h"
#include "plan/slice.h"
#include "support/suite.h"

static psgd_tensor_t make_tensor(const char *name, uint32_t num_dims, const uint64_t *dims)
{
    psgd_tensor_t tensor = PSGD_TENSOR_INIT;

    tensor.name     = name;
    tensor.num_dims = num_dims;
    memcpy(tensor.dims, dims, num_dims * sizeof(dims[0]));
    return tensor;
}

#define TENSOR(name_, ...) \
    make_tensor(name_, sizeof((uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), (uint64_t[]){__VA_ARGS__})

static psgd_plan_t *make_plan(const psgd_tensor_t *tensors, size_t count, const psgd_config_t *config)
{
    psgd_plan_t *plan = NULL;

    assert_ok(psgd_plan_create(tensors, count, config, &plan));
    return plan;
}

/* The shapes of ResNet-18 on CIFAR-10, and of the word language model, as in the paper. */
static const uint64_t RESNET18[][2] = {
    {64, 27},     {64, 576},    {64, 576},    {64, 576},   {64, 576},   {128, 576},   {128, 1152},
    {128, 1152},  {128, 1152},  {128, 64},    {256, 1152}, {256, 2304}, {256, 2304},  {256, 2304},
    {256, 128},   {512, 2304},  {512, 4608},  {512, 4608}, {512, 4608}, {512, 256},   {10, 512}};
static const uint64_t LSTM[][2] = {{28869, 650}, {2600, 650}, {2600, 650}, {2600, 650},
                                   {2600, 650},  {2600, 650}, {2600, 650}};

/* Elements before, over elements sent, for a model of matrices and one vector. */
static double model_rate(const uint64_t (*shapes)[2], size_t count, uint64_t vector_elems, uint32_t rank)
{
    psgd_tensor_t tensors[32];
    char          names[32][32];
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan;
    double        rate;

    for (size_t i = 0; i < count; ++i) {
        snprintf(names[i], sizeof(names[i]), "matrix%zu", i);
        tensors[i] = make_tensor(names[i], 2, shapes[i]);
    }
    tensors[count] = TENSOR("vectors", vector_elems);
    config.rank    = rank;
    plan           = make_plan(tensors, count + 1, &config);
    rate           = (double)plan->total_elems / (double)plan->compressed_elems;
    psgd_plan_destroy(plan);
    return rate;
}

START_TEST(plan__compression_rates_are_those_of_the_paper)
{
    size_t lstm_count   = sizeof(LSTM) / sizeof(LSTM[0]);
    size_t resnet_count = sizeof(RESNET18) / sizeof(RESNET18[0]);

    ck_assert_int_eq(lround(model_rate(RESNET18, resnet_count, 9610, 1)), 243);
    ck_assert_int_eq(lround(model_rate(RESNET18, resnet_count, 9610, 2)), 136);
    ck_assert_int_eq(lround(model_rate(RESNET18, resnet_count, 9610, 4)), 72);
    ck_assert_int_eq(lround(model_rate(LSTM, lstm_count, 28869 + 6 * 2600, 4)), 120);
}
END_TEST

START_TEST(plan__views_a_tensor_as_its_first_dimension_by_the_rest)
{
    psgd_tensor_t tensors[] = {TENSOR("conv", 64, 32, 3, 3)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = make_plan(tensors, 1, &config);

    ck_assert_uint_eq(plan->num_matrices, 1);
    ck_assert_uint_eq(plan->matrices[0].rows, 64);
    ck_assert_uint_eq(plan->matrices[0].cols, 288);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__leaves_vectors_uncompressed)
{
    psgd_tensor_t tensors[] = {TENSOR("bias", 100000)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan;

    config.min_compression_rate = 0.0;
    plan                        = make_plan(tensors, 1, &config);
    ck_assert_uint_eq(plan->num_matrices, 0);
    ck_assert_int_eq(plan->tensors[0].route, PSGD_ROUTE_LARGE);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__compresses_only_where_the_rate_is_above_the_minimum)
{
    /* 16 x 16 at r = 4: 32 * 4 * 2 = 256 = 16 * 16, so not below; at r = 3 it is. */
    ck_assert(!psgd_plan_compresses(16, 16, 4, 2.0));
    ck_assert(psgd_plan_compresses(16, 16, 3, 2.0));
    ck_assert(psgd_plan_compresses(2, 2, 2, 0.0));
    ck_assert(!psgd_plan_compresses(1, 1000000, 1, 1.0));
}
END_TEST

START_TEST(plan__rank_is_at_most_the_shorter_side)
{
    psgd_tensor_t tensors[] = {TENSOR("flat", 3, 4000), TENSOR("tall", 4000, 2), TENSOR("own", 100, 100)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan;

    config.rank                 = 8;
    config.min_compression_rate = 0.0;
    tensors[2].rank             = 5;
    plan                        = make_plan(tensors, 3, &config);
    ck_assert_uint_eq(plan->matrices[0].r, 3);
    ck_assert_uint_eq(plan->matrices[1].r, 2);
    ck_assert_uint_eq(plan->matrices[2].r, 5);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__never_compress_is_obeyed)
{
    psgd_tensor_t tensors[] = {TENSOR("embedding", 1000, 1000), TENSOR("other", 1000, 1000)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan;

    tensors[0].rank = PSGD_NEVER_COMPRESS;
    plan            = make_plan(tensors, 2, &config);
    ck_assert_uint_eq(plan->num_matrices, 1);
    ck_assert_uint_eq(plan->matrices[0].tensor_index, 1);
    ck_assert_int_eq(plan->tensors[0].route, PSGD_ROUTE_LARGE);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__small_and_large_tensors_part_at_256_KiB)
{
    psgd_tensor_t tensors[] = {TENSOR("small", 65536), TENSOR("large", 65537), TENSOR("tiny", 3)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = make_plan(tensors, 3, &config);

    ck_assert_int_eq(plan->tensors[0].route, PSGD_ROUTE_SMALL);
    ck_assert_int_eq(plan->tensors[1].route, PSGD_ROUTE_LARGE);
    ck_assert_int_eq(plan->tensors[2].route, PSGD_ROUTE_SMALL);
    ck_assert_uint_eq(plan->tensors[2].offset_elems, 65536);
    ck_assert_uint_eq(plan->small_elems, 65539);
    ck_assert_uint_eq(plan->large_elems, 65537);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__regions_follow_each_other_without_gap_or_overlap)
{
    psgd_tensor_t tensors[] = {TENSOR("a", 100, 90), TENSOR("b", 17), TENSOR("c", 64, 8, 8), TENSOR("d", 200, 31)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = make_plan(tensors, 4, &config);
    uint64_t      p_end     = 0;
    uint64_t      q_end     = 0;

    ck_assert_uint_eq(plan->num_matrices, 3);
    for (size_t m = 0; m < plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &plan->matrices[m];

        ck_assert_uint_eq(matrix->p_offset_elems, p_end);
        ck_assert_uint_eq(matrix->q_offset_elems, q_end);
        p_end += matrix->rows * matrix->r;
        q_end += matrix->cols * matrix->r;
        ck_assert_uint_eq(plan->tensors[matrix->tensor_index].matrix_index, m);
    }
    ck_assert_uint_eq(plan->p_elems, p_end);
    ck_assert_uint_eq(plan->q_elems, q_end);
    ck_assert_uint_eq(plan->total_elems, 9000 + 17 + 4096 + 6200);
    ck_assert_uint_eq(plan->matrix_elems, 9000 + 4096 + 6200);
    ck_assert_uint_eq(plan->compressed_elems, p_end + q_end + 17);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__tensors_may_have_up_to_2_to_the_40_elements_less_one)
{
    psgd_tensor_t tensors[] = {TENSOR("largest", 3, UINT64_C(366503875925))}; /* 3 x it = 2^40 - 1 */
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = NULL;

    tensors[0].rank = PSGD_NEVER_COMPRESS;
    assert_ok(psgd_plan_create(tensors, 1, &config, &plan));
    ck_assert_uint_eq(plan->total_elems, (UINT64_C(1) << 40) - 1);
    psgd_plan_destroy(plan);
    tensors[0].dims[1] += 1;
    assert_fails(psgd_plan_create(tensors, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "2^40");
}
END_TEST

START_TEST(plan__elements_have_as_many_bytes_as_their_type)
{
    ck_assert_uint_eq(psgd_dtype_bytes(PSGD_F32), 4);
    ck_assert_uint_eq(psgd_dtype_bytes(PSGD_F16), 2);
    ck_assert_uint_eq(psgd_dtype_bytes(PSGD_BF16), 2);
}
END_TEST

/* A tensor of 4 x 30 elements, with this view. */
static psgd_status_t plan_view(psgd_matrix_view_t view, psgd_plan_t **plan_p)
{
    psgd_tensor_t tensor = TENSOR("w", 4, 30);
    psgd_config_t config = PSGD_CONFIG_INIT;

    config.min_compression_rate = 0.0;
    tensor.view                 = view;
    return psgd_plan_create(&tensor, 1, &config, plan_p);
}

START_TEST(plan__a_batch_is_as_many_matrices)
{
    psgd_plan_t *plan = NULL;

    assert_ok(plan_view((psgd_matrix_view_t){3, 5, 8, 40, 8, 1}, &plan));
    ck_assert_uint_eq(plan->num_matrices, 3);
    ck_assert(!plan->tensors[0].is_reshaped && !plan->tensors[0].is_copied);
    for (size_t b = 0; b < 3; ++b) {
        ck_assert_uint_eq(plan->matrices[b].rows, 5);
        ck_assert_uint_eq(plan->matrices[b].cols, 8);
        ck_assert_uint_eq(plan->matrices[b].grad_offset_elems, 40 * b);
        ck_assert_uint_eq(plan->matrices[b].q_offset_elems, 8 * 4 * b);
    }
    ck_assert_uint_ne(plan->matrices[0].name_hash, plan->matrices[1].name_hash);
    ck_assert_uint_ne(plan->matrices[1].name_hash, plan->matrices[2].name_hash);
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(plan__what_does_not_lie_as_its_matrices_is_copied)
{
    const psgd_matrix_view_t contiguous[] = {
        {1, 4, 30, 0, 30, 1}, {1, 12, 10, 7, 10, 1}, {4, 1, 30, 30, 0, 1}, {4, 30, 1, 30, 1, 0}};
    const psgd_matrix_view_t elsewhere[] = {{1, 30, 4, 0, 1, 30}, {3, 4, 10, 10, 30, 1}, {4, 5, 6, 30, 1, 5}};
    psgd_plan_t             *plan        = NULL;

    for (size_t i = 0; i < sizeof(contiguous) / sizeof(contiguous[0]); ++i) {
        assert_ok(plan_view(contiguous[i], &plan));
        ck_assert_msg(!psgd_plan_has_copied(plan), "view %zu is copied", i);
        psgd_plan_destroy(plan);
    }
    for (size_t i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); ++i) {
        assert_ok(plan_view(elsewhere[i], &plan));
        ck_assert_msg(psgd_plan_has_copied(plan) && psgd_plan_has_reshaped(plan), "view %zu is not copied", i);
        psgd_plan_destroy(plan);
    }
}
END_TEST

START_TEST(plan__refuses_views_that_do_not_cover_each_element_once)
{
    psgd_plan_t *plan = NULL;

    assert_fails(plan_view((psgd_matrix_view_t){0, 4, 30, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT, "tensor 0 'w'");
    assert_fails(plan_view((psgd_matrix_view_t){0, 0, 0, 0, 0, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT, "none may be 0");
    assert_fails(plan_view((psgd_matrix_view_t){1, 0, 30, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "none may be 0");
    assert_fails(plan_view((psgd_matrix_view_t){1, 4, 0, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT, "none may be 0");
    assert_fails(plan_view((psgd_matrix_view_t){1 << 20, 4, 30, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "below 2^20");
    assert_fails(plan_view((psgd_matrix_view_t){1, 4, 29, 0, 29, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "has 120 elements");
    assert_fails(plan_view((psgd_matrix_view_t){1, UINT64_C(1) << 63, 2, 0, 2, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "has 120 elements");
    assert_fails(plan_view((psgd_matrix_view_t){2, 4, 30, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "has 120 elements");
    assert_fails(plan_view((psgd_matrix_view_t){1, 4, 30, 0, 31, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "each element once");
    assert_fails(plan_view((psgd_matrix_view_t){1, 4, 30, 0, 1, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "each element once");
    assert_fails(plan_view((psgd_matrix_view_t){3, 4, 10, 0, 30, 1}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "strides 0 (batch of 3)");
    assert_fails(plan_view((psgd_matrix_view_t){1, 4, 30, 0, 60, 2}, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "each element once");
    ck_assert_ptr_null(plan);
}
END_TEST

START_TEST(plan__a_flattened_gradient_is_the_smallest_square)
{
    const uint64_t elems[] = {1, 2, 4, 5, 99, 100, 101, (UINT64_C(1) << 31) - 1};
    const uint64_t sides[] = {1, 2, 2, 3, 10, 10, 11, 46341};
    psgd_config_t  config  = PSGD_CONFIG_INIT;

    config.flatten              = 1;
    config.min_compression_rate = 0.0;
    for (size_t i = 0; i < sizeof(elems) / sizeof(elems[0]); ++i) {
        psgd_tensor_t tensor = TENSOR("w", elems[i]);
        psgd_plan_t  *plan   = NULL;

        assert_ok(psgd_plan_create(&tensor, 1, &config, &plan));
        ck_assert_uint_eq(plan->num_given, 1);
        ck_assert_uint_eq(plan->num_tensors, 2);
        ck_assert_uint_eq(plan->num_matrices, 1);
        ck_assert_uint_eq(plan->matrices[0].rows, sides[i]);
        ck_assert_uint_eq(plan->matrices[0].cols, sides[i]);
        ck_assert_uint_eq(plan->total_elems, elems[i]);
        psgd_plan_destroy(plan);
    }
}
END_TEST

START_TEST(plan__a_flattened_gradient_that_is_not_worth_it_travels_as_it_is)
{
    psgd_tensor_t tensors[] = {TENSOR("w", 4, 4), TENSOR("b", 4)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = NULL;

    config.flatten = 1;
    assert_ok(psgd_plan_create(tensors, 2, &config, &plan));
    ck_assert_uint_eq(plan->num_matrices, 0);
    ck_assert_uint_eq(plan->small_elems, 20);
    psgd_plan_destroy(plan);
    tensors[0].rank = 3;
    assert_fails(psgd_plan_create(tensors, 2, &config, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "tensor 0 'w' has rank 3; with config.flatten");
}
END_TEST

/* Ranks raised one by one, as the header says it, without a heap. */
static void spread_plainly(const psgd_tensor_t *tensors, size_t num_tensors, uint64_t bytes,
                           const psgd_config_t *config, uint32_t *r)
{
    bool is_full[16] = {false};

    for (;;) {
        size_t   best  = SIZE_MAX;
        double   gains = 0.0;
        uint64_t spent = 0;

        for (size_t i = 0; i < num_tensors; ++i) {
            double rows = (double)tensors[i].dims[0], cols = (double)tensors[i].dims[1];
            double gain = rows * cols / (rows + cols) / (r[i] + 1.0) / (r[i] + 2.0);

            spent += 4 * r[i] * (tensors[i].dims[0] + tensors[i].dims[1]);
            if (!is_full[i] && (gain > gains)) {
                best  = i;
                gains = gain;
            }
        }
        if (best == SIZE_MAX) {
            return;
        }
        if ((r[best] == config->rank) ||
            !psgd_plan_compresses(tensors[best].dims[0], tensors[best].dims[1], r[best] + 1,
                                  config->min_compression_rate) ||
            (spent + 4 * (tensors[best].dims[0] + tensors[best].dims[1]) > bytes)) {
            is_full[best] = true;
        } else {
            r[best] += 1;
        }
    }
}

START_TEST(plan__a_budget_goes_where_a_column_captures_most_for_its_bytes)
{
    const psgd_tensor_t tensors[] = {TENSOR("a", 300, 400),   TENSOR("b", 100, 20),  TENSOR("c", 300, 400),
                                     TENSOR("d", 1000, 1000), TENSOR("e", 2000, 50), TENSOR("f", 64, 576),
                                     TENSOR("g", 30, 30)};
    enum { COUNT = sizeof(tensors) / sizeof(tensors[0]) };
    psgd_config_t config = PSGD_CONFIG_INIT;

    config.rank = 32;
    for (uint64_t bytes = 25080; bytes < 1500000; bytes = bytes * 5 / 4) {
        uint32_t     r[COUNT] = {1, 1, 1, 1, 1, 1, 1};
        psgd_plan_t *plan     = NULL;

        config.byte_budget = bytes;
        spread_plainly(tensors, COUNT, bytes, &config, r);
        assert_ok(psgd_plan_create(tensors, COUNT, &config, &plan));
        ck_assert_uint_le(4 * plan->compressed_elems, bytes);
        for (size_t i = 0; i < COUNT; ++i) {
            ck_assert_uint_eq(plan->matrices[i].r, r[i]);
        }
        psgd_plan_destroy(plan);
    }
}
END_TEST

START_TEST(plan__a_budget_counts_what_travels_as_it_is_and_keeps_ranks_that_were_given)
{
    psgd_tensor_t tensors[] = {TENSOR("w", 100, 100), TENSOR("own", 100, 100), TENSOR("bias", 500),
                               TENSOR("never", 50, 50)};
    psgd_config_t config    = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan      = NULL;

    tensors[1].rank    = 3;
    tensors[3].rank    = PSGD_NEVER_COMPRESS;
    config.rank        = 64;
    config.byte_budget = 4 * (500 + 2500 + 200 * (3 + 7)) + 799;
    assert_ok(psgd_plan_create(tensors, 4, &config, &plan));
    ck_assert_uint_eq(plan->tensors[0].r, 7);
    ck_assert_uint_eq(plan->tensors[1].r, 3);
    psgd_plan_destroy(plan);
    config.half_iterations = 4; /* twice as much as a full iteration */
    config.byte_budget     = 4 * (500 + 2500) + 8 * 200 * (3 + 7);
    assert_ok(psgd_plan_create(tensors, 4, &config, &plan));
    ck_assert_uint_eq(plan->tensors[0].r, 7);
    psgd_plan_destroy(plan);
    config.half_iterations = 0;
    config.flatten         = 1;
    tensors[1].rank        = 0; /* 20500 elements: a square of side 144 */
    config.byte_budget     = 4 * (2500 + 288 * 5) + 1151;
    assert_ok(psgd_plan_create(tensors, 4, &config, &plan));
    ck_assert_uint_eq(plan->matrices[0].r, 5);
    psgd_plan_destroy(plan);
    config.byte_budget = 4 * (2500 + 288) - 1;
    assert_fails(psgd_plan_create(tensors, 4, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "at least 11152 bytes");
    config.flatten     = 0;
    config.byte_budget = 4 * (3000 + 400) - 1;
    assert_fails(psgd_plan_create(tensors, 4, &config, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "config.byte_budget is 13599");
}
END_TEST

START_TEST(plan__refuses_what_cannot_be_planned_and_names_the_tensor)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan   = NULL;
    psgd_tensor_t tensor = TENSOR("w", 8, 8);
    psgd_tensor_t twins[] = {TENSOR("same", 4), TENSOR("same", 5)};

    tensor.dims[1] = 0;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "'w': dims[1] is 0");
    tensor.dims[0] = UINT64_C(1) << 32;
    tensor.dims[1] = UINT64_C(1) << 32;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "2^40");
    tensor          = TENSOR("w", 8, 8);
    tensor.num_dims = 0;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "has 0 dimensions");
    tensor.num_dims = PSGD_MAX_DIMS + 1;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "9 dimensions");
    tensor      = TENSOR("w", 8, 8);
    tensor.name = NULL;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "has no name");
    tensor.name = "";
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "has no name");
    tensor      = TENSOR("w", 8, 8);
    tensor.rank = -2;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "has rank -2");
    tensor.rank = PSGD_MAX_RANK + 1;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "has rank 1025");
    tensor.rank  = 0;
    tensor.dtype = (psgd_dtype_t)7;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_UNSUPPORTED, "dtype 7");
    assert_fails(psgd_plan_create(twins, 2, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "'same'");
    config.rank = 0;
    assert_fails(psgd_plan_create(twins, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0");
    config.rank                 = 4;
    config.min_compression_rate = NAN;
    assert_fails(psgd_plan_create(twins, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "min_compression_rate");
    ck_assert_ptr_null(plan);
}
END_TEST

/* What the kernels' tables, the random counters and offsets in bytes can number. */
START_TEST(plan__takes_what_can_be_numbered_and_refuses_more)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan   = NULL;
    psgd_tensor_t tensor = TENSOR("w", 2, 1, 1, 1, 1, 1, 1, 2);

    assert_ok(psgd_plan_create(&tensor, 1, &config, &plan));
    psgd_plan_destroy(plan);
    plan                        = NULL;
    config.min_compression_rate = 0.0;
    tensor                      = TENSOR("w", UINT32_MAX, 2);
    assert_ok(psgd_plan_create(&tensor, 1, &config, &plan));
    psgd_plan_destroy(plan);
    plan           = NULL;
    tensor.dims[0] = UINT64_C(1) << 32;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_UNSUPPORTED, "a side of 2^32 or more");
    tensor = TENSOR("w", 2, UINT64_C(1) << 32);
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_UNSUPPORTED, "a side of 2^32 or more");
    tensor       = TENSOR("w", 3, UINT32_MAX / 3);
    tensor.dtype = PSGD_F16;
    assert_ok(psgd_plan_create(&tensor, 1, &config, &plan));
    psgd_plan_destroy(plan);
    plan           = NULL;
    tensor.dims[1] = UINT32_MAX / 3 + 1;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_UNSUPPORTED, "has fewer than 2^32");
    ck_assert_ptr_null(plan);
}
END_TEST

/* `count` tensors of so many elements each, which are not compressed, or are as many matrices of one element. */
static psgd_tensor_t *make_many(size_t count, uint64_t elems, bool is_batch)
{
    static char    names[5000][24];
    psgd_tensor_t *tensors = calloc(count, sizeof(*tensors));

    ck_assert_ptr_nonnull(tensors);
    for (size_t i = 0; i < count; ++i) {
        snprintf(names[i], sizeof(names[i]), "%zu", i);
        tensors[i] = TENSOR(names[i], elems);
        if (is_batch) {
            tensors[i].view = (psgd_matrix_view_t){elems, 1, 1, 1, 1, 1};
        } else {
            tensors[i].rank = PSGD_NEVER_COMPRESS;
        }
    }
    return tensors;
}

START_TEST(plan__all_tensors_hold_up_to_2_to_the_48_elements_and_2_to_the_32_matrices_less_one)
{
    psgd_config_t  config  = PSGD_CONFIG_INIT;
    psgd_plan_t   *plan    = NULL;
    psgd_tensor_t *tensors = make_many(513, UINT64_C(1) << 39, false);

    tensors[512].dims[0] = 1;
    assert_ok(psgd_plan_create(tensors, 512, &config, &plan)); /* 2^48 */
    psgd_plan_destroy(plan);
    plan = NULL;
    assert_fails(psgd_plan_create(tensors, 513, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "more than 2^48 elements");
    free(tensors);

    tensors = make_many(4097, (UINT64_C(1) << 20) - 1, true);
    assert_fails(psgd_plan_create(tensors, 4097, &config, &plan), PSGD_ERR_UNSUPPORTED, "there may be 2^32 - 1");
    free(tensors);
    ck_assert_ptr_null(plan);
}
END_TEST

START_TEST(plan__half_iterations_stay_within_the_largest_rank)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan   = NULL;
    psgd_tensor_t tensor = TENSOR("w", 5000, 5000);

    config.half_iterations = PSGD_MAX_HALF_ITERATIONS;
    tensor.rank            = PSGD_MAX_RANK / PSGD_MAX_HALF_ITERATIONS;
    assert_ok(psgd_plan_create(&tensor, 1, &config, &plan));
    psgd_plan_destroy(plan);
    plan = NULL;
    tensor.rank += 1;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "times config.half_iterations");
    tensor.rank = 1;
    config.half_iterations += 1;
    assert_fails(psgd_plan_create(&tensor, 1, &config, &plan), PSGD_ERR_INVALID_ARGUMENT, "config.half_iterations is");
    ck_assert_ptr_null(plan);
}
END_TEST

/* ---- slices ---- */

/* What the tensors of the tests below are: compressed, too small, a batch of matrices, large but never compressed. */
static psgd_plan_t *plan_to_slice(void)
{
    psgd_config_t config     = PSGD_CONFIG_INIT;
    psgd_plan_t  *plan       = NULL;
    psgd_tensor_t tensors[5] = {TENSOR("a", 64, 48), TENSOR("b", 30), TENSOR("experts", 3, 50, 40),
                                TENSOR("table", 700, 200), TENSOR("c", 20, 90)};

    config.rank     = 2;
    tensors[2].view = (psgd_matrix_view_t){3, 50, 40, 2000, 40, 1};
    tensors[3].rank = PSGD_NEVER_COMPRESS;
    assert_ok(psgd_plan_create(tensors, 5, &config, &plan));
    return plan;
}

START_TEST(slice__runs_have_the_bytes_that_were_asked_for_and_are_filled_from_the_end)
{
    /* Bytes of gradients: 12288, 120, 24000, 560000, 7200. */
    static const struct {
        uint64_t bytes;
        size_t   count, firsts[5];
    } CASES[]         = {{0, 1, {0}},          {UINT64_MAX, 1, {0}}, {1, 5, {0, 1, 2, 3, 4}}, {7200, 4, {0, 2, 3, 4}},
                         {7201, 3, {0, 2, 3}}, {600000, 1, {0}}};
    psgd_plan_t *plan = plan_to_slice();

    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); ++i) {
        size_t firsts[5] = {99, 99, 99, 99, 99};

        ck_assert_uint_eq(psgd_plan_divide(plan, CASES[i].bytes, NULL), CASES[i].count);
        ck_assert_uint_eq(psgd_plan_divide(plan, CASES[i].bytes, firsts), CASES[i].count);
        for (size_t k = 0; k < CASES[i].count; ++k) {
            ck_assert_uint_eq(firsts[k], CASES[i].firsts[k]);
        }
    }
    psgd_plan_destroy(plan);
}
END_TEST

START_TEST(slice__is_a_plan_of_its_own)
{
    psgd_plan_t *plan = plan_to_slice(), *slice = NULL;

    assert_ok(psgd_plan_slice(plan, 1, 3, &slice));
    ck_assert_uint_eq(slice->num_given, 3);
    ck_assert_uint_eq(slice->num_tensors, 3);
    ck_assert_uint_eq(slice->num_matrices, 3);
    ck_assert_uint_eq(slice->first_matrix, 1);
    ck_assert_uint_eq(slice->p_elems, 3 * 50 * 2);
    ck_assert_uint_eq(slice->q_elems, 3 * 40 * 2);
    ck_assert_uint_eq(slice->small_elems, 30);
    ck_assert_uint_eq(slice->large_elems, 700 * 200);
    ck_assert_uint_eq(slice->matrix_elems, 3 * 50 * 40);
    ck_assert_uint_eq(slice->total_elems, 30 + 3 * 50 * 40 + 700 * 200);
    ck_assert_uint_eq(slice->compressed_elems, 3 * 90 * 2 + 30 + 700 * 200);
    ck_assert_uint_eq(slice->tensors[1].matrix_index, 0);
    for (size_t m = 0; m < 3; ++m) {
        ck_assert_uint_eq(slice->matrices[m].tensor_index, 1);
        ck_assert_uint_eq(slice->matrices[m].p_offset_elems, m * 50 * 2);
        ck_assert_uint_eq(slice->matrices[m].q_offset_elems, m * 40 * 2);
        ck_assert_uint_eq(slice->matrices[m].grad_offset_elems, m * 2000);
        ck_assert_uint_eq(slice->matrices[m].name_hash, plan->matrices[1 + m].name_hash);
    }
    psgd_plan_slice_destroy(slice);
    psgd_plan_slice_destroy(NULL);
    psgd_plan_destroy(plan);
}
END_TEST

/* Together the slices hold what the plan does, in its order: each begins where the ones before it end. */
START_TEST(slice__all_together_are_the_plan)
{
    psgd_plan_t *plan = plan_to_slice();
    size_t       firsts[5];
    size_t       count = psgd_plan_divide(plan, 7200, firsts), num_matrices = 0;
    uint64_t     p = 0, q = 0, small = 0, large = 0;

    for (size_t k = 0; k < count; ++k) {
        size_t       end   = k + 1 < count ? firsts[k + 1] : plan->num_given;
        psgd_plan_t *slice = NULL;

        assert_ok(psgd_plan_slice(plan, firsts[k], end - firsts[k], &slice));
        ck_assert_uint_eq(slice->first_matrix, num_matrices);
        for (size_t m = 0; m < slice->num_matrices; ++m) {
            const psgd_plan_matrix_t *whole = &plan->matrices[num_matrices + m];

            ck_assert_uint_eq(whole->p_offset_elems, p + slice->matrices[m].p_offset_elems);
            ck_assert_uint_eq(whole->q_offset_elems, q + slice->matrices[m].q_offset_elems);
        }
        num_matrices += slice->num_matrices;
        p += slice->p_elems;
        q += slice->q_elems;
        small += slice->small_elems;
        large += slice->large_elems;
        psgd_plan_slice_destroy(slice);
    }
    ck_assert_uint_eq(num_matrices, plan->num_matrices);
    ck_assert_uint_eq(p, plan->p_elems);
    ck_assert_uint_eq(q, plan->q_elems);
    ck_assert_uint_eq(small, plan->small_elems);
    ck_assert_uint_eq(large, plan->large_elems);
    psgd_plan_destroy(plan);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *tcase = tcase_create("plan");

    tcase_add_test(tcase, plan__compression_rates_are_those_of_the_paper);
    tcase_add_test(tcase, plan__views_a_tensor_as_its_first_dimension_by_the_rest);
    tcase_add_test(tcase, plan__leaves_vectors_uncompressed);
    tcase_add_test(tcase, plan__compresses_only_where_the_rate_is_above_the_minimum);
    tcase_add_test(tcase, plan__rank_is_at_most_the_shorter_side);
    tcase_add_test(tcase, plan__never_compress_is_obeyed);
    tcase_add_test(tcase, plan__small_and_large_tensors_part_at_256_KiB);
    tcase_add_test(tcase, plan__regions_follow_each_other_without_gap_or_overlap);
    tcase_add_test(tcase, plan__tensors_may_have_up_to_2_to_the_40_elements_less_one);
    tcase_add_test(tcase, plan__elements_have_as_many_bytes_as_their_type);
    tcase_add_test(tcase, plan__a_batch_is_as_many_matrices);
    tcase_add_test(tcase, plan__what_does_not_lie_as_its_matrices_is_copied);
    tcase_add_test(tcase, plan__refuses_views_that_do_not_cover_each_element_once);
    tcase_add_test(tcase, plan__a_flattened_gradient_is_the_smallest_square);
    tcase_add_test(tcase, plan__a_flattened_gradient_that_is_not_worth_it_travels_as_it_is);
    tcase_add_test(tcase, plan__a_budget_goes_where_a_column_captures_most_for_its_bytes);
    tcase_add_test(tcase, plan__a_budget_counts_what_travels_as_it_is_and_keeps_ranks_that_were_given);
    tcase_add_test(tcase, plan__refuses_what_cannot_be_planned_and_names_the_tensor);
    tcase_add_test(tcase, plan__takes_what_can_be_numbered_and_refuses_more);
    tcase_add_test(tcase, plan__all_tensors_hold_up_to_2_to_the_48_elements_and_2_to_the_32_matrices_less_one);
    tcase_add_test(tcase, plan__half_iterations_stay_within_the_largest_rank);
    tcase_add_test(tcase, slice__runs_have_the_bytes_that_were_asked_for_and_are_filled_from_the_end);
    tcase_add_test(tcase, slice__is_a_plan_of_its_own);
    tcase_add_test(tcase, slice__all_together_are_the_plan);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
