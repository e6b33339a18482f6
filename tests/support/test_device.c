#include "support/test_device.h"

#include <pthread.h>
#include <string.h>

#include "base/status.h"

psgd_status_t test_cl_check(cl_int result, const char *call)
{
    return (result == CL_SUCCESS) ? PSGD_OK : psgd_fail(PSGD_ERR_OPENCL, "the test's %s failed: %d", call, (int)result);
}

static psgd_status_t create_context(const psgd_device_info_t *info, cl_context *context_p)
{
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)info->platform, 0};
    cl_int                      result;

    *context_p = clCreateContext(properties, 1, &info->device, NULL, NULL, &result);
    return test_cl_check(result, "clCreateContext");
}

/* Kept until the process ends: programs are compiled once a context (program_layer.c). */
static psgd_status_t retain_shared_context(const psgd_device_info_t *info, cl_context *context_p)
{
    static pthread_mutex_t mutex   = PTHREAD_MUTEX_INITIALIZER;
    static cl_context      context = NULL;
    psgd_status_t          status  = PSGD_OK;

    pthread_mutex_lock(&mutex);
    if (context == NULL) {
        status = create_context(info, &context);
    }
    if (status == PSGD_OK) {
        status = test_cl_check(clRetainContext(context), "clRetainContext");
    }
    *context_p = context;
    pthread_mutex_unlock(&mutex);
    return status;
}

static psgd_status_t open_in_context(psgd_status_t (*take_context)(const psgd_device_info_t *, cl_context *),
                                     test_device_t *device_p)
{
    test_device_t device = {PSGD_DEVICE_INFO_INIT, NULL, NULL, NULL};
    psgd_status_t status;
    cl_int        result;

    status = psgd_device_find(NULL, &device.info);
    if (status != PSGD_OK) {
        return status;
    }
    device.id = device.info.device;
    status    = take_context(&device.info, &device.context);
    if (status != PSGD_OK) {
        return status;
    }
    device.queue = clCreateCommandQueue(device.context, device.id, 0, &result);
    status       = test_cl_check(result, "clCreateCommandQueue");
    if (status != PSGD_OK) {
        clReleaseContext(device.context);
        return status;
    }
    *device_p = device;
    return PSGD_OK;
}

psgd_status_t test_device_open(test_device_t *device_p)
{
    return open_in_context(retain_shared_context, device_p);
}

psgd_status_t test_device_open_apart(test_device_t *device_p)
{
    return open_in_context(create_context, device_p);
}

void test_device_close(test_device_t *device)
{
    if (device->queue != NULL) {
        clReleaseCommandQueue(device->queue);
    }
    if (device->context != NULL) {
        clReleaseContext(device->context);
    }
    memset(device, 0, sizeof(*device));
}

psgd_status_t test_buffer_create(const test_device_t *device, size_t elems, cl_mem *mem_p)
{
    cl_int result;
    cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE, elems * sizeof(float), NULL, &result);

    if (result != CL_SUCCESS) {
        return test_cl_check(result, "clCreateBuffer");
    }
    *mem_p = mem;
    return PSGD_OK;
}

psgd_status_t test_buffer_write(const test_device_t *device, cl_mem mem, size_t offset_elems, const float *from,
                                size_t elems)
{
    return test_cl_check(clEnqueueWriteBuffer(device->queue, mem, CL_TRUE, offset_elems * sizeof(float),
                                              elems * sizeof(float), from, 0, NULL, NULL), "clEnqueueWriteBuffer");
}

psgd_status_t test_buffer_read(const test_device_t *device, cl_mem mem, size_t offset_elems, float *to, size_t elems)
{
    return test_cl_check(clEnqueueReadBuffer(device->queue, mem, CL_TRUE, offset_elems * sizeof(float),
                                             elems * sizeof(float), to, 0, NULL, NULL), "clEnqueueReadBuffer");
}

/* SplitMix64: a counter, mixed. */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

void test_random_fill(float *out, size_t count, uint64_t stream)
{
    uint64_t start = mix(stream);

    for (size_t i = 0; i < count; ++i) {
        uint64_t bits24 = mix(start + i * UINT64_C(0x9E3779B97F4A7C15)) >> 40;

        out[i] = ((float)bits24 - 8388608.0f) / 8388608.0f;
    }
}
