/* The kernels of the tools that measure: what makes gradients, and moves of memory. */
#ifndef PSGD_TOOLS_MEASURE_KERNELS_H
#define PSGD_TOOLS_MEASURE_KERNELS_H

#include "gpu.h"

/* How they are called here, the file that holds them (tools/common/), their name there. A tool's table begins with these. */
#define MEASURE_KERNEL_TABLE(ROW) \
    ROW(FILL_GRADIENTS, "measure_gradients.cl", "fill_gradients") \
    ROW(FILL_HALF_GRADIENTS, "measure_gradients.cl", "fill_half_gradients") \
    ROW(ADD_CHUNKS, "measure_floor.cl", "add_chunks") \
    ROW(FILL_CHUNKS, "measure_floor.cl", "fill_chunks") \
    ROW(SPLIT_CHUNKS, "measure_floor.cl", "split_chunks") \
    ROW(SUM_CHUNKS, "measure_floor.cl", "sum_chunks") \
    ROW(ADD_STRIDED, "measure_floor.cl", "add_strided") \
    ROW(FILL_STRIDED, "measure_floor.cl", "fill_strided") \
    ROW(SPLIT_STRIDED, "measure_floor.cl", "split_strided") \
    ROW(SUM_STRIDED, "measure_floor.cl", "sum_strided") \
    ROW(SUM_PARTIALS, "measure_floor.cl", "sum_partials")

typedef enum measure_kernel {
#define MEASURE_KERNEL_ROW(id_, file_, name_) MEASURE_KERNEL_##id_,
    MEASURE_KERNEL_TABLE(MEASURE_KERNEL_ROW)
#undef MEASURE_KERNEL_ROW
        MEASURE_NUM_KERNELS
} measure_kernel_t;

/* The embedded files: their names, and the symbols behind psgd_kernel_. A tool's table of sources has these too. */
#define MEASURE_SOURCE_TABLE(ROW) \
    ROW("measure_gradients.cl", measure_gradients_cl) \
    ROW("measure_floor.cl", measure_floor_cl)

/* These kernels alone. */
extern const gpu_program_t measure_program;

#endif
