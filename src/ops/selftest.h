/* The known answers that equal bits on every worker rest on, computed by the library's own kernels. */
#ifndef PSGD_OPS_SELFTEST_H
#define PSGD_OPS_SELFTEST_H

#include <psgd/psgd.h>

/* Runs them on `id`, in a context and a queue of its own; *selftest_p is written whole, struct_size included. A device that
 * computes wrongly is no error: `passed` is 0 then.
 * Errors: PSGD_ERR_DEVICE_UNSUITABLE, PSGD_ERR_HOST_MEMORY, PSGD_ERR_DEVICE_MEMORY, PSGD_ERR_BUILD, PSGD_ERR_OPENCL,
 * PSGD_ERR_TIMEOUT. */
psgd_status_t psgd_selftest_run(cl_device_id id, psgd_selftest_t *selftest_p);

#endif
