/* An OpenCL layer that answers questions otherwise than the driver, as the environment says at each call:
 *
 *     ANSWERS_LAYER_DEVICE="4103 fails -5"          clGetDeviceInfo of 0x1007
 *     ANSWERS_LAYER_DEVICE="4135 is 0"              a number
 *     ANSWERS_LAYER_DEVICE="4143 says OpenCL 1.1"   a text
 *     ANSWERS_LAYER_FAILS="clGetDeviceIDs 0 -6"     clGetPlatformIDs, clGetPlatformInfo, clGetDeviceIDs, in its call by the form:
 *                                                   0 where it is asked how many there are, 1 where for what they are */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/layer_info.h"

const char layer_name[] = "psgd_answers_layer";

static const cl_icd_dispatch *target; /* the next layer, or the loader; it outlives this layer */
static cl_icd_dispatch        layer;

/* Whether this call is the one that fails, and how. */
static int fails(const char *name, int form, cl_int *result_p)
{
    const char *setting  = getenv("ANSWERS_LAYER_FAILS");
    char        call[64] = "";
    int         of_form;

    return (setting != NULL) && (sscanf(setting, "%63s %d %d", call, &of_form, result_p) == 3) &&
           (strcmp(call, name) == 0) && (of_form == form);
}

static cl_int CL_API_CALL answering_clGetPlatformIDs(cl_uint capacity, cl_platform_id *platforms, cl_uint *count)
{
    cl_int result;

    return fails("clGetPlatformIDs", platforms != NULL, &result) ? result
                                                                 : target->clGetPlatformIDs(capacity, platforms, count);
}

static cl_int CL_API_CALL answering_clGetPlatformInfo(cl_platform_id platform, cl_platform_info what, size_t capacity,
                                                      void *out, size_t *bytes)
{
    cl_int result;

    return fails("clGetPlatformInfo", out != NULL, &result)
               ? result
               : target->clGetPlatformInfo(platform, what, capacity, out, bytes);
}

static cl_int CL_API_CALL answering_clGetDeviceIDs(cl_platform_id platform, cl_device_type type, cl_uint capacity,
                                                   cl_device_id *devices, cl_uint *count)
{
    cl_int result;

    return fails("clGetDeviceIDs", devices != NULL, &result)
               ? result
               : target->clGetDeviceIDs(platform, type, capacity, devices, count);
}

static cl_int say(const char *text, size_t capacity, void *out, size_t *bytes)
{
    if ((out != NULL) && (capacity <= strlen(text))) {
        return CL_INVALID_VALUE;
    }
    if (out != NULL) {
        memcpy(out, text, strlen(text) + 1);
    }
    if (bytes != NULL) {
        *bytes = strlen(text) + 1;
    }
    return CL_SUCCESS;
}

static cl_int CL_API_CALL answering_clGetDeviceInfo(cl_device_id device, cl_device_info what, size_t capacity,
                                                    void *out, size_t *bytes)
{
    const char        *setting = getenv("ANSWERS_LAYER_DEVICE");
    cl_int             result  = target->clGetDeviceInfo(device, what, capacity, out, bytes);
    unsigned           question;
    char               kind[8];
    int                end = 0;
    unsigned long long number;

    if ((setting == NULL) || (sscanf(setting, "%u %7s %n", &question, kind, &end) != 2) || (question != what)) {
        return result;
    }
    if (strcmp(kind, "says") == 0) {
        return say(setting + end, capacity, out, bytes);
    }
    if (strcmp(kind, "fails") == 0) {
        return atoi(setting + end);
    }
    number = strtoull(setting + end, NULL, 0);
    if (out != NULL) {
        memcpy(out, &number, capacity < sizeof(number) ? capacity : sizeof(number)); /* little-endian hosts alone */
    }
    return result;
}

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    target                  = target_dispatch;
    layer.clGetPlatformIDs  = answering_clGetPlatformIDs;
    layer.clGetPlatformInfo = answering_clGetPlatformInfo;
    layer.clGetDeviceIDs    = answering_clGetDeviceIDs;
    layer.clGetDeviceInfo   = answering_clGetDeviceInfo;
    return CL_SUCCESS;
}
