/* What a training run keeps beside the reducer's checkpoint: parameters, velocities, and how far it has come. */
#ifndef PSGD_TRAIN_SAVED_H
#define PSGD_TRAIN_SAVED_H

#include <stdint.h>

#include "params.h"

/* Writes PATH.model, beside its place and then renamed. `key`: what a run that goes on must have in common with this one. */
tool_status_t saved_write(const char *path, const params_t *params, uint64_t step, uint64_t key);

/* Reads it into the device's buffers; *step_p: how many steps were done. TOOL_FAILED where it is not there, not whole, or of another
 * run. */
tool_status_t saved_read(const char *path, const params_t *params, uint64_t key, uint64_t *step_p);

#endif
