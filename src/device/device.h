/* An opened device: context, one in-order queue, limits, compiled programs. Neutral of OpenCL, so that core can hold it.
 *
 * All work of a reducer is enqueued on the in-order queue of its psgd_device_t, so that commands run in the order of the
 * calls. Host memory passed to an enqueue_* function stays untouched, and stays, until psgd_device_wait() or _settle() returns. */
#ifndef PSGD_DEVICE_DEVICE_H
#define PSGD_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/status.h"

typedef struct psgd_device psgd_device_t;

/* What kernels are chosen by: queried properties, never a vendor's name. */
typedef struct psgd_device_limits {
    char     name[256];
    char     driver[600];          /* platform, device version and driver version: equal strings, equal bits */
    uint64_t max_allocation_bytes;
    uint64_t global_memory_bytes;
    uint64_t local_memory_bytes;
    size_t   max_work_group_size;
    uint32_t compute_units;
    bool     is_cpu;
    uint32_t vector_floats;        /* 4, 8 or 16: a CPU that wants vectors written out, one work-item a group; 1: any other
                                    * device, whose work-items side by side make the vectors */
    bool     has_unified_memory;
} psgd_device_limits_t;

const psgd_device_limits_t *psgd_device_limits(const psgd_device_t *device);
const psgd_log_t           *psgd_device_log(const psgd_device_t *device);

/* Bytes of device memory that buffers of psgd_buffer_create() hold now. */
uint64_t psgd_device_bytes(const psgd_device_t *device);

/* Kernels that have been enqueued; those of other libraries on its queue are counted by whoever calls them. */
uint64_t psgd_device_launches(const psgd_device_t *device);
void     psgd_device_count_launch(psgd_device_t *device);

/* How long psgd_device_wait() waits; set once, before the first wait. */
void psgd_device_set_patience(psgd_device_t *device, psgd_patience_t patience);

/* A place in the order of commands: all that was enqueued before it. All zero: none. */
typedef struct psgd_mark {
    void *event; /* the backend's */
} psgd_mark_t;

/* From here on the library's commands go to a queue of its own, beside the caller's, if they did not already: so that what it
 * enqueues need not come behind all that the caller has. */
psgd_status_t psgd_device_separate(psgd_device_t *device);

/* For psgd_mark_time(): the library's commands go to a queue of its own, which keeps the times of its commands. Before anything was
 * enqueued. */
psgd_status_t psgd_device_keep_times(psgd_device_t *device);

/* What the caller has enqueued on its own queue so far comes before all that the library enqueues from now on. Nothing to
 * do where the library uses that queue: it is in order. */
psgd_status_t psgd_device_fence(psgd_device_t *device);

/* Whether the library can enqueue right behind the caller's commands: on the caller's own queue, which is another one than the library's
 * and in order. */
bool psgd_device_can_follow(const psgd_device_t *device);

/* What the library enqueues from here on goes to the caller's queue, and comes after `after`, a mark in the library's own (none: after
 * nothing of the library's). Until psgd_device_come_back(). */
psgd_status_t psgd_device_follow(psgd_device_t *device, const psgd_mark_t *after);

/* What the library enqueues from here on goes to its own queue again; it does not come after what has gone to the caller's, but
 * psgd_device_wait() waits for that too. `last`: a mark behind it; where there is none, one is set. Fine where psgd_device_follow() has
 * failed. */
void psgd_device_come_back(psgd_device_t *device, const psgd_mark_t *last);
bool psgd_device_is_following(const psgd_device_t *device);

/* What the library enqueues from here on comes after the mark, of either queue. */
psgd_status_t psgd_device_come_after(psgd_device_t *device, const psgd_mark_t *mark);

/* What the caller enqueues on its own queue from here on comes after all that the library has enqueued. Nothing to do where the
 * library uses that queue. `mark`: set by psgd_device_mark() after that. */
psgd_status_t psgd_device_hand_back(psgd_device_t *device, const psgd_mark_t *mark);

/* Flushes and returns when all enqueued work of the library's is complete; waits under the deadline. `what` names it in warnings and
 * errors: "compute_p". Errors: PSGD_ERR_TIMEOUT, PSGD_ERR_OPENCL (a command failed), and what a driver says that has run out
 * of something: then, too, all work is complete, unless psgd_device_is_stuck(). */
psgd_status_t psgd_device_wait(psgd_device_t *device, const char *what);

/* Sets a mark and flushes. */
psgd_status_t psgd_device_mark(psgd_device_t *device, psgd_mark_t *mark_p);

/* Whether what it marks is complete, or has failed, so that psgd_device_wait_mark() does not wait. True for none. */
bool psgd_mark_is_reached(const psgd_mark_t *mark);

/* When a mark was reached that psgd_mark_is_reached(), as psgd_now_ns() counts. Leaves *ns_p alone where the device does not say. */
void psgd_mark_time(const psgd_device_t *device, const psgd_mark_t *mark, uint64_t *ns_p);

/* As psgd_device_wait(), for what was enqueued before the mark; which is none from here on. */
psgd_status_t psgd_device_wait_mark(psgd_device_t *device, psgd_mark_t *mark, const char *what);

/* Nobody waits for it any more; fine for none. */
void psgd_mark_drop(psgd_mark_t *mark);

/* For whoever owns host memory that commands touch, when it may be freed or used for something else: waits whatever came before,
 * since of several commands the first ones may be under way when a later one could not be enqueued. Returns `status`, or the
 * wait's. */
psgd_status_t psgd_device_settle(psgd_device_t *device, psgd_status_t status, const char *what);

/* How many waits have failed so far. Where that has changed, what was enqueued before may not have been done. */
uint64_t psgd_device_failed_waits(const psgd_device_t *device);

/* The last wait timed out, or the driver could not even begin it: commands may still touch host memory, so none of it may be
 * freed. */
bool psgd_device_is_stuck(const psgd_device_t *device);

/* Another attempt where the driver could not wait; not where a wait timed out, which would only do so again. Fine, and without an
 * effect, where the device is not stuck. */
psgd_status_t psgd_device_unstick(psgd_device_t *device);

/* Frees host memory, settled or not, unless the device is stuck. */
void psgd_device_free_host(const psgd_device_t *device, void *memory);

/* Releases everything; never waits for work that has not finished. NULL is fine. */
void psgd_device_close(psgd_device_t *device);

#endif
