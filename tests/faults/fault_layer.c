#include "faults/fault_layer.h"
#include "support/layer_info.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

const char layer_name[] = "psgd_fault_layer";

EXPORTED fault_plan_t psgd_fault_plan;

static const cl_icd_dispatch *target; /* the next layer, or the loader; it outlives this layer */
static cl_icd_dispatch        layer;

static _Thread_local bool polls; /* the last call of this thread's was clGetEventInfo() */

/* Whether this call fails. */
static bool fires(const char *name)
{
    fault_plan_t *plan    = &psgd_fault_plan;
    const bool    is_poll = strcmp(name, "clGetEventInfo") == 0, was_poll = polls;
    int64_t       left;

    polls = is_poll;
    if ((plan->victim == 0) || (plan->victim != (uint64_t)pthread_self())) {
        return false;
    }
    if (is_poll && was_poll) {
        return false; /* how often a command is looked at depends on the clock: once in a row counts */
    }
    plan->calls += 1;
    left = --plan->countdown;
    if ((left > 0) || ((left < 0) && !plan->persists)) {
        return false;
    }
    plan->name = plan->name == NULL ? name : plan->name;
    plan->fired += 1;
    return true;
}

/* Calls that return a status. */
#define FAULTY(name_, parameters_, arguments_) \
    static cl_int CL_API_CALL fault_##name_ parameters_ \
    { \
        return fires(#name_) ? psgd_fault_plan.code : target->name_ arguments_; \
    }

/* Calls that make something, and write a status. */
#define FAULTY_MAKER(type_, object_, name_, parameters_, arguments_) \
    static type_ CL_API_CALL fault_##name_ parameters_ \
    { \
        type_ made; \
        if (fires(#name_)) { \
            if (result != NULL) { \
                *result = psgd_fault_plan.code; \
            } \
            return NULL; \
        } \
        made = target->name_ arguments_; \
        psgd_fault_plan.live[object_] += made != NULL ? 1 : 0; \
        return made; \
    }

/* Calls that enqueue something and may hand out an event. */
#define FAULTY_EVENT(name_, parameters_, arguments_) \
    static cl_int CL_API_CALL fault_##name_ parameters_ \
    { \
        cl_int result; \
        if (fires(#name_)) { \
            return psgd_fault_plan.code; \
        } \
        result = target->name_ arguments_; \
        psgd_fault_plan.live[OBJECT_EVENT] += (result == CL_SUCCESS) && (event != NULL) ? 1 : 0; \
        return result; \
    }

/* A reference taken, or given back; neither fails: what cannot be given back nobody can repair. */
#define COUNTED(name_, type_, object_, by_) \
    static cl_int CL_API_CALL fault_##name_(type_ handle) \
    { \
        psgd_fault_plan.live[object_] += (by_); \
        return target->name_(handle); \
    }

typedef void(CL_CALLBACK *context_notify_fn)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *program_notify_fn)(cl_program, void *);

FAULTY(clGetPlatformIDs, (cl_uint capacity, cl_platform_id *ids, cl_uint *count), (capacity, ids, count))
FAULTY(clGetPlatformInfo, (cl_platform_id id, cl_platform_info what, size_t capacity, void *out, size_t *bytes),
       (id, what, capacity, out, bytes))
FAULTY(clGetDeviceIDs, (cl_platform_id id, cl_device_type type, cl_uint capacity, cl_device_id *ids, cl_uint *count),
       (id, type, capacity, ids, count))
FAULTY(clGetDeviceInfo, (cl_device_id id, cl_device_info what, size_t capacity, void *out, size_t *bytes),
       (id, what, capacity, out, bytes))
FAULTY(clGetContextInfo, (cl_context context, cl_context_info what, size_t capacity, void *out, size_t *bytes),
       (context, what, capacity, out, bytes))
FAULTY(clGetCommandQueueInfo,
       (cl_command_queue queue, cl_command_queue_info what, size_t capacity, void *out, size_t *bytes),
       (queue, what, capacity, out, bytes))
FAULTY(clGetMemObjectInfo, (cl_mem mem, cl_mem_info what, size_t capacity, void *out, size_t *bytes),
       (mem, what, capacity, out, bytes))
FAULTY(clGetEventInfo, (cl_event event, cl_event_info what, size_t capacity, void *out, size_t *bytes),
       (event, what, capacity, out, bytes))
FAULTY(clGetProgramInfo, (cl_program program, cl_program_info what, size_t capacity, void *out, size_t *bytes),
       (program, what, capacity, out, bytes))
FAULTY(clGetProgramBuildInfo,
       (cl_program program, cl_device_id id, cl_program_build_info what, size_t capacity, void *out, size_t *bytes),
       (program, id, what, capacity, out, bytes))
FAULTY(clGetKernelWorkGroupInfo,
       (cl_kernel kernel, cl_device_id id, cl_kernel_work_group_info what, size_t capacity, void *out, size_t *bytes),
       (kernel, id, what, capacity, out, bytes))
FAULTY(clBuildProgram,
       (cl_program program, cl_uint num_devices, const cl_device_id *devices, const char *options,
        program_notify_fn notify, void *user),
       (program, num_devices, devices, options, notify, user))
FAULTY(clSetKernelArg, (cl_kernel kernel, cl_uint index, size_t bytes, const void *value),
       (kernel, index, bytes, value))
FAULTY(clFlush, (cl_command_queue queue), (queue))
FAULTY(clFinish, (cl_command_queue queue), (queue))
FAULTY(clWaitForEvents, (cl_uint count, const cl_event *events), (count, events))
FAULTY_EVENT(clEnqueueNDRangeKernel,
             (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
              const size_t *local, cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, kernel, dims, offset, global, local, num_events, events, event))
FAULTY_EVENT(clEnqueueCopyBuffer,
             (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t bytes,
              cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, from, to, from_offset, to_offset, bytes, num_events, events, event))
FAULTY_EVENT(clEnqueueFillBuffer,
             (cl_command_queue queue, cl_mem mem, const void *pattern, size_t pattern_bytes, size_t offset,
              size_t bytes, cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, mem, pattern, pattern_bytes, offset, bytes, num_events, events, event))
FAULTY_EVENT(clEnqueueReadBuffer,
             (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, size_t offset, size_t bytes, void *to,
              cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, mem, is_blocking, offset, bytes, to, num_events, events, event))
FAULTY_EVENT(clEnqueueWriteBuffer,
             (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, size_t offset, size_t bytes, const void *from,
              cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, mem, is_blocking, offset, bytes, from, num_events, events, event))
FAULTY_EVENT(clEnqueueUnmapMemObject,
             (cl_command_queue queue, cl_mem mem, void *mapped, cl_uint num_events, const cl_event *events,
              cl_event *event),
             (queue, mem, mapped, num_events, events, event))
FAULTY_EVENT(clEnqueueMarkerWithWaitList,
             (cl_command_queue queue, cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, num_events, events, event))
FAULTY_EVENT(clEnqueueBarrierWithWaitList,
             (cl_command_queue queue, cl_uint num_events, const cl_event *events, cl_event *event),
             (queue, num_events, events, event))
FAULTY_MAKER(cl_context, OBJECT_CONTEXT, clCreateContext,
             (const cl_context_properties *properties, cl_uint num_devices, const cl_device_id *devices,
              context_notify_fn notify, void *user, cl_int *result),
             (properties, num_devices, devices, notify, user, result))
FAULTY_MAKER(cl_command_queue, OBJECT_QUEUE, clCreateCommandQueue,
             (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *result),
             (context, device, properties, result))
FAULTY_MAKER(cl_mem, OBJECT_MEM, clCreateBuffer,
             (cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *result),
             (context, flags, bytes, host, result))
FAULTY_MAKER(cl_program, OBJECT_PROGRAM, clCreateProgramWithSource,
             (cl_context context, cl_uint count, const char **strings, const size_t *lengths, cl_int *result),
             (context, count, strings, lengths, result))
FAULTY_MAKER(cl_program, OBJECT_PROGRAM, clCreateProgramWithBinary,
             (cl_context context, cl_uint num_devices, const cl_device_id *devices, const size_t *lengths,
              const unsigned char **binaries, cl_int *statuses, cl_int *result),
             (context, num_devices, devices, lengths, binaries, statuses, result))
FAULTY_MAKER(cl_kernel, OBJECT_KERNEL, clCreateKernel, (cl_program program, const char *name, cl_int *result),
             (program, name, result))
COUNTED(clRetainContext, cl_context, OBJECT_CONTEXT, 1)
COUNTED(clReleaseContext, cl_context, OBJECT_CONTEXT, -1)
COUNTED(clRetainCommandQueue, cl_command_queue, OBJECT_QUEUE, 1)
COUNTED(clReleaseCommandQueue, cl_command_queue, OBJECT_QUEUE, -1)
COUNTED(clRetainMemObject, cl_mem, OBJECT_MEM, 1)
COUNTED(clReleaseMemObject, cl_mem, OBJECT_MEM, -1)
COUNTED(clRetainProgram, cl_program, OBJECT_PROGRAM, 1)
COUNTED(clReleaseProgram, cl_program, OBJECT_PROGRAM, -1)
COUNTED(clRetainKernel, cl_kernel, OBJECT_KERNEL, 1)
COUNTED(clReleaseKernel, cl_kernel, OBJECT_KERNEL, -1)
COUNTED(clRetainEvent, cl_event, OBJECT_EVENT, 1)
COUNTED(clReleaseEvent, cl_event, OBJECT_EVENT, -1)

/* The mapped pointer is no object, but may hand out an event too. */
static void *CL_API_CALL fault_clEnqueueMapBuffer(cl_command_queue queue, cl_mem mem, cl_bool is_blocking,
                                                  cl_map_flags flags, size_t offset, size_t bytes, cl_uint num_events,
                                                  const cl_event *events, cl_event *event, cl_int *result)
{
    void *mapped;

    if (fires("clEnqueueMapBuffer")) {
        if (result != NULL) {
            *result = psgd_fault_plan.code;
        }
        return NULL;
    }
    mapped =
        target->clEnqueueMapBuffer(queue, mem, is_blocking, flags, offset, bytes, num_events, events, event, result);
    psgd_fault_plan.live[OBJECT_EVENT] += (mapped != NULL) && (event != NULL) ? 1 : 0;
    return mapped;
}

#define LAYER_TABLE(ROW) \
    ROW(clGetPlatformIDs) \
    ROW(clGetPlatformInfo) ROW(clGetDeviceIDs) ROW(clGetDeviceInfo) ROW(clGetContextInfo) ROW(clGetCommandQueueInfo) \
        ROW(clGetMemObjectInfo) ROW(clGetEventInfo) ROW(clGetProgramInfo) ROW(clGetProgramBuildInfo) \
            ROW(clGetKernelWorkGroupInfo) ROW(clBuildProgram) ROW(clSetKernelArg) ROW(clFlush) ROW(clFinish) \
                ROW(clWaitForEvents) ROW(clEnqueueNDRangeKernel) ROW(clEnqueueCopyBuffer) ROW(clEnqueueFillBuffer) \
                    ROW(clEnqueueReadBuffer) ROW(clEnqueueWriteBuffer) ROW(clEnqueueUnmapMemObject) \
                        ROW(clEnqueueMarkerWithWaitList) ROW(clEnqueueBarrierWithWaitList) ROW(clCreateContext) \
                            ROW(clCreateCommandQueue) ROW(clCreateBuffer) ROW(clCreateProgramWithSource) \
                                ROW(clCreateProgramWithBinary) ROW(clCreateKernel) ROW(clEnqueueMapBuffer) \
                                    ROW(clRetainContext) ROW(clReleaseContext) ROW(clRetainCommandQueue) \
                                        ROW(clReleaseCommandQueue) ROW(clRetainMemObject) ROW(clReleaseMemObject) \
                                            ROW(clRetainProgram) ROW(clReleaseProgram) ROW(clRetainKernel) \
                                                ROW(clReleaseKernel) ROW(clRetainEvent) ROW(clReleaseEvent)

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    target = target_dispatch;
#define ROW(name_) layer.name_ = fault_##name_;
    LAYER_TABLE(ROW)
#undef ROW
    return CL_SUCCESS;
}
