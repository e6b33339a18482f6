#include "core/pipeline.h"

#include "base/arith.h"
#include "base/clock.h"
#include "base/memory.h"
#include "core/exchange.h"
#include "core/owners.h"
#include "core/spans.h"
#include "core/step.h"

enum {
    PARTS = 8,
    AHEAD = 3 /* buckets */
};

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

static bool nothing_is_missing(psgd_bucket_t *b)
{
    (void)b;
    return true;
}

static bool gradients_are_here(psgd_bucket_t *b)
{
    return b->num_missing == 0;
}

/* The large tensors are read behind P, which may be in another queue. */
static bool p_is_there(psgd_bucket_t *b)
{
    return (b->plan->large_elems == 0) || psgd_mark_is_reached(&b->read_1.mark);
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

static void compute_p(psgd_bucket_t *b)
{
    if (!b->has_p) {
        b->has_p = true;
        psgd_step_compute_p(b);
    }
}

/* Q^ needs no gradient: it is made when the step begins, so that each gradient goes straight into its P. */
static void add_q_hat(psgd_pipeline_t *pipeline, size_t bucket)
{
    add(pipeline, bucket, psgd_step_orthonormalize_q, nothing_is_missing);
}

static void add_p(psgd_pipeline_t *pipeline, size_t bucket)
{
    add(pipeline, bucket, compute_p, gradients_are_here);
    add(pipeline, bucket, psgd_step_read_plain, p_is_there);
    add(pipeline, bucket, psgd_step_send_plain, large_tensors_are_read);
    add(pipeline, bucket, psgd_step_send_p, message_1_is_read);
}

/* Q of a bucket waits for message 1, and is sent when P of AHEAD buckets behind it has been; then Q of the bucket AHEAD before it has
 * to be here. Workers are not equally fast at every moment: the more there is under way, the less often one waits for another. But
 * communicators may be asked for no more than a few messages at a time. */
static void add_q(psgd_pipeline_t *pipeline, size_t bucket, size_t num_buckets)
{
    add(pipeline, bucket, psgd_step_compute_q, message_1_is_here);
    if (bucket + AHEAD < num_buckets) {
        add(pipeline, bucket + AHEAD, psgd_step_finish_q, message_2_is_here);
    }
    add(pipeline, bucket, psgd_step_send_q, message_2_is_read);
}

static void add_all(psgd_pipeline_t *pipeline, size_t num_buckets)
{
    for (size_t bucket = num_buckets; bucket-- > 0;) {
        add_q_hat(pipeline, bucket);
    }
    for (size_t turn = 0; turn < num_buckets + AHEAD; ++turn) {
        if (turn < num_buckets) {
            add_p(pipeline, num_buckets - 1 - turn);
        }
        if (turn >= AHEAD) {
            add_q(pipeline, num_buckets - 1 - (turn - AHEAD), num_buckets);
        }
    }
    for (size_t bucket = psgd_min(AHEAD, num_buckets); bucket-- > 0;) {
        add(pipeline, bucket, psgd_step_finish_q, message_2_is_here);
    }
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

/* ---- behind the caller ---- */

bool psgd_pipeline_may_follow(const psgd_bucket_t *b)
{
    return (b->owners == NULL) && !b->reducer->step.is_at_once && psgd_device_can_follow(b->reducer->device);
}

void psgd_pipeline_follow(psgd_bucket_t *b)
{
    psgd_device_t *device = b->reducer->device;

    if (b->has_p || (b->num_behind < b->plan->num_given) || !psgd_step_is_healthy(b->reducer) ||
        !psgd_pipeline_may_follow(b)) {
        return;
    }
    psgd_gate_clear(&b->gate); /* the caller's queue is in order */
    psgd_step_note(b->reducer, psgd_device_follow(device, &b->q_hat_mark));
    compute_p(b);
    psgd_device_come_back(device, &b->read_1.mark);
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

/* Messages travel only while somebody looks at them. Whether there are any. */
static bool poll_messages(void *reducer)
{
    psgd_reducer_t *r            = reducer;
    bool            is_under_way = false;

    for (size_t i = 0; !r->poison.is_cut_off && (i < r->num_buckets); ++i) {
        is_under_way = psgd_message_poll(&r->buckets[i].message_large, r->comm) || is_under_way;
        is_under_way = psgd_message_poll(&r->buckets[i].message_1, r->comm) || is_under_way;
        is_under_way = psgd_message_poll(&r->buckets[i].message_2, r->comm) || is_under_way;
    }
    return is_under_way;
}

/* Adds the time since the last look where the device has had nothing to do since then. */
static bool watch(void *watched)
{
    psgd_reducer_t *r            = watched;
    const uint64_t  now_ns       = psgd_now_ns();
    const bool      busy         = device_is_busy(r);
    const bool      is_under_way = poll_messages(r);

    psgd_spans_poll(r);
    if (!busy && (r->step.idle_since_ns != 0)) {
        r->step.network_ns += now_ns - r->step.idle_since_ns;
    }
    r->step.idle_since_ns = busy ? 0 : now_ns;
    return is_under_way;
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
    psgd_patience_t patience = r->patience;

    patience.watch   = poll_messages;
    patience.watched = r;
    psgd_device_set_patience(r->device, patience);
    r->pipeline->next = 0;
    psgd_step_draw_cold_factors(r);
}

void psgd_pipeline_end(psgd_reducer_t *r)
{
    psgd_device_set_patience(r->device, r->patience);
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
    poll_messages(r);
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
