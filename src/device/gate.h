/* What commands of the library's queue have to wait for, collected before it is known when they are enqueued. Neutral of OpenCL. */
#ifndef PSGD_DEVICE_GATE_H
#define PSGD_DEVICE_GATE_H

#include "device/device.h"

/* All zero: nothing to wait for. */
typedef struct psgd_gate {
    void **events; /* the backend's; retained */
    size_t count, capacity;
} psgd_gate_t;

/* All that the caller has enqueued on its own queue so far. Nothing where the library uses that queue. */
psgd_status_t psgd_gate_add_caller(psgd_gate_t *gate, psgd_device_t *device);

/* What the library enqueues from here on comes after all that was added; the gate is empty then. */
psgd_status_t psgd_gate_enqueue(psgd_gate_t *gate, psgd_device_t *device);

/* Whether there is nothing left to wait for. */
bool psgd_gate_is_open(const psgd_gate_t *gate);

/* Forgets what was added, and keeps the room. */
void psgd_gate_clear(psgd_gate_t *gate);
void psgd_gate_destroy(psgd_gate_t *gate);

#endif
