/* Wrong calls, wrong data and workers that fall silent, through the public API: each with its status, a sentence that
 * names the cause, and no effect on what follows. */
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { ROWS = 24, COLS = 40, ELEMS = ROWS * COLS };

/* For reducers whose failures are expected. */
static void ignore_line(psgd_log_level_t level, const char *line, void *user)
{
    (void)level;
    (void)line;
    (void)user;
}

/* --- creation ----------------------------------------------------------------------------------------------------- */

/* What psgd_reducer_create() is called with; a test spoils one field. */
typedef struct creation {
    cl_context       context;
    cl_device_id     device;
    cl_command_queue queue;
    psgd_tensor_t    tensors[2];
    size_t           num_tensors;
    psgd_config_t    config;
} creation_t;

static creation_t good_creation(void)
{
    const psgd_config_t  defaults = PSGD_CONFIG_INIT;
    const test_device_t *device   = workers_device(0);
    creation_t           creation = {device->context, device->id, device->queue, {{0}}, 2, defaults};

    creation.tensors[0] = job_tensor("first.weight", ROWS, COLS);
    creation.tensors[1] = job_tensor("second.bias", ROWS, 0);
    return creation;
}

static psgd_status_t create(const creation_t *creation, const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    return psgd_reducer_create(creation->context, creation->device, creation->queue, creation->tensors,
                               creation->num_tensors, &creation->config, comm, reducer_p);
}

/* Creation fails with this status and these words, and writes nothing. */
static void assert_refuses(const creation_t *creation, psgd_status_t status, const char *words)
{
    char            untouched;
    psgd_reducer_t *reducer = (psgd_reducer_t *)(void *)&untouched;
    psgd_comm_t    *comm    = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    assert_fails(create(creation, comm, &reducer), status, words);
    ck_assert_ptr_eq(reducer, (psgd_reducer_t *)(void *)&untouched);
    psgd_comm_destroy(comm);
}

START_TEST(create__a_refusal_leaves_the_communicator_usable)
{
    creation_t      good = good_creation(), bad = good;
    psgd_reducer_t *reducer = NULL;
    psgd_comm_t    *comm    = NULL;

    bad.config.rank = 0;
    assert_ok(psgd_comm_self_create(&comm));
    assert_fails(create(&bad, comm, &reducer), PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0");
    assert_ok(create(&good, comm, &reducer));
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(create__missing_arguments)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_comm_t    *comm     = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    assert_fails(create(&creation, NULL, &reducer), PSGD_ERR_INVALID_ARGUMENT, "comm is NULL");
    assert_fails(create(&creation, comm, NULL), PSGD_ERR_INVALID_ARGUMENT, "reducer_p is NULL");
    assert_fails(psgd_reducer_create(creation.context, creation.device, creation.queue, NULL, 1, NULL, comm, &reducer),
                 PSGD_ERR_INVALID_ARGUMENT, "no tensors");
    creation.num_tensors = 0;
    assert_fails(create(&creation, comm, &reducer), PSGD_ERR_INVALID_ARGUMENT, "no tensors");
    ck_assert_ptr_null(reducer);
    psgd_comm_destroy(comm);
    assert_fails(psgd_comm_self_create(NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_comm_threads_create(2, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_comm_threads_create(0, &comm), PSGD_ERR_INVALID_ARGUMENT, "0");
    assert_fails(psgd_comm_threads_create(1025, &comm), PSGD_ERR_INVALID_ARGUMENT, "1025");
}
END_TEST

START_TEST(create__names)
{
    creation_t creation = good_creation();

    creation.tensors[1].name = "first.weight";
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight'");
    creation.tensors[1].name = NULL;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "tensor 1 has no name");
    creation.tensors[1].name = "";
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "tensor 1 has no name");
}
END_TEST

START_TEST(create__dimensions)
{
    creation_t creation = good_creation();

    creation.tensors[0].dims[1] = 0;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight': dims[1] is 0");
    creation.tensors[0].dims[1] = UINT64_C(1) << 63;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight'");
    creation.tensors[0].dims[0] = UINT64_C(1) << 32; /* the product is 2^64 */
    creation.tensors[0].dims[1] = UINT64_C(1) << 32;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "2^40");
    creation.tensors[0].dims[0] = UINT64_C(1) << 20;
    creation.tensors[0].dims[1] = UINT64_C(1) << 20;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "2^40");
    creation.tensors[0].num_dims = 0;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has 0 dimensions");
    creation.tensors[0].num_dims = PSGD_MAX_DIMS + 1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has 9 dimensions");
    creation                  = good_creation();
    creation.tensors[0].dtype = (psgd_dtype_t)9;
    assert_refuses(&creation, PSGD_ERR_UNSUPPORTED, "dtype 9");
    creation                 = good_creation();
    creation.tensors[0].view = (psgd_matrix_view_t){1, ROWS, COLS, 0, COLS + 1, 1};
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "tensor 0 'first.weight': its view has strides");
}
END_TEST

START_TEST(create__rank)
{
    creation_t creation = good_creation();

    creation.config.rank = 0;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0");
    creation.config.rank = PSGD_MAX_RANK + 1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 1025");
    creation                 = good_creation();
    creation.tensors[0].rank = PSGD_MAX_RANK + 1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has rank 1025");
    creation.tensors[0].rank = -2;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' has rank -2");
}
END_TEST

START_TEST(create__options_out_of_range)
{
    creation_t creation = good_creation();

    creation.config.min_compression_rate = -1.0;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "min_compression_rate");
    creation.config.min_compression_rate = (double)NAN;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "min_compression_rate");
    creation                       = good_creation();
    creation.config.error_feedback = 2;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "error_feedback is 2");
    creation                   = good_creation();
    creation.config.warm_start = -1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "warm_start is -1");
    creation                          = good_creation();
    creation.config.exact_phase_times = 7;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "exact_phase_times is 7");
    creation                         = good_creation();
    creation.config.deadline_seconds = -0.5;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "deadline_seconds");
    creation                     = good_creation();
    creation.config.warn_seconds = (double)INFINITY;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "warn_seconds");
    creation               = good_creation();
    creation.config.engine = (psgd_engine_t)42;
    assert_refuses(&creation, PSGD_ERR_UNSUPPORTED, "engine is 42");
    creation.config.engine = (psgd_engine_t)(PSGD_ENGINE_FUSED + 1);
    assert_refuses(&creation, PSGD_ERR_UNSUPPORTED, "engine is 3");
    creation.config.engine = (psgd_engine_t)-1;
    assert_refuses(&creation, PSGD_ERR_UNSUPPORTED, "engine is -1");
    creation                = good_creation();
    creation.config.flatten = 2;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "flatten is 2");
    creation.config.flatten  = 1;
    creation.tensors[1].name = PSGD_FLATTENED_NAME;
    creation.config.rank     = 1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "'(flattened)'");
    creation                              = good_creation();
    creation.config.orthogonalize_shorter = -1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "orthogonalize_shorter is -1");
    creation                             = good_creation();
    creation.config.gradients_are_finite = 2;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "gradients_are_finite is 2");
    creation                = good_creation();
    creation.config.staging = (psgd_staging_t)(PSGD_STAGING_MAP + 1);
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "staging is 4");
    creation.config.staging = (psgd_staging_t)-1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "staging is -1");
    creation                       = good_creation();
    creation.config.engine_profile = "nonsense";
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "config.engine_profile, line 1: 'nonsense'");
    creation                  = good_creation();
    creation.config.log_level = (psgd_log_level_t)5;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "log_level is 5");
}
END_TEST

START_TEST(create__structs_that_were_not_initialized)
{
    creation_t creation = good_creation();

    memset(&creation.config, 0, sizeof(creation.config));
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "PSGD_CONFIG_INIT");
    memset(&creation.config, 0xa5, sizeof(creation.config));
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "PSGD_CONFIG_INIT");
    creation                        = good_creation();
    creation.tensors[0].struct_size = 0;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "PSGD_TENSOR_INIT");
    creation                        = good_creation();
    creation.tensors[1].struct_size = 1;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "PSGD_TENSOR_INIT");
}
END_TEST

/* A configuration as a later release might know it. */
typedef struct later_config {
    psgd_config_t known;
    uint64_t      unknown;
} later_config_t;

START_TEST(create__options_of_a_later_release)
{
    creation_t      creation = good_creation();
    later_config_t  later    = {creation.config, 0};
    psgd_reducer_t *reducer  = NULL;
    psgd_comm_t    *comm     = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    later.known.struct_size = sizeof(later);
    later.unknown           = 1;
    assert_fails(psgd_reducer_create(creation.context, creation.device, creation.queue, creation.tensors, 2,
                                     &later.known, comm, &reducer), PSGD_ERR_UNSUPPORTED, "config has struct_size");
    later.unknown = 0; /* what it does not know is off */
    assert_ok(psgd_reducer_create(creation.context, creation.device, creation.queue, creation.tensors, 2,
                                  &later.known, comm, &reducer));
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(create__handles_that_do_not_belong_together)
{
    creation_t    creation = good_creation();
    test_device_t other;

    assert_ok(test_device_open_apart(&other));
    creation.queue = other.queue;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "queue belongs to another context");
    creation.queue   = workers_device(0)->queue;
    creation.context = NULL;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "queue");
    creation        = good_creation();
    creation.device = NULL;
    assert_refuses(&creation, PSGD_ERR_INVALID_ARGUMENT, "device is NULL");
    test_device_close(&other);
}
END_TEST

START_TEST(create__communicators_that_are_not_whole)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_comm_t    *comm     = NULL;
    psgd_comm_t     spoilt;

    assert_ok(psgd_comm_self_create(&comm));
    spoilt             = *comm;
    spoilt.struct_size = 8;
    assert_fails(create(&creation, &spoilt, &reducer), PSGD_ERR_INVALID_ARGUMENT, "comm has struct_size 8");
    spoilt                  = *comm;
    spoilt.begin_all_reduce = NULL;
    assert_fails(create(&creation, &spoilt, &reducer), PSGD_ERR_INVALID_ARGUMENT, "begin_all_reduce");
    spoilt      = *comm;
    spoilt.test = NULL;
    assert_fails(create(&creation, &spoilt, &reducer), PSGD_ERR_INVALID_ARGUMENT, "test");
    spoilt              = *comm;
    spoilt.worker_index = 1;
    assert_fails(create(&creation, &spoilt, &reducer), PSGD_ERR_INVALID_ARGUMENT, "worker_index 1 of num_workers 1");
    spoilt             = *comm;
    spoilt.num_workers = 74566;
    assert_fails(create(&creation, &spoilt, &reducer), PSGD_ERR_INVALID_ARGUMENT, "74566");
    ck_assert_ptr_null(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

/* --- steps -------------------------------------------------------------------------------------------------------- */

/* A reducer of one matrix and one vector on the main thread, with gradients in one buffer. */
typedef struct bench {
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
    cl_mem          mem;
    psgd_buffer_t   grads[2];
} bench_t;

static bench_t open_bench(void)
{
    const test_device_t *device   = workers_device(0);
    creation_t           creation = good_creation();
    bench_t              bench;

    assert_ok(psgd_comm_self_create(&bench.comm));
    assert_ok(create(&creation, bench.comm, &bench.reducer));
    assert_ok(test_buffer_create(device, ELEMS + ROWS, &bench.mem));
    bench.grads[0] = (psgd_buffer_t){bench.mem, 0};
    bench.grads[1] = (psgd_buffer_t){bench.mem, ELEMS * sizeof(float)};
    return bench;
}

static void close_bench(bench_t *bench)
{
    psgd_reducer_destroy(bench->reducer);
    psgd_comm_destroy(bench->comm);
    clReleaseMemObject(bench->mem);
}

/* One good step of random gradients; out: ELEMS + ROWS. */
static void good_step(const bench_t *bench, uint64_t stream, float *out)
{
    const test_device_t *device = workers_device(0);

    test_random_fill(out, ELEMS + ROWS, stream);
    assert_ok(test_buffer_write(device, bench->mem, 0, out, ELEMS + ROWS));
    assert_ok(psgd_reducer_step(bench->reducer, bench->grads, 2));
    assert_ok(test_buffer_read(device, bench->mem, 0, out, ELEMS + ROWS));
}

/* After the spoilt calls on `bench`, its next step is that of a reducer that never saw them. */
static void assert_unharmed(bench_t *bench, uint32_t steps_before)
{
    static float values[ELEMS + ROWS], expected[ELEMS + ROWS];
    bench_t      fresh = open_bench();
    psgd_stats_t stats = PSGD_STATS_INIT;

    for (uint32_t step = 0; step <= steps_before; ++step) {
        good_step(&fresh, step, expected);
    }
    good_step(bench, steps_before, values);
    ck_assert_mem_eq(values, expected, sizeof(values));
    assert_ok(psgd_reducer_get_stats(bench->reducer, &stats));
    ck_assert_uint_eq(stats.steps, steps_before + 1);
    close_bench(&fresh);
}

START_TEST(step__missing_arguments)
{
    static float  values[ELEMS + ROWS];
    bench_t       bench = open_bench();
    psgd_buffer_t grads[2];

    good_step(&bench, 0, values);
    assert_fails(psgd_reducer_step(NULL, bench.grads, 2), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_step(bench.reducer, NULL, 2), PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    assert_fails(psgd_reducer_step(bench.reducer, bench.grads, 1), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 1");
    assert_fails(psgd_reducer_step(bench.reducer, bench.grads, 3), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 3");
    memcpy(grads, bench.grads, sizeof(grads));
    grads[1].mem = NULL;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "'second.bias' is NULL");
    assert_unharmed(&bench, 1);
    close_bench(&bench);
}
END_TEST

START_TEST(step__places_that_do_not_fit)
{
    bench_t       bench = open_bench();
    psgd_buffer_t grads[2];

    memcpy(grads, bench.grads, sizeof(grads));
    grads[1].offset_bytes += 4;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "'second.bias' needs 96 bytes");
    grads[1].offset_bytes = SIZE_MAX - 3;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "'second.bias' needs 96 bytes");
    grads[1].offset_bytes = 2;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "begins at byte 2");
    grads[1].offset_bytes = ELEMS * sizeof(float) - 4;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "overlap");
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "overlap");
    assert_unharmed(&bench, 0);
    close_bench(&bench);
}
END_TEST

START_TEST(step__buffers_of_another_kind)
{
    const test_device_t *device = workers_device(0);
    bench_t              bench  = open_bench();
    psgd_buffer_t        grads[2];
    test_device_t        other;
    cl_int               result;
    cl_mem               read_only, write_only, foreign;

    assert_ok(test_device_open_apart(&other));
    read_only = clCreateBuffer(device->context, CL_MEM_READ_ONLY, ELEMS * sizeof(float), NULL, &result);
    assert_ok(test_cl_check(result, "clCreateBuffer"));
    write_only = clCreateBuffer(device->context, CL_MEM_WRITE_ONLY, ELEMS * sizeof(float), NULL, &result);
    assert_ok(test_cl_check(result, "clCreateBuffer"));
    assert_ok(test_buffer_create(&other, ELEMS, &foreign));
    memcpy(grads, bench.grads, sizeof(grads));
    grads[0].mem = read_only;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "is a read-only buffer");
    grads[0].mem = write_only;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "is a write-only buffer");
    grads[0].mem = foreign;
    assert_fails(psgd_reducer_step(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "another OpenCL context");
    assert_unharmed(&bench, 0);
    clReleaseMemObject(read_only);
    clReleaseMemObject(write_only);
    clReleaseMemObject(foreign);
    test_device_close(&other);
    close_bench(&bench);
}
END_TEST

START_TEST(step_host__pointers)
{
    static float values[ELEMS + ROWS];
    bench_t      bench = open_bench();
    float       *grads[2];

    grads[0] = values;
    grads[1] = NULL;
    assert_fails(psgd_reducer_step_host(NULL, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_step_host(bench.reducer, NULL, 2), PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    assert_fails(psgd_reducer_step_host(bench.reducer, grads, 5), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 5");
    assert_fails(psgd_reducer_step_host(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "'second.bias' is NULL");
    grads[1] = (float *)(void *)((char *)values + 2);
    assert_fails(psgd_reducer_step_host(bench.reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, "not aligned");
    assert_unharmed(&bench, 0);
    close_bench(&bench);
}
END_TEST

START_TEST(stats__arguments)
{
    bench_t            bench = open_bench();
    psgd_stats_t       stats = PSGD_STATS_INIT;
    psgd_tensor_plan_t plan  = PSGD_TENSOR_PLAN_INIT;

    assert_fails(psgd_reducer_get_stats(NULL, &stats), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_get_stats(bench.reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "stats_p is NULL");
    stats.struct_size = 3;
    assert_fails(psgd_reducer_get_stats(bench.reducer, &stats), PSGD_ERR_INVALID_ARGUMENT, "PSGD_STATS_INIT");
    assert_fails(psgd_reducer_get_tensor_plan(NULL, 0, &plan), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_get_tensor_plan(bench.reducer, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "plan_p is NULL");
    assert_fails(psgd_reducer_get_tensor_plan(bench.reducer, 2, &plan), PSGD_ERR_INVALID_ARGUMENT, "tensor_index is 2");
    plan.struct_size = 0;
    assert_fails(psgd_reducer_get_tensor_plan(bench.reducer, 0, &plan), PSGD_ERR_INVALID_ARGUMENT,
                 "PSGD_TENSOR_PLAN_INIT");
    close_bench(&bench);
}
END_TEST

/* --- state -------------------------------------------------------------------------------------------------------- */

START_TEST(state__arguments)
{
    static float    values[ELEMS];
    bench_t         bench = open_bench();
    psgd_state_t   *state = NULL;
    const float    *pointer;
    uint64_t        number;
    uint32_t        rank;
    const float     bad[2] = {1.0f, (float)NAN};

    assert_fails(psgd_state_create(NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_ok(psgd_state_create(&state));
    assert_fails(psgd_state_set_step(NULL, 0, 0), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_set_factor(NULL, "a", 2, 1, values), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_set_factor(state, NULL, 2, 1, values), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_set_factor(state, "a", 2, 1, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_set_factor(state, "a", 0, 1, values), PSGD_ERR_INVALID_ARGUMENT, "'a'");
    assert_fails(psgd_state_set_factor(state, "a", 2, 0, values), PSGD_ERR_INVALID_ARGUMENT, "'a'");
    assert_fails(psgd_state_set_factor(state, "a", 2, 1025, values), PSGD_ERR_INVALID_ARGUMENT, "'a'");
    assert_fails(psgd_state_set_factor(state, "a", 2, 1, bad), PSGD_ERR_NONFINITE, "'a'");
    assert_fails(psgd_state_set_error(state, "a", 2, bad), PSGD_ERR_NONFINITE, "'a'");
    assert_fails(psgd_state_set_error(state, "a", 0, values), PSGD_ERR_INVALID_ARGUMENT, "'a'");
    assert_fails(psgd_state_set_error(state, "a", 1, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_state_get_factor(state, "a", &number, &rank, &pointer), PSGD_ERR_STATE, "'a'");
    assert_fails(psgd_state_get_error(state, "a", &number, &pointer), PSGD_ERR_STATE, "'a'");
    assert_fails(psgd_state_get_step(state, NULL, NULL), PSGD_ERR_INVALID_ARGUMENT, "NULL");
    assert_fails(psgd_reducer_import_state(NULL, state), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_import_state(bench.reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "state is NULL");
    assert_fails(psgd_reducer_export_state(NULL, PSGD_ERROR_NONE, &state), PSGD_ERR_INVALID_ARGUMENT,
                 "reducer is NULL");
    assert_fails(psgd_reducer_export_state(bench.reducer, PSGD_ERROR_NONE, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "state_p is NULL");
    psgd_state_destroy(state);
    state = NULL;
    assert_fails(psgd_reducer_export_state(bench.reducer, (psgd_error_form_t)3, &state), PSGD_ERR_INVALID_ARGUMENT,
                 "form is 3");
    ck_assert_ptr_null(state);
    close_bench(&bench);
}
END_TEST

/* A state that fits in its first item, and not in the one that `spoil` adds: nothing of it is taken over. */
static void assert_import_fails(void (*spoil)(psgd_state_t *state, const float *values), const char *words)
{
    static float  values[ELEMS + ROWS];
    bench_t       bench = open_bench();
    psgd_state_t *state = NULL;

    good_step(&bench, 0, values);
    assert_ok(psgd_state_create(&state));
    test_random_fill(values, ELEMS, 77);
    assert_ok(psgd_state_set_factor(state, "first.weight", COLS, 4, values));
    assert_ok(psgd_state_set_error(state, "first.weight", ELEMS, values));
    assert_ok(psgd_state_set_step(state, 9, 0));
    spoil(state, values);
    assert_fails(psgd_reducer_import_state(bench.reducer, state), PSGD_ERR_STATE, words);
    psgd_state_destroy(state);
    assert_unharmed(&bench, 1);
    close_bench(&bench);
}

static void spoil_name(psgd_state_t *state, const float *values)
{
    assert_ok(psgd_state_set_factor(state, "third.weight", COLS, 4, values));
}

static void spoil_uncompressed(psgd_state_t *state, const float *values)
{
    assert_ok(psgd_state_set_error(state, "second.bias", ROWS, values));
}

static void spoil_rank(psgd_state_t *state, const float *values)
{
    assert_ok(psgd_state_set_factor(state, "first.weight", COLS, 3, values));
}

static void spoil_cols(psgd_state_t *state, const float *values)
{
    assert_ok(psgd_state_set_factor(state, "first.weight", COLS - 1, 4, values));
}

static void spoil_error(psgd_state_t *state, const float *values)
{
    assert_ok(psgd_state_set_error(state, "first.weight", ELEMS - 1, values));
}

static void spoil_seed(psgd_state_t *state, const float *values)
{
    (void)values;
    assert_ok(psgd_state_set_step(state, 9, 1));
}

START_TEST(import__state_for_other_tensors_changes_nothing)
{
    assert_import_fails(spoil_name, "'third.weight'");
    assert_import_fails(spoil_uncompressed, "'second.bias'");
    assert_import_fails(spoil_rank, "'first.weight' is 40 x 3");
    assert_import_fails(spoil_cols, "'first.weight' is 39 x 4");
    assert_import_fails(spoil_error, "'first.weight' has 959 elements");
    assert_import_fails(spoil_seed, "seed");
}
END_TEST

START_TEST(import__error_into_a_reducer_without_error_feedback)
{
    static float    values[ELEMS];
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_state_t   *state    = NULL;
    psgd_comm_t    *comm     = NULL;

    creation.config.error_feedback = 0;
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(create(&creation, comm, &reducer));
    assert_ok(psgd_state_create(&state));
    assert_ok(psgd_state_set_error(state, "first.weight", ELEMS, values));
    assert_fails(psgd_reducer_import_state(reducer, state), PSGD_ERR_STATE, "error feedback");
    psgd_state_destroy(state);
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

/* --- workers that do not agree ------------------------------------------------------------------------------------ */

/* Worker 1 creates its reducer with a difference; all workers are told the same. */
static psgd_status_t create_with_difference(worker_t *worker)
{
    void (*spoil)(creation_t *creation) = *(void (**)(creation_t *))worker->user;
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_status_t   status;

    creation.context                 = worker->device->context;
    creation.device                  = worker->device->id;
    creation.queue                   = worker->device->queue;
    creation.config.deadline_seconds = 60.0;
    if (worker->index == 1) {
        spoil(&creation);
    }
    status = create(&creation, worker->comm, &reducer);
    psgd_reducer_destroy(reducer);
    return status;
}

static void assert_all_refuse(void (*spoil)(creation_t *creation), psgd_status_t status, const char *words,
                              const char *words_of_others)
{
    worker_outcome_t outcomes[WORKERS_MAX];

    workers_try(3, create_with_difference, &spoil, outcomes);
    for (uint32_t w = 0; w < 3; ++w) {
        const char *expected = w == 1 ? words : words_of_others;

        ck_assert_msg(outcomes[w].status == status, "worker %u: %s: %s", w, psgd_status_name(outcomes[w].status),
                      outcomes[w].sentence);
        ck_assert_msg(strstr(outcomes[w].sentence, expected) != NULL, "worker %u: '%s' is not in: %s", w, expected,
                      outcomes[w].sentence);
    }
}

static void differ_in_dims(creation_t *creation)
{
    creation->tensors[0].dims[1] += 1;
}

static void differ_in_name(creation_t *creation)
{
    creation->tensors[1].name = "other.bias";
}

static void differ_in_rank(creation_t *creation)
{
    creation->config.rank = 3;
}

static void differ_in_tensor_rank(creation_t *creation)
{
    creation->tensors[0].rank = PSGD_NEVER_COMPRESS;
}

static void differ_in_seed(creation_t *creation)
{
    creation->config.seed = 5;
}

static void differ_in_number(creation_t *creation)
{
    creation->num_tensors = 1;
}

static void differ_in_order(creation_t *creation)
{
    psgd_tensor_t first = creation->tensors[0];

    creation->tensors[0] = creation->tensors[1];
    creation->tensors[1] = first;
}

static void differ_in_engine(creation_t *creation)
{
    creation->config.engine = PSGD_ENGINE_FUSED;
}

static void differ_in_form(creation_t *creation)
{
    creation->config.gradients_are_finite = 1;
}

static void differ_in_profile(creation_t *creation)
{
    creation->config.engine_profile = "psgd-profile 1\n24 40 4 clblast\n";
}

static void break_config(creation_t *creation)
{
    creation->config.rank = 0;
}

static void break_profile(creation_t *creation)
{
    creation->config.engine_profile = "psgd-profile 1\n24 40 4 magic\n";
}

START_TEST(workers__that_differ_are_told_in_what)
{
    assert_all_refuse(differ_in_dims, PSGD_ERR_MISMATCH, "'first.weight'", "worker 1");
    assert_all_refuse(differ_in_name, PSGD_ERR_MISMATCH, "'other.bias'", "'second.bias'");
    assert_all_refuse(differ_in_rank, PSGD_ERR_MISMATCH, "config.rank: worker 0 has 4, worker 1 has 3", "config.rank");
    assert_all_refuse(differ_in_tensor_rank, PSGD_ERR_MISMATCH, "rank differs", "'first.weight'");
    assert_all_refuse(differ_in_seed, PSGD_ERR_MISMATCH, "config.seed", "worker 1");
    assert_all_refuse(differ_in_number, PSGD_ERR_MISMATCH, "number of tensors", "number of tensors");
    assert_all_refuse(differ_in_order, PSGD_ERR_MISMATCH, "tensor 0", "'first.weight'");
    assert_all_refuse(differ_in_engine, PSGD_ERR_MISMATCH, "config.engine: worker 0 has 0, worker 1 has 2",
                      "config.engine");
    assert_all_refuse(differ_in_form, PSGD_ERR_MISMATCH, "config.gradients_are_finite: worker 0 has 0, worker 1 has 1",
                      "config.gradients_are_finite");
    assert_all_refuse(differ_in_profile, PSGD_ERR_MISMATCH, "config.engine_profile", "'first.weight'");
}
END_TEST

START_TEST(workers__all_fail_to_create_where_one_does)
{
    assert_all_refuse(break_config, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0", "1 of 3 workers");
    assert_all_refuse(break_profile, PSGD_ERR_INVALID_ARGUMENT, "config.engine_profile, line 2", "1 of 3 workers");
}
END_TEST

/* The exact bits of what two states hold. */
static psgd_status_t compare_states(const job_t *job, const psgd_state_t *a, const psgd_state_t *b)
{
    uint64_t a_step, b_step, a_seed, b_seed;

    worker_needs(psgd_state_get_step(a, &a_step, &a_seed));
    worker_needs(psgd_state_get_step(b, &b_step, &b_seed));
    worker_expects((a_step == b_step) && (a_seed == b_seed), "the step changed");
    for (size_t t = 0; t < job->num_tensors; ++t) {
        const char  *name = job->tensors[t].name;
        const float *a_values, *b_values;
        uint64_t     a_count, b_count;
        uint32_t     a_rank, b_rank;

        if (psgd_state_get_factor(a, name, &a_count, &a_rank, &a_values) != PSGD_OK) {
            continue;
        }
        worker_needs(psgd_state_get_factor(b, name, &b_count, &b_rank, &b_values));
        worker_expects((a_count == b_count) && (a_rank == b_rank), "the factor of '%s' changed its shape", name);
        worker_expects(memcmp(a_values, b_values, a_count * a_rank * sizeof(float)) == 0, "Q of '%s' changed", name);
        worker_needs(psgd_state_get_error(a, name, &a_count, &a_values));
        worker_needs(psgd_state_get_error(b, name, &b_count, &b_values));
        worker_expects(memcmp(a_values, b_values, a_count * sizeof(float)) == 0, "the error of '%s' changed", name);
    }
    return PSGD_OK;
}

/* More often than a communicator has requests: a step that ends early gives back all it began. */
enum { MANY_TIMES = 70 };

/* What is wrong with the gradients of the step that is tried before step 2. */
typedef struct spoilt_step {
    const char   *tensor;
    float         value;
    bool          on_all_workers; /* else on worker 1 alone */
    uint32_t      times;          /* in a row */
    psgd_status_t expected;
    const char   *words;
} spoilt_step_t;

static size_t tensor_offset(const job_t *job, const char *name)
{
    size_t offset = 0;

    for (size_t t = 0; t < job->num_tensors; ++t) {
        size_t elems = 1;

        if (strcmp(job->tensors[t].name, name) == 0) {
            return offset;
        }
        for (uint32_t d = 0; d < job->tensors[t].num_dims; ++d) {
            elems *= job->tensors[t].dims[d];
        }
        offset += elems;
    }
    return offset;
}

static psgd_status_t try_spoilt_step(const job_t *job, uint32_t worker, psgd_reducer_t *reducer, float *values)
{
    const spoilt_step_t *spoilt = job->user;
    float               *pointers[32];
    size_t               offset = 0;
    psgd_status_t        status;

    worker_expects(job->num_tensors <= 32, "too many tensors");
    test_random_fill(values, job_total_elems(job), 12345 + worker);
    if ((worker == 1) || spoilt->on_all_workers) {
        values[tensor_offset(job, spoilt->tensor) + 1] = spoilt->value;
    }
    for (size_t t = 0; t < job->num_tensors; ++t) {
        size_t elems = 1;

        pointers[t] = values + offset;
        for (uint32_t d = 0; d < job->tensors[t].num_dims; ++d) {
            elems *= job->tensors[t].dims[d];
        }
        offset += elems;
    }
    status = psgd_reducer_step_host(reducer, pointers, job->num_tensors);
    worker_expects(status == spoilt->expected, "the spoilt step of '%s' ended with %s: %s", spoilt->tensor,
                   psgd_status_name(status), psgd_last_error());
    worker_expects(strstr(psgd_last_error(), spoilt->words) != NULL, "'%s' is not in the sentence: %s", spoilt->words,
                   psgd_last_error());
    return PSGD_OK;
}

static psgd_status_t spoil_before_step_2(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const spoilt_step_t *spoilt = job->user;
    psgd_stats_t         stats  = PSGD_STATS_INIT;
    psgd_state_t        *before = NULL, *after = NULL;
    float               *values;

    if (step != 2) {
        return PSGD_OK;
    }
    values = malloc(job_total_elems(job) * sizeof(*values));
    worker_expects(values != NULL, "no memory for a gradient");
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &before));
    for (uint32_t i = 0; i < spoilt->times; ++i) {
        worker_needs(try_spoilt_step(job, worker, reducer, values));
    }
    free(values);
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &after));
    worker_needs(compare_states(job, before, after));
    worker_needs(psgd_reducer_get_stats(reducer, &stats));
    worker_expects((stats.steps == 2) && (stats.skipped_steps == spoilt->times), "%llu steps, %llu skipped",
                   (unsigned long long)stats.steps, (unsigned long long)stats.skipped_steps);
    psgd_state_destroy(before);
    psgd_state_destroy(after);
    return PSGD_OK;
}

/* The steps of spoilt gradients fail alike on all workers and have not happened: later ones are as in a clean run. */
static void assert_steps_have_not_happened(const spoilt_step_t *spoilt, size_t num_spoilt, uint64_t start_step)
{
    psgd_tensor_t tensors[3] = {job_tensor("weight", 40, 56), job_tensor("bias", 11, 0), job_tensor("large", 70000, 0)};
    job_t         job        = job_describe(tensors, 3);
    job_record_t  clean[WORKERS_MAX], disturbed[WORKERS_MAX];

    job.num_workers       = 2;
    job.num_steps         = 3;
    job.config.start_step = start_step;
    job_run(&job, clean);
    job.before_step = spoil_before_step_2;
    for (size_t i = 0; i < num_spoilt; ++i) {
        spoilt_step_t step = spoilt[i];

        job.user = &step;
        job_run(&job, disturbed);
        for (uint32_t w = 0; w < job.num_workers; ++w) {
            job_assert_same_bits(&clean[w], &disturbed[w]);
        }
        job_records_free(&job, disturbed);
    }
    job_records_free(&job, clean);
}

START_TEST(nonfinite__a_step_with_nan_or_inf_on_one_worker_has_not_happened)
{
    const spoilt_step_t spoilt[] = {
        {"weight", (float)NAN, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"large", (float)INFINITY, false, MANY_TIMES, PSGD_ERR_NONFINITE, "worker 1"},
        {"bias", (float)NAN, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"weight", -(float)INFINITY, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"weight", (float)NAN, true, 1, PSGD_ERR_NONFINITE, "worker 0"},
    };

    assert_steps_have_not_happened(spoilt, psgd_test_shapes_are_reduced() ? 2 : 5, 0);
    assert_steps_have_not_happened(spoilt, 1, 100); /* a plain step */
}
END_TEST

START_TEST(nonfinite__a_step_that_overflows_has_not_happened)
{
    const spoilt_step_t spoilt[] = {
        {"bias", FLT_MAX, true, 1, PSGD_ERR_NONFINITE, "overflow"}, /* each is finite, their sum is not */
        {"large", FLT_MAX, true, 1, PSGD_ERR_NONFINITE, "overflow"},
    };

    assert_steps_have_not_happened(spoilt, 2, 0);
    assert_steps_have_not_happened(spoilt, 1, 100);
}
END_TEST

START_TEST(nonfinite__on_one_worker_alone)
{
    const test_device_t *device = workers_device(0);
    bench_t              bench  = open_bench();
    float                values[ELEMS + ROWS];

    good_step(&bench, 0, values);
    test_random_fill(values, ELEMS + ROWS, 5);
    values[ELEMS / 2] = (float)NAN;
    assert_ok(test_buffer_write(device, bench.mem, 0, values, ELEMS + ROWS));
    assert_fails(psgd_reducer_step(bench.reducer, bench.grads, 2), PSGD_ERR_NONFINITE, "step 1");
    assert_unharmed(&bench, 1);
    close_bench(&bench);
}
END_TEST

/* Worker 1 calls the step wrongly; both are told, and both go on. */
static psgd_status_t call_wrongly_before_step_2(const job_t *job, uint32_t worker, uint32_t step,
                                                psgd_reducer_t *reducer)
{
    float        *values;
    float        *pointers[32];
    size_t        offset = 0;
    psgd_status_t status;

    if (step != 2) {
        return PSGD_OK;
    }
    values = malloc(job_total_elems(job) * sizeof(*values));
    worker_expects((values != NULL) && (job->num_tensors <= 32), "no memory for a gradient");
    test_random_fill(values, job_total_elems(job), 12345);
    for (size_t t = 0; t < job->num_tensors; ++t) {
        pointers[t] = values + offset;
        offset += job->tensors[t].dims[0] * (job->tensors[t].num_dims > 1 ? job->tensors[t].dims[1] : 1);
    }
    status = psgd_reducer_step_host(reducer, pointers, worker == 1 ? job->num_tensors - 1 : job->num_tensors);
    free(values);
    worker_expects(status == PSGD_ERR_INVALID_ARGUMENT, "worker %u: %s: %s", worker, psgd_status_name(status),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), "worker 1") != NULL, "worker 1 is not named: %s", psgd_last_error());
    return PSGD_OK;
}

START_TEST(workers__all_hear_of_a_wrong_call_and_go_on)
{
    psgd_tensor_t tensors[3] = {job_tensor("weight", 40, 56), job_tensor("bias", 11, 0), job_tensor("large", 70000, 0)};
    job_t         clean      = job_describe(tensors, 3), disturbed;
    job_record_t  clean_records[WORKERS_MAX], disturbed_records[WORKERS_MAX];

    clean.num_workers     = 2;
    disturbed             = clean;
    disturbed.before_step = call_wrongly_before_step_2;
    job_run(&clean, clean_records);
    job_run(&disturbed, disturbed_records);
    for (uint32_t w = 0; w < clean.num_workers; ++w) {
        job_assert_same_bits(&clean_records[w], &disturbed_records[w]);
    }
    job_records_free(&clean, clean_records);
    job_records_free(&disturbed, disturbed_records);
}
END_TEST

/* --- reducers that cannot go on ----------------------------------------------------------------------------------- */

/* Every later call says why. */
static psgd_status_t expect_poisoned(psgd_reducer_t *reducer, float **pointers, size_t num_tensors, const char *words)
{
    psgd_state_t *state = NULL;
    psgd_stats_t  stats = PSGD_STATS_INIT;
    psgd_status_t status[3];

    worker_needs(psgd_state_create(&state));
    status[0] = psgd_reducer_step_host(reducer, pointers, num_tensors);
    worker_expects(strstr(psgd_last_error(), words) != NULL, "'%s' is not in the sentence: %s", words,
                   psgd_last_error());
    status[1] = psgd_reducer_import_state(reducer, state);
    psgd_state_destroy(state);
    state     = NULL;
    status[2] = psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &state);
    for (int i = 0; i < 3; ++i) {
        worker_expects(status[i] == PSGD_ERR_POISONED, "call %d after the failure: %s: %s", i,
                       psgd_status_name(status[i]), psgd_last_error());
    }
    worker_expects(state == NULL, "a poisoned reducer exported its state");
    return psgd_reducer_get_stats(reducer, &stats);
}

/* Q differs between the workers: worker 1 imports one of its own. */
static psgd_status_t import_on_one_worker(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("weight", ROWS, COLS);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_state_t   *state   = NULL;
    float           values[ELEMS], q[COLS * 4];
    float          *pointer    = values;
    bool            imports_q  = *(const bool *)worker->user;
    psgd_status_t   expected   = imports_q ? PSGD_ERR_DIVERGED : PSGD_ERR_MISMATCH;
    psgd_status_t   status;

    config.log              = ignore_line;
    config.deadline_seconds = 60.0;
    test_random_fill(values, ELEMS, worker->index);
    test_random_fill(q, COLS * 4, 9);
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, worker->comm, &reducer));
    worker_needs(psgd_reducer_step_host(reducer, &pointer, 1));
    if (worker->index == 1) {
        worker_needs(psgd_state_create(&state));
        if (imports_q) {
            worker_needs(psgd_state_set_factor(state, "weight", COLS, 4, q));
        } else {
            worker_needs(psgd_state_set_step(state, 7, 0));
        }
        worker_needs(psgd_reducer_import_state(reducer, state));
        psgd_state_destroy(state);
    }
    status = psgd_reducer_step_host(reducer, &pointer, 1);
    worker_expects(status == expected, "%s: %s", psgd_status_name(status), psgd_last_error());
    worker_expects(strstr(psgd_last_error(), "worker 1") != NULL, "worker 1 is not named: %s", psgd_last_error());
    worker_needs(expect_poisoned(reducer, &pointer, 1, psgd_status_name(expected)));
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

START_TEST(workers__that_hold_another_q_or_step_are_named)
{
    bool imports_q = true;

    workers_run(3, import_on_one_worker, &imports_q);
    imports_q = false;
    workers_run(3, import_on_one_worker, &imports_q);
}
END_TEST

static const double SHORT_DEADLINE_SECONDS = 2.0;

/* Worker 1 makes one step and then none; worker 0 finds out in its second. */
static psgd_status_t fall_silent(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("weight", ROWS, COLS);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    float           values[ELEMS];
    float          *pointer = values;
    psgd_status_t   status;

    config.deadline_seconds = worker->index == 0 ? SHORT_DEADLINE_SECONDS : 60.0;
    config.log              = ignore_line;
    test_random_fill(values, ELEMS, worker->index);
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, worker->comm, &reducer));
    worker_needs(psgd_reducer_step_host(reducer, &pointer, 1));
    if (worker->index == 0) {
        status = psgd_reducer_step_host(reducer, &pointer, 1);
        worker_expects(status == PSGD_ERR_TIMEOUT, "%s: %s", psgd_status_name(status), psgd_last_error());
        worker_expects(strstr(psgd_last_error(), "reduce_p of step 1") != NULL, "the sentence: %s", psgd_last_error());
        worker_needs(expect_poisoned(reducer, &pointer, 1, "PSGD_ERR_TIMEOUT"));
    }
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

START_TEST(workers__that_stop_are_given_up_after_the_deadline)
{
    workers_run(2, fall_silent, NULL);
}
END_TEST

static psgd_status_t never_create(worker_t *worker)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_status_t   status;

    if (worker->index == 1) {
        return PSGD_OK;
    }
    creation.config.deadline_seconds = 0.2;
    status                           = create(&creation, worker->comm, &reducer);
    worker_expects(status == PSGD_ERR_TIMEOUT, "%s: %s", psgd_status_name(status), psgd_last_error());
    worker_expects(reducer == NULL, "a reducer was created");
    return PSGD_OK;
}

START_TEST(workers__that_never_come_are_given_up_after_the_deadline)
{
    workers_run(2, never_create, NULL);
}
END_TEST

/* --- one communicator that fails ---------------------------------------------------------------------------------- */

/* Forwards to the library's own communicator of one worker until it is told to fail. */
typedef struct breaking_comm {
    psgd_comm_t  table;
    psgd_comm_t *inner;
    uint32_t     begins_left; /* before begin_all_reduce fails */
    uint32_t     num_aborts;
} breaking_comm_t;

static psgd_status_t breaking_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    breaking_comm_t *comm = self;

    if (comm->begins_left == 0) {
        return psgd_comm_fail(PSGD_ERR_COMM, "the cable of worker %u was cut", comm->table.worker_index);
    }
    comm->begins_left--;
    return comm->inner->begin_all_reduce(comm->inner->self, data, count, request_p);
}

static psgd_status_t breaking_test(void *self, psgd_request_t *request, int *done_p)
{
    breaking_comm_t *comm = self;

    return comm->inner->test(comm->inner->self, request, done_p);
}

static void breaking_abort(void *self)
{
    breaking_comm_t *comm = self;

    comm->num_aborts++;
}

START_TEST(comm__a_failure_poisons_with_the_communicators_own_sentence)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    breaking_comm_t comm;
    float           values[ELEMS + ROWS];
    float          *pointers[2] = {values, values + ELEMS};

    memset(&comm, 0, sizeof(comm));
    assert_ok(psgd_comm_self_create(&comm.inner));
    comm.table.struct_size      = sizeof(comm.table);
    comm.table.name             = "breaking";
    comm.table.self             = &comm;
    comm.table.num_workers      = 1;
    comm.table.begin_all_reduce = breaking_all_reduce;
    comm.table.test             = breaking_test;
    comm.table.abort            = breaking_abort;
    comm.begins_left            = 6; /* 3 of creation, 2 of the first step, and the second one's message 1 */
    creation.config.log         = ignore_line;
    assert_ok(create(&creation, &comm.table, &reducer));
    test_random_fill(values, ELEMS + ROWS, 1);
    assert_ok(psgd_reducer_step_host(reducer, pointers, 2));
    assert_fails(psgd_reducer_step_host(reducer, pointers, 2), PSGD_ERR_COMM, "the cable of worker 0 was cut");
    ck_assert_uint_eq(comm.num_aborts, 1);
    assert_ok(expect_poisoned(reducer, pointers, 2, "cable"));
    psgd_reducer_destroy(reducer);
    ck_assert_uint_eq(comm.num_aborts, 1);
    psgd_comm_destroy(comm.inner);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input");
    TCase *tcase = tcase_create("public API");
    int    result;

    tcase_add_test(tcase, create__missing_arguments);
    tcase_add_test(tcase, create__a_refusal_leaves_the_communicator_usable);
    tcase_add_test(tcase, create__names);
    tcase_add_test(tcase, create__dimensions);
    tcase_add_test(tcase, create__rank);
    tcase_add_test(tcase, create__options_out_of_range);
    tcase_add_test(tcase, create__structs_that_were_not_initialized);
    tcase_add_test(tcase, create__options_of_a_later_release);
    tcase_add_test(tcase, create__handles_that_do_not_belong_together);
    tcase_add_test(tcase, create__communicators_that_are_not_whole);
    tcase_add_test(tcase, step__missing_arguments);
    tcase_add_test(tcase, step__places_that_do_not_fit);
    tcase_add_test(tcase, step__buffers_of_another_kind);
    tcase_add_test(tcase, step_host__pointers);
    tcase_add_test(tcase, stats__arguments);
    tcase_add_test(tcase, state__arguments);
    tcase_add_test(tcase, import__state_for_other_tensors_changes_nothing);
    tcase_add_test(tcase, import__error_into_a_reducer_without_error_feedback);
    tcase_add_test(tcase, workers__that_differ_are_told_in_what);
    tcase_add_test(tcase, workers__all_fail_to_create_where_one_does);
    tcase_add_test(tcase, nonfinite__a_step_with_nan_or_inf_on_one_worker_has_not_happened);
    tcase_add_test(tcase, nonfinite__a_step_that_overflows_has_not_happened);
    tcase_add_test(tcase, nonfinite__on_one_worker_alone);
    tcase_add_test(tcase, workers__all_hear_of_a_wrong_call_and_go_on);
    tcase_add_test(tcase, workers__that_hold_another_q_or_step_are_named);
    tcase_add_test(tcase, workers__that_stop_are_given_up_after_the_deadline);
    tcase_add_test(tcase, workers__that_never_come_are_given_up_after_the_deadline);
    tcase_add_test(tcase, comm__a_failure_poisons_with_the_communicators_own_sentence);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
