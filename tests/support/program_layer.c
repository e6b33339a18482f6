/* An OpenCL layer (cl_loader_layers; ocl-icd: OPENCL_LAYERS=libpsgd_program_layer.so) that has a process compile a program
 * once: where the same text is built again with the same options for the same context, kernels come from the program that
 * was built before. Tests create hundreds of reducers a process; PoCL looks into its cache only after preprocessing the
 * text and all of its own headers, which would be most of what those tests do.
 *
 * PSGD_TEST_BUILD_OPTIONS, where it is set, goes behind the options of every build: tests/mutation compiles without optimization. */
#define _GNU_SOURCE /* strdup() */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/layer_info.h"
#include "support/layer_programs.h"

const char layer_name[] = "psgd_program_layer";

static cl_icd_dispatch layer;

static layer_program_t *find_built(const layer_program_t *wanted, const char *options)
{
    layer_program_t *program = layer_programs;

    while ((program != NULL) &&
           ((program->context != wanted->context) || (program->options == NULL) || (program->stand_in != NULL) ||
            (strcmp(program->options, options) != 0) || (strcmp(program->text, wanted->text) != 0))) {
        program = program->next;
    }
    return program;
}

/* --- the calls that matter here ----------------------------------------------------------------------------------- */

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
    char             extended[2048];
    cl_int           result;
    layer_program_t *program;

    if (!extend_options(options, extended, sizeof(extended))) {
        return CL_OUT_OF_HOST_MEMORY;
    }
    layer_lock();
    program = notify == NULL ? layer_find(handle) : NULL;
    if ((program != NULL) && (program->options == NULL)) {
        const layer_program_t *built = find_built(program, options != NULL ? options : "");

        if (built != NULL) {
            program->stand_in = built->handle;
            layer_unlock();
            return CL_SUCCESS;
        }
    }
    result = layer_target->clBuildProgram(handle, num_devices, devices, extended, notify, user);
    if ((result == CL_SUCCESS) && (program != NULL)) {
        free(program->options);
        program->options = strdup(options != NULL ? options : "");
    }
    layer_unlock();
    return result;
}

/* What was built keeps its last reference, and with it its context, until the process ends. */
static cl_int CL_API_CALL release_program(cl_program handle)
{
    cl_int           result = CL_SUCCESS;
    layer_program_t *program;
    bool             is_kept = false;

    layer_lock();
    program = layer_find(handle);
    if (program != NULL) {
        program->references -= 1;
        is_kept = (program->references == 0) && (program->options != NULL);
        if ((program->references == 0) && !is_kept) {
            layer_forget(program);
        }
    }
    if (!is_kept) {
        result = layer_target->clReleaseProgram(handle);
    }
    layer_unlock();
    return result;
}

static cl_int CL_API_CALL get_program_info(cl_program handle, cl_program_info what, size_t capacity, void *out,
                                           size_t *bytes_out)
{
    return layer_target->clGetProgramInfo(layer_handle_of(handle), what, capacity, out, bytes_out);
}

/* --- what the loader asks for ------------------------------------------------------------------------------------- */

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    layer_follow_programs(target_dispatch, &layer);
    layer.clBuildProgram   = build_program;
    layer.clReleaseProgram = release_program;
    layer.clGetProgramInfo = get_program_info;
    return CL_SUCCESS;
}
