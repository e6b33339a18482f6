/* Device memory, as a handle and an offset. */
#ifndef PSGD_DEVICE_BUFFER_H
#define PSGD_DEVICE_BUFFER_H

#include "device/device.h"

/* A place in device memory: a memory object of the backend (a cl_mem) and a byte offset. The library's own or the caller's. */
typedef struct psgd_view {
    void  *mem;
    size_t offset_bytes;
} psgd_view_t;

/* A new buffer, every byte zero, at least 4 bytes; *view_p has offset 0. `what` names it in errors: "the error memory".
 * Errors: PSGD_ERR_DEVICE_MEMORY (also above the device's largest allocation), PSGD_ERR_OPENCL. Zeroing is enqueued. */
psgd_status_t psgd_buffer_create(psgd_device_t *device, size_t bytes, const char *what, psgd_view_t *view_p);

/* Releases it and sets view->mem to NULL; fine for a view that is all zero. */
void psgd_buffer_destroy(psgd_device_t *device, psgd_view_t *view);

/* view moved on by `bytes`. */
psgd_view_t psgd_view_at(psgd_view_t view, size_t bytes);

/* Transfers between host memory and view, `bytes` > 0. Enqueued: the host memory belongs to the transfer until
 * psgd_device_wait(). Errors: PSGD_ERR_OPENCL. */
psgd_status_t psgd_buffer_enqueue_write(psgd_device_t *device, psgd_view_t to, const void *from, size_t bytes);
psgd_status_t psgd_buffer_enqueue_read(psgd_device_t *device, psgd_view_t from, void *to, size_t bytes);

/* view in the host's address space, `bytes` > 0. The pointer may be used from psgd_device_wait() on, until the unmap; no
 * kernel uses the buffer in between. PSGD_MAP_WRITE: all of it will be written, what it held is lost. */
typedef enum psgd_map_mode { PSGD_MAP_READ, PSGD_MAP_WRITE } psgd_map_mode_t;

psgd_status_t psgd_buffer_enqueue_map(psgd_device_t *device, psgd_view_t view, size_t bytes, psgd_map_mode_t mode,
                                      void **pointer_p);
psgd_status_t psgd_buffer_enqueue_unmap(psgd_device_t *device, psgd_view_t view, void *pointer);

/* An unmap after something else has failed: leaves the last error alone, and what else can fail nobody can repair. */
void psgd_buffer_cancel_map(psgd_device_t *device, psgd_view_t view, void *pointer);

/* Host memory that the driver has allocated, from which and to which it copies fastest. */
typedef struct psgd_pinned {
    void *mem; /* the memory object behind it */
    void *host;
} psgd_pinned_t;

psgd_status_t psgd_pinned_create(psgd_device_t *device, size_t bytes, psgd_pinned_t *pinned_p);
void          psgd_pinned_destroy(psgd_device_t *device, psgd_pinned_t *pinned); /* fine where it is all zero */

/* Device to device; regions do not overlap. */
psgd_status_t psgd_buffer_enqueue_copy(psgd_device_t *device, psgd_view_t from, psgd_view_t to, size_t bytes);

/* Zeroes; bytes is a multiple of 4. */
psgd_status_t psgd_buffer_enqueue_zero(psgd_device_t *device, psgd_view_t view, size_t bytes);

#endif
