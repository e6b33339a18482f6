/* Staging: how factors get from device memory to where a communicator reads them, and back.
 *
 *   copy     the driver copies to and from the caller's host memory
 *   pinned   the driver copies to and from memory that it has allocated itself, and we copy on
 *   map      the device's buffer is mapped, and we copy; for devices that share the host's memory
 *
 * Communicators are always handed ordinary memory: MPI libraries and the memory of OpenCL drivers do not get along everywhere
 * (bus errors, a tenth of the speed), and factors are small. A buffer is never mapped while a kernel runs. */
#ifndef PSGD_COMM_STAGING_H
#define PSGD_COMM_STAGING_H

#include <psgd/psgd.h>

#include "device/buffer.h"
#include "device/device.h"

typedef struct psgd_stager psgd_stager_t;

/* For transfers of up to max_bytes >= 4. PSGD_STAGING_AUTO: map where the device shares the host's memory, else whichever copy is
 * faster, measured on `scratch`, max_bytes of device memory whose content is written back as it was. Waits.
 * PSGD_STAGING_MAP is taken on any device. */
psgd_status_t psgd_stager_create(psgd_device_t *device, psgd_staging_t how, psgd_view_t scratch, size_t max_bytes,
                                 psgd_stager_t **stager_p);

/* Which way was taken: not PSGD_STAGING_AUTO. */
psgd_staging_t psgd_stager_how(const psgd_stager_t *stager);

/* host = view, after all that was enqueued before. Waits for the device; `what` names it in errors, as for
 * psgd_device_wait(), whose errors it has. With psgd_device_is_stuck() the device may still write to `host`. */
psgd_status_t psgd_stager_read(psgd_stager_t *stager, psgd_view_t from, void *host, size_t bytes, const char *what);

/* The same in two parts, so that the host has something else to do in between. What a read that has begun needs lies in
 * *read_p, all zero before and after. */
typedef struct psgd_staged_read {
    psgd_mark_t mark; /* reached when psgd_stager_end_read() does not wait */
    psgd_view_t from;
    void       *host; /* where it goes */
    size_t      bytes;
    void       *mapped; /* PSGD_STAGING_MAP */
    bool        is_under_way;
} psgd_staged_read_t;

psgd_status_t psgd_stager_begin_read(psgd_stager_t *stager, psgd_view_t from, void *host, size_t bytes,
                                     psgd_staged_read_t *read_p);
psgd_status_t psgd_stager_end_read(psgd_stager_t *stager, psgd_staged_read_t *read, const char *what);

/* Instead of the second part, after the device has been waited for; fine where there was no first. */
void psgd_stager_cancel_read(psgd_stager_t *stager, psgd_staged_read_t *read);

/* view = host. Enqueued; `host` belongs to the transfer until the device is waited for. One write at a time of a pinned
 * stager: the device is waited for before the next. */
psgd_status_t psgd_stager_write(psgd_stager_t *stager, const void *host, psgd_view_t to, size_t bytes, const char *what);

/* The same without ever waiting for the device, as mapping does: there the driver copies. */
psgd_status_t psgd_stager_enqueue_write(psgd_stager_t *stager, const void *host, psgd_view_t to, size_t bytes);

void psgd_stager_destroy(psgd_stager_t *stager);

#endif
