/* What a training run keeps beside the reducer's checkpoint: parameters, velocities, how far it has come, and what goes on from step
 * to step in each worker's network. */
#ifndef PSGD_TRAIN_SAVED_H
#define PSGD_TRAIN_SAVED_H

#include <stdint.h>

#include "params.h"

/* The states of all workers' networks, one behind the other; count 0: there are none. */
typedef struct saved_states {
    float *values;
    size_t count;
} saved_states_t;

/* Writes PATH.model, beside its place and then renamed. `key`: what a run that goes on must have in common with this one. */
tool_status_t saved_write(const char *path, const params_t *params, saved_states_t states, uint64_t step, uint64_t key);

/* Reads it into the device's buffers and `states`; *step_p: how many steps were done. States of another number of workers are left
 * out: then all are 0. TOOL_FAILED where it is not there, not whole, or of another run. */
tool_status_t saved_read(const char *path, const params_t *params, saved_states_t states, uint64_t key,
                         uint64_t *step_p);

#endif
