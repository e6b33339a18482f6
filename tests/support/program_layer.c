/* An OpenCL layer (cl_loader_layers; ocl-icd: OPENCL_LAYERS=libpsgd_program_layer.so) that has a process compile a program
 * once: where the same text is built again with the same options for the same context, kernels come from the program that
 * was built before. Tests create hundreds of reducers a process; PoCL looks into its cache only after preprocessing the
 * text and all of its own headers, which would be most of what those tests do.
 *
 * PSGD_TEST_BUILD_OPTIONS, where it is set, goes behind the options of every build: tests/mutation compiles without optimization. */
#define _GNU_SOURCE /* pthread_mutex_t */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/layer_info.h"

const char layer_name[] = "psgd_program_layer";

/* A program of the process. */
typedef struct program {
    struct program *next;
    cl_program      handle;
    cl_context      context;
    cl_uint         references; /* of the process; 0: kept here alone, for others to share */
    char           *text;
    char           *options; /* NULL before it is built */
    struct program *shared;  /* whose kernels stand in for its own; else NULL */
} program_t;

static const cl_icd_dispatch *target; /* the next layer, or the loader; it outlives this layer */
static cl_icd_dispatch        layer;
static pthread_mutex_t        mutex = PTHREAD_MUTEX_INITIALIZER;
static program_t             *programs;

static void lock(void)
{
    pthread_mutex_lock(&mutex);
}

static void unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static program_t *find(cl_program handle)
{
    program_t *program = programs;

    while ((program != NULL) && ((program->handle != handle) || (program->references == 0))) {
        program = program->next;
    }
    return program;
}

static program_t *find_built(const program_t *wanted, const char *options)
{
    program_t *program = programs;

    while ((program != NULL) &&
           ((program->context != wanted->context) || (program->options == NULL) || (program->shared != NULL) ||
            (strcmp(program->options, options) != 0) || (strcmp(program->text, wanted->text) != 0))) {
        program = program->next;
    }
    return program;
}

/* The handle that knows the kernels. */
static cl_program handle_of(cl_program handle)
{
    program_t *program;

    lock();
    program = find(handle);
    handle  = (program != NULL) && (program->shared != NULL) ? program->shared->handle : handle;
    unlock();
    return handle;
}

static void forget(program_t *program)
{
    program_t **at = &programs;

    while (*at != program) {
        at = &(*at)->next;
    }
    *at = program->next;
    free(program->options);
    free(program->text);
    free(program);
}

/* --- the calls that matter here ----------------------------------------------------------------------------------- */

static cl_program CL_API_CALL create_program(cl_context context, cl_uint count, const char **strings, const size_t *lengths,
                                             cl_int *result)
{
    cl_program handle  = target->clCreateProgramWithSource(context, count, strings, lengths, result);
    program_t *program = handle != NULL ? calloc(1, sizeof(*program)) : NULL;

    if (program == NULL) {
        return handle;
    }
    program->handle     = handle;
    program->context    = context;
    program->references = 1;
    program->text       = layer_join(count, strings, lengths);
    if (program->text == NULL) {
        free(program);
        return handle;
    }
    lock();
    program->next = programs;
    programs      = program;
    unlock();
    return handle;
}

/* Those of the caller, and those that the test is run with; false: there is no room for them. */
static bool extend_options(const char *options, char *extended, size_t bytes)
{
    const char *more   = getenv("PSGD_TEST_BUILD_OPTIONS");
    const int   length = snprintf(extended, bytes, "%s%s%s", options != NULL ? options : "", more != NULL ? " " : "",
                                more != NULL ? more : "");

    return (length >= 0) && ((size_t)length < bytes);
}

/* Programs are built one at a time, so that the second of two threads that want the same one finds it. */
static cl_int CL_API_CALL build_program(cl_program handle, cl_uint num_devices, const cl_device_id *devices,
                                        const char *options, void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    char       extended[2048];
    cl_int     result;
    program_t *program;

    if (!extend_options(options, extended, sizeof(extended))) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    lock();
    program = notify == NULL ? find(handle) : NULL;
    if ((program != NULL) && (program->options == NULL)) {
        program->shared = find_built(program, options != NULL ? options : "");
        if (program->shared != NULL) {
            unlock();
            return CL_SUCCESS;
        }
    }
    result = target->clBuildProgram(handle, num_devices, devices, extended, notify, user);
    if ((result == CL_SUCCESS) && (program != NULL)) {
        free(program->options);
        program->options = strdup(options != NULL ? options : "");
    }
    unlock();
    return result;
}

static cl_int CL_API_CALL retain_program(cl_program handle)
{
    cl_int     result = target->clRetainProgram(handle);
    program_t *program;

    lock();
    program = result == CL_SUCCESS ? find(handle) : NULL;
    if (program != NULL) {
        program->references += 1;
    }
    unlock();
    return result;
}

/* What was built keeps its last reference, and with it its context, until the process ends. */
static cl_int CL_API_CALL release_program(cl_program handle)
{
    cl_int     result = CL_SUCCESS;
    program_t *program;
    bool       is_kept = false;

    lock();
    program = find(handle);
    if (program != NULL) {
        program->references -= 1;
        is_kept = (program->references == 0) && (program->options != NULL);
        if ((program->references == 0) && !is_kept) {
            forget(program);
        }
    }
    if (!is_kept) {
        result = target->clReleaseProgram(handle);
    }
    unlock();
    return result;
}

static cl_kernel CL_API_CALL create_kernel(cl_program handle, const char *name, cl_int *result)
{
    return target->clCreateKernel(handle_of(handle), name, result);
}

static cl_int CL_API_CALL create_kernels(cl_program handle, cl_uint capacity, cl_kernel *kernels, cl_uint *count)
{
    return target->clCreateKernelsInProgram(handle_of(handle), capacity, kernels, count);
}

static cl_int CL_API_CALL get_program_info(cl_program handle, cl_program_info what, size_t capacity, void *out,
                                           size_t *bytes_out)
{
    return target->clGetProgramInfo(handle_of(handle), what, capacity, out, bytes_out);
}

static cl_int CL_API_CALL get_build_info(cl_program handle, cl_device_id device, cl_program_build_info what,
                                         size_t capacity, void *out, size_t *bytes_out)
{
    return target->clGetProgramBuildInfo(handle_of(handle), device, what, capacity, out, bytes_out);
}

/* --- what the loader asks for ------------------------------------------------------------------------------------- */

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    target                          = target_dispatch;
    layer.clCreateProgramWithSource = create_program;
    layer.clBuildProgram            = build_program;
    layer.clRetainProgram           = retain_program;
    layer.clReleaseProgram          = release_program;
    layer.clCreateKernel            = create_kernel;
    layer.clCreateKernelsInProgram  = create_kernels;
    layer.clGetProgramInfo          = get_program_info;
    layer.clGetProgramBuildInfo     = get_build_info;
    return CL_SUCCESS;
}
