/* The models of images against a float64 reference, that against finite differences; the optimizer bit by bit; the order of
 * images. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "feed.h"
#include "gpu.h"
#include "kernels.h"
#include "network.h"
#include "network_reference.h"
#include "params.h"
#include "random.h"
#include "support/suite.h"
#include "tool_asserts.h"
#include "train_device.h"

enum { BATCH = 5, NUM_IMAGE_MODELS = MODEL_LSTM };

typedef double (*reference_fn)(const reference_params_t *, size_t, const float *, const uint32_t *, size_t,
                               const reference_params_t *);

static const reference_fn references[NUM_IMAGE_MODELS] = {reference_mlp, reference_cnn};

/* A model with random parameters, a random batch, and both in double precision. */
typedef struct fixture {
    network_t          network;
    size_t             width;
    reference_params_t params, grads;
    float              images[BATCH * IMAGE_PIXELS];
    uint32_t           labels[BATCH];
} fixture_t;

static void *allocate(size_t count, size_t elem_bytes)
{
    void *memory = calloc(count, elem_bytes);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Biases too, so that they are not tested at 0 alone. */
static void randomize_params(fixture_t *fixture)
{
    params_t       *params = &fixture->network.params;
    random_stream_t stream = random_stream(5, 1);
    float          *values = allocate(params->extent, sizeof(*values));

    for (size_t i = 0; i < params->count; ++i) {
        const param_t *param = &params->tensors[i];
        double         bound = param->bound > 0.0 ? param->bound : 0.3;

        fixture->params.tensors[i] = allocate(param->elems, sizeof(double));
        fixture->grads.tensors[i]  = allocate(param->elems, sizeof(double));
        for (size_t k = 0; k < param->elems; ++k) {
            float value                   = (float)((2.0 * random_unit(&stream) - 1.0) * bound);
            values[param->offset + k]     = value;
            fixture->params.tensors[i][k] = value;
        }
    }
    assert_tool_ok(gpu_write(&gpu, params->values, values, params->extent * sizeof(*values)));
    free(values);
}

static fixture_t *fixture_create(model_t model, size_t width)
{
    fixture_t      *fixture = allocate(1, sizeof(*fixture));
    random_stream_t stream  = random_stream(5, 2);

    fixture->width = width;
    assert_tool_ok(network_create(&fixture->network, &gpu, model, width, 1, BATCH));
    randomize_params(fixture);
    for (size_t i = 0; i < BATCH * IMAGE_PIXELS; ++i) {
        fixture->images[i] = (float)(2.0 * random_unit(&stream) - 1.0);
    }
    for (size_t n = 0; n < BATCH; ++n) {
        fixture->labels[n] = random_below(&stream, NUM_CLASSES);
    }
    assert_tool_ok(gpu_write(&gpu, fixture->network.input, fixture->images, sizeof(fixture->images)));
    assert_tool_ok(gpu_write(&gpu, fixture->network.targets, fixture->labels, sizeof(fixture->labels)));
    return fixture;
}

static void fixture_destroy(fixture_t *fixture)
{
    for (size_t i = 0; i < fixture->network.params.count; ++i) {
        free(fixture->params.tensors[i]);
        free(fixture->grads.tensors[i]);
    }
    network_destroy(&fixture->network);
    free(fixture);
}

static double reference_loss(const fixture_t *fixture, model_t model, const reference_params_t *grads)
{
    return references[model](&fixture->params, fixture->width, fixture->images, fixture->labels, BATCH, grads);
}

START_TEST(reference__gradients_equal_finite_differences)
{
    model_t         model   = (model_t)_i;
    fixture_t      *fixture = fixture_create(model, 1);
    random_stream_t stream  = random_stream(5, 3);
    const double    h       = 1e-6;

    reference_loss(fixture, model, &fixture->grads);
    for (size_t i = 0; i < fixture->network.params.count; ++i) {
        const param_t *param    = &fixture->network.params.tensors[i];
        double         greatest = 0.0;

        for (size_t k = 0; k < param->elems; ++k) {
            greatest = fmax(greatest, fabs(fixture->grads.tensors[i][k]));
        }
        ck_assert_double_gt(greatest, 1e-4);
        for (int sample = 0; sample < 25; ++sample) {
            double *value = &fixture->params.tensors[i][random_below(&stream, (uint32_t)param->elems)];
            double  kept  = *value, above, below;

            *value = kept + h;
            above  = reference_loss(fixture, model, NULL);
            *value = kept - h;
            below  = reference_loss(fixture, model, NULL);
            *value = kept;
            ck_assert_double_eq_tol((above - below) / (2.0 * h),
                                    fixture->grads.tensors[i][value - fixture->params.tensors[i]],
                                    1e-7 + 1e-5 * greatest);
        }
    }
    fixture_destroy(fixture);
}
END_TEST

START_TEST(network__loss_and_gradients_equal_the_float64_reference)
{
    model_t    model   = (model_t)(_i % NUM_IMAGE_MODELS);
    fixture_t *fixture = fixture_create(model, (size_t)(1 + _i / NUM_IMAGE_MODELS));
    network_t *network = &fixture->network;
    float     *grads   = allocate(network->params.extent, sizeof(*grads));
    double     loss, hits;

    assert_tool_ok(network_enqueue_forward(network, BATCH));
    assert_tool_ok(network_enqueue_backward(network, NULL, NULL));
    assert_tool_ok(gpu_read(&gpu, network->params.grads, grads, network->params.extent * sizeof(*grads)));
    assert_tool_ok(network_take_score(network, &loss, &hits));
    ck_assert_double_eq_tol(loss / BATCH, reference_loss(fixture, model, &fixture->grads), 1e-5);
    for (size_t i = 0; i < network->params.count; ++i) {
        const param_t *param    = &network->params.tensors[i];
        double         greatest = 0.0, worst = 0.0;

        for (size_t k = 0; k < param->elems; ++k) {
            double expected = fixture->grads.tensors[i][k];
            greatest        = fmax(greatest, fabs(expected));
            worst           = fmax(worst, fabs(grads[param->offset + k] - expected));
        }
        ck_assert_msg(worst <= 5e-6 * greatest, "%s: wrong by %g where the greatest is %g", param->name, worst,
                      greatest);
        for (size_t k = param->offset + param->elems;
             k < (i + 1 < network->params.count ? network->params.tensors[i + 1].offset : network->params.extent);
             ++k) {
            ck_assert_float_eq(grads[k], 0.0f); /* what lies between tensors */
        }
    }
    free(grads);
    fixture_destroy(fixture);
}
END_TEST

/* What the backward pass hands on: each tensor once, the last layer's first. */
static tool_status_t take_ready(void *user, size_t first, size_t count)
{
    size_t *below = user; /* tensors that are still to come */

    ck_assert_uint_gt(count, 0);
    ck_assert_uint_eq(first + count, *below);
    *below = first;
    return TOOL_OK;
}

/* A device that has not begun yet: were anything waited for, this would not return. */
START_TEST(network__enqueues_forward_and_backward_without_waiting)
{
    fixture_t *fixture = fixture_create((model_t)(_i % NUM_IMAGE_MODELS), (size_t)(1 + _i / NUM_IMAGE_MODELS));
    network_t *network = &fixture->network;
    size_t     below   = network->params.count;
    cl_int     result = CL_SUCCESS, at = CL_COMPLETE;
    cl_event   gate, end;

    assert_tool_ok(network_enqueue_forward(network, BATCH)); /* loads kernels */
    assert_tool_ok(network_enqueue_backward(network, NULL, NULL));
    assert_tool_ok(gpu_wait(&gpu));
    gate = clCreateUserEvent(gpu.context, &result);
    ck_assert_int_eq(result, CL_SUCCESS);
    ck_assert_int_eq(clEnqueueBarrierWithWaitList(gpu.queue, 1, &gate, NULL), CL_SUCCESS);
    assert_tool_ok(network_enqueue_forward(network, BATCH));
    assert_tool_ok(network_enqueue_backward(network, take_ready, &below));
    ck_assert_uint_eq(below, 0);
    ck_assert_int_eq(clEnqueueMarkerWithWaitList(gpu.queue, 0, NULL, &end), CL_SUCCESS);
    ck_assert_int_eq(clFlush(gpu.queue), CL_SUCCESS);
    ck_assert_int_eq(clGetEventInfo(end, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(at), &at, NULL), CL_SUCCESS);
    ck_assert_int_ne(at, CL_COMPLETE);
    ck_assert_int_eq(clSetUserEventStatus(gate, CL_COMPLETE), CL_SUCCESS);
    assert_tool_ok(gpu_wait(&gpu));
    clReleaseEvent(end);
    clReleaseEvent(gate);
    fixture_destroy(fixture);
}
END_TEST

START_TEST(network__scores_only_what_it_is_told_and_adds_up_until_read)
{
    fixture_t *fixture = fixture_create(MODEL_MLP, 1);
    double     loss, hits, one_loss, one_hits;

    assert_tool_ok(network_enqueue_forward(&fixture->network, 2));
    assert_tool_ok(network_take_score(&fixture->network, &one_loss, &one_hits));
    ck_assert_double_eq_tol(one_loss,
                            2.0 * reference_mlp(&fixture->params, 1, fixture->images, fixture->labels, 2, NULL), 1e-5);
    assert_tool_ok(network_enqueue_forward(&fixture->network, 2));
    assert_tool_ok(network_enqueue_forward(&fixture->network, 2));
    assert_tool_ok(network_take_score(&fixture->network, &loss, &hits));
    ck_assert_double_eq_tol(loss, 2.0 * one_loss, 1e-5);
    ck_assert_double_eq(hits, 2.0 * one_hits);
    assert_tool_ok(network_take_score(&fixture->network, &loss, &hits));
    ck_assert_double_eq(loss, 0.0);
    ck_assert_double_eq(hits, 0.0);
    fixture_destroy(fixture);
}
END_TEST

START_TEST(network__a_nan_stays_visible)
{
    fixture_t *fixture = fixture_create((model_t)_i, 1);
    double     loss, hits;

    for (size_t i = 0; i < BATCH * IMAGE_PIXELS; ++i) {
        fixture->images[i] = NAN;
    }
    assert_tool_ok(gpu_write(&gpu, fixture->network.input, fixture->images, sizeof(fixture->images)));
    assert_tool_ok(network_enqueue_forward(&fixture->network, BATCH));
    assert_tool_ok(network_take_score(&fixture->network, &loss, &hits));
    ck_assert_double_nan(loss);
    ck_assert_double_eq(hits, 0.0);
    fixture_destroy(fixture);
}
END_TEST

START_TEST(params__initial_values_depend_on_the_seed_alone)
{
    network_t networks[2];
    uint64_t  hashes[3];

    assert_tool_ok(network_create(&networks[0], &gpu, MODEL_CNN, 1, 1, 3));
    assert_tool_ok(network_create(&networks[1], &gpu, MODEL_CNN, 1, 1, 4));
    assert_tool_ok(params_init(&networks[0].params, 9));
    assert_tool_ok(params_init(&networks[1].params, 9));
    assert_tool_ok(params_hash(&networks[0].params, &hashes[0]));
    assert_tool_ok(params_hash(&networks[1].params, &hashes[1]));
    assert_tool_ok(params_init(&networks[1].params, 10));
    assert_tool_ok(params_hash(&networks[1].params, &hashes[2]));
    ck_assert_uint_eq(hashes[0], hashes[1]);
    ck_assert_uint_ne(hashes[0], hashes[2]);
    network_destroy(&networks[0]);
    network_destroy(&networks[1]);
}
END_TEST

static float flushed(float x)
{
    return fabsf(x) < FLT_MIN ? 0.0f : x;
}

static void assert_same_bits(float got, float expected, size_t i)
{
    uint32_t got_bits, expected_bits;

    memcpy(&got_bits, &got, sizeof(got_bits));
    memcpy(&expected_bits, &expected, sizeof(expected_bits));
    got_bits      = got == 0.0f ? 0 : got_bits; /* both zeros are one */
    expected_bits = expected == 0.0f ? 0 : expected_bits;
    ck_assert_msg(got_bits == expected_bits, "element %zu: %a, expected %a", i, (double)got, (double)expected);
}

/* One parameter's step by a rule, as psgd_rule_t has it. */
static void step_by_rule(psgd_rule_t rule, float momentum, float decay, float rate, float update, float *velocity,
                         float *value)
{
    const float change = flushed(fmaf(decay, *value, flushed(update)));
    float       step;

    *velocity = flushed(fmaf(momentum, *velocity, change));
    switch (rule) {
    case PSGD_RULE_POWERSGD: step = flushed(change + *velocity); break;
    case PSGD_RULE_NESTEROV: step = flushed(fmaf(momentum, *velocity, change)); break;
    case PSGD_RULE_HEAVY_BALL:
    default: step = *velocity;
    }
    *value = flushed(fmaf(-rate, step, *value));
}

START_TEST(momentum__equals_the_fma_chain_bit_by_bit)
{
    const psgd_rule_t rule     = (psgd_rule_t)_i;
    const float       momentum = 0.9f, rate = 0.0371f, decay = 0.01f;
    params_t        params = {.gpu = &gpu};
    const uint64_t  dims[] = {4099};
    random_stream_t stream = random_stream(5, 4);
    float          *updates, *values, *got;
    float           velocity[4099] = {0.0f};
    size_t          index;

    assert_tool_ok(params_add(&params, "w", 1, dims, 3, &index));
    assert_tool_ok(params_allocate(&params));
    assert_tool_ok(params_init(&params, 3));
    updates = allocate(params.extent, sizeof(float));
    values  = allocate(params.extent, sizeof(float));
    got     = allocate(params.extent, sizeof(float));
    assert_tool_ok(gpu_read(&gpu, params.values, values, params.extent * sizeof(float)));
    for (int step = 0; step < 5; ++step) {
        for (size_t i = 0; i < dims[0]; ++i) { /* from far below the smallest normal number up to 1 */
            updates[i]  = (float)ldexp(2.0 * random_unit(&stream) - 1.0, -(int)random_below(&stream, 150));
            step_by_rule(rule, momentum, decay, rate, updates[i], &velocity[i], &values[i]);
        }
        assert_tool_ok(gpu_write(&gpu, params.grads, updates, params.extent * sizeof(float)));
        assert_tool_ok(params_enqueue_update(&params, rule, momentum, decay, rate));
    }
    assert_tool_ok(gpu_read(&gpu, params.values, got, params.extent * sizeof(float)));
    for (size_t i = 0; i < dims[0]; ++i) {
        assert_same_bits(got[i], values[i], i);
    }
    free(updates);
    free(values);
    free(got);
    params_free(&params);
}
END_TEST

/* 50 images, each of one value, its number; its label is the number modulo 10. */
enum { FEED_IMAGES = 50 };

static void make_part(dataset_part_t *part)
{
    part->count         = FEED_IMAGES;
    part->images.bytes  = FEED_IMAGES * IMAGE_PIXELS;
    part->labels.bytes  = FEED_IMAGES;
    part->images.values = allocate(part->images.bytes, 1);
    part->labels.values = allocate(part->labels.bytes, 1);
    for (unsigned i = 0; i < FEED_IMAGES; ++i) {
        memset(part->images.values + i * IMAGE_PIXELS, (int)i, IMAGE_PIXELS);
        part->labels.values[i] = (unsigned char)(i % NUM_CLASSES);
    }
}

static void free_part(dataset_part_t *part)
{
    free(part->images.values);
    free(part->labels.values);
}

/* Enqueues a batch and counts which images it brought, by the pixels and labels that arrived. */
static void count_batch(const feed_t *feed, uint64_t step, network_t *network, unsigned seen[FEED_IMAGES])
{
    float    input[BATCH * IMAGE_PIXELS];
    uint32_t targets[BATCH];
    size_t   scored;

    assert_tool_ok(feed_enqueue(feed, step, network, &scored));
    assert_tool_ok(gpu_read(&gpu, network->input, input, sizeof(input)));
    assert_tool_ok(gpu_read(&gpu, network->targets, targets, sizeof(targets)));
    for (size_t n = 0; n < scored; ++n) {
        unsigned image = (unsigned)lround(((double)input[n * IMAGE_PIXELS] * 4.0) + 20.0); /* mean 20, deviation 4 */

        ck_assert_uint_lt(image, FEED_IMAGES);
        ck_assert_uint_eq(targets[n], image % NUM_CLASSES);
        for (size_t i = 0; i < IMAGE_PIXELS; ++i) {
            ck_assert_float_eq_tol(input[n * IMAGE_PIXELS + i], ((float)image - 20.0f) / 4.0f, 1e-5f);
        }
        ++seen[image];
    }
}

START_TEST(feed__shares_of_an_epoch_are_disjoint_and_equally_long)
{
    dataset_part_t part = {0};
    network_t      network;
    feed_t         feed;
    unsigned       seen[FEED_IMAGES] = {0};
    unsigned       once              = 0;

    make_part(&part);
    assert_tool_ok(network_create(&network, &gpu, MODEL_MLP, 1, 1, BATCH));
    assert_tool_ok(feed_create(&gpu, &part, 20.0, 4.0, BATCH, &feed));
    for (uint32_t w = 0; w < 3; ++w) {
        workers_t worker = {.count = 3, .index = w};

        ck_assert_uint_eq(feed_steps(&feed, &worker), 3); /* 50 / (3 * 5) */
        assert_tool_ok(feed_shuffle(&feed, &worker, 1, 7));
        for (uint64_t step = 0; step < 3; ++step) {
            count_batch(&feed, step, &network, seen);
        }
    }
    for (unsigned i = 0; i < FEED_IMAGES; ++i) {
        ck_assert_uint_le(seen[i], 1);
        once += seen[i];
    }
    ck_assert_uint_eq(once, 45);
    feed_free(&feed);
    network_destroy(&network);
    free_part(&part);
}
END_TEST

START_TEST(feed__an_epoch_has_an_order_of_its_own_that_the_seed_repeats)
{
    workers_t      alone = {.count = 1, .index = 0};
    dataset_part_t part  = {0};
    uint32_t       first[FEED_IMAGES];
    feed_t         feed;

    make_part(&part);
    assert_tool_ok(feed_create(&gpu, &part, 20.0, 4.0, BATCH, &feed));
    assert_tool_ok(feed_shuffle(&feed, &alone, 1, 0));
    memcpy(first, feed.share, sizeof(first));
    assert_tool_ok(feed_shuffle(&feed, &alone, 1, 1));
    ck_assert_mem_ne(first, feed.share, sizeof(first));
    assert_tool_ok(feed_shuffle(&feed, &alone, 2, 0));
    ck_assert_mem_ne(first, feed.share, sizeof(first));
    assert_tool_ok(feed_shuffle(&feed, &alone, 1, 0));
    ck_assert_mem_eq(first, feed.share, sizeof(first));
    feed_free(&feed);
    free_part(&part);
}
END_TEST

START_TEST(feed__a_test_sees_every_image_once)
{
    dataset_part_t part = {0};
    network_t      network;
    feed_t         feed;
    unsigned       seen[FEED_IMAGES] = {0};

    make_part(&part);
    assert_tool_ok(network_create(&network, &gpu, MODEL_MLP, 1, 1, BATCH));
    assert_tool_ok(feed_create(&gpu, &part, 20.0, 4.0, BATCH, &feed));
    for (uint32_t w = 0; w < 4; ++w) {
        workers_t worker = {.count = 4, .index = w};

        assert_tool_ok(feed_deal(&feed, &worker));
        for (uint64_t step = 0; step * BATCH < feed.share_count; ++step) {
            count_batch(&feed, step, &network, seen);
        }
    }
    for (unsigned i = 0; i < FEED_IMAGES; ++i) {
        ck_assert_uint_eq(seen[i], 1);
    }
    feed_free(&feed);
    network_destroy(&network);
    free_part(&part);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train_network");
    TCase *tcase = tcase_create("network");

    tcase_add_unchecked_fixture(tcase, open_device, close_device);
    tcase_set_timeout(tcase, 280);
    tcase_add_loop_test(tcase, reference__gradients_equal_finite_differences, 0, NUM_IMAGE_MODELS);
    tcase_add_loop_test(tcase, network__loss_and_gradients_equal_the_float64_reference, 0,
                        NUM_IMAGE_MODELS * REFERENCE_MAX_WIDTH);
    tcase_add_loop_test(tcase, network__enqueues_forward_and_backward_without_waiting, 0,
                        NUM_IMAGE_MODELS * REFERENCE_MAX_WIDTH);
    tcase_add_test(tcase, network__scores_only_what_it_is_told_and_adds_up_until_read);
    tcase_add_loop_test(tcase, network__a_nan_stays_visible, 0, NUM_IMAGE_MODELS);
    tcase_add_test(tcase, params__initial_values_depend_on_the_seed_alone);
    tcase_add_loop_test(tcase, momentum__equals_the_fma_chain_bit_by_bit, 0, 3);
    tcase_add_test(tcase, feed__shares_of_an_epoch_are_disjoint_and_equally_long);
    tcase_add_test(tcase, feed__an_epoch_has_an_order_of_its_own_that_the_seed_repeats);
    tcase_add_test(tcase, feed__a_test_sees_every_image_once);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
