#include "core/half_errors.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"
#include "core/traffic.h"
#include "ops/feedback.h"
#include "ops/matrices.h"

struct psgd_half_errors {
    psgd_matrices_t  matrices;
    psgd_view_t     *places; /* by matrix index: of the error memories, in elements */
    psgd_feedback_t *feedback;
};

static psgd_status_t create_feedback(const psgd_reducer_t *r, psgd_half_errors_t *h)
{
    uint32_t     *keys   = NULL;
    psgd_status_t status = psgd_alloc(r->plan->num_matrices, sizeof(*keys), "the keys of chance", &keys);

    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        keys[m] = (uint32_t)psgd_random_key(r->config.seed, r->plan->matrices[m].name_hash, PSGD_RANDOM_ROUNDING);
    }
    status = psgd_feedback_create(h->matrices.ragged, keys, r->plan->num_matrices, &h->feedback);
    psgd_free(keys);
    return status;
}

psgd_status_t psgd_half_errors_create(psgd_reducer_t *r)
{
    psgd_half_errors_t *h;
    psgd_status_t       status;

    status = psgd_alloc(1, sizeof(*h), "the error memory in 16 bits", &r->half_errors);
    if (status != PSGD_OK) {
        return status;
    }
    h      = r->half_errors;
    status = psgd_alloc(r->plan->num_matrices, sizeof(*h->places), "the table of error memories", &h->places);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_matrices_create_all(r->device, r->plan, &h->matrices);
    return status == PSGD_OK ? create_feedback(r, h) : status;
}

void psgd_half_errors_destroy(psgd_half_errors_t *h)
{
    if (h == NULL) {
        return;
    }
    psgd_feedback_destroy(h->feedback);
    psgd_matrices_destroy(&h->matrices);
    psgd_free(h->places);
    psgd_free(h);
}

/* Where matrices and error memories lie: these by elements, as cl/add_error.cl counts them. */
static psgd_status_t place(psgd_reducer_t *r)
{
    psgd_half_errors_t *h     = r->half_errors;
    psgd_step_views_t   views = psgd_traffic_step_views(r);

    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        h->places[m] = (psgd_view_t){r->errors[m].mem, r->errors[m].offset_bytes / sizeof(uint16_t) * sizeof(float)};
    }
    views.errors = h->places;
    return psgd_matrices_place(&h->matrices, &views);
}

psgd_status_t psgd_half_errors_add(psgd_reducer_t *r)
{
    psgd_status_t status = place(r);

    return status == PSGD_OK ? psgd_feedback_enqueue_add(r->half_errors->feedback) : status;
}

psgd_status_t psgd_half_errors_leave(psgd_reducer_t *r, psgd_view_t p, psgd_view_t q)
{
    psgd_status_t status = place(r);

    return status == PSGD_OK
               ? psgd_feedback_enqueue_leave(r->half_errors->feedback, p, q, (uint32_t)psgd_hash_mix(r->step_number))
               : status;
}
