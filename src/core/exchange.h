/* The protocol of a step: what happens when something fails on one worker.
 *
 * Every worker issues the same collectives in the same order, whatever fails locally. A worker's own failure is noted
 * (psgd_step_note), told in the vote of its next message, and named; all workers then read the same sums, and end the step with the same
 * status (step.agreed). */
#ifndef PSGD_CORE_EXCHANGE_H
#define PSGD_CORE_EXCHANGE_H

#include "core/reducer.h"

/* Whether the step goes on: no failure has been agreed on. */
bool psgd_step_goes_on(const psgd_reducer_t *reducer);

/* Whether this worker takes part in the computation: the step goes on, and nothing has failed here. */
bool psgd_step_is_healthy(const psgd_reducer_t *reducer);

/* Notes a local failure with the last error as its sentence; PSGD_OK and later failures change nothing. */
void psgd_step_note(psgd_reducer_t *reducer, psgd_status_t status);

/* Starts a message whose payload is in place. What it brings is the sum; of a message with shares_later, what this worker owns of
 * it. `bits`: the hash of what all workers must hold alike. */
void psgd_exchange_begin(psgd_reducer_t *reducer, psgd_message_t *message, size_t payload_elems, uint64_t bits);

/* Waits for it and counts the vote; where the step goes on, the payload is the sum over all workers. */
void psgd_exchange_finish(psgd_reducer_t *reducer, psgd_message_t *message, const char *what);

/* Makes the sums of a message the means; where one is not finite, ends the step with PSGD_ERR_NONFINITE on all workers. */
void psgd_exchange_average(psgd_reducer_t *reducer, psgd_message_t *message);

/* The same of a message whose sums stay with their owners: an overflow is this worker's alone, and told with what it shares. */
void psgd_exchange_average_owned(psgd_reducer_t *reducer, psgd_message_t *message);

/* Starts to bring what each worker owns of a payload to all; psgd_exchange_finish() ends it. */
void psgd_exchange_begin_sharing(psgd_reducer_t *reducer, psgd_message_t *message, size_t payload_elems);

/* A part of a payload from worker `root` to all. */
void psgd_exchange_broadcast(psgd_reducer_t *reducer, psgd_message_t *message, size_t begin, size_t elems,
                             uint32_t root, const char *what);

/* After a step has ended: finishes a message that is still under way, where the communicator can still be used. */
void psgd_exchange_drain(psgd_reducer_t *reducer, psgd_message_t *message, const char *what);

/* Every worker learns the words of every worker, in gather->words (psgd_gather_words). Where that fails, so does the step. */
void psgd_exchange_gather_words(psgd_reducer_t *reducer, psgd_gather_t *gather, const uint64_t *words, size_t num_words,
                                const char *what);

/* Ends the step on all workers alike with an overflow that all of them have found in the same sums. */
void psgd_exchange_overflow(psgd_reducer_t *reducer, const char *what);

#endif
