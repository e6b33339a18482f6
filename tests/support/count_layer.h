/* An OpenCL layer (cl_loader_layers; ocl-icd: OPENCL_LAYERS=libpsgd_count_layer.so) that counts what a process asks of
 * OpenCL, from outside of the library that asks. What a driver calls inside itself is not seen.
 *
 * The process finds the counters, psgd_counted_calls, by dlsym() in the layer that its loader has opened. */
#ifndef PSGD_TESTS_SUPPORT_COUNT_LAYER_H
#define PSGD_TESTS_SUPPORT_COUNT_LAYER_H

#include <stdatomic.h>
#include <stdint.h>

/* The calls that are counted: all of OpenCL 1.2 that enqueue a kernel, move a buffer, create or build something. */
#define COUNTED_CALL_TABLE(ROW) \
    ROW(clEnqueueNDRangeKernel) \
    ROW(clEnqueueTask) \
    ROW(clEnqueueCopyBuffer) \
    ROW(clEnqueueCopyBufferRect) \
    ROW(clEnqueueFillBuffer) \
    ROW(clEnqueueReadBuffer) \
    ROW(clEnqueueReadBufferRect) \
    ROW(clEnqueueWriteBuffer) \
    ROW(clEnqueueWriteBufferRect) \
    ROW(clEnqueueMapBuffer) \
    ROW(clEnqueueUnmapMemObject) \
    ROW(clCreateContext) \
    ROW(clCreateContextFromType) \
    ROW(clCreateSubDevices) \
    ROW(clCreateCommandQueue) \
    ROW(clCreateBuffer) \
    ROW(clCreateSubBuffer) \
    ROW(clCreateImage) \
    ROW(clCreateImage2D) \
    ROW(clCreateImage3D) \
    ROW(clCreateSampler) \
    ROW(clCreateProgramWithSource) \
    ROW(clCreateProgramWithBinary) \
    ROW(clCreateProgramWithBuiltInKernels) \
    ROW(clCreateKernel) \
    ROW(clCreateKernelsInProgram) \
    ROW(clCreateUserEvent) \
    ROW(clBuildProgram) \
    ROW(clCompileProgram) \
    ROW(clLinkProgram)

typedef enum counted_call {
#define COUNTED_CALL_ROW(name_) CALL_##name_,
    COUNTED_CALL_TABLE(COUNTED_CALL_ROW)
#undef COUNTED_CALL_ROW
    NUM_COUNTED_CALLS
} counted_call_t;

/* What the layer exports as psgd_counted_calls; it only grows. */
typedef struct counted_calls {
    _Atomic uint64_t calls[NUM_COUNTED_CALLS];
    _Atomic uint64_t clblast_sources; /* calls of clCreateProgramWithSource with a source of CLBlast's */
} counted_calls_t;

#endif
