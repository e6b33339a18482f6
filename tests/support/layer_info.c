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
