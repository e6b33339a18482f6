/* Which engine compresses which matrix: config.engine, a saved profile, or measurement on all workers. */
#ifndef PSGD_CORE_CHOOSE_H
#define PSGD_CORE_CHOOSE_H

#include "core/reducer.h"

/* Local: choices[m] from config.engine and config.engine_profile; PSGD_ENGINE_AUTO stays where both leave it open.
 * Errors: PSGD_ERR_INVALID_ARGUMENT where the profile does not parse, with its line. */
psgd_status_t psgd_choose_from_config(psgd_reducer_t *reducer);

/* Whether something is left to be measured. */
bool psgd_choose_is_open(const psgd_reducer_t *reducer);

/* A collective, where something is open: measures it, and makes the same choice on all workers, from times averaged over
 * them. Returns the same status on every worker. */
psgd_status_t psgd_choose_by_measuring(psgd_reducer_t *reducer);

/* Makes the engines that were chosen, and runs them once on zeros. */
psgd_status_t psgd_choose_create_engines(psgd_reducer_t *reducer);

/* The choices as text, psgd_reducer_get_profile(). `capacity` bytes of text are written at most; returns how many there are,
 * the 0 included. */
size_t psgd_choose_write_profile(const psgd_reducer_t *reducer, char *text, size_t capacity);

#endif
