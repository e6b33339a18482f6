#include "blas.h"

#include <stdio.h>

#include <clblast_c.h>

static tool_status_t check_clblast(const gpu_t *gpu, CLBlastStatusCode result, const char *call)
{
    if (result == CLBlastSuccess) {
        return TOOL_OK;
    }
    return tool_fail(TOOL_FAILED, "%s failed on %s: error %d (see clblast_c.h)", call, gpu->info.name, (int)result);
}

static CLBlastTranspose transpose_a(blas_form_t form)
{
    return form == BLAS_TN ? CLBlastTransposeYes : CLBlastTransposeNo;
}

static CLBlastTranspose transpose_b(blas_form_t form)
{
    return form == BLAS_NT ? CLBlastTransposeYes : CLBlastTransposeNo;
}

/* Row length of A and B as they are stored. */
static size_t row_a(blas_form_t form, size_t m, size_t k)
{
    return form == BLAS_TN ? m : k;
}

static size_t row_b(blas_form_t form, size_t n, size_t k)
{
    return form == BLAS_NT ? k : n;
}

/* C = the product + beta C */
static tool_status_t multiply(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, span_t b,
                              float beta, span_t c)
{
    cl_command_queue queue = gpu->queue;

    return check_clblast(gpu,
                         CLBlastSgemm(CLBlastLayoutRowMajor, transpose_a(form), transpose_b(form), m, n, k, 1.0f, a.mem,
                                      a.offset, row_a(form, m, k), b.mem, b.offset, row_b(form, n, k), beta, c.mem,
                                      c.offset, n, &queue, NULL),
                         "CLBlastSgemm");
}

tool_status_t blas_product(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, span_t b,
                           span_t c)
{
    return multiply(gpu, form, m, n, k, a, b, 0.0f, c);
}

tool_status_t blas_add_product(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, span_t b,
                               span_t c)
{
    return multiply(gpu, form, m, n, k, a, b, 1.0f, c);
}

tool_status_t blas_products(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, size_t a_stride,
                            span_t b, size_t b_stride, span_t c, size_t c_stride, size_t batch)
{
    cl_command_queue queue = gpu->queue;

    return check_clblast(gpu,
                         CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, transpose_a(form), transpose_b(form), m, n,
                                                    k, 1.0f, a.mem, a.offset, row_a(form, m, k), a_stride, b.mem,
                                                    b.offset, row_b(form, n, k), b_stride, 0.0f, c.mem, c.offset, n,
                                                    c_stride, batch, &queue, NULL),
                         "CLBlastSgemmStridedBatched");
}

tool_status_t blas_im2col(const gpu_t *gpu, const blas_window_t *window, span_t image, span_t columns)
{
    cl_command_queue queue = gpu->queue;

    return check_clblast(gpu,
                         CLBlastSim2col(CLBlastKernelModeCrossCorrelation, window->channels, window->height,
                                        window->width, window->kernel, window->kernel, window->padding, window->padding,
                                        1, 1, 1, 1, image.mem, image.offset, columns.mem, columns.offset, &queue, NULL),
                         "CLBlastSim2col");
}

tool_status_t blas_col2im(const gpu_t *gpu, const blas_window_t *window, span_t columns, span_t image)
{
    cl_command_queue queue  = gpu->queue;
    tool_status_t    status = gpu_zero(gpu, image, window->channels * window->height * window->width);

    if (status != TOOL_OK) { /* CLBlast adds to what is there */
        return status;
    }
    return check_clblast(gpu,
                         CLBlastScol2im(CLBlastKernelModeCrossCorrelation, window->channels, window->height,
                                        window->width, window->kernel, window->kernel, window->padding, window->padding,
                                        1, 1, 1, 1, columns.mem, columns.offset, image.mem, image.offset, &queue, NULL),
                         "CLBlastScol2im");
}
