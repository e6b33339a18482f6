/* A step's doors: gradients and options are checked, and become views. */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/arguments.h"
#include "api/memory.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/progress.h"
#include "core/reducer.h"
#include "core/step.h"
#include "core/update.h"
#include "device/cl_device.h"

/* The sizes of the structs in release 0.1.0. */
enum { FIRST_OPTIMIZER_BYTES = sizeof(psgd_optimizer_t), FIRST_STEP_OPTIONS_BYTES = sizeof(psgd_step_options_t) };

/* ---- gradients ------------------------------------------------------------------------------------------------- */

static size_t grad_elem_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return psgd_dtype_bytes(reducer->plan->tensors[index].dtype);
}

static uint64_t grad_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return reducer->plan->tensors[index].elems * grad_elem_bytes(reducer, index);
}

/* Whether this step takes a gradient to the host and back as it is. */
static bool is_moved_by_host(const psgd_reducer_t *reducer, const psgd_plan_tensor_t *tensor)
{
    const bool is_plain = reducer->step_number < reducer->config.start_step;

    return !tensor->is_copied && (is_plain || (tensor->route == PSGD_ROUTE_LARGE));
}

/* One buffer of a tensor, `what` ("gradient"). */
static psgd_status_t check_buffer(const psgd_reducer_t *reducer, const char *what, size_t index,
                                  const psgd_buffer_t *buffer, size_t elem_bytes)
{
    const psgd_plan_tensor_t *tensor = &reducer->plan->tensors[index];
    char                      whose[PSGD_SENTENCE_BYTES / 2];

    snprintf(whose, sizeof(whose), "the %s of tensor %zu '%s'", what, index, tensor->name);
    return psgd_check_mem(reducer, whose, buffer->mem, buffer->offset_bytes, tensor->elems * elem_bytes, elem_bytes);
}

static psgd_status_t check_grad(const psgd_reducer_t *reducer, size_t index, const psgd_buffer_t *grad)
{
    const psgd_plan_tensor_t *tensor = &reducer->plan->tensors[index];
    char                      whose[PSGD_SENTENCE_BYTES / 2];
    psgd_status_t             status = check_buffer(reducer, "gradient", index, grad, grad_elem_bytes(reducer, index));

    if ((status != PSGD_OK) || !is_moved_by_host(reducer, tensor)) {
        return status;
    }
    snprintf(whose, sizeof(whose), "the gradient of tensor %zu '%s'", index, tensor->name);
    return psgd_check_host_access(reducer, whose, grad->mem);
}

/* The gradients of this range, of which there are as many as `num_grads` says. */
static psgd_status_t check_range(const psgd_reducer_t *reducer, size_t first, const void *grads, size_t num_grads)
{
    const size_t count = reducer->plan->num_given;

    if (grads == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    }
    if ((num_grads == 0) || (first >= count) || (num_grads > count - first)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensors %zu to %zu + %zu - 1 were submitted, but the reducer was created for %zu tensors",
                         first, first, num_grads, count);
    }
    for (size_t i = first; i < first + num_grads; ++i) {
        if (reducer->is_submitted[i]) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu '%s' was submitted twice in step %" PRIu64, i,
                             reducer->plan->tensors[i].name, reducer->step_number);
        }
    }
    return PSGD_OK;
}

static psgd_status_t check_num_grads(const psgd_reducer_t *reducer, const void *grads, size_t num_grads)
{
    if (grads == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "grads is NULL");
    }
    if (num_grads != reducer->plan->num_given) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "num_grads is %zu, but the reducer was created for %zu tensors",
                         num_grads, reducer->plan->num_given);
    }
    return PSGD_OK;
}

/* No gradient that this step has got lies where tensor `index` has its own. */
static psgd_status_t check_overlap(const psgd_reducer_t *reducer, size_t index)
{
    const psgd_view_t *places = reducer->places;

    for (size_t k = 0; k < reducer->plan->num_given; ++k) {
        const size_t first = index < k ? index : k, second = index < k ? k : index;

        if ((k != index) && reducer->is_placed[k] &&
            psgd_places_overlap(&places[index], grad_bytes(reducer, index), &places[k], grad_bytes(reducer, k))) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                             "the gradients of tensors %zu '%s' and %zu '%s' overlap in one buffer", first,
                             reducer->plan->tensors[first].name, second, reducer->plan->tensors[second].name);
        }
    }
    return PSGD_OK;
}

/* Before the gradients of a step. */
static void begin_reading(psgd_reducer_t *reducer)
{
    memset(reducer->is_placed, 0, reducer->plan->num_given * sizeof(reducer->is_placed[0]));
    memset(reducer->host_places, 0, reducer->plan->num_given * sizeof(reducer->host_places[0]));
    reducer->has_moved = false;
}

/* A step that failed may not have compared all pairs: the next one does. */
static void forget_grads(psgd_reducer_t *reducer)
{
    memset(reducer->grads, 0, reducer->plan->num_given * sizeof(reducer->grads[0]));
}

/* The caller's gradients as views, in reducer->grads. Most callers bring the same buffers in every step, so that pairs of
 * them are compared once: not before one has moved. */
static psgd_status_t read_grads(psgd_reducer_t *reducer, size_t first, const psgd_buffer_t *grads, size_t num_grads)
{
    psgd_status_t status = PSGD_OK;

    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        const size_t      i    = first + n;
        const psgd_view_t view = {grads[n].mem, grads[n].offset_bytes};

        status             = check_grad(reducer, i, &grads[n]);
        reducer->has_moved = reducer->has_moved || (view.mem != reducer->grads[i].mem) ||
                             (view.offset_bytes != reducer->grads[i].offset_bytes);
        reducer->grads[i] = view;
        if (status == PSGD_OK) {
            status = psgd_locate_mem(reducer, grads[n].mem, grads[n].offset_bytes, &reducer->places[i]);
        }
        if ((status == PSGD_OK) && reducer->has_moved) {
            status = check_overlap(reducer, i);
        }
        reducer->is_placed[i] = true;
    }
    return status;
}

/* ---- gradients in host memory ---- */

static psgd_status_t create_host_grads(psgd_reducer_t *reducer)
{
    size_t        count = reducer->plan->num_given;
    psgd_status_t status;

    if (reducer->host_grads != NULL) {
        return PSGD_OK;
    }
    status = psgd_alloc(count, sizeof(*reducer->host_grads), "the table of gradients", &reducer->host_grads);
    for (size_t i = 0; (status == PSGD_OK) && (i < count); ++i) {
        status = psgd_buffer_create(reducer->device, (size_t)grad_bytes(reducer, i), "the device copy of a gradient",
                                    &reducer->host_grads[i]);
    }
    if (status != PSGD_OK) {
        for (size_t i = 0; (reducer->host_grads != NULL) && (i < count); ++i) {
            psgd_buffer_destroy(reducer->device, &reducer->host_grads[i]);
        }
        psgd_free(reducer->host_grads);
        reducer->host_grads = NULL;
    }
    return status;
}

static psgd_status_t check_host_grad(const psgd_reducer_t *reducer, size_t index, const float *grad)
{
    const char *name = reducer->plan->tensors[index].name;

    if (grad == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is NULL", index, name);
    }
    if ((uintptr_t)grad % grad_elem_bytes(reducer, index) != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is not aligned to %zu bytes",
                         index, name, grad_elem_bytes(reducer, index));
    }
    return PSGD_OK;
}

/* Into the device copy, which the step works on. Gradients that are not there (a factor of 0) are not read. */
static psgd_status_t read_host_grads(psgd_reducer_t *reducer, size_t first, float *const *grads, size_t num_grads,
                                     const float *factors)
{
    psgd_status_t status = PSGD_OK;

    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        status = check_host_grad(reducer, first + n, grads[n]);
    }
    if (status == PSGD_OK) {
        status = create_host_grads(reducer);
    }
    for (size_t n = 0; (status == PSGD_OK) && (n < num_grads); ++n) {
        const size_t i = first + n;

        reducer->grads[i]       = reducer->host_grads[i];
        reducer->host_places[i] = grads[n];
        if ((factors == NULL) || (factors[i] != 0.0f)) {
            status = psgd_buffer_enqueue_write(reducer->device, reducer->host_grads[i], grads[n],
                                               (size_t)grad_bytes(reducer, i));
        }
    }
    return status;
}

static bool has_host_grads(const psgd_reducer_t *reducer)
{
    for (size_t i = 0; i < reducer->plan->num_given; ++i) {
        if (reducer->host_places[i] != NULL) {
            return true;
        }
    }
    return false;
}

/* The update, to where host gradients came from. */
static psgd_status_t write_host_grads(psgd_reducer_t *reducer)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        if (reducer->host_places[i] != NULL) {
            status = psgd_buffer_enqueue_read(reducer->device, reducer->host_grads[i], reducer->host_places[i],
                                              (size_t)grad_bytes(reducer, i));
        }
    }
    status = psgd_device_settle(reducer->device, status, "the reading of the update");
    if (status != PSGD_OK) { /* the step is committed: this worker alone lacks its update */
        psgd_reducer_poison(reducer, status, false);
    }
    return status;
}

/* ---- options --------------------------------------------------------------------------------------------------- */

/* What a step is called with beside the gradients, checked; it lies in the reducer until the step has ended. */
typedef struct step_request {
    const float         *factors; /* NULL: gradients are taken as they are */
    const psgd_update_t *update;  /* NULL: the gradients become the update */
} step_request_t;

static bool is_number(float x, float smallest, float largest)
{
    return (x >= smallest) && (x <= largest); /* false for NaN */
}

/* One buffer a tensor, as views. */
static psgd_status_t read_buffers(const psgd_reducer_t *reducer, const char *what, const psgd_buffer_t *buffers,
                                  size_t elem_bytes, psgd_view_t *views)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        status   = check_buffer(reducer, what, i, &buffers[i], elem_bytes);
        views[i] = (psgd_view_t){buffers[i].mem, buffers[i].offset_bytes};
    }
    return status;
}

/* One number of an optimizer's, from 0 to `largest`. */
static psgd_status_t check_number(float value, float largest, const char *name, const char *range)
{
    return is_number(value, 0.0f, largest)
               ? PSGD_OK
               : psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.%s is %g; it must be %s", name, (double)value, range);
}

static psgd_status_t check_optimizer(const psgd_optimizer_t *optimizer)
{
    psgd_status_t status;

    if ((optimizer->rule < PSGD_RULE_POWERSGD) || (optimizer->rule > PSGD_RULE_NESTEROV)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "optimizer.rule is %d; it must be PSGD_RULE_POWERSGD to PSGD_RULE_NESTEROV",
                         (int)optimizer->rule);
    }
    status = check_number(optimizer->learning_rate, FLT_MAX, "learning_rate", "finite and not negative");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_number(optimizer->momentum, 1.0f, "momentum", "from 0 to 1");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_number(optimizer->weight_decay, FLT_MAX, "weight_decay", "finite and not negative");
    if (status != PSGD_OK) {
        return status;
    }
    if (optimizer->params == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.params is NULL");
    }
    if ((optimizer->momenta == NULL) && ((optimizer->momentum > 0.0f) || (optimizer->rule == PSGD_RULE_POWERSGD))) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.momenta is NULL, but the rule has momentum");
    }
    return PSGD_OK;
}

static psgd_status_t read_optimizer(psgd_reducer_t *reducer, const psgd_optimizer_t *given, step_request_t *request)
{
    psgd_optimizer_t optimizer = PSGD_OPTIMIZER_INIT;
    psgd_view_t     *params    = reducer->param_views;
    psgd_view_t     *momenta   = params + reducer->plan->num_given;
    psgd_view_t     *halves    = momenta + reducer->plan->num_given;
    psgd_status_t    status;

    status = psgd_copy_struct(given, FIRST_OPTIMIZER_BYTES, "optimizer", "PSGD_OPTIMIZER_INIT", &optimizer,
                              sizeof(optimizer));
    if (status == PSGD_OK) {
        status = check_optimizer(&optimizer);
    }
    if (status == PSGD_OK) {
        status = read_buffers(reducer, "parameter", optimizer.params, sizeof(float), params);
    }
    if ((status == PSGD_OK) && (optimizer.momenta != NULL)) {
        status = read_buffers(reducer, "momentum", optimizer.momenta, sizeof(float), momenta);
    }
    if ((status == PSGD_OK) && (optimizer.half_params != NULL)) {
        status = read_buffers(reducer, "16-bit parameter", optimizer.half_params, sizeof(cl_half), halves);
    }
    if (status != PSGD_OK) {
        return status;
    }
    *reducer->update = (psgd_update_t){optimizer.rule,
                                       optimizer.learning_rate,
                                       optimizer.momentum,
                                       optimizer.weight_decay,
                                       params,
                                       optimizer.momenta != NULL ? momenta : NULL,
                                       optimizer.half_params != NULL ? halves : NULL};
    request->update  = reducer->update;
    return PSGD_OK;
}

/* options NULL: a plain request. */
static psgd_status_t read_options(psgd_reducer_t *reducer, const psgd_step_options_t *given, step_request_t *request)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;
    float               scale;
    psgd_status_t       status;

    memset(request, 0, sizeof(*request));
    if (given == NULL) {
        return PSGD_OK;
    }
    status = psgd_copy_struct(given, FIRST_STEP_OPTIONS_BYTES, "options", "PSGD_STEP_OPTIONS_INIT", &options,
                              sizeof(options));
    if (status != PSGD_OK) {
        return status;
    }
    scale = options.gradient_scale == 0.0f ? 1.0f : options.gradient_scale;
    if (!is_number(scale, FLT_MIN, FLT_MAX)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "options.gradient_scale is %g; it must be positive, finite and no denormal (0: 1)",
                         (double)options.gradient_scale);
    }
    if ((scale != 1.0f) || (options.has_gradient != NULL)) {
        for (size_t i = 0; i < reducer->plan->num_given; ++i) {
            reducer->factors[i] = (options.has_gradient == NULL) || (options.has_gradient[i] != 0) ? scale : 0.0f;
        }
        request->factors = reducer->factors;
    }
    return options.optimizer == NULL ? PSGD_OK : read_optimizer(reducer, options.optimizer, request);
}

/* ---- a step at once -------------------------------------------------------------------------------------------- */

psgd_status_t psgd_reducer_step_with(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads,
                                     const psgd_step_options_t *options)
{
    step_request_t request;
    psgd_status_t  local, status;

    local = psgd_check_idle(reducer, "psgd_reducer_step");
    if (local != PSGD_OK) {
        return local; /* nobody can be told */
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    begin_reading(reducer);
    local = check_num_grads(reducer, grads, num_grads);
    if (local == PSGD_OK) {
        local = read_grads(reducer, 0, grads, num_grads);
    }
    if (local == PSGD_OK) {
        local = read_options(reducer, options, &request);
    }
    status = local == PSGD_OK ? psgd_reducer_run_step(reducer, request.factors, request.update, PSGD_OK)
                              : psgd_reducer_run_step(reducer, NULL, NULL, local);
    if (local != PSGD_OK) {
        forget_grads(reducer);
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
    step_request_t request;
    psgd_status_t  local;
    psgd_status_t  status;

    local = psgd_check_idle(reducer, "psgd_reducer_step_host");
    if (local != PSGD_OK) {
        return local; /* nobody can be told */
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    begin_reading(reducer);
    local = read_options(reducer, options, &request);
    if (local == PSGD_OK) {
        local = check_num_grads(reducer, grads, num_grads);
    }
    if (local == PSGD_OK) {
        local = read_host_grads(reducer, 0, grads, num_grads, request.factors);
    }
    if (local != PSGD_OK) {
        return psgd_reducer_run_step(reducer, NULL, NULL, local);
    }
    status = psgd_reducer_run_step(reducer, request.factors, request.update, PSGD_OK);
    return (status == PSGD_OK) && (request.update == NULL) ? write_host_grads(reducer) : status;
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
    step_request_t request = {NULL, NULL};
    psgd_status_t  local;

    begin_reading(reducer);
    local = read_options(reducer, options, &request);
    psgd_reducer_begin_step(reducer, request.factors, request.update, local);
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
    return status == PSGD_OK ? check_range(reducer, first, grads, num_grads) : status;
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
        status = read_grads(reducer, first, grads, num_grads);
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
static psgd_status_t leave_submission(psgd_reducer_t *reducer, size_t first, size_t num_grads, psgd_status_t status)
{
    if (status == PSGD_OK) {
        psgd_reducer_submit_tensors(reducer, first, num_grads);
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
    status = leave_submission(reducer, first_tensor, num_grads, status);
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
        status = read_host_grads(reducer, first_tensor, grads, num_grads, reducer->step.factors);
    }
    status = leave_submission(reducer, first_tensor, num_grads, status);
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
        begin_reading(reducer);
        psgd_reducer_begin_step(reducer, NULL, NULL,
                                psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                                          "psgd_reducer_wait: nothing was submitted for step %" PRIu64,
                                          reducer->step_number));
    }
    reducer->step.is_deferred = is_deferred && !has_host_grads(reducer);
    status                    = psgd_reducer_end_step(reducer);
    if (status != PSGD_OK) {
        forget_grads(reducer);
        return status;
    }
    return has_host_grads(reducer) && (reducer->step.update == NULL) ? write_host_grads(reducer) : PSGD_OK;
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
