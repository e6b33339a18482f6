/* Many arrays in as few buffers as the device's largest allocation allows. */
#ifndef PSGD_DEVICE_ARENA_H
#define PSGD_DEVICE_ARENA_H

#include "device/buffer.h"

typedef struct psgd_arena {
    psgd_view_t *buffers;
    size_t       num_buffers;
} psgd_arena_t;

/* One array: an array's `bytes` may be 0, then it gets no place. `name` is the user's word for it, for errors. */
typedef struct psgd_array {
    const char *name;
    uint64_t    bytes;
} psgd_array_t;

/* views[i] becomes the place of arrays[i], aligned for vectors, all zero. `what` names all of them: "the error memory". What was
 * made before a failure is freed by psgd_arena_destroy(). */
psgd_status_t psgd_arena_create(psgd_device_t *device, const psgd_array_t *arrays, size_t num_arrays, const char *what,
                                psgd_arena_t *arena, psgd_view_t *views);
void          psgd_arena_destroy(psgd_device_t *device, psgd_arena_t *arena); /* fine where it is all zero */

#endif
