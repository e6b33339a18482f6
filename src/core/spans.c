#include "core/spans.h"

#include "base/clock.h"
#include "base/env.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/phases.h"

enum {
    PENDING    = 256, /* spans of a queue that are not over; what is more is left out */
    NUM_QUEUES = 2    /* the library's, and the caller's (psgd_device_follow()) */
};

/* What the device will have done when it reaches the mark. */
typedef struct pending {
    psgd_mark_t mark;
    psgd_span_t span; /* name NULL: none */
} pending_t;

/* What one queue has been given, in its order: a ring. */
typedef struct ring {
    pending_t pending[PENDING];
    size_t    first, count;
    uint64_t  end_ns; /* of the last one that is over */
} ring_t;

struct psgd_spans {
    psgd_trace_t *trace;
    ring_t        rings[NUM_QUEUES];
};

psgd_status_t psgd_spans_create(psgd_reducer_t *r)
{
    const char   *pattern = psgd_env_value(PSGD_ENV_TRACE);
    psgd_status_t status;

    if (pattern == NULL) {
        return PSGD_OK;
    }
    status = psgd_alloc(1, sizeof(*r->spans), "the spans of a step", &r->spans);
    if (status == PSGD_OK) {
        status = psgd_trace_open(pattern, r->comm->worker_index, r->comm->num_workers, &r->spans->trace);
    }
    return status == PSGD_OK ? psgd_device_keep_times(r->device) : status;
}

static void drop_pending(ring_t *ring)
{
    for (; ring->count > 0; ring->count -= 1, ring->first = (ring->first + 1) % PENDING) {
        psgd_mark_drop(&ring->pending[ring->first].mark);
    }
}

void psgd_spans_destroy(psgd_reducer_t *r)
{
    psgd_spans_t *s = r->spans;

    if (s == NULL) {
        return;
    }
    psgd_spans_poll(r);
    for (size_t i = 0; i < NUM_QUEUES; ++i) {
        drop_pending(&s->rings[i]);
    }
    if (psgd_trace_close(s->trace) != PSGD_OK) {
        psgd_log(&r->log, PSGD_LOG_WARN, "%s", psgd_last_error());
    }
    psgd_free(s);
    r->spans = NULL;
}

static psgd_span_t span_of(const psgd_reducer_t *r, psgd_trace_row_t row, const char *name, uint64_t bucket,
                           uint64_t begin_ns)
{
    return (psgd_span_t){.row      = row,
                         .name     = name,
                         .begin_ns = begin_ns,
                         .end_ns   = psgd_now_ns(),
                         .step     = r->step_number,
                         .bucket   = bucket};
}

void psgd_spans_staged(psgd_reducer_t *r, const char *name, uint64_t bucket, uint64_t bytes, uint64_t begin_ns)
{
    psgd_span_t span;

    if (r->spans != NULL) {
        span       = span_of(r, PSGD_TRACE_STAGING, name, bucket, begin_ns);
        span.bytes = bytes;
        psgd_trace_add(r->spans->trace, &span);
    }
}

void psgd_spans_travelled(psgd_reducer_t *r, const char *name, const psgd_message_t *message)
{
    psgd_span_t span;

    if (r->spans != NULL) {
        span        = span_of(r, PSGD_TRACE_NETWORK, name, message->bucket, message->begin_ns);
        span.end_ns = message->end_ns;
        span.bytes  = psgd_message_bytes(message);
        psgd_trace_add(r->spans->trace, &span);
    }
}

/* ---- the device ---- */

static void add_pending(psgd_reducer_t *r, const psgd_span_t *span)
{
    ring_t    *ring = &r->spans->rings[psgd_device_is_following(r->device) ? 1 : 0];
    pending_t *last;

    psgd_spans_poll(r);
    if (ring->count == PENDING) {
        return;
    }
    last       = &ring->pending[(ring->first + ring->count) % PENDING];
    last->span = *span;
    if (psgd_device_mark(r->device, &last->mark) == PSGD_OK) { /* a trace that cannot be taken is no reason to stop */
        ring->count += 1;
    }
}

void psgd_spans_enqueued(psgd_reducer_t *r, psgd_phase_t phase, uint64_t bucket, uint64_t begin_ns)
{
    psgd_span_t span;

    if (r->spans != NULL) {
        span = span_of(r, PSGD_TRACE_DEVICE, psgd_phase_name(phase), bucket, begin_ns);
        add_pending(r, &span);
    }
}

void psgd_spans_skip(psgd_reducer_t *r)
{
    psgd_span_t none = {0};

    if (r->spans != NULL) {
        add_pending(r, &none);
    }
}

/* A mark is reached at the end of what it marks; what came before it began when that was over, or later. */
static void take_pending(psgd_reducer_t *r, ring_t *ring, pending_t *oldest)
{
    uint64_t end_ns = psgd_now_ns();

    psgd_mark_time(r->device, &oldest->mark, &end_ns);
    if (oldest->span.name != NULL) {
        oldest->span.begin_ns = oldest->span.begin_ns > ring->end_ns ? oldest->span.begin_ns : ring->end_ns;
        oldest->span.end_ns   = end_ns;
        if (oldest->span.end_ns > oldest->span.begin_ns) {
            psgd_trace_add(r->spans->trace, &oldest->span);
        }
    }
    ring->end_ns = end_ns;
    psgd_mark_drop(&oldest->mark);
}

static void poll_ring(psgd_reducer_t *r, ring_t *ring)
{
    while ((ring->count > 0) && psgd_mark_is_reached(&ring->pending[ring->first].mark)) {
        take_pending(r, ring, &ring->pending[ring->first]);
        ring->first = (ring->first + 1) % PENDING;
        ring->count -= 1;
    }
}

void psgd_spans_poll(psgd_reducer_t *r)
{
    for (size_t i = 0; (r->spans != NULL) && (i < NUM_QUEUES); ++i) {
        poll_ring(r, &r->spans->rings[i]);
    }
}
