/* What every OpenCL layer answers when the loader asks for it: layer_info.c is compiled into each. */
#ifndef PSGD_TESTS_SUPPORT_LAYER_INFO_H
#define PSGD_TESTS_SUPPORT_LAYER_INFO_H

#include <CL/cl_layer.h>

#define EXPORTED __attribute__((visibility("default")))

/* Defined by the layer. */
extern const char layer_name[];

/* How clInitLayer() of every layer begins: *layer becomes a copy of the next layer's table, which is handed out, and which the layer then
 * changes. CL_INVALID_VALUE where the loader does not give what that needs. */
cl_int layer_begin(cl_uint num_entries, const cl_icd_dispatch *target_dispatch, cl_uint *num_entries_ret,
                   const cl_icd_dispatch **layer_dispatch_ret, cl_icd_dispatch *layer);

#endif
