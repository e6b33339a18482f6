#include "api/memory.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/status.h"
#include "device/cl_device.h"

psgd_status_t psgd_check_mem(const psgd_reducer_t *reducer, const char *whose, cl_mem mem, size_t offset_bytes,
                             uint64_t needed, size_t elem_bytes)
{
    const char        *device_name = psgd_device_limits(reducer->device)->name;
    cl_context         context     = NULL;
    cl_mem_object_type type        = CL_MEM_OBJECT_BUFFER;
    cl_mem_flags       flags       = 0;
    size_t             bytes       = 0;
    psgd_status_t      status;

    if (mem == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is NULL", whose);
    }
    if (clGetMemObjectInfo(mem, CL_MEM_CONTEXT, sizeof(context), &context, NULL) != CL_SUCCESS) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is no OpenCL buffer", whose);
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_TYPE, sizeof(type), &type, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    if (type != CL_MEM_OBJECT_BUFFER) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is an image or a pipe; pass a buffer", whose);
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_FLAGS, sizeof(flags), &flags, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof(bytes), &bytes, NULL), "clGetMemObjectInfo",
                           device_name);
    if (status != PSGD_OK) {
        return status;
    }
    if (context != psgd_device_context(reducer->device)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s belongs to another OpenCL context than the reducer", whose);
    }
    if ((flags & (CL_MEM_READ_ONLY | CL_MEM_WRITE_ONLY)) != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s is a %s buffer; create it with CL_MEM_READ_WRITE", whose,
                         (flags & CL_MEM_READ_ONLY) != 0 ? "read-only" : "write-only");
    }
    if (offset_bytes % elem_bytes != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s begins at byte %zu; offsets are multiples of %zu", whose,
                         offset_bytes, elem_bytes);
    }
    if ((offset_bytes > bytes) || (bytes - offset_bytes < needed)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "%s needs %" PRIu64 " bytes from byte %zu on, but its buffer has %zu bytes", whose, needed,
                         offset_bytes, bytes);
    }
    return PSGD_OK;
}

psgd_status_t psgd_check_host_access(const psgd_reducer_t *reducer, const char *whose, cl_mem mem)
{
    const cl_mem_flags restrictions = CL_MEM_HOST_READ_ONLY | CL_MEM_HOST_WRITE_ONLY | CL_MEM_HOST_NO_ACCESS;
    cl_mem_flags       flags        = 0;
    psgd_status_t      status;

    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_FLAGS, sizeof(flags), &flags, NULL), "clGetMemObjectInfo",
                           psgd_device_limits(reducer->device)->name);
    if ((status == PSGD_OK) && ((flags & restrictions) != 0)) {
        return psgd_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "%s goes through host memory, but its buffer was created with a CL_MEM_HOST_ flag; create it without",
            whose);
    }
    return status;
}

psgd_status_t psgd_locate_mem(const psgd_reducer_t *reducer, cl_mem mem, size_t offset_bytes, psgd_view_t *place_p)
{
    const char   *device_name = psgd_device_limits(reducer->device)->name;
    cl_mem        whole       = NULL;
    size_t        origin      = 0;
    psgd_status_t status;

    status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(whole), &whole, NULL),
                           "clGetMemObjectInfo", device_name);
    if ((status == PSGD_OK) && (whole != NULL)) {
        status = psgd_cl_check(clGetMemObjectInfo(mem, CL_MEM_OFFSET, sizeof(origin), &origin, NULL),
                               "clGetMemObjectInfo", device_name);
    }
    *place_p = (psgd_view_t){whole != NULL ? whole : mem, origin + offset_bytes};
    return status;
}

bool psgd_places_overlap(const psgd_view_t *a, uint64_t a_bytes, const psgd_view_t *b, uint64_t b_bytes)
{
    return (a->mem == b->mem) && (a->offset_bytes < b->offset_bytes + b_bytes) &&
           (b->offset_bytes < a->offset_bytes + a_bytes);
}

psgd_status_t psgd_check_tensor_mem(const psgd_reducer_t *reducer, const char *what, size_t index,
                                    const psgd_buffer_t *buffer, size_t elem_bytes)
{
    const psgd_plan_tensor_t *tensor = &reducer->plan->tensors[index];
    char                      whose[PSGD_SENTENCE_BYTES / 2];

    snprintf(whose, sizeof(whose), "the %s of tensor %zu '%s'", what, index, tensor->name);
    return psgd_check_mem(reducer, whose, buffer->mem, buffer->offset_bytes, tensor->elems * elem_bytes, elem_bytes);
}
