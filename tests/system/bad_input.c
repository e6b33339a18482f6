#include "system/bad_input.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- cases ---- */

static uint32_t num_cases;

void bad_input_count_case(void)
{
    num_cases += 1;
}

int bad_input_run(Suite *suite, uint32_t min_cases)
{
    int result = psgd_run_suite(suite);

    printf("%u cases of bad input\n", num_cases);
    if ((result == EXIT_SUCCESS) && (num_cases < min_cases)) {
        printf("there should be %u or more\n", min_cases);
        result = EXIT_FAILURE;
    }
    return result;
}

void ignore_line(psgd_log_level_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

/* ---- creation ---- */

creation_t good_creation(void)
{
    const psgd_config_t  defaults = PSGD_CONFIG_INIT;
    const test_device_t *device   = workers_device(0);
    creation_t           creation = {device->context, device->id, device->queue, {{0}}, 2, defaults};

    creation.tensors[0] = job_tensor("first.weight", ROWS, COLS);
    creation.tensors[1] = job_tensor("second.bias", ROWS, 0);
    return creation;
}

psgd_status_t create(const creation_t *creation, const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    return psgd_reducer_create(creation->context, creation->device, creation->queue, creation->tensors,
                               creation->num_tensors, &creation->config, comm, reducer_p);
}

/* ---- one reducer ---- */

/* Where the parts of bench_t.params begin. */
enum { PARAMS_AT = 0, MOMENTA_AT = BENCH_ELEMS, HALVES_AT = 2 * BENCH_ELEMS, ALL_PARAMS = 3 * BENCH_ELEMS };

enum { STREAM_OF_PARAMS = 1000 };

bench_t open_bench_on(psgd_comm_t *comm)
{
    static float         params[ALL_PARAMS];
    const test_device_t *device   = workers_device(0);
    creation_t           creation = good_creation();
    bench_t              bench    = {.comm = comm};

    creation.config.engine =
        PSGD_ENGINE_FUSED; /* auto measures, and may choose another one for the next, whose bits are compared */
    assert_ok(create(&creation, comm, &bench.reducer));
    assert_ok(test_buffer_create(device, BENCH_ELEMS, &bench.mem));
    assert_ok(test_buffer_create(device, ALL_PARAMS, &bench.params));
    test_random_fill(params, ALL_PARAMS, STREAM_OF_PARAMS);
    assert_ok(test_buffer_write(device, bench.params, 0, params, ALL_PARAMS));
    bench.grads[0] = (psgd_buffer_t){bench.mem, 0};
    bench.grads[1] = (psgd_buffer_t){bench.mem, ELEMS * sizeof(float)};
    return bench;
}

bench_t open_bench(void)
{
    psgd_comm_t *comm = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    return open_bench_on(comm);
}

void close_bench(bench_t *bench)
{
    psgd_reducer_destroy(bench->reducer);
    psgd_comm_destroy(bench->comm);
    clReleaseMemObject(bench->mem);
    clReleaseMemObject(bench->params);
}

void good_step(const bench_t *bench, uint64_t stream, float *out)
{
    const test_device_t *device = workers_device(0);

    test_random_fill(out, BENCH_ELEMS, stream);
    assert_ok(test_buffer_write(device, bench->mem, 0, out, BENCH_ELEMS));
    assert_ok(psgd_reducer_step(bench->reducer, bench->grads, 2));
    assert_ok(test_buffer_read(device, bench->mem, 0, out, BENCH_ELEMS));
}

/* Both tensors in bench->params, from an element on. */
static void place(const bench_t *bench, size_t at_elems, size_t elem_bytes, psgd_buffer_t buffers[2])
{
    buffers[0] = (psgd_buffer_t){bench->params, at_elems * sizeof(float)};
    buffers[1] = (psgd_buffer_t){bench->params, at_elems * sizeof(float) + ELEMS * elem_bytes};
}

void good_call(const bench_t *bench, call_t *call_p)
{
    const psgd_step_options_t options   = PSGD_STEP_OPTIONS_INIT;
    const psgd_optimizer_t    optimizer = PSGD_OPTIMIZER_INIT;

    memset(call_p, 0, sizeof(*call_p));
    memcpy(call_p->grads, bench->grads, sizeof(call_p->grads));
    place(bench, PARAMS_AT, sizeof(float), call_p->params);
    place(bench, MOMENTA_AT, sizeof(float), call_p->momenta);
    place(bench, HALVES_AT, sizeof(cl_half), call_p->halves);
    memset(call_p->has_gradient, 1, sizeof(call_p->has_gradient));
    call_p->num_grads               = 2;
    call_p->options                 = options;
    call_p->options.has_gradient    = call_p->has_gradient;
    call_p->options.optimizer       = &call_p->optimizer;
    call_p->optimizer               = optimizer;
    call_p->optimizer.learning_rate = 0.1f;
    call_p->optimizer.momentum      = 0.9f;
    call_p->optimizer.params        = call_p->params;
    call_p->optimizer.momenta       = call_p->momenta;
    call_p->optimizer.half_params   = call_p->halves;
}

/* One good step with an optimizer; out: all that bench->params holds afterwards. */
static void good_step_with_optimizer(const bench_t *bench, uint64_t stream, float out[ALL_PARAMS])
{
    const test_device_t *device = workers_device(0);
    call_t               call;

    good_call(bench, &call);
    test_random_fill(out, BENCH_ELEMS, stream);
    assert_ok(test_buffer_write(device, bench->mem, 0, out, BENCH_ELEMS));
    assert_ok(psgd_reducer_step_with(bench->reducer, call.grads, call.num_grads, &call.options));
    assert_ok(test_buffer_read(device, bench->params, 0, out, ALL_PARAMS));
}

static void assert_equal_params(const bench_t *bench, const bench_t *fresh)
{
    static float         values[ALL_PARAMS], expected[ALL_PARAMS];
    const test_device_t *device = workers_device(0);

    assert_ok(test_buffer_read(device, bench->params, 0, values, ALL_PARAMS));
    assert_ok(test_buffer_read(device, fresh->params, 0, expected, ALL_PARAMS));
    ck_assert_mem_eq(values, expected, sizeof(values));
}

void assert_unharmed(bench_t *bench, uint32_t steps_before)
{
    static float values[ALL_PARAMS], expected[ALL_PARAMS];
    bench_t      fresh = open_bench();
    psgd_stats_t stats = PSGD_STATS_INIT;

    assert_equal_params(bench, &fresh);
    for (uint32_t step = 0; step <= steps_before; ++step) {
        good_step(&fresh, step, expected);
    }
    good_step(bench, steps_before, values);
    ck_assert_mem_eq(values, expected, BENCH_ELEMS * sizeof(float));
    good_step_with_optimizer(&fresh, steps_before + 1, expected);
    good_step_with_optimizer(bench, steps_before + 1, values);
    ck_assert_mem_eq(values, expected, sizeof(values));
    assert_ok(psgd_reducer_get_stats(bench->reducer, &stats));
    ck_assert_uint_eq(stats.steps, steps_before + 2);
    close_bench(&fresh);
}
