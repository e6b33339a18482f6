#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORK_GROUP_ITEMS = 64 };

/* The errors that a user can do something about, in words. */
static const char *error_words(cl_int result)
{
    switch (result) {
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE: out of device memory";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES: out of device memory, or a kernel failed";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE: return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_BUFFER_SIZE: return "CL_INVALID_BUFFER_SIZE: larger than the device allows";
    default: return "see CL/cl.h";
    }
}

tool_status_t gpu_check(const gpu_t *gpu, cl_int result, const char *call)
{
    if (result == CL_SUCCESS) {
        return TOOL_OK;
    }
    return tool_fail(TOOL_FAILED, "%s failed on %s: error %d (%s)", call, gpu->info.name, (int)result,
                     error_words(result));
}

tool_status_t gpu_alloc(const gpu_t *gpu, size_t count, size_t elem_bytes, const char *what, cl_mem *mem_p)
{
    const cl_uchar zero   = 0;
    size_t         bytes  = (count > 0 ? count : 1) * elem_bytes;
    cl_int         result = CL_SUCCESS;
    cl_mem         mem    = clCreateBuffer(gpu->context, CL_MEM_READ_WRITE, bytes, NULL, &result);

    if (result == CL_SUCCESS) { /* allocated, on many drivers, only now that it is used */
        result = clEnqueueFillBuffer(gpu->queue, mem, &zero, sizeof(zero), 0, bytes, 0, NULL, NULL);
    }
    if (result != CL_SUCCESS) {
        gpu_free(mem);
        return tool_fail(TOOL_FAILED, "cannot allocate %zu bytes for %s on %s: error %d (%s)", bytes, what,
                         gpu->info.name, (int)result, error_words(result));
    }
    *mem_p = mem;
    return TOOL_OK;
}

void gpu_free(cl_mem mem)
{
    if (mem != NULL) {
        clReleaseMemObject(mem);
    }
}

tool_status_t gpu_zero(const gpu_t *gpu, span_t span, size_t count)
{
    const cl_float zero = 0.0f;

    return gpu_check(gpu,
                     clEnqueueFillBuffer(gpu->queue, span.mem, &zero, sizeof(zero), span.offset * sizeof(float),
                                         count * sizeof(float), 0, NULL, NULL),
                     "clEnqueueFillBuffer");
}

tool_status_t gpu_copy(const gpu_t *gpu, span_t from, span_t to, size_t count)
{
    return gpu_check(gpu,
                     clEnqueueCopyBuffer(gpu->queue, from.mem, to.mem, from.offset * sizeof(float),
                                         to.offset * sizeof(float), count * sizeof(float), 0, NULL, NULL),
                     "clEnqueueCopyBuffer");
}

tool_status_t gpu_write(const gpu_t *gpu, cl_mem to, const void *from, size_t bytes)
{
    return gpu_check(gpu, clEnqueueWriteBuffer(gpu->queue, to, CL_TRUE, 0, bytes, from, 0, NULL, NULL),
                     "clEnqueueWriteBuffer");
}

tool_status_t gpu_read(const gpu_t *gpu, cl_mem from, void *to, size_t bytes)
{
    return gpu_check(gpu, clEnqueueReadBuffer(gpu->queue, from, CL_TRUE, 0, bytes, to, 0, NULL, NULL),
                     "clEnqueueReadBuffer");
}

tool_status_t gpu_wait(const gpu_t *gpu)
{
    return gpu_check(gpu, clFinish(gpu->queue), "clFinish");
}

static void release_program(cl_program program)
{
    if (program != NULL) {
        clReleaseProgram(program);
    }
}

static tool_status_t fail_build(const gpu_t *gpu, cl_program program, const char *file, cl_int result)
{
    char log[2048] = "";

    clGetProgramBuildInfo(program, gpu->info.device, CL_PROGRAM_BUILD_LOG, sizeof(log) - 1, log, NULL);
    return tool_fail(TOOL_FAILED, "%s does not compile on %s (%s, error %d): %s", file, gpu->info.name,
                     gpu->info.driver_version, (int)result, log);
}

/* Compiles one embedded file. */
static tool_status_t build_program(const gpu_t *gpu, const char *file, cl_program *program_p)
{
    char          line[64];
    const char   *texts[2] = {line, NULL};
    cl_int        result   = CL_SUCCESS;
    cl_program    program;
    tool_status_t status;

    for (size_t i = 0; i < gpu->program.num_sources; ++i) {
        if (strcmp(gpu->program.sources[i].file, file) == 0) {
            texts[1] = (const char *)gpu->program.sources[i].text;
        }
    }
    if (texts[1] == NULL) {
        return tool_fail(TOOL_FAILED, "%s is not among the kernels of this program", file);
    }
    snprintf(line, sizeof(line), "#line 1 \"%s\"\n", file);
    program = clCreateProgramWithSource(gpu->context, 2, texts, NULL, &result);
    status  = gpu_check(gpu, result, "clCreateProgramWithSource");
    if (status != TOOL_OK) {
        return status;
    }
    result = clBuildProgram(program, 1, &gpu->info.device, "-cl-std=CL1.2", NULL, NULL);
    if (result != CL_SUCCESS) {
        status = fail_build(gpu, program, file, result);
        clReleaseProgram(program);
        return status;
    }
    *program_p = program;
    return TOOL_OK;
}

/* Takes kernel number `index` from its program, and asks how large its work-groups may be. */
static tool_status_t take_kernel(gpu_t *gpu, size_t index, cl_program program)
{
    const char   *name   = gpu->program.kernels[index].name;
    size_t        most   = 0;
    cl_int        result = CL_SUCCESS;
    tool_status_t status;

    gpu->kernels[index] = clCreateKernel(program, name, &result);
    status              = gpu_check(gpu, result, name);
    if (status == TOOL_OK) {
        result = clGetKernelWorkGroupInfo(gpu->kernels[index], gpu->info.device, CL_KERNEL_WORK_GROUP_SIZE,
                                          sizeof(most), &most, NULL);
        status = gpu_check(gpu, result, "clGetKernelWorkGroupInfo");
    }
    gpu->most_items[index] = most;
    return status;
}

/* Compiles each file once and takes all kernels from it. */
static tool_status_t build_kernels(gpu_t *gpu)
{
    cl_program    program = NULL;
    const char   *file    = ""; /* of `program` */
    tool_status_t status  = TOOL_OK;

    for (size_t i = 0; i < gpu->program.num_kernels && status == TOOL_OK; ++i) {
        if (strcmp(gpu->program.kernels[i].file, file) != 0) {
            release_program(program);
            program = NULL;
            file    = gpu->program.kernels[i].file;
            status  = build_program(gpu, file, &program);
        }
        if (status == TOOL_OK) {
            status = take_kernel(gpu, i, program);
        }
    }
    release_program(program); /* the kernels hold it from now on */
    return status;
}

tool_status_t gpu_open(const psgd_device_info_t *info, const gpu_program_t *program, gpu_t *gpu_p)
{
    gpu_t                 gpu          = {.info = *info, .program = *program};
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)info->platform, 0};
    cl_int                result       = CL_SUCCESS;
    tool_status_t         status;

    gpu.context = clCreateContext(properties, 1, &info->device, NULL, NULL, &result);
    status      = gpu_check(&gpu, result, "clCreateContext");
    if (status == TOOL_OK) {
        gpu.queue = clCreateCommandQueue(gpu.context, info->device, 0, &result);
        status    = gpu_check(&gpu, result, "clCreateCommandQueue");
    }
    if (status == TOOL_OK) {
        status = build_kernels(&gpu);
    }
    if (status != TOOL_OK) {
        gpu_close(&gpu);
        return status;
    }
    *gpu_p = gpu;
    return TOOL_OK;
}

void gpu_close(gpu_t *gpu)
{
    for (size_t i = 0; i < GPU_MAX_KERNELS; ++i) {
        if (gpu->kernels[i] != NULL) {
            clReleaseKernel(gpu->kernels[i]);
        }
        gpu->kernels[i] = NULL;
    }
    if (gpu->queue != NULL) {
        clReleaseCommandQueue(gpu->queue);
    }
    if (gpu->context != NULL) {
        clReleaseContext(gpu->context);
    }
    gpu->queue   = NULL;
    gpu->context = NULL;
}

/* Sets arguments number first .. first + num_args - 1. */
static cl_int set_args(cl_kernel kernel, cl_uint first, const gpu_arg_t *args, size_t num_args)
{
    cl_int result = CL_SUCCESS;

    for (size_t i = 0; i < num_args && result == CL_SUCCESS; ++i) {
        result = clSetKernelArg(kernel, first + (cl_uint)i, args[i].bytes, args[i].value);
    }
    return result;
}

static tool_status_t enqueue(const gpu_t *gpu, size_t kernel, size_t global, size_t group)
{
    return gpu_check(gpu,
                     clEnqueueNDRangeKernel(gpu->queue, gpu->kernels[kernel], 1, NULL, &global, &group, 0, NULL, NULL),
                     gpu->program.kernels[kernel].name);
}

tool_status_t gpu_launch(const gpu_t *gpu, size_t kernel, size_t count, const gpu_arg_t *args, size_t num_args)
{
    cl_uint items  = (cl_uint)count;
    size_t  group  = gpu->most_items[kernel] < WORK_GROUP_ITEMS ? gpu->most_items[kernel] : WORK_GROUP_ITEMS;
    cl_int  result = clSetKernelArg(gpu->kernels[kernel], 0, sizeof(items), &items);

    if (result == CL_SUCCESS) {
        result = set_args(gpu->kernels[kernel], 1, args, num_args);
    }
    if (result != CL_SUCCESS) {
        return gpu_check(gpu, result, "clSetKernelArg");
    }
    return enqueue(gpu, kernel, (count + group - 1) / group * group, group);
}

tool_status_t gpu_launch_groups(const gpu_t *gpu, size_t kernel, size_t groups, size_t group_items,
                                const gpu_arg_t *args, size_t num_args)
{
    cl_int result = set_args(gpu->kernels[kernel], 0, args, num_args);

    if (result != CL_SUCCESS) {
        return gpu_check(gpu, result, "clSetKernelArg");
    }
    return enqueue(gpu, kernel, groups * group_items, group_items);
}
