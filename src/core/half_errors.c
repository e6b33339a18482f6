#include "core/half_errors.h"

#include "base/hash.h"
#include "base/memory.h"
#include "base/random.h"

struct psgd_half_errors {
    psgd_view_t *places; /* by matrix index */
    psgd_view_t  keys;
};

static psgd_status_t upload_keys(const psgd_reducer_t *r, psgd_half_errors_t *h)
{
    size_t        bytes  = r->plan->num_matrices * sizeof(uint32_t);
    uint32_t     *keys   = NULL;
    psgd_status_t status = psgd_alloc(r->plan->num_matrices, sizeof(*keys), "the keys of chance", &keys);

    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        keys[m] = (uint32_t)psgd_random_key(r->config.seed, r->plan->matrices[m].name_hash, PSGD_RANDOM_ROUNDING);
    }
    status = psgd_buffer_create(r->device, bytes, "the keys of chance", &h->keys);
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(r->device, h->keys, keys, bytes);
    }
    status = psgd_device_settle(r->device, status, "the keys of chance");
    psgd_device_free_host(r->device, keys);
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
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        h->places[m] = (psgd_view_t){r->errors[m].mem, r->errors[m].offset_bytes / sizeof(uint16_t) * sizeof(float)};
    }
    return upload_keys(r, h);
}

void psgd_half_errors_destroy(psgd_device_t *device, psgd_half_errors_t *h)
{
    if (h == NULL) {
        return;
    }
    psgd_buffer_destroy(device, &h->keys);
    psgd_free(h->places);
    psgd_free(h);
}

const psgd_view_t *psgd_half_errors_places(const psgd_reducer_t *r)
{
    return r->half_errors->places;
}

psgd_rounding_t psgd_half_errors_rounding(const psgd_reducer_t *r)
{
    psgd_rounding_t rounding = {{NULL, 0}, 0};

    if (r->half_errors != NULL) {
        rounding.keys     = r->half_errors->keys;
        rounding.step_key = (uint32_t)psgd_hash_mix(r->step_number);
    }
    return rounding;
}
