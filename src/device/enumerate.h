/* Finding devices and saying what they can do. */
#ifndef PSGD_DEVICE_ENUMERATE_H
#define PSGD_DEVICE_ENUMERATE_H

#include <stddef.h>

#include <psgd/psgd.h>

/* Every device of every platform, usable or not, in the loader's order; *infos_p is freed by psgd_free(). No driver at
 * all, and platforms without devices, are normal: *count_p is 0. Errors: PSGD_ERR_OPENCL, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_devices_enumerate(psgd_device_info_t **infos_p, size_t *count_p);

/* Properties and verdict of one device, whatever is wrong with it; the indices are left at 0. */
psgd_device_info_t psgd_device_describe(cl_device_id device);

/* Chooses a usable one of infos by the words of psgd_device_find() in psgd.h.
 * Errors: PSGD_ERR_NO_DEVICE, PSGD_ERR_DEVICE_UNSUITABLE. */
psgd_status_t psgd_device_choose(const psgd_device_info_t *infos, size_t count, const char *which, size_t *chosen_p);

#endif
