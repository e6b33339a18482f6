#include "gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_table.h"

enum { WORK_GROUP_ITEMS = 64 };

#define DECLARE_KERNEL(file_, symbol_) extern const unsigned char psgd_kernel_##symbol_[];
PSGD_KERNEL_TABLE(DECLARE_KERNEL)
#undef DECLARE_KERNEL

typedef struct source {
    const char          *file;
    const unsigned char *text; /* ends in 0x00 */
} source_t;

static const source_t sources[] = {
#define SOURCE_ROW(file_, symbol_) {file_, psgd_kernel_##symbol_},
    PSGD_KERNEL_TABLE(SOURCE_ROW)
#undef SOURCE_ROW
};

enum { NUM_SOURCES = sizeof(sources) / sizeof(sources[0]) };

typedef struct kernel_row {
    const char *file;
    const char *name;
} kernel_row_t;

static const kernel_row_t kernel_rows[GPU_NUM_KERNELS] = {
#define KERNEL_ROW(id_, file_, name_) {file_, name_},
    GPU_KERNEL_TABLE(KERNEL_ROW)
#undef KERNEL_ROW
};

/* The errors that a user can do something about, in words. */
static const char *error_words(cl_int result)
{
    switch (result) {
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE: out of device memory";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES: out of device memory, or a kernel failed";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_BUILD_PROGRAM_FAILURE: return "CL_BUILD_PROGRAM_FAILURE";
    case CL_INVALID_BUFFER_SIZE: return "CL_INVALID_BUFFER_SIZE: larger than the device allows; try a smaller --batch";
    default: return "see CL/cl.h";
    }
}

train_status_t gpu_check(const gpu_t *gpu, cl_int result, const char *call)
{
    if (result == CL_SUCCESS) {
        return TRAIN_OK;
    }
    return train_fail(TRAIN_FAILED, "%s failed on %s: error %d (%s)", call, gpu->info.name, (int)result,
                      error_words(result));
}

train_status_t gpu_alloc(const gpu_t *gpu, size_t count, size_t elem_bytes, const char *what, cl_mem *mem_p)
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
        return train_fail(TRAIN_FAILED, "cannot allocate %zu bytes for %s on %s: error %d (%s)", bytes, what,
                          gpu->info.name, (int)result, error_words(result));
    }
    *mem_p = mem;
    return TRAIN_OK;
}

void gpu_free(cl_mem mem)
{
    if (mem != NULL) {
        clReleaseMemObject(mem);
    }
}

train_status_t gpu_zero(const gpu_t *gpu, span_t span, size_t count)
{
    const cl_float zero = 0.0f;

    return gpu_check(gpu,
                     clEnqueueFillBuffer(gpu->queue, span.mem, &zero, sizeof(zero), span.offset * sizeof(float),
                                         count * sizeof(float), 0, NULL, NULL),
                     "clEnqueueFillBuffer");
}

train_status_t gpu_write(const gpu_t *gpu, cl_mem to, const void *from, size_t bytes)
{
    return gpu_check(gpu, clEnqueueWriteBuffer(gpu->queue, to, CL_TRUE, 0, bytes, from, 0, NULL, NULL),
                     "clEnqueueWriteBuffer");
}

train_status_t gpu_read(const gpu_t *gpu, cl_mem from, void *to, size_t bytes)
{
    return gpu_check(gpu, clEnqueueReadBuffer(gpu->queue, from, CL_TRUE, 0, bytes, to, 0, NULL, NULL),
                     "clEnqueueReadBuffer");
}

train_status_t gpu_wait(const gpu_t *gpu)
{
    return gpu_check(gpu, clFinish(gpu->queue), "clFinish");
}

static void release_program(cl_program program)
{
    if (program != NULL) {
        clReleaseProgram(program);
    }
}

static train_status_t fail_build(const gpu_t *gpu, cl_program program, const char *file, cl_int result)
{
    char log[2048] = "";

    clGetProgramBuildInfo(program, gpu->info.device, CL_PROGRAM_BUILD_LOG, sizeof(log) - 1, log, NULL);
    return train_fail(TRAIN_FAILED, "%s does not compile on %s (%s, error %d): %s", file, gpu->info.name,
                      gpu->info.driver_version, (int)result, log);
}

/* Compiles one embedded file. */
static train_status_t build_program(const gpu_t *gpu, const char *file, cl_program *program_p)
{
    char           line[64];
    const char    *texts[2] = {line, NULL};
    cl_int         result   = CL_SUCCESS;
    cl_program     program;
    train_status_t status;

    for (size_t i = 0; i < NUM_SOURCES; ++i) {
        if (strcmp(sources[i].file, file) == 0) {
            texts[1] = (const char *)sources[i].text;
        }
    }
    if (texts[1] == NULL) {
        return train_fail(TRAIN_FAILED, "%s is not among the kernels of this program", file);
    }
    snprintf(line, sizeof(line), "#line 1 \"%s\"\n", file);
    program = clCreateProgramWithSource(gpu->context, 2, texts, NULL, &result);
    status  = gpu_check(gpu, result, "clCreateProgramWithSource");
    if (status != TRAIN_OK) {
        return status;
    }
    result = clBuildProgram(program, 1, &gpu->info.device, "-cl-std=CL1.2", NULL, NULL);
    if (result != CL_SUCCESS) {
        status = fail_build(gpu, program, file, result);
        clReleaseProgram(program);
        return status;
    }
    *program_p = program;
    return TRAIN_OK;
}

/* Takes kernel number `index` from its program, and asks how large its work-groups may be. */
static train_status_t take_kernel(gpu_t *gpu, size_t index, cl_program program)
{
    const char    *name   = kernel_rows[index].name;
    size_t         most   = 0;
    cl_int         result = CL_SUCCESS;
    train_status_t status;

    gpu->kernels[index] = clCreateKernel(program, name, &result);
    status              = gpu_check(gpu, result, name);
    if (status == TRAIN_OK) {
        result = clGetKernelWorkGroupInfo(gpu->kernels[index], gpu->info.device, CL_KERNEL_WORK_GROUP_SIZE,
                                          sizeof(most), &most, NULL);
        status = gpu_check(gpu, result, "clGetKernelWorkGroupInfo");
    }
    gpu->group_items[index] = most < WORK_GROUP_ITEMS ? most : WORK_GROUP_ITEMS;
    return status;
}

/* Compiles each file once and takes all kernels from it. */
static train_status_t build_kernels(gpu_t *gpu)
{
    cl_program     program = NULL;
    const char    *file    = ""; /* of `program` */
    train_status_t status  = TRAIN_OK;

    for (size_t i = 0; i < GPU_NUM_KERNELS && status == TRAIN_OK; ++i) {
        if (strcmp(kernel_rows[i].file, file) != 0) {
            release_program(program);
            program = NULL;
            file    = kernel_rows[i].file;
            status  = build_program(gpu, file, &program);
        }
        if (status == TRAIN_OK) {
            status = take_kernel(gpu, i, program);
        }
    }
    release_program(program); /* the kernels hold it from now on */
    return status;
}

train_status_t gpu_open(const psgd_device_info_t *info, gpu_t *gpu_p)
{
    gpu_t                 gpu          = {.info = *info};
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)info->platform, 0};
    cl_int                result       = CL_SUCCESS;
    train_status_t        status;

    gpu.context = clCreateContext(properties, 1, &info->device, NULL, NULL, &result);
    status      = gpu_check(&gpu, result, "clCreateContext");
    if (status == TRAIN_OK) {
        gpu.queue = clCreateCommandQueue(gpu.context, info->device, 0, &result);
        status    = gpu_check(&gpu, result, "clCreateCommandQueue");
    }
    if (status == TRAIN_OK) {
        status = build_kernels(&gpu);
    }
    if (status != TRAIN_OK) {
        gpu_close(&gpu);
        return status;
    }
    *gpu_p = gpu;
    return TRAIN_OK;
}

void gpu_close(gpu_t *gpu)
{
    for (size_t i = 0; i < GPU_NUM_KERNELS; ++i) {
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

train_status_t gpu_launch(const gpu_t *gpu, gpu_kernel_t kernel, size_t count, const gpu_arg_t *args, size_t num_args)
{
    cl_kernel handle = gpu->kernels[kernel];
    cl_uint   items  = (cl_uint)count;
    size_t    group  = gpu->group_items[kernel];
    size_t    global = (count + group - 1) / group * group;
    cl_int    result = clSetKernelArg(handle, 0, sizeof(items), &items);

    for (size_t i = 0; i < num_args && result == CL_SUCCESS; ++i) {
        result = clSetKernelArg(handle, (cl_uint)i + 1, args[i].bytes, args[i].value);
    }
    if (result != CL_SUCCESS) {
        return gpu_check(gpu, result, "clSetKernelArg");
    }
    return gpu_check(gpu, clEnqueueNDRangeKernel(gpu->queue, handle, 1, NULL, &global, &group, 0, NULL, NULL),
                     kernel_rows[kernel].name);
}
