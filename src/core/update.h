/* Parameters updated straight from the factors, in place of a decompressed update. */
#ifndef PSGD_CORE_UPDATE_H
#define PSGD_CORE_UPDATE_H

#include "core/reducer.h"

/* What the caller's optimizer brings to one step: psgd_optimizer_t, checked, as views. */
typedef struct psgd_update {
    psgd_rule_t        rule;
    float              learning_rate, momentum, weight_decay;
    const psgd_view_t *params;      /* by tensor index */
    const psgd_view_t *momenta;     /* NULL without */
    const psgd_view_t *half_params; /* NULL without; 16-bit elements */
} psgd_update_t;

/* Kernels for this step's update, where those of the last one do not serve. */
psgd_status_t psgd_update_prepare(psgd_reducer_t *reducer);

/* Whether the step under way has an update, which takes the factors. */
bool psgd_update_takes_factors(const psgd_reducer_t *reducer);

/* What all workers must bring alike; 0 without an update. */
uint64_t psgd_update_hash(const psgd_reducer_t *reducer);

/* After the last vote of a compressed step: parameters and momenta, from the factors of the update (r x rows, r x cols, as psgd_updater
 * was made for them) and the means of the uncompressed tensors: small ones at `small`, in the order of the plan. In the
 * transactional form the error memory first. Enqueued. */
psgd_status_t psgd_update_enqueue(psgd_reducer_t *reducer, psgd_view_t p, psgd_view_t q, psgd_view_t small);

/* Parameters and momenta from an update that has been written where the gradients were: after a plain step, and where the factors
 * cannot be taken. Enqueued. */
psgd_status_t psgd_update_enqueue_written(psgd_reducer_t *reducer);

void psgd_updater_destroy(psgd_updater_t *updater);

#endif
