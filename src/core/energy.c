/* P^ has orthonormal columns, so with Q_w = M_w^T P^
 *
 *     |M_w|^2 = |Q_w|^2 + |M_w - P^ Q_w^T|^2 = captured + |e_w|^2
 *
 * and half-iterations take the pieces off one after the other. The captured part is in what travels anyway; |M_w|^2 costs a pass
 * over M, and is taken on a schedule. */
#include "core/energy.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "core/exchange.h"
#include "core/norm.h"
#include "core/traffic.h"
#include "ops/matrices.h"
#include "ops/squares.h"

enum {
    ITEMS       = 2,  /* words of a matrix: captured, total */
    HISTORY     = 64, /* norms of the error memory that are kept */
    MIN_HISTORY = 20  /* measurements in a row in each of which it has grown, before anything is said */
};

/* An error memory that settles grows ever more slowly: by so much less in the second half of its growth than in the first. */
static const double SETTLES = 0.9;
static const double GROWTH  = 10.0; /* how many fold it has grown before anything is said */

struct psgd_energy_meter {
    psgd_matrices_t matrices;
    psgd_squares_t *squares;
    double         *own;  /* by matrix: captured and total of this worker */
    double         *sums; /* the same, over all workers, of the last measured step */
    psgd_gather_t   all;  /* of all workers, while they are added up */
    uint64_t        step;
    bool            has_measured;

    /* The norms of the error memory since it last fell, every stride-th measurement of them. */
    double   history[HISTORY];
    size_t   num_history;
    uint64_t stride, since; /* measurements: between two that are kept; since the last that was */
    bool     has_warned;
};

bool psgd_energy_is_wanted(const psgd_reducer_t *r)
{
    return (r->energy != NULL) && (r->step_number % r->config.energy_every == 0);
}

void psgd_energy_begin(psgd_reducer_t *r)
{
    if (psgd_energy_is_wanted(r)) {
        memset(r->energy->own, 0, r->plan->num_matrices * ITEMS * sizeof(*r->energy->own));
    }
}

psgd_status_t psgd_energy_enqueue(psgd_reducer_t *r)
{
    psgd_step_views_t views = psgd_traffic_step_views(r);
    psgd_status_t     status;

    if (!psgd_energy_is_wanted(r)) {
        return PSGD_OK;
    }
    status = psgd_matrices_place(&r->energy->matrices, &views);
    return status == PSGD_OK ? psgd_squares_enqueue(r->energy->squares) : status;
}

void psgd_energy_add(psgd_bucket_t *b, const float *factor, bool is_q)
{
    for (size_t m = 0; psgd_energy_is_wanted(b->reducer) && (m < b->plan->num_matrices); ++m) {
        const psgd_plan_matrix_t *matrix = &b->plan->matrices[m];
        uint64_t                  elems  = (is_q ? matrix->cols : matrix->rows) * matrix->r;

        b->reducer->energy->own[ITEMS * (b->plan->first_matrix + m)] +=
            psgd_norm_square(factor + (is_q ? matrix->q_offset_elems : matrix->p_offset_elems), (size_t)elems);
    }
}

/* ---- the sums over the workers ---- */

static void add_workers(psgd_reducer_t *r)
{
    psgd_energy_meter_t *meter = r->energy;
    size_t               count = r->plan->num_matrices * ITEMS;

    memset(meter->sums, 0, count * sizeof(*meter->sums));
    for (uint32_t w = 0; w < r->comm->num_workers; ++w) {
        for (size_t i = 0; i < count; ++i) {
            double value;

            memcpy(&value, &meter->all.words[w * count + i], sizeof(value));
            meter->sums[i] += value;
        }
    }
}

/* Keeps every second of the norms that were kept. */
static void thin_history(psgd_energy_meter_t *meter)
{
    meter->num_history /= 2;
    meter->stride *= 2;
    for (size_t i = 0; i < meter->num_history; ++i) {
        meter->history[i] = meter->history[2 * i];
    }
}

static void keep_norm(psgd_energy_meter_t *meter, double norm)
{
    if ((meter->num_history > 0) && !(norm > meter->history[meter->num_history - 1])) { /* it fell: all begins anew */
        meter->num_history = 0;
        meter->has_warned  = false;
    }
    if (meter->num_history == 0) {
        meter->stride = 1;
        meter->since  = 0;
    } else if (++meter->since < meter->stride) {
        return;
    }
    if (meter->num_history == HISTORY) {
        thin_history(meter);
    }
    meter->history[meter->num_history++] = norm;
    meter->since                         = 0;
}

/* Whether it has grown for long, by much, and does not slow down. */
static bool grows_without_bound(const psgd_energy_meter_t *meter)
{
    size_t count = meter->num_history;
    double first, middle, last;

    if (count * meter->stride < MIN_HISTORY) {
        return false;
    }
    first  = meter->history[0];
    middle = meter->history[(count - 1) / 2];
    last   = meter->history[2 * ((count - 1) / 2)];
    return (last >= GROWTH * first) && (last - middle >= SETTLES * (middle - first));
}

/* Says it once, until the error memory falls. */
static void watch_error(psgd_reducer_t *r)
{
    psgd_energy_meter_t *meter  = r->energy;
    psgd_energy_t        energy = PSGD_ENERGY_INIT;

    if (psgd_energy_read(r, SIZE_MAX, &energy) != PSGD_OK) {
        return;
    }
    keep_norm(meter, energy.error_norm);
    if (!meter->has_warned && grows_without_bound(meter)) {
        meter->has_warned = true;
        r->stats.error_alarms += 1;
        psgd_log(&r->log, PSGD_LOG_WARN,
                 "step %" PRIu64 ": the error memory has grown from %g to %g and does not slow down; the factors "
                 "capture %.2g %% of what they are made from: give them a higher rank, or use warm start",
                 r->step_number, meter->history[0], energy.error_norm, 100.0 * energy.captured_share);
    }
}

void psgd_energy_share(psgd_reducer_t *r)
{
    psgd_energy_meter_t *meter = r->energy;
    size_t               count = r->plan->num_matrices * ITEMS;

    if (!psgd_energy_is_wanted(r) || !psgd_step_goes_on(r)) {
        return;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        meter->own[ITEMS * m + 1] = psgd_squares_of(meter->squares, m);
    }
    /* A double is a word. */
    psgd_exchange_gather_words(r, &meter->all, (const uint64_t *)(const void *)meter->own, count,
                               "the captured energy of all workers");
    if (psgd_step_goes_on(r)) {
        add_workers(r);
        meter->step         = r->step_number;
        meter->has_measured = true;
        watch_error(r);
    }
}

psgd_status_t psgd_energy_read(const psgd_reducer_t *r, size_t tensor_index, psgd_energy_t *energy_p)
{
    const psgd_energy_meter_t *meter  = r->energy;
    psgd_energy_t              energy = *energy_p;
    double                     error;

    if ((meter == NULL) || !meter->has_measured) {
        return psgd_fail(PSGD_ERR_STATE,
                         "no energy was measured yet: config.energy_every is %" PRIu64 ", and %" PRIu64
                         " steps were done",
                         r->config.energy_every, r->step_number);
    }
    energy.captured = energy.total = 0.0;
    if ((tensor_index != SIZE_MAX) && (r->plan->tensors[tensor_index].route == PSGD_ROUTE_FLATTENED)) {
        tensor_index = r->plan->num_given;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        if ((tensor_index == SIZE_MAX) || (r->plan->matrices[m].tensor_index == tensor_index)) {
            energy.captured += meter->sums[ITEMS * m];
            energy.total += meter->sums[ITEMS * m + 1];
        }
    }
    error                 = energy.total > energy.captured ? energy.total - energy.captured : 0.0;
    energy.step           = meter->step;
    energy.captured_share = energy.total > 0.0 ? fmin(energy.captured / energy.total, 1.0) : 1.0;
    energy.error_norm     = sqrt(error / r->comm->num_workers);
    *energy_p             = energy;
    return PSGD_OK;
}

/* ---- create and destroy ---- */

psgd_status_t psgd_energy_create(psgd_reducer_t *r)
{
    size_t        count = r->plan->num_matrices * ITEMS;
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*r->energy), "the meter of energy", &r->energy);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*r->energy->own), "the energy of this worker", &r->energy->own);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(count, sizeof(*r->energy->sums), "the energy of all workers", &r->energy->sums);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_gather_create(&r->energy->all, count, r->comm->num_workers);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_matrices_create_all(r->device, r->plan, &r->energy->matrices);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_squares_create(r->energy->matrices.ragged, r->form == PSGD_FORM_LAZY, &r->energy->squares);
}

void psgd_energy_destroy(psgd_energy_meter_t *meter, bool keep_memory)
{
    if (meter == NULL) {
        return;
    }
    psgd_squares_destroy(meter->squares, keep_memory);
    psgd_matrices_destroy(&meter->matrices);
    psgd_gather_destroy(&meter->all);
    psgd_free(meter->sums);
    psgd_free(meter->own);
    psgd_free(meter);
}
