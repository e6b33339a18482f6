#include "core/update.h"

#include <inttypes.h>
#include <string.h>

#include "base/arith.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/alternate.h"
#include "core/traffic.h"
#include "ops/apply.h"
#include "ops/arrange.h"
#include "ops/matrices.h"
#include "ops/residual.h"

struct psgd_updater {
    psgd_device_t *device;
    psgd_rule_t    rule;
    bool           has_momentum;
    bool           has_halves;

    psgd_matrices_t  errors; /* M and the error memories, in the transactional forms of a full iteration */
    psgd_residual_t *leave_error;
    psgd_matrices_t  matrices; /* parameters and momenta of what is compressed */
    psgd_apply_t    *from_factors;
    psgd_view_t     *params, *momenta; /* by matrix index */

    psgd_ragged_t *small; /* the small uncompressed tensors; NULL where there are none */
    psgd_apply_t  *from_packed;
    psgd_ragged_t *tensors; /* all tensors, one at a time */
    psgd_apply_t  *from_grads;
    psgd_ragged_t *halves; /* all tensors, for the 16-bit copies of parameters; NULL where there are none */
    psgd_apply_t  *to_halves;
    psgd_view_t   *x, *m; /* by item of these, when they are placed */

    /* Where matrices do not lie in their tensor as parameters do: the update of one tensor in its own order. */
    psgd_arrange_t *unfold;
    psgd_view_t     unfolded;
    psgd_view_t    *unfolded_places; /* by tensor index: all the same */
};

/* The factors say nothing about the order of parameters where matrices lie otherwise in their tensors. */
bool psgd_update_takes_factors(const psgd_reducer_t *r)
{
    return (r->step.update != NULL) && !psgd_plan_has_reshaped(r->plan);
}

/* ---- create ---- */

static psgd_status_t create_for_matrices(const psgd_reducer_t *r, psgd_updater_t *u)
{
    psgd_status_t status = PSGD_OK;

    if ((r->form == PSGD_FORM_TRANSACTIONAL) || (r->form == PSGD_FORM_HALF)) {
        const psgd_residual_target_t target =
            r->form == PSGD_FORM_HALF ? PSGD_RESIDUAL_INTO_BFLOAT : PSGD_RESIDUAL_INTO_ERROR;

        status = psgd_matrices_create_all(r->device, r->plan, &u->errors);
        if (status == PSGD_OK) {
            status = psgd_residual_create(u->errors.ragged, target, &u->leave_error);
        }
    }
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_matrices, sizeof(*u->params), "the table of parameters", &u->params);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(r->plan->num_matrices, sizeof(*u->momenta), "the table of momenta", &u->momenta);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_matrices_create_all(r->device, r->alternation != NULL ? psgd_alternation_plan(r) : r->plan, &u->matrices);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_apply_create(u->matrices.ragged, true, u->rule, u->has_momentum, &u->from_factors);
}

static bool is_listed(const psgd_plan_tensor_t *tensor, bool small_alone)
{
    return !small_alone || (tensor->route == PSGD_ROUTE_SMALL);
}

/* Tensors of one row each: the small ones, at their place in the packed array; or all, each from its own buffer. */
static psgd_status_t create_rows(const psgd_reducer_t *r, psgd_updater_t *u, bool small_alone, psgd_ragged_t **ragged_p,
                                 psgd_apply_t **apply_p)
{
    psgd_ragged_item_t *items = NULL;
    size_t              n     = 0;
    psgd_status_t       status;

    status = psgd_alloc(r->plan->num_given, sizeof(*items), "the table of tensors", &items);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < r->plan->num_given; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];

        if (tensor->elems > UINT32_MAX) {
            status = psgd_fail(PSGD_ERR_UNSUPPORTED,
                               "tensor %zu '%s' has %" PRIu64 " elements: an optimizer's step takes fewer than "
                               "2^32",
                               i, tensor->name, tensor->elems);
        } else if (is_listed(tensor, small_alone)) {
            items[n++] = (psgd_ragged_item_t){
                .rows = 1, .cols = (uint32_t)tensor->elems, .p_offset = small_alone ? tensor->offset_elems : 0};
        }
    }
    if (status == PSGD_OK) {
        status = psgd_ragged_create(r->device, items, n, ragged_p);
    }
    psgd_free(items);
    return status == PSGD_OK ? psgd_apply_create(*ragged_p, false, u->rule, u->has_momentum, apply_p) : status;
}

/* Room for the largest tensor whose matrices lie otherwise in it. */
static psgd_status_t create_unfolding(const psgd_reducer_t *r, psgd_updater_t *u)
{
    uint64_t      elems = 0;
    psgd_status_t status;

    for (size_t i = 0; i < r->plan->num_given; ++i) {
        elems = r->plan->tensors[i].is_reshaped ? psgd_max(elems, r->plan->tensors[i].elems) : elems;
    }
    status = psgd_alloc(r->plan->num_given, sizeof(*u->unfolded_places), "the table of updates", &u->unfolded_places);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_create(r->device, (size_t)elems * sizeof(float), "the update of one tensor", &u->unfolded);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < r->plan->num_given; ++i) {
        u->unfolded_places[i] = u->unfolded;
    }
    return psgd_arrange_create(r->device, r->plan, true, &u->unfold);
}

static psgd_status_t create(const psgd_reducer_t *r, psgd_updater_t *u)
{
    psgd_status_t status;

    u->device = r->device;
    if (psgd_plan_has_reshaped(r->plan)) {
        status = create_unfolding(r, u);
        if (status != PSGD_OK) {
            return status;
        }
    } else if (r->plan->num_matrices > 0) {
        status = create_for_matrices(r, u);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (r->plan->small_elems > 0) {
        status = create_rows(r, u, true, &u->small, &u->from_packed);
        if (status != PSGD_OK) {
            return status;
        }
    }
    status = create_rows(r, u, false, &u->tensors, &u->from_grads);
    if (status != PSGD_OK) {
        return status;
    }
    if (u->has_halves) {
        status = create_rows(r, u, false, &u->halves, &u->to_halves);
        if (status != PSGD_OK) {
            return status;
        }
    }
    status = psgd_alloc(r->plan->num_given, sizeof(*u->x), "the table of parameters", &u->x);
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_alloc(r->plan->num_given, sizeof(*u->m), "the table of momenta", &u->m);
}

static bool fits(const psgd_updater_t *u, const psgd_update_t *update)
{
    return (u != NULL) && (u->rule == update->rule) && (u->has_momentum == (update->momenta != NULL)) &&
           (u->has_halves || (update->half_params == NULL));
}

psgd_status_t psgd_update_prepare(psgd_reducer_t *r)
{
    const psgd_update_t *update = r->step.update;
    psgd_updater_t      *u      = NULL;
    psgd_status_t        status;

    if ((update == NULL) || fits(r->updater, update)) {
        return PSGD_OK;
    }
    status = psgd_alloc(1, sizeof(*u), "the optimizer's step", &u);
    if (status != PSGD_OK) {
        return status;
    }
    u->rule         = update->rule;
    u->has_momentum = update->momenta != NULL;
    u->has_halves   = update->half_params != NULL;
    status          = create(r, u);
    if (status != PSGD_OK) {
        psgd_updater_destroy(u);
        return status;
    }
    psgd_updater_destroy(r->updater);
    r->updater = u;
    return PSGD_OK;
}

void psgd_updater_destroy(psgd_updater_t *u)
{
    if (u == NULL) {
        return;
    }
    psgd_arrange_destroy(u->unfold);
    psgd_buffer_destroy(u->device, &u->unfolded);
    psgd_apply_destroy(u->to_halves);
    psgd_ragged_destroy(u->halves);
    psgd_apply_destroy(u->from_grads);
    psgd_ragged_destroy(u->tensors);
    psgd_apply_destroy(u->from_packed);
    psgd_ragged_destroy(u->small);
    psgd_apply_destroy(u->from_factors);
    psgd_matrices_destroy(&u->matrices);
    psgd_residual_destroy(u->leave_error);
    psgd_matrices_destroy(&u->errors);
    psgd_free(u->m);
    psgd_free(u->x);
    psgd_free(u->momenta);
    psgd_free(u->params);
    psgd_free(u->unfolded_places);
    psgd_free(u);
}

uint64_t psgd_update_hash(const psgd_reducer_t *r)
{
    const psgd_update_t *update = r->step.update;
    float                numbers[3];
    uint64_t             hash;

    if (update == NULL) {
        return 0;
    }
    numbers[0] = update->learning_rate;
    numbers[1] = update->momentum;
    numbers[2] = update->weight_decay;
    hash       = psgd_hash_words(numbers, 3, 1 + (uint64_t)update->rule);
    return psgd_hash_u64(hash, (update->momenta != NULL ? 1U : 0U) + (update->half_params != NULL ? 2U : 0U));
}

/* ---- a step ---- */

static psgd_rule_numbers_t numbers_of(const psgd_update_t *update)
{
    return (psgd_rule_numbers_t){-update->learning_rate, update->momentum, update->weight_decay};
}

/* e = M - P^ Q_w^T: in the transactional forms of a full iteration, while M still lies in the gradients' buffers. */
static psgd_status_t leave_error(psgd_reducer_t *r)
{
    psgd_step_views_t views = psgd_traffic_step_views(r);
    psgd_status_t     status;

    if (r->updater->leave_error == NULL) {
        return PSGD_OK;
    }
    status = psgd_matrices_place(&r->updater->errors, &views);
    return status == PSGD_OK
               ? psgd_residual_enqueue(r->updater->leave_error, views.p_hat, views.q_local, views.rounding)
               : status;
}

static psgd_status_t apply_factors(psgd_reducer_t *r, psgd_view_t p, psgd_view_t q)
{
    const psgd_update_t *update = r->step.update;
    psgd_updater_t      *u      = r->updater;
    psgd_step_views_t    views  = psgd_traffic_step_views(r);
    psgd_view_t          scales = views.update_scales;
    psgd_status_t        status;

    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];
        size_t                    offset = (size_t)matrix->grad_offset_elems * sizeof(float);

        u->params[m] = psgd_view_at(update->params[matrix->tensor_index], offset);
        if (u->has_momentum) {
            u->momenta[m] = psgd_view_at(update->momenta[matrix->tensor_index], offset);
        }
    }
    views.grads  = u->params;
    views.errors = u->has_momentum ? u->momenta : NULL;
    status       = psgd_matrices_place(&u->matrices, &views);
    return status == PSGD_OK ? psgd_apply_enqueue_factors(u->from_factors, p, q, scales, numbers_of(update)) : status;
}

/* Items are tensors: x by `first`, m by `second`, or none. */
static psgd_status_t place_rows(psgd_reducer_t *r, psgd_ragged_t *ragged, bool small_alone, const psgd_view_t *first,
                                const psgd_view_t *second)
{
    psgd_updater_t *u = r->updater;
    size_t          n = 0;

    for (size_t i = 0; i < r->plan->num_given; ++i) {
        if (is_listed(&r->plan->tensors[i], small_alone)) {
            u->x[n] = first[i];
            u->m[n] = second != NULL ? second[i] : (psgd_view_t){NULL, 0};
            ++n;
        }
    }
    return psgd_ragged_place(ragged, u->x, second != NULL ? u->m : NULL);
}

static psgd_status_t apply_small(psgd_reducer_t *r, psgd_view_t small)
{
    const psgd_update_t *update = r->step.update;
    psgd_status_t        status;

    if (r->updater->small == NULL) {
        return PSGD_OK;
    }
    status = place_rows(r, r->updater->small, true, update->params, update->momenta);
    return status == PSGD_OK ? psgd_apply_enqueue_values(r->updater->from_packed, small, numbers_of(update)) : status;
}

/* Where the update of a tensor lies in the order of its parameters. */
static psgd_status_t unfold(psgd_reducer_t *r, size_t i, psgd_view_t *view_p)
{
    const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];
    psgd_updater_t           *u      = r->updater;

    if (!tensor->is_reshaped || (tensor->route == PSGD_ROUTE_FLATTENED)) {
        *view_p = r->step_grads[i];
        return PSGD_OK;
    }
    *view_p = u->unfolded;
    return psgd_arrange_enqueue_out_one(u->unfold, i, r->step_grads, u->unfolded_places);
}

/* From the gradients' places, a launch a tensor: those of one route, or all. */
static psgd_status_t apply_grads(psgd_reducer_t *r, bool large_alone)
{
    const psgd_update_t *update = r->step.update;
    psgd_updater_t      *u      = r->updater;
    psgd_status_t        status = place_rows(r, u->tensors, false, update->params, update->momenta);

    for (size_t i = 0; (status == PSGD_OK) && (i < r->plan->num_given); ++i) {
        psgd_view_t values;

        if (large_alone && (r->plan->tensors[i].route != PSGD_ROUTE_LARGE)) {
            continue;
        }
        status = unfold(r, i, &values);
        if (status == PSGD_OK) {
            psgd_ragged_focus(u->tensors, i);
            status = psgd_apply_enqueue_values(u->from_grads, values, numbers_of(update));
        }
    }
    psgd_ragged_focus(u->tensors, SIZE_MAX);
    return status;
}

/* The 16-bit copies of the parameters. */
static psgd_status_t narrow(psgd_reducer_t *r)
{
    const psgd_update_t *update = r->step.update;
    psgd_updater_t      *u      = r->updater;
    psgd_status_t        status;

    if (update->half_params == NULL) {
        return PSGD_OK;
    }
    for (size_t i = 0; i < r->plan->num_given; ++i) {
        u->x[i] = psgd_view_at(update->half_params[i], update->half_params[i].offset_bytes); /* in units of floats */
        u->m[i] = update->params[i];
    }
    status = psgd_ragged_place(u->halves, u->x, u->m);
    return status == PSGD_OK ? psgd_apply_enqueue_narrow(u->to_halves) : status;
}

psgd_status_t psgd_update_enqueue(psgd_reducer_t *r, psgd_view_t p, psgd_view_t q, psgd_view_t small)
{
    psgd_status_t status = PSGD_OK;

    if (r->plan->num_matrices > 0) {
        status = leave_error(r);
        if (status == PSGD_OK) {
            status = apply_factors(r, p, q);
        }
    }
    if (status == PSGD_OK) {
        status = apply_small(r, small);
    }
    if ((status == PSGD_OK) && (r->plan->large_elems > 0)) {
        for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
            status = psgd_traffic_write_large(&r->buckets[i]);
        }
        if (status == PSGD_OK) {
            status = apply_grads(r, true);
        }
    }
    return status == PSGD_OK ? narrow(r) : status;
}

psgd_status_t psgd_update_enqueue_written(psgd_reducer_t *r)
{
    psgd_status_t status = apply_grads(r, false);

    return status == PSGD_OK ? narrow(r) : status;
}
