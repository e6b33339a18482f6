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

/* What is created from now on takes the kernels of this variant, whatever the device is: vector_floats 4, 8 or 16 as on a CPU
 * with vectors that wide, one work-item a group; 1 as on a GPU, work-items side by side. Returns what it was before. */
uint32_t op_device_pretend(psgd_device_t *device, uint32_t vector_floats);

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

/* The floats anew. */
void region_write(const region_t *region, const float *values);

void region_destroy(region_t *region);

/* Several arrays of floats in one buffer, at odd offsets, with guards between them. */
typedef struct arena {
    psgd_device_t *device;
    psgd_view_t    buffer;
    size_t         num_members;
    size_t         total; /* elements of the buffer */
    size_t        *begins, *elems; /* of the members */
    float         *image; /* what was read last */
} arena_t;

/* Holds values[i], of elems[i] floats (NULL: NaN). The first member begins at an element from 0 to 15 that follows from
 * `seed`. */
arena_t arena_create(psgd_device_t *device, const float *const *values, const size_t *elems, size_t num_members,
                     size_t seed);
psgd_view_t arena_view(const arena_t *arena, size_t member);

/* A member anew. */
void arena_write(const arena_t *arena, size_t member, const float *values);

/* Reads all members, and fails the test where a guard was touched. */
void         arena_read(arena_t *arena);
const float *arena_member(const arena_t *arena, size_t member); /* as read last */

void arena_destroy(arena_t *arena); /* fine where it is all zero */

/* Host memory for `elems` elements of a size, zeroed; freed by free(). */
void *test_alloc(size_t elems, size_t elem_bytes);

/* How many of the floats differ in any bit. */
size_t count_different(const float *a, const float *b, size_t elems);

/* out = uniform in [-scale, scale), a function of (stream, i) alone. */
void fill_uniform(float *out, size_t elems, uint64_t stream, float scale);

#endif
