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

/* Rests between two polls. A CPU device computes on the cores that we run on, so there we sleep almost at once, which leaves the core to
 * the driver's threads; and longer where the wait is long, since each look takes the core from one of them: with a tenth of a
 * millisecond at most, a backward pass of 50 ms took 60. */
static void rest(const psgd_device_t *device, uint32_t round, uint64_t waited_ns, bool is_moving)
{
    if (!device->limits.is_cpu) {
        psgd_rest(round);
    } else if (round >= QUICK_POLLS) {
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

/* Polls until the event is complete or has failed. */
static psgd_status_t poll_event(const psgd_device_t *device, cl_event event, const char *what)
{
    uint64_t start_ns  = psgd_now_ns();
    bool     is_warned = false;

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
        if (device->patience.watch != NULL) {
            is_moving = device->patience.watch(device->patience.watched);
        }
        rest(device, round, waited_ns, is_moving);
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
