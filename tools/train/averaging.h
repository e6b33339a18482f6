/* What averages the gradients of a run, as the options have it: a reducer of the library's, or another compressor. */
#ifndef PSGD_TRAIN_AVERAGING_H
#define PSGD_TRAIN_AVERAGING_H

#include <psgd/psgd.h>

#include "trainer.h"

/* At low rank `rank` (0: a reducer that never compresses) for the workers of `comm`, after `start_step` plain steps. Either *reducer_p or
 * trainer->compression is set. A collective. Freed by averaging_destroy(), also after an error. */
tool_status_t averaging_create(trainer_t *trainer, uint32_t rank, uint64_t start_step, const psgd_comm_t *comm,
                               psgd_reducer_t **reducer_p);
void          averaging_destroy(trainer_t *trainer, psgd_reducer_t *reducer);

/* --new-rank. A collective. */
tool_status_t averaging_change_rank(const trainer_t *trainer, psgd_reducer_t *reducer);

/* What was counted: of another compressor, bytes, messages, the time on the network and the compression rate. */
tool_status_t averaging_read_stats(const trainer_t *trainer, const psgd_reducer_t *reducer, psgd_stats_t *stats);

#endif
