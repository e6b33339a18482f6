/* A step that is submitted in parts, and what may go wrong with it: wrong calls, a worker that leaves or stalls. All workers are told, in
 * words, and what can be undone is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

static psgd_tensor_t model[JOB_MODEL_TENSORS];

/* A bucket for each tensor; two or three tensors in each; one for all. */
static const uint64_t BUCKET_BYTES[] = {1, 20000, UINT64_MAX};

enum { NUM_SIZES = sizeof(BUCKET_BYTES) / sizeof(BUCKET_BYTES[0]) };

static bool is_left_out(int i)
{
    return psgd_test_shapes_are_reduced() && (i % 3 != 0);
}

/* --- wrong calls -------------------------------------------------------------------------------------------------- */

enum { PAIR = 2, NUM_STEPS = 5, BAD_STEP = 2 };

/* A reducer of the model with gradients in a buffer each. */
typedef struct trial {
    psgd_reducer_t *reducer;
    psgd_buffer_t   grads[JOB_MODEL_TENSORS];
    uint64_t        elems[JOB_MODEL_TENSORS];
    float          *values; /* of one tensor */
} trial_t;

static psgd_status_t trial_create(worker_t *worker, const psgd_config_t *config, trial_t *trial)
{
    uint64_t largest = 0;

    memset(trial, 0, sizeof(*trial));
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        trial->elems[t] = 1;
        for (uint32_t d = 0; d < model[t].num_dims; ++d) {
            trial->elems[t] *= model[t].dims[d];
        }
        largest = trial->elems[t] > largest ? trial->elems[t] : largest;
        worker_needs(test_buffer_create(worker->device, trial->elems[t], &trial->grads[t].mem));
    }
    trial->values = malloc(largest * sizeof(float));
    worker_expects(trial->values != NULL, "no memory for a gradient");
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                               JOB_MODEL_TENSORS, config, worker->comm, &trial->reducer);
}

static void trial_destroy(trial_t *trial)
{
    psgd_reducer_destroy(trial->reducer);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        if (trial->grads[t].mem != NULL) {
            clReleaseMemObject(trial->grads[t].mem);
        }
    }
    free(trial->values);
}

/* Random gradients of this step; `nan_tensor` gets a NaN (SIZE_MAX: none does). */
static psgd_status_t trial_write(worker_t *worker, trial_t *trial, uint32_t step, size_t nan_tensor)
{
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        test_random_fill(trial->values, trial->elems[t], (uint64_t)(step + 1) * 1000 + worker->index * 100 + t);
        if (t == nan_tensor) {
            trial->values[trial->elems[t] / 2] = NAN;
        }
        worker_needs(test_buffer_write(worker->device, trial->grads[t].mem, 0, trial->values, trial->elems[t]));
    }
    return PSGD_OK;
}

/* Adds up the bits of the update. */
static psgd_status_t trial_hash(worker_t *worker, trial_t *trial, uint64_t *hash)
{
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        worker_needs(test_buffer_read(worker->device, trial->grads[t].mem, 0, trial->values, trial->elems[t]));
        for (uint64_t i = 0; i < trial->elems[t]; ++i) {
            uint32_t bits;

            memcpy(&bits, &trial->values[i], sizeof(bits));
            *hash = *hash * UINT64_C(1099511628211) + bits;
        }
    }
    return PSGD_OK;
}

static psgd_status_t submit_one(trial_t *trial, size_t tensor)
{
    return psgd_reducer_submit(trial->reducer, tensor, &trial->grads[tensor], 1, 0, NULL);
}

static psgd_status_t submit_all(trial_t *trial)
{
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        worker_needs(submit_one(trial, t));
    }
    return PSGD_OK;
}

/* A wrong step of one worker, called `index`: what its calls say is checked here, and then it waits. */
typedef psgd_status_t (*mistake_fn)(worker_t *worker, trial_t *trial);

static psgd_status_t expect(psgd_status_t status, psgd_status_t expected, const char *words)
{
    worker_expects(status == expected, "%s in place of %s: %s", psgd_status_name(status), psgd_status_name(expected),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), words) != NULL, "no '%s' in: %s", words, psgd_last_error());
    return PSGD_OK;
}

static psgd_status_t submits_one_twice(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 4));
    worker_needs(submit_one(trial, 8));
    worker_needs(expect(submit_one(trial, 4), PSGD_ERR_INVALID_ARGUMENT, "was submitted twice in step 2"));
    return expect(submit_one(trial, 5), PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_wait() ends this step");
}

static psgd_status_t leaves_one_out(worker_t *worker, trial_t *trial)
{
    (void)worker;
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        if (t != 3) {
            worker_needs(submit_one(trial, t));
        }
    }
    return PSGD_OK;
}

static psgd_status_t submits_nothing(worker_t *worker, trial_t *trial)
{
    (void)worker;
    (void)trial;
    return PSGD_OK;
}

static psgd_status_t submits_what_is_not_there(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 8));
    worker_needs(expect(psgd_reducer_submit(trial->reducer, 7, &trial->grads[7], 3, 0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                        "created for 9 tensors"));
    return PSGD_OK;
}

static psgd_status_t submits_a_bad_event(worker_t *worker, trial_t *trial)
{
    (void)worker;
    return expect(psgd_reducer_submit(trial->reducer, 8, &trial->grads[8], 1, 1, NULL), PSGD_ERR_INVALID_ARGUMENT,
                  "num_events is 1, but wait_list is NULL");
}

static psgd_status_t submits_overlapping_ones(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 5));
    return expect(psgd_reducer_submit(trial->reducer, 4, &trial->grads[5], 1, 0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                  "of tensor");
}

static psgd_status_t has_a_nan(worker_t *worker, trial_t *trial)
{
    worker_needs(trial_write(worker, trial, BAD_STEP, 1));
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        psgd_status_t status = submit_one(trial, t); /* it may have been told already */

        worker_expects((status == PSGD_OK) || (status == PSGD_ERR_NONFINITE), "%s", psgd_last_error());
    }
    return PSGD_OK;
}

static psgd_status_t begins_twice(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(psgd_reducer_begin(trial->reducer, NULL));
    worker_needs(expect(psgd_reducer_begin(trial->reducer, NULL), PSGD_ERR_INVALID_ARGUMENT,
                        "psgd_reducer_begin: a step was begun"));
    return submit_one(trial, 8);
}

static const struct {
    mistake_fn    make;
    psgd_status_t status; /* of all workers */
    const char   *words;  /* in the sentence of the worker that makes it */
} MISTAKES[] = {
    {submits_one_twice, PSGD_ERR_INVALID_ARGUMENT, "was submitted twice"},
    {leaves_one_out, PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor 3"},
    {submits_nothing, PSGD_ERR_INVALID_ARGUMENT, "nothing was submitted for step 2"},
    {submits_what_is_not_there, PSGD_ERR_INVALID_ARGUMENT, "created for 9 tensors"},
    {submits_a_bad_event, PSGD_ERR_INVALID_ARGUMENT, "wait_list is NULL"},
    {submits_overlapping_ones, PSGD_ERR_INVALID_ARGUMENT, "of tensor"},
    {has_a_nan, PSGD_ERR_NONFINITE, "NaN"},
    {begins_twice, PSGD_ERR_INVALID_ARGUMENT, "was not submitted"},
};

enum { NUM_MISTAKES = sizeof(MISTAKES) / sizeof(MISTAKES[0]) };

/* Steps in one of which worker 1 makes a mistake, or in which nobody does. */
typedef struct course {
    psgd_config_t config;
    int           mistake; /* -1: none */
    uint64_t      hashes[PAIR];
} course_t;

static psgd_status_t make_mistake(worker_t *worker, trial_t *trial, int mistake)
{
    worker_needs(trial_write(worker, trial, BAD_STEP, SIZE_MAX));
    if (worker->index == 1) {
        worker_needs(MISTAKES[mistake].make(worker, trial));
    } else {
        for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
            psgd_status_t status = submit_one(trial, t); /* worker 1's failure may have come here already */

            worker_expects((status == PSGD_OK) || (status == MISTAKES[mistake].status), "%s", psgd_last_error());
        }
    }
    return expect(psgd_reducer_wait(trial->reducer, NULL), MISTAKES[mistake].status,
                  worker->index == 1 ? MISTAKES[mistake].words : "worker 1");
}

static psgd_status_t run_course(worker_t *worker)
{
    course_t     *course = worker->user;
    trial_t       trial;
    psgd_status_t status = trial_create(worker, &course->config, &trial);

    for (uint32_t step = 0; (status == PSGD_OK) && (step < NUM_STEPS); ++step) {
        if ((step == BAD_STEP) && (course->mistake >= 0)) {
            status = make_mistake(worker, &trial, course->mistake);
        }
        if (status == PSGD_OK) {
            status = trial_write(worker, &trial, step, SIZE_MAX);
        }
        if (status == PSGD_OK) {
            status = submit_all(&trial);
        }
        if (status == PSGD_OK) {
            status = psgd_reducer_wait(trial.reducer, NULL);
        }
        if (status == PSGD_OK) {
            status = trial_hash(worker, &trial, &course->hashes[worker->index]);
        }
    }
    trial_destroy(&trial);
    return status;
}

static course_t describe_course(int mistake, uint64_t bucket_bytes, int progress_thread)
{
    course_t course = {.config = PSGD_CONFIG_INIT, .mistake = mistake};

    course.config.engine           = PSGD_ENGINE_FUSED;
    course.config.bucket_bytes     = bucket_bytes;
    course.config.progress_thread  = progress_thread;
    course.config.deadline_seconds = 60.0;
    course.config.log_level        = PSGD_LOG_OFF;
    return course;
}

/* All workers are told, in words; and what follows has the bits of a run in which nobody made a mistake. */
START_TEST(mistake__is_told_to_all_and_changes_nothing)
{
    const uint64_t bucket_bytes = BUCKET_BYTES[_i % NUM_SIZES];
    course_t       right        = describe_course(-1, bucket_bytes, 0);
    course_t       wrong        = describe_course(_i / NUM_SIZES, bucket_bytes, _i % 2);

    if (is_left_out(_i)) {
        return;
    }
    workers_run(PAIR, run_course, &right);
    workers_run(PAIR, run_course, &wrong);
    ck_assert_uint_eq(right.hashes[0], right.hashes[1]);
    ck_assert_uint_eq(wrong.hashes[0], right.hashes[0]);
    ck_assert_uint_eq(wrong.hashes[1], right.hashes[1]);
}
END_TEST

/* --- between submit and wait -------------------------------------------------------------------------------------- */

static psgd_status_t call_others(worker_t *worker)
{
    const psgd_config_t *config                   = worker->user;
    uint32_t             ranks[JOB_MODEL_TENSORS] = {0};
    psgd_stats_t         stats                    = PSGD_STATS_INIT;
    psgd_state_t        *state                    = NULL;
    psgd_region_t        region;
    trial_t              trial;
    psgd_status_t        status = trial_create(worker, config, &trial);

    worker_needs(status);
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    worker_needs(psgd_state_create(&state));
    worker_needs(psgd_state_set_step(state, 3, 0));
    worker_needs(psgd_reducer_poll(trial.reducer)); /* no step: nothing happens */
    worker_needs(submit_one(&trial, 8));
    region = (psgd_region_t){trial.grads[0].mem, 0, sizeof(float)};

#define REFUSED(call_) worker_needs(expect(call_, PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_wait() has not ended it"))
    REFUSED(psgd_reducer_step(trial.reducer, trial.grads, JOB_MODEL_TENSORS));
    REFUSED(psgd_reducer_set_ranks(trial.reducer, ranks, JOB_MODEL_TENSORS));
    REFUSED(psgd_reducer_reset_error(trial.reducer));
    REFUSED(psgd_reducer_import_state(trial.reducer, state));
    REFUSED(psgd_reducer_save(trial.reducer, "nowhere", PSGD_ERROR_MEAN));
    REFUSED(psgd_reducer_load(trial.reducer, "nowhere"));
    REFUSED(psgd_replica_check(trial.reducer, &region, 1));
    REFUSED(psgd_replica_sync(trial.reducer, &region, 1, 0));
#undef REFUSED
    worker_needs(psgd_reducer_get_stats(trial.reducer, &stats));
    for (size_t t = 8; t-- > 0;) {
        worker_needs(submit_one(&trial, t));
    }
    worker_needs(psgd_reducer_wait(trial.reducer, NULL));
    psgd_state_destroy(state);
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(submit__other_calls_are_refused_until_the_step_has_ended)
{
    course_t course = describe_course(-1, BUCKET_BYTES[_i], 0);

    workers_run(PAIR, call_others, &course.config);
}
END_TEST

/* A reducer is destroyed with a step under way: at once, whatever has been sent; the other worker is told by its deadline. */
static psgd_status_t leave_early(worker_t *worker)
{
    const psgd_config_t *config = worker->user;
    trial_t              trial;
    psgd_status_t        status;

    worker_needs(trial_create(worker, config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    if (worker->index == 1) {
        worker_needs(submit_one(&trial, 8));
        worker_needs(submit_one(&trial, 7));
        trial_destroy(&trial);
        return PSGD_OK;
    }
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        submit_one(&trial, t);
    }
    status = psgd_reducer_wait(trial.reducer, NULL);
    worker_expects((status == PSGD_ERR_COMM) || (status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_POISONED), "%s",
                   psgd_last_error());
    worker_needs(expect(submit_one(&trial, 0), PSGD_ERR_POISONED, "cannot go on"));
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(destroy__with_a_step_under_way_does_not_wait)
{
    course_t course = describe_course(-1, BUCKET_BYTES[_i % NUM_SIZES], _i / NUM_SIZES);

    course.config.deadline_seconds = 1.0;
    workers_run(PAIR, leave_early, &course.config);
}
END_TEST

/* A worker that stalls in mid-step: the others are told by their deadline, and so is it when it goes on. */
static psgd_status_t stall(worker_t *worker)
{
    const psgd_config_t *config = worker->user;
    trial_t              trial;
    psgd_status_t        status;

    worker_needs(trial_create(worker, config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    for (size_t t = JOB_MODEL_TENSORS; t-- > 4;) {
        worker_needs(submit_one(&trial, t));
    }
    if (worker->index == 1) {
        psgd_sleep_ns(UINT64_C(2500000000));
    }
    for (size_t t = 4; t-- > 0;) {
        submit_one(&trial, t);
    }
    status = psgd_reducer_wait(trial.reducer, NULL);
    if (worker->index == 0) {
        worker_needs(expect(status, PSGD_ERR_TIMEOUT, "worker 1 has not begun it"));
    }
    worker_expects((status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM) || (status == PSGD_ERR_POISONED), "%s: %s",
                   psgd_status_name(status), psgd_last_error());
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(wait__a_worker_that_stalls_is_named)
{
    course_t course = describe_course(-1, 1, _i);

    course.config.deadline_seconds = 1.0;
    workers_run(PAIR, stall, &course.config);
}
END_TEST

/* --- what runs when ------------------------------------------------------------------------------------------------ */

/* One step on a reducer whose queue is out of order: every gradient is submitted behind a command that has not even been flushed. */
static psgd_status_t step_out_of_order(worker_t *worker, trial_t *trial, float *values)
{
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        test_random_fill(values, trial->elems[t], UINT64_C(1000) + worker->index * 100 + t);
        worker_needs(test_cl_check(clEnqueueWriteBuffer(worker->device->queue, trial->grads[t].mem, CL_FALSE, 0,
                                                        trial->elems[t] * sizeof(float), values, 0, NULL, NULL),
                                   "clEnqueueWriteBuffer"));
        worker_needs(submit_one(trial, t));
        values += trial->elems[t];
    }
    return psgd_reducer_wait(trial->reducer, NULL);
}

/* The first step of run_course(), with such a queue. */
static psgd_status_t run_out_of_order(worker_t *worker)
{
    course_t            *course = worker->user;
    test_device_t        device = *worker->device;
    const test_device_t *whole  = worker->device;
    cl_int               result = CL_SUCCESS;
    uint64_t             elems  = 0;
    trial_t              trial;
    float               *values;

    device.queue = clCreateCommandQueue(device.context, device.id, CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE, &result);
    worker_needs(test_cl_check(result, "clCreateCommandQueue"));
    worker->device = &device;
    worker_needs(trial_create(worker, &course->config, &trial));
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        elems += trial.elems[t];
    }
    values = malloc(elems * sizeof(*values));
    worker_expects(values != NULL, "no memory for the gradients");
    worker_needs(step_out_of_order(worker, &trial, values));
    worker_needs(trial_hash(worker, &trial, &course->hashes[worker->index]));
    trial_destroy(&trial);
    free(values);
    clReleaseCommandQueue(device.queue);
    worker->device = whole;
    return PSGD_OK;
}

static psgd_status_t run_first_step(worker_t *worker)
{
    course_t *course = worker->user;
    trial_t   trial;

    worker_needs(trial_create(worker, &course->config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    worker_needs(psgd_reducer_step(trial.reducer, trial.grads, JOB_MODEL_TENSORS));
    worker_needs(trial_hash(worker, &trial, &course->hashes[worker->index]));
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(submit__waits_for_all_that_a_queue_out_of_order_was_given)
{
    course_t in_order     = describe_course(-1, BUCKET_BYTES[_i], 0);
    course_t out_of_order = in_order;

    if (!workers_device(0)->info.has_out_of_order_queue) {
        return;
    }
    workers_run(PAIR, run_first_step, &in_order);
    workers_run(PAIR, run_out_of_order, &out_of_order);
    ck_assert_uint_eq(in_order.hashes[0], in_order.hashes[1]);
    ck_assert_uint_eq(out_of_order.hashes[0], in_order.hashes[0]);
    ck_assert_uint_eq(out_of_order.hashes[1], in_order.hashes[0]);
}
END_TEST

/* Behind an event of the caller's that is complete only when everything has been submitted: if one submission waited for the device, the
 * deadline would end it. */
static psgd_status_t submit_behind_user_event(worker_t *worker)
{
    course_t     *course = worker->user;
    cl_int        result = CL_SUCCESS;
    cl_event      event  = clCreateUserEvent(worker->device->context, &result);
    psgd_status_t status = test_cl_check(result, "clCreateUserEvent");
    trial_t       trial;

    worker_needs(status);
    worker_needs(trial_create(worker, &course->config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    for (size_t t = JOB_MODEL_TENSORS; (status == PSGD_OK) && (t-- > 0);) {
        status = psgd_reducer_submit(trial.reducer, t, &trial.grads[t], 1, 1, &event);
    }
    worker_needs(test_cl_check(clSetUserEventStatus(event, CL_COMPLETE), "clSetUserEventStatus"));
    worker_needs(status);
    worker_needs(psgd_reducer_wait(trial.reducer, NULL));
    worker_needs(trial_hash(worker, &trial, &course->hashes[worker->index]));
    clReleaseEvent(event);
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(submit__does_not_wait_for_the_device)
{
    course_t at_once = describe_course(-1, BUCKET_BYTES[_i % NUM_SIZES], 0), submitted;

    if (_i == NUM_SIZES) { /* on the caller's own queue */
        at_once.config.bucket_bytes = 0;
    }
    submitted                         = at_once;
    submitted.config.deadline_seconds = 5.0;
    workers_run(PAIR, run_first_step, &at_once);
    workers_run(PAIR, submit_behind_user_event, &submitted);
    ck_assert_uint_eq(submitted.hashes[0], at_once.hashes[0]);
    ck_assert_uint_eq(submitted.hashes[1], at_once.hashes[0]);
}
END_TEST

/* What the caller's queue waits for in this thread, and whether a message has come that let it go on. */
static _Thread_local struct {
    psgd_status_t (*test)(void *self, psgd_request_t *request, int *done_p);
    cl_event event;
    bool     is_open;
} held_back;

static psgd_status_t test_and_let_go_on(void *self, psgd_request_t *request, int *done_p)
{
    psgd_status_t status = held_back.test(self, request, done_p);

    if ((status == PSGD_OK) && *done_p && (held_back.event != NULL) && !held_back.is_open) {
        held_back.is_open = true;
        return test_cl_check(clSetUserEventStatus(held_back.event, CL_COMPLETE), "clSetUserEventStatus");
    }
    return status;
}

/* The caller's queue goes on to the other gradients only when a message of the last tensor's bucket has been seen to arrive. */
static psgd_status_t submit_behind_message(worker_t *worker)
{
    course_t     *course = worker->user;
    psgd_comm_t   comm   = *worker->comm;
    cl_int        result = CL_SUCCESS;
    trial_t       trial;
    psgd_status_t status = PSGD_OK;

    held_back.test    = comm.test;
    held_back.event   = NULL;
    held_back.is_open = false;
    comm.test         = test_and_let_go_on;
    worker->comm      = &comm;
    worker_needs(trial_create(worker, &course->config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    worker_needs(submit_one(&trial, JOB_MODEL_TENSORS - 1));
    held_back.event = clCreateUserEvent(worker->device->context, &result);
    worker_needs(test_cl_check(result, "clCreateUserEvent"));
    worker_needs(test_cl_check(clEnqueueBarrierWithWaitList(worker->device->queue, 1, &held_back.event, NULL),
                               "clEnqueueBarrierWithWaitList"));
    for (size_t t = JOB_MODEL_TENSORS - 1; (status == PSGD_OK) && (t-- > 0);) {
        status = submit_one(&trial, t);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_wait(trial.reducer, NULL);
    }
    worker_expects(held_back.is_open, "no message has come while the caller's queue was held back");
    worker_needs(status);
    worker_needs(trial_hash(worker, &trial, &course->hashes[worker->index]));
    trial_destroy(&trial);
    clReleaseEvent(held_back.event);
    return PSGD_OK;
}

START_TEST(wait__messages_travel_while_the_device_is_waited_for)
{
    course_t at_once = describe_course(-1, 1, 0), submitted = at_once;

    submitted.config.deadline_seconds = 10.0;
    workers_run(PAIR, run_first_step, &at_once);
    workers_run(PAIR, submit_behind_message, &submitted);
    ck_assert_uint_eq(submitted.hashes[0], at_once.hashes[0]);
    ck_assert_uint_eq(submitted.hashes[1], at_once.hashes[0]);
}
END_TEST

/* Reducers whose communicator may not be used by another thread. */
static psgd_status_t refuse_thread(worker_t *worker)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_comm_t   comm   = *worker->comm;
    trial_t       trial;
    psgd_status_t status;

    comm.any_thread        = 0;
    config.progress_thread = 1;
    config.log_level       = PSGD_LOG_OFF;
    worker->comm           = &comm;
    status                 = trial_create(worker, &config, &trial);
    worker_needs(expect(status, PSGD_ERR_UNSUPPORTED, "MPI_THREAD_MULTIPLE"));
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(progress_thread__needs_a_communicator_that_allows_it)
{
    workers_run(PAIR, refuse_thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("submit");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, mistake__is_told_to_all_and_changes_nothing, 0, NUM_MISTAKES * NUM_SIZES);
    tcase_add_loop_test(tcase, submit__other_calls_are_refused_until_the_step_has_ended, 0, NUM_SIZES);
    tcase_add_loop_test(tcase, destroy__with_a_step_under_way_does_not_wait, 0, NUM_SIZES * 2);
    tcase_add_loop_test(tcase, wait__a_worker_that_stalls_is_named, 0, 2);
    tcase_add_loop_test(tcase, submit__waits_for_all_that_a_queue_out_of_order_was_given, 0, NUM_SIZES);
    tcase_add_loop_test(tcase, submit__does_not_wait_for_the_device, 0, NUM_SIZES + 1);
    tcase_add_test(tcase, wait__messages_travel_while_the_device_is_waited_for);
    tcase_add_test(tcase, progress_thread__needs_a_communicator_that_allows_it);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
