/* The second sum: results that were added up in parts, a part a tile, are added up in the order of the parts. */
#ifndef PSGD_OPS_SUM_PARTS_H
#define PSGD_OPS_SUM_PARTS_H

#include "device/buffer.h"
#include "device/device.h"

/* out[out_offset + i] = sum over parts t of parts[part_offset + t * stride + i], i < count; elements. */
typedef struct psgd_summation {
    uint64_t out_offset;
    uint64_t part_offset;
    uint64_t stride;
    uint64_t count;
    uint32_t num_parts;
} psgd_summation_t;

typedef struct psgd_sum_parts psgd_sum_parts_t;

/* num_summations >= 1, copied. Waits for an upload. */
psgd_status_t psgd_sum_parts_create(psgd_device_t *device, const psgd_summation_t *summations, size_t num_summations,
                                    psgd_sum_parts_t **sum_p);

/* One launch for all of them. Allocates nothing. */
psgd_status_t psgd_sum_parts_enqueue(psgd_sum_parts_t *sum, psgd_view_t parts, psgd_view_t out);

/* The summations from number `first` to `end` - 1 alone; nothing to do where there are none. */
psgd_status_t psgd_sum_parts_enqueue_some(psgd_sum_parts_t *sum, size_t first, size_t end, psgd_view_t parts,
                                          psgd_view_t out);

void psgd_sum_parts_destroy(psgd_sum_parts_t *sum);

#endif
