#include "device/device.h"

#include <stdio.h>

#include "base/memory.h"
#include "device/cl_device.h"
#include "device/device_internal.h"
#include "device/enumerate.h"

/* For a thread that is about to return from the driver. */
static const uint64_t FAREWELL_NS = UINT64_C(1000000000);

enum { DEFAULT_WARN_SECONDS = 60, DEFAULT_FAIL_SECONDS = 600, MIN_VECTOR_FLOATS = 4, MAX_VECTOR_FLOATS = 16 };

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
    if ((status == PSGD_OK) && device->limits.is_cpu) {
        status = psgd_waker_create(&device->waker);
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

bool psgd_event_is_complete(cl_event event)
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
    is_stuck = (device->unfinished != NULL) && !psgd_event_is_complete(device->unfinished);
    psgd_waker_destroy(device->waker, is_stuck ? 0 : FAREWELL_NS);
    if (!is_stuck) {
        if (device->unfinished != NULL) {
            clReleaseEvent(device->unfinished);
        }
        psgd_programs_destroy(device->programs);
        if (device->queue != NULL) {
            clReleaseCommandQueue(device->queue);
        }
        if (device->followed != NULL) {
            clReleaseEvent(device->followed);
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
