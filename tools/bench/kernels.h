/* The kernels of psgd-bench. */
#ifndef PSGD_BENCH_KERNELS_H
#define PSGD_BENCH_KERNELS_H

#include "measure_kernels.h"

/* How they are called here, the file that holds them (tools/bench/), their name there; before them those of tools/common/, whose numbers
 * are the same here and there. */
#define BENCH_KERNEL_TABLE(ROW) \
    MEASURE_KERNEL_TABLE(ROW) \
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
