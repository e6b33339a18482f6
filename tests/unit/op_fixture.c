#include "op_fixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "device/cl_device.h"
#include "support/suite.h"
#include "support/test_device.h"

enum { GUARD_ELEMS = 64 };

static const float GUARD = -1.2345678e-12f;

static psgd_device_t *shared_device;

/* Of the devices as they are: Mesa's llvmpipe is a CPU without vectors, and its tiles are cut accordingly. */
static bool has_pretended, vectorizes_work_items;

psgd_status_t op_device_open(const psgd_log_t *log, psgd_device_t **device_p)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_status_t      status;

    status = psgd_device_find(NULL, &info);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_device_open(NULL, info.device, NULL, log, device_p);
}

psgd_device_t *op_device(void)
{
    if (shared_device == NULL) {
        assert_ok(op_device_open(NULL, &shared_device));
    }
    return shared_device;
}

void op_device_close(void)
{
    psgd_device_close(shared_device);
    shared_device = NULL;
}

uint32_t op_device_pretend(psgd_device_t *device, uint32_t vector_floats)
{
    const psgd_device_limits_t *limits = psgd_device_limits(device);
    uint32_t                    before = limits->vector_floats;
    psgd_device_limits_t       *writable;

    memcpy(&writable, &limits, sizeof(writable)); /* the struct is not const, the view of it is */
    writable->vector_floats = vector_floats;
    if (!has_pretended) {
        has_pretended         = true;
        vectorizes_work_items = limits->is_cpu && (before == 1);
    }
    writable->is_cpu = (vector_floats > 1) || vectorizes_work_items;
    return before;
}

void op_device_pretend_unified(psgd_device_t *device, bool is_unified)
{
    const psgd_device_limits_t *limits = psgd_device_limits(device);
    psgd_device_limits_t       *writable;

    memcpy(&writable, &limits, sizeof(writable));
    writable->has_unified_memory = is_unified;
}

region_t region_create(psgd_device_t *device, size_t elems, size_t offset_bytes, const float *values)
{
    size_t   offset_elems = offset_bytes / sizeof(float);
    size_t   total        = offset_elems + elems + GUARD_ELEMS;
    float   *host         = test_alloc(total, sizeof(*host));
    region_t region       = {device, {NULL, 0}, {NULL, 0}, elems};

    ck_assert_uint_eq(offset_bytes % sizeof(float), 0);
    for (size_t i = 0; i < total; ++i) {
        host[i] = GUARD;
    }
    for (size_t i = 0; i < elems; ++i) {
        host[offset_elems + i] = (values != NULL) ? values[i] : NAN;
    }
    assert_ok(psgd_buffer_create(device, total * sizeof(float), "a test's region", &region.buffer));
    assert_ok(psgd_buffer_enqueue_write(device, region.buffer, host, total * sizeof(float)));
    assert_ok(psgd_device_wait(device, "a test's region"));
    region.view = psgd_view_at(region.buffer, offset_bytes);
    free(host);
    return region;
}

void region_read(const region_t *region, float *values)
{
    size_t offset_elems = region->view.offset_bytes / sizeof(float);
    size_t total        = offset_elems + region->elems + GUARD_ELEMS;
    float *host         = test_alloc(total, sizeof(*host));
    size_t touched      = 0;

    assert_ok(psgd_buffer_enqueue_read(region->device, region->buffer, host, total * sizeof(float)));
    assert_ok(psgd_device_wait(region->device, "a test's region"));
    for (size_t i = 0; i < total; ++i) {
        if ((i < offset_elems) || (i >= offset_elems + region->elems)) {
            touched += host[i] != GUARD;
        }
    }
    ck_assert_msg(touched == 0, "%zu elements outside the region of %zu at byte %zu were written", touched,
                  region->elems, region->view.offset_bytes);
    memcpy(values, host + offset_elems, region->elems * sizeof(float));
    free(host);
}

void region_write(const region_t *region, const float *values)
{
    assert_ok(psgd_buffer_enqueue_write(region->device, region->view, values, region->elems * sizeof(*values)));
    assert_ok(psgd_device_wait(region->device, "a test's region"));
}

void region_destroy(region_t *region)
{
    psgd_buffer_destroy(region->device, &region->buffer);
    region->view.mem = NULL;
}

/* Where the members begin; between two lie GUARD_ELEMS elements or some more. */
static void lay_out(arena_t *arena, const size_t *elems, size_t seed)
{
    size_t at = (seed % 4) * 5;

    for (size_t i = 0; i < arena->num_members; ++i) {
        arena->begins[i] = at;
        arena->elems[i]  = elems[i];
        at += elems[i] + GUARD_ELEMS + (seed + 7 * i) % 16;
    }
    arena->total = at;
}

arena_t arena_create(psgd_device_t *device, const float *const *values, const size_t *elems, size_t num_members,
                     size_t seed)
{
    arena_t arena = {.device = device, .num_members = num_members};

    arena.begins = test_alloc(num_members, sizeof(*arena.begins));
    arena.elems  = test_alloc(num_members, sizeof(*arena.elems));
    lay_out(&arena, elems, seed);
    arena.image = test_alloc(arena.total, sizeof(*arena.image));
    for (size_t n = 0; n < arena.total; ++n) {
        arena.image[n] = GUARD;
    }
    for (size_t i = 0; i < num_members; ++i) {
        for (size_t n = 0; n < elems[i]; ++n) {
            arena.image[arena.begins[i] + n] = (values[i] != NULL) ? values[i][n] : NAN;
        }
    }
    assert_ok(psgd_buffer_create(device, arena.total * sizeof(float), "a test's arena", &arena.buffer));
    assert_ok(psgd_buffer_enqueue_write(device, arena.buffer, arena.image, arena.total * sizeof(float)));
    assert_ok(psgd_device_wait(device, "a test's arena"));
    return arena;
}

psgd_view_t arena_view(const arena_t *arena, size_t member)
{
    return psgd_view_at(arena->buffer, arena->begins[member] * sizeof(float));
}

void arena_write(const arena_t *arena, size_t member, const float *values)
{
    assert_ok(psgd_buffer_enqueue_write(arena->device, arena_view(arena, member), values,
                                        arena->elems[member] * sizeof(*values)));
    assert_ok(psgd_device_wait(arena->device, "a test's arena"));
}

void arena_read(arena_t *arena)
{
    size_t touched = 0;
    size_t at      = 0;

    assert_ok(psgd_buffer_enqueue_read(arena->device, arena->buffer, arena->image, arena->total * sizeof(float)));
    assert_ok(psgd_device_wait(arena->device, "a test's arena"));
    for (size_t i = 0; i <= arena->num_members; ++i) {
        size_t end = i < arena->num_members ? arena->begins[i] : arena->total;

        for (; at < end; ++at) {
            touched += arena->image[at] != GUARD;
        }
        at += i < arena->num_members ? arena->elems[i] : 0;
    }
    ck_assert_msg(touched == 0, "%zu elements between the %zu members of a buffer were written", touched,
                  arena->num_members);
}

const float *arena_member(const arena_t *arena, size_t member)
{
    return arena->image + arena->begins[member];
}

void arena_destroy(arena_t *arena)
{
    if (arena->device != NULL) {
        psgd_buffer_destroy(arena->device, &arena->buffer);
    }
    free(arena->image);
    free(arena->elems);
    free(arena->begins);
    memset(arena, 0, sizeof(*arena));
}

void *test_alloc(size_t elems, size_t elem_bytes)
{
    void *memory = calloc(elems > 0 ? elems : 1, elem_bytes);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

size_t count_different(const float *a, const float *b, size_t elems)
{
    size_t different = 0;

    for (size_t i = 0; i < elems; ++i) {
        different += memcmp(&a[i], &b[i], sizeof(a[i])) != 0;
    }
    return different;
}

void fill_uniform(float *out, size_t elems, uint64_t stream, float scale)
{
    test_random_fill(out, elems, stream);
    for (size_t i = 0; i < elems; ++i) {
        out[i] *= scale;
    }
}
