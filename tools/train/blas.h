/* Matrix products and the unfolding of images, by CLBlast. All matrices are row-major and dense; all calls enqueue. */
#ifndef PSGD_TRAIN_BLAS_H
#define PSGD_TRAIN_BLAS_H

#include "gpu.h"

typedef enum blas_form {
    BLAS_NN, /* C = A B:    A m x k, B k x n */
    BLAS_NT, /* C = A B^T:  A m x k, B n x k */
    BLAS_TN  /* C = A^T B:  A k x m, B k x n */
} blas_form_t;

/* C (m x n) = the product of this form. */
tool_status_t blas_product(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, span_t b,
                           span_t c);

/* C (m x n) += the product of this form. */
tool_status_t blas_add_product(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, span_t b,
                               span_t c);

/* `batch` products: those of example i are at a + i * a_stride, b + i * b_stride, c + i * c_stride (elements); a
 * stride of 0 takes the same matrix for all. */
tool_status_t blas_products(const gpu_t *gpu, blas_form_t form, size_t m, size_t n, size_t k, span_t a, size_t a_stride,
                            span_t b, size_t b_stride, span_t c, size_t c_stride, size_t batch);

/* A convolution over images of one size, with stride 1. */
typedef struct blas_window {
    size_t channels; /* of all images together: batch * channels of one */
    size_t height, width;
    size_t kernel;  /* kernel x kernel */
    size_t padding; /* zeros on each side */
} blas_window_t;

/* columns[channel][ky][kx][y][x] = image[channel][y + ky - padding][x + kx - padding] */
tool_status_t blas_im2col(const gpu_t *gpu, const blas_window_t *window, span_t image, span_t columns);

/* image[channel][y][x] = the sum of all elements of columns that blas_im2col() would have taken from there */
tool_status_t blas_col2im(const gpu_t *gpu, const blas_window_t *window, span_t columns, span_t image);

#endif
