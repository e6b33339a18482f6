#include "support/layer_info.h"

#include <string.h>

static cl_int give(const void *value, size_t bytes, size_t capacity, void *out, size_t *bytes_out)
{
    if ((out != NULL) && (capacity < bytes)) {
        return CL_INVALID_VALUE;
    }
    if (out != NULL) {
        memcpy(out, value, bytes);
    }
    if (bytes_out != NULL) {
        *bytes_out = bytes;
    }
    return CL_SUCCESS;
}

EXPORTED cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t capacity, void *out, size_t *bytes_out)
{
    static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;

    switch (what) {
    case CL_LAYER_API_VERSION: return give(&version, sizeof(version), capacity, out, bytes_out);
    case CL_LAYER_NAME: return give(layer_name, strlen(layer_name) + 1, capacity, out, bytes_out);
    default: return CL_INVALID_VALUE;
    }
}

cl_int layer_begin(cl_uint num_entries, const cl_icd_dispatch *target_dispatch, cl_uint *num_entries_ret,
                   const cl_icd_dispatch **layer_dispatch_ret, cl_icd_dispatch *layer)
{
    const cl_uint ours = sizeof(*layer) / sizeof(layer->clGetPlatformIDs);

    if ((target_dispatch == NULL) || (num_entries_ret == NULL) || (layer_dispatch_ret == NULL) ||
        (num_entries < ours)) {
        return CL_INVALID_VALUE;
    }
    *layer              = *target_dispatch;
    *num_entries_ret    = ours;
    *layer_dispatch_ret = layer;
    return CL_SUCCESS;
}
