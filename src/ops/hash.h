/* The hash of device memory, computed there: the value of psgd_hash_words() over the same words. */
#ifndef PSGD_OPS_HASH_H
#define PSGD_OPS_HASH_H

#include "device/buffer.h"
#include "device/device.h"

typedef struct psgd_hasher psgd_hasher_t;

psgd_status_t psgd_hasher_create(psgd_device_t *device, psgd_hasher_t **hasher_p);

/* Enqueues the hash of `words` 32-bit words at `view`; *hash_p is written by the time psgd_device_wait() returns.
 * words >= 1. Allocates nothing. */
psgd_status_t psgd_hasher_enqueue(psgd_hasher_t *hasher, psgd_view_t view, uint64_t words, uint64_t *hash_p);

/* The same of `bytes` bytes, 1 or more; of words where place and length are multiples of 4, else of halves or bytes. */
psgd_status_t psgd_hasher_enqueue_bytes(psgd_hasher_t *hasher, psgd_view_t view, size_t bytes, uint64_t *hash_p);

void psgd_hasher_destroy(psgd_hasher_t *hasher);

#endif
