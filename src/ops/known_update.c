#include "ops/known_update.h"

#include <math.h>

#include "base/bits.h"
#include "base/memory.h"
#include "base/random.h"
#include "ops/decompress.h"

enum {
    ROWS  = 61, /* primes: no tile is full at the edges */
    COLS  = 127,
    MAX_R = 32,
    ELEMS = ROWS * COLS,
    MAX_P = MAX_R * ROWS,
    MAX_Q = MAX_R * COLS,
    SCALE = sizeof(psgd_update_scale_t) / sizeof(float)
};

/* Powers of two by which Q is scaled: the update is denormal in part, near the smallest normal number, ordinary, huge. */
static const int Q_EXPONENTS[] = {-149, -140, -126, -120, -100, -24, 0, 30, 110};

enum { NUM_Q_EXPONENTS = sizeof(Q_EXPONENTS) / sizeof(Q_EXPONENTS[0]) };

/* What the test works on. */
typedef struct known_update {
    psgd_device_t       *device;
    psgd_ragged_t       *ragged;
    psgd_decompressor_t *decompressor;
    uint32_t             r;
    psgd_view_t          p_hat, q_scaled, scale, update, error; /* in one buffer, which is p_hat's */
    psgd_update_scale_t  host_scale;
    float                p[MAX_P], q[MAX_Q], host_update[ELEMS];
} known_update_t;

/* P^ with rows of norm below 1, and Q: mostly ordinary numbers; some tiny, some zero, some whose products cancel. */
static void make_factors(known_update_t *u, int q_exponent)
{
    float *p = u->p, *q = u->q;

    for (uint32_t k = 0; k < u->r; ++k) {
        for (uint32_t i = 0; i < ROWS; ++i) {
            float x = 0.15f * psgd_random_value(1, 0, k, i);

            p[k * ROWS + i] = (i % 5 == 4) ? ldexpf(x, -(int)(9 * (i % 17))) : x; /* also far below 2^-40 */
        }
        for (uint32_t j = 0; j < COLS; ++j) {
            float x = ldexpf(psgd_random_value(2, 0, k, j), q_exponent); /* rounds once where it becomes denormal */

            q[k * COLS + j] = (j % 11 == 10) ? ldexpf(x, -(int)(7 * (j % 13))) : ((j % 19 == 18) ? 0.0f : x);
        }
    }
    /* Rows 0, 7, ...: the second term takes away the first, and what is left is its rounding, to many bits. */
    for (uint32_t i = 0; (u->r > 1) && (i < ROWS); i += 7) {
        p[ROWS + i] = -p[i];
    }
    for (uint32_t j = 0; (u->r > 1) && (j < COLS); j += 3) {
        q[COLS + j] = nextafterf(q[j], 0.0f);
    }
}

/* One element as ops/decompress.h defines it; q is scaled. */
static float expected_element(const known_update_t *u, uint32_t i, uint32_t j)
{
    float chain = 0.0f;

    for (uint32_t k = 0; k < u->r; ++k) {
        float factor = u->p[k * ROWS + i];

        chain = fmaf(fabsf(factor) < 0x1p-40f ? 0.0f : factor, u->q[k * COLS + j], chain);
    }
    return fabsf(chain) < u->host_scale.flush_below ? 0.0f : chain * u->host_scale.scale_1 * u->host_scale.scale_2;
}

static uint64_t count_wrong(const known_update_t *u)
{
    uint64_t wrong = 0;

    for (uint32_t i = 0; i < ROWS; ++i) {
        for (uint32_t j = 0; j < COLS; ++j) {
            float expected = expected_element(u, i, j);

            wrong += psgd_bits_of(expected) != psgd_bits_of(u->host_update[i * COLS + j]);
        }
    }
    return wrong;
}

/* One matrix: its factors and scale up, its update down. */
static psgd_status_t form_update(known_update_t *u)
{
    const psgd_decompress_views_t views = {
        .p_hat = u->p_hat, .q_scaled = u->q_scaled, .update_scales = u->scale, .q_local = u->q_scaled};
    const size_t  p_bytes = (size_t)u->r * ROWS * sizeof(float), q_bytes = (size_t)u->r * COLS * sizeof(float);
    psgd_status_t status;

    status = psgd_update_scale_q(u->q, u->q, (size_t)u->r * COLS, &u->host_scale);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(u->device, u->p_hat, u->p, p_bytes);
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(u->device, u->q_scaled, u->q, q_bytes);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(u->device, u->scale, &u->host_scale, sizeof(u->host_scale));
    }
    if (status == PSGD_OK) {
        status = psgd_ragged_place(u->ragged, &u->update, &u->error);
    }
    if (status == PSGD_OK) {
        status = psgd_decompressor_enqueue(u->decompressor, &views);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(u->device, u->update, u->host_update, sizeof(u->host_update));
    }
    return psgd_device_settle(u->device, status, "the known answer of the update");
}

/* M is where the update will be, and counts as zero. */
static psgd_status_t open(known_update_t *u, psgd_form_t form)
{
    const psgd_ragged_item_t item   = {.rows = ROWS, .cols = COLS, .r = u->r};
    psgd_status_t            status = psgd_ragged_create(u->device, &item, 1, &u->ragged);

    if (status == PSGD_OK) {
        status = psgd_decompressor_create(u->ragged, form == PSGD_FORM_HALF ? PSGD_FORM_NO_FEEDBACK : form,
                                          &u->decompressor);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_create(u->device, (MAX_P + MAX_Q + SCALE + 2 * ELEMS) * sizeof(float),
                                    "the known answer of the update", &u->p_hat);
    }
    if (status == PSGD_OK) {
        u->q_scaled = psgd_view_at(u->p_hat, MAX_P * sizeof(float));
        u->scale    = psgd_view_at(u->q_scaled, MAX_Q * sizeof(float));
        u->update   = psgd_view_at(u->scale, SCALE * sizeof(float));
        u->error    = psgd_view_at(u->update, ELEMS * sizeof(float));
        status      = psgd_buffer_enqueue_zero(u->device, u->update, sizeof(u->host_update) * 2);
    }
    return psgd_device_settle(u->device, status, "the known answer of the update");
}

psgd_status_t psgd_known_update_run(psgd_device_t *device, psgd_form_t form, uint32_t r, uint64_t *values_p,
                                    uint64_t *wrong_p)
{
    known_update_t *u      = NULL;
    uint64_t        values = 0, wrong = 0;
    psgd_status_t   status = psgd_alloc(1, sizeof(*u), "the known answer of the update", &u);

    if (status != PSGD_OK) {
        return status;
    }
    u->device = device;
    u->r      = r < MAX_R ? r : MAX_R;
    status    = open(u, form);
    for (int i = 0; (status == PSGD_OK) && (i < NUM_Q_EXPONENTS); ++i) {
        make_factors(u, Q_EXPONENTS[i]);
        status = form_update(u);
        values += ELEMS;
        wrong += status == PSGD_OK ? count_wrong(u) : 0;
    }
    psgd_buffer_destroy(device, &u->p_hat);
    psgd_decompressor_destroy(u->decompressor);
    psgd_ragged_destroy(u->ragged);
    psgd_device_free_host(device, u);
    if (status != PSGD_OK) {
        return status;
    }
    *values_p = values;
    *wrong_p  = wrong;
    return PSGD_OK;
}
