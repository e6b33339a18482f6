#define _GNU_SOURCE /* pthread_mutex_t */
#include "support/layer_programs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

const cl_icd_dispatch *layer_target;
layer_program_t       *layer_programs;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void layer_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void layer_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

layer_program_t *layer_find(cl_program handle)
{
    layer_program_t *program = layer_programs;

    while ((program != NULL) && ((program->handle != handle) || (program->references == 0))) {
        program = program->next;
    }
    return program;
}

void layer_forget(layer_program_t *program)
{
    layer_program_t **at = &layer_programs;

    while (*at != program) {
        at = &(*at)->next;
    }
    *at = program->next;
    free(program->options);
    free(program->text);
    free(program);
}

cl_program layer_handle_of(cl_program handle)
{
    const layer_program_t *program;

    layer_lock();
    program = layer_find(handle);
    handle  = (program != NULL) && (program->stand_in != NULL) ? program->stand_in : handle;
    layer_unlock();
    return handle;
}

/* The strings of a program in one; NULL where there is no memory for it. */
static char *join(cl_uint count, const char **strings, const size_t *lengths)
{
    char  *text  = NULL;
    size_t bytes = 0;

    for (cl_uint i = 0; i < count; ++i) {
        size_t length = (lengths != NULL) && (lengths[i] != 0) ? lengths[i] : strlen(strings[i]);
        char  *longer = realloc(text, bytes + length + 1);

        if (longer == NULL) {
            free(text);
            return NULL;
        }
        text = longer;
        memcpy(text + bytes, strings[i], length);
        bytes += length;
        text[bytes] = '\0';
    }
    return text;
}

static cl_program CL_API_CALL create_program(cl_context context, cl_uint count, const char **strings,
                                             const size_t *lengths, cl_int *result)
{
    cl_program       handle  = layer_target->clCreateProgramWithSource(context, count, strings, lengths, result);
    layer_program_t *program = handle != NULL ? calloc(1, sizeof(*program)) : NULL;

    if (program == NULL) {
        return handle;
    }
    program->handle     = handle;
    program->context    = context;
    program->references = 1;
    program->text       = join(count, strings, lengths);
    if (program->text == NULL) {
        free(program);
        return handle;
    }
    layer_lock();
    program->next  = layer_programs;
    layer_programs = program;
    layer_unlock();
    return handle;
}

static cl_int CL_API_CALL retain_program(cl_program handle)
{
    cl_int           result = layer_target->clRetainProgram(handle);
    layer_program_t *program;

    layer_lock();
    program = result == CL_SUCCESS ? layer_find(handle) : NULL;
    if (program != NULL) {
        program->references += 1;
    }
    layer_unlock();
    return result;
}

static cl_kernel CL_API_CALL create_kernel(cl_program handle, const char *name, cl_int *result)
{
    return layer_target->clCreateKernel(layer_handle_of(handle), name, result);
}

static cl_int CL_API_CALL create_kernels(cl_program handle, cl_uint capacity, cl_kernel *kernels, cl_uint *count)
{
    return layer_target->clCreateKernelsInProgram(layer_handle_of(handle), capacity, kernels, count);
}

static cl_int CL_API_CALL get_build_info(cl_program handle, cl_device_id device, cl_program_build_info what,
                                         size_t capacity, void *out, size_t *bytes_out)
{
    return layer_target->clGetProgramBuildInfo(layer_handle_of(handle), device, what, capacity, out, bytes_out);
}

void layer_follow_programs(const cl_icd_dispatch *target, cl_icd_dispatch *layer)
{
    layer_target                     = target;
    layer->clCreateProgramWithSource = create_program;
    layer->clRetainProgram           = retain_program;
    layer->clCreateKernel            = create_kernel;
    layer->clCreateKernelsInProgram  = create_kernels;
    layer->clGetProgramBuildInfo     = get_build_info;
}
