/* The small uncompressed tensors, from where they lie into one array, and back: a launch for all of them. */
#ifndef PSGD_OPS_PACK_H
#define PSGD_OPS_PACK_H

#include "device/buffer.h"
#include "device/device.h"
#include "plan/plan.h"

typedef struct psgd_packer psgd_packer_t;

/* For the tensors of route PSGD_ROUTE_SMALL, of which there is one at least; each lies at its offset_elems of the array.
 * `plan` outlives it. */
psgd_status_t psgd_packer_create(psgd_device_t *device, const psgd_plan_t *plan, psgd_packer_t **packer_p);

/* grads: by tensor index. Allocate nothing. */
psgd_status_t psgd_packer_enqueue_pack(psgd_packer_t *packer, const psgd_view_t *grads, psgd_view_t packed);
psgd_status_t psgd_packer_enqueue_unpack(psgd_packer_t *packer, psgd_view_t packed, const psgd_view_t *grads);

void psgd_packer_destroy(psgd_packer_t *packer);

#endif
