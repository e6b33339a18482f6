/* The known answer that equal bits on unlike devices rest on: updates formed by the library's own kernel, against the host's fmaf(). */
#ifndef PSGD_OPS_KNOWN_UPDATE_H
#define PSGD_OPS_KNOWN_UPDATE_H

#include <stdint.h>

#include "device/device.h"
#include "ops/engine.h"

/* Forms updates of rank min(r, 32), r >= 1, as a decompressor of this form does (PSGD_FORM_HALF: as one without feedback); denormal,
 * tiny and huge numbers and cancellations are among them. *values_p: elements compared; *wrong_p: those that differ in any bit.
 * Waits. */
psgd_status_t psgd_known_update_run(psgd_device_t *device, psgd_form_t form, uint32_t r, uint64_t *values_p, uint64_t *wrong_p);

#endif
