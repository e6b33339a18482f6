/* How much of the gradients the factors capture: |M_w|^2 against |Q_w|^2, which differ by |e_w|^2. */
#ifndef PSGD_CORE_ENERGY_H
#define PSGD_CORE_ENERGY_H

#include "core/bucket.h"

/* Made where config.energy_every is not 0 and something is compressed. */
psgd_status_t psgd_energy_create(psgd_reducer_t *reducer);
void          psgd_energy_destroy(psgd_energy_meter_t *meter, bool keep_memory);

/* Whether the step under way is one that is measured. */
bool psgd_energy_is_wanted(const psgd_reducer_t *reducer);

/* At the beginning of a step. */
void psgd_energy_begin(psgd_reducer_t *reducer);

/* |M_w|^2 of all matrices, while M is where the step's first pass has left it. Enqueued; read when the device is waited for. */
psgd_status_t psgd_energy_enqueue(psgd_reducer_t *reducer);

/* Adds what this worker's own factor has captured: it is in `factor`, Q or P of all matrices of the bucket. */
void psgd_energy_add(psgd_bucket_t *bucket, const float *factor, bool is_q);

/* The sums over the workers; a collective of all of them, before the step commits. Steps that are not measured do nothing. */
void psgd_energy_share(psgd_reducer_t *reducer);

/* Of one tensor, or of all where tensor_index is SIZE_MAX. PSGD_ERR_STATE where nothing was measured. */
psgd_status_t psgd_energy_read(const psgd_reducer_t *reducer, size_t tensor_index, psgd_energy_t *energy_p);

#endif
