/* The language model against a float64 reference, its gradients against differences of that; what goes on from one
 * batch to the next. */
#include <math.h>
#include <stdlib.h>

#include "gpu.h"
#include "kernels.h"
#include "lstm_reference.h"
#include "network.h"
#include "random.h"
#include "support/suite.h"
#include "tool_asserts.h"
#include "train_device.h"

enum { NUM_SHAPES = 4, MAX_BATCH = 64, MAX_STATE = 256 };

static const lstm_shape_t shapes[NUM_SHAPES] = {
    {.vocabulary = 7, .embedding = 3, .hidden = 5, .streams = 2, .places = 4, .tied = false},
    {.vocabulary = 7, .embedding = 5, .hidden = 5, .streams = 2, .places = 4, .tied = true},
    {.vocabulary = 131,
     .embedding  = 2,
     .hidden     = 3,
     .streams    = 3,
     .places     = 7,
     .tied       = false}, /* more words than work-items */
    {.vocabulary = 9, .embedding = 6, .hidden = 4, .streams = 1, .places = 1, .tied = false},
};

/* A model of random parameters, a random batch and a random state, in both precisions. */
typedef struct fixture {
    network_t        network;
    lstm_reference_t reference;
    size_t           batch;
    size_t           asked; /* of the batch's targets, how many are words */
    uint32_t         words[MAX_BATCH], targets[MAX_BATCH];
    float            state[MAX_STATE];
} fixture_t;

static void *allocate(size_t count, size_t elem_bytes)
{
    void *memory = calloc(count, elem_bytes);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

/* Where tensor `index` of the network stands in the reference: a tied network has no weight of the softmax's own. */
static double **reference_tensor(fixture_t *fixture, size_t index)
{
    return &fixture->reference.tensors[fixture->network.params.count == 8 && index == 7 ? 8 : index];
}

static void randomize_params(fixture_t *fixture)
{
    params_t       *params = &fixture->network.params;
    random_stream_t stream = random_stream(7, 1);
    float          *values = allocate(params->extent, sizeof(*values));

    for (size_t i = 0; i < params->count; ++i) {
        double **tensor_p = reference_tensor(fixture, i);

        *tensor_p = allocate(params->tensors[i].elems, sizeof(double));
        for (size_t k = 0; k < params->tensors[i].elems; ++k) {
            float value                           = (float)(1.4 * random_unit(&stream) - 0.7);
            values[params->tensors[i].offset + k] = value;
            (*tensor_p)[k]                        = value;
        }
    }
    assert_tool_ok(gpu_write(&gpu, params->values, values, params->extent * sizeof(*values)));
    free(values);
}

/* Words that repeat, a word that asks for nothing, and places in the order that the embedding's gradient takes. */
static void randomize_batch(fixture_t *fixture)
{
    random_stream_t stream = random_stream(7, 2);
    uint32_t        order[MAX_BATCH];
    size_t          sorted = 0;

    for (size_t n = 0; n < fixture->batch; ++n) {
        fixture->words[n]   = random_below(&stream, (uint32_t)fixture->reference.vocabulary) / 2;
        fixture->targets[n] = n == 2 ? UINT32_MAX : random_below(&stream, (uint32_t)fixture->reference.vocabulary);
        fixture->asked += n != 2;
    }
    for (uint32_t word = 0; word < fixture->reference.vocabulary; ++word) {
        for (size_t n = 0; n < fixture->batch; ++n) {
            if (fixture->words[n] == word) {
                order[sorted++] = (uint32_t)n;
            }
        }
    }
    for (size_t i = 0; i < network_state_elems(&fixture->network); ++i) {
        fixture->state[i] = (float)(1.6 * random_unit(&stream) - 0.8);
    }
    assert_tool_ok(gpu_write(&gpu, fixture->network.input, fixture->words, fixture->batch * sizeof(uint32_t)));
    assert_tool_ok(gpu_write(&gpu, fixture->network.targets, fixture->targets, fixture->batch * sizeof(uint32_t)));
    assert_tool_ok(gpu_write(&gpu, fixture->network.order, order, fixture->batch * sizeof(uint32_t)));
}

static fixture_t *fixture_create(int number)
{
    const lstm_shape_t *shape   = &shapes[number];
    fixture_t          *fixture = allocate(1, sizeof(*fixture));

    fixture->batch = shape->streams * shape->places;
    fixture->reference =
        (lstm_reference_t){shape->vocabulary, shape->embedding, shape->hidden, shape->streams, shape->places, {NULL}};
    assert_tool_ok(network_create_lstm(&fixture->network, &gpu, shape));
    ck_assert_uint_eq(network_state_elems(&fixture->network), 4 * shape->streams * shape->hidden);
    ck_assert_uint_eq(fixture->network.params.count, shape->tied ? 8 : 9);
    randomize_params(fixture);
    randomize_batch(fixture);
    return fixture;
}

static void fixture_destroy(fixture_t *fixture)
{
    for (size_t i = 0; i < LSTM_REFERENCE_MAX_TENSORS; ++i) {
        free(fixture->reference.tensors[i]);
    }
    network_destroy(&fixture->network);
    free(fixture);
}

/* Of the batch from the fixture's state on, which the reference leaves in `state`. */
static double reference_loss(const fixture_t *fixture, double state[MAX_STATE])
{
    for (size_t i = 0; i < MAX_STATE; ++i) {
        state[i] = fixture->state[i];
    }
    return lstm_reference_loss(&fixture->reference, fixture->words, fixture->targets, state);
}

/* Of the mean loss over the batch, by one parameter. */
static double difference(const fixture_t *fixture, double *value)
{
    const double h = 1e-5, kept = *value;
    double       state[MAX_STATE], above, below;

    *value = kept + h;
    above  = reference_loss(fixture, state);
    *value = kept - h;
    below  = reference_loss(fixture, state);
    *value = kept;
    return (above - below) / (2.0 * h) / (double)fixture->batch;
}

START_TEST(lstm__loss_and_state_equal_the_float64_reference)
{
    fixture_t *fixture = fixture_create(_i);
    network_t *network = &fixture->network;
    double     expected[MAX_STATE], loss = 0.0, hits = 0.0, expected_loss = reference_loss(fixture, expected);
    float      state[MAX_STATE];

    assert_tool_ok(network_write_state(network, fixture->state));
    assert_tool_ok(network_enqueue_forward(network, fixture->batch));
    assert_tool_ok(network_take_score(network, &loss, &hits));
    assert_tool_ok(network_read_state(network, state));
    ck_assert_double_eq_tol(loss, expected_loss, 3e-6 * (double)fixture->batch);
    for (size_t i = 0; i < network_state_elems(network); ++i) {
        ck_assert_double_eq_tol(state[i], expected[i], 2e-6);
    }
    fixture_destroy(fixture);
}
END_TEST

START_TEST(lstm__gradients_equal_finite_differences_of_the_reference)
{
    fixture_t *fixture = fixture_create(_i);
    network_t *network = &fixture->network;
    float     *grads   = allocate(network->params.extent, sizeof(*grads));

    for (size_t i = 0; i < network->params.extent; ++i) {
        grads[i] = NAN; /* nothing is added to what was there */
    }
    assert_tool_ok(gpu_write(&gpu, network->params.grads, grads, network->params.extent * sizeof(*grads)));
    assert_tool_ok(network_write_state(network, fixture->state));
    assert_tool_ok(network_enqueue_forward(network, fixture->batch));
    assert_tool_ok(network_enqueue_backward(network, NULL, NULL));
    assert_tool_ok(gpu_read(&gpu, network->params.grads, grads, network->params.extent * sizeof(*grads)));
    for (size_t i = 0; i < network->params.count; ++i) {
        const param_t *param  = &network->params.tensors[i];
        double        *values = *reference_tensor(fixture, i), greatest = 0.0, worst = 0.0;

        for (size_t k = 0; k < param->elems; ++k) {
            double expected = difference(fixture, &values[k]);
            double wrong    = fabs(grads[param->offset + k] - expected);

            greatest = fmax(greatest, fabs(expected));
            worst    = wrong <= worst ? worst : wrong; /* a NaN counts */
        }
        ck_assert_double_gt(greatest, 1e-4);
        ck_assert_msg(worst <= 5e-6 * greatest + 1e-8, "%s: wrong by %g where the greatest is %g", param->name, worst,
                      greatest);
    }
    free(grads);
    fixture_destroy(fixture);
}
END_TEST

START_TEST(lstm__two_batches_go_on_where_one_ended)
{
    fixture_t *fixture = fixture_create(_i);
    network_t *network = &fixture->network;
    double     expected[MAX_STATE], expected_loss, loss = 0.0, hits = 0.0;
    float      between[MAX_STATE], again[MAX_STATE], state[MAX_STATE];

    memset(fixture->state, 0, sizeof(fixture->state));
    (void)reference_loss(fixture, expected);
    expected_loss = lstm_reference_loss(&fixture->reference, fixture->words, fixture->targets, expected);
    assert_tool_ok(network_write_state(network, fixture->state));
    assert_tool_ok(network_enqueue_forward(network, fixture->batch));
    assert_tool_ok(network_read_state(network, between));
    assert_tool_ok(network_take_score(network, &loss, &hits));
    assert_tool_ok(network_enqueue_forward(network, fixture->batch));
    assert_tool_ok(network_take_score(network, &loss, &hits));
    ck_assert_double_eq_tol(loss, expected_loss, 3e-6 * (double)fixture->batch);
    assert_tool_ok(network_read_state(network, state));
    assert_tool_ok(network_zero_state(network)); /* and from what was read, the same bits once more */
    assert_tool_ok(network_read_state(network, again));
    for (size_t i = 0; i < network_state_elems(network); ++i) {
        ck_assert_float_eq(again[i], 0.0f);
    }
    assert_tool_ok(network_write_state(network, between));
    assert_tool_ok(network_enqueue_forward(network, fixture->batch));
    assert_tool_ok(network_read_state(network, again));
    ck_assert_mem_eq(again, state, network_state_elems(network) * sizeof(*state));
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

START_TEST(lstm__gradients_are_handed_on_from_the_softmax_to_the_embedding)
{
    fixture_t *fixture = fixture_create(_i);
    size_t     below   = fixture->network.params.count;

    assert_tool_ok(network_enqueue_forward(&fixture->network, fixture->batch));
    assert_tool_ok(network_enqueue_backward(&fixture->network, take_ready, &below));
    ck_assert_uint_eq(below, 0);
    ck_assert_str_eq(fixture->network.params.tensors[0].name, "embedding.weight");
    assert_tool_ok(gpu_wait(&gpu));
    fixture_destroy(fixture);
}
END_TEST

START_TEST(lstm__a_nan_stays_visible)
{
    fixture_t *fixture = fixture_create(_i);
    double     loss = 0.0, hits = 0.0;

    for (size_t i = 0; i < MAX_STATE; ++i) {
        fixture->state[i] = NAN;
    }
    assert_tool_ok(network_write_state(&fixture->network, fixture->state));
    assert_tool_ok(network_enqueue_forward(&fixture->network, fixture->batch));
    assert_tool_ok(network_take_score(&fixture->network, &loss, &hits));
    ck_assert_double_nan(loss);
    fixture_destroy(fixture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train_lstm");
    TCase *tcase = tcase_create("lstm");

    tcase_add_unchecked_fixture(tcase, open_device, close_device);
    tcase_set_timeout(tcase, 280);
    tcase_add_loop_test(tcase, lstm__loss_and_state_equal_the_float64_reference, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, lstm__gradients_equal_finite_differences_of_the_reference, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, lstm__two_batches_go_on_where_one_ended, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, lstm__gradients_are_handed_on_from_the_softmax_to_the_embedding, 0, NUM_SHAPES);
    tcase_add_loop_test(tcase, lstm__a_nan_stays_visible, 0, NUM_SHAPES);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
