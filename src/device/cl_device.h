/* The OpenCL handles of a device: for src/api (which wraps the caller's) and src/ops (CLBlast) alone. */
#ifndef PSGD_DEVICE_CL_DEVICE_H
#define PSGD_DEVICE_CL_DEVICE_H

#include <psgd/psgd.h>

#include "device/device.h"
#include "device/gate.h"

/* Opens `id` in `context`. queue: the caller's, retained, used directly where it is in order; where it is out of order, and
 * where it is NULL, a queue of our own (psgd_device_fence orders the two). context NULL: a context of our own.
 * Checks that device and queue belong to the context and to each other, and that the device is usable.
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_DEVICE_UNSUITABLE, PSGD_ERR_OPENCL, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_device_open(cl_context context, cl_device_id id, cl_command_queue queue, const psgd_log_t *log,
                               psgd_device_t **device_p);

cl_context       psgd_device_context(const psgd_device_t *device);
cl_device_id     psgd_device_id(const psgd_device_t *device);
cl_command_queue psgd_device_queue(const psgd_device_t *device); /* the in-order queue that all work goes to */

/* These events of the caller's, which are retained; num_events of 0 adds nothing. PSGD_ERR_INVALID_ARGUMENT where one is none, or of
 * another context; then none is added. */
psgd_status_t psgd_gate_add_events(psgd_gate_t *gate, psgd_device_t *device, size_t num_events, const cl_event *events);

/* The mark as an event for the caller, who releases it; a mark that is none is set first. */
psgd_status_t psgd_device_event_of_mark(psgd_device_t *device, psgd_mark_t *mark, cl_event *event_p);

/* PSGD_OK where `result` is CL_SUCCESS; else a sentence with the call's name, the error's name and number, and the device.
 * Memory errors (-4, -5, -6, -61) map to PSGD_ERR_DEVICE_MEMORY or PSGD_ERR_HOST_MEMORY, the others to PSGD_ERR_OPENCL. */
psgd_status_t psgd_cl_check(cl_int result, const char *call, const char *device_name);

/* The name of an OpenCL error, "CL_OUT_OF_RESOURCES". */
const char *psgd_cl_error_name(cl_int result);

#endif
