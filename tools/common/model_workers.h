/* One model for all workers of a job. */
#ifndef PSGD_TOOLS_MODEL_WORKERS_H
#define PSGD_TOOLS_MODEL_WORKERS_H

#include "model.h"
#include "workers.h"

/* Reads the model, and sees to it that all workers mean the same by it and by their options, which have this hash. A collective. */
tool_status_t model_load_alike(const workers_t *workers, uint64_t options_hash, const char *which, model_t *model_p);

#endif
