/* Another rank for a reducer that has been at work. */
#ifndef PSGD_CORE_RERANK_H
#define PSGD_CORE_RERANK_H

#include "core/reducer.h"

/* As psgd_reducer_set_ranks() says; a collective that every worker reaches: `local` is this worker's failure before it came here,
 * or PSGD_OK. ranks: by tensor index; NULL where `local` is a failure. Returns the same status on every worker. */
psgd_status_t psgd_reducer_change_ranks(psgd_reducer_t *reducer, const uint32_t *ranks, psgd_status_t local);

#endif
