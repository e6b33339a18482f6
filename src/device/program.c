#include "device/program.h"

#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "base/memory.h"
#include "device/cl_device.h"
#include "device/device_internal.h"
#include "device/sources.h"

struct psgd_program {
    psgd_program_t *next; /* of the device's list */
    psgd_device_t  *device;
    cl_program      program;
    char            file[128];
    char            options[1024];
    char           *text;
};

struct psgd_kernel {
    cl_kernel kernel;
    size_t    max_work_group_size;
    char      name[128];
};

/* ---- programs ---- */

/* The compiler's words, or a sentence in their place; *log_p is freed by psgd_free(). */
static psgd_status_t get_build_log(const psgd_program_t *program, char **log_p)
{
    cl_device_id  id    = program->device->id;
    size_t        bytes = 0;
    char         *log   = NULL;
    cl_int        result;
    psgd_status_t status;

    result = clGetProgramBuildInfo(program->program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    status = result == CL_SUCCESS ? psgd_alloc(bytes + 1, 1, "a build log", &log) : PSGD_OK;
    if ((result != CL_SUCCESS) || (status != PSGD_OK)) {
        return psgd_copy_string("(the driver gives no build log)", "a build log", log_p);
    }
    result = clGetProgramBuildInfo(program->program, id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    if (result != CL_SUCCESS) {
        log[0] = '\0';
    }
    *log_p = log;
    return PSGD_OK;
}

static psgd_status_t fail_build(const psgd_program_t *program, cl_int result)
{
    const psgd_device_limits_t *limits = &program->device->limits;
    char                       *log    = NULL;
    psgd_status_t               status;

    status = get_build_log(program, &log);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_fail(
        PSGD_ERR_BUILD, "cannot compile %s with '%s' for device '%s' (%s): %s (%d); the compiler says:\n%s",
        program->file, program->options, limits->name, limits->driver, psgd_cl_error_name(result), (int)result, log);
    psgd_free(log);
    return status;
}

static psgd_status_t compile(psgd_program_t *program)
{
    const char   *name   = program->device->limits.name;
    const char   *text   = program->text;
    size_t        length = strlen(text);
    uint64_t      start_ns;
    cl_int        result;
    psgd_status_t status;

    program->program = clCreateProgramWithSource(program->device->context, 1, &text, &length, &result);
    status           = psgd_cl_check(result, "clCreateProgramWithSource", name);
    if (status != PSGD_OK) {
        return psgd_fail_in(status, "%s", program->file);
    }
    start_ns = psgd_now_ns();
    result   = clBuildProgram(program->program, 1, &program->device->id, program->options, NULL, NULL);
    if (result == CL_OUT_OF_HOST_MEMORY) {
        return psgd_fail_in(psgd_cl_check(result, "clBuildProgram", name), "%s", program->file);
    }
    if (result != CL_SUCCESS) {
        return fail_build(program, result);
    }
    psgd_log(&program->device->log, PSGD_LOG_DEBUG, "compiled %s with '%s' in %.1f ms", program->file, program->options,
             (double)(psgd_now_ns() - start_ns) * 1e-6);
    return PSGD_OK;
}

static void destroy(psgd_program_t *program)
{
    if (program->program != NULL) {
        clReleaseProgram(program->program);
    }
    psgd_free(program->text);
    psgd_free(program);
}

void psgd_programs_destroy(psgd_program_t *programs)
{
    while (programs != NULL) {
        psgd_program_t *next = programs->next;

        destroy(programs);
        programs = next;
    }
}

static psgd_status_t prepare(psgd_device_t *device, const char *file, const char *options, psgd_program_t **program_p)
{
    psgd_program_t *program = NULL;
    psgd_status_t   status;
    int             length;

    status = psgd_alloc(1, sizeof(*program), "a program", &program);
    if (status != PSGD_OK) {
        return status;
    }
    program->device = device;
    snprintf(program->file, sizeof(program->file), "%s", file);
    length = snprintf(program->options, sizeof(program->options), "-cl-std=CL1.2%s%s", options[0] != '\0' ? " " : "",
                      options);
    if ((length < 0) || ((size_t)length >= sizeof(program->options))) {
        status = psgd_fail(PSGD_ERR_INTERNAL, "the compiler options of %s are longer than %zu bytes", file,
                           sizeof(program->options) - 1);
    } else {
        status = psgd_source_load(file, psgd_env_value(PSGD_ENV_KERNEL_DIR), &program->text);
    }
    if (status != PSGD_OK) {
        destroy(program);
        return status;
    }
    *program_p = program;
    return PSGD_OK;
}

/* The text is compared too: a file in PSGD_KERNEL_DIR may change. */
static psgd_program_t *find_like(const psgd_program_t *wanted)
{
    psgd_program_t *program = wanted->device->programs;

    while ((program != NULL) &&
           ((strcmp(program->options, wanted->options) != 0) || (strcmp(program->file, wanted->file) != 0) ||
            (strcmp(program->text, wanted->text) != 0))) {
        program = program->next;
    }
    return program;
}

psgd_status_t psgd_program_get(psgd_device_t *device, const char *file, const char *options, psgd_program_t **program_p)
{
    psgd_program_t *program = NULL;
    psgd_program_t *known;
    psgd_status_t   status;

    status = prepare(device, file, options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    known = find_like(program);
    if (known != NULL) {
        destroy(program);
        *program_p = known;
        return PSGD_OK;
    }
    status = compile(program);
    if (status != PSGD_OK) {
        destroy(program);
        return status;
    }
    program->next    = device->programs;
    device->programs = program;
    *program_p       = program;
    return PSGD_OK;
}

/* ---- kernels ---- */

psgd_status_t psgd_kernel_create(psgd_program_t *program, const char *name, psgd_kernel_t **kernel_p)
{
    const char    *device_name = program->device->limits.name;
    psgd_kernel_t *kernel      = NULL;
    cl_int         result;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*kernel), "a kernel", &kernel);
    if (status != PSGD_OK) {
        return status;
    }
    snprintf(kernel->name, sizeof(kernel->name), "%s", name);
    kernel->kernel = clCreateKernel(program->program, name, &result);
    status         = psgd_cl_check(result, "clCreateKernel", device_name);
    if (status == PSGD_OK) {
        status = psgd_cl_check(clGetKernelWorkGroupInfo(kernel->kernel, program->device->id, CL_KERNEL_WORK_GROUP_SIZE,
                                                        sizeof(kernel->max_work_group_size),
                                                        &kernel->max_work_group_size, NULL),
                               "clGetKernelWorkGroupInfo(CL_KERNEL_WORK_GROUP_SIZE)", device_name);
    }
    if (status != PSGD_OK) {
        psgd_kernel_destroy(kernel);
        return psgd_fail_in(status, "kernel %s of %s", name, program->file);
    }
    *kernel_p = kernel;
    return PSGD_OK;
}

void psgd_kernel_destroy(psgd_kernel_t *kernel)
{
    if (kernel == NULL) {
        return;
    }
    if (kernel->kernel != NULL) {
        clReleaseKernel(kernel->kernel);
    }
    psgd_free(kernel);
}

size_t psgd_kernel_max_work_group_size(const psgd_kernel_t *kernel)
{
    return kernel->max_work_group_size;
}

psgd_status_t psgd_kernel_enqueue(psgd_device_t *device, psgd_kernel_t *kernel, unsigned dims, const size_t *global,
                                  const size_t *local, const psgd_arg_t *args, size_t num_args)
{
    const char   *name = device->limits.name;
    psgd_status_t status;

    for (size_t i = 0; i < num_args; ++i) {
        status = psgd_cl_check(clSetKernelArg(kernel->kernel, (cl_uint)i, args[i].bytes, args[i].value),
                               "clSetKernelArg", name);
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "kernel %s, argument %zu of %zu bytes", kernel->name, i, args[i].bytes);
        }
    }
    status =
        psgd_cl_check(clEnqueueNDRangeKernel(device->queue, kernel->kernel, dims, NULL, global, local, 0, NULL, NULL),
                      "clEnqueueNDRangeKernel", name);
    if (status != PSGD_OK) {
        return psgd_fail_in(status, "kernel %s", kernel->name);
    }
    psgd_device_count_launch(device);
    return PSGD_OK;
}
