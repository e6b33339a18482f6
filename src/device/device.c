#include "device/device.h"

#include <stdio.h>

#include "base/memory.h"
#include "device/cl_device.h"
#include "device/device_internal.h"
#include "device/enumerate.h"

enum {
    DEFAULT_WARN_SECONDS = 60,
    DEFAULT_FAIL_SECONDS = 600,
    MAX_SENTENCE_BYTES   = 1024,
    QUICK_POLLS          = 4, /* on a CPU, before sleeping begins */
    MIN_SLEEP_NS         = 20000,
    SLEEP_STEP_NS        = 10000,
    MAX_SLEEP_NS         = 100000,
    MIN_VECTOR_FLOATS    = 4,
    MAX_VECTOR_FLOATS    = 16,
    LOOKS                = 16 /* at its clock */
};

static const double   NS_PER_SECOND   = 1e9;
static const uint64_t LONGEST_LOOK_NS = UINT64_C(1000000000); /* at an idle device */

/* ---- what the caller gave ---- */

static psgd_status_t check_device_of_context(cl_context context, cl_device_id id, const char *name)
{
    cl_device_id *devices = NULL;
    size_t        bytes   = 0;
    bool          found   = false;
    psgd_status_t status;

    status = psgd_cl_check(clGetContextInfo(context, CL_CONTEXT_DEVICES, 0, NULL, &bytes),
                           "clGetContextInfo(CL_CONTEXT_DEVICES)", name);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(bytes, 1, "the list of a context's devices", &devices);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_cl_check(clGetContextInfo(context, CL_CONTEXT_DEVICES, bytes, devices, NULL),
                           "clGetContextInfo(CL_CONTEXT_DEVICES)", name);
    for (size_t i = 0; (status == PSGD_OK) && (i < bytes / sizeof(*devices)); ++i) {
        found = found || (devices[i] == id);
    }
    psgd_free(devices);
    if ((status == PSGD_OK) && !found) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "device '%s' does not belong to the context: pass a device that the context was made for",
                         name);
    }
    return status;
}

static psgd_status_t check_queue_of_context(cl_context context, cl_device_id id, cl_command_queue queue,
                                            const char *name)
{
    cl_context    queue_context = NULL;
    cl_device_id  queue_device  = NULL;
    psgd_status_t status;

    status = psgd_cl_check(clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(cl_context), &queue_context, NULL),
                           "clGetCommandQueueInfo(CL_QUEUE_CONTEXT)", name);
    if (status != PSGD_OK) {
        return status;
    }
    if (queue_context != context) {
        return psgd_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "the queue belongs to another context: pass a queue of the context that the gradients live in");
    }
    status = psgd_cl_check(clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(cl_device_id), &queue_device, NULL),
                           "clGetCommandQueueInfo(CL_QUEUE_DEVICE)", name);
    if (status != PSGD_OK) {
        return status;
    }
    if (queue_device != id) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "the queue belongs to another device than '%s': pass a queue of this device", name);
    }
    return PSGD_OK;
}

static psgd_status_t check_handles(cl_context context, cl_device_id id, cl_command_queue queue, const char *name)
{
    psgd_status_t status;

    if (context == NULL) {
        if (queue != NULL) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "a queue was given without its context: pass both, or neither");
        }
        return PSGD_OK;
    }
    status = check_device_of_context(context, id, name);
    if ((status != PSGD_OK) || (queue == NULL)) {
        return status;
    }
    return check_queue_of_context(context, id, queue, name);
}

static psgd_status_t queue_is_out_of_order(cl_command_queue queue, const char *name, bool *out_of_order_p)
{
    cl_command_queue_properties properties = 0;
    psgd_status_t               status;

    status = psgd_cl_check(clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof(properties), &properties, NULL),
                           "clGetCommandQueueInfo(CL_QUEUE_PROPERTIES)", name);
    if (status == PSGD_OK) {
        *out_of_order_p = (properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) != 0;
    }
    return status;
}

/* ---- open and close ---- */

static psgd_device_limits_t limits_from(const psgd_device_info_t *info)
{
    psgd_device_limits_t limits = {0};

    snprintf(limits.name, sizeof(limits.name), "%s", info->name);
    snprintf(limits.driver, sizeof(limits.driver), "%.190s / %.190s / %.190s", info->platform_name,
             info->device_version, info->driver_version);
    limits.max_allocation_bytes = info->max_allocation_bytes;
    limits.global_memory_bytes  = info->global_memory_bytes;
    limits.local_memory_bytes   = info->local_memory_bytes;
    limits.max_work_group_size  = (size_t)info->max_work_group_size;
    limits.compute_units        = info->compute_units;
    limits.is_cpu               = info->kind == PSGD_DEVICE_CPU;
    limits.has_unified_memory   = info->has_unified_memory != 0;
    return limits;
}

/* Some CPU drivers vectorize work-items themselves, and say so by a width of 1. */
static psgd_status_t query_vector_floats(psgd_device_t *device)
{
    cl_uint       width = 1;
    psgd_status_t status;

    device->limits.vector_floats = 1;
    if (!device->limits.is_cpu) {
        return PSGD_OK;
    }
    status = psgd_cl_check(clGetDeviceInfo(device->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(width), &width, NULL),
                           "clGetDeviceInfo(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT)", device->limits.name);
    if (status != PSGD_OK) {
        return status;
    }
    for (uint32_t floats = MIN_VECTOR_FLOATS; floats <= MAX_VECTOR_FLOATS; floats *= 2) {
        device->limits.vector_floats = width >= floats ? floats : device->limits.vector_floats;
    }
    return PSGD_OK;
}

static psgd_status_t take_context(psgd_device_t *device, cl_context context, cl_platform_id platform)
{
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)platform, 0};
    cl_int                      result;

    if (context != NULL) {
        result = clRetainContext(context);
        if (result == CL_SUCCESS) {
            device->context = context;
        }
        return psgd_cl_check(result, "clRetainContext", device->limits.name);
    }
    device->context = clCreateContext(properties, 1, &device->id, NULL, NULL, &result);
    return psgd_cl_check(result, "clCreateContext", device->limits.name);
}

/* The caller's queue serves where it is in order. Out of order, or none: a queue of our own. */
static psgd_status_t take_queue(psgd_device_t *device, cl_command_queue queue)
{
    bool          out_of_order = false;
    cl_int        result;
    psgd_status_t status;

    if (queue != NULL) {
        status = queue_is_out_of_order(queue, device->limits.name, &out_of_order);
        if (status == PSGD_OK) {
            status = psgd_cl_check(clRetainCommandQueue(queue), "clRetainCommandQueue", device->limits.name);
        }
        if (status != PSGD_OK) {
            return status;
        }
        if (!out_of_order) {
            device->queue = queue;
            return PSGD_OK;
        }
        device->caller_queue = queue;
    }
    device->queue         = clCreateCommandQueue(device->context, device->id, 0, &result);
    device->has_own_queue = true;
    return psgd_cl_check(result, "clCreateCommandQueue", device->limits.name);
}

psgd_status_t psgd_device_open(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_log_t *log,
                               psgd_device_t **device_p)
{
    psgd_device_t     *device = NULL;
    psgd_device_info_t info;
    psgd_status_t      status;

    if (id == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the device is NULL: pass the device that the gradients live on");
    }
    info   = psgd_device_describe(id);
    status = check_handles(context, id, queue, info.name);
    if (status != PSGD_OK) {
        return status;
    }
    if (!info.is_usable) {
        return psgd_fail(PSGD_ERR_DEVICE_UNSUITABLE, "device '%s' cannot run libpsgd: %s", info.name, info.reason);
    }
    status = psgd_alloc(1, sizeof(*device), "a device", &device);
    if (status != PSGD_OK) {
        return status;
    }
    device->id               = id;
    device->limits           = limits_from(&info);
    device->log              = log != NULL ? *log : psgd_log_open(NULL, NULL, PSGD_LOG_WARN);
    device->patience.warn_ns = psgd_seconds_to_ns(0.0, DEFAULT_WARN_SECONDS);
    device->patience.fail_ns = psgd_seconds_to_ns(0.0, DEFAULT_FAIL_SECONDS);
    status                   = query_vector_floats(device);
    if (status == PSGD_OK) {
        status = take_context(device, context, info.platform);
    }
    if (status == PSGD_OK) {
        status = take_queue(device, queue);
    }
    if (status != PSGD_OK) {
        psgd_device_close(device);
        return status;
    }
    psgd_log(&device->log, PSGD_LOG_DEBUG, "device '%s' opened (%s), on %s", device->limits.name, device->limits.driver,
             device->queue == queue ? "the caller's queue" : "a queue of its own");
    *device_p = device;
    return PSGD_OK;
}

static bool is_complete(cl_event event)
{
    cl_int state = CL_QUEUED;

    return (clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL) == CL_SUCCESS) &&
           (state <= CL_COMPLETE);
}

/* Some drivers wait for all commands when a queue is released. After a wait that timed out, and whose work still has not
 * finished, queue, programs and context are therefore left allocated. */
void psgd_device_close(psgd_device_t *device)
{
    bool is_stuck;

    if (device == NULL) {
        return;
    }
    is_stuck = (device->unfinished != NULL) && !is_complete(device->unfinished);
    if (!is_stuck) {
        if (device->unfinished != NULL) {
            clReleaseEvent(device->unfinished);
        }
        psgd_programs_destroy(device->programs);
        if (device->queue != NULL) {
            clReleaseCommandQueue(device->queue);
        }
        if (device->caller_queue != NULL) {
            clReleaseCommandQueue(device->caller_queue);
        }
        if (device->context != NULL) {
            clReleaseContext(device->context);
        }
    }
    psgd_free(device);
}

/* ---- questions ---- */

const psgd_device_limits_t *psgd_device_limits(const psgd_device_t *device)
{
    return &device->limits;
}

const psgd_log_t *psgd_device_log(const psgd_device_t *device)
{
    return &device->log;
}

uint64_t psgd_device_bytes(const psgd_device_t *device)
{
    return device->buffer_bytes;
}

uint64_t psgd_device_launches(const psgd_device_t *device)
{
    return device->launches;
}

void psgd_device_count_launch(psgd_device_t *device)
{
    device->launches += 1;
}

void psgd_device_set_patience(psgd_device_t *device, psgd_patience_t patience)
{
    device->patience = patience;
}

cl_context psgd_device_context(const psgd_device_t *device)
{
    return device->context;
}

cl_device_id psgd_device_id(const psgd_device_t *device)
{
    return device->id;
}

cl_command_queue psgd_device_queue(const psgd_device_t *device)
{
    return device->queue;
}

/* ---- order ---- */

psgd_status_t psgd_device_separate(psgd_device_t *device)
{
    cl_command_queue queue;
    cl_int           result = CL_SUCCESS;

    if ((device->caller_queue != NULL) || device->has_own_queue) {
        return PSGD_OK;
    }
    queue = clCreateCommandQueue(device->context, device->id, 0, &result);
    if (result != CL_SUCCESS) {
        return psgd_cl_check(result, "clCreateCommandQueue", device->limits.name);
    }
    device->caller_queue  = device->queue;
    device->queue         = queue;
    device->has_own_queue = true;
    return PSGD_OK;
}

/* When the device says that a command had ended; by its own clock. */
static bool read_time(const psgd_mark_t *mark, uint64_t *ns_p)
{
    cl_ulong ns = 0;

    if ((mark->event == NULL) || (clGetEventProfilingInfo((cl_event)mark->event, CL_PROFILING_COMMAND_END, sizeof(ns),
                                                          &ns, NULL) != CL_SUCCESS)) {
        return false;
    }
    *ns_p = ns;
    return ns > 0;
}

/* By how much the device's clock is ahead, at least: a mark on an idle device is reached while we look, and seen a little later. */
static psgd_status_t look_at_clock(psgd_device_t *device, bool *is_seen_p, int64_t *ahead_ns_p)
{
    psgd_mark_t    mark      = {NULL};
    uint64_t       device_ns = 0;
    psgd_status_t  status    = psgd_device_mark(device, &mark);
    const uint64_t start_ns  = psgd_now_ns();
    uint64_t       now_ns    = start_ns;

    while ((status == PSGD_OK) && !psgd_mark_is_reached(&mark) && (now_ns - start_ns < LONGEST_LOOK_NS)) {
        now_ns = psgd_now_ns();
    }
    *is_seen_p  = (status == PSGD_OK) && psgd_mark_is_reached(&mark) && read_time(&mark, &device_ns);
    *ahead_ns_p = (int64_t)(device_ns - psgd_now_ns());
    psgd_mark_drop(&mark);
    return status;
}

/* The best of a few looks: that at which we saw the mark soonest. */
static psgd_status_t compare_clocks(psgd_device_t *device)
{
    psgd_status_t status = PSGD_OK;

    for (int look = 0; (status == PSGD_OK) && (look < LOOKS); ++look) {
        int64_t ahead_ns = 0;
        bool    is_seen  = false;

        status = look_at_clock(device, &is_seen, &ahead_ns);
        if (is_seen && (!device->keeps_times || (ahead_ns > device->clock_ahead_ns))) {
            device->keeps_times    = true;
            device->clock_ahead_ns = ahead_ns;
        }
    }
    return status;
}

psgd_status_t psgd_device_keep_times(psgd_device_t *device)
{
    cl_int           result = CL_SUCCESS;
    cl_command_queue queue  = clCreateCommandQueue(device->context, device->id, CL_QUEUE_PROFILING_ENABLE, &result);

    if (result != CL_SUCCESS) {
        return psgd_cl_check(result, "clCreateCommandQueue(CL_QUEUE_PROFILING_ENABLE)", device->limits.name);
    }
    if (device->has_own_queue) {
        clReleaseCommandQueue(device->queue);
    } else {
        device->caller_queue = device->queue;
    }
    device->queue         = queue;
    device->has_own_queue = true;
    return compare_clocks(device);
}

void psgd_mark_time(const psgd_device_t *device, const psgd_mark_t *mark, uint64_t *ns_p)
{
    uint64_t device_ns = 0;

    if (device->keeps_times && read_time(mark, &device_ns)) {
        *ns_p = device_ns - (uint64_t)device->clock_ahead_ns;
    }
}

psgd_status_t psgd_device_fence(psgd_device_t *device)
{
    const char   *name   = device->limits.name;
    cl_event      before = NULL;
    psgd_status_t status;

    if (device->caller_queue == NULL) {
        return PSGD_OK;
    }
    status = psgd_cl_check(clEnqueueMarkerWithWaitList(device->caller_queue, 0, NULL, &before),
                           "clEnqueueMarkerWithWaitList on the caller's queue", name);
    if (status != PSGD_OK) {
        return status;
    }
    /* An event that another queue waits for must have been flushed, or it may never come. */
    status = psgd_cl_check(clFlush(device->caller_queue), "clFlush of the caller's queue", name);
    if (status == PSGD_OK) {
        status = psgd_cl_check(clEnqueueBarrierWithWaitList(device->queue, 1, &before, NULL),
                               "clEnqueueBarrierWithWaitList", name);
    }
    clReleaseEvent(before);
    return status;
}

psgd_status_t psgd_device_hand_back(psgd_device_t *device, const psgd_mark_t *mark)
{
    cl_event event = (cl_event)mark->event;

    if (device->caller_queue == NULL) {
        return PSGD_OK;
    }
    return psgd_cl_check(clEnqueueBarrierWithWaitList(device->caller_queue, 1, &event, NULL),
                         "clEnqueueBarrierWithWaitList on the caller's queue", device->limits.name);
}

psgd_status_t psgd_device_event_of_mark(psgd_device_t *device, psgd_mark_t *mark, cl_event *event_p)
{
    psgd_status_t status = mark->event == NULL ? psgd_device_mark(device, mark) : PSGD_OK;

    if (status == PSGD_OK) {
        status = psgd_cl_check(clRetainEvent((cl_event)mark->event), "clRetainEvent", device->limits.name);
    }
    if (status == PSGD_OK) {
        *event_p = (cl_event)mark->event;
    }
    return status;
}

/* ---- waiting ---- */

/* Rests between two polls. A CPU device computes on the cores that we run on, so there we sleep almost at once, which
 * leaves the core to the driver's threads. */
static void rest(const psgd_device_t *device, uint32_t round)
{
    uint64_t ns;

    if (!device->limits.is_cpu) {
        psgd_rest(round);
    } else if (round >= QUICK_POLLS) {
        ns = MIN_SLEEP_NS + (uint64_t)(round - QUICK_POLLS) * SLEEP_STEP_NS;
        psgd_sleep_ns(ns < MAX_SLEEP_NS ? ns : MAX_SLEEP_NS);
    }
}

static psgd_status_t fail_late(const psgd_device_t *device, const char *what)
{
    return psgd_fail(PSGD_ERR_TIMEOUT,
                     "%s did not finish on device '%s' within %.3g s: the device or its driver hangs, or the deadline "
                     "(deadline_seconds) is too short for it",
                     what, device->limits.name, (double)device->patience.fail_ns / NS_PER_SECOND);
}

/* Polls until the event is complete or has failed. */
static psgd_status_t poll_event(const psgd_device_t *device, cl_event event, const char *what)
{
    uint64_t start_ns  = psgd_now_ns();
    bool     is_warned = false;

    for (uint32_t round = 0;; round += round < UINT32_MAX) {
        cl_int        state = CL_QUEUED;
        uint64_t      waited_ns;
        psgd_status_t status;

        status = psgd_cl_check(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL),
                               "clGetEventInfo(CL_EVENT_COMMAND_EXECUTION_STATUS)", device->limits.name);
        if (status != PSGD_OK) {
            return status;
        }
        if (state == CL_COMPLETE) {
            return PSGD_OK;
        }
        if (state < 0) {
            return psgd_fail(PSGD_ERR_OPENCL, "%s: a command failed on device '%s': %s (%d)", what, device->limits.name,
                             psgd_cl_error_name(state), (int)state);
        }
        waited_ns = psgd_now_ns() - start_ns;
        if (waited_ns >= device->patience.fail_ns) {
            return fail_late(device, what);
        }
        if (!is_warned && (waited_ns >= device->patience.warn_ns)) {
            is_warned = true;
            psgd_log(&device->log, PSGD_LOG_WARN,
                     "%s has not finished on device '%s' after %.3g s; giving up after %.3g s", what,
                     device->limits.name, (double)waited_ns / NS_PER_SECOND,
                     (double)device->patience.fail_ns / NS_PER_SECOND);
        }
        rest(device, round);
    }
}

psgd_status_t psgd_device_mark(psgd_device_t *device, psgd_mark_t *mark_p)
{
    const char   *name = device->limits.name;
    cl_event      last = NULL;
    psgd_status_t status;

    status =
        psgd_cl_check(clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &last), "clEnqueueMarkerWithWaitList", name);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_cl_check(clFlush(device->queue), "clFlush", name);
    if (status != PSGD_OK) {
        clReleaseEvent(last);
        return status;
    }
    mark_p->event = last;
    return PSGD_OK;
}

bool psgd_mark_is_reached(const psgd_mark_t *mark)
{
    cl_int state = CL_COMPLETE;

    return (mark->event == NULL) ||
           (clGetEventInfo((cl_event)mark->event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL) !=
            CL_SUCCESS) ||
           (state <= CL_COMPLETE);
}

void psgd_mark_drop(psgd_mark_t *mark)
{
    if (mark->event != NULL) {
        clReleaseEvent((cl_event)mark->event);
        mark->event = NULL;
    }
}

/* What a wait has found; it keeps the mark of one that timed out. */
static psgd_status_t end_wait(psgd_device_t *device, psgd_status_t status, psgd_mark_t *mark)
{
    if ((status == PSGD_ERR_TIMEOUT) && (device->unfinished == NULL)) {
        device->unfinished = (cl_event)mark->event;
        mark->event        = NULL;
    }
    psgd_mark_drop(mark);
    device->failed_waits += status != PSGD_OK ? 1 : 0;
    /* Where a driver cannot say when commands end, only clFinish() is left, though no deadline bounds it. */
    device->is_stuck = (status == PSGD_ERR_TIMEOUT) || ((status != PSGD_OK) && (clFinish(device->queue) != CL_SUCCESS));
    return status;
}

psgd_status_t psgd_device_wait_mark(psgd_device_t *device, psgd_mark_t *mark, const char *what)
{
    return mark->event == NULL ? PSGD_OK : end_wait(device, poll_event(device, (cl_event)mark->event, what), mark);
}

psgd_status_t psgd_device_wait(psgd_device_t *device, const char *what)
{
    psgd_mark_t   mark   = {NULL};
    psgd_status_t status = psgd_device_mark(device, &mark);

    if (status != PSGD_OK) {
        return end_wait(device, psgd_fail_in(status, "%s", what), &mark);
    }
    return psgd_device_wait_mark(device, &mark, what);
}

psgd_status_t psgd_device_settle(psgd_device_t *device, psgd_status_t status, const char *what)
{
    char sentence[MAX_SENTENCE_BYTES];

    if (status == PSGD_OK) {
        return psgd_device_wait(device, what);
    }
    if (device->is_stuck) {
        return status;
    }
    snprintf(sentence, sizeof(sentence), "%s", psgd_last_error());
    psgd_device_wait(device, what);
    return psgd_fail(status, "%s", sentence);
}

psgd_status_t psgd_device_unstick(psgd_device_t *device)
{
    if (device->is_stuck && (device->unfinished == NULL)) {
        return psgd_device_wait(device, "what an earlier failure left on the device");
    }
    return PSGD_OK;
}

uint64_t psgd_device_failed_waits(const psgd_device_t *device)
{
    return device->failed_waits;
}

bool psgd_device_is_stuck(const psgd_device_t *device)
{
    return device->is_stuck;
}

void psgd_device_free_host(const psgd_device_t *device, void *memory)
{
    if (!device->is_stuck) {
        psgd_free(memory);
    }
}
