/* What a step costs on this machine's device, all workers at work at once. */
#ifndef PSGD_ADVISE_DEVICE_H
#define PSGD_ADVISE_DEVICE_H

#include "calibration.h"
#include "workers.h"

/* A collective: the device that the options name; the bandwidth of a step's moves; what a launch, and a transfer to and from the host,
 * cost; and a step of a worker alone (no messages) at each rank. Of a model that the device's memory does not hold, as many tensors
 * as it does. Where it fails it has said why. */
tool_status_t device_measure(const options_t *options, const workers_t *workers, const model_t *model,
                             calibration_t *calibration);

/* The tensors of `model`, in their order, that fit into max_elems together; freed by model_free(), also after an error. Errors:
 * TOOL_FAILED where not one of two dims or more does. */
tool_status_t device_part_of(const model_t *model, uint64_t max_elems, model_t *part_p);

/* From the median times of a step's phases, the device drained after each, and of steps that are not drained, seconds. */
local_costs_t device_costs(const double phases_s[PSGD_NUM_PHASES], double step_s);

#endif
