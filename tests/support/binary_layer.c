/* An OpenCL layer (cl_loader_layers; ocl-icd: OPENCL_LAYERS=libpsgd_binary_layer.so) that has processes on PoCL compile a program once
 * among all of them: what was built is kept as PoCL's binary in $PSGD_TEST_KERNEL_CACHE/programs, and where the same text is to be built
 * again with the same options, kernels come from that. PoCL has a cache of its own, but looks into it only after preprocessing the text
 * and all of its own headers, which would be half of what a tool does that takes a few steps.
 *
 * PoCL makes a binary by compiling all kernels of the program for work-groups of any size, which takes as long as it takes to find the
 * program in its cache NUM_BUILDS times: so that often it is built before it is kept.
 *
 * What includes files, what is built with a callback, for several devices or a second time, and what the compiler says anything about
 * goes to the driver as it is. So does everything on other drivers. */
#define _GNU_SOURCE /* environ, open_memstream(), strdup() */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/layer_info.h"
#include "support/layer_programs.h"

const char layer_name[] = "psgd_binary_layer";

enum { NUM_BUILDS = 8 };

static cl_icd_dispatch layer;

/* Where a build is kept, and what it is known by. */
typedef struct build {
    char *key;
    char  path[4096];
} build_t;

/* --- what a build is known by ------------------------------------------------------------------------------------- */

/* PoCL's own settings change code; these do not. */
static bool is_setting(const char *variable)
{
    return (strncmp(variable, "POCL_", 5) == 0) && (strncmp(variable, "POCL_CACHE_DIR=", 15) != 0) &&
           (strncmp(variable, "POCL_DEBUG=", 11) != 0) && (strncmp(variable, "POCL_MAX_PTHREAD_COUNT=", 23) != 0);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void print_settings(FILE *file)
{
    const char *settings[64];
    size_t      count = 0;

    for (char **variable = environ; (*variable != NULL) && (count < sizeof(settings) / sizeof(*settings)); ++variable) {
        if (is_setting(*variable)) {
            settings[count++] = *variable;
        }
    }
    qsort(settings, count, sizeof(*settings), compare_strings);
    for (size_t i = 0; i < count; ++i) {
        fprintf(file, "%s\n", settings[i]);
    }
}

static bool print_device(FILE *file, cl_device_id device)
{
    static const cl_device_info WHAT[] = {CL_DEVICE_NAME, CL_DEVICE_VERSION, CL_DRIVER_VERSION, CL_DEVICE_EXTENSIONS};
    char                        answer[4096];

    for (size_t i = 0; i < sizeof(WHAT) / sizeof(*WHAT); ++i) {
        if (layer_target->clGetDeviceInfo(device, WHAT[i], sizeof(answer), answer, NULL) != CL_SUCCESS) {
            return false;
        }
        fprintf(file, "%s\n", answer);
    }
    return true;
}

static bool is_pocl(cl_device_id device)
{
    cl_platform_id platform;
    char           name[64];

    return (layer_target->clGetDeviceInfo(device, CL_DEVICE_PLATFORM, sizeof(platform), &platform, NULL) ==
            CL_SUCCESS) &&
           (layer_target->clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name), name, NULL) == CL_SUCCESS) &&
           (strcmp(name, "Portable Computing Language") == 0);
}

/* FNV-1a. The key stands in the file: two of them that have the same name do not get each other's builds. */
static uint64_t hash(const char *text)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (; *text != '\0'; ++text) {
        value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
    }
    return value;
}

/* false: builds like this one are not kept. */
static bool name_build(const layer_program_t *program, cl_device_id device, const char *options, build_t *build)
{
    const char *cache = getenv("PSGD_TEST_KERNEL_CACHE");
    size_t      bytes = 0;
    FILE       *file;
    bool        is_named;

    if ((cache == NULL) || (strstr(program->text, "#include") != NULL) || !is_pocl(device)) {
        return false;
    }
    file = open_memstream(&build->key, &bytes);
    if (file == NULL) {
        return false;
    }
    is_named = print_device(file, device);
    print_settings(file);
    fprintf(file, "%s\n%s", options, program->text);
    if ((fclose(file) != 0) || !is_named) {
        return false;
    }
    snprintf(build->path, sizeof(build->path), "%s/programs/%016llx", cache, (unsigned long long)hash(build->key));
    return true;
}

/* --- files: the key, a zero, the binary --------------------------------------------------------------------------- */

static unsigned char *read_file(const char *path, size_t *bytes)
{
    FILE          *file = fopen(path, "rb");
    unsigned char *content;
    long           length;

    if (file == NULL) {
        return NULL;
    }
    length  = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    content = length > 0 ? malloc((size_t)length) : NULL;
    rewind(file);
    if ((content != NULL) && (fread(content, 1, (size_t)length, file) != (size_t)length)) {
        free(content);
        content = NULL;
    }
    fclose(file);
    *bytes = (size_t)length;
    return content;
}

/* NULL: there is none. */
static cl_program load(const layer_program_t *program, cl_device_id device, const char *options, const build_t *build)
{
    const size_t         key_bytes = strlen(build->key) + 1;
    size_t               bytes;
    unsigned char       *content = read_file(build->path, &bytes);
    cl_program           handle  = NULL;
    const unsigned char *binary;

    if ((content != NULL) && (bytes > key_bytes) && (memcmp(content, build->key, key_bytes) == 0)) {
        binary = content + key_bytes;
        bytes -= key_bytes;
        handle = layer_target->clCreateProgramWithBinary(program->context, 1, &device, &bytes, &binary, NULL, NULL);
    }
    free(content);
    if ((handle != NULL) && (layer_target->clBuildProgram(handle, 1, &device, options, NULL, NULL) != CL_SUCCESS)) {
        layer_target->clReleaseProgram(handle);
        handle = NULL;
    }
    return handle;
}

static bool is_silent(cl_program handle, cl_device_id device)
{
    size_t bytes = 0;

    return (layer_target->clGetProgramBuildInfo(handle, device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) == CL_SUCCESS) &&
           (bytes <= 1);
}

/* A byte in a file of its own for each time that all processes build it; true: that often now that it is worth a binary. Of workers that
 * build at the same moment this holds for one. */
static bool is_often_built(const build_t *build)
{
    char  path[sizeof(build->path) + 16];
    FILE *file;
    long  times;

    snprintf(path, sizeof(path), "%s.builds", build->path);
    file = fopen(path, "ab");
    if (file == NULL) {
        return false;
    }
    fputc('.', file);
    fflush(file);
    times = ftell(file);
    fclose(file);
    return times % NUM_BUILDS == 0;
}

/* The file gets its name when it is whole. */
static void write_build(const build_t *build, const unsigned char *binary, size_t bytes)
{
    const size_t key_bytes = strlen(build->key) + 1;
    char         path[sizeof(build->path) + 16];
    FILE        *file;
    bool         is_whole;

    snprintf(path, sizeof(path), "%s.%ld", build->path, (long)getpid());
    file = fopen(path, "wb");
    if (file == NULL) {
        return;
    }
    is_whole = (fwrite(build->key, 1, key_bytes, file) == key_bytes) && (fwrite(binary, 1, bytes, file) == bytes);
    if ((fclose(file) != 0) || !is_whole || (rename(path, build->path) != 0)) {
        unlink(path);
    }
}

static void keep(cl_program handle, cl_device_id device, const build_t *build)
{
    unsigned char *binary = NULL;
    size_t         bytes  = 0;

    if (is_silent(handle, device) && is_often_built(build) &&
        (layer_target->clGetProgramInfo(handle, CL_PROGRAM_BINARY_SIZES, sizeof(bytes), &bytes, NULL) == CL_SUCCESS)) {
        binary = malloc(bytes);
    }
    if ((binary != NULL) &&
        (layer_target->clGetProgramInfo(handle, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL) == CL_SUCCESS)) {
        write_build(build, binary, bytes);
    }
    free(binary);
}

/* --- the calls that matter here ----------------------------------------------------------------------------------- */

static cl_int CL_API_CALL build_program(cl_program handle, cl_uint num_devices, const cl_device_id *devices,
                                        const char *options, void(CL_CALLBACK *notify)(cl_program, void *), void *user)
{
    build_t          build = {0};
    cl_int           result;
    layer_program_t *program;
    bool             is_named = false;

    layer_lock();
    program = layer_find(handle);
    if (program != NULL) {
        if (program->stand_in != NULL) {
            layer_target->clReleaseProgram(program->stand_in);
            program->stand_in = NULL;
        }
        is_named = (program->options == NULL) && (notify == NULL) && (num_devices == 1) && (devices != NULL) &&
                   name_build(program, devices[0], options != NULL ? options : "", &build);
        free(program->options);
        program->options = strdup(options != NULL ? options : "");
        if (is_named) {
            program->stand_in = load(program, devices[0], options, &build);
        }
    }
    if ((program != NULL) && (program->stand_in != NULL)) {
        result = CL_SUCCESS;
    } else {
        result = layer_target->clBuildProgram(handle, num_devices, devices, options, notify, user);
        if (is_named && (result == CL_SUCCESS)) {
            keep(handle, devices[0], &build);
        }
    }
    layer_unlock();
    free(build.key);
    return result;
}

static cl_int CL_API_CALL release_program(cl_program handle)
{
    layer_program_t *program;
    cl_program       stand_in = NULL;

    layer_lock();
    program = layer_find(handle);
    if (program != NULL) {
        program->references -= 1;
        if (program->references == 0) {
            stand_in = program->stand_in;
            layer_forget(program);
        }
    }
    layer_unlock();
    if (stand_in != NULL) {
        layer_target->clReleaseProgram(stand_in);
    }
    return layer_target->clReleaseProgram(handle);
}

static cl_int CL_API_CALL get_program_info(cl_program handle, cl_program_info what, size_t capacity, void *out,
                                           size_t *bytes_out)
{
    const bool is_of_build = (what == CL_PROGRAM_BINARIES) || (what == CL_PROGRAM_BINARY_SIZES) ||
                             (what == CL_PROGRAM_NUM_KERNELS) || (what == CL_PROGRAM_KERNEL_NAMES);

    return layer_target->clGetProgramInfo(is_of_build ? layer_handle_of(handle) : handle, what, capacity, out,
                                          bytes_out);
}

/* A kernel is the program's from which it was asked. */
static cl_int CL_API_CALL get_kernel_info(cl_kernel kernel, cl_kernel_info what, size_t capacity, void *out,
                                          size_t *bytes_out)
{
    const cl_int result = layer_target->clGetKernelInfo(kernel, what, capacity, out, bytes_out);

    if ((result == CL_SUCCESS) && (what == CL_KERNEL_PROGRAM) && (out != NULL)) {
        layer_lock();
        for (const layer_program_t *program = layer_programs; program != NULL; program = program->next) {
            if (program->stand_in == *(cl_program *)out) {
                *(cl_program *)out = program->handle;
            }
        }
        layer_unlock();
    }
    return result;
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
    layer.clGetKernelInfo  = get_kernel_info;
    return CL_SUCCESS;
}
