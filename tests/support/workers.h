/* Several workers in one process: threads, each with its own context, queue and communicator.
 *
 * Check's assertions belong to the main thread. A worker returns a status instead, with a sentence in the last error of
 * its thread; the main thread turns that into a failed test. */
#ifndef PSGD_TESTS_SUPPORT_WORKERS_H
#define PSGD_TESTS_SUPPORT_WORKERS_H

#include <stdint.h>

#include <psgd/psgd.h>

#include "base/status.h"
#include "support/test_device.h"

enum { WORKERS_MAX = 8 };

typedef struct worker {
    uint32_t             index;
    uint32_t             count;
    const test_device_t *device;
    const psgd_comm_t   *comm;
    void                *user;
} worker_t;

typedef psgd_status_t (*worker_fn)(worker_t *worker);

/* What a worker ended with. */
typedef struct worker_outcome {
    psgd_status_t status;
    char          sentence[2048];
} worker_outcome_t;

/* Runs `function` on `count` threads and returns when all have ended. Devices are kept for the next call. */
void workers_try(uint32_t count, worker_fn function, void *user, worker_outcome_t *outcomes);

/* The same, and the test fails with a worker's sentence if one does not end with PSGD_OK. */
void workers_run(uint32_t count, worker_fn function, void *user);

/* The device of a worker, for the main thread; opened at first use. */
const test_device_t *workers_device(uint32_t index);

/* Closes all devices; at the end of main(). */
void workers_close(void);

/* In a worker: gives up with a sentence where the condition does not hold. */
#define worker_expects(condition_, ...) \
    do { \
        if (!(condition_)) { \
            return psgd_fail(PSGD_ERR_INTERNAL, __VA_ARGS__); \
        } \
    } while (0)

/* In a worker: gives up where the call does not succeed. */
#define worker_needs(call_) \
    do { \
        psgd_status_t needed_ = (call_); \
        if (needed_ != PSGD_OK) { \
            return psgd_fail_in(needed_, "%s", #call_); \
        } \
    } while (0)

#endif
