/* Wrong calls on a reducer, through the public API: steps, what goes with them, ranks, regions, questions. Each ends with its status, a
 * sentence that names the cause, and no effect on what follows: parameters and momenta untouched, and the next steps have the bits of a
 * reducer that was never called wrongly. */
#include <float.h>
#include <math.h>

#include "system/bad_input.h"

/* ---- the reducer of all tests -------------------------------------------------------------------------------------- */

static bench_t bench;

/* Memory that calls refuse: of another context, not to be written or read, not by the host, no buffer, too small. */
static struct {
    test_device_t device;
    cl_mem        foreign, read_only, write_only, hidden, image, small, part;
} other;

/* A buffer of zeros. */
static cl_mem buffer_of_kind(cl_mem_flags flags, size_t bytes)
{
    const test_device_t *device = workers_device(0);
    const float          zero   = 0.0f;
    cl_int               result;
    cl_mem               mem = clCreateBuffer(device->context, flags, bytes, NULL, &result);

    assert_ok(test_cl_check(result, "clCreateBuffer"));
    assert_ok(test_cl_check(clEnqueueFillBuffer(device->queue, mem, &zero, sizeof(zero), 0, bytes, 0, NULL, NULL),
                            "clEnqueueFillBuffer"));
    return mem;
}

/* NULL where the device has no images. */
static cl_mem create_image(void)
{
    const cl_image_format format      = {CL_RGBA, CL_FLOAT};
    const cl_image_desc   description = {.image_type = CL_MEM_OBJECT_IMAGE2D, .image_width = 64, .image_height = 64};
    cl_int                result;
    cl_mem mem = clCreateImage(workers_device(0)->context, CL_MEM_READ_WRITE, &format, &description, NULL, &result);

    return result == CL_SUCCESS ? mem : NULL;
}

static void open_all(void)
{
    static float values[BENCH_ELEMS];

    bench = open_bench();
    good_step(&bench, 0, values);
    assert_ok(test_device_open_apart(&other.device));
    assert_ok(test_buffer_create(&other.device, BENCH_ELEMS, &other.foreign));
    other.read_only  = buffer_of_kind(CL_MEM_READ_ONLY, BENCH_ELEMS * sizeof(float));
    other.write_only = buffer_of_kind(CL_MEM_WRITE_ONLY, BENCH_ELEMS * sizeof(float));
    other.hidden     = buffer_of_kind(CL_MEM_HOST_NO_ACCESS, BENCH_ELEMS * sizeof(float));
    other.image      = create_image();
    assert_ok(test_buffer_create(workers_device(0), 2, &other.small));
}

static void close_all(void)
{
    assert_unharmed(&bench, 1);
    close_bench(&bench);
    clReleaseMemObject(other.foreign);
    clReleaseMemObject(other.read_only);
    clReleaseMemObject(other.write_only);
    clReleaseMemObject(other.hidden);
    clReleaseMemObject(other.small);
    if (other.image != NULL) {
        clReleaseMemObject(other.image);
    }
    if (other.part != NULL) {
        clReleaseMemObject(other.part);
        other.part = NULL;
    }
    test_device_close(&other.device);
}

/* ---- steps --------------------------------------------------------------------------------------------------------- */

/* One case: a good call with an optimizer that `spoil_` has changed. */
#define step_refuses(spoil_, status_, words_) \
    do { \
        call_t bad; \
        good_call(&bench, &bad); \
        spoil_; \
        assert_refused(psgd_reducer_step_with(bench.reducer, bad.grads, bad.num_grads, &bad.options), status_, \
                       words_); \
    } while (0)

START_TEST(step__refuses_missing_arguments)
{
    assert_refused(psgd_reducer_step(NULL, bench.grads, 2), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_step(bench.reducer, NULL, 2), PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    assert_refused(psgd_reducer_step(bench.reducer, bench.grads, 0), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 0");
    assert_refused(psgd_reducer_step(bench.reducer, bench.grads, 1), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 1");
    assert_refused(psgd_reducer_step(bench.reducer, bench.grads, 3), PSGD_ERR_INVALID_ARGUMENT, "num_grads is 3");
    assert_refused(psgd_reducer_step(bench.reducer, bench.grads, SIZE_MAX), PSGD_ERR_INVALID_ARGUMENT,
                   "num_grads is 18446744073709551615, but the reducer was created for 2 tensors");
    assert_refused(psgd_reducer_step_with(NULL, bench.grads, 2, NULL), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_step_with(bench.reducer, NULL, 2, NULL), PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
}
END_TEST

START_TEST(step__refuses_gradients_that_do_not_fit_in_their_buffer)
{
    step_refuses(bad.grads[1].offset_bytes += 4, PSGD_ERR_INVALID_ARGUMENT,
                 "'second.bias' needs 96 bytes from byte 3844");
    step_refuses(bad.grads[1].offset_bytes = SIZE_MAX - 3, PSGD_ERR_INVALID_ARGUMENT, "'second.bias' needs 96 bytes");
    step_refuses(bad.grads[0].offset_bytes = BENCH_ELEMS * sizeof(float), PSGD_ERR_INVALID_ARGUMENT,
                 "'first.weight' needs 3840 bytes");
    step_refuses(bad.grads[0].mem = other.small, PSGD_ERR_INVALID_ARGUMENT,
                 "the gradient of tensor 0 'first.weight' needs 3840 bytes from byte 0 on, but its buffer has 8 bytes");
    step_refuses(bad.grads[1].offset_bytes = 2, PSGD_ERR_INVALID_ARGUMENT, "'second.bias' begins at byte 2");
    step_refuses(bad.grads[1].offset_bytes = SIZE_MAX, PSGD_ERR_INVALID_ARGUMENT, "offsets are multiples of 4");
}
END_TEST

START_TEST(step__refuses_gradients_that_overlap)
{
    step_refuses(bad.grads[1].offset_bytes -= 4, PSGD_ERR_INVALID_ARGUMENT,
                 "the gradients of tensors 0 'first.weight' and 1 'second.bias' overlap");
    step_refuses(bad.grads[1] = bad.grads[0], PSGD_ERR_INVALID_ARGUMENT, "overlap");
    step_refuses(bad.grads[1] = bad.grads[0], PSGD_ERR_INVALID_ARGUMENT, "overlap"); /* also the second time */
}
END_TEST

/* A part of a buffer, from its beginning on. */
static cl_mem create_part(cl_mem whole, size_t bytes)
{
    const cl_buffer_region region = {0, bytes};
    cl_int                 result;
    cl_mem part = clCreateSubBuffer(whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &result);

    assert_ok(test_cl_check(result, "clCreateSubBuffer"));
    return part;
}

START_TEST(step__refuses_gradients_that_overlap_by_way_of_a_sub_buffer)
{
    other.part = create_part(bench.mem, BENCH_ELEMS * sizeof(float));
    step_refuses((bad.grads[0].mem = other.part, bad.grads[0].offset_bytes = ROWS * sizeof(float)),
                 PSGD_ERR_INVALID_ARGUMENT, "the gradients of tensors 0 'first.weight' and 1 'second.bias' overlap");
    step_refuses((bad.grads[1].mem = other.part, bad.grads[1].offset_bytes -= 4), PSGD_ERR_INVALID_ARGUMENT, "overlap");
    bench.grads[0].mem = other.part; /* where nothing overlaps, it is taken: the steps that follow use it */
}
END_TEST

START_TEST(step__refuses_memory_of_another_kind)
{
    step_refuses(bad.grads[1].mem = NULL, PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor 1 'second.bias' is NULL");
    step_refuses(bad.grads[0].mem = other.read_only, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' is a read-only buffer");
    step_refuses(bad.grads[0].mem = other.write_only, PSGD_ERR_INVALID_ARGUMENT,
                 "'first.weight' is a write-only buffer");
    step_refuses(bad.grads[0].mem = other.foreign, PSGD_ERR_INVALID_ARGUMENT, "another OpenCL context");
    if (other.image != NULL) {
        step_refuses(bad.grads[0].mem = other.image, PSGD_ERR_INVALID_ARGUMENT, "'first.weight' is an image");
    }
}
END_TEST

/* What a plain step takes to the host and back, and a tensor that is not compressed and too large for the message of P. */
static void refuse_what_the_host_must_not_touch(uint64_t start_step, uint64_t bias_elems, size_t tensor,
                                                const char *words)
{
    static const cl_mem_flags FLAGS[]  = {CL_MEM_HOST_READ_ONLY, CL_MEM_HOST_WRITE_ONLY, CL_MEM_HOST_NO_ACCESS};
    const size_t              bytes[2] = {ELEMS * sizeof(float), bias_elems * sizeof(float)};
    creation_t                creation = good_creation();
    psgd_reducer_t           *reducer  = NULL;
    psgd_comm_t              *comm     = NULL;
    psgd_buffer_t             grads[2] = {{NULL, 0}, {NULL, 0}};

    creation.config.start_step  = start_step;
    creation.tensors[1].dims[0] = bias_elems;
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(create(&creation, comm, &reducer));
    for (size_t t = 0; t < 2; ++t) {
        grads[t].mem = buffer_of_kind(CL_MEM_READ_WRITE, bytes[t]);
    }
    for (size_t i = 0; i < sizeof(FLAGS) / sizeof(FLAGS[0]); ++i) {
        psgd_buffer_t good = grads[tensor];

        grads[tensor].mem = buffer_of_kind(CL_MEM_READ_WRITE | FLAGS[i], bytes[tensor]);
        assert_refused(psgd_reducer_step(reducer, grads, 2), PSGD_ERR_INVALID_ARGUMENT, words);
        clReleaseMemObject(grads[tensor].mem);
        grads[tensor] = good;
        assert_ok(psgd_reducer_step(reducer, grads, 2));
    }
    clReleaseMemObject(grads[0].mem);
    clReleaseMemObject(grads[1].mem);
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}

START_TEST(step__refuses_memory_that_the_host_must_not_touch_where_it_has_to)
{
    refuse_what_the_host_must_not_touch(10, ROWS, 0,
                                        "the gradient of tensor 0 'first.weight' goes through host memory");
    refuse_what_the_host_must_not_touch(0, 70000, 1, "the gradient of tensor 1 'second.bias' goes through host memory");
}
END_TEST

START_TEST(step_host__refuses_pointers_to_nothing_and_between_floats)
{
    static float values[BENCH_ELEMS];
    float       *grads[2] = {values, values + ELEMS};
    float       *bad[2]   = {values, NULL};

    assert_refused_unwritten(values, psgd_reducer_step_host(NULL, grads, 2), PSGD_ERR_INVALID_ARGUMENT,
                             "reducer is NULL");
    assert_refused(psgd_reducer_step_host(bench.reducer, NULL, 2), PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    assert_refused_unwritten(values, psgd_reducer_step_host(bench.reducer, grads, 0), PSGD_ERR_INVALID_ARGUMENT,
                             "num_grads is 0");
    assert_refused_unwritten(values, psgd_reducer_step_host(bench.reducer, grads, 5), PSGD_ERR_INVALID_ARGUMENT,
                             "num_grads is 5");
    assert_refused_unwritten(values, psgd_reducer_step_host(bench.reducer, bad, 2), PSGD_ERR_INVALID_ARGUMENT,
                             "'second.bias' is NULL");
    bad[1] = (float *)(void *)((char *)values + 2);
    assert_refused_unwritten(values, psgd_reducer_step_host(bench.reducer, bad, 2), PSGD_ERR_INVALID_ARGUMENT,
                             "'second.bias' is not aligned to 4 bytes");
    assert_refused(psgd_reducer_step_host_with(NULL, grads, 2, NULL), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_step_host_with(bench.reducer, NULL, 2, NULL), PSGD_ERR_INVALID_ARGUMENT,
                   "grads is NULL");
}
END_TEST

START_TEST(step_host__refuses_options_as_the_step_on_device_memory_does)
{
    static float values[BENCH_ELEMS];
    float       *grads[2] = {values, values + ELEMS};
    call_t       bad;

    good_call(&bench, &bad);
    bad.options.gradient_scale = -2.0f;
    assert_refused_unwritten(values, psgd_reducer_step_host_with(bench.reducer, grads, 2, &bad.options),
                             PSGD_ERR_INVALID_ARGUMENT, "gradient_scale is -2");
    good_call(&bench, &bad);
    bad.params[0].mem = NULL;
    assert_refused_unwritten(values, psgd_reducer_step_host_with(bench.reducer, grads, 2, &bad.options),
                             PSGD_ERR_INVALID_ARGUMENT, "the parameter of tensor 0 'first.weight' is NULL");
}
END_TEST

/* ---- what a step is told beside its gradients ---- */

START_TEST(options__refuse_scales_that_are_no_scales)
{
    step_refuses(bad.options.gradient_scale = -1.0f, PSGD_ERR_INVALID_ARGUMENT, "gradient_scale is -1");
    step_refuses(bad.options.gradient_scale = (float)NAN, PSGD_ERR_INVALID_ARGUMENT, "gradient_scale is");
    step_refuses(bad.options.gradient_scale = (float)INFINITY, PSGD_ERR_INVALID_ARGUMENT, "gradient_scale is inf");
    step_refuses(bad.options.gradient_scale = FLT_MIN / 2.0f, PSGD_ERR_INVALID_ARGUMENT, "no denormal");
}
END_TEST

/* Structs as a later release might know them. */
typedef struct later_options {
    psgd_step_options_t known;
    uint64_t            unknown;
} later_options_t;

typedef struct later_optimizer {
    psgd_optimizer_t known;
    uint64_t         unknown;
} later_optimizer_t;

START_TEST(options__refuse_structs_that_were_not_initialized_or_come_from_a_later_release)
{
    later_options_t   options;
    later_optimizer_t optimizer;
    call_t            call;

    step_refuses(memset(&bad.options, 0, sizeof(bad.options)), PSGD_ERR_INVALID_ARGUMENT,
                 "options has struct_size 0; initialize it with PSGD_STEP_OPTIONS_INIT");
    step_refuses(bad.options.struct_size -= 1, PSGD_ERR_INVALID_ARGUMENT, "PSGD_STEP_OPTIONS_INIT");
    step_refuses(bad.options.struct_size = SIZE_MAX, PSGD_ERR_INVALID_ARGUMENT, "PSGD_STEP_OPTIONS_INIT");
    step_refuses(memset(&bad.optimizer, 0, sizeof(bad.optimizer)), PSGD_ERR_INVALID_ARGUMENT,
                 "optimizer has struct_size 0; initialize it with PSGD_OPTIMIZER_INIT");
    step_refuses(bad.optimizer.struct_size -= 1, PSGD_ERR_INVALID_ARGUMENT, "PSGD_OPTIMIZER_INIT");
    good_call(&bench, &call);
    options                   = (later_options_t){call.options, 1};
    options.known.struct_size = sizeof(options);
    assert_refused(psgd_reducer_step_with(bench.reducer, call.grads, 2, &options.known), PSGD_ERR_UNSUPPORTED,
                   "options has struct_size");
    optimizer                   = (later_optimizer_t){call.optimizer, 1};
    optimizer.known.struct_size = sizeof(optimizer);
    call.options.optimizer      = &optimizer.known;
    assert_refused(psgd_reducer_step_with(bench.reducer, call.grads, 2, &call.options), PSGD_ERR_UNSUPPORTED,
                   "optimizer has struct_size");
}
END_TEST

START_TEST(optimizer__refuses_numbers_out_of_range)
{
    step_refuses(bad.optimizer.rule = (psgd_rule_t)3, PSGD_ERR_UNSUPPORTED, "optimizer.rule is 3");
    step_refuses(bad.optimizer.rule = (psgd_rule_t)-1, PSGD_ERR_UNSUPPORTED, "optimizer.rule is -1");
    step_refuses(bad.optimizer.learning_rate = -0.5f, PSGD_ERR_INVALID_ARGUMENT, "learning_rate is -0.5");
    step_refuses(bad.optimizer.learning_rate = (float)NAN, PSGD_ERR_INVALID_ARGUMENT, "learning_rate is");
    step_refuses(bad.optimizer.learning_rate = (float)INFINITY, PSGD_ERR_INVALID_ARGUMENT, "learning_rate is inf");
    step_refuses(bad.optimizer.momentum = -0.25f, PSGD_ERR_INVALID_ARGUMENT, "momentum is -0.25");
    step_refuses(bad.optimizer.momentum = 1.5f, PSGD_ERR_INVALID_ARGUMENT, "momentum is 1.5");
    step_refuses(bad.optimizer.momentum = (float)NAN, PSGD_ERR_INVALID_ARGUMENT, "momentum is");
    step_refuses(bad.optimizer.weight_decay = -1.0f, PSGD_ERR_INVALID_ARGUMENT, "weight_decay is -1");
    step_refuses(bad.optimizer.weight_decay = (float)NAN, PSGD_ERR_INVALID_ARGUMENT, "weight_decay is");
    step_refuses(bad.optimizer.weight_decay = (float)INFINITY, PSGD_ERR_INVALID_ARGUMENT, "weight_decay is inf");
}
END_TEST

START_TEST(optimizer__refuses_missing_parameters_and_momenta)
{
    step_refuses(bad.optimizer.params = NULL, PSGD_ERR_INVALID_ARGUMENT, "optimizer.params is NULL");
    step_refuses(bad.optimizer.momenta = NULL, PSGD_ERR_INVALID_ARGUMENT, "optimizer.momenta is NULL");
    step_refuses((bad.optimizer.momenta = NULL, bad.optimizer.momentum = 0.0f, bad.optimizer.rule = PSGD_RULE_POWERSGD),
                 PSGD_ERR_INVALID_ARGUMENT, "optimizer.momenta is NULL");
}
END_TEST

/* The buffers of one of the optimizer's tables, as a struct call_t has them. */
static psgd_buffer_t *table_of(call_t *call, int table)
{
    return table == 0 ? call->params : (table == 1 ? call->momenta : call->halves);
}

START_TEST(optimizer__refuses_buffers_that_are_not_as_the_tensors)
{
    static const char *const WORDS[] = {"the parameter of tensor 1 'second.bias'",
                                        "the momentum of tensor 1 'second.bias'",
                                        "the 16-bit parameter of tensor 1 'second.bias'"};

    step_refuses(table_of(&bad, _i)[1].mem = NULL, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].mem = other.foreign, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].mem = other.read_only, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].mem = other.write_only, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].mem = other.small, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].offset_bytes = 1, PSGD_ERR_INVALID_ARGUMENT, WORDS[_i]);
    step_refuses(table_of(&bad, _i)[1].offset_bytes = 3 * BENCH_ELEMS * sizeof(float), PSGD_ERR_INVALID_ARGUMENT,
                 WORDS[_i]);
}
END_TEST

START_TEST(reset_error__refuses_no_reducer)
{
    assert_refused(psgd_reducer_reset_error(NULL), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
}
END_TEST

/* ---- ranks --------------------------------------------------------------------------------------------------------- */

START_TEST(set_ranks__refuses_ranks_that_are_not_those_of_the_tensors)
{
    uint32_t ranks[3] = {2, 0, 0};

    assert_refused(psgd_reducer_set_ranks(NULL, ranks, 2), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_set_ranks(bench.reducer, NULL, 2), PSGD_ERR_INVALID_ARGUMENT, "ranks is NULL");
    assert_refused(psgd_reducer_set_ranks(bench.reducer, ranks, 0), PSGD_ERR_INVALID_ARGUMENT, "num_tensors is 0");
    assert_refused(psgd_reducer_set_ranks(bench.reducer, ranks, 1), PSGD_ERR_INVALID_ARGUMENT, "num_tensors is 1");
    assert_refused(psgd_reducer_set_ranks(bench.reducer, ranks, 3), PSGD_ERR_INVALID_ARGUMENT, "num_tensors is 3");
    ranks[0] = PSGD_MAX_RANK + 1;
    assert_refused(psgd_reducer_set_ranks(bench.reducer, ranks, 2), PSGD_ERR_INVALID_ARGUMENT,
                   "the rank of tensor 0 'first.weight' is 1025");
    ranks[0] = UINT32_MAX;
    assert_refused(psgd_reducer_set_ranks(bench.reducer, ranks, 2), PSGD_ERR_INVALID_ARGUMENT,
                   "the rank of tensor 0 'first.weight' is 4294967295");
}
END_TEST

START_TEST(set_ranks__refuses_what_half_iterations_multiply_beyond_the_limit)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_comm_t    *comm     = NULL;
    const uint32_t  ranks[2] = {65, 0};

    creation.config.half_iterations = 16;
    creation.tensors[0].dims[0] = creation.tensors[0].dims[1] = 80;
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(create(&creation, comm, &reducer));
    assert_refused(psgd_reducer_set_ranks(reducer, ranks, 2), PSGD_ERR_INVALID_ARGUMENT,
                   "'first.weight': rank 65 times config.half_iterations 16");
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

/* ---- regions ------------------------------------------------------------------------------------------------------- */

/* One case, for the check and for the copy: two good regions, which `spoil_` has changed. */
#define regions_refuse(spoil_, status_, words_) \
    do { \
        psgd_region_t bad[2] = {{bench.params, 0, 64}, {bench.params, 64, 64}}; \
        spoil_; \
        assert_refused(psgd_replica_check(bench.reducer, bad, 2), status_, "psgd_replica_check: " words_); \
        assert_refused(psgd_replica_sync(bench.reducer, bad, 2, 0), status_, "psgd_replica_sync: " words_); \
    } while (0)

START_TEST(regions__are_refused_where_they_are_none)
{
    psgd_region_t regions[1] = {{bench.params, 0, 64}};

    assert_refused(psgd_replica_check(NULL, regions, 1), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_replica_check(bench.reducer, NULL, 1), PSGD_ERR_INVALID_ARGUMENT, "regions is NULL");
    assert_refused(psgd_replica_check(bench.reducer, regions, 0), PSGD_ERR_INVALID_ARGUMENT, "num_regions 0");
    assert_refused(psgd_replica_check(bench.reducer, regions, SIZE_MAX), PSGD_ERR_HOST_MEMORY, "the list of regions");
    assert_refused(psgd_replica_sync(NULL, regions, 1, 0), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_replica_sync(bench.reducer, NULL, 1, 0), PSGD_ERR_INVALID_ARGUMENT, "regions is NULL");
    assert_refused(psgd_replica_sync(bench.reducer, regions, 0, 0), PSGD_ERR_INVALID_ARGUMENT, "num_regions 0");
    assert_refused(psgd_replica_sync(bench.reducer, regions, SIZE_MAX, 0), PSGD_ERR_HOST_MEMORY, "the list of regions");
    assert_refused(psgd_replica_sync(bench.reducer, regions, 1, 1), PSGD_ERR_INVALID_ARGUMENT, "root is 1");
    assert_refused(psgd_replica_sync(bench.reducer, regions, 1, UINT32_MAX), PSGD_ERR_INVALID_ARGUMENT,
                   "root is 4294967295");
}
END_TEST

START_TEST(regions__are_refused_where_they_do_not_fit)
{
    other.part = create_part(bench.params, 128);
    regions_refuse(bad[1].size_bytes = 0, PSGD_ERR_INVALID_ARGUMENT, "region 1 has 0 bytes");
    regions_refuse(bad[1].offset_bytes = SIZE_MAX, PSGD_ERR_INVALID_ARGUMENT, "region 1 needs 64 bytes");
    regions_refuse(bad[1].size_bytes = SIZE_MAX, PSGD_ERR_INVALID_ARGUMENT,
                   "region 1 needs 18446744073709551615 bytes");
    regions_refuse(bad[1].size_bytes = 3 * BENCH_ELEMS * sizeof(float) - 63, PSGD_ERR_INVALID_ARGUMENT,
                   "region 1 needs");
    regions_refuse(bad[1].mem = other.small, PSGD_ERR_INVALID_ARGUMENT, "region 1 needs 64 bytes");
    regions_refuse(bad[1].offset_bytes = 63, PSGD_ERR_INVALID_ARGUMENT, "regions 0 and 1 overlap");
    regions_refuse(bad[0].size_bytes = 65, PSGD_ERR_INVALID_ARGUMENT, "regions 0 and 1 overlap");
    regions_refuse((bad[1].mem = other.part, bad[1].offset_bytes = 63), PSGD_ERR_INVALID_ARGUMENT,
                   "regions 0 and 1 overlap");
}
END_TEST

START_TEST(regions__are_not_copied_where_the_host_must_not_touch_them)
{
    const psgd_region_t regions[2] = {{bench.params, 0, 64}, {other.hidden, 0, 64}};

    assert_refused(psgd_replica_sync(bench.reducer, regions, 2, 0), PSGD_ERR_INVALID_ARGUMENT,
                   "psgd_replica_sync: region 1 goes through host memory");
    assert_ok(psgd_replica_check(bench.reducer, regions, 2));
}
END_TEST

START_TEST(regions__are_refused_in_memory_of_another_kind)
{
    regions_refuse(bad[0].mem = NULL, PSGD_ERR_INVALID_ARGUMENT, "region 0 is NULL");
    regions_refuse(bad[1].mem = other.foreign, PSGD_ERR_INVALID_ARGUMENT, "region 1 belongs to another OpenCL context");
    regions_refuse(bad[1].mem = other.read_only, PSGD_ERR_INVALID_ARGUMENT, "region 1 is a read-only buffer");
    regions_refuse(bad[1].mem = other.write_only, PSGD_ERR_INVALID_ARGUMENT, "region 1 is a write-only buffer");
    if (other.image != NULL) {
        regions_refuse(bad[1].mem = other.image, PSGD_ERR_INVALID_ARGUMENT, "region 1 is an image");
    }
}
END_TEST

/* ---- questions ----------------------------------------------------------------------------------------------------- */

START_TEST(stats__refuse_places_that_they_cannot_be_written_to)
{
    psgd_stats_t stats = PSGD_STATS_INIT;

    assert_refused_unwritten(stats, psgd_reducer_get_stats(NULL, &stats), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused(psgd_reducer_get_stats(bench.reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "stats_p is NULL");
    stats.struct_size = sizeof(stats) - 1;
    assert_refused_unwritten(stats, psgd_reducer_get_stats(bench.reducer, &stats), PSGD_ERR_INVALID_ARGUMENT,
                             "PSGD_STATS_INIT");
    memset(&stats, 0xa5, sizeof(stats));
    assert_refused_unwritten(stats, psgd_reducer_get_stats(bench.reducer, &stats), PSGD_ERR_INVALID_ARGUMENT,
                             "PSGD_STATS_INIT");
}
END_TEST

START_TEST(tensor_plan__is_refused_of_tensors_that_are_not_there)
{
    psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

    assert_refused_unwritten(plan, psgd_reducer_get_tensor_plan(NULL, 0, &plan), PSGD_ERR_INVALID_ARGUMENT,
                             "reducer is NULL");
    assert_refused(psgd_reducer_get_tensor_plan(bench.reducer, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "plan_p is NULL");
    assert_refused_unwritten(plan, psgd_reducer_get_tensor_plan(bench.reducer, 2, &plan), PSGD_ERR_INVALID_ARGUMENT,
                             "tensor_index is 2");
    assert_refused_unwritten(plan, psgd_reducer_get_tensor_plan(bench.reducer, SIZE_MAX, &plan),
                             PSGD_ERR_INVALID_ARGUMENT, "tensor_index is 18446744073709551615");
    plan.struct_size = 0;
    assert_refused_unwritten(plan, psgd_reducer_get_tensor_plan(bench.reducer, 0, &plan), PSGD_ERR_INVALID_ARGUMENT,
                             "PSGD_TENSOR_PLAN_INIT");
}
END_TEST

START_TEST(energy__is_refused_where_none_was_measured)
{
    psgd_energy_t energy = PSGD_ENERGY_INIT;

    assert_refused_unwritten(energy, psgd_reducer_get_energy(NULL, 0, &energy), PSGD_ERR_INVALID_ARGUMENT,
                             "reducer is NULL");
    assert_refused(psgd_reducer_get_energy(bench.reducer, 0, NULL), PSGD_ERR_INVALID_ARGUMENT, "energy_p is NULL");
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, 2, &energy), PSGD_ERR_INVALID_ARGUMENT,
                             "tensor_index is 2");
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, SIZE_MAX - 1, &energy),
                             PSGD_ERR_INVALID_ARGUMENT, "tensor_index is 18446744073709551614");
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, 1, &energy), PSGD_ERR_STATE,
                             "tensor 1 'second.bias' is not compressed");
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, 0, &energy), PSGD_ERR_STATE,
                             "config.energy_every is 0");
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, SIZE_MAX, &energy), PSGD_ERR_STATE,
                             "config.energy_every is 0");
    energy.struct_size = 8;
    assert_refused_unwritten(energy, psgd_reducer_get_energy(bench.reducer, 0, &energy), PSGD_ERR_INVALID_ARGUMENT,
                             "PSGD_ENERGY_INIT");
}
END_TEST

START_TEST(profile__is_refused_where_there_is_no_room_for_it)
{
    char   text[256];
    size_t bytes = 77, needed = 0;

    memset(text, 'x', sizeof(text));
    assert_ok(psgd_reducer_get_profile(bench.reducer, NULL, 0, &needed));
    assert_refused_unwritten(bytes, psgd_reducer_get_profile(NULL, text, sizeof(text), &bytes),
                             PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_refused_unwritten(bytes, psgd_reducer_get_profile(bench.reducer, NULL, 5, &bytes), PSGD_ERR_INVALID_ARGUMENT,
                             "text is NULL");
    assert_refused_unwritten(text, psgd_reducer_get_profile(bench.reducer, text, sizeof(text), NULL),
                             PSGD_ERR_INVALID_ARGUMENT, "bytes_p is NULL");
    assert_refused_unwritten(text, psgd_reducer_get_profile(bench.reducer, text, needed - 1, &bytes),
                             PSGD_ERR_INVALID_ARGUMENT, "capacity is");
    ck_assert_uint_eq(bytes, needed);
    bytes = 77;
    assert_refused_unwritten(text, psgd_reducer_get_profile(bench.reducer, text, 0, &bytes), PSGD_ERR_INVALID_ARGUMENT,
                             "capacity is 0");
    ck_assert_uint_eq(bytes, needed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input to a reducer");
    TCase *tcase = tcase_create("calls");
    int    result;

    tcase_add_checked_fixture(tcase, open_all, close_all);
    tcase_add_test(tcase, step__refuses_missing_arguments);
    tcase_add_test(tcase, step__refuses_gradients_that_do_not_fit_in_their_buffer);
    tcase_add_test(tcase, step__refuses_gradients_that_overlap);
    tcase_add_test(tcase, step__refuses_gradients_that_overlap_by_way_of_a_sub_buffer);
    tcase_add_test(tcase, step__refuses_memory_of_another_kind);
    tcase_add_test(tcase, step__refuses_memory_that_the_host_must_not_touch_where_it_has_to);
    tcase_add_test(tcase, step_host__refuses_pointers_to_nothing_and_between_floats);
    tcase_add_test(tcase, step_host__refuses_options_as_the_step_on_device_memory_does);
    tcase_add_test(tcase, options__refuse_scales_that_are_no_scales);
    tcase_add_test(tcase, options__refuse_structs_that_were_not_initialized_or_come_from_a_later_release);
    tcase_add_test(tcase, optimizer__refuses_numbers_out_of_range);
    tcase_add_test(tcase, optimizer__refuses_missing_parameters_and_momenta);
    tcase_add_loop_test(tcase, optimizer__refuses_buffers_that_are_not_as_the_tensors, 0, 3);
    tcase_add_test(tcase, reset_error__refuses_no_reducer);
    tcase_add_test(tcase, set_ranks__refuses_ranks_that_are_not_those_of_the_tensors);
    tcase_add_test(tcase, set_ranks__refuses_what_half_iterations_multiply_beyond_the_limit);
    tcase_add_test(tcase, regions__are_refused_where_they_are_none);
    tcase_add_test(tcase, regions__are_refused_where_they_do_not_fit);
    tcase_add_test(tcase, regions__are_refused_in_memory_of_another_kind);
    tcase_add_test(tcase, regions__are_not_copied_where_the_host_must_not_touch_them);
    tcase_add_test(tcase, stats__refuse_places_that_they_cannot_be_written_to);
    tcase_add_test(tcase, tensor_plan__is_refused_of_tensors_that_are_not_there);
    tcase_add_test(tcase, energy__is_refused_where_none_was_measured);
    tcase_add_test(tcase, profile__is_refused_where_there_is_no_room_for_it);
    suite_add_tcase(suite, tcase);
    result = bad_input_run(suite, 140);
    workers_close();
    return result;
}
