/* The fingerprint: everything that must be the same on all workers, as words, so that a difference can be named. */
#ifndef PSGD_CORE_FINGERPRINT_H
#define PSGD_CORE_FINGERPRINT_H

#include "base/clock.h"
#include "base/log.h"
#include "core/message.h"
#include "plan/plan.h"

/* One hash of all of it. choices: by matrix index, what config.engine and engine_profile say. */
uint64_t psgd_fingerprint(const psgd_plan_t *plan, const psgd_engine_t *choices, const psgd_config_t *config,
                          uint32_t num_workers);

/* A collective, after the fingerprints were found to differ: returns PSGD_ERR_MISMATCH with a sentence that names the field or
 * the tensor, and two workers that differ in it; or what the communicator failed with. */
psgd_status_t psgd_fingerprint_explain(const psgd_plan_t *plan, const psgd_engine_t *choices,
                                       const psgd_config_t *config, psgd_gather_t *gather, const psgd_comm_t *comm,
                                       psgd_patience_t patience, const psgd_log_t *log);

#endif
