/* The reducer's doors: every argument is checked here, and the caller's OpenCL handles become views. */
#include <float.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/arguments.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/agree.h"
#include "core/exchange.h"
#include "core/phases.h"
#include "core/reducer.h"
#include "core/replicas.h"
#include "core/rerank.h"
#include "core/step.h"
#include "core/update.h"
#include "device/cl_device.h"

/* The sizes of the structs in release 0.1.0. */
enum { FIRST_OPTIMIZER_BYTES = sizeof(psgd_optimizer_t), FIRST_STEP_OPTIONS_BYTES = sizeof(psgd_step_options_t) };

/* ---- create and destroy ---------------------------------------------------------------------------------------- */

/* The device of psgd_reducer_create(): the caller's context and device, or a device of our choice. */
static psgd_status_t open_device(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_log_t *log,
                                 psgd_device_t **device_p)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_status_t      status;

    if (id == NULL) {
        if ((context != NULL) || (queue != NULL)) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "device is NULL, but context or queue is given; pass the device of that "
                             "context");
        }
        status = psgd_device_find(NULL, &info);
        if (status != PSGD_OK) {
            return status;
        }
        id = info.device;
    }
    return psgd_device_open(context, id, queue, log, device_p);
}

/* Everything that this worker does alone. */
static psgd_status_t create_locally(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_tensor_t *given,
                                    size_t num_tensors, const psgd_config_t *config, const psgd_comm_t *comm,
                                    const psgd_log_t *log, psgd_reducer_t **reducer_p)
{
    psgd_reducer_parts_t parts   = {NULL, num_tensors, config, comm, NULL};
    psgd_tensor_t       *tensors = NULL;
    psgd_status_t        status;

    status = psgd_read_tensors(given, num_tensors, &tensors);
    if (status != PSGD_OK) {
        return status;
    }
    status = open_device(context, id, queue, log, &parts.device);
    if (status != PSGD_OK) {
        goto free_tensors;
    }
    parts.tensors = tensors;
    status        = psgd_reducer_build(&parts, reducer_p);
    if (status != PSGD_OK) {
        psgd_device_close(parts.device);
    }

free_tensors:
    psgd_free(tensors);
    return status;
}

psgd_status_t psgd_reducer_create(cl_context context, cl_device_id device, cl_command_queue queue,
                                  const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                                  const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    psgd_config_t   own     = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_patience_t patience;
    psgd_log_t      log;
    psgd_status_t   status;

    status = psgd_check_comm(comm);
    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = reducer_p == NULL ? psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_create: reducer_p is NULL")
                               : psgd_read_config(config, &own);
    log              = psgd_log_open(own.log, own.log_user, own.log_level);
    log.worker_index = comm->worker_index;
    log.num_workers  = comm->num_workers;
    patience.warn_ns = psgd_seconds_to_ns(own.warn_seconds, PSGD_DEFAULT_WARN_SECONDS);
    patience.fail_ns = psgd_seconds_to_ns(own.deadline_seconds, PSGD_DEFAULT_DEADLINE_SECONDS);
    if (status == PSGD_OK) {
        status = create_locally(context, device, queue, tensors, num_tensors, &own, comm, &log, &reducer);
    }
    status = psgd_reducer_agree(reducer, comm, status, patience, &log, NULL);
    if (status != PSGD_OK) {
        psgd_reducer_destroy(reducer);
        return status;
    }
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): where reducer_p is NULL, the workers did not agree */
    *reducer_p = reducer;
    return PSGD_OK;
}

psgd_status_t psgd_reducer_set_ranks(psgd_reducer_t *reducer, const uint32_t *ranks, size_t num_tensors)
{
    psgd_status_t status = PSGD_OK;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_set_ranks: reducer is NULL"); /* nobody can be told */
    }
    if (ranks == NULL) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_set_ranks: ranks is NULL");
    } else if (num_tensors != reducer->plan->num_given) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                           "psgd_reducer_set_ranks: num_tensors is %zu, but the reducer has %zu tensors", num_tensors,
                           reducer->plan->num_given);
    }
    return psgd_reducer_change_ranks(reducer, ranks, status);
}

void psgd_reducer_destroy(psgd_reducer_t *reducer)
{
    if (reducer != NULL) {
        psgd_reducer_release(reducer, reducer->device);
    }
}

/* ---- step ------------------------------------------------------------------------------------------------------ */

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

static size_t grad_elem_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return psgd_dtype_bytes(reducer->plan->tensors[index].dtype);
}

static uint64_t grad_bytes(const psgd_reducer_t *reducer, size_t index)
{
    return reducer->plan->tensors[index].elems * grad_elem_bytes(reducer, index);
}

/* A memory object of the caller's, called `whose` in errors: a buffer of the reducer's context, readable and writable, which has
 * `needed` bytes from offset_bytes on, a multiple of elem_bytes. */
static psgd_status_t check_mem(const psgd_reducer_t *reducer, const char *whose, cl_mem mem, size_t offset_bytes,
                               uint64_t needed, size_t elem_bytes)
{
    const char        *device_name = psgd_device_limits(reducer->device)->name;
    cl_context         context     = NULL;
    cl_mem_object_type type        = CL_MEM_OBJECT_BUFFER;
    cl_mem_flags       flags       = 0;
    size_t             bytes       = 0;
    psgd_status_t      status;

    if (mem == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is NULL", whose);
    }
    if (clGetMemObjectInfo(mem, CL_MEM_CONTEXT, sizeof(context), &context, NULL) != CL_SUCCESS) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is no OpenCL buffer", whose);
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_TYPE, sizeof(type), &type, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    if (type != CL_MEM_OBJECT_BUFFER) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is an image or a pipe; pass a buffer", whose);
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_FLAGS, sizeof(flags), &flags, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof(bytes), &bytes, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    if (context != psgd_device_context(reducer->device)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s belongs to another OpenCL context than the reducer", whose);
    }
    if ((flags & (CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY)) != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is a %s buffer; create it with CL_MEM_READ_WRITE", whose,
                         (flags & CL_MEM_READ_ONLY) != 0 ? "read-only" : "write-only");
    }
    if (offset_bytes % elem_bytes != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s begins at byte %zu; offsets are multiples of %zu", whose,
                         offset_bytes, elem_bytes);
    }
    if ((offset_bytes > bytes) || (bytes - offset_bytes < needed)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "%s needs %" PRIu64 " bytes from byte %zu on, but its buffer has %zu bytes", whose, needed,
                         offset_bytes, bytes);
    }
    return PSGD_OK;
}

/* Means of what is not compressed, and copies of regions, go through host memory: the host reads and writes such a buffer itself. */
static psgd_status_t check_host_access(const psgd_reducer_t *reducer, const char *whose, cl_mem mem)
{
    const cl_mem_flags restrictions = CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS;
    cl_mem_flags       flags        = 0;
    psgd_status_t      status;

    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_FLAGS, sizeof(flags), &flags, NULL), "clGetMemObjectInfo",
                           psgd_device_limits(reducer->device)->name);
    if ((status == PSGD_OK) && ((flags & restrictions) != 0)) {
        return psgd_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "%s goes through host memory, but its buffer was created with a CL_MEM_HOST_ flag; create it without",
            whose);
    }
    return status;
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
    return check_mem(reducer, whose, buffer->mem, buffer->offset_bytes, tensor->elems * elem_bytes, elem_bytes);
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
    return check_host_access(reducer, whose, grad->mem);
}

/* Where a caller's memory lies: a sub-buffer is a part of another buffer. */
static psgd_status_t locate(const psgd_reducer_t *reducer, cl_mem mem, size_t offset_bytes, psgd_view_t *place_p)
{
    const char   *device_name = psgd_device_limits(reducer->device)->name;
    cl_mem        whole       = NULL;
    size_t        origin      = 0;
    psgd_status_t status;

    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(whole), &whole, NULL),
                           "clGetMemObjectInfo", device_name);
    if ((status == PSGD_OK) && (whole != NULL)) {
        status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_OFFSET, sizeof(origin), &origin, NULL),
                               "clGetMemObjectInfo", device_name);
    }
    *place_p = (psgd_view_t){whole != NULL ? whole : mem, origin + offset_bytes};
    return status;
}

static bool overlaps(const psgd_view_t *a, uint64_t a_bytes, const psgd_view_t *b, uint64_t b_bytes)
{
    return (a->mem == b->mem) && (a->offset_bytes < b->offset_bytes + b_bytes) &&
           (b->offset_bytes < a->offset_bytes + a_bytes);
}

/* Regions of different tensors do not overlap. */
static psgd_status_t check_overlap(psgd_reducer_t *reducer, const psgd_buffer_t *grads)
{
    psgd_view_t  *places = reducer->param_views; /* which this step has not read yet */
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        status = locate(reducer, grads[i].mem, grads[i].offset_bytes, &places[i]);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        for (size_t k = i + 1; k < reducer->plan->num_given; ++k) {
            if (overlaps(&places[i], grad_bytes(reducer, i), &places[k], grad_bytes(reducer, k))) {
                return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradients of tensors %zu '%s' and %zu '%s' overlap in one "
                                 "buffer", i, reducer->plan->tensors[i].name, k, reducer->plan->tensors[k].name);
            }
        }
    }
    return status;
}

/* The caller's gradients as views, in reducer->grads. Most callers bring the same buffers in every step, so that pairs of
 * them are compared once. */
static psgd_status_t read_grads(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads)
{
    psgd_status_t status     = check_num_grads(reducer, grads, num_grads);
    bool          is_changed = false;

    for (size_t i = 0; (status == PSGD_OK) && (i < num_grads); ++i) {
        psgd_view_t view = {grads[i].mem, grads[i].offset_bytes};

        status     = check_grad(reducer, i, &grads[i]);
        is_changed = is_changed || (view.mem != reducer->grads[i].mem) ||
                     (view.offset_bytes != reducer->grads[i].offset_bytes);
        reducer->grads[i] = view;
    }
    if ((status == PSGD_OK) && is_changed) {
        status = check_overlap(reducer, grads);
    }
    if (status != PSGD_OK) { /* compared anew by the next step */
        memset(reducer->grads, 0, reducer->plan->num_given * sizeof(reducer->grads[0]));
    }
    return status;
}

/* ---- options of one step ---- */

/* What a step is called with beside the gradients, checked. */
typedef struct step_request {
    const float         *factors; /* NULL: gradients are taken as they are */
    const psgd_update_t *update;  /* NULL, or `own` */
    psgd_update_t        own;
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
    request->own    = (psgd_update_t){optimizer.rule,
                                      optimizer.learning_rate,
                                      optimizer.momentum,
                                      optimizer.weight_decay,
                                      params,
                                   optimizer.momenta != NULL ? momenta : NULL,
                                   optimizer.half_params != NULL ? halves : NULL};
    request->update = &request->own;
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

psgd_status_t psgd_reducer_step_with(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads,
                                     const psgd_step_options_t *options)
{
    step_request_t request;
    psgd_status_t  local;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_step: reducer is NULL");
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    local = read_grads(reducer, grads, num_grads);
    if (local == PSGD_OK) {
        local = read_options(reducer, options, &request);
    }
    return local == PSGD_OK ? psgd_reducer_run_step(reducer, reducer->grads, request.factors, request.update, PSGD_OK)
                            : psgd_reducer_run_step(reducer, reducer->grads, NULL, NULL, local);
}

psgd_status_t psgd_reducer_step(psgd_reducer_t *reducer, const psgd_buffer_t *grads, size_t num_grads)
{
    return psgd_reducer_step_with(reducer, grads, num_grads, NULL);
}

/* ---- step on host memory --------------------------------------------------------------------------------------- */

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

/* Gradients that are not there (a factor of 0) are not read. */
static psgd_status_t copy_in(psgd_reducer_t *reducer, float *const *grads, size_t num_grads, const float *factors)
{
    psgd_status_t status = check_num_grads(reducer, grads, num_grads);

    for (size_t i = 0; (status == PSGD_OK) && (i < num_grads); ++i) {
        if (grads[i] == NULL) {
            status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is NULL", i,
                               reducer->plan->tensors[i].name);
        } else if ((uintptr_t)grads[i] % grad_elem_bytes(reducer, i) != 0) {
            status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor %zu '%s' is not aligned to %zu bytes",
                               i, reducer->plan->tensors[i].name, grad_elem_bytes(reducer, i));
        }
    }
    if (status == PSGD_OK) {
        status = create_host_grads(reducer);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < num_grads); ++i) {
        if ((factors == NULL) || (factors[i] != 0.0f)) {
            status = psgd_buffer_enqueue_write(reducer->device, reducer->host_grads[i], grads[i],
                                               (size_t)grad_bytes(reducer, i));
        }
    }
    return status;
}

static psgd_status_t copy_out(psgd_reducer_t *reducer, float *const *grads)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        status =
            psgd_buffer_enqueue_read(reducer->device, reducer->host_grads[i], grads[i], (size_t)grad_bytes(reducer, i));
    }
    status = psgd_device_settle(reducer->device, status, "the reading of the update");
    if (status != PSGD_OK) { /* the step is committed: this worker alone lacks its update */
        psgd_reducer_poison(reducer, status, false);
    }
    return status;
}

psgd_status_t psgd_reducer_step_host_with(psgd_reducer_t *reducer, float *const *grads, size_t num_grads,
                                          const psgd_step_options_t *options)
{
    step_request_t request;
    psgd_status_t  local;
    psgd_status_t  status;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_step_host: reducer is NULL");
    }
    if (reducer->poison.is_told) {
        return psgd_reducer_check_poison(reducer);
    }
    local = read_options(reducer, options, &request);
    if (local == PSGD_OK) {
        local = copy_in(reducer, grads, num_grads, request.factors);
    }
    if (local != PSGD_OK) {
        return psgd_reducer_run_step(reducer, reducer->host_grads, NULL, NULL, local);
    }
    status = psgd_reducer_run_step(reducer, reducer->host_grads, request.factors, request.update, PSGD_OK);
    return (status == PSGD_OK) && (request.update == NULL) ? copy_out(reducer, grads) : status;
}

psgd_status_t psgd_reducer_step_host(psgd_reducer_t *reducer, float *const *grads, size_t num_grads)
{
    return psgd_reducer_step_host_with(reducer, grads, num_grads, NULL);
}

psgd_status_t psgd_reducer_reset_error(psgd_reducer_t *reducer)
{
    psgd_status_t status;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_reset_error: reducer is NULL");
    }
    status = psgd_reducer_check_poison(reducer);
    return status == PSGD_OK ? psgd_reducer_zero_errors(reducer) : status;
}

/* ---- version --------------------------------------------------------------------------------------------------- */

const char *psgd_version_string(void)
{
    return PSGD_VERSION_STRING;
}

/* ---- replicas --------------------------------------------------------------------------------------------------- */

/* Regions of one call do not overlap: copying one would change another. */
static psgd_status_t check_regions_overlap(const psgd_reducer_t *reducer, const char *function,
                                           const psgd_region_t *regions, size_t num_regions)
{
    psgd_view_t  *places = NULL;
    psgd_status_t status = psgd_alloc(num_regions, sizeof(*places), "the places of regions", &places);

    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        status = locate(reducer, regions[i].mem, regions[i].offset_bytes, &places[i]);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        for (size_t k = i + 1; (status == PSGD_OK) && (k < num_regions); ++k) {
            if (overlaps(&places[i], regions[i].size_bytes, &places[k], regions[k].size_bytes)) {
                status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: regions %zu and %zu overlap in one buffer", function,
                                   i, k);
            }
        }
    }
    psgd_free(places);
    return status;
}

/* The caller's regions as views, after its queue; *replicas_p is freed by psgd_free(), also after an error. */
static psgd_status_t read_regions(psgd_reducer_t *reducer, const char *function, const psgd_region_t *regions,
                                  size_t num_regions, psgd_replica_t **replicas_p)
{
    psgd_status_t status;

    if ((regions == NULL) || (num_regions == 0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: there are no regions (regions is %s, num_regions %zu)",
                         function, regions == NULL ? "NULL" : "given", num_regions);
    }
    status = psgd_alloc(num_regions, sizeof(**replicas_p), "the list of regions", replicas_p);
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        char whose[64];

        snprintf(whose, sizeof(whose), "region %zu", i);
        if (regions[i].size_bytes == 0) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: region %zu has 0 bytes", function, i);
        }
        (*replicas_p)[i] = (psgd_replica_t){{regions[i].mem, regions[i].offset_bytes}, regions[i].size_bytes};
        status           = check_mem(reducer, whose, regions[i].mem, regions[i].offset_bytes, regions[i].size_bytes, 1);
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "%s", function);
        }
    }
    if (status == PSGD_OK) {
        status = check_regions_overlap(reducer, function, regions, num_regions);
    }
    return status == PSGD_OK ? psgd_device_fence(reducer->device) : status;
}

psgd_status_t psgd_replica_check(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions)
{
    psgd_replica_t *replicas = NULL;
    psgd_status_t   status;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_replica_check: reducer is NULL"); /* nobody can be told */
    }
    status = read_regions(reducer, "psgd_replica_check", regions, num_regions, &replicas);
    status = psgd_replicas_compare(reducer, replicas, num_regions, status);
    psgd_free(replicas);
    return status;
}

psgd_status_t psgd_replica_sync(psgd_reducer_t *reducer, const psgd_region_t *regions, size_t num_regions,
                                uint32_t root)
{
    psgd_replica_t *replicas = NULL;
    psgd_status_t   status;

    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_replica_sync: reducer is NULL"); /* nobody can be told */
    }
    status = read_regions(reducer, "psgd_replica_sync", regions, num_regions, &replicas);
    for (size_t i = 0; (status == PSGD_OK) && (i < num_regions); ++i) {
        char whose[64];

        snprintf(whose, sizeof(whose), "psgd_replica_sync: region %zu", i);
        status = check_host_access(reducer, whose, regions[i].mem);
    }
    if ((status == PSGD_OK) && (root >= reducer->comm->num_workers)) {
        status =
            psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_replica_sync: root is %u; there are %u workers, numbered from 0",
                      root, reducer->comm->num_workers);
    }
    status = psgd_replicas_copy(reducer, replicas, num_regions, root, status);
    psgd_free(replicas);
    return status;
}
