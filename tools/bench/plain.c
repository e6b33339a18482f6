#include "plain.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"

tool_status_t plain_create(const gradients_t *gradients, const workers_t *workers, plain_t *plain_p)
{
    tool_status_t status;

    *plain_p = (plain_t){gradients, workers, NULL, NULL};
    if (gradients->gpu->info.has_unified_memory && gradients->dtype == PSGD_F32) {
        return TOOL_OK;
    }
    status = tool_alloc(gradients->extent, sizeof(float), "the gradients on the host", &plain_p->host);
    if (status == TOOL_OK && gradients->dtype != PSGD_F32) {
        status = tool_alloc(gradients->extent, gradients->elem_bytes, "the gradients on the host", &plain_p->halves);
    }
    return status;
}

void plain_destroy(plain_t *plain)
{
    free(plain->halves);
    free(plain->host);
    memset(plain, 0, sizeof(*plain));
}

static tool_status_t run_mapped(const plain_t *plain, size_t index, double *reduce_seconds)
{
    const gpu_t  *gpu    = plain->gradients->gpu;
    cl_mem        mem    = plain->gradients->mems[index];
    size_t        elems  = (size_t)gradients_mem_elems(plain->gradients, index);
    cl_int        result = CL_SUCCESS;
    double        begin;
    tool_status_t status, unmapped;
    void         *values;

    values = clEnqueueMapBuffer(gpu->queue, mem, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, elems * sizeof(float), 0, NULL,
                                NULL, &result);
    status = gpu_check(gpu, result, "clEnqueueMapBuffer");
    if (status != TOOL_OK) {
        return status;
    }
    begin  = clock_now();
    status = workers_sum_floats(plain->workers, values, elems);
    *reduce_seconds += clock_now() - begin;
    unmapped =
        gpu_check(gpu, clEnqueueUnmapMemObject(gpu->queue, mem, values, 0, NULL, NULL), "clEnqueueUnmapMemObject");
    return status != TOOL_OK ? status : unmapped;
}

static tool_status_t run_copied(const plain_t *plain, size_t index, double *reduce_seconds)
{
    const gpu_t  *gpu    = plain->gradients->gpu;
    cl_mem        mem    = plain->gradients->mems[index];
    size_t        elems  = (size_t)gradients_mem_elems(plain->gradients, index);
    size_t        bytes  = elems * plain->gradients->elem_bytes;
    void         *host   = plain->halves != NULL ? plain->halves : plain->host;
    tool_status_t status = gpu_read(gpu, mem, host, bytes);
    double        begin  = clock_now();

    if (status == TOOL_OK) {
        status = workers_sum_floats(plain->workers, plain->host, elems);
    }
    *reduce_seconds += clock_now() - begin;
    return status == TOOL_OK ? gpu_write(gpu, mem, host, bytes) : status;
}

tool_status_t plain_run(const plain_t *plain, double *reduce_ms_p, double *copy_ms_p)
{
    double        begin          = clock_now();
    double        reduce_seconds = 0.0;
    tool_status_t status         = TOOL_OK;

    for (size_t i = 0; i < plain->gradients->num_mems && status == TOOL_OK; ++i) {
        status = plain->host == NULL ? run_mapped(plain, i, &reduce_seconds) : run_copied(plain, i, &reduce_seconds);
    }
    if (status == TOOL_OK) {
        status = gpu_wait(plain->gradients->gpu);
    }
    *reduce_ms_p = 1e3 * reduce_seconds;
    *copy_ms_p   = 1e3 * (clock_now() - begin - reduce_seconds);
    return status;
}
