/* Sleeps until the device is through, or for a time: a thread waits in clWaitForEvents(), which knows no deadline, in place of the
 * caller, who has one. On devices that compute on the host's own cores each look at an event takes a core from the driver's threads; a
 * thread that waits costs nothing. (Event callbacks would do as well, but drivers have deadlocked in them.) For the files of this room
 * alone; one caller at a time. */
#ifndef PSGD_DEVICE_WAKER_H
#define PSGD_DEVICE_WAKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "device/cl_device.h"

typedef struct psgd_waker psgd_waker_t;

/* Starts the thread, with all signals blocked. PSGD_ERR_HOST_MEMORY: the system starts no more. */
psgd_status_t psgd_waker_create(psgd_waker_t **waker_p);

/* Has the thread wait for the event, which the caller keeps until psgd_waker_sleep() has returned true, or for ever, and which is flushed.
 * False: it still waits for another. */
bool psgd_waker_watch(psgd_waker_t *waker, cl_event event);

/* Returns when the thread waits no more, since the event is complete, or has failed, or its driver cannot wait for it; or when `ns`
 * nanoseconds are over. Whether the thread waits no more. */
bool psgd_waker_sleep(psgd_waker_t *waker, uint64_t ns);

/* Ends the thread. One that the driver still keeps after `ns` nanoseconds is left to itself, with what it needs, and ends when the driver
 * lets it. NULL is fine. */
void psgd_waker_destroy(psgd_waker_t *waker, uint64_t ns);

#endif
