#include "device/gate.h"

#include <string.h>

#include "base/memory.h"
#include "device/device_internal.h"

enum { FIRST_CAPACITY = 8 };

/* The room stays from step to step, so that a steady one allocates nothing. */
static psgd_status_t make_room(psgd_gate_t *gate, size_t more)
{
    size_t        capacity = gate->capacity > 0 ? gate->capacity : FIRST_CAPACITY;
    void        **events   = NULL;
    psgd_status_t status;

    if (gate->count + more <= gate->capacity) {
        return PSGD_OK;
    }
    while (capacity < gate->count + more) {
        capacity *= 2;
    }
    status = psgd_alloc(capacity, sizeof(*events), "the list of events to wait for", &events);
    if (status != PSGD_OK) {
        return status;
    }
    if (gate->count > 0) {
        memcpy(events, gate->events, gate->count * sizeof(*events));
    }
    psgd_free(gate->events);
    gate->events   = events;
    gate->capacity = capacity;
    return PSGD_OK;
}

psgd_status_t psgd_gate_add_caller(psgd_gate_t *gate, psgd_device_t *device)
{
    cl_event      before = NULL;
    psgd_status_t status;

    if (device->caller_queue == NULL) {
        return PSGD_OK;
    }
    status = make_room(gate, 1);
    if (status == PSGD_OK) {
        status = psgd_device_mark_caller(device, &before);
    }
    if (status == PSGD_OK) {
        gate->events[gate->count++] = before;
    }
    return status;
}

/* Of this device's context; and its command has been handed to the device, or it might never come. */
static psgd_status_t check_event(const psgd_device_t *device, cl_event event, size_t index)
{
    cl_context       context = NULL;
    cl_command_queue queue   = NULL;

    if ((event == NULL) ||
        (clGetEventInfo(event, CL_EVENT_CONTEXT, sizeof(cl_context), &context, NULL) != CL_SUCCESS)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "wait_list[%zu] is no OpenCL event", index);
    }
    if (context != device->context) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "wait_list[%zu] belongs to another OpenCL context than the reducer",
                         index);
    }
    if ((clGetEventInfo(event, CL_EVENT_COMMAND_QUEUE, sizeof(cl_command_queue), &queue, NULL) == CL_SUCCESS) &&
        (queue != NULL)) {
        return psgd_cl_check(clFlush(queue), "clFlush of an event's queue", device->limits.name);
    }
    return PSGD_OK; /* the caller's user event */
}

psgd_status_t psgd_gate_add_events(psgd_gate_t *gate, psgd_device_t *device, size_t num_events, const cl_event *events)
{
    psgd_status_t status = make_room(gate, num_events);

    for (size_t i = 0; (status == PSGD_OK) && (i < num_events); ++i) {
        status = check_event(device, events[i], i);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < num_events); ++i) {
        status = psgd_cl_check(clRetainEvent(events[i]), "clRetainEvent", device->limits.name);
        if (status == PSGD_OK) {
            gate->events[gate->count++] = events[i];
        }
    }
    return status;
}

psgd_status_t psgd_gate_enqueue(psgd_gate_t *gate, psgd_device_t *device)
{
    psgd_status_t status;

    if (gate->count == 0) {
        return PSGD_OK;
    }
    status = psgd_cl_check(clEnqueueBarrierWithWaitList(device->queue, (cl_uint)gate->count,
                                                        (const cl_event *)(const void *)gate->events, NULL),
                           "clEnqueueBarrierWithWaitList", device->limits.name);
    psgd_gate_clear(gate);
    return status;
}

bool psgd_gate_is_open(const psgd_gate_t *gate)
{
    for (size_t i = 0; i < gate->count; ++i) {
        const psgd_mark_t event = {gate->events[i]};

        if (!psgd_mark_is_reached(&event)) {
            return false;
        }
    }
    return true;
}

void psgd_gate_clear(psgd_gate_t *gate)
{
    for (size_t i = 0; i < gate->count; ++i) {
        clReleaseEvent((cl_event)gate->events[i]);
    }
    gate->count = 0;
}

void psgd_gate_destroy(psgd_gate_t *gate)
{
    psgd_gate_clear(gate);
    psgd_free(gate->events);
    memset(gate, 0, sizeof(*gate));
}
