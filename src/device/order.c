/* In which order things happen: the library's queue and the caller's, marks in the library's, and the device's clock. */
#include "base/clock.h"
#include "device/device_internal.h"

enum { LOOKS = 16 }; /* at the device's clock */

static const uint64_t LONGEST_LOOK_NS = UINT64_C(1000000000); /* at an idle device */

/* ---- marks ---- */

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

/* ---- the library's queue ---- */

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

/* ---- the device's clock ---- */

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

/* ---- the caller's queue ---- */

psgd_status_t psgd_device_mark_caller(psgd_device_t *device, cl_event *event_p)
{
    const char   *name   = device->limits.name;
    cl_event      before = NULL;
    psgd_status_t status;

    status = psgd_cl_check(clEnqueueMarkerWithWaitList(device->caller_queue, 0, NULL, &before),
                           "clEnqueueMarkerWithWaitList on the caller's queue", name);
    if (status != PSGD_OK) {
        return status;
    }
    /* An event that another queue waits for must have been flushed, or it may never come. */
    status = psgd_cl_check(clFlush(device->caller_queue), "clFlush of the caller's queue", name);
    if (status != PSGD_OK) {
        clReleaseEvent(before);
        return status;
    }
    *event_p = before;
    return PSGD_OK;
}

psgd_status_t psgd_device_fence(psgd_device_t *device)
{
    cl_event      before = NULL;
    psgd_status_t status;

    if (device->caller_queue == NULL) {
        return PSGD_OK;
    }
    status = psgd_device_mark_caller(device, &before);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_cl_check(clEnqueueBarrierWithWaitList(device->queue, 1, &before, NULL),
                           "clEnqueueBarrierWithWaitList", device->limits.name);
    clReleaseEvent(before);
    return status;
}

/* ---- in the caller's queue ---- */

bool psgd_device_can_follow(const psgd_device_t *device)
{
    cl_command_queue_properties properties = 0;

    return (device->caller_queue != NULL) &&
           (clGetCommandQueueInfo(device->caller_queue, CL_QUEUE_PROPERTIES, sizeof(properties), &properties, NULL) ==
            CL_SUCCESS) &&
           ((properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) == 0);
}

psgd_status_t psgd_device_come_after(psgd_device_t *device, const psgd_mark_t *mark)
{
    cl_event event = (cl_event)mark->event;

    return event == NULL ? PSGD_OK
                         : psgd_cl_check(clEnqueueBarrierWithWaitList(device->queue, 1, &event, NULL),
                                         "clEnqueueBarrierWithWaitList", device->limits.name);
}

psgd_status_t psgd_device_follow(psgd_device_t *device, const psgd_mark_t *after)
{
    device->own_queue = device->queue;
    device->queue     = device->caller_queue;
    return psgd_device_come_after(device, after);
}

/* An event behind what has gone to the queue. */
static cl_event keep_event(psgd_device_t *device, const psgd_mark_t *last)
{
    psgd_mark_t mark = {NULL};

    if ((last->event != NULL) && (clRetainEvent((cl_event)last->event) == CL_SUCCESS)) {
        return (cl_event)last->event;
    }
    if (psgd_device_mark(device, &mark) !=
        PSGD_OK) { /* where a driver cannot say when commands end, only this is left */
        clFinish(device->queue);
    }
    return (cl_event)mark.event;
}

void psgd_device_come_back(psgd_device_t *device, const psgd_mark_t *last)
{
    cl_event event = keep_event(device, last);

    if (device->followed != NULL) { /* the caller's queue is in order */
        clReleaseEvent(device->followed);
    }
    device->followed  = event;
    device->queue     = device->own_queue;
    device->own_queue = NULL;
}

bool psgd_device_is_following(const psgd_device_t *device)
{
    return device->own_queue != NULL;
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
