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

void op_device_pretend_cpu(psgd_device_t *device, bool is_cpu)
{
    const psgd_device_limits_t *limits = psgd_device_limits(device);
    psgd_device_limits_t       *writable;

    memcpy(&writable, &limits, sizeof(writable)); /* the struct is not const, the view of it is */
    writable->is_cpu = is_cpu;
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

void region_destroy(region_t *region)
{
    psgd_buffer_destroy(region->device, &region->buffer);
    region->view.mem = NULL;
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
