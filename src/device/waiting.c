/* Waiting for the device, under the deadline; and what cannot be waited for any more. */
#include <stdio.h>

#include "base/clock.h"
#include "base/memory.h"
#include "device/device_internal.h"

enum {
    MAX_SENTENCE_BYTES = 1024,
    QUICK_POLLS        = 4,  /* on a CPU, before sleeping begins */
    SLEEP_SHARE        = 32, /* a sleep is so small a part of the wait until then */
    MIN_SLEEP_NS       = 20000,
    MAX_SLEEP_NS       = 1000000,
    MAX_MOVING_NS      = 100000 /* where something gets on only while it is looked at */
};

static const double NS_PER_SECOND = 1e9;

/* How long to sleep after having waited so long. */
static uint64_t sleep_after(uint64_t waited_ns, bool is_moving)
{
    const uint64_t most_ns = is_moving ? MAX_MOVING_NS : MAX_SLEEP_NS;
    const uint64_t ns      = waited_ns / SLEEP_SHARE;

    return ns < MIN_SLEEP_NS ? MIN_SLEEP_NS : (ns < most_ns ? ns : most_ns);
}

/* A wait for an event. */
typedef struct watch {
    const psgd_device_t *device;
    uint64_t             start_ns;
    bool                 is_warned;
    bool                 has_waker; /* the device's waker waits for the event too */
    bool                 is_over;   /* the waker waits no more */
} watch_t;

static uint64_t waited(const watch_t *w)
{
    return psgd_now_ns() - w->start_ns;
}

/* How long to be asleep at most where an event's end wakes us: until there is something to say. */
static uint64_t longest_sleep(const watch_t *w, uint64_t waited_ns, bool is_moving)
{
    const psgd_patience_t *patience = &w->device->patience;
    const uint64_t         until_ns =
        w->is_warned || (patience->warn_ns > patience->fail_ns) ? patience->fail_ns : patience->warn_ns;

    return is_moving ? MAX_MOVING_NS : (until_ns > waited_ns ? until_ns - waited_ns : 0);
}

/* Rests between two polls. A CPU device computes on the cores that we run on, and each look takes the core from one of the driver's
 * threads: with looks at twentieths to tenths of a millisecond, a step of two workers on two cores took 60 ms, and takes 47. So there
 * the waker wakes us; where it cannot, looks become rarer as the wait gets longer. */
static void rest(watch_t *w, cl_event event, uint32_t round, uint64_t waited_ns, bool is_moving)
{
    psgd_waker_t *waker = w->device->waker;

    if (waker == NULL) {
        psgd_rest(round);
        return;
    }
    if (round < QUICK_POLLS) {
        return;
    }
    if (round == QUICK_POLLS) {
        w->has_waker = psgd_waker_watch(waker, event);
    }
    if (w->has_waker && !w->is_over) {
        w->is_over = psgd_waker_sleep(waker, longest_sleep(w, waited_ns, is_moving));
    } else {
        psgd_sleep_ns(sleep_after(waited_ns, is_moving));
    }
}

static psgd_status_t fail_late(const psgd_device_t *device, const char *what)
{
    return psgd_fail(PSGD_ERR_TIMEOUT,
                     "%s did not finish on device '%s' within %.3g s: the device or its driver hangs, or the deadline "
                     "(deadline_seconds) is too short for it",
                     what, device->limits.name, (double)device->patience.fail_ns / NS_PER_SECOND);
}

static void warn_once(watch_t *w, uint64_t waited_ns, const char *what)
{
    const psgd_device_t *device = w->device;

    if (w->is_warned || (waited_ns < device->patience.warn_ns)) {
        return;
    }
    w->is_warned = true;
    psgd_log(&device->log, PSGD_LOG_WARN, "%s has not finished on device '%s' after %.3g s; giving up after %.3g s",
             what, device->limits.name, (double)waited_ns / NS_PER_SECOND,
             (double)device->patience.fail_ns / NS_PER_SECOND);
}

/* Polls until the event is complete or has failed. */
static psgd_status_t poll_event(watch_t *w, cl_event event, const char *what)
{
    const psgd_device_t *device = w->device;

    for (uint32_t round = 0;; round += round < UINT32_MAX) {
        cl_int        state     = CL_QUEUED;
        bool          is_moving = false;
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
        waited_ns = waited(w);
        if (waited_ns >= device->patience.fail_ns) {
            return fail_late(device, what);
        }
        warn_once(w, waited_ns, what);
        if (device->patience.watch != NULL) {
            is_moving = device->patience.watch(device->patience.watched);
        }
        rest(w, event, round, waited_ns, is_moving);
    }
}

/* An event is released when the waker has done with it. That it is complete does not say so, and it need not be: an error may be the
 * poll's own. */
static psgd_status_t wait_for_event(const psgd_device_t *device, cl_event event, const char *what)
{
    watch_t       w      = {device, psgd_now_ns(), false, false, false};
    psgd_status_t status = poll_event(&w, event, what);
    uint64_t      waited_ns;

    if (!w.has_waker || w.is_over || (status == PSGD_ERR_TIMEOUT)) {
        return status;
    }
    waited_ns = waited(&w);
    if (psgd_waker_sleep(device->waker,
                         device->patience.fail_ns > waited_ns ? device->patience.fail_ns - waited_ns : 0)) {
        return status;
    }
    return fail_late(device, what);
}

/* Keeps the mark of a wait that timed out, for which the waker may wait. Where there is one that still is not complete, the waker waits for
 * that, and it tells as much. */
static void keep_unfinished(psgd_device_t *device, psgd_mark_t *mark)
{
    if (device->unfinished != NULL) {
        if (!psgd_event_is_complete(device->unfinished)) {
            return;
        }
        clReleaseEvent(device->unfinished);
    }
    device->unfinished = (cl_event)mark->event;
    mark->event        = NULL;
}

/* What a wait has found. */
static psgd_status_t end_wait(psgd_device_t *device, psgd_status_t status, psgd_mark_t *mark)
{
    if (status == PSGD_ERR_TIMEOUT) {
        keep_unfinished(device, mark);
    }
    psgd_mark_drop(mark);
    device->failed_waits += status != PSGD_OK ? 1 : 0;
    /* Where a driver cannot say when commands end, only clFinish() is left, though no deadline bounds it. */
    device->is_stuck = (status == PSGD_ERR_TIMEOUT) || ((status != PSGD_OK) && (clFinish(device->queue) != CL_SUCCESS));
    return status;
}

psgd_status_t psgd_device_wait_mark(psgd_device_t *device, psgd_mark_t *mark, const char *what)
{
    return mark->event == NULL ? PSGD_OK : end_wait(device, wait_for_event(device, (cl_event)mark->event, what), mark);
}

/* And for what has gone to the caller's queue. Returns `status`, or, where that is PSGD_OK, what became of it. */
static psgd_status_t wait_for_followed(psgd_device_t *device, psgd_status_t status, const char *what)
{
    psgd_mark_t   followed = {device->followed};
    psgd_status_t other;

    if (device->followed == NULL) {
        return status;
    }
    device->followed = NULL;
    other            = psgd_device_wait_mark(device, &followed, what);
    return status == PSGD_OK ? other : status;
}

psgd_status_t psgd_device_wait(psgd_device_t *device, const char *what)
{
    psgd_mark_t   mark   = {NULL};
    psgd_status_t status = psgd_device_mark(device, &mark);

    if (status != PSGD_OK) {
        return end_wait(device, psgd_fail_in(status, "%s", what), &mark);
    }
    status = psgd_device_wait_mark(device, &mark, what);
    return device->is_stuck ? status : wait_for_followed(device, status, what);
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
