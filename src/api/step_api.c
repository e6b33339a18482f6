/* A step's doors: at once, and in parts. */
#include <inttypes.h>

#include "api/arguments.h"
#include "api/gradients.h"
#include "api/step_request.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/progress.h"
#include "core/step.h"
#include "device/cl_device.h"

/* ---- a step at once -------------------------------------------------------------------------------------------- */

psgd_status_t psgd_reducer_step_with(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads,
                                     const psgd_step_options_t *options)
{
    psgd_step_request_t request;
    psgd_status_t  local, status;

    local = psgd_check_idle(reducer, "psgd_reducer_step");
    if (local != PSGD_OK) {
        return local; /* nobody can be told */
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    psgd_gradients_begin(reducer);
    local = psgd_gradients_check_count(reducer, grads, num_grads);
    if (local == PSGD_OK) {
        local = psgd_gradients_read(reducer, 0, grads, num_grads);
    }
    if (local == PSGD_OK) {
        local = psgd_step_request_read(reducer, options, &request);
    }
    status = local == PSGD_OK ? psgd_reducer_run_step(reducer, request.factors, request.update, PSGD_OK)
                              : psgd_reducer_run_step(reducer, NULL, NULL, local);
    if (local != PSGD_OK) {
        psgd_gradients_forget(reducer);
    }
    return status;
}

psgd_status_t psgd_reducer_step(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads)
{
    return psgd_reducer_step_with(reducer, grads, num_grads, NULL);
}

psgd_status_t psgd_reducer_step_host_with(psgd_reducer_t *reducer, float *const *grads, size_t num_grads,
                                          const psgd_step_options_t *options)
{
    psgd_step_request_t request;
    psgd_status_t  local;
    psgd_status_t  status;

    local = psgd_check_idle(reducer, "psgd_reducer_step_host");
    if (local != PSGD_OK) {
        return local; /* nobody can be told */
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    psgd_gradients_begin(reducer);
    local = psgd_step_request_read(reducer, options, &request);
    if (local == PSGD_OK) {
        local = psgd_gradients_check_count(reducer, grads, num_grads);
    }
    if (local == PSGD_OK) {
        local = psgd_gradients_read_host(reducer, 0, grads, num_grads, request.factors);
    }
    if (local != PSGD_OK) {
        return psgd_reducer_run_step(reducer, NULL, NULL, local);
    }
    status = psgd_reducer_run_step(reducer, request.factors, request.update, PSGD_OK);
    return (status == PSGD_OK) && (request.update == NULL) ? psgd_gradients_write_host(reducer) : status;
}

psgd_status_t psgd_reducer_step_host(psgd_reducer_t *reducer, float *const *grads, size_t num_grads)
{
    return psgd_reducer_step_host_with(reducer, grads, num_grads, NULL);
}

/* ---- a step in parts ------------------------------------------------------------------------------------------- */

/* The status with which the step that was begun has failed so far, here or on all workers. */
static psgd_status_t check_step(const psgd_reducer_t *reducer)
{
    const psgd_step_t *step   = &reducer->step;
    psgd_status_t      status = step->agreed != PSGD_OK ? step->agreed : step->local;

    return status == PSGD_OK ? PSGD_OK : psgd_fail(status, "%s; psgd_reducer_wait() ends this step", step->sentence);
}

static psgd_status_t begin(psgd_reducer_t *reducer, const psgd_step_options_t *options)
{
    psgd_step_request_t request = {NULL, NULL};
    psgd_status_t  local;

    psgd_gradients_begin(reducer);
    local = psgd_step_request_read(reducer, options, &request);
    psgd_reducer_begin_step(reducer, request.factors, request.update, local);
    psgd_reducer_go_on(reducer); /* with what needs no gradients */
    return local;
}

psgd_status_t psgd_reducer_begin(psgd_reducer_t *reducer, const psgd_step_options_t *options)
{
    psgd_status_t status = psgd_check_idle(reducer, "psgd_reducer_begin");

    if (status != PSGD_OK) {
        return status;
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    psgd_progress_enter(reducer);
    status = begin(reducer, options);
    psgd_progress_leave(reducer);
    return status;
}

/* What the two kinds of submission have in common: the step has begun, or can begin, and these tensors are new to it. */
static psgd_status_t enter_submission(psgd_reducer_t *reducer, size_t first, const void *grads, size_t num_grads)
{
    psgd_status_t status = PSGD_OK;

    if (!reducer->step.is_open) {
        psgd_reducer_settle(reducer);
        status = reducer->poison.is_told ? psgd_reducer_check_poison(reducer) : begin(reducer, NULL);
    }
    if (status == PSGD_OK) {
        status = check_step(reducer);
    }
    return status == PSGD_OK ? psgd_gradients_check_range(reducer, first, grads, num_grads) : status;
}

static psgd_status_t submit(psgd_reducer_t *reducer, size_t first, const psgd_buffer_t *grads, size_t num_grads,
                            cl_uint num_events, const cl_event *wait_list)
{
    psgd_gate_t  *gate;
    psgd_status_t status = enter_submission(reducer, first, grads, num_grads);

    if ((status == PSGD_OK) && ((num_events == 0) != (wait_list == NULL))) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_submit: num_events is %u, but wait_list is %s",
                           num_events, wait_list == NULL ? "NULL" : "given");
    }
    if (status == PSGD_OK) {
        status = psgd_gradients_read(reducer, first, grads, num_grads);
    }
    for (size_t i = first; (status == PSGD_OK) && (i < first + num_grads); ++i) {
        gate = psgd_reducer_gate_of(reducer, i);
        if ((i == first) || (gate != psgd_reducer_gate_of(reducer, i - 1))) {
            status = num_events > 0 ? psgd_gate_add_events(gate, reducer->device, num_events, wait_list)
                                    : psgd_gate_add_caller(gate, reducer->device);
        }
    }
    return status;
}

/* A wrong call is told to the others by psgd_reducer_wait(). */
static psgd_status_t leave_submission(psgd_reducer_t *reducer, size_t first, size_t num_grads, bool is_behind,
                                      psgd_status_t status)
{
    if (status == PSGD_OK) {
        psgd_reducer_submit_tensors(reducer, first, num_grads, is_behind);
        return check_step(reducer);
    }
    if (reducer->step.is_open) {
        psgd_step_note(reducer, status);
    }
    return status;
}

static psgd_status_t check_reducer(const psgd_reducer_t *reducer, const char *function)
{
    return reducer != NULL ? PSGD_OK : psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: reducer is NULL", function);
}

psgd_status_t psgd_reducer_submit(psgd_reducer_t *reducer, size_t first_tensor, const psgd_buffer_t *grads,
                                  size_t num_grads, cl_uint num_events, const cl_event *wait_list)
{
    psgd_status_t status = check_reducer(reducer, "psgd_reducer_submit");

    if (status != PSGD_OK) {
        return status;
    }
    psgd_progress_enter(reducer);
    status = submit(reducer, first_tensor, grads, num_grads, num_events, wait_list);
    status = leave_submission(reducer, first_tensor, num_grads, num_events == 0, status);
    psgd_progress_leave(reducer);
    return status;
}

psgd_status_t psgd_reducer_submit_host(psgd_reducer_t *reducer, size_t first_tensor, float *const *grads,
                                       size_t num_grads)
{
    psgd_status_t status = check_reducer(reducer, "psgd_reducer_submit_host");

    if (status != PSGD_OK) {
        return status;
    }
    psgd_progress_enter(reducer);
    status = enter_submission(reducer, first_tensor, grads, num_grads);
    if (status == PSGD_OK) {
        status = psgd_gradients_read_host(reducer, first_tensor, grads, num_grads, reducer->step.factors);
    }
    status = leave_submission(reducer, first_tensor, num_grads, false, status);
    psgd_progress_leave(reducer);
    return status;
}

psgd_status_t psgd_reducer_poll(psgd_reducer_t *reducer)
{
    psgd_status_t status = check_reducer(reducer, "psgd_reducer_poll");

    if ((status != PSGD_OK) || !reducer->step.is_open) {
        return status;
    }
    psgd_progress_enter(reducer);
    psgd_reducer_go_on(reducer);
    status = check_step(reducer);
    psgd_progress_leave(reducer);
    return status;
}

/* Ends the step; where nothing was submitted, as one that failed here. */
static psgd_status_t end(psgd_reducer_t *reducer, bool is_deferred)
{
    psgd_status_t status;

    if (!reducer->step.is_open) {
        psgd_reducer_settle(reducer);
        if (reducer->poison.is_told) {
            return psgd_reducer_check_poison(reducer);
        }
        psgd_gradients_begin(reducer);
        psgd_reducer_begin_step(reducer, NULL, NULL,
                                psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                                          "psgd_reducer_wait: nothing was submitted for step %" PRIu64,
                                          reducer->step_number));
    }
    reducer->step.is_deferred = is_deferred && !psgd_gradients_are_on_host(reducer);
    status                    = psgd_reducer_end_step(reducer);
    if (status != PSGD_OK) {
        psgd_gradients_forget(reducer);
        return status;
    }
    return psgd_gradients_are_on_host(reducer) && (reducer->step.update == NULL) ? psgd_gradients_write_host(reducer)
                                                                                 : PSGD_OK;
}

psgd_status_t psgd_reducer_wait(psgd_reducer_t *reducer, cl_event *event_p)
{
    cl_event      event  = NULL;
    psgd_status_t status = check_reducer(reducer, "psgd_reducer_wait");

    if (status != PSGD_OK) {
        return status;
    }
    psgd_progress_enter(reducer);
    status = end(reducer, event_p != NULL);
    if ((status == PSGD_OK) && (event_p != NULL)) {
        status = psgd_device_event_of_mark(reducer->device, &reducer->given, &event);
        if (status != PSGD_OK) { /* the step is committed: this worker alone does not know when its update is there */
            psgd_reducer_poison(reducer, status, false);
        }
    }
    psgd_progress_leave(reducer);
    if ((status == PSGD_OK) && (event_p != NULL)) {
        *event_p = event;
    }
    return status;
}
