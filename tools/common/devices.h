/* Which device each worker takes. */
#ifndef PSGD_TOOLS_DEVICES_H
#define PSGD_TOOLS_DEVICES_H

#include "workers.h"

/* A collective of all workers, the first that calls OpenCL. The device is that of psgd_device_find(which). Where
 * that leaves a choice (`which`, or PSGD_DEVICE where it is NULL, is not an index), the workers of one machine go
 * around the usable devices of the same kind and platform, beginning with it. A GPU that two workers have to share
 * is worth a warning on stderr. */
tool_status_t devices_choose(const char *which, const workers_t *workers, psgd_device_info_t *info_p);

/* The same number for devices that compile to the same binaries. */
uint64_t devices_hash(const psgd_device_info_t *info);

#endif
