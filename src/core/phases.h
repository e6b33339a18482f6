/* Running the phases of a step: who takes part, and how long each takes. */
#ifndef PSGD_CORE_PHASES_H
#define PSGD_CORE_PHASES_H

#include "core/reducer.h"

/* A part that this worker does alone. Skipped once the step has ended or something has failed here; its failure is noted. */
typedef psgd_status_t (*psgd_compute_fn)(psgd_reducer_t *reducer);
void psgd_phase_compute(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_compute_fn compute);

/* A part that all workers do together. Skipped once the step has ended, and then on all of them; never because of a failure here. */
typedef void (*psgd_exchange_fn)(psgd_reducer_t *reducer);
void psgd_phase_exchange(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_exchange_fn exchange);

#endif
