#include "support/job.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "reference/powersgd_reference.h"
#include "support/half.h"
#include "support/suite.h"
#include "support/workers.h"

enum {
    FIRST_OFFSET_ELEMS = 3, /* of a shared buffer: aligned to a float and to nothing else */
    GAP_ELEMS          = 5, /* between two tensors of a shared buffer */
    MAX_CHANGING_ELEMS = 32 /* before a tensor in a buffer that changes */
};

static const double DEADLINE_SECONDS = 240.0;

/* --- description -------------------------------------------------------------------------------------------------- */

job_t job_describe(const psgd_tensor_t *tensors, size_t num_tensors)
{
    const psgd_config_t defaults = PSGD_CONFIG_INIT;
    job_t               job      = {0};

    job.tensors                 = tensors;
    job.num_tensors             = num_tensors;
    job.config                  = defaults;
    job.config.deadline_seconds = DEADLINE_SECONDS;
    job.num_workers             = 1;
    job.num_steps               = 4;
    job.gradient_stream         = 1;
    return job;
}

static uint64_t tensor_elems(const psgd_tensor_t *tensor)
{
    uint64_t elems = 1;

    for (uint32_t d = 0; d < tensor->num_dims; ++d) {
        elems *= tensor->dims[d];
    }
    return elems;
}

uint64_t job_total_elems(const job_t *job)
{
    uint64_t total = 0;

    for (size_t t = 0; t < job->num_tensors; ++t) {
        total += tensor_elems(&job->tensors[t]);
    }
    return total;
}

psgd_tensor_t job_tensor(const char *name, uint64_t rows, uint64_t cols)
{
    psgd_tensor_t tensor = PSGD_TENSOR_INIT;

    tensor.name     = name;
    tensor.dims[0]  = rows;
    tensor.dims[1]  = cols;
    tensor.num_dims = cols > 0 ? 2 : 1;
    return tensor;
}

void job_model(psgd_tensor_t tensors[JOB_MODEL_TENSORS])
{
    psgd_tensor_t conv = job_tensor("conv.weight", 16, 8);

    conv.num_dims = 4;
    conv.dims[2] = conv.dims[3] = 3;
    tensors[0] = job_tensor("fc1.weight", 40, 56);
    tensors[1] = job_tensor("fc1.bias", 40, 0);
    tensors[2] = conv;
    tensors[3] = job_tensor("fc2.weight", 40, 56); /* the shape of fc1.weight */
    tensors[4] = job_tensor("tall.weight", 151, 19);
    tensors[5] = job_tensor("tiny.weight", 3, 2);
    tensors[6] = job_tensor("fixed.weight", 30, 31);
    tensors[7] = job_tensor("wide.weight", 17, 203);
    tensors[8] = job_tensor("bias", 7, 0);
    tensors[6].rank = PSGD_NEVER_COMPRESS;
    tensors[7].rank = 2;
}

/* Gradients of different workers and steps have nothing in common. */
static void random_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    test_random_fill(gradient, job_total_elems(job), (job->gradient_stream << 32) + ((uint64_t)step << 8) + worker);
}

static void give_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    if (job->give_gradient != NULL) {
        job->give_gradient(job, worker, step, gradient);
    } else {
        random_gradient(job, worker, step, gradient);
    }
}

float *job_gradient(const job_t *job, uint32_t worker, uint32_t step)
{
    float *gradient = malloc(job_total_elems(job) * sizeof(*gradient));

    ck_assert_ptr_nonnull(gradient);
    give_gradient(job, worker, step, gradient);
    return gradient;
}

/* --- gradients in memory ------------------------------------------------------------------------------------------ */

/* Where the tensors of one worker live during a job. */
typedef struct placement {
    job_memory_t  memory;
    psgd_buffer_t buffers[64]; /* by tensor; one buffer: all the same mem */
    float        *pointers[64];
    uint16_t     *halves[64]; /* of tensors in 16 bits: what the device or the library gets */
    size_t        num_tensors;
} placement_t;

static bool is_half(const psgd_tensor_t *tensor)
{
    return tensor->dtype != PSGD_F32;
}

/* A buffer for each tensor of its own: of step `step`, where they change. */
static psgd_status_t create_separate(const job_t *job, const test_device_t *device, uint32_t step,
                                     psgd_buffer_t buffers[64])
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        size_t before = 0;

        if (job->memory == JOB_CHANGING_BUFFERS) {
            before = (step * 7 + t * 3) % MAX_CHANGING_ELEMS;
        }
        buffers[t].offset_bytes = before * (is_half(&job->tensors[t]) ? sizeof(uint16_t) : sizeof(float));
        worker_needs(test_buffer_create(device, before + tensor_elems(&job->tensors[t]), &buffers[t].mem));
    }
    return PSGD_OK;
}

static void release_separate(const job_t *job, psgd_buffer_t buffers[64])
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        if (buffers[t].mem != NULL) {
            clReleaseMemObject(buffers[t].mem);
        }
        buffers[t].mem = NULL;
    }
}

/* New buffers for this step; the old ones go when the new ones are there, so that no handle stays the same. */
static psgd_status_t placement_change(const job_t *job, const test_device_t *device, uint32_t step,
                                      placement_t *placement)
{
    psgd_buffer_t buffers[64] = {{NULL, 0}};
    psgd_status_t status;

    if (job->memory != JOB_CHANGING_BUFFERS) {
        return PSGD_OK;
    }
    status = create_separate(job, device, step, buffers);
    release_separate(job, placement->buffers);
    memcpy(placement->buffers, buffers, sizeof(buffers));
    return status;
}

static psgd_status_t placement_create(const job_t *job, const test_device_t *device, float *values,
                                      placement_t *placement)
{
    uint64_t end    = FIRST_OFFSET_ELEMS;
    uint64_t behind = 0;

    worker_expects(job->num_tensors <= 64, "a job of %zu tensors", job->num_tensors);
    memset(placement, 0, sizeof(*placement));
    placement->memory      = job->memory;
    placement->num_tensors = job->num_tensors;
    for (size_t t = 0; t < job->num_tensors; ++t) {
        uint64_t elems = tensor_elems(&job->tensors[t]);

        placement->pointers[t]             = values + behind;
        placement->buffers[t].offset_bytes = end * sizeof(float);
        if (is_half(&job->tensors[t])) { /* aligned to its own size and to nothing else */
            placement->buffers[t].offset_bytes += sizeof(uint16_t);
            placement->halves[t] = calloc(elems, sizeof(uint16_t));
            worker_expects(placement->halves[t] != NULL, "no memory for a gradient");
        }
        behind += elems;
        end += elems + GAP_ELEMS;
    }
    if ((job->memory == JOB_SEPARATE_BUFFERS) || (job->memory == JOB_CHANGING_BUFFERS)) {
        return create_separate(job, device, 0, placement->buffers);
    }
    if (job->memory == JOB_ONE_BUFFER) {
        worker_needs(test_buffer_create(device, end, &placement->buffers[0].mem));
        for (size_t t = 1; t < job->num_tensors; ++t) {
            placement->buffers[t].mem = placement->buffers[0].mem;
        }
    }
    return PSGD_OK;
}

static void placement_destroy(placement_t *placement)
{
    for (size_t t = 0; t < placement->num_tensors; ++t) {
        free(placement->halves[t]);
    }
    for (size_t t = 0; t < placement->num_tensors; ++t) {
        bool owns = (placement->memory != JOB_ONE_BUFFER) || (t == 0);

        if (owns && (placement->buffers[t].mem != NULL)) {
            clReleaseMemObject(placement->buffers[t].mem);
        }
    }
}

/* Between `pointers` and `halves`. */
static void convert(const placement_t *placement, const psgd_tensor_t *tensor, size_t t, bool to_device)
{
    for (uint64_t i = 0; is_half(tensor) && (i < tensor_elems(tensor)); ++i) {
        if (to_device) {
            placement->halves[t][i] = half_encode(tensor->dtype, placement->pointers[t][i]);
        } else {
            placement->pointers[t][i] = half_decode(tensor->dtype, placement->halves[t][i]);
        }
    }
}

static void *host_of(const placement_t *placement, size_t t)
{
    return placement->halves[t] != NULL ? (void *)placement->halves[t] : (void *)placement->pointers[t];
}

/* Between `pointers` and the device, one tensor, on any queue; *event_p, where it is asked for, is set on success. */
static psgd_status_t transfer_one(const placement_t *placement, const job_t *job, size_t t, bool to_device,
                                  cl_command_queue queue, cl_bool is_blocking, cl_event *event_p)
{
    const psgd_tensor_t *tensor = &job->tensors[t];
    const psgd_buffer_t *buffer = &placement->buffers[t];
    size_t               bytes  = tensor_elems(tensor) * (is_half(tensor) ? sizeof(uint16_t) : sizeof(float));

    if (to_device) {
        convert(placement, tensor, t, true);
    }
    if ((placement->memory != JOB_HOST_POINTERS) && to_device) {
        worker_needs(test_cl_check(clEnqueueWriteBuffer(queue, buffer->mem, is_blocking, buffer->offset_bytes, bytes,
                                                        host_of(placement, t), 0, NULL, event_p),
                                   "clEnqueueWriteBuffer"));
    } else if (placement->memory != JOB_HOST_POINTERS) {
        worker_needs(test_cl_check(clEnqueueReadBuffer(queue, buffer->mem, is_blocking, buffer->offset_bytes, bytes,
                                                       host_of(placement, t), 0, NULL, event_p),
                                   "clEnqueueReadBuffer"));
    }
    if (!to_device) {
        convert(placement, tensor, t, false);
    }
    return PSGD_OK;
}

static psgd_status_t placement_transfer(const placement_t *placement, const job_t *job, const test_device_t *device,
                                        bool to_device)
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        worker_needs(transfer_one(placement, job, t, to_device, device->queue, CL_TRUE, NULL));
    }
    return PSGD_OK;
}

/* --- a worker's part ---------------------------------------------------------------------------------------------- */

psgd_status_t job_fill_factors(const psgd_reducer_t *reducer, const job_t *job, uint64_t stream, psgd_state_t *state)
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;
        psgd_status_t      status;
        float             *q;

        uint64_t length;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if (plan.rank == 0) {
            continue;
        }
        length = job->config.half_iterations > 0 ? plan.rows : plan.cols; /* of the first factor */
        q      = malloc(length * plan.rank * sizeof(*q));
        worker_expects(q != NULL, "no memory for a factor");
        test_random_fill(q, length * plan.rank, (stream << 32) + t);
        status = psgd_state_set_factor(state, job->tensors[t].name, length, plan.rank, q);
        free(q);
        if (status != PSGD_OK) {
            return status;
        }
    }
    return PSGD_OK;
}

static psgd_status_t import_factors(psgd_reducer_t *reducer, const job_t *job)
{
    psgd_state_t *state = NULL;
    psgd_status_t status;

    worker_needs(psgd_state_create(&state));
    status = job_fill_factors(reducer, job, job->q_stream, state);
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

psgd_status_t job_reimport(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *state = NULL;
    psgd_status_t status;

    (void)job;
    (void)worker;
    (void)step;
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &state));
    status = psgd_reducer_reset_error(reducer);
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

/* The worker's own error memory, in the order of the tensors. */
static psgd_status_t read_errors(psgd_reducer_t *reducer, const job_t *job, const psgd_state_t *state, float *errors)
{
    for (size_t t = 0; t < job->num_tensors; ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;
        uint64_t           elems;
        const float       *error;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if ((plan.rank > 0) && (job->config.error_feedback != 0) && (job->config.flatten == 0)) {
            worker_needs(psgd_state_get_error(state, job->tensors[t].name, &elems, &error));
            worker_expects(elems == plan.elems, "the error of '%s' has %" PRIu64 " elements", job->tensors[t].name,
                           elems);
            memcpy(errors, error, elems * sizeof(*errors));
        }
        errors += plan.elems;
    }
    return PSGD_OK;
}

static psgd_status_t record_step(psgd_reducer_t *reducer, const job_t *job, uint32_t step, job_record_t *record)
{
    psgd_stats_t stats = PSGD_STATS_INIT;

    if (!job->exports_last_alone || (step + 1 == job->num_steps)) {
        psgd_state_destroy(record->last_state);
        record->last_state = NULL;
        worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &record->last_state));
        worker_needs(read_errors(reducer, job, record->last_state, record->errors + step * record->total_elems));
    }
    worker_needs(psgd_reducer_get_stats(reducer, &stats));
    record->stats[step] = stats;
    return PSGD_OK;
}

/* --- a step's gradients ---- */

static psgd_status_t step_at_once(psgd_reducer_t *reducer, const job_t *job, const test_device_t *device,
                                  const placement_t *placement, const psgd_step_options_t *options)
{
    worker_needs(placement_transfer(placement, job, device, true));
    if (job->memory == JOB_HOST_POINTERS) {
        float *hosts[64];

        for (size_t t = 0; t < job->num_tensors; ++t) {
            hosts[t] = host_of(placement, t);
        }
        return psgd_reducer_step_host_with(reducer, hosts, job->num_tensors, options);
    }
    return psgd_reducer_step_with(reducer, placement->buffers, job->num_tensors, options);
}

/* Tensors first to first + count - 1, after what is enqueued on the reducer's queue. */
static psgd_status_t submit_some(psgd_reducer_t *reducer, const job_t *job, const test_device_t *device,
                                 const placement_t *placement, size_t first, size_t count)
{
    float *hosts[64];

    for (size_t t = first; t < first + count; ++t) {
        worker_needs(transfer_one(placement, job, t, true, device->queue, CL_FALSE, NULL));
        hosts[t - first] = host_of(placement, t);
    }
    return job->memory == JOB_HOST_POINTERS
               ? psgd_reducer_submit_host(reducer, first, hosts, count)
               : psgd_reducer_submit(reducer, first, &placement->buffers[first], count, 0, NULL);
}

static psgd_status_t step_from_the_last(psgd_reducer_t *reducer, const job_t *job, const test_device_t *device,
                                        const placement_t *placement)
{
    for (size_t t = job->num_tensors; t-- > 0;) {
        worker_needs(submit_some(reducer, job, device, placement, t, 1));
        worker_needs(psgd_reducer_poll(reducer));
    }
    return psgd_reducer_wait(reducer, NULL);
}

static psgd_status_t step_from_the_first(psgd_reducer_t *reducer, const job_t *job, const test_device_t *device,
                                         const placement_t *placement)
{
    cl_event event = NULL;

    for (size_t t = 0; t < job->num_tensors; t += 2) {
        worker_needs(submit_some(reducer, job, device, placement, t, t + 1 < job->num_tensors ? 2 : 1));
    }
    worker_needs(psgd_reducer_wait(reducer, &event));
    worker_expects(event != NULL, "psgd_reducer_wait() has given no event");
    clReleaseEvent(event); /* what reads the update is enqueued on the reducer's queue, and comes after it by itself */
    return PSGD_OK;
}

/* Another queue of the reducer's context. */
static psgd_status_t create_producer(const test_device_t *device, cl_command_queue *queue_p)
{
    const cl_command_queue_properties properties =
        device->info.has_out_of_order_queue ? CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE : 0;
    cl_int result = CL_SUCCESS;

    *queue_p = clCreateCommandQueue(device->context, device->id, properties, &result);
    return test_cl_check(result, "clCreateCommandQueue");
}

/* Tensor t, behind an event that nobody flushes, and that is released at once. */
static psgd_status_t submit_by_event(psgd_reducer_t *reducer, const job_t *job, const placement_t *placement, size_t t,
                                     cl_command_queue producer)
{
    cl_event      event = NULL;
    psgd_status_t status;

    worker_needs(transfer_one(placement, job, t, true, producer, CL_FALSE, &event));
    status = psgd_reducer_submit(reducer, t, &placement->buffers[t], 1, 1, &event);
    clReleaseEvent(event);
    return status;
}

static psgd_status_t step_by_events(psgd_reducer_t *reducer, const job_t *job, uint32_t worker, uint32_t step,
                                    const test_device_t *device, const placement_t *placement)
{
    cl_command_queue producer = NULL;
    psgd_status_t    status   = create_producer(device, &producer);
    cl_event         event    = NULL;

    for (size_t n = 0; (status == PSGD_OK) && (n < job->num_tensors); ++n) {
        status = submit_by_event(reducer, job, placement, (n + 3 * worker + step) % job->num_tensors, producer);
    }
    if (producer != NULL) {
        clReleaseCommandQueue(producer);
    }
    worker_needs(status);
    worker_needs(psgd_reducer_wait(reducer, &event));
    worker_needs(test_cl_check(clWaitForEvents(1, &event), "clWaitForEvents"));
    clReleaseEvent(event);
    return PSGD_OK;
}

static psgd_status_t take_step(psgd_reducer_t *reducer, const job_t *job, uint32_t worker, uint32_t step,
                               const test_device_t *device, const placement_t *placement,
                               const psgd_step_options_t *options)
{
    if (job->submission == JOB_AT_ONCE) {
        return step_at_once(reducer, job, device, placement, options);
    }
    if (job->give_options != NULL) {
        worker_needs(psgd_reducer_begin(reducer, options));
    }
    switch (job->submission) {
    case JOB_AT_ONCE: break;
    case JOB_LAST_FIRST: return step_from_the_last(reducer, job, device, placement);
    case JOB_FIRST_LAST: return step_from_the_first(reducer, job, device, placement);
    case JOB_BY_EVENTS: return step_by_events(reducer, job, worker, step, device, placement);
    }
    return PSGD_ERR_INTERNAL;
}

static psgd_status_t run_step(psgd_reducer_t *reducer, const job_t *job, uint32_t worker, uint32_t step,
                              const test_device_t *device, placement_t *placement, float *values, job_record_t *record)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;

    if ((step == 0) && (job->q_stream != 0)) {
        worker_needs(import_factors(reducer, job));
    }
    if (job->before_step != NULL) {
        worker_needs(job->before_step(job, worker, step, reducer));
    }
    give_gradient(job, worker, step, values);
    worker_needs(placement_change(job, device, step, placement));
    if (job->give_options != NULL) {
        job->give_options(job, worker, step, &options);
    }
    worker_needs(take_step(reducer, job, worker, step, device, placement, &options));
    worker_needs(placement_transfer(placement, job, device, false));
    memcpy(record->updates + step * record->total_elems, values, record->total_elems * sizeof(*values));
    worker_needs(record_step(reducer, job, step, record));
    return (job->after_step == NULL) ? PSGD_OK : job->after_step(job, worker, step, reducer);
}

static psgd_status_t record_create(const job_t *job, job_record_t *record)
{
    memset(record, 0, sizeof(*record));
    record->total_elems = job_total_elems(job);
    record->num_steps   = job->num_steps;
    worker_needs(psgd_alloc(record->total_elems * job->num_steps, sizeof(float), "updates", &record->updates));
    worker_needs(psgd_alloc(record->total_elems * job->num_steps, sizeof(float), "errors", &record->errors));
    return psgd_alloc(job->num_steps, sizeof(psgd_stats_t), "statistics", &record->stats);
}

void job_record_free(job_record_t *record)
{
    psgd_free(record->updates);
    psgd_free(record->errors);
    psgd_free(record->stats);
    psgd_state_destroy(record->last_state);
    memset(record, 0, sizeof(*record));
}

psgd_status_t job_run_worker(const job_t *job, const test_device_t *device, const psgd_comm_t *comm,
                             job_record_t *record_p)
{
    psgd_reducer_t *reducer = NULL;
    float          *values  = NULL;
    placement_t     placement;
    psgd_status_t   status;

    memset(&placement, 0, sizeof(placement));
    status = record_create(job, record_p);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(record_p->total_elems, sizeof(*values), "a gradient", &values);
    if (status != PSGD_OK) {
        return status;
    }
    status = placement_create(job, device, values, &placement);
    if (status != PSGD_OK) {
        goto destroy_placement;
    }
    status = psgd_reducer_create(device->context, device->id, device->queue, job->tensors, job->num_tensors,
                                 &job->config, comm, &reducer);
    if (status != PSGD_OK) {
        goto destroy_placement;
    }
    for (uint32_t step = 0; (step < job->num_steps) && (status == PSGD_OK); ++step) {
        status = run_step(reducer, job, comm->worker_index, step, device, &placement, values, record_p);
        if (status != PSGD_OK) {
            status = psgd_fail_in(status, "step %u", step);
        }
    }
    psgd_reducer_destroy(reducer);

destroy_placement:
    placement_destroy(&placement);
    psgd_free(values);
    return status;
}

/* --- all workers -------------------------------------------------------------------------------------------------- */

typedef struct shared_job {
    const job_t  *job;
    job_record_t *records;
} shared_job_t;

static psgd_status_t run_thread(worker_t *worker)
{
    shared_job_t *shared = worker->user;

    return job_run_worker(shared->job, worker->device, worker->comm, &shared->records[worker->index]);
}

void job_run(const job_t *job, job_record_t *records)
{
    shared_job_t shared = {job, records};

    workers_run(job->num_workers, run_thread, &shared);
}

void job_records_free(const job_t *job, job_record_t *records)
{
    for (uint32_t w = 0; w < job->num_workers; ++w) {
        job_record_free(&records[w]);
    }
}

const float *job_update(const job_record_t *record, uint32_t step)
{
    return record->updates + step * record->total_elems;
}

const float *job_error(const job_record_t *record, uint32_t step)
{
    return record->errors + step * record->total_elems;
}

/* --- against the reference ---------------------------------------------------------------------------------------- */

static double *allocate_doubles(uint64_t count)
{
    double *values = calloc(count != 0 ? count : 1, sizeof(*values));

    ck_assert_ptr_nonnull(values);
    return values;
}

double *job_wide(const float *values, uint64_t count)
{
    double *wide = allocate_doubles(count);

    for (uint64_t i = 0; i < count; ++i) {
        wide[i] = values[i];
    }
    return wide;
}

static reference_t *create_reference(const job_t *job, bool averaged_error)
{
    reference_options_t options = REFERENCE_OPTIONS_INIT;
    reference_shape_t  *shapes  = calloc(job->num_tensors, sizeof(*shapes));
    reference_t        *reference;

    ck_assert_ptr_nonnull(shapes);
    for (size_t t = 0; t < job->num_tensors; ++t) {
        memcpy(shapes[t].dims, job->tensors[t].dims, sizeof(shapes[t].dims));
        shapes[t].num_dims = job->tensors[t].num_dims;
        shapes[t].rank     = job->tensors[t].rank;
        if (job->tensors[t].rank == PSGD_NEVER_COMPRESS) {
            shapes[t].rank = REFERENCE_NEVER_COMPRESS;
        }
    }
    options.num_workers          = job->num_workers;
    options.rank                 = job->config.rank;
    options.min_compression_rate = job->config.min_compression_rate;
    options.start_step           = job->config.start_step;
    options.error_feedback       = job->config.error_feedback != 0;
    options.warm_start           = job->config.warm_start != 0;
    options.averaged_error       = averaged_error;
    options.half_iterations      = job->config.half_iterations;
    reference                    = reference_create(shapes, job->num_tensors, &options);
    free(shapes);
    ck_assert_ptr_nonnull(reference);
    return reference;
}

static void set_factors(reference_t *reference, uint64_t stream)
{
    for (size_t t = 0; t < reference->num_tensors; ++t) {
        bool     is_p  = reference->options.half_iterations > 0;
        uint64_t elems = (is_p ? reference->tensors[t].rows : reference->tensors[t].cols) * reference->tensors[t].r;
        float   *q     = malloc((elems + 1) * sizeof(*q));
        double  *wide;

        ck_assert_ptr_nonnull(q);
        test_random_fill(q, elems, (stream << 32) + t);
        wide = job_wide(q, elems);
        if (is_p) {
            reference_set_p(reference, t, wide);
        } else {
            reference_set_q(reference, t, wide);
        }
        free(q);
        free(wide);
    }
}

static double *wide_gradient(const job_t *job, uint32_t worker, uint32_t step)
{
    float  *gradient = job_gradient(job, worker, step);
    double *wide     = job_wide(gradient, job_total_elems(job));

    free(gradient);
    return wide;
}

void job_reference(const job_t *job, bool averaged_error, double **updates_p, double **mean_errors_p)
{
    reference_t *reference = create_reference(job, averaged_error);
    uint64_t     total     = reference->total_elems;
    double      *updates   = allocate_doubles(total * job->num_steps);
    double      *errors    = allocate_doubles(total * job->num_steps);
    double     **grads     = calloc(job->num_workers, sizeof(*grads));

    ck_assert_ptr_nonnull(grads);
    ck_assert_msg(job->q_stream != 0, "the reference needs a Q to start from");
    set_factors(reference, job->q_stream);
    for (uint32_t step = 0; step < job->num_steps; ++step) {
        for (uint32_t w = 0; w < job->num_workers; ++w) {
            grads[w] = wide_gradient(job, w, step);
        }
        reference_step(reference, (const double *const *)grads, updates + step * total);
        reference_mean_error(reference, errors + step * total);
        for (uint32_t w = 0; w < job->num_workers; ++w) {
            free(grads[w]);
        }
    }
    free(grads);
    reference_destroy(reference);
    *updates_p     = updates;
    *mean_errors_p = errors;
}

double *job_mean_error(const job_t *job, const job_record_t *records, uint32_t step)
{
    uint64_t total = job_total_elems(job);
    double  *mean  = allocate_doubles(total);

    for (uint32_t w = 0; w < job->num_workers; ++w) {
        for (uint64_t i = 0; i < total; ++i) {
            mean[i] += (double)job_error(&records[w], step)[i] / job->num_workers;
        }
    }
    return mean;
}

void job_assert_agrees_with_reference(const job_t *job, const job_record_t *records, double bound)
{
    const uint64_t total = job_total_elems(job);
    double        *updates, *errors;

    job_reference(job, false, &updates, &errors);
    for (uint32_t step = 0; step < job->num_steps; ++step) {
        double *error = job_mean_error(job, records, step);

        ck_assert_double_le(job_difference(job_update(&records[0], step), updates + step * total, total), bound);
        ck_assert_double_le(reference_difference(error, errors + step * total, total), bound);
        free(error);
    }
    free(updates);
    free(errors);
}

void job_assert_nothing_lost(const job_t *job, const job_record_t *records, double bound)
{
    uint64_t total   = job_total_elems(job);
    double  *missing = allocate_doubles(total);
    double  *error   = job_mean_error(job, records, job->num_steps - 1);
    double   difference;

    for (uint32_t step = 0; step < job->num_steps; ++step) {
        for (uint32_t w = 0; w < job->num_workers; ++w) {
            float *gradient = job_gradient(job, w, step);

            for (uint64_t i = 0; i < total; ++i) {
                missing[i] += (double)gradient[i] / job->num_workers;
            }
            free(gradient);
        }
        for (uint64_t i = 0; i < total; ++i) {
            missing[i] -= (double)job_update(&records[0], step)[i];
        }
    }
    difference = reference_difference(missing, error, total);
    free(missing);
    free(error);
    ck_assert_msg(difference <= bound, "what is missing and the mean error memory are %.3g apart, and not %.3g",
                  difference, bound);
}

double job_difference(const float *a, const double *b, uint64_t count)
{
    double *wide       = job_wide(a, count);
    double  difference = reference_difference(wide, b, count);

    free(wide);
    return difference;
}

void job_assert_equal_updates(const job_t *job, const job_record_t *records)
{
    for (uint32_t w = 1; w < job->num_workers; ++w) {
        for (uint32_t step = 0; step < job->num_steps; ++step) {
            ck_assert_msg(memcmp(job_update(&records[0], step), job_update(&records[w], step),
                                 records[0].total_elems * sizeof(float)) == 0,
                          "workers 0 and %u hold different updates after step %u", w, step);
        }
    }
}

void job_assert_same_update(const job_record_t *a, uint32_t a_step, const job_record_t *b, uint32_t b_step)
{
    ck_assert_uint_eq(a->total_elems, b->total_elems);
    ck_assert_msg(memcmp(job_update(a, a_step), job_update(b, b_step), a->total_elems * sizeof(float)) == 0,
                  "the updates of steps %u and %u differ", a_step, b_step);
}

void job_assert_same_updates(const job_record_t *a, const job_record_t *b)
{
    ck_assert_uint_eq(a->num_steps, b->num_steps);
    for (uint32_t step = 0; step < a->num_steps; ++step) {
        job_assert_same_update(a, step, b, step);
    }
}

void job_assert_equal_errors(const job_record_t *a, uint32_t a_step, const job_record_t *b, uint32_t b_step)
{
    const float *a_error = job_error(a, a_step), *b_error = job_error(b, b_step);

    ck_assert_uint_eq(a->total_elems, b->total_elems);
    for (uint64_t i = 0; i < a->total_elems; ++i) {
        ck_assert_msg(a_error[i] == b_error[i], "the errors after steps %u and %u differ at %" PRIu64 ": %a, %a",
                      a_step, b_step, i, (double)a_error[i], (double)b_error[i]);
    }
}

void job_assert_same_bits(const job_record_t *a, const job_record_t *b)
{
    ck_assert_uint_eq(a->total_elems, b->total_elems);
    ck_assert_uint_eq(a->num_steps, b->num_steps);
    for (uint32_t step = 0; step < a->num_steps; ++step) {
        ck_assert_msg(memcmp(job_update(a, step), job_update(b, step), a->total_elems * sizeof(float)) == 0,
                      "the updates of step %u differ", step);
        ck_assert_msg(memcmp(job_error(a, step), job_error(b, step), a->total_elems * sizeof(float)) == 0,
                      "the errors after step %u differ", step);
    }
}
