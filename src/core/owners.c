#include "core/owners.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "core/exchange.h"
#include "core/phases.h"
#include "core/traffic.h"

enum { NUM_KINDS = 2 }; /* of factors: P and Q */

/* Who owns which matrices of one kind of factors. */
typedef struct deal {
    uint32_t        *owners;    /* by matrix index */
    bool            *dominates; /* by matrix index: it travels by itself */
    size_t           num_dominating;
    psgd_partition_t partition; /* of the factors of all matrices; those that dominate are left out */
} deal_t;

struct psgd_owners {
    bool             copies; /* the communicator can scatter and gather; else all that there is are sums */
    deal_t           deals[NUM_KINDS];
    psgd_partition_t message_1;  /* P and, behind it, the small tensors in runs */
    psgd_message_t   dominating; /* the P that dominate, one behind the other */

    /* Until they are activated. */
    psgd_owned_t *owned_1, *owned_2, *owned_large, *owned_chunk;
};

typedef struct place {
    size_t begin, elems;
} place_t;

static place_t place_of(const psgd_plan_matrix_t *matrix, psgd_factor_kind_t kind)
{
    return kind == PSGD_FACTOR_P ? (place_t){(size_t)matrix->p_offset_elems, (size_t)(matrix->rows * matrix->r)}
                                 : (place_t){(size_t)matrix->q_offset_elems, (size_t)(matrix->cols * matrix->r)};
}

static size_t elems_of(const psgd_plan_t *plan, psgd_factor_kind_t kind)
{
    return (size_t)(kind == PSGD_FACTOR_P ? plan->p_elems : plan->q_elems);
}

/* ---- the deal ---- */

/* A matrix to be dealt. */
typedef struct card {
    size_t matrix, elems;
} card_t;

/* The largest first; of equal ones, in the order of the plan. */
static int by_size(const void *a, const void *b)
{
    const card_t *left = a, *right = b;

    if (left->elems != right->elems) {
        return left->elems < right->elems ? 1 : -1;
    }
    return (left->matrix > right->matrix) - (left->matrix < right->matrix);
}

/* Of equal ones the first from worker `first` on, so that the matrices of several buckets do not all go to worker 0. */
static uint32_t least_loaded(const size_t *loads, uint32_t num_workers, size_t first)
{
    uint32_t least = (uint32_t)(first % num_workers);

    for (uint32_t i = 1; i < num_workers; ++i) {
        uint32_t w = (uint32_t)((first + i) % num_workers);

        least = loads[w] < loads[least] ? w : least;
    }
    return least;
}

/* Each to the worker that has least so far. */
static psgd_status_t deal_owners(const psgd_plan_t *plan, psgd_factor_kind_t kind, uint32_t num_workers, deal_t *deal)
{
    card_t       *cards = NULL;
    size_t       *loads = NULL;
    psgd_status_t status;

    status = psgd_alloc(plan->num_matrices, sizeof(*cards), "the matrices to be dealt", &cards);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_workers, sizeof(*loads), "the loads of the workers", &loads);
    if (status != PSGD_OK) {
        goto free_cards;
    }
    for (size_t m = 0; m < plan->num_matrices; ++m) {
        cards[m] = (card_t){m, place_of(&plan->matrices[m], kind).elems};
    }
    qsort(cards, plan->num_matrices, sizeof(*cards), by_size);
    for (size_t i = 0; i < plan->num_matrices; ++i) {
        uint32_t owner = least_loaded(loads, num_workers, plan->first_matrix);

        deal->owners[cards[i].matrix] = owner;
        loads[owner] += cards[i].elems;
    }
    psgd_free(loads);

free_cards:
    psgd_free(cards);
    return status;
}

/* More than 2/W of all. */
static bool is_dominating(const psgd_plan_t *plan, psgd_factor_kind_t kind, size_t m, uint32_t num_workers)
{
    return (double)place_of(&plan->matrices[m], kind).elems * num_workers > 2.0 * (double)elems_of(plan, kind);
}

/* Ranges of the factors by owner, and behind them runs of what follows. */
static void fill_partition(const psgd_plan_t *plan, const deal_t *deal, psgd_factor_kind_t kind, size_t rest_elems,
                           uint32_t num_workers, psgd_partition_t *partition)
{
    const size_t factor_elems = elems_of(plan, kind);
    size_t       used         = 0;

    for (uint32_t w = 0; w < num_workers; ++w) {
        partition->first[w] = used;
        for (size_t m = 0; m < plan->num_matrices; ++m) {
            place_t place = place_of(&plan->matrices[m], kind);

            if ((deal->owners[m] == w) && !deal->dominates[m]) {
                partition->ranges[used].begin = place.begin;
                partition->ranges[used].end   = place.begin + place.elems;
                used += 1;
            }
        }
        if (rest_elems > 0) {
            partition->ranges[used].begin = factor_elems + psgd_partition_run(rest_elems, num_workers, w);
            partition->ranges[used].end   = factor_elems + psgd_partition_run(rest_elems, num_workers, w + 1);
            used += 1;
        }
    }
    partition->first[num_workers] = used;
}

static psgd_status_t create_deal(const psgd_bucket_t *b, psgd_factor_kind_t kind, bool can_broadcast, deal_t *deal)
{
    const uint32_t num_workers = b->reducer->comm->num_workers;
    const size_t   count       = b->plan->num_matrices;
    psgd_status_t  status      = psgd_alloc(count, sizeof(*deal->owners), "the owners of matrices", &deal->owners);

    if (status == PSGD_OK) {
        status = psgd_alloc(count, sizeof(*deal->dominates), "the matrices that dominate", &deal->dominates);
    }
    if (status == PSGD_OK) {
        status = deal_owners(b->plan, kind, num_workers, deal);
    }
    if (status == PSGD_OK) {
        status = psgd_partition_allocate(count, num_workers, &deal->partition);
    }
    for (size_t m = 0; (status == PSGD_OK) && can_broadcast && (m < count); ++m) {
        deal->dominates[m] = is_dominating(b->plan, kind, m, num_workers);
        deal->num_dominating += deal->dominates[m] ? 1 : 0;
    }
    if (status == PSGD_OK) {
        fill_partition(b->plan, deal, kind, 0, num_workers, &deal->partition);
    }
    return status;
}

static void free_deal(deal_t *deal)
{
    psgd_partition_free(&deal->partition);
    psgd_free(deal->dominates);
    psgd_free(deal->owners);
}

/* ---- creation ---- */

bool psgd_owners_are_wanted(const psgd_reducer_t *r)
{
    if (r->comm->num_workers == 1) {
        return false;
    }
    return r->config.sharing == PSGD_SHARING_OWNERS || ((r->config.sharing == PSGD_SHARING_AUTO) && r->is_mixed);
}

/* The orthogonalizer of a kind for this worker's matrices, in place of that for all; NULL where it owns none. */
static psgd_status_t take_orthogonalizer(psgd_bucket_t *b, psgd_factor_kind_t kind, psgd_orthogonalizer_t **for_all)
{
    const deal_t          *deal    = &b->owners->deals[kind];
    psgd_columns_t        *columns = NULL;
    psgd_orthogonalizer_t *own     = NULL;
    size_t                 count   = 0;
    psgd_status_t          status;

    status = psgd_alloc(b->plan->num_matrices, sizeof(*columns), "the table of columns", &columns);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < b->plan->num_matrices; ++m) {
        if (deal->owners[m] == b->reducer->comm->worker_index) {
            columns[count++] = psgd_bucket_columns_of(b, m, kind == PSGD_FACTOR_P);
        }
    }
    if (count > 0) {
        status = psgd_orthogonalizer_create(b->reducer->device, columns, count, &own);
    }
    psgd_free(columns);
    if (status == PSGD_OK) {
        psgd_orthogonalizer_destroy(*for_all);
        *for_all = own;
    }
    return status;
}

static psgd_status_t create_messages(psgd_bucket_t *b, psgd_owners_t *owners)
{
    const size_t  vote_elems = b->message_1.vote_elems;
    psgd_status_t status     = PSGD_OK;
    size_t        elems      = 0;

    if (!owners->copies) {
        return PSGD_OK;
    }
    for (size_t m = 0; m < b->plan->num_matrices; ++m) {
        elems += owners->deals[PSGD_FACTOR_P].dominates[m] ? place_of(&b->plan->matrices[m], PSGD_FACTOR_P).elems : 0;
    }
    if (elems > 0) {
        status = psgd_message_create(&owners->dominating, elems, b->reducer->comm->num_workers);
    }
    if (status == PSGD_OK) {
        status = psgd_owned_create(b->message_1.capacity_elems, vote_elems, b->reducer->comm, &owners->owned_1);
    }
    if (status == PSGD_OK) {
        status = psgd_owned_create(b->message_2.capacity_elems, vote_elems, b->reducer->comm, &owners->owned_2);
    }
    if (status == PSGD_OK) {
        status = psgd_owned_create(b->message_large.capacity_elems, vote_elems, b->reducer->comm, &owners->owned_large);
    }
    if ((status == PSGD_OK) && (b == b->reducer->buckets)) { /* the reducer's, which all buckets use in turn */
        status = psgd_owned_create(b->reducer->message_chunk.capacity_elems, vote_elems, b->reducer->comm,
                                   &owners->owned_chunk);
    }
    return status;
}

static psgd_status_t create_partition_of_message_1(psgd_bucket_t *b, psgd_owners_t *owners)
{
    const uint32_t num_workers = b->reducer->comm->num_workers;
    psgd_status_t  status =
        psgd_partition_allocate(b->plan->num_matrices + num_workers, num_workers, &owners->message_1);

    if (status == PSGD_OK) {
        fill_partition(b->plan, &owners->deals[PSGD_FACTOR_P], PSGD_FACTOR_P, (size_t)b->plan->small_elems, num_workers,
                       &owners->message_1);
    }
    return status;
}

psgd_status_t psgd_owners_create(psgd_bucket_t *b)
{
    const psgd_comm_t *comm   = b->reducer->comm;
    psgd_owners_t     *owners = NULL;
    psgd_status_t      status = psgd_alloc(1, sizeof(*owners), "the owners of matrices", &owners);

    if (status != PSGD_OK) {
        return status;
    }
    b->owners      = owners;
    owners->copies = (comm->begin_reduce_scatter != NULL) && (comm->begin_all_gather != NULL);
    for (int kind = 0; (kind < NUM_KINDS) && (status == PSGD_OK); ++kind) {
        status = create_deal(b, (psgd_factor_kind_t)kind, owners->copies && (comm->begin_broadcast != NULL),
                             &owners->deals[kind]);
    }
    if (status == PSGD_OK) {
        status = create_partition_of_message_1(b, owners);
    }
    if (status == PSGD_OK) {
        status = create_messages(b, owners);
    }
    if ((status == PSGD_OK) && (b->plan->num_matrices > 0)) {
        status = take_orthogonalizer(b, PSGD_FACTOR_P, &b->orthogonalizer_p);
        if (status == PSGD_OK) {
            status = take_orthogonalizer(b, PSGD_FACTOR_Q, &b->orthogonalizer_q);
        }
    }
    return status;
}

/* `*owned` becomes the message's, to be freed with it. */
static void hand_over(psgd_owned_t **owned, psgd_message_t *message)
{
    message->owned = *owned;
    *owned         = NULL;
}

void psgd_owners_activate(psgd_bucket_t *b)
{
    psgd_owners_t *owners = b->owners;

    if (!owners->copies) {
        return;
    }
    hand_over(&owners->owned_1, &b->message_1);
    hand_over(&owners->owned_2, &b->message_2);
    hand_over(&owners->owned_large, &b->message_large);
    if (owners->owned_chunk != NULL) {
        hand_over(&owners->owned_chunk, &b->reducer->message_chunk);
    }
    if (psgd_owners_take_p(b)) {
        b->message_1.partition    = &owners->message_1;
        b->message_1.shares_later = true;
    }
}

void psgd_owners_destroy(psgd_bucket_t *b, bool keep_memory)
{
    psgd_owners_t *owners = b->owners;

    if (owners == NULL) {
        return;
    }
    psgd_owned_destroy(owners->owned_chunk);
    psgd_owned_destroy(owners->owned_large);
    psgd_owned_destroy(owners->owned_2);
    psgd_owned_destroy(owners->owned_1);
    psgd_message_destroy(&owners->dominating, keep_memory);
    psgd_partition_free(&owners->message_1);
    for (int kind = 0; kind < NUM_KINDS; ++kind) {
        free_deal(&owners->deals[kind]);
    }
    psgd_free(owners);
    b->owners = NULL;
}

/* ---- P to its owners, and P^ back ---- */

bool psgd_owners_take_p(const psgd_bucket_t *b)
{
    return (b->owners != NULL) && b->owners->copies && (b->message_1.narrow == NULL) &&
           (b->reducer->config.half_iterations == 0);
}

/* The P that dominate, from message 1 into their own or back, where this worker owns them; returns their elements. */
static size_t copy_dominating(const psgd_bucket_t *b, bool back)
{
    const deal_t *deal    = &b->owners->deals[PSGD_FACTOR_P];
    float        *own     = psgd_message_payload(&b->owners->dominating);
    float        *payload = psgd_message_payload(&b->message_1);
    size_t        at      = 0;

    for (size_t m = 0; (deal->num_dominating > 0) && (m < b->plan->num_matrices); ++m) {
        place_t place = place_of(&b->plan->matrices[m], PSGD_FACTOR_P);

        if (!deal->dominates[m]) {
            continue;
        }
        if (!back) {
            memcpy(own + at, payload + place.begin, place.elems * sizeof(float));
        } else if (deal->owners[m] == b->reducer->comm->worker_index) {
            memcpy(payload + place.begin, own + at, place.elems * sizeof(float));
        }
        at += place.elems;
    }
    return at;
}

void psgd_owners_begin_dominating(psgd_bucket_t *b)
{
    size_t elems = psgd_owners_take_p(b) ? copy_dominating(b, false) : 0;

    if (elems > 0) {
        psgd_exchange_begin(b->reducer, &b->owners->dominating, elems, 0);
    }
}

void psgd_owners_finish_dominating(psgd_bucket_t *b)
{
    if (!psgd_owners_take_p(b) || (b->owners->deals[PSGD_FACTOR_P].num_dominating == 0)) {
        return;
    }
    if (psgd_step_goes_on(b->reducer)) {
        psgd_exchange_finish(b->reducer, &b->owners->dominating, psgd_phase_name(PSGD_PHASE_REDUCE_P));
    }
    copy_dominating(b, true);
}

void psgd_owners_drain(psgd_bucket_t *b)
{
    if (b->owners != NULL) {
        psgd_exchange_drain(b->reducer, &b->owners->dominating, psgd_phase_name(PSGD_PHASE_REDUCE_P));
        psgd_exchange_drain(b->reducer, &b->message_1, psgd_phase_name(PSGD_PHASE_REDUCE_P));
    }
}

/* Matrices of a message that dominate, from their owners to all. */
static void broadcast_dominating(psgd_bucket_t *b, psgd_message_t *message, psgd_factor_kind_t kind, const char *what)
{
    const deal_t *deal = &b->owners->deals[kind];

    for (size_t m = 0; (deal->num_dominating > 0) && (m < b->plan->num_matrices) && psgd_step_goes_on(b->reducer);
         ++m) {
        place_t place = place_of(&b->plan->matrices[m], kind);

        if (deal->dominates[m]) {
            psgd_exchange_broadcast(b->reducer, message, place.begin, place.elems, deal->owners[m], what);
        }
    }
}

/* A buffer of factors into a message; waits. */
static psgd_status_t read_factors(psgd_bucket_t *b, psgd_view_t view, psgd_message_t *message, size_t elems,
                                  const char *what)
{
    return psgd_step_is_healthy(b->reducer) ? psgd_traffic_stage_in(b, view, psgd_message_payload(message), elems, what)
                                            : PSGD_OK;
}

void psgd_owners_share_message_1(psgd_bucket_t *b)
{
    const char  *what  = psgd_phase_name(PSGD_PHASE_ORTHOGONALIZE_P);
    const size_t elems = (size_t)b->plan->p_elems;

    if (elems > 0) {
        psgd_step_note(b->reducer, read_factors(b, b->p_hat, &b->message_1, elems, what));
    }
    psgd_exchange_begin_sharing(b->reducer, &b->message_1, elems + (size_t)b->plan->small_elems);
    if (psgd_step_goes_on(b->reducer)) {
        psgd_exchange_finish(b->reducer, &b->message_1, what);
    }
    broadcast_dominating(b, &b->message_1, PSGD_FACTOR_P, what);
    if ((elems > 0) && psgd_step_is_healthy(b->reducer)) {
        psgd_step_note(b->reducer, psgd_traffic_stage_out(b, psgd_message_payload(&b->message_1), b->p_hat,
                                                          elems * sizeof(float), what));
    }
}

/* ---- other factors ---- */

/* What others own becomes zero: then the sum is what each owner has. */
static void zero_others(const psgd_bucket_t *b, psgd_factor_kind_t kind, float *payload)
{
    for (size_t m = 0; m < b->plan->num_matrices; ++m) {
        place_t place = place_of(&b->plan->matrices[m], kind);

        if (b->owners->deals[kind].owners[m] != b->reducer->comm->worker_index) {
            memset(payload + place.begin, 0, place.elems * sizeof(float));
        }
    }
}

void psgd_owners_share(psgd_bucket_t *b, psgd_view_t view, psgd_factor_kind_t kind)
{
    const char     *what    = kind == PSGD_FACTOR_P ? psgd_phase_name(PSGD_PHASE_ORTHOGONALIZE_P)
                                                    : psgd_phase_name(PSGD_PHASE_ORTHONORMALIZE_Q);
    psgd_message_t *message = &b->reducer->message_chunk;
    const size_t    elems   = elems_of(b->plan, kind);

    if (elems == 0) {
        return;
    }
    psgd_step_note(b->reducer, read_factors(b, view, message, elems, what));
    if (b->owners->copies) {
        message->partition = &b->owners->deals[kind].partition;
        psgd_exchange_begin_sharing(b->reducer, message, elems);
    } else {
        zero_others(b, kind, psgd_message_payload(message));
        psgd_exchange_begin(b->reducer, message, elems, 0);
    }
    if (psgd_step_goes_on(b->reducer)) {
        psgd_exchange_finish(b->reducer, message, what);
    }
    message->partition = NULL;
    broadcast_dominating(b, message, kind, what);
    if (psgd_step_is_healthy(b->reducer)) {
        psgd_step_note(b->reducer,
                       psgd_traffic_stage_out(b, psgd_message_payload(message), view, elems * sizeof(float), what));
        psgd_step_note(b->reducer, psgd_device_wait(b->reducer->device, what)); /* the chunk is used again */
    }
}
