#include "kernels.h"

#include "kernel_table.h"

#define DECLARE_KERNEL(file_, symbol_) extern const unsigned char psgd_kernel_##symbol_[];
MEASURE_SOURCE_TABLE(DECLARE_KERNEL)
PSGD_KERNEL_TABLE(DECLARE_KERNEL)
#undef DECLARE_KERNEL

static const gpu_source_t sources[] = {
#define SOURCE_ROW(file_, symbol_) {file_, psgd_kernel_##symbol_},
    MEASURE_SOURCE_TABLE(SOURCE_ROW)
    PSGD_KERNEL_TABLE(SOURCE_ROW)
#undef SOURCE_ROW
};

static const gpu_kernel_row_t kernel_rows[BENCH_NUM_KERNELS] = {
#define KERNEL_ROW(id_, file_, name_) {file_, name_},
    BENCH_KERNEL_TABLE(KERNEL_ROW)
#undef KERNEL_ROW
};

const gpu_program_t bench_program = {sources, sizeof(sources) / sizeof(sources[0]), kernel_rows, BENCH_NUM_KERNELS};
