#include "device/buffer.h"

#include <stdint.h>

#include "device/cl_device.h"
#include "device/device_internal.h"

enum { WORD_BYTES = 4 }; /* buffers are filled in words, and hold at least one */

static const double MIB = 1024.0 * 1024.0;

psgd_view_t psgd_view_at(psgd_view_t view, size_t bytes)
{
    view.offset_bytes += bytes;
    return view;
}

static psgd_status_t check_allocation(const psgd_device_t *device, size_t bytes, const char *what)
{
    if ((bytes <= SIZE_MAX - WORD_BYTES) && (bytes <= device->limits.max_allocation_bytes)) {
        return PSGD_OK;
    }
    return psgd_fail(
        PSGD_ERR_DEVICE_MEMORY,
        "%s needs one buffer of %zu bytes (%.1f MiB), and the largest that device '%s' allows is %llu bytes "
        "(%.1f MiB)",
        what, bytes, (double)bytes / MIB, device->limits.name, (unsigned long long)device->limits.max_allocation_bytes,
        (double)device->limits.max_allocation_bytes / MIB);
}

static psgd_status_t fail_allocation(const psgd_device_t *device, psgd_status_t status, size_t bytes, const char *what)
{
    return psgd_fail_in(status, "%s needs %zu bytes (%.1f MiB) of device memory, with %.1f MiB held already", what,
                        bytes, (double)bytes / MIB, (double)device->buffer_bytes / MIB);
}

psgd_status_t psgd_buffer_create(psgd_device_t *device, size_t bytes, const char *what, psgd_view_t *view_p)
{
    psgd_view_t   view = {NULL, 0};
    size_t        padded_bytes;
    cl_int        result;
    psgd_status_t status;

    status = check_allocation(device, bytes, what);
    if (status != PSGD_OK) {
        return status;
    }
    padded_bytes = bytes == 0 ? WORD_BYTES : (bytes + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
    view.mem     = clCreateBuffer(device->context, CL_MEM_READ_WRITE, padded_bytes, NULL, &result);
    status       = psgd_cl_check(result, "clCreateBuffer", device->limits.name);
    if (status != PSGD_OK) {
        return fail_allocation(device, status, padded_bytes, what);
    }
    /* Many drivers allocate at first use only, so zeroing is what finds out that the memory is not there. */
    status = psgd_buffer_enqueue_zero(device, view, padded_bytes);
    if (status != PSGD_OK) {
        clReleaseMemObject(view.mem);
        return fail_allocation(device, status, padded_bytes, what);
    }
    device->buffer_bytes += padded_bytes;
    *view_p = view;
    return PSGD_OK;
}

void psgd_buffer_destroy(psgd_device_t *device, psgd_view_t *view)
{
    size_t bytes = 0;

    if (view->mem == NULL) {
        return;
    }
    if (clGetMemObjectInfo(view->mem, CL_MEM_SIZE, sizeof(bytes), &bytes, NULL) == CL_SUCCESS) {
        device->buffer_bytes -= bytes;
    }
    clReleaseMemObject(view->mem);
    view->mem = NULL;
}

psgd_status_t psgd_buffer_enqueue_write(psgd_device_t *device, psgd_view_t to, const void *from, size_t bytes)
{
    return psgd_cl_check(
        clEnqueueWriteBuffer(device->queue, to.mem, CL_FALSE, to.offset_bytes, bytes, from, 0, NULL, NULL),
        "clEnqueueWriteBuffer", device->limits.name);
}

psgd_status_t psgd_buffer_enqueue_read(psgd_device_t *device, psgd_view_t from, void *to, size_t bytes)
{
    return psgd_cl_check(
        clEnqueueReadBuffer(device->queue, from.mem, CL_FALSE, from.offset_bytes, bytes, to, 0, NULL, NULL),
        "clEnqueueReadBuffer", device->limits.name);
}

psgd_status_t psgd_buffer_enqueue_map(psgd_device_t *device, psgd_view_t view, size_t bytes, psgd_map_mode_t mode,
                                      void **pointer_p)
{
    const cl_map_flags flags = mode == PSGD_MAP_READ ? CL_MAP_READ : CL_MAP_WRITE_INVALIDATE_REGION;
    cl_int             result;
    void              *pointer;
    psgd_status_t      status;

    pointer = clEnqueueMapBuffer(device->queue, view.mem, CL_FALSE, flags, view.offset_bytes, bytes, 0, NULL, NULL, &result);
    status  = psgd_cl_check(result, "clEnqueueMapBuffer", device->limits.name);
    if (status == PSGD_OK) {
        *pointer_p = pointer;
    }
    return status;
}

psgd_status_t psgd_buffer_enqueue_unmap(psgd_device_t *device, psgd_view_t view, void *pointer)
{
    return psgd_cl_check(clEnqueueUnmapMemObject(device->queue, view.mem, pointer, 0, NULL, NULL),
                         "clEnqueueUnmapMemObject", device->limits.name);
}

void psgd_buffer_cancel_map(psgd_device_t *device, psgd_view_t view, void *pointer)
{
    clEnqueueUnmapMemObject(device->queue, view.mem, pointer, 0, NULL, NULL);
}

psgd_status_t psgd_pinned_create(psgd_device_t *device, size_t bytes, psgd_pinned_t *pinned_p)
{
    psgd_pinned_t pinned = {NULL, NULL};
    cl_int        result;
    psgd_status_t status;

    pinned.mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_ALLOC_HOST_PTR, bytes, NULL, &result);
    status     = psgd_cl_check(result, "clCreateBuffer(CL_MEM_ALLOC_HOST_PTR)", device->limits.name);
    if (status != PSGD_OK) {
        return status;
    }
    pinned.host = clEnqueueMapBuffer(device->queue, pinned.mem, CL_FALSE, CL_MAP_READ | CL_MAP_WRITE, 0, bytes, 0, NULL, NULL,
                                     &result);
    status      = psgd_cl_check(result, "clEnqueueMapBuffer", device->limits.name);
    if (status == PSGD_OK) {
        status = psgd_device_wait(device, "the mapping of pinned memory");
    }
    if (status != PSGD_OK) {
        clReleaseMemObject(pinned.mem);
        return status;
    }
    *pinned_p = pinned;
    return PSGD_OK;
}

void psgd_pinned_destroy(psgd_device_t *device, psgd_pinned_t *pinned)
{
    if (pinned->mem == NULL) {
        return;
    }
    clEnqueueUnmapMemObject(device->queue, pinned->mem, pinned->host, 0, NULL, NULL);
    clReleaseMemObject(pinned->mem);
    pinned->mem  = NULL;
    pinned->host = NULL;
}

psgd_status_t psgd_buffer_enqueue_copy(psgd_device_t *device, psgd_view_t from, psgd_view_t to, size_t bytes)
{
    return psgd_cl_check(
        clEnqueueCopyBuffer(device->queue, from.mem, to.mem, from.offset_bytes, to.offset_bytes, bytes, 0, NULL, NULL),
        "clEnqueueCopyBuffer", device->limits.name);
}

psgd_status_t psgd_buffer_enqueue_zero(psgd_device_t *device, psgd_view_t view, size_t bytes)
{
    const cl_uint zero = 0;

    return psgd_cl_check(
        clEnqueueFillBuffer(device->queue, view.mem, &zero, sizeof(zero), view.offset_bytes, bytes, 0, NULL, NULL),
        "clEnqueueFillBuffer", device->limits.name);
}
