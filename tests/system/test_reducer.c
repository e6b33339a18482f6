/* The reducer through the public API: what it decides, sends, remembers and hands out, workers being threads. */
#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/random.h"
#include "core/vote.h"
#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

static const double REFERENCE_BOUND = 1e-5;

enum { LARGE_TENSOR_BYTES = 256 * 1024, PLAIN_PIECE_BYTES = 32 * 1024 * 1024 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static job_t model_job(uint32_t num_workers)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.config.engine = PSGD_ENGINE_FUSED; /* not whichever is faster just now: runs are compared bit by bit */
    job.num_workers   = num_workers;
    return job;
}

static psgd_reducer_t *create_alone(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                                    psgd_comm_t **comm_p)
{
    const test_device_t *device  = workers_device(0);
    psgd_reducer_t      *reducer = NULL;

    assert_ok(psgd_comm_self_create(comm_p));
    assert_ok(psgd_reducer_create(device->context, device->id, device->queue, tensors, num_tensors, config, *comm_p,
                                  &reducer));
    ck_assert_ptr_nonnull(reducer);
    return reducer;
}

static void destroy_alone(psgd_reducer_t *reducer, psgd_comm_t *comm)
{
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}

/* --- lifecycle ---------------------------------------------------------------------------------------------------- */

START_TEST(reducer__destroy_takes_null)
{
    psgd_reducer_destroy(NULL);
    psgd_state_destroy(NULL);
    psgd_comm_destroy(NULL);
}
END_TEST

START_TEST(reducer__copies_what_it_was_created_from)
{
    char            name[] = "weight";
    psgd_tensor_t   tensor = job_tensor(name, 20, 30);
    psgd_config_t   config = PSGD_CONFIG_INIT;
    psgd_stats_t    stats  = PSGD_STATS_INIT;
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
    psgd_state_t   *state = NULL;
    float           gradient[20 * 30];
    float          *pointer = gradient;
    const float    *q;
    uint64_t        cols;
    uint32_t        rank;

    reducer = create_alone(&tensor, 1, &config, &comm);
    memset(name, 'x', sizeof(name) - 1);
    memset(&tensor, 0xff, sizeof(tensor));
    memset(&config, 0xff, sizeof(config));
    test_random_fill(gradient, 20 * 30, 1);
    assert_ok(psgd_reducer_step_host(reducer, &pointer, 1));
    assert_ok(psgd_reducer_get_stats(reducer, &stats));
    ck_assert_uint_eq(stats.steps, 1);
    assert_ok(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &state));
    assert_ok(psgd_state_get_factor(state, "weight", &cols, &rank, &q));
    ck_assert_uint_eq(cols, 30);
    ck_assert_uint_eq(rank, 4);
    psgd_state_destroy(state);
    destroy_alone(reducer, comm);
}
END_TEST

START_TEST(reducer__several_live_in_one_context_side_by_side)
{
    psgd_tensor_t   tensor = job_tensor("weight", 24, 40);
    psgd_comm_t    *comms[2];
    psgd_reducer_t *reducers[2];
    float           gradients[2][24 * 40];

    for (int i = 0; i < 2; ++i) {
        reducers[i] = create_alone(&tensor, 1, NULL, &comms[i]);
    }
    for (int step = 0; step < 3; ++step) {
        for (int i = 0; i < 2; ++i) {
            float *pointer = gradients[i];

            test_random_fill(gradients[i], 24 * 40, (uint64_t)step);
            assert_ok(psgd_reducer_step_host(reducers[i], &pointer, 1));
        }
        ck_assert_mem_eq(gradients[0], gradients[1], sizeof(gradients[0]));
    }
    for (int i = 0; i < 2; ++i) {
        destroy_alone(reducers[i], comms[i]);
    }
}
END_TEST

/* --- the plan ----------------------------------------------------------------------------------------------------- */

/* (rows + cols) * r_eff * min_compression_rate < rows * cols, to the element. */
static const struct {
    const char *why;
    uint32_t    num_dims;
    uint64_t    dims[4];
    int32_t     rank;
    uint32_t    config_rank;
    double      rate;
    uint32_t    expected_rank; /* 0: not compressed */
} decisions[] = {
    {"256 = 256 is not less", 2, {16, 16}, 0, 4, 2.0, 0},
    {"264 < 272", 2, {16, 17}, 0, 4, 2.0, 4},
    {"a vector", 1, {100000}, 0, 4, 0.0, 0},
    {"a column: 101 < 100 does not hold", 2, {100, 1}, 0, 4, 1.0, 0},
    {"rate 0 compresses everything of two dimensions", 2, {1, 1}, 0, 4, 0.0, 1},
    {"rate 0, r_eff = cols", 2, {3, 2}, 0, 4, 0.0, 2},
    {"four dimensions: 16 x 27, 344 < 432", 4, {16, 3, 3, 3}, 0, 4, 2.0, 4},
    {"27 x 16 by dim 0: 3 x 144, r_eff 3, 882 > 432", 4, {3, 16, 3, 3}, 0, 4, 2.0, 0},
    {"rank of its own, smaller", 2, {16, 16}, 2, 4, 2.0, 2},
    {"rank of its own, larger", 2, {40, 56}, 16, 4, 2.0, 0},
    {"never", 2, {400, 560}, PSGD_NEVER_COMPRESS, 4, 2.0, 0},
    {"r_eff = rows", 2, {2, 1000}, 0, 4, 0.5, 2},
    {"a high rate", 2, {40, 56}, 0, 4, 5.8, 4},
    {"a higher rate", 2, {40, 56}, 0, 4, 5.9, 0},
};

enum { NUM_DECISIONS = sizeof(decisions) / sizeof(decisions[0]) };

START_TEST(plan__compresses_what_becomes_smaller_by_the_rate)
{
    psgd_config_t      config = PSGD_CONFIG_INIT;
    psgd_tensor_t      tensor = PSGD_TENSOR_INIT;
    psgd_tensor_plan_t plan   = PSGD_TENSOR_PLAN_INIT;
    psgd_comm_t       *comm;
    psgd_reducer_t    *reducer;
    uint64_t           elems = 1;

    tensor.name                 = "weight";
    tensor.num_dims             = decisions[_i].num_dims;
    tensor.rank                 = decisions[_i].rank;
    config.rank                 = decisions[_i].config_rank;
    config.min_compression_rate = decisions[_i].rate;
    for (uint32_t d = 0; d < tensor.num_dims; ++d) {
        tensor.dims[d] = decisions[_i].dims[d];
        elems *= tensor.dims[d];
    }
    reducer = create_alone(&tensor, 1, &config, &comm);
    assert_ok(psgd_reducer_get_tensor_plan(reducer, 0, &plan));
    ck_assert_msg(plan.rank == decisions[_i].expected_rank, "%s: rank %u", decisions[_i].why, plan.rank);
    ck_assert_uint_eq(plan.elems, elems);
    ck_assert_uint_eq(plan.rows, tensor.dims[0]);
    ck_assert_uint_eq(plan.cols, elems / tensor.dims[0]);
    ck_assert_uint_eq(plan.sent_elems, plan.rank > 0 ? (plan.rows + plan.cols) * plan.rank : elems);
    destroy_alone(reducer, comm);
}
END_TEST

/* --- statistics --------------------------------------------------------------------------------------------------- */

/* What the model's tensors are made of. */
typedef struct traffic {
    uint64_t p_elems, q_elems, small_elems, large_elems, total_elems;
    uint64_t num_compressed;
} traffic_t;

static traffic_t count_traffic(const psgd_reducer_t *reducer, size_t num_tensors)
{
    traffic_t traffic = {0, 0, 0, 0, 0, 0};

    for (size_t t = 0; t < num_tensors; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

        assert_ok(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        traffic.total_elems += plan.elems;
        traffic.num_compressed += plan.rank > 0 ? 1 : 0;
        traffic.p_elems += plan.rows * plan.rank;
        traffic.q_elems += plan.cols * plan.rank;
        if (plan.rank == 0) {
            if (plan.elems * sizeof(float) <= LARGE_TENSOR_BYTES) {
                traffic.small_elems += plan.elems;
            } else {
                traffic.large_elems += plan.elems;
            }
        }
    }
    return traffic;
}

static traffic_t traffic_of(const psgd_tensor_t *tensors, size_t num_tensors)
{
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer = create_alone(tensors, num_tensors, NULL, &comm);
    traffic_t       traffic = count_traffic(reducer, num_tensors);

    destroy_alone(reducer, comm);
    return traffic;
}

static uint64_t message_bytes(uint32_t num_workers, uint64_t payload_elems)
{
    return (psgd_vote_elems(num_workers) + payload_elems) * sizeof(float);
}

START_TEST(stats__count_every_byte_of_a_step)
{
    job_t        job = model_job(2);
    job_record_t records[WORKERS_MAX];
    traffic_t    traffic = traffic_of(model, JOB_MODEL_TENSORS);
    uint64_t     bytes   = message_bytes(2, traffic.p_elems + traffic.small_elems) + message_bytes(2, traffic.q_elems);

    ck_assert_uint_gt(traffic.small_elems, 0);
    ck_assert_uint_eq(traffic.large_elems, 0);
    job.config.start_step = 1;
    job_run(&job, records);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        const psgd_stats_t *plain = &records[w].stats[0];
        const psgd_stats_t *last  = &records[w].stats[job.num_steps - 1];

        ck_assert_uint_eq(plain->bytes_last_step, message_bytes(2, traffic.total_elems));
        ck_assert_uint_eq(plain->messages_last_step, 1);
        ck_assert_uint_eq(last->bytes_last_step, bytes);
        ck_assert_uint_eq(last->messages_last_step, 2);
        ck_assert_uint_eq(last->bytes_total, plain->bytes_last_step + (job.num_steps - 1) * bytes);
        ck_assert_uint_eq(last->steps, job.num_steps);
        ck_assert_uint_eq(last->plain_steps, 1);
        ck_assert_uint_eq(last->skipped_steps, 0);
        ck_assert_uint_eq(last->num_compressed_tensors, traffic.num_compressed);
        ck_assert_uint_eq(last->num_plain_tensors, JOB_MODEL_TENSORS - traffic.num_compressed);
        ck_assert_uint_eq(last->uncompressed_elems, traffic.total_elems);
        ck_assert_uint_eq(last->compressed_elems, traffic.p_elems + traffic.q_elems + traffic.small_elems);
        ck_assert_double_eq(last->compression_rate, (double)traffic.total_elems / (double)last->compressed_elems);
    }
    job_records_free(&job, records);
}
END_TEST

START_TEST(stats__phases_add_up_to_the_step)
{
    job_t        job = model_job(2);
    job_record_t records[WORKERS_MAX];

    job.config.exact_phase_times = 1;
    job_run(&job, records);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        const psgd_stats_t *last     = &records[w].stats[job.num_steps - 1];
        uint64_t            sum_last = 0;

        for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
            uint64_t sum = 0;

            sum_last += last->phase_ns_last[phase];
            for (uint32_t step = 0; step < job.num_steps; ++step) {
                sum += records[w].stats[step].phase_ns_last[phase];
            }
            ck_assert_uint_eq(last->phase_ns_total[phase], sum);
            if (phase != PSGD_PHASE_EXCHANGE_PLAIN) { /* there is nothing large to exchange */
                ck_assert_msg(last->phase_ns_last[phase] > 0, "%s", psgd_phase_name((psgd_phase_t)phase));
            }
        }
        ck_assert_uint_le(sum_last, last->ns_last_step);
        ck_assert_uint_ge(sum_last, last->ns_last_step / 2);
        ck_assert_uint_ge(last->ns_total, last->ns_last_step);
    }
    ck_assert_str_eq(psgd_phase_name(PSGD_PHASE_REDUCE_P), "reduce_p");
    ck_assert_str_eq(psgd_phase_name(PSGD_NUM_PHASES), "unknown");
    job_records_free(&job, records);
}
END_TEST

START_TEST(stats__device_memory_is_what_the_header_says)
{
    traffic_t       traffic = traffic_of(model, JOB_MODEL_TENSORS);
    uint64_t        errors  = traffic.total_elems - traffic.small_elems;
    uint64_t        most    = errors + 5 * (traffic.p_elems + traffic.q_elems) + traffic.small_elems;
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_stats_t    with = PSGD_STATS_INIT, without = PSGD_STATS_INIT;
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;

    reducer = create_alone(model, JOB_MODEL_TENSORS, &config, &comm);
    assert_ok(psgd_reducer_get_stats(reducer, &with));
    destroy_alone(reducer, comm);
    config.error_feedback = 0;
    reducer               = create_alone(model, JOB_MODEL_TENSORS, &config, &comm);
    assert_ok(psgd_reducer_get_stats(reducer, &without));
    destroy_alone(reducer, comm);
    ck_assert_uint_ge(with.device_bytes, errors * sizeof(float));
    ck_assert_uint_le(with.device_bytes, most * sizeof(float));
    ck_assert_uint_ge(with.device_bytes - without.device_bytes, errors * sizeof(float));
    ck_assert_uint_lt(with.device_bytes - without.device_bytes, errors * sizeof(float) + 64 * JOB_MODEL_TENSORS);
}
END_TEST

/* --- options ------------------------------------------------------------------------------------------------------ */

/* Holds a job's steps to the reference. */
static void assert_steps_match_reference(const job_t *job)
{
    job_record_t records[WORKERS_MAX];
    double      *updates, *errors;
    uint64_t     total = job_total_elems(job);

    job_run(job, records);
    job_assert_equal_updates(job, records);
    job_reference(job, false, &updates, &errors);
    for (uint32_t step = 0; step < job->num_steps; ++step) {
        double *error = job_mean_error(job, records, step);

        ck_assert_double_le(job_difference(job_update(&records[0], step), updates + step * total, total),
                            REFERENCE_BOUND);
        ck_assert_double_le(reference_difference(error, errors + step * total, total), REFERENCE_BOUND);
        free(error);
    }
    free(updates);
    free(errors);
    job_records_free(job, records);
}

START_TEST(option__steps_before_start_step_average_and_keep_no_error)
{
    job_t        job = model_job(3);
    job_record_t records[WORKERS_MAX];

    job.config.start_step = 2;
    job.q_stream          = 3;
    assert_steps_match_reference(&job);

    job.num_steps = 2;
    job_run(&job, records);
    for (uint64_t i = 0; i < records[0].total_elems; ++i) {
        ck_assert(job_error(&records[0], 1)[i] == 0.0f);
    }
    job_records_free(&job, records);
}
END_TEST

START_TEST(option__without_error_feedback_nothing_is_remembered)
{
    job_t         job = model_job(2);
    job_record_t  records[WORKERS_MAX];
    psgd_tensor_t weight = model[0];
    const float  *error;
    uint64_t      elems;

    job.config.error_feedback = 0;
    job.q_stream              = 3;
    assert_steps_match_reference(&job);
    job.num_steps = 1;
    job_run(&job, records);
    assert_fails(psgd_state_get_error(records[0].last_state, weight.name, &elems, &error), PSGD_ERR_STATE, weight.name);
    job_records_free(&job, records);
}
END_TEST

/* The random Q of cold starts, as base/random.h defines it, set in place of the library's by an import. */
static psgd_status_t import_cold_factors(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *state = NULL;
    psgd_status_t status = PSGD_OK;

    (void)worker;
    worker_needs(psgd_state_create(&state));
    for (size_t t = 0; (t < job->num_tensors) && (status == PSGD_OK); ++t) {
        uint64_t           key  = psgd_random_key(job->config.seed, psgd_hash_string(0, job->tensors[t].name),
                                                  PSGD_RANDOM_FIRST_Q);
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;
        float             *q;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if (plan.rank == 0) {
            continue;
        }
        q = malloc(plan.cols * plan.rank * sizeof(*q));
        worker_expects(q != NULL, "no memory for a factor");
        for (uint64_t i = 0; i < plan.cols * plan.rank; ++i) {
            q[i] = psgd_random_value(key, step, (uint32_t)(i % plan.rank), (uint32_t)(i / plan.rank));
        }
        status = psgd_state_set_factor(state, job->tensors[t].name, plan.cols, plan.rank, q);
        free(q);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

static void give_constant_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    (void)step;
    test_random_fill(gradient, job_total_elems(job), 1000 + worker);
}

START_TEST(option__cold_start_draws_a_fresh_q_for_every_step)
{
    job_t        job = model_job(2);
    job_record_t drawn[WORKERS_MAX], imported[WORKERS_MAX];

    job.config.warm_start     = 0;
    job.config.error_feedback = 0; /* so that Q alone can make a step differ from another */
    job.config.seed           = 77;
    job.give_gradient         = give_constant_gradient;
    job_run(&job, drawn);
    job_assert_equal_updates(&job, drawn);
    for (uint32_t step = 1; step < job.num_steps; ++step) {
        ck_assert_mem_ne(job_update(&drawn[0], step), job_update(&drawn[0], step - 1),
                         drawn[0].total_elems * sizeof(float));
    }

    job.before_step = import_cold_factors;
    job_run(&job, imported);
    job_assert_same_bits(&drawn[0], &imported[0]);
    job_records_free(&job, drawn);
    job_records_free(&job, imported);
}
END_TEST

/* --- where gradients come from ------------------------------------------------------------------------------------ */

START_TEST(gradients__in_one_buffer_separate_buffers_and_host_memory_give_the_same_bits)
{
    job_t        job = model_job(2);
    job_record_t one[WORKERS_MAX], separate[WORKERS_MAX], host[WORKERS_MAX];

    job_run(&job, one);
    job.memory = JOB_SEPARATE_BUFFERS;
    job_run(&job, separate);
    job.memory = JOB_HOST_POINTERS;
    job_run(&job, host);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        job_assert_same_bits(&one[w], &separate[w]);
        job_assert_same_bits(&one[w], &host[w]);
    }
    job_records_free(&job, one);
    job_records_free(&job, separate);
    job_records_free(&job, host);
}
END_TEST

START_TEST(gradients__nothing_beside_them_is_touched)
{
    enum { ROWS = 24, COLS = 40, BEFORE = 7, BEHIND = 9, ELEMS = BEFORE + ROWS * COLS + BEHIND };

    const test_device_t *device = workers_device(0);
    psgd_tensor_t        tensor = job_tensor("weight", ROWS, COLS);
    psgd_comm_t         *comm;
    psgd_reducer_t      *reducer = create_alone(&tensor, 1, NULL, &comm);
    float                before[ELEMS], after[ELEMS];
    psgd_buffer_t        grad = {NULL, BEFORE * sizeof(float)};

    test_random_fill(before, ELEMS, 4);
    assert_ok(test_buffer_create(device, ELEMS, &grad.mem));
    assert_ok(test_buffer_write(device, grad.mem, 0, before, ELEMS));
    assert_ok(psgd_reducer_step(reducer, &grad, 1));
    assert_ok(test_buffer_read(device, grad.mem, 0, after, ELEMS));
    ck_assert_mem_eq(before, after, BEFORE * sizeof(float));
    ck_assert_mem_eq(before + BEFORE + ROWS * COLS, after + BEFORE + ROWS * COLS, BEHIND * sizeof(float));
    ck_assert_mem_ne(before + BEFORE, after + BEFORE, ROWS * COLS * sizeof(float));
    clReleaseMemObject(grad.mem);
    destroy_alone(reducer, comm);
}
END_TEST

/* A gradient that arrives on the caller's queue behind a long chain of work: `mem` gets its values last. */
static psgd_status_t enqueue_late_gradient(const test_device_t *device, cl_command_queue queue, cl_mem mem,
                                           const float *values, size_t elems, cl_mem ballast, size_t ballast_bytes)
{
    const float wrong = 1e9f;
    cl_event    last  = NULL;

    worker_needs(test_cl_check(clEnqueueFillBuffer(queue, mem, &wrong, sizeof(wrong), 0, elems * sizeof(float), 0, NULL,
                                                   &last), "clEnqueueFillBuffer"));
    for (uint32_t i = 0; i < 40; ++i) {
        cl_event next;
        uint8_t  byte = (uint8_t)i;

        worker_needs(test_cl_check(clEnqueueFillBuffer(queue, ballast, &byte, 1, 0, ballast_bytes, 1, &last, &next),
                                   "clEnqueueFillBuffer"));
        clReleaseEvent(last);
        last = next;
    }
    worker_needs(test_cl_check(clEnqueueWriteBuffer(queue, mem, CL_FALSE, 0, elems * sizeof(float), values, 1, &last,
                                                    NULL), "clEnqueueWriteBuffer"));
    clReleaseEvent(last);
    (void)device;
    return PSGD_OK;
}

/* The update of one step, its gradient having been enqueued on `queue`, which the reducer was created with. */
static void step_on_queue(cl_command_queue queue, const float *gradient, float *update, uint64_t rows, uint64_t cols)
{
    enum { BALLAST_BYTES = 4 * 1024 * 1024 };

    const test_device_t *device  = workers_device(0);
    psgd_tensor_t        tensor  = job_tensor("weight", rows, cols);
    psgd_reducer_t      *reducer = NULL;
    psgd_buffer_t        grad    = {NULL, 0};
    psgd_comm_t         *comm;
    cl_mem               ballast;

    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(device->context, device->id, queue, &tensor, 1, NULL, comm, &reducer));
    assert_ok(test_buffer_create(device, rows * cols, &grad.mem));
    assert_ok(test_buffer_create(device, BALLAST_BYTES / sizeof(float), &ballast));
    for (int repeat = 0; repeat < 3; ++repeat) {
        assert_ok(enqueue_late_gradient(device, queue != NULL ? queue : device->queue, grad.mem, gradient, rows * cols,
                                        ballast, BALLAST_BYTES));
        if (queue == NULL) {
            clFinish(device->queue); /* as the header demands of such callers */
        }
        assert_ok(psgd_reducer_step(reducer, &grad, 1));
        assert_ok(test_buffer_read(device, grad.mem, 0, update, rows * cols));
    }
    clReleaseMemObject(ballast);
    clReleaseMemObject(grad.mem);
    destroy_alone(reducer, comm);
}

START_TEST(queue__in_order_out_of_order_and_none_give_the_same_bits)
{
    enum { ROWS = 40, COLS = 50 };

    const test_device_t *device = workers_device(0);
    float                gradient[ROWS * COLS], in_order[ROWS * COLS], out_of_order[ROWS * COLS], none[ROWS * COLS];

    test_random_fill(gradient, ROWS * COLS, 6);
    step_on_queue(device->queue, gradient, in_order, ROWS, COLS);
    step_on_queue(NULL, gradient, none, ROWS, COLS);
    ck_assert_mem_eq(in_order, none, sizeof(in_order));
    if (device->info.has_out_of_order_queue) {
        cl_int           result;
        cl_command_queue queue = clCreateCommandQueue(device->context, device->id,
                                                      CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &result);

        assert_ok(test_cl_check(result, "clCreateCommandQueue"));
        step_on_queue(queue, gradient, out_of_order, ROWS, COLS);
        ck_assert_mem_eq(in_order, out_of_order, sizeof(in_order));
        clReleaseCommandQueue(queue);
    }
}
END_TEST

START_TEST(context__the_librarys_own_serves_host_pointers)
{
    psgd_tensor_t        tensor = job_tensor("weight", 24, 40);
    const test_device_t *device = workers_device(0);
    psgd_reducer_t      *own = NULL, *ours;
    psgd_comm_t         *own_comm, *our_comm;
    float                own_values[24 * 40], our_values[24 * 40];
    float               *own_pointer = own_values, *our_pointer = our_values;
    psgd_buffer_t        grad = {NULL, 0};

    assert_ok(psgd_comm_self_create(&own_comm));
    assert_ok(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, NULL, own_comm, &own));
    ours = create_alone(&tensor, 1, NULL, &our_comm);
    test_random_fill(own_values, 24 * 40, 8);
    test_random_fill(our_values, 24 * 40, 8);
    assert_ok(psgd_reducer_step_host(own, &own_pointer, 1));
    assert_ok(psgd_reducer_step_host(ours, &our_pointer, 1));
    ck_assert_mem_eq(own_values, our_values, sizeof(own_values));

    assert_ok(test_buffer_create(device, 24 * 40, &grad.mem));
    assert_fails(psgd_reducer_step(own, &grad, 1), PSGD_ERR_INVALID_ARGUMENT, "another OpenCL context");
    clReleaseMemObject(grad.mem);
    destroy_alone(own, own_comm);
    destroy_alone(ours, our_comm);
}
END_TEST

/* --- tensors that are not compressed ------------------------------------------------------------------------------ */

START_TEST(uncompressed__large_tensors_travel_in_a_collective_of_their_own)
{
    psgd_tensor_t tensors[4] = {job_tensor("embedding", 300, 250), job_tensor("weight", 40, 56),
                                job_tensor("long", LARGE_TENSOR_BYTES / sizeof(float) + 1, 0),
                                job_tensor("just.small", LARGE_TENSOR_BYTES / sizeof(float), 0)};
    job_t         job        = job_describe(tensors, 4);
    job_record_t  records[WORKERS_MAX];
    traffic_t     traffic;

    tensors[0].rank = PSGD_NEVER_COMPRESS;
    traffic         = traffic_of(tensors, 4);
    ck_assert_uint_eq(traffic.large_elems, 300 * 250 + LARGE_TENSOR_BYTES / sizeof(float) + 1);
    ck_assert_uint_eq(traffic.small_elems, LARGE_TENSOR_BYTES / sizeof(float));
    job.num_workers = 3;
    job.num_steps   = 2;
    job.q_stream    = 4;
    assert_steps_match_reference(&job);
    job_run(&job, records);
    ck_assert_uint_eq(records[2].stats[1].messages_last_step, 3);
    ck_assert_uint_eq(records[2].stats[1].bytes_last_step,
                      message_bytes(3, traffic.large_elems) + message_bytes(3, traffic.p_elems + traffic.small_elems) +
                          message_bytes(3, traffic.q_elems));
    job_records_free(&job, records);
}
END_TEST

START_TEST(uncompressed__a_model_of_vectors_alone_is_averaged)
{
    psgd_tensor_t tensors[2] = {job_tensor("bias", 17, 0), job_tensor("scale", 1, 0)};
    job_t         job        = job_describe(tensors, 2);

    job.num_workers = 4;
    job.q_stream    = 1;
    assert_steps_match_reference(&job);
}
END_TEST

START_TEST(uncompressed__a_model_of_one_matrix_alone_is_compressed)
{
    psgd_tensor_t tensor = job_tensor("weight", 40, 56);
    job_t         job    = job_describe(&tensor, 1);

    job.num_workers = 2;
    job.q_stream    = 1;
    assert_steps_match_reference(&job);
}
END_TEST

enum { LONG_ELEMS = PLAIN_PIECE_BYTES / sizeof(float) + 12345 };

static float long_value(uint32_t worker, uint64_t i)
{
    return (float)((i * 7 + worker * 1000003) % 8192) - 4096.0f; /* sums of two are exact */
}

static void give_long_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    (void)step;
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] = long_value(worker, i);
    }
}

START_TEST(uncompressed__plain_steps_travel_in_pieces_of_32_mib)
{
    psgd_tensor_t tensors[2] = {job_tensor("bias", 10, 0), job_tensor("long", LONG_ELEMS - 10, 0)};
    job_t         job        = job_describe(tensors, 2);
    job_record_t  records[WORKERS_MAX];

    job.num_workers       = 2;
    job.num_steps         = 1;
    job.config.start_step = 1;
    job.give_gradient     = give_long_gradient;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    for (uint64_t i = 0; i < LONG_ELEMS; ++i) {
        float expected = (long_value(0, i) + long_value(1, i)) / 2.0f;

        if (job_update(&records[0], 0)[i] != expected) {
            ck_abort_msg("element %lu is %g, not %g", (unsigned long)i, job_update(&records[0], 0)[i], expected);
        }
    }
    ck_assert_uint_eq(records[0].stats[0].messages_last_step, 2);
    ck_assert_uint_eq(records[0].stats[0].bytes_last_step,
                      message_bytes(2, PLAIN_PIECE_BYTES / sizeof(float)) +
                          message_bytes(2, LONG_ELEMS - PLAIN_PIECE_BYTES / sizeof(float)));
    job_records_free(&job, records);
}
END_TEST

/* --- state -------------------------------------------------------------------------------------------------------- */

/* A job that begins where another one stopped: its first step is number `begin` of the whole run. */
typedef struct continuation {
    uint32_t             begin;
    const psgd_state_t  *states[WORKERS_MAX]; /* by worker, imported before its first step */
    psgd_state_t        *means[WORKERS_MAX];  /* by worker, PSGD_ERROR_MEAN after its last step */
    uint32_t             exports_mean_after;  /* step; 0: never */
} continuation_t;

static void give_continued_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    const continuation_t *continuation = job->user;

    test_random_fill(gradient, job_total_elems(job), 500 + (step + continuation->begin) * 10 + worker);
}

static psgd_status_t import_continued_state(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const continuation_t *continuation = job->user;

    if ((step > 0) || (continuation->begin == 0)) {
        return PSGD_OK;
    }
    return psgd_reducer_import_state(reducer, continuation->states[worker]);
}

static psgd_status_t export_mean_state(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    continuation_t *continuation = job->user;

    if (step + 1 != continuation->exports_mean_after) {
        return PSGD_OK;
    }
    return psgd_reducer_export_state(reducer, PSGD_ERROR_MEAN, &continuation->means[worker]);
}

static job_t continued_job(continuation_t *continuation, uint32_t num_workers, uint32_t num_steps)
{
    job_t job = model_job(num_workers);

    job.num_steps     = num_steps;
    job.give_gradient = give_continued_gradient;
    job.before_step   = import_continued_state;
    job.after_step    = export_mean_state;
    job.user          = continuation;
    return job;
}

static void run_interrupted(int warm_start)
{
    continuation_t whole = {0}, first = {0}, second = {0};
    job_t          whole_job = continued_job(&whole, 2, 6), first_job = continued_job(&first, 2, 3);
    job_t          second_job = continued_job(&second, 2, 3);
    job_record_t   whole_records[WORKERS_MAX], first_records[WORKERS_MAX], second_records[WORKERS_MAX];

    whole_job.config.warm_start = first_job.config.warm_start = second_job.config.warm_start = warm_start;
    whole_job.config.start_step = first_job.config.start_step = second_job.config.start_step = 1;
    job_run(&whole_job, whole_records);
    job_run(&first_job, first_records);
    second.begin = 3;
    for (uint32_t w = 0; w < 2; ++w) {
        second.states[w] = first_records[w].last_state;
    }
    job_run(&second_job, second_records);
    for (uint32_t w = 0; w < 2; ++w) {
        for (uint32_t step = 0; step < 3; ++step) {
            ck_assert_mem_eq(job_update(&whole_records[w], 3 + step), job_update(&second_records[w], step),
                             whole_records[w].total_elems * sizeof(float));
            ck_assert_mem_eq(job_error(&whole_records[w], 3 + step), job_error(&second_records[w], step),
                             whole_records[w].total_elems * sizeof(float));
        }
        ck_assert_uint_eq(second_records[w].stats[2].steps, 6);
    }
    job_records_free(&whole_job, whole_records);
    job_records_free(&first_job, first_records);
    job_records_free(&second_job, second_records);
}

START_TEST(state__exported_and_imported_continues_bitwise_identically)
{
    run_interrupted(1);
}
END_TEST

START_TEST(state__of_a_cold_start_continues_bitwise_identically)
{
    run_interrupted(0);
}
END_TEST

START_TEST(state__holds_factors_errors_step_and_seed)
{
    job_t              job = model_job(2);
    job_record_t       records[WORKERS_MAX];
    const float       *values;
    uint64_t           step, seed, cols, elems;
    uint32_t           rank;
    const psgd_state_t *state;

    job.config.seed = 12345;
    job_run(&job, records);
    state = records[1].last_state;
    assert_ok(psgd_state_get_step(state, &step, &seed));
    ck_assert_uint_eq(step, job.num_steps);
    ck_assert_uint_eq(seed, 12345);
    assert_ok(psgd_state_get_factor(state, "wide.weight", &cols, &rank, &values));
    ck_assert_uint_eq(cols, 203);
    ck_assert_uint_eq(rank, 2);
    assert_ok(psgd_state_get_error(state, "conv.weight", &elems, &values));
    ck_assert_uint_eq(elems, 16 * 8 * 9);
    assert_fails(psgd_state_get_factor(state, "bias", &cols, &rank, &values), PSGD_ERR_STATE, "bias");
    assert_fails(psgd_state_get_error(state, "fixed.weight", &elems, &values), PSGD_ERR_STATE, "fixed.weight");
    job_records_free(&job, records);
}
END_TEST

/* mean_w(error of worker w) of one tensor, and the same on all workers. */
static void assert_means_are_right(const job_t *job, const job_record_t *records, uint32_t step,
                                   const continuation_t *continuation)
{
    double  *mean   = job_mean_error(job, records, step);
    uint64_t offset = 0;

    for (size_t t = 0; t < job->num_tensors; ++t) {
        const psgd_tensor_t *tensor = &job->tensors[t];
        const float         *first, *other;
        uint64_t             elems, other_elems, tensor_elems = 1;

        for (uint32_t d = 0; d < tensor->num_dims; ++d) {
            tensor_elems *= tensor->dims[d];
        }
        if (psgd_state_get_error(continuation->means[0], tensor->name, &elems, &first) == PSGD_OK) {
            ck_assert_uint_eq(elems, tensor_elems);
            ck_assert_double_le(job_difference(first, mean + offset, elems), 1e-6);
            for (uint32_t w = 1; w < job->num_workers; ++w) {
                assert_ok(psgd_state_get_error(continuation->means[w], tensor->name, &other_elems, &other));
                ck_assert_mem_eq(first, other, elems * sizeof(*first));
            }
        }
        offset += tensor_elems;
    }
    free(mean);
}

/* All workers have the same gradients from step 3 on, so that their number makes no difference. */
static void give_common_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    const continuation_t *continuation = job->user;
    uint32_t              whole_step   = step + continuation->begin;

    test_random_fill(gradient, job_total_elems(job), 500 + whole_step * 10 + (whole_step < 3 ? worker : 0));
}

START_TEST(state__with_the_mean_error_continues_on_any_number_of_workers)
{
    continuation_t original     = {0};
    job_t          original_job = continued_job(&original, 2, 6);
    job_record_t   original_records[WORKERS_MAX];
    uint64_t       total = job_total_elems(&original_job);

    original.exports_mean_after = 3;
    original_job.give_gradient  = give_common_gradient;
    job_run(&original_job, original_records);
    assert_means_are_right(&original_job, original_records, 2, &original);
    for (uint32_t num_workers = 1; num_workers <= 4; num_workers += psgd_test_shapes_are_reduced() ? 2 : 1) {
        continuation_t next     = {0};
        job_t          next_job = continued_job(&next, num_workers, 3);
        job_record_t   next_records[WORKERS_MAX];

        next.begin             = 3;
        next_job.give_gradient = give_common_gradient;
        for (uint32_t w = 0; w < num_workers; ++w) {
            next.states[w] = original.means[0];
        }
        job_run(&next_job, next_records);
        job_assert_equal_updates(&next_job, next_records);
        for (uint32_t step = 0; step < 3; ++step) {
            double *expected = job_wide(job_update(&original_records[0], 3 + step), total);

            ck_assert_double_le(job_difference(job_update(&next_records[0], step), expected, total), REFERENCE_BOUND);
            free(expected);
        }
        job_records_free(&next_job, next_records);
    }
    for (uint32_t w = 0; w < 2; ++w) {
        psgd_state_destroy(original.means[w]);
    }
    job_records_free(&original_job, original_records);
}
END_TEST

/* A factor alone leaves the error memory as it is: the next step starts from that Q, and M = g + e. */
START_TEST(state__a_factor_may_be_imported_alone)
{
    psgd_tensor_t   tensor = job_tensor("weight", 30, 50);
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer = create_alone(&tensor, 1, NULL, &comm);
    psgd_state_t   *state = NULL, *before = NULL, *after = NULL;
    float           values[30 * 50], q[50 * 4];
    float          *pointer = values;
    const float    *error_before, *error_after, *factor;
    uint64_t        elems, cols;
    uint32_t        rank;

    test_random_fill(values, 30 * 50, 3);
    test_random_fill(q, 50 * 4, 4);
    assert_ok(psgd_reducer_step_host(reducer, &pointer, 1));
    assert_ok(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &before));
    assert_ok(psgd_state_create(&state));
    assert_ok(psgd_state_set_factor(state, "weight", 50, 4, q));
    assert_ok(psgd_reducer_import_state(reducer, state));
    assert_ok(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &after));
    assert_ok(psgd_state_get_error(before, "weight", &elems, &error_before));
    assert_ok(psgd_state_get_error(after, "weight", &elems, &error_after));
    ck_assert_mem_eq(error_before, error_after, elems * sizeof(float));
    assert_ok(psgd_state_get_factor(after, "weight", &cols, &rank, &factor));
    ck_assert_mem_eq(factor, q, sizeof(q));
    psgd_state_destroy(state);
    psgd_state_destroy(before);
    psgd_state_destroy(after);
    destroy_alone(reducer, comm);
}
END_TEST

START_TEST(state__items_are_replaced_and_copied)
{
    psgd_state_t *state = NULL;
    float         values[6] = {1, 2, 3, 4, 5, 6};
    const float  *kept;
    uint64_t      cols, elems, step, seed;
    uint32_t      rank;

    assert_ok(psgd_state_create(&state));
    assert_fails(psgd_state_get_step(state, &step, &seed), PSGD_ERR_STATE, "step");
    assert_ok(psgd_state_set_factor(state, "a", 3, 2, values));
    assert_ok(psgd_state_set_error(state, "a", 6, values));
    values[0] = 10;
    assert_ok(psgd_state_get_factor(state, "a", &cols, &rank, &kept));
    ck_assert_float_eq(kept[0], 1.0f);
    assert_ok(psgd_state_set_factor(state, "a", 6, 1, values));
    assert_ok(psgd_state_get_factor(state, "a", &cols, &rank, &kept));
    ck_assert_uint_eq(cols, 6);
    ck_assert_uint_eq(rank, 1);
    ck_assert_float_eq(kept[0], 10.0f);
    assert_ok(psgd_state_get_error(state, "a", &elems, &kept));
    ck_assert_float_eq(kept[0], 1.0f);
    assert_ok(psgd_state_set_step(state, UINT64_C(1) << 50, UINT64_MAX));
    assert_ok(psgd_state_get_step(state, &step, &seed));
    ck_assert_uint_eq(step, UINT64_C(1) << 50);
    ck_assert_uint_eq(seed, UINT64_MAX);
    psgd_state_destroy(state);
}
END_TEST

/* --- log ---------------------------------------------------------------------------------------------------------- */

typedef struct log_lines {
    uint32_t num_lines;
    uint32_t num_steps; /* lines that begin with "step" */
    uint32_t num_broken; /* with a newline, or above the level */
} log_lines_t;

static void count_line(psgd_log_level_t level, const char *line, void *user)
{
    log_lines_t *lines = user;

    lines->num_lines++;
    lines->num_steps += strstr(line, "step 0") != NULL ? 1 : 0;
    lines->num_broken += (strchr(line, '\n') != NULL) || (level > PSGD_LOG_DEBUG) || (level < PSGD_LOG_ERROR) ? 1 : 0;
}

START_TEST(log__goes_to_the_callback_at_the_level_asked_for)
{
    psgd_tensor_t   tensor = job_tensor("weight", 24, 40);
    psgd_config_t   config = PSGD_CONFIG_INIT;
    log_lines_t     talkative = {0, 0, 0}, silent = {0, 0, 0};
    float           values[24 * 40];
    float          *pointer = values;
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;

    test_random_fill(values, 24 * 40, 3);
    config.log       = count_line;
    config.log_user  = &talkative;
    config.log_level = PSGD_LOG_DEBUG;
    reducer          = create_alone(&tensor, 1, &config, &comm);
    ck_assert_uint_gt(talkative.num_lines, 0);
    assert_ok(psgd_reducer_step_host(reducer, &pointer, 1));
    ck_assert_uint_eq(talkative.num_steps, 1);
    ck_assert_uint_eq(talkative.num_broken, 0);
    destroy_alone(reducer, comm);

    config.log_user  = &silent;
    config.log_level = PSGD_LOG_OFF;
    reducer          = create_alone(&tensor, 1, &config, &comm);
    assert_ok(psgd_reducer_step_host(reducer, &pointer, 1));
    ck_assert_uint_eq(silent.num_lines, 0);
    destroy_alone(reducer, comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reducer");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_add_test(tcase, reducer__destroy_takes_null);
    tcase_add_test(tcase, reducer__copies_what_it_was_created_from);
    tcase_add_test(tcase, reducer__several_live_in_one_context_side_by_side);
    tcase_add_loop_test(tcase, plan__compresses_what_becomes_smaller_by_the_rate, 0, NUM_DECISIONS);
    tcase_add_test(tcase, stats__count_every_byte_of_a_step);
    tcase_add_test(tcase, stats__phases_add_up_to_the_step);
    tcase_add_test(tcase, stats__device_memory_is_what_the_header_says);
    tcase_add_test(tcase, option__steps_before_start_step_average_and_keep_no_error);
    tcase_add_test(tcase, option__without_error_feedback_nothing_is_remembered);
    tcase_add_test(tcase, option__cold_start_draws_a_fresh_q_for_every_step);
    tcase_add_test(tcase, gradients__in_one_buffer_separate_buffers_and_host_memory_give_the_same_bits);
    tcase_add_test(tcase, gradients__nothing_beside_them_is_touched);
    tcase_add_test(tcase, queue__in_order_out_of_order_and_none_give_the_same_bits);
    tcase_add_test(tcase, context__the_librarys_own_serves_host_pointers);
    tcase_add_test(tcase, uncompressed__large_tensors_travel_in_a_collective_of_their_own);
    tcase_add_test(tcase, uncompressed__a_model_of_vectors_alone_is_averaged);
    tcase_add_test(tcase, uncompressed__a_model_of_one_matrix_alone_is_compressed);
    tcase_add_test(tcase, uncompressed__plain_steps_travel_in_pieces_of_32_mib);
    tcase_add_test(tcase, state__exported_and_imported_continues_bitwise_identically);
    tcase_add_test(tcase, state__of_a_cold_start_continues_bitwise_identically);
    tcase_add_test(tcase, state__holds_factors_errors_step_and_seed);
    tcase_add_test(tcase, state__with_the_mean_error_continues_on_any_number_of_workers);
    tcase_add_test(tcase, state__a_factor_may_be_imported_alone);
    tcase_add_test(tcase, state__items_are_replaced_and_copied);
    tcase_add_test(tcase, log__goes_to_the_callback_at_the_level_asked_for);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
