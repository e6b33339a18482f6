/* An OpenCL layer under which a device computes wrongly: fma() is a sum of a product that is off by 2^-20. */
#include <stdlib.h>

#include "support/layer_info.h"

const char layer_name[] = "psgd_lying_layer";

static const cl_icd_dispatch *target; /* the next layer, or the loader; it outlives this layer */
static cl_icd_dispatch        layer;

static const char LIE[] = "#define fma(a_, b_, c_) ((a_) * (b_) + (c_) + 0x1p-20f)\n";

static cl_program CL_API_CALL lying_clCreateProgramWithSource(cl_context context, cl_uint count, const char **texts,
                                                              const size_t *lengths, cl_int *result)
{
    const char **longer         = malloc((count + 1) * sizeof(*longer));
    size_t      *longer_lengths = malloc((count + 1) * sizeof(*longer_lengths));
    cl_program   program        = NULL;

    if ((longer != NULL) && (longer_lengths != NULL)) {
        longer[0]         = LIE;
        longer_lengths[0] = sizeof(LIE) - 1;
        for (cl_uint i = 0; i < count; ++i) {
            longer[i + 1]         = texts[i];
            longer_lengths[i + 1] = lengths != NULL ? lengths[i] : 0; /* 0: up to the zero */
        }
        program = target->clCreateProgramWithSource(context, count + 1, longer, longer_lengths, result);
    }
    free(longer_lengths);
    free(longer);
    return program;
}

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint num_entries, const cl_icd_dispatch *target_dispatch,
                                        cl_uint *num_entries_ret, const cl_icd_dispatch **layer_dispatch_ret)
{
    const cl_int result = layer_begin(num_entries, target_dispatch, num_entries_ret, layer_dispatch_ret, &layer);

    if (result != CL_SUCCESS) {
        return result;
    }
    target                          = target_dispatch;
    layer.clCreateProgramWithSource = lying_clCreateProgramWithSource;
    return CL_SUCCESS;
}
