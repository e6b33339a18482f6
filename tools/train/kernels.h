/* The kernels of psgd-train. */
#ifndef PSGD_TRAIN_KERNELS_H
#define PSGD_TRAIN_KERNELS_H

#include "gpu.h"

/* The kernels of this tool: how they are called here, the file that holds them (tools/train/), their name there. */
#define GPU_KERNEL_TABLE(ROW) \
    ROW(GATHER_IMAGES, "train_gather.cl", "gather_images") \
    ROW(GATHER_LABELS, "train_gather.cl", "gather_labels") \
    ROW(ADD_BIAS, "train_bias.cl", "add_bias") \
    ROW(MASK_BY_RELU, "train_bias.cl", "mask_by_relu") \
    ROW(POOL, "train_pool.cl", "bias_relu_pool") \
    ROW(UNPOOL, "train_pool.cl", "bias_relu_pool_backward") \
    ROW(SUM_ROWS, "train_sum.cl", "sum_rows") \
    ROW(SUM_EXAMPLES, "train_sum.cl", "sum_examples") \
    ROW(SOFTMAX, "train_softmax.cl", "softmax_cross_entropy") \
    ROW(SOFTMAX_WORDS, "train_softmax_words.cl", "softmax_words") \
    ROW(EMBED_WORDS, "train_embed.cl", "embed_words") \
    ROW(SUM_BY_WORD, "train_embed.cl", "sum_by_word") \
    ROW(LSTM_CELL, "train_lstm.cl", "lstm_cell") \
    ROW(LSTM_CELL_BACKWARD, "train_lstm.cl", "lstm_cell_backward") \
    ROW(MOMENTUM, "train_momentum.cl", "momentum_step") \
    ROW(NARROW, "train_narrow.cl", "narrow_gradients") \
    ROW(WIDEN, "train_narrow.cl", "widen_update")

typedef enum train_kernel {
#define GPU_KERNEL_ROW(id_, file_, name_) GPU_KERNEL_##id_,
    GPU_KERNEL_TABLE(GPU_KERNEL_ROW)
#undef GPU_KERNEL_ROW
        GPU_NUM_KERNELS
} train_kernel_t;

extern const gpu_program_t train_program;

#endif
