#include "core/pipeline.h"

#include "base/clock.h"
#include "base/memory.h"
#include "core/exchange.h"
#include "core/owners.h"
#include "core/spans.h"
#include "core/step.h"

enum { PARTS = 6 };

/* What a part waits for. */
typedef bool (*ready_fn)(psgd_bucket_t *bucket);

/* A part of one bucket. */
typedef struct move {
    size_t bucket;
    void (*run)(psgd_bucket_t *bucket);
    ready_fn is_ready;
} move_t;

struct psgd_pipeline {
    move_t *moves;
    size_t  count;
    size_t  next; /* in the step under way */
};

/* ---- what a part waits for ---- */

static bool gradients_are_here(psgd_bucket_t *b)
{
    return b->num_missing == 0;
}

static bool large_tensors_are_read(psgd_bucket_t *b)
{
    return psgd_mark_is_reached(&b->large_mark);
}

static bool message_1_is_read(psgd_bucket_t *b)
{
    return psgd_mark_is_reached(&b->read_1.mark);
}

static bool message_1_is_here(psgd_bucket_t *b)
{
    return psgd_message_is_here(&b->message_1, b->reducer->comm);
}

static bool message_2_is_read(psgd_bucket_t *b)
{
    return psgd_mark_is_reached(&b->read_2.mark) && psgd_message_is_here(&b->message_large, b->reducer->comm);
}

static bool message_2_is_here(psgd_bucket_t *b)
{
    return psgd_message_is_here(&b->message_2, b->reducer->comm);
}

/* ---- the order ---- */

static void add(psgd_pipeline_t *pipeline, size_t bucket, void (*run)(psgd_bucket_t *), ready_fn is_ready)
{
    pipeline->moves[pipeline->count++] = (move_t){bucket, run, is_ready};
}

static void add_p(psgd_pipeline_t *pipeline, size_t bucket)
{
    add(pipeline, bucket, psgd_step_compute_p, gradients_are_here);
    add(pipeline, bucket, psgd_step_send_plain, large_tensors_are_read);
    add(pipeline, bucket, psgd_step_send_p, message_1_is_read);
}

/* No more than three messages and what is large are under way: communicators may be asked for no more than a few. */
static void add_all(psgd_pipeline_t *pipeline, size_t num_buckets)
{
    add_p(pipeline, num_buckets - 1);
    for (size_t bucket = num_buckets; bucket-- > 0;) {
        if (bucket > 0) {
            add_p(pipeline, bucket - 1);
        }
        add(pipeline, bucket, psgd_step_compute_q, message_1_is_here);
        if (bucket + 1 < num_buckets) {
            add(pipeline, bucket + 1, psgd_step_finish_q, message_2_is_here);
        }
        add(pipeline, bucket, psgd_step_send_q, message_2_is_read);
    }
    add(pipeline, 0, psgd_step_finish_q, message_2_is_here);
}

psgd_status_t psgd_pipeline_create(psgd_reducer_t *r)
{
    psgd_status_t status = psgd_alloc(1, sizeof(*r->pipeline), "the order of a step", &r->pipeline);

    if (status == PSGD_OK) {
        status =
            psgd_alloc(PARTS * r->num_buckets, sizeof(*r->pipeline->moves), "the order of a step", &r->pipeline->moves);
    }
    if (status == PSGD_OK) {
        add_all(r->pipeline, r->num_buckets);
    }
    return status;
}

void psgd_pipeline_destroy(psgd_pipeline_t *pipeline)
{
    if (pipeline != NULL) {
        psgd_free(pipeline->moves);
        psgd_free(pipeline);
    }
}

bool psgd_pipeline_is_last(const psgd_bucket_t *b)
{
    return b == b->reducer->buckets;
}

/* ---- what the device does meanwhile ---- */

/* Whether there is something under way on the device, or about to be: of the step, or what its gradients wait for. */
static bool device_is_busy(const psgd_reducer_t *r)
{
    for (size_t i = 0; i < r->num_buckets; ++i) {
        const psgd_bucket_t *b = &r->buckets[i];

        if (!psgd_mark_is_reached(&b->large_mark) || !psgd_mark_is_reached(&b->read_1.mark) ||
            !psgd_mark_is_reached(&b->read_2.mark) || !psgd_gate_is_open(&b->gate)) {
            return true;
        }
    }
    return false;
}

/* Adds the time since the last look where the device has had nothing to do since then. */
static void watch(void *watched)
{
    psgd_reducer_t *r      = watched;
    const uint64_t  now_ns = psgd_now_ns();
    const bool      busy   = device_is_busy(r);

    psgd_spans_poll(r);
    if (!busy && (r->step.idle_since_ns != 0)) {
        r->step.network_ns += now_ns - r->step.idle_since_ns;
    }
    r->step.idle_since_ns = busy ? 0 : now_ns;
}

psgd_patience_t psgd_pipeline_patience(psgd_reducer_t *r)
{
    psgd_patience_t patience = r->patience;

    patience.watch        = watch;
    patience.watched      = r;
    r->step.idle_since_ns = 0;
    return patience;
}

/* ---- a step ---- */

void psgd_pipeline_begin(psgd_reducer_t *r)
{
    r->pipeline->next = 0;
    psgd_step_draw_cold_factors(r);
}

static void run_next(psgd_reducer_t *r)
{
    const move_t *move = &r->pipeline->moves[r->pipeline->next++];

    move->run(&r->buckets[move->bucket]);
}

/* A step that has ended has no parts left. */
static bool has_next(const psgd_reducer_t *r)
{
    return psgd_step_goes_on(r) && (r->pipeline->next < r->pipeline->count);
}

void psgd_pipeline_advance(psgd_reducer_t *r)
{
    while (has_next(r)) {
        const move_t *move = &r->pipeline->moves[r->pipeline->next];

        if (!move->is_ready(&r->buckets[move->bucket])) {
            return;
        }
        run_next(r);
    }
}

void psgd_pipeline_finish(psgd_reducer_t *r)
{
    while (has_next(r)) {
        run_next(r);
    }
}
