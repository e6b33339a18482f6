#include "device/enumerate.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/memory.h"
#include "base/process_lock.h"
#include "base/status.h"
#include "device/cl_device.h"

enum { NO_PLATFORM = -1001 }; /* CL_PLATFORM_NOT_FOUND_KHR: the loader has found no driver */

/* ---- asking one device ---- */

/* A device being asked, and the first question that it could not answer. */
typedef struct query {
    cl_device_id device;
    const char  *failed_name; /* NULL: none so far */
    cl_int       failed_result;
} query_t;

static void note_failure(query_t *query, const char *name, cl_int result)
{
    if (query->failed_name == NULL) {
        query->failed_name   = name;
        query->failed_result = result;
    }
}

static void ask(query_t *query, cl_device_info what, const char *name, size_t bytes, void *value)
{
    cl_int result = clGetDeviceInfo(query->device, what, bytes, value, NULL);

    if (result != CL_SUCCESS) {
        memset(value, 0, bytes);
        note_failure(query, name, result);
    }
}

static cl_uint ask_uint(query_t *query, cl_device_info what, const char *name)
{
    cl_uint value = 0;

    ask(query, what, name, sizeof(value), &value);
    return value;
}

static cl_ulong ask_ulong(query_t *query, cl_device_info what, const char *name)
{
    cl_ulong value = 0;

    ask(query, what, name, sizeof(value), &value);
    return value;
}

static size_t ask_size(query_t *query, cl_device_info what, const char *name)
{
    size_t value = 0;

    ask(query, what, name, sizeof(value), &value);
    return value;
}

#define ASK_UINT(query_, what_) ask_uint((query_), (what_), #what_)   /* cl_uint and cl_bool */
#define ASK_ULONG(query_, what_) ask_ulong((query_), (what_), #what_) /* cl_ulong and the bit fields */
#define ASK_SIZE(query_, what_) ask_size((query_), (what_), #what_)

/* Copies as much of a text as fits, without leading blanks. */
static void copy_text(char *to, size_t bytes, const char *from)
{
    from += strspn(from, " \t");
    snprintf(to, bytes, "%s", from);
}

/* Text of any length: asking with too small a buffer is an error in OpenCL. *text_p is freed by psgd_free(). */
static bool ask_text(query_t *query, cl_device_info what, const char *name, char **text_p)
{
    size_t bytes  = 0;
    char  *text   = NULL;
    cl_int result = clGetDeviceInfo(query->device, what, 0, NULL, &bytes);

    if (result != CL_SUCCESS) {
        note_failure(query, name, result);
        return false;
    }
    if (psgd_alloc(bytes + 1, 1, name, &text) != PSGD_OK) {
        note_failure(query, name, CL_OUT_OF_HOST_MEMORY);
        return false;
    }
    result = clGetDeviceInfo(query->device, what, bytes, text, NULL);
    if (result != CL_SUCCESS) {
        note_failure(query, name, result);
        psgd_free(text);
        return false;
    }
    *text_p = text;
    return true;
}

static void ask_short_text(query_t *query, cl_device_info what, const char *name, char *to, size_t bytes)
{
    char *text = NULL;

    if (ask_text(query, what, name, &text)) {
        copy_text(to, bytes, text);
        psgd_free(text);
    }
}

#define ASK_TEXT(query_, what_, to_) ask_short_text((query_), (what_), #what_, (to_), sizeof(to_))

/* Whether `word` is one of the blank-separated words of `text`. */
static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);

    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word)) {
        bool begins = (at == text) || (at[-1] == ' ');
        bool ends   = (at[length] == '\0') || (at[length] == ' ');

        if (begins && ends) {
            return true;
        }
    }
    return false;
}

static bool has_extension(query_t *query, const char *extension)
{
    char *extensions = NULL;
    bool  found;

    if (!ask_text(query, CL_DEVICE_EXTENSIONS, "CL_DEVICE_EXTENSIONS", &extensions)) {
        return false;
    }
    found = has_word(extensions, extension);
    psgd_free(extensions);
    return found;
}

static psgd_device_kind_t kind_of(cl_device_type type)
{
    if (type & CL_DEVICE_TYPE_GPU) {
        return PSGD_DEVICE_GPU;
    }
    if (type & CL_DEVICE_TYPE_CPU) {
        return PSGD_DEVICE_CPU;
    }
    return type & CL_DEVICE_TYPE_ACCELERATOR ? PSGD_DEVICE_ACCELERATOR : PSGD_DEVICE_OTHER;
}

static void describe_platform(query_t *query, psgd_device_info_t *info)
{
    size_t bytes = 0;
    char  *name  = NULL;

    ask(query, CL_DEVICE_PLATFORM, "CL_DEVICE_PLATFORM", sizeof(info->platform), &info->platform);
    if (info->platform == NULL) {
        return;
    }
    if ((clGetPlatformInfo(info->platform, CL_PLATFORM_NAME, 0, NULL, &bytes) != CL_SUCCESS) ||
        (psgd_alloc(bytes + 1, 1, "a platform's name", &name) != PSGD_OK)) {
        return;
    }
    if (clGetPlatformInfo(info->platform, CL_PLATFORM_NAME, bytes, name, NULL) == CL_SUCCESS) {
        copy_text(info->platform_name, sizeof(info->platform_name), name);
    }
    psgd_free(name);
}

static void describe_limits(query_t *query, psgd_device_info_t *info)
{
    info->global_memory_bytes  = ASK_ULONG(query, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_allocation_bytes = ASK_ULONG(query, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_memory_bytes   = ASK_ULONG(query, CL_DEVICE_LOCAL_MEM_SIZE);
    info->max_work_group_size  = ASK_SIZE(query, CL_DEVICE_MAX_WORK_GROUP_SIZE);
    info->compute_units        = ASK_UINT(query, CL_DEVICE_MAX_COMPUTE_UNITS);
    info->max_clock_mhz        = ASK_UINT(query, CL_DEVICE_MAX_CLOCK_FREQUENCY);
    info->base_alignment_bytes = ASK_UINT(query, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8; /* OpenCL says it in bits */
}

static void describe_abilities(query_t *query, psgd_device_info_t *info)
{
    cl_ulong fp32   = ASK_ULONG(query, CL_DEVICE_SINGLE_FP_CONFIG);
    cl_ulong queues = ASK_ULONG(query, CL_DEVICE_QUEUE_PROPERTIES);

    info->has_unified_memory     = ASK_UINT(query, CL_DEVICE_HOST_UNIFIED_MEMORY) != CL_FALSE;
    info->has_out_of_order_queue = (queues & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE) != 0;
    info->has_fp16               = has_extension(query, "cl_khr_fp16");
    info->has_fp64               = has_extension(query, "cl_khr_fp64");
    info->has_fma                = (fp32 & CL_FP_FMA) != 0;
    info->has_denormals          = (fp32 & CL_FP_DENORM) != 0;
}

/* ---- the verdict ---- */

/* Writes the reason and returns false, for `return missing(...)`. */
static bool missing(psgd_device_info_t *info, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool missing(psgd_device_info_t *info, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(info->reason, sizeof(info->reason), format, arguments);
    va_end(arguments);
    return false;
}

static bool is_opencl_12(const char *version)
{
    static const char WORD[] = "OpenCL ";
    char             *end;
    unsigned long     major;

    if (strncmp(version, WORD, sizeof(WORD) - 1) != 0) {
        return false;
    }
    major = strtoul(version + sizeof(WORD) - 1, &end, 10);
    return (*end == '.') && ((major > 1) || ((major == 1) && (strtoul(end + 1, NULL, 10) >= 2)));
}

/* 64-bit integers, which our kernels count elements with, are optional in the embedded profile. */
static bool has_64_bit_integers(query_t *query)
{
    char profile[32] = "";

    ASK_TEXT(query, CL_DEVICE_PROFILE, profile);
    return (strcmp(profile, "EMBEDDED_PROFILE") != 0) || has_extension(query, "cles_khr_int64");
}

static bool has_exact_fp32(query_t *query)
{
    const cl_ulong needed = CL_FP_INF_NAN | CL_FP_ROUND_TO_NEAREST;

    return (ASK_ULONG(query, CL_DEVICE_SINGLE_FP_CONFIG) & needed) == needed;
}

static bool judge(query_t *query, psgd_device_info_t *info)
{
    cl_uint available = ASK_UINT(query, CL_DEVICE_AVAILABLE);
    cl_uint compiler  = ASK_UINT(query, CL_DEVICE_COMPILER_AVAILABLE);
    cl_uint little    = ASK_UINT(query, CL_DEVICE_ENDIAN_LITTLE);

    if (query->failed_name != NULL) {
        return missing(info, "the driver does not answer %s: %s (%d)", query->failed_name,
                       psgd_cl_error_name(query->failed_result), (int)query->failed_result);
    }
    if (!available) {
        return missing(info, "the driver says that the device is not available (in use, or switched off)");
    }
    if (!compiler) {
        return missing(info, "the driver brings no compiler for OpenCL C");
    }
    if (!is_opencl_12(info->device_version)) {
        return missing(info, "OpenCL 1.2 is needed, and the driver offers '%.64s'; a newer driver may help",
                       info->device_version);
    }
    if (!little) {
        return missing(info, "the device is big-endian, and its bits would differ from the host's");
    }
    if (!has_64_bit_integers(query)) {
        return missing(info, "the device has no 64-bit integers (embedded profile)");
    }
    if (!has_exact_fp32(query)) {
        return missing(info, "fp32 on this device lacks rounding to nearest, or infinities and NaN");
    }
    if ((info->max_work_group_size < 1) || (info->max_allocation_bytes < 1) || (info->compute_units < 1)) {
        return missing(info, "the driver reports no work-items, no memory, or no compute units");
    }
    return true;
}

psgd_device_info_t psgd_device_describe(cl_device_id device)
{
    psgd_device_info_t info  = PSGD_DEVICE_INFO_INIT;
    query_t            query = {device, NULL, CL_SUCCESS};

    info.device = device;
    info.kind   = kind_of(ASK_ULONG(&query, CL_DEVICE_TYPE));
    ASK_TEXT(&query, CL_DEVICE_NAME, info.name);
    ASK_TEXT(&query, CL_DEVICE_VENDOR, info.vendor);
    ASK_TEXT(&query, CL_DEVICE_VERSION, info.device_version);
    ASK_TEXT(&query, CL_DRIVER_VERSION, info.driver_version);
    describe_platform(&query, &info);
    describe_limits(&query, &info);
    describe_abilities(&query, &info);
    info.is_usable = judge(&query, &info);
    return info;
}

/* ---- all platforms ---- */

static psgd_status_t get_platforms(cl_platform_id **platforms_p, cl_uint *count_p)
{
    cl_platform_id *platforms = NULL;
    cl_uint         count     = 0;
    cl_int          result    = clGetPlatformIDs(0, NULL, &count);
    psgd_status_t   status;

    if (result == NO_PLATFORM) {
        count = 0;
    } else if (result != CL_SUCCESS) {
        return psgd_fail(PSGD_ERR_OPENCL,
                         "the OpenCL loader cannot list its platforms: clGetPlatformIDs failed: %s (%d)",
                         psgd_cl_error_name(result), (int)result);
    }
    status = psgd_alloc(count, sizeof(*platforms), "the list of OpenCL platforms", &platforms);
    if (status != PSGD_OK) {
        return status;
    }
    if (count > 0) {
        result = clGetPlatformIDs(count, platforms, NULL);
        if (result != CL_SUCCESS) {
            psgd_free(platforms);
            return psgd_fail(PSGD_ERR_OPENCL, "clGetPlatformIDs failed: %s (%d)", psgd_cl_error_name(result),
                             (int)result);
        }
    }
    *platforms_p = platforms;
    *count_p     = count;
    return PSGD_OK;
}

/* A platform that cannot list its devices counts as one without any: a broken driver must not hide the others. */
static cl_uint count_devices(cl_platform_id platform, cl_uint platform_index)
{
    cl_uint    count  = 0;
    cl_int     result = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    psgd_log_t log;

    if ((result != CL_SUCCESS) && (result != CL_DEVICE_NOT_FOUND)) {
        log = psgd_log_open(NULL, NULL, PSGD_LOG_WARN);
        psgd_log(&log, PSGD_LOG_WARN,
                 "OpenCL platform %u cannot list its devices: clGetDeviceIDs failed: %s (%d); left out", platform_index,
                 psgd_cl_error_name(result), (int)result);
    }
    return result == CL_SUCCESS ? count : 0;
}

/* Describes the devices of one platform into infos[0 .. count), numbering them from first_index. */
static psgd_status_t describe_devices(cl_platform_id platform, cl_uint platform_index, cl_uint count,
                                      size_t first_index, psgd_device_info_t *infos)
{
    cl_device_id *devices = NULL;
    psgd_status_t status;
    cl_int        result;

    status = psgd_alloc(count, sizeof(*devices), "the list of OpenCL devices", &devices);
    if (status != PSGD_OK) {
        return status;
    }
    result = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, devices, NULL);
    if (result != CL_SUCCESS) {
        status =
            psgd_fail(PSGD_ERR_OPENCL, "platform %u listed %u devices and then none: clGetDeviceIDs failed: %s (%d)",
                      platform_index, count, psgd_cl_error_name(result), (int)result);
        goto free_devices;
    }
    for (cl_uint i = 0; i < count; ++i) {
        infos[i]                = psgd_device_describe(devices[i]);
        infos[i].index          = (uint32_t)(first_index + i);
        infos[i].platform_index = platform_index;
        infos[i].device_index   = i;
    }
free_devices:
    psgd_free(devices);
    return status;
}

static psgd_status_t describe_platforms(const cl_platform_id *platforms, const cl_uint *counts, cl_uint num_platforms,
                                        psgd_device_info_t *infos)
{
    size_t        index = 0;
    psgd_status_t status;

    for (cl_uint p = 0; p < num_platforms; ++p) {
        if (counts[p] == 0) {
            continue;
        }
        status = describe_devices(platforms[p], p, counts[p], index, infos + index);
        if (status != PSGD_OK) {
            return status;
        }
        index += counts[p];
    }
    return PSGD_OK;
}

static psgd_status_t enumerate_locked(psgd_device_info_t **infos_p, size_t *count_p)
{
    cl_platform_id     *platforms     = NULL;
    cl_uint            *counts        = NULL;
    psgd_device_info_t *infos         = NULL;
    size_t              total         = 0;
    cl_uint             num_platforms = 0;
    psgd_status_t       status;

    status = get_platforms(&platforms, &num_platforms);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_platforms, sizeof(*counts), "the list of OpenCL platforms", &counts);
    if (status != PSGD_OK) {
        goto free_platforms;
    }
    for (cl_uint p = 0; p < num_platforms; ++p) {
        counts[p] = count_devices(platforms[p], p);
        total += counts[p];
    }
    status = psgd_alloc(total, sizeof(*infos), "the list of OpenCL devices", &infos);
    if (status != PSGD_OK) {
        goto free_counts;
    }
    status = describe_platforms(platforms, counts, num_platforms, infos);
    if (status != PSGD_OK) {
        psgd_free(infos);
        goto free_counts;
    }
    *infos_p = infos;
    *count_p = total;
free_counts:
    psgd_free(counts);
free_platforms:
    psgd_free(platforms);
    return status;
}

psgd_status_t psgd_devices_enumerate(psgd_device_info_t **infos_p, size_t *count_p)
{
    psgd_status_t status;

    psgd_process_lock();
    status = enumerate_locked(infos_p, count_p);
    psgd_process_unlock();
    return status;
}
