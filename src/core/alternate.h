/* Alternating half-iterations (the powersgd package of the paper's authors; ACP-SGD): see core/alternate.c. */
#ifndef PSGD_CORE_ALTERNATE_H
#define PSGD_CORE_ALTERNATE_H

#include "core/reducer.h"

/* What the half-iterations of a step need beyond what full iterations do: made where config.half_iterations is not 0. */
psgd_status_t psgd_alternation_create(psgd_reducer_t *reducer);
void          psgd_alternation_destroy(psgd_alternation_t *alternation, bool keep_memory);

/* The plan with the rank of all pieces of a step together, which the update is summed by. */
const psgd_plan_t *psgd_alternation_plan(const psgd_reducer_t *reducer);

/* `next` goes on where `before` is: what it tells late is the same. Nothing to do for full iterations. */
void psgd_alternation_inherit(psgd_reducer_t *next, const psgd_reducer_t *before);

/* Whether the half-iteration after `done` others computes a Q from a P. */
static inline bool psgd_alternation_computes_q(uint64_t done)
{
    return done % 2 == 0;
}

#endif
