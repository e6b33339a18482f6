/* An OpenCL device as a program that uses libpsgd would open it, and test data. */
#ifndef PSGD_TESTS_SUPPORT_TEST_DEVICE_H
#define PSGD_TESTS_SUPPORT_TEST_DEVICE_H

#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

typedef struct test_device {
    psgd_device_info_t info;
    cl_device_id       id;
    cl_context         context;
    cl_command_queue   queue; /* in order */
} test_device_t;

/* Opens the device that psgd_device_find(NULL) chooses, with a queue of its own in a context that all of the process's test
 * devices share. These functions return a status and set the last error, in place of failing the test, so that they may be
 * called from any thread. */
psgd_status_t test_device_open(test_device_t *device_p);

/* The same, in a context of its own. */
psgd_status_t test_device_open_apart(test_device_t *device_p);
void test_device_close(test_device_t *device); /* fine where it is all zero */

/* A buffer for `elems` floats. */
psgd_status_t test_buffer_create(const test_device_t *device, size_t elems, cl_mem *mem_p);

/* Blocking transfers. */
psgd_status_t test_buffer_write(const test_device_t *device, cl_mem mem, size_t offset_elems, const float *from,
                                size_t elems);
psgd_status_t test_buffer_read(const test_device_t *device, cl_mem mem, size_t offset_elems, float *to, size_t elems);

/* PSGD_OK, or PSGD_ERR_OPENCL with a sentence that names the call. */
psgd_status_t test_cl_check(cl_int result, const char *call);

/* Uniform in [-1, 1), multiples of 2^-23: a function of (stream, i) alone. */
void test_random_fill(float *out, size_t count, uint64_t stream);

#endif
