/* What the tests of the operations share: an opened device, and regions of its memory between guard values. */
#ifndef PSGD_TESTS_UNIT_OP_FIXTURE_H
#define PSGD_TESTS_UNIT_OP_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/buffer.h"
#include "device/device.h"

/* The device that the operations of this process run on: opened at the first call, with a context and a queue of its
 * own. */
psgd_device_t *op_device(void);
void           op_device_close(void);

/* Another one, with a log; closed by psgd_device_close(). Any thread may call it; errors as of psgd_device_open(). */
psgd_status_t op_device_open(const psgd_log_t *log, psgd_device_t **device_p);

/* The kernels that are created from now on take the form for GPUs (or for CPUs) whatever the device is. */
void op_device_pretend_cpu(psgd_device_t *device, bool is_cpu);

/* Whether the device says that host and device share one memory. */
void op_device_pretend_unified(psgd_device_t *device, bool is_unified);

/* `elems` floats at byte offset `offset_bytes` (a multiple of 4) of a buffer, with guards before and behind them. */
typedef struct region {
    psgd_device_t *device;
    psgd_view_t    buffer; /* the whole of it */
    psgd_view_t    view;   /* the floats */
    size_t         elems;
} region_t;

/* A region that holds `values` (NULL: NaN, as memory that nobody may read). */
region_t region_create(psgd_device_t *device, size_t elems, size_t offset_bytes, const float *values);

/* Reads the floats into `values`, and fails the test where a guard was touched. */
void region_read(const region_t *region, float *values);

void region_destroy(region_t *region);

/* Host memory for `elems` elements of a size, zeroed; freed by free(). */
void *test_alloc(size_t elems, size_t elem_bytes);

/* How many of the floats differ in any bit. */
size_t count_different(const float *a, const float *b, size_t elems);

/* out = uniform in [-scale, scale), a function of (stream, i) alone. */
void fill_uniform(float *out, size_t elems, uint64_t stream, float scale);

#endif
