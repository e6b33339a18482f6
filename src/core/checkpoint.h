/* Checkpoints: a reducer's state in files, saved and loaded by all workers together. */
#ifndef PSGD_CORE_CHECKPOINT_H
#define PSGD_CORE_CHECKPOINT_H

#include "core/reducer.h"

/* As psgd_reducer_save() and psgd_reducer_load() say. `local` is this worker's failure before it came here, or PSGD_OK. Return the
 * same status on every worker, but for failures after the last vote. */
psgd_status_t psgd_checkpoint_save(psgd_reducer_t *reducer, const char *path, psgd_error_form_t form,
                                   psgd_status_t local);
psgd_status_t psgd_checkpoint_load(psgd_reducer_t *reducer, const char *path, psgd_status_t local);

#endif
