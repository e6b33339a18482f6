/* What an opened device holds: for the files of this room alone. */
#ifndef PSGD_DEVICE_DEVICE_INTERNAL_H
#define PSGD_DEVICE_DEVICE_INTERNAL_H

#include "device/cl_device.h"
#include "device/device.h"
#include "device/program.h"
#include "device/waker.h"

struct psgd_device {
    cl_context           context; /* retained */
    cl_device_id         id;
    cl_command_queue     queue;        /* in order; retained: the caller's, or our own */
    bool                 has_own_queue;
    bool                 keeps_times;    /* psgd_device_keep_times() */
    int64_t              clock_ahead_ns; /* the device's clock, of psgd_now_ns() */
    cl_command_queue     caller_queue;   /* the caller's, where there is one beside our own; retained; else NULL */
    cl_event             followed;     /* behind the last of the library's commands in the caller's queue; NULL: none */
    cl_command_queue     own_queue;    /* ours, while `queue` is the caller's (psgd_device_follow()); else NULL */
    cl_event             unfinished;   /* the marker of a wait that timed out; else NULL */
    bool                 is_stuck;     /* psgd_device_is_stuck() */
    uint64_t             failed_waits;
    psgd_waker_t        *waker; /* where the device is a CPU; else NULL */
    psgd_patience_t      patience;
    psgd_log_t           log;
    psgd_device_limits_t limits;
    psgd_program_t      *programs;     /* all that were compiled, the newest first */
    uint64_t             buffer_bytes; /* held by buffers of psgd_buffer_create() */
    uint64_t             launches;     /* kernels enqueued so far */
};

/* An event that is complete when all is that the caller has enqueued on its own queue, which there is; flushed. The receiver releases
 * it. */
psgd_status_t psgd_device_mark_caller(psgd_device_t *device, cl_event *event_p);

/* The driver says that it is, or that it has failed. */
bool psgd_event_is_complete(cl_event event);

void psgd_programs_destroy(psgd_program_t *programs);

#endif
