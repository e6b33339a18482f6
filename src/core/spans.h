/* The spans of a step (PSGD_TRACE): what the device does, by the times of its own events; what is staged; what travels. Without a trace
 * these do nothing. */
#ifndef PSGD_CORE_SPANS_H
#define PSGD_CORE_SPANS_H

#include "base/trace.h"
#include "core/reducer.h"

/* Opens the trace that the environment asks for, if it does; the device keeps the times of its commands then. */
psgd_status_t psgd_spans_create(psgd_reducer_t *reducer);

/* What the device has done is known, or never will be. */
void psgd_spans_destroy(psgd_reducer_t *reducer);

/* Something was copied between the device's memory and the host's, until now. `name`: static. */
void psgd_spans_staged(psgd_reducer_t *reducer, const char *name, uint64_t bucket, uint64_t bytes, uint64_t begin_ns);

/* A span on the network, from begin to end. */
void psgd_spans_travelled(psgd_reducer_t *reducer, const char *name, const psgd_message_t *message);

/* The device has been given the commands of a phase since begin_ns: that span ends when they are done, and begins when those before
 * are. */
void psgd_spans_enqueued(psgd_reducer_t *reducer, psgd_phase_t phase, uint64_t bucket, uint64_t begin_ns);

/* What was enqueued so far is no span: the next one begins after it. */
void psgd_spans_skip(psgd_reducer_t *reducer);

/* Looks which commands are done. */
void psgd_spans_poll(psgd_reducer_t *reducer);

#endif
