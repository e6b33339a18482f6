/* Convolution, bias, ReLU and 2x2 max pooling as one layer.
 *
 * The images of a batch are unfolded by one im2col, in which every channel of every image counts as a channel: its rows
 * are (image, channel, ky, kx), so that image n has a matrix of taps x positions, and the convolution is a product for
 * each image.
 *
 *   taps = channels * kernel * kernel;  positions = height * width of the convolution (before pooling) */
#include "layer.h"

#include "blas.h"
#include "kernels.h"

typedef struct conv {
    layer_t       base;
    size_t        weight, bias; /* indices of parameters */
    blas_window_t window;
    size_t        filters, taps, positions;
    size_t        pooled_height, pooled_width;
    cl_mem        columns;      /* batch x taps x positions: the unfolded input; in backward then its gradient */
    cl_mem        z;            /* batch x filters x positions: the convolution; in backward its gradient */
    cl_mem        choice;       /* batch x out_elems bytes: which of the four was greatest */
    cl_mem        weight_parts; /* batch x filters x taps: the weight's gradient, image by image */
    cl_mem        bias_parts;   /* batch x filters */
} conv_t;

/* z[n] (filters x positions) = W (filters x taps) columns[n] (taps x positions); output = pool(max(z + b, 0)) */
static tool_status_t conv_forward(layer_t *layer, cl_mem input)
{
    const conv_t *conv        = (const conv_t *)layer;
    cl_uint       bias_offset = (cl_uint)params_value(layer->params, conv->bias).offset;
    cl_uint       channels    = (cl_uint)conv->filters;
    cl_uint       height      = (cl_uint)conv->pooled_height;
    cl_uint       width       = (cl_uint)conv->pooled_width;
    tool_status_t status;

    status = blas_im2col(layer->gpu, &conv->window, (span_t){input, 0}, (span_t){conv->columns, 0});
    if (status == TOOL_OK) {
        status = blas_products(layer->gpu, BLAS_NN, conv->filters, conv->positions, conv->taps,
                               params_value(layer->params, conv->weight), 0, (span_t){conv->columns, 0},
                               conv->taps * conv->positions, (span_t){conv->z, 0}, conv->filters * conv->positions,
                               layer->batch);
    }
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_POOL, layer->batch * layer->out_elems, GPU_ARG(conv->z),
                            GPU_ARG(layer->params->values), GPU_ARG(bias_offset), GPU_ARG(channels), GPU_ARG(height),
                            GPU_ARG(width), GPU_ARG(layer->output), GPU_ARG(conv->choice));
    }
    return status;
}

/* z_grad from output_grad, through pooling and ReLU; b' = the sums over images and positions of what passed */
static tool_status_t backward_to_z(const conv_t *conv)
{
    const layer_t *layer       = &conv->base;
    cl_uint        batch       = (cl_uint)layer->batch;
    cl_uint        width       = (cl_uint)conv->pooled_width;
    cl_uint        length      = (cl_uint)(conv->pooled_height * conv->pooled_width);
    cl_uint        bias_offset = (cl_uint)params_grad(layer->params, conv->bias).offset;
    tool_status_t  status;

    status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_UNPOOL, layer->batch * layer->out_elems, GPU_ARG(layer->output),
                        GPU_ARG(conv->choice), GPU_ARG(width), GPU_ARG(layer->output_grad), GPU_ARG(conv->z));
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_ROWS, layer->batch * conv->filters, GPU_ARG(layer->output_grad),
                            GPU_ARG(length), GPU_ARG(conv->bias_parts));
    }
    if (status == TOOL_OK) {
        status = GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_EXAMPLES, conv->filters, GPU_ARG(conv->bias_parts),
                            GPU_ARG(batch), GPU_ARG(layer->params->grads), GPU_ARG(bias_offset));
    }
    return status;
}

/* W' (filters x taps) = sum over n of z_grad[n] (filters x positions) columns[n] (taps x positions)^T */
static tool_status_t backward_to_weight(const conv_t *conv)
{
    const layer_t *layer         = &conv->base;
    cl_uint        batch         = (cl_uint)layer->batch;
    cl_uint        weight_offset = (cl_uint)params_grad(layer->params, conv->weight).offset;
    tool_status_t  status;

    status = blas_products(layer->gpu, BLAS_NT, conv->filters, conv->taps, conv->positions, (span_t){conv->z, 0},
                           conv->filters * conv->positions, (span_t){conv->columns, 0}, conv->taps * conv->positions,
                           (span_t){conv->weight_parts, 0}, conv->filters * conv->taps, layer->batch);
    if (status != TOOL_OK) {
        return status;
    }
    return GPU_LAUNCH(layer->gpu, GPU_KERNEL_SUM_EXAMPLES, conv->filters * conv->taps, GPU_ARG(conv->weight_parts),
                      GPU_ARG(batch), GPU_ARG(layer->params->grads), GPU_ARG(weight_offset));
}

/* columns_grad[n] (taps x positions) = W (filters x taps)^T z_grad[n] (filters x positions); input_grad = it, folded */
static tool_status_t conv_backward_input(layer_t *layer, cl_mem input_grad)
{
    const conv_t  *conv = (const conv_t *)layer;
    tool_status_t  status;

    status = blas_products(layer->gpu, BLAS_TN, conv->taps, conv->positions, conv->filters,
                           params_value(layer->params, conv->weight), 0, (span_t){conv->z, 0},
                           conv->filters * conv->positions, (span_t){conv->columns, 0}, conv->taps * conv->positions,
                           layer->batch);
    if (status != TOOL_OK) {
        return status;
    }
    return blas_col2im(layer->gpu, &conv->window, (span_t){conv->columns, 0}, (span_t){input_grad, 0});
}

static tool_status_t conv_backward_params(layer_t *layer, cl_mem input)
{
    const conv_t *conv   = (const conv_t *)layer;
    tool_status_t status = backward_to_z(conv);

    (void)input; /* forward has left it unfolded */
    return status == TOOL_OK ? backward_to_weight(conv) : status;
}

static void conv_destroy(layer_t *layer)
{
    conv_t *conv = (conv_t *)layer;

    gpu_free(conv->columns);
    gpu_free(conv->z);
    gpu_free(conv->choice);
    gpu_free(conv->weight_parts);
    gpu_free(conv->bias_parts);
    layer_free(layer);
}

static const layer_ops_t conv_ops = {conv_forward, conv_backward_params, conv_backward_input, conv_destroy};

static tool_status_t conv_allocate(conv_t *conv)
{
    const gpu_t  *gpu    = conv->base.gpu;
    size_t        batch  = conv->base.batch;
    tool_status_t status = layer_allocate(&conv->base);

    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, batch * conv->taps * conv->positions, sizeof(float), "unfolded images", &conv->columns);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, batch * conv->filters * conv->positions, sizeof(float), "a convolution", &conv->z);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, batch * conv->base.out_elems, sizeof(cl_uchar), "what pooling chose", &conv->choice);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, batch * conv->filters * conv->taps, sizeof(float), "a filter's gradients",
                           &conv->weight_parts);
    }
    if (status == TOOL_OK) {
        status = gpu_alloc(gpu, batch * conv->filters, sizeof(float), "a bias's gradients", &conv->bias_parts);
    }
    return status;
}

tool_status_t layer_create_conv(params_t *params, size_t batch, const conv_shape_t *shape, const char *weight_name,
                                const char *bias_name, layer_t **layer_p)
{
    uint64_t      dims[4] = {shape->filters, shape->channels, shape->kernel, shape->kernel};
    size_t        height  = shape->height + 2 * shape->padding - shape->kernel + 1; /* of the convolution */
    size_t        width   = shape->width + 2 * shape->padding - shape->kernel + 1;
    conv_t       *conv    = NULL;
    tool_status_t status;

    if (height % 2 != 0 || width % 2 != 0) {
        return tool_fail(TOOL_FAILED, "%s gives %zu x %zu, which 2x2 pooling does not divide", weight_name, height,
                         width);
    }
    status = tool_alloc(1, sizeof(*conv), "a layer", &conv);
    if (status != TOOL_OK) {
        return status;
    }
    conv->base          = (layer_t){&conv_ops,
                                    params->gpu,
                                    params,
                                    batch,
                                    params->count,
                                    2,
                                    shape->channels * shape->height * shape->width,
                                    shape->filters * (height / 2) * (width / 2),
                                    NULL,
                                    NULL,
                                    NULL,
                                    0};
    conv->window = (blas_window_t){batch * shape->channels, shape->height, shape->width, shape->kernel, shape->padding};
    conv->filters       = shape->filters;
    conv->taps          = shape->channels * shape->kernel * shape->kernel;
    conv->positions     = height * width;
    conv->pooled_height = height / 2;
    conv->pooled_width  = width / 2;
    status              = params_add(params, weight_name, 4, dims, conv->taps, &conv->weight);
    if (status == TOOL_OK) {
        status = params_add(params, bias_name, 1, dims, 0, &conv->bias);
    }
    if (status == TOOL_OK) {
        status = conv_allocate(conv);
    }
    if (status != TOOL_OK) {
        conv_destroy(&conv->base);
        return status;
    }
    *layer_p = &conv->base;
    return TOOL_OK;
}
