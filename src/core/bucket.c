#include "core/bucket.h"

#include "base/arith.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "core/copies.h"
#include "core/exchange.h"
#include "core/half_errors.h"
#include "core/owners.h"
#include "core/spans.h"
#include "core/traffic.h"
#include "plan/slice.h"

static size_t bytes_of(uint64_t elems)
{
    return (size_t)elems * sizeof(float);
}

/* ---- what belongs to whom ---- */

/* Elements that come before a bucket's own, of each kind. */
typedef struct offsets {
    uint64_t p, q, small;
} offsets_t;

/* With half-iterations there is one bucket, and either factor may be the one that message 1 carries. */
static uint64_t message_1_room(const psgd_bucket_t *b)
{
    return b->reducer->config.half_iterations > 0 ? psgd_reducer_factor_room(b->reducer) : b->plan->p_elems;
}

static uint64_t message_2_room(const psgd_bucket_t *b)
{
    return b->reducer->config.half_iterations > 0 ? psgd_reducer_factor_room(b->reducer) : b->plan->q_elems;
}

static void place(psgd_bucket_t *b, const offsets_t *before)
{
    const psgd_reducer_t *r         = b->reducer;
    const uint64_t        all_small = r->num_buckets == 1 ? message_1_room(b) : r->plan->p_elems;

    b->message_1_view = psgd_view_at(r->message_1_view, bytes_of(before->p));
    b->small          = psgd_view_at(r->message_1_view, bytes_of(all_small + before->small));
    b->p_hat          = psgd_view_at(r->p_hat, bytes_of(before->p));
    b->q              = psgd_view_at(r->q, bytes_of(before->q));
    b->q_hat          = psgd_view_at(r->q_hat, bytes_of(before->q));
    b->q_local        = psgd_view_at(r->q_local, bytes_of(before->q));
    b->factor         = r->factor + before->q;
    b->factor_scaled  = r->factor_scaled + before->q;
    b->scales         = r->update_scales + b->plan->first_matrix;
    b->given          = r->grads + b->first_tensor;
    b->grads          = r->step_grads + b->first_tensor;
    b->matrix_grads   = r->matrix_grads + b->plan->first_matrix;
}

void psgd_buckets_adopt(psgd_reducer_t *r)
{
    for (size_t i = 0; i < r->num_buckets; ++i) {
        r->buckets[i].reducer = r;
    }
}

psgd_step_views_t psgd_bucket_views(const psgd_bucket_t *b)
{
    psgd_step_views_t views = psgd_traffic_step_views(b->reducer);

    views.grads    = b->matrix_grads;
    views.errors   = views.errors != NULL ? views.errors + b->plan->first_matrix : NULL;
    views.q_hat    = b->q_hat;
    views.p        = b->message_1_view;
    views.p_hat    = b->p_hat;
    views.q_local  = b->reducer->alternation != NULL ? b->message_1_view : b->q_local; /* either factor may be sent */
    views.q_scaled = b->q;
    return views;
}

uint64_t psgd_bucket_index(const psgd_bucket_t *b)
{
    return (uint64_t)(b - b->reducer->buckets);
}

psgd_columns_t psgd_bucket_columns_of(const psgd_bucket_t *b, size_t matrix_index, bool is_p)
{
    const psgd_plan_matrix_t *matrix = &b->plan->matrices[matrix_index];
    psgd_columns_t            columns;

    columns.offset_elems = is_p ? matrix->p_offset_elems : matrix->q_offset_elems;
    columns.length       = is_p ? matrix->rows : matrix->cols;
    columns.columns      = matrix->r;
    columns.random_key   = psgd_random_key(b->reducer->config.seed, matrix->name_hash,
                                         is_p ? PSGD_RANDOM_REPLACED_P : PSGD_RANDOM_REPLACED_Q);
    return columns;
}

float *psgd_bucket_small_means(const psgd_bucket_t *b)
{
    return psgd_message_payload(&b->message_1) + (b->message_1.payload_elems - b->plan->small_elems);
}

uint64_t psgd_bucket_hash_bits(const psgd_bucket_t *b)
{
    const psgd_reducer_t *r      = b->reducer;
    const uint64_t        elems  = r->num_buckets == 1 ? psgd_reducer_factor_elems(r) : b->plan->q_elems;
    const uint64_t        factor = psgd_hash_words(b->factor, elems, r->half_iterations_done);

    return psgd_hash_u64(psgd_hash_u64(factor, r->means_hash), r->check_hash);
}

/* ---- creation ---- */

static psgd_status_t create_orthogonalizer(psgd_bucket_t *b, bool is_p, psgd_orthogonalizer_t **orthogonalizer_p)
{
    size_t          count   = b->plan->num_matrices;
    psgd_columns_t *columns = NULL;
    psgd_status_t   status;

    status = psgd_alloc(count, sizeof(*columns), "the table of columns", &columns);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < count; ++m) {
        columns[m] = psgd_bucket_columns_of(b, m, is_p);
    }
    status = psgd_orthogonalizer_create(b->reducer->device, columns, count, orthogonalizer_p);
    psgd_free(columns);
    return status;
}

/* For message 1 and for Q with the scales behind it; measured on the larger of their buffers, which are zero. */
static psgd_status_t create_stager(psgd_bucket_t *b)
{
    const psgd_reducer_t *r             = b->reducer;
    const bool            is_only       = r->num_buckets == 1;
    const size_t          message_bytes = bytes_of(message_1_room(b) + (is_only ? b->plan->small_elems : 0));
    const size_t          q_bytes =
        is_only ? bytes_of(psgd_reducer_update_elems(r)) + b->plan->num_matrices * sizeof(psgd_update_scale_t)
                         : bytes_of(b->plan->q_elems);

    if (message_bytes + q_bytes == 0) {
        return PSGD_OK;
    }
    return q_bytes > message_bytes
               ? psgd_stager_create(r->device, r->config.staging, b->q, q_bytes, &b->stager)
               : psgd_stager_create(r->device, r->config.staging, b->message_1_view, message_bytes, &b->stager);
}

/* Factors in 16 bits: with full iterations P in message 1 and Q in message 2, else either in both. */
static psgd_status_t narrow_messages(psgd_bucket_t *b)
{
    const psgd_reducer_t *r = b->reducer;
    psgd_status_t         status;

    if ((r->config.wire == PSGD_F32) || (b->plan->num_matrices == 0)) {
        return PSGD_OK;
    }
    b->message_1.kind              = PSGD_FACTOR_P;
    b->message_2.kind              = PSGD_FACTOR_Q;
    b->message_2.comes_back_narrow = r->config.half_iterations == 0;
    status                         = psgd_message_narrow(&b->message_1, b->plan, r->config.wire, r->comm);
    return status == PSGD_OK ? psgd_message_narrow(&b->message_2, b->plan, r->config.wire, r->comm) : status;
}

static psgd_status_t create_messages(psgd_bucket_t *b)
{
    const uint32_t num_workers = b->reducer->comm->num_workers;
    psgd_status_t  status;

    b->message_1.bucket = b->message_2.bucket = b->message_large.bucket = psgd_bucket_index(b);
    status = psgd_message_create(&b->message_1, (size_t)(message_1_room(b) + b->plan->small_elems), num_workers);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_message_create(&b->message_2, (size_t)message_2_room(b), num_workers);
    if (status != PSGD_OK) {
        return status;
    }
    status = narrow_messages(b);
    return status == PSGD_OK ? psgd_message_create(&b->message_large, (size_t)b->plan->large_elems, num_workers)
                             : status;
}

static psgd_status_t create_operations(psgd_bucket_t *b)
{
    psgd_status_t status;

    if (b->plan->num_matrices > 0) {
        status = create_orthogonalizer(b, true, &b->orthogonalizer_p);
        if (status != PSGD_OK) {
            return status;
        }
        status = create_orthogonalizer(b, false, &b->orthogonalizer_q);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (b->plan->small_elems > 0) {
        status = psgd_packer_create(b->reducer->device, b->plan, &b->packer);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (psgd_plan_has_copied(b->plan)) {
        status = psgd_copies_create(b);
        if (status != PSGD_OK) {
            return status;
        }
    }
    return create_stager(b);
}

static psgd_status_t create_one(psgd_bucket_t *b, size_t count, offsets_t *before)
{
    psgd_reducer_t *r      = b->reducer;
    psgd_status_t   status = PSGD_OK;

    if (r->num_buckets == 1) {
        b->plan = r->plan;
    } else {
        status = psgd_plan_slice(r->plan, b->first_tensor, count, &b->plan);
    }
    if (status != PSGD_OK) {
        return status;
    }
    place(b, before);
    before->p += b->plan->p_elems;
    before->q += b->plan->q_elems;
    before->small += b->plan->small_elems;
    status = create_messages(b);
    return status == PSGD_OK ? create_operations(b) : status;
}

/* Half-iterations and flattened gradients go through one bucket. */
static uint64_t bucket_bytes_of(const psgd_reducer_t *r)
{
    return r->config.half_iterations > 0 ? 0 : r->config.bucket_bytes;
}

psgd_status_t psgd_buckets_create(psgd_reducer_t *r)
{
    const size_t  count  = psgd_plan_divide(r->plan, bucket_bytes_of(r), NULL);
    size_t       *firsts = NULL;
    offsets_t     before = {0, 0, 0};
    psgd_status_t status;

    status = psgd_alloc(count, sizeof(*r->buckets), "the buckets", &r->buckets);
    if (status == PSGD_OK) {
        status = psgd_alloc(count, sizeof(*firsts), "the division into buckets", &firsts);
    }
    if (status != PSGD_OK) {
        return status;
    }
    r->num_buckets = count;
    psgd_buckets_adopt(r);
    psgd_plan_divide(r->plan, bucket_bytes_of(r), firsts);
    for (size_t i = 0; (status == PSGD_OK) && (i < count); ++i) {
        r->buckets[i].first_tensor = firsts[i];
        status = create_one(&r->buckets[i], (i + 1 < count ? firsts[i + 1] : r->plan->num_given) - firsts[i], &before);
    }
    psgd_free(firsts);
    return status;
}

psgd_status_t psgd_bucket_warm_up(psgd_bucket_t *b)
{
    psgd_status_t status;

    if (b->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    status = psgd_orthogonalizer_enqueue(b->orthogonalizer_q, b->q, b->q_hat, 0);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_orthogonalizer_enqueue(b->orthogonalizer_p, b->message_1_view, b->p_hat, 0);
    return status == PSGD_OK ? psgd_hasher_enqueue(b->reducer->hasher, b->p_hat, b->plan->p_elems, &b->p_hat_hash)
                             : status;
}

static void destroy_one(psgd_bucket_t *b, psgd_device_t *device, bool keep_memory)
{
    psgd_gate_destroy(&b->gate);
    psgd_mark_drop(&b->large_mark);
    psgd_mark_drop(&b->q_hat_mark);
    if (b->stager != NULL) {
        psgd_stager_cancel_read(b->stager, &b->read_1);
        psgd_stager_cancel_read(b->stager, &b->read_2);
    }
    psgd_copies_destroy(device, b->copies);
    psgd_rescale_destroy(b->rescale);
    psgd_owners_destroy(b, keep_memory);
    psgd_engines_destroy(b->engines);
    if (!keep_memory) {
        psgd_stager_destroy(b->stager);
    }
    psgd_packer_destroy(b->packer);
    psgd_orthogonalizer_destroy(b->orthogonalizer_q);
    psgd_orthogonalizer_destroy(b->orthogonalizer_p);
    psgd_message_destroy(&b->message_large, keep_memory);
    psgd_message_destroy(&b->message_2, keep_memory);
    psgd_message_destroy(&b->message_1, keep_memory);
    if (b->plan != b->reducer->plan) {
        psgd_plan_slice_destroy(b->plan);
    }
}

void psgd_buckets_destroy(psgd_reducer_t *r, psgd_device_t *device, bool keep_memory)
{
    for (size_t i = 0; i < r->num_buckets; ++i) {
        destroy_one(&r->buckets[i], device, keep_memory);
    }
    if (!keep_memory) { /* the device may still write a hash into it */
        psgd_free(r->buckets);
    }
    r->buckets     = NULL;
    r->num_buckets = 0;
}

/* ---- a step ---- */

/* Gradients times their factors. */
static psgd_status_t scale_gradients(psgd_bucket_t *b)
{
    const float  *factors = b->reducer->step.factors;
    psgd_status_t status  = PSGD_OK;

    if (factors == NULL) {
        return PSGD_OK;
    }
    if (b->rescale == NULL) {
        status = psgd_rescale_create(b->reducer->device, b->plan, &b->rescale);
    }
    return status == PSGD_OK ? psgd_rescale_enqueue(b->rescale, b->grads, factors + b->first_tensor) : status;
}

psgd_status_t psgd_bucket_take_gradients(psgd_bucket_t *b)
{
    psgd_status_t status = psgd_gate_enqueue(&b->gate, b->reducer->device);

    if (status != PSGD_OK) {
        return status;
    }
    psgd_spans_skip(b->reducer); /* the device waits for its gradients */
    for (size_t i = 0; i < b->plan->num_given; ++i) {
        b->grads[i] = b->given[i];
    }
    if (b->copies != NULL) {
        status = psgd_copies_take(b);
    }
    for (size_t m = 0; (status == PSGD_OK) && (m < b->plan->num_matrices); ++m) {
        const psgd_plan_matrix_t *matrix = &b->plan->matrices[m];

        b->matrix_grads[m] =
            psgd_view_at(b->grads[matrix->tensor_index], (size_t)matrix->grad_offset_elems * sizeof(float));
    }
    return status == PSGD_OK ? scale_gradients(b) : status;
}
