/* The kernels of psgd-bench. */
#ifndef PSGD_BENCH_KERNELS_H
#define PSGD_BENCH_KERNELS_H

#include "gpu.h"

/* How they are called here, the file that holds them (tools/bench/), their name there. */
#define BENCH_KERNEL_TABLE(ROW) \
    ROW(FILL_GRADIENTS, "bench_gradients.cl", "fill_gradients") \
    ROW(FILL_HALF_GRADIENTS, "bench_gradients.cl", "fill_half_gradients") \
    ROW(ADD_CHUNKS, "bench_floor.cl", "add_chunks") \
    ROW(FILL_CHUNKS, "bench_floor.cl", "fill_chunks") \
    ROW(SPLIT_CHUNKS, "bench_floor.cl", "split_chunks") \
    ROW(SUM_CHUNKS, "bench_floor.cl", "sum_chunks") \
    ROW(ADD_STRIDED, "bench_floor.cl", "add_strided") \
    ROW(FILL_STRIDED, "bench_floor.cl", "fill_strided") \
    ROW(SPLIT_STRIDED, "bench_floor.cl", "split_strided") \
    ROW(SUM_STRIDED, "bench_floor.cl", "sum_strided") \
    ROW(SUM_PARTIALS, "bench_floor.cl", "sum_partials") \
    ROW(MOMENTUM_STEP, "bench_update.cl", "momentum_step") \
    ROW(SPEND_TIME, "bench_backward.cl", "spend_time")

typedef enum bench_kernel {
#define BENCH_KERNEL_ROW(id_, file_, name_) BENCH_KERNEL_##id_,
    BENCH_KERNEL_TABLE(BENCH_KERNEL_ROW)
#undef BENCH_KERNEL_ROW
        BENCH_NUM_KERNELS
} bench_kernel_t;

extern const gpu_program_t bench_program;

#endif
