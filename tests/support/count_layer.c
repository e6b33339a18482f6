#include "support/count_layer.h"
#include "support/layer_info.h"

#include <stdbool.h>
#include <string.h>

const char layer_name[] = "psgd_count_layer";

EXPORTED counted_calls_t psgd_counted_calls;

static const cl_icd_dispatch *target; /* the next layer, or the loader; it outlives this layer */
static cl_icd_dispatch        layer;

/* Defines count_<name>(): counts, and hands on. */
#define COUNTED(result_, name_, parameters_, arguments_) \
    static result_ CL_API_CALL count_##name_ parameters_ \
    { \
        psgd_counted_calls.calls[CALL_##name_] += 1; \
        return target->name_ arguments_; \
    }

/* --- kernels ------------------------------------------------------------------------------------------------------ */

COUNTED(cl_int, clEnqueueNDRangeKernel,
        (cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset, const size_t *global,
         const size_t *local, cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, kernel, dims, offset, global, local, num_events, events, event))
COUNTED(cl_int, clEnqueueTask,
        (cl_command_queue queue, cl_kernel kernel, cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, kernel, num_events, events, event))

/* --- buffers ------------------------------------------------------------------------------------------------------ */

COUNTED(cl_int, clEnqueueCopyBuffer,
        (cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t bytes,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, from, to, from_offset, to_offset, bytes, num_events, events, event))
COUNTED(cl_int, clEnqueueCopyBufferRect,
        (cl_command_queue queue, cl_mem from, cl_mem to, const size_t *from_origin, const size_t *to_origin,
         const size_t *region, size_t from_row, size_t from_slice, size_t to_row, size_t to_slice, cl_uint num_events,
         const cl_event *events, cl_event *event),
        (queue, from, to, from_origin, to_origin, region, from_row, from_slice, to_row, to_slice, num_events, events,
         event))
COUNTED(cl_int, clEnqueueFillBuffer,
        (cl_command_queue queue, cl_mem mem, const void *pattern, size_t pattern_bytes, size_t offset, size_t bytes,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, pattern, pattern_bytes, offset, bytes, num_events, events, event))
COUNTED(cl_int, clEnqueueReadBuffer,
        (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, size_t offset, size_t bytes, void *to,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, is_blocking, offset, bytes, to, num_events, events, event))
COUNTED(cl_int, clEnqueueReadBufferRect,
        (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, const size_t *mem_origin, const size_t *to_origin,
         const size_t *region, size_t mem_row, size_t mem_slice, size_t to_row, size_t to_slice, void *to,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, is_blocking, mem_origin, to_origin, region, mem_row, mem_slice, to_row, to_slice, to, num_events,
         events, event))
COUNTED(cl_int, clEnqueueWriteBuffer,
        (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, size_t offset, size_t bytes, const void *from,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, is_blocking, offset, bytes, from, num_events, events, event))
COUNTED(cl_int, clEnqueueWriteBufferRect,
        (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, const size_t *mem_origin, const size_t *from_origin,
         const size_t *region, size_t mem_row, size_t mem_slice, size_t from_row, size_t from_slice, const void *from,
         cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, is_blocking, mem_origin, from_origin, region, mem_row, mem_slice, from_row, from_slice, from,
         num_events, events, event))
COUNTED(void *, clEnqueueMapBuffer,
        (cl_command_queue queue, cl_mem mem, cl_bool is_blocking, cl_map_flags flags, size_t offset, size_t bytes,
         cl_uint num_events, const cl_event *events, cl_event *event, cl_int *result),
        (queue, mem, is_blocking, flags, offset, bytes, num_events, events, event, result))
COUNTED(cl_int, clEnqueueUnmapMemObject,
        (cl_command_queue queue, cl_mem mem, void *mapped, cl_uint num_events, const cl_event *events, cl_event *event),
        (queue, mem, mapped, num_events, events, event))

/* --- what is created ---------------------------------------------------------------------------------------------- */

typedef void(CL_CALLBACK *context_notify_fn)(const char *, const void *, size_t, void *);
typedef void(CL_CALLBACK *program_notify_fn)(cl_program, void *);

COUNTED(cl_context, clCreateContext,
        (const cl_context_properties *properties, cl_uint num_devices, const cl_device_id *devices,
         context_notify_fn notify, void *user, cl_int *result),
        (properties, num_devices, devices, notify, user, result))
COUNTED(cl_context, clCreateContextFromType,
        (const cl_context_properties *properties, cl_device_type type, context_notify_fn notify, void *user,
         cl_int *result),
        (properties, type, notify, user, result))
COUNTED(cl_int, clCreateSubDevices,
        (cl_device_id device, const cl_device_partition_property *properties, cl_uint capacity, cl_device_id *devices,
         cl_uint *count),
        (device, properties, capacity, devices, count))
COUNTED(cl_command_queue, clCreateCommandQueue,
        (cl_context context, cl_device_id device, cl_command_queue_properties properties, cl_int *result),
        (context, device, properties, result))
COUNTED(cl_mem, clCreateBuffer, (cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *result),
        (context, flags, bytes, host, result))
COUNTED(cl_mem, clCreateSubBuffer,
        (cl_mem mem, cl_mem_flags flags, cl_buffer_create_type type, const void *info, cl_int *result),
        (mem, flags, type, info, result))
COUNTED(cl_mem, clCreateImage,
        (cl_context context, cl_mem_flags flags, const cl_image_format *format, const cl_image_desc *desc, void *host,
         cl_int *result),
        (context, flags, format, desc, host, result))
COUNTED(cl_mem, clCreateImage2D,
        (cl_context context, cl_mem_flags flags, const cl_image_format *format, size_t width, size_t height, size_t row,
         void *host, cl_int *result),
        (context, flags, format, width, height, row, host, result))
COUNTED(cl_mem, clCreateImage3D,
        (cl_context context, cl_mem_flags flags, const cl_image_format *format, size_t width, size_t height,
         size_t depth, size_t row, size_t slice, void *host, cl_int *result),
        (context, flags, format, width, height, depth, row, slice, host, result))
COUNTED(cl_sampler, clCreateSampler,
        (cl_context context, cl_bool is_normalized, cl_addressing_mode addressing, cl_filter_mode filter,
         cl_int *result),
        (context, is_normalized, addressing, filter, result))
COUNTED(cl_program, clCreateProgramWithBinary,
        (cl_context context, cl_uint num_devices, const cl_device_id *devices, const size_t *lengths,
         const unsigned char **binaries, cl_int *statuses, cl_int *result),
        (context, num_devices, devices, lengths, binaries, statuses, result))
COUNTED(cl_program, clCreateProgramWithBuiltInKernels,
        (cl_context context, cl_uint num_devices, const cl_device_id *devices, const char *names, cl_int *result),
        (context, num_devices, devices, names, result))
COUNTED(cl_kernel, clCreateKernel, (cl_program program, const char *name, cl_int *result), (program, name, result))
COUNTED(cl_int, clCreateKernelsInProgram, (cl_program program, cl_uint capacity, cl_kernel *kernels, cl_uint *count),
        (program, capacity, kernels, count))
COUNTED(cl_event, clCreateUserEvent, (cl_context context, cl_int *result), (context, result))

/* --- programs ----------------------------------------------------------------------------------------------------- */

/* Every source of CLBlast's begins with definitions, this among them; the names of its files are in comments that it
 * does not keep. */
static bool is_of_clblast(cl_uint count, const char **strings, const size_t *lengths)
{
    static const char mark[] = "#define PRECISION ";
    const size_t      width  = sizeof(mark) - 1;

    for (cl_uint i = 0; i < count; ++i) {
        size_t length = (lengths != NULL) && (lengths[i] != 0) ? lengths[i] : strlen(strings[i]);

        for (size_t at = 0; at + width <= length; ++at) {
            if (memcmp(strings[i] + at, mark, width) == 0) {
                return true;
            }
        }
    }
    return false;
}

static cl_program CL_API_CALL count_clCreateProgramWithSource(cl_context context, cl_uint count, const char **strings,
                                                              const size_t *lengths, cl_int *result)
{
    psgd_counted_calls.calls[CALL_clCreateProgramWithSource] += 1;
    psgd_counted_calls.clblast_sources += is_of_clblast(count, strings, lengths) ? 1 : 0;
    return target->clCreateProgramWithSource(context, count, strings, lengths, result);
}

COUNTED(cl_int, clBuildProgram,
        (cl_program program, cl_uint num_devices, const cl_device_id *devices, const char *options,
         program_notify_fn notify, void *user),
        (program, num_devices, devices, options, notify, user))
COUNTED(cl_int, clCompileProgram,
        (cl_program program, cl_uint num_devices, const cl_device_id *devices, const char *options, cl_uint num_headers,
         const cl_program *headers, const char **names, program_notify_fn notify, void *user),
        (program, num_devices, devices, options, num_headers, headers, names, notify, user))
COUNTED(cl_program, clLinkProgram,
        (cl_context context, cl_uint num_devices, const cl_device_id *devices, const char *options,
         cl_uint num_programs, const cl_program *programs, program_notify_fn notify, void *user, cl_int *result),
        (context, num_devices, devices, options, num_programs, programs, notify, user, result))

/* --- what the loader asks for ------------------------------------------------------------------------------------- */

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    target = target_dispatch;
#define COUNTED_CALL_ROW(name_) layer.name_ = count_##name_;
    COUNTED_CALL_TABLE(COUNTED_CALL_ROW)
#undef COUNTED_CALL_ROW
    return CL_SUCCESS;
}
