/* Saving a run, so that it can go on later: the reducer's checkpoint, and what the tool keeps beside it (saved.h). */
#ifndef PSGD_TRAIN_RESUMING_H
#define PSGD_TRAIN_RESUMING_H

#include <psgd/psgd.h>

#include "trainer.h"

/* At options->save, after `done` steps. A collective. */
tool_status_t resuming_save(const trainer_t *trainer, psgd_reducer_t *reducer, uint64_t done);

/* What was saved at options->resume; *step_p: how many steps were done. A collective. */
tool_status_t resuming_load(const trainer_t *trainer, psgd_reducer_t *reducer, uint64_t *step_p);

#endif
