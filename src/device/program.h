/* Programs and kernels. For src/ops alone: the OpenCL side of a device. */
#ifndef PSGD_DEVICE_PROGRAM_H
#define PSGD_DEVICE_PROGRAM_H

#include "device/buffer.h"
#include "device/device.h"

typedef struct psgd_program psgd_program_t;
typedef struct psgd_kernel  psgd_kernel_t;

/* One file of cl/ ("decompress.cl"), compiled with the -D options given ("-DPSGD_WIDTH=16" or ""), plus -cl-std=CL1.2.
 * Lines `#include "name.clh"` are resolved among the embedded files (or in PSGD_KERNEL_DIR). Never -cl-fast-relaxed-math or
 * anything else that changes floating point. Each is compiled once a device: *program_p belongs to the device, and ends with
 * it. Errors: PSGD_ERR_BUILD with the build log, device and driver in the sentence; PSGD_ERR_HOST_MEMORY, PSGD_ERR_OPENCL. */
psgd_status_t psgd_program_get(psgd_device_t *device, const char *file, const char *options,
                               psgd_program_t **program_p);

/* One kernel of a program; freed by psgd_kernel_destroy(), before its device is closed. */
psgd_status_t psgd_kernel_create(psgd_program_t *program, const char *name, psgd_kernel_t **kernel_p);
void psgd_kernel_destroy(psgd_kernel_t *kernel);

/* The largest work-group that this kernel runs with on its device (CL_KERNEL_WORK_GROUP_SIZE). */
size_t psgd_kernel_max_work_group_size(const psgd_kernel_t *kernel);

/* One argument of a launch: PSGD_ARG(x) for a scalar or struct lvalue, PSGD_ARG_MEM(view) for the memory object of a view (kernels
 * get the offset as an argument of its own), PSGD_ARG_LOCAL(bytes) for local memory. */
typedef struct psgd_arg {
    size_t      bytes;
    const void *value; /* NULL: local memory */
} psgd_arg_t;

#define PSGD_ARG(x_)           ((psgd_arg_t){sizeof(x_), &(x_)})
#define PSGD_ARG_MEM(view_)    ((psgd_arg_t){sizeof((view_).mem), &(view_).mem})
#define PSGD_ARG_LOCAL(bytes_) ((psgd_arg_t){(bytes_), NULL})

/* Sets all arguments and enqueues. `dims` 1 to 3; `local` NULL: the driver chooses. `global` is a multiple of `local`, and
 * none of it is 0. Errors: PSGD_ERR_OPENCL, with the kernel's name. */
psgd_status_t psgd_kernel_enqueue(psgd_device_t *device, psgd_kernel_t *kernel, unsigned dims, const size_t *global,
                                  const size_t *local, const psgd_arg_t *args, size_t num_args);

#endif
