#include "ops/selftest.h"

#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "base/memory.h"
#include "base/random.h"
#include "device/cl_device.h"
#include "device/program.h"
#include "ops/decompress.h"
#include "ops/orthogonalize.h"

static const double MAX_ORTHOGONALITY_ERROR = 9.5e-7; /* 8 units of fp32's rounding */

/* ------------------------------------------------------------------------------------------------------------------
 * The update: every element the bits of the host's fmaf chain
 * ---------------------------------------------------------------------------------------------------------------- */

enum {
    UPDATE_ROWS  = 61, /* primes: no tile is full at the edges */
    UPDATE_COLS  = 127,
    UPDATE_R     = 7,
    UPDATE_ELEMS = UPDATE_ROWS * UPDATE_COLS,
    P_ELEMS      = UPDATE_R * UPDATE_ROWS,
    Q_ELEMS      = UPDATE_R * UPDATE_COLS,
    SCALE_ELEMS  = sizeof(psgd_update_scale_t) / sizeof(float)
};

/* Powers of two by which Q is scaled: the update is denormal in part, near the smallest normal number, ordinary, huge. */
static const int Q_EXPONENTS[] = {-149, -140, -126, -120, -100, -24, 0, 30, 110};

enum { NUM_Q_EXPONENTS = sizeof(Q_EXPONENTS) / sizeof(Q_EXPONENTS[0]) };

/* P^ with rows of norm below 1, and Q: mostly ordinary numbers; some tiny, some zero, some whose products cancel. */
static void make_factors(float *p, float *q, int q_exponent)
{
    for (uint32_t k = 0; k < UPDATE_R; ++k) {
        for (uint32_t i = 0; i < UPDATE_ROWS; ++i) {
            float x = 0.15f * psgd_random_value(1, 0, k, i);

            p[k * UPDATE_ROWS + i] = (i % 5 == 4) ? ldexpf(x, -(int)(9 * (i % 17))) : x; /* also far below 2^-40 */
        }
        for (uint32_t j = 0; j < UPDATE_COLS; ++j) {
            float x = ldexpf(psgd_random_value(2, 0, k, j), q_exponent); /* rounds once where it becomes denormal */

            q[k * UPDATE_COLS + j] = (j % 11 == 10) ? ldexpf(x, -(int)(7 * (j % 13))) : ((j % 19 == 18) ? 0.0f : x);
        }
    }
    /* Rows 0, 7, ...: the second term takes away the first, and what is left is its rounding, to many bits. */
    for (uint32_t i = 0; i < UPDATE_ROWS; i += 7) {
        p[UPDATE_ROWS + i] = -p[i];
    }
    for (uint32_t j = 0; j < UPDATE_COLS; j += 3) {
        q[UPDATE_COLS + j] = nextafterf(q[j], 0.0f);
    }
}

/* One element as ops/decompress.h defines it. */
static float update_element(const float *p, const float *q_scaled, const psgd_update_scale_t *scale, uint32_t i, uint32_t j)
{
    float chain = 0.0f;

    for (uint32_t k = 0; k < UPDATE_R; ++k) {
        float factor = p[k * UPDATE_ROWS + i];

        chain = fmaf(fabsf(factor) < 0x1p-40f ? 0.0f : factor, q_scaled[k * UPDATE_COLS + j], chain);
    }
    return fabsf(chain) < scale->flush_below ? 0.0f : chain * scale->scale_1 * scale->scale_2;
}

static uint64_t count_wrong(const float *update, const float *p, const float *q_scaled, const psgd_update_scale_t *scale)
{
    uint64_t wrong = 0;

    for (uint32_t i = 0; i < UPDATE_ROWS; ++i) {
        for (uint32_t j = 0; j < UPDATE_COLS; ++j) {
            float expected = update_element(p, q_scaled, scale, i, j);

            wrong += memcmp(&expected, &update[i * UPDATE_COLS + j], sizeof(expected)) != 0;
        }
    }
    return wrong;
}

/* Where the factors, the scale and the update of the test lie in its memory. */
static psgd_view_t at_elem(psgd_view_t memory, size_t elem)
{
    return psgd_view_at(memory, elem * sizeof(float));
}

/* One matrix: its factors and scale up, its update down. `host` has room for P, Q, Q scaled and the update, `memory` for P,
 * Q scaled, the scale and the update. */
static psgd_status_t test_one_update(psgd_device_t *device, psgd_ragged_t *ragged, psgd_decompressor_t *decompressor,
                                     int q_exponent, float *host, psgd_view_t memory, psgd_selftest_t *found)
{
    float                  *p        = host;
    float                  *q        = p + P_ELEMS;
    float                  *q_scaled = q + Q_ELEMS;
    float                  *update   = q_scaled + Q_ELEMS;
    psgd_view_t             grad     = at_elem(memory, P_ELEMS + Q_ELEMS + SCALE_ELEMS);
    psgd_decompress_views_t views    = {.p_hat         = memory,
                                        .q_scaled      = at_elem(memory, P_ELEMS),
                                        .update_scales = at_elem(memory, P_ELEMS + Q_ELEMS),
                                        .q_local       = memory}; /* not read */
    psgd_update_scale_t     scale;
    psgd_status_t           status;

    make_factors(p, q, q_exponent);
    status = psgd_update_scale_q(q, q_scaled, Q_ELEMS, &scale);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(device, views.p_hat, p, P_ELEMS * sizeof(float));
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(device, views.q_scaled, q_scaled, Q_ELEMS * sizeof(float));
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(device, views.update_scales, &scale, sizeof(scale));
    }
    if (status == PSGD_OK) {
        status = psgd_ragged_place(ragged, &grad, NULL);
    }
    if (status == PSGD_OK) {
        status = psgd_decompressor_enqueue(decompressor, &views);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(device, grad, update, UPDATE_ELEMS * sizeof(float));
    }
    status = psgd_device_settle(device, status, "the self-test of the update");
    if (status == PSGD_OK) {
        found->update_values += UPDATE_ELEMS;
        found->update_wrong += count_wrong(update, p, q_scaled, &scale);
    }
    return status;
}

static psgd_status_t test_update(psgd_device_t *device, psgd_selftest_t *found)
{
    const psgd_ragged_item_t item         = {.rows = UPDATE_ROWS, .cols = UPDATE_COLS, .r = UPDATE_R};
    psgd_ragged_t           *ragged       = NULL;
    psgd_decompressor_t     *decompressor = NULL;
    float                   *host         = NULL;
    psgd_view_t              memory       = {NULL, 0};
    psgd_status_t            status;

    status = psgd_alloc(P_ELEMS + 2 * Q_ELEMS + UPDATE_ELEMS, sizeof(*host), "the self-test of the update", &host);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_ragged_create(device, &item, 1, &ragged);
    if (status != PSGD_OK) {
        goto free_host;
    }
    status = psgd_decompressor_create(ragged, PSGD_FORM_NO_FEEDBACK, &decompressor);
    if (status != PSGD_OK) {
        goto destroy_ragged;
    }
    status = psgd_buffer_create(device, (P_ELEMS + Q_ELEMS + SCALE_ELEMS + UPDATE_ELEMS) * sizeof(float),
                                "the self-test of the update", &memory);
    for (int i = 0; (status == PSGD_OK) && (i < NUM_Q_EXPONENTS); ++i) {
        status = test_one_update(device, ragged, decompressor, Q_EXPONENTS[i], host, memory, found);
    }
    psgd_buffer_destroy(device, &memory);
    psgd_decompressor_destroy(decompressor);
destroy_ragged:
    psgd_ragged_destroy(ragged);
free_host:
    psgd_device_free_host(device, host);
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Random numbers
 * ---------------------------------------------------------------------------------------------------------------- */

enum {
    RANDOM_ELEMS  = 4096,
    PHILOX_WORDS  = 4,
    RANDOM_WORDS  = PHILOX_WORDS + 1, /* and the bits of the number made of them */
    RANDOM_COLUMN = 3,
    RANDOM_FIRST  = 0x7FFFF800        /* element numbers on both sides of 2^31 */
};

static const uint64_t RANDOM_KEY  = UINT64_C(0xFEDCBA9876543210);
static const uint64_t RANDOM_STEP = UINT64_C(0x0000000512345678);

/* What the host draws for one element, as cl/selftest.cl writes it. */
static void draw_on_host(uint32_t element, uint32_t words[RANDOM_WORDS])
{
    philox4x32_ctr_t counter = {{element, RANDOM_COLUMN, (uint32_t)RANDOM_STEP, (uint32_t)(RANDOM_STEP >> 32)}};
    philox4x32_key_t key     = {{(uint32_t)RANDOM_KEY, (uint32_t)(RANDOM_KEY >> 32)}};
    philox4x32_ctr_t drawn   = philox4x32(counter, key);
    float            value   = psgd_random_value(RANDOM_KEY, RANDOM_STEP, RANDOM_COLUMN, element);

    memcpy(words, drawn.v, PHILOX_WORDS * sizeof(words[0]));
    memcpy(&words[PHILOX_WORDS], &value, sizeof(value));
}

static uint64_t count_wrong_random(const uint32_t *words)
{
    uint64_t wrong = 0;

    for (uint32_t i = 0; i < RANDOM_ELEMS; ++i) {
        uint32_t expected[RANDOM_WORDS];

        draw_on_host(RANDOM_FIRST + i, expected);
        for (uint32_t w = 0; w < RANDOM_WORDS; ++w) {
            wrong += words[i * RANDOM_WORDS + w] != expected[w];
        }
    }
    return wrong;
}

static psgd_status_t draw_on_device(psgd_device_t *device, psgd_program_t *program, psgd_view_t memory, uint32_t *words)
{
    size_t         global = RANDOM_ELEMS;
    uint32_t       column = RANDOM_COLUMN;
    uint32_t       first  = RANDOM_FIRST;
    psgd_kernel_t *kernel = NULL;
    psgd_status_t  status;

    const psgd_arg_t args[] = {PSGD_ARG(RANDOM_KEY), PSGD_ARG(RANDOM_STEP), PSGD_ARG(column), PSGD_ARG(first),
                               PSGD_ARG_MEM(memory)};

    status = psgd_kernel_create(program, "selftest_random", &kernel);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_enqueue(device, kernel, 1, &global, NULL, args, sizeof(args) / sizeof(args[0]));
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(device, memory, words, RANDOM_ELEMS * RANDOM_WORDS * sizeof(*words));
    }
    status = psgd_device_settle(device, status, "the self-test of random numbers");
    psgd_kernel_destroy(kernel);
    return status;
}

static psgd_status_t test_random(psgd_device_t *device, psgd_program_t *program, psgd_selftest_t *found)
{
    psgd_view_t   memory = {NULL, 0};
    uint32_t     *words  = NULL;
    psgd_status_t status;

    status = psgd_alloc(RANDOM_ELEMS * RANDOM_WORDS, sizeof(*words), "the self-test of random numbers", &words);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_create(device, RANDOM_ELEMS * RANDOM_WORDS * sizeof(*words), "the self-test of random numbers",
                                &memory);
    if (status == PSGD_OK) {
        status = draw_on_device(device, program, memory, words);
    }
    if (status == PSGD_OK) {
        found->random_values = RANDOM_ELEMS * RANDOM_WORDS;
        found->random_wrong  = count_wrong_random(words);
    }
    psgd_buffer_destroy(device, &memory);
    psgd_device_free_host(device, words);
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Denormals
 * ---------------------------------------------------------------------------------------------------------------- */

enum { NUM_PRODUCTS = 4 };

/* A denormal factor with a normal product, a normal factor with a denormal product, and both. */
static const float FACTORS_X[NUM_PRODUCTS] = {0x1p-127f, -0x1.8p-130f, 0x1p-126f, 0x1.8p-140f};
static const float FACTORS_Y[NUM_PRODUCTS] = {4.0f, 0x1p40f, 0.25f, 2.0f};

static psgd_status_t multiply_on_device(psgd_device_t *device, psgd_program_t *program, psgd_view_t x, psgd_view_t y,
                                        psgd_view_t products, float *host)
{
    size_t         global = NUM_PRODUCTS;
    psgd_kernel_t *kernel = NULL;
    psgd_status_t  status;

    const psgd_arg_t args[] = {PSGD_ARG_MEM(x), PSGD_ARG_MEM(y), PSGD_ARG_MEM(products)};

    status = psgd_kernel_create(program, "selftest_multiply", &kernel);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(device, x, FACTORS_X, sizeof(FACTORS_X));
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_write(device, y, FACTORS_Y, sizeof(FACTORS_Y));
    }
    if (status == PSGD_OK) {
        status = psgd_kernel_enqueue(device, kernel, 1, &global, NULL, args, sizeof(args) / sizeof(args[0]));
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(device, products, host, NUM_PRODUCTS * sizeof(*host));
    }
    status = psgd_device_settle(device, status, "the self-test of denormals");
    psgd_kernel_destroy(kernel);
    return status;
}

static psgd_status_t test_denormals(psgd_device_t *device, psgd_program_t *program, psgd_selftest_t *found)
{
    float         products[NUM_PRODUCTS] = {0};
    psgd_view_t   x                      = {NULL, 0};
    psgd_view_t   y                      = {NULL, 0};
    psgd_view_t   out                    = {NULL, 0};
    psgd_status_t status;

    status = psgd_buffer_create(device, sizeof(FACTORS_X), "the self-test of denormals", &x);
    if (status == PSGD_OK) {
        status = psgd_buffer_create(device, sizeof(FACTORS_Y), "the self-test of denormals", &y);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_create(device, sizeof(products), "the self-test of denormals", &out);
    }
    if (status == PSGD_OK) {
        status = multiply_on_device(device, program, x, y, out, products);
    }
    for (int i = 0; (status == PSGD_OK) && (i < NUM_PRODUCTS); ++i) {
        found->flushes_denormals |= products[i] == 0.0f;
    }
    psgd_buffer_destroy(device, &out);
    psgd_buffer_destroy(device, &y);
    psgd_buffer_destroy(device, &x);
    return status;
}

static psgd_status_t test_random_and_denormals(psgd_device_t *device, psgd_selftest_t *found)
{
    psgd_program_t *program = NULL;
    psgd_status_t   status;

    status = psgd_program_get(device, "selftest.cl", "", &program);
    if (status != PSGD_OK) {
        return status;
    }
    status = test_random(device, program, found);
    if (status == PSGD_OK) {
        status = test_denormals(device, program, found);
    }
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Orthogonality
 * ---------------------------------------------------------------------------------------------------------------- */

enum {
    LONG_LENGTH    = 1301, /* several tiles, the last not full */
    LONG_COLUMNS   = 6,
    SQUARE_LENGTH  = 11,
    SQUARE_COLUMNS = 11,
    LONG_ELEMS     = LONG_LENGTH * LONG_COLUMNS,
    SQUARE_ELEMS   = SQUARE_LENGTH * SQUARE_COLUMNS,
    ORTHO_ELEMS    = LONG_ELEMS + SQUARE_ELEMS
};

static const psgd_columns_t ORTHO_MATRICES[] = {{0, LONG_LENGTH, LONG_COLUMNS, 11},
                                                {LONG_ELEMS, SQUARE_LENGTH, SQUARE_COLUMNS, 12}};

enum { NUM_ORTHO_MATRICES = sizeof(ORTHO_MATRICES) / sizeof(ORTHO_MATRICES[0]) };

/* Columns that are random, zero, equal to another, almost so, tiny, and huge, in turn. */
static void make_columns(float *columns, const psgd_columns_t *matrix)
{
    for (uint32_t j = 0; j < matrix->columns; ++j) {
        float *column = &columns[matrix->offset_elems + j * matrix->length];

        for (uint32_t i = 0; i < matrix->length; ++i) {
            float first  = columns[matrix->offset_elems + i];
            float random = psgd_random_value(3, 0, j, i);

            switch (j % 6) {
            case 1: column[i] = 0.0f; break;
            case 2: column[i] = first; break;
            case 3: column[i] = first + ldexpf(random, -14); break;
            case 4: column[i] = ldexpf(random, -120); break;
            case 5: column[i] = ldexpf(random, 120); break;
            default: column[i] = random; break;
            }
        }
    }
}

/* max |I - P^T P| of one matrix. */
static double orthogonality_error(const float *columns, const psgd_columns_t *matrix)
{
    double worst = 0.0;

    for (uint32_t j = 0; j < matrix->columns; ++j) {
        for (uint32_t k = 0; k <= j; ++k) {
            const float *left  = &columns[matrix->offset_elems + j * matrix->length];
            const float *right = &columns[matrix->offset_elems + k * matrix->length];
            double       entry = j == k ? -1.0 : 0.0;

            for (uint64_t i = 0; i < matrix->length; ++i) {
                entry += (double)left[i] * (double)right[i];
            }
            worst = fabs(entry) <= worst ? worst : fabs(entry); /* NaN is kept */
        }
    }
    return worst;
}

static psgd_status_t orthogonalize_on_device(psgd_device_t *device, psgd_view_t memory, float *columns)
{
    psgd_orthogonalizer_t *orthogonalizer = NULL;
    psgd_status_t          status;

    status = psgd_orthogonalizer_create(device, ORTHO_MATRICES, NUM_ORTHO_MATRICES, &orthogonalizer);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(device, memory, columns, ORTHO_ELEMS * sizeof(*columns));
    if (status == PSGD_OK) {
        status = psgd_orthogonalizer_enqueue(orthogonalizer, memory, memory, 0);
    }
    if (status == PSGD_OK) {
        status = psgd_buffer_enqueue_read(device, memory, columns, ORTHO_ELEMS * sizeof(*columns));
    }
    status = psgd_device_settle(device, status, "the self-test of orthogonalization");
    psgd_orthogonalizer_destroy(orthogonalizer);
    return status;
}

static psgd_status_t test_orthogonality(psgd_device_t *device, psgd_selftest_t *found)
{
    psgd_view_t   memory  = {NULL, 0};
    float        *columns = NULL;
    psgd_status_t status;

    status = psgd_alloc(ORTHO_ELEMS, sizeof(*columns), "the self-test of orthogonalization", &columns);
    if (status != PSGD_OK) {
        return status;
    }
    for (int i = 0; i < NUM_ORTHO_MATRICES; ++i) {
        make_columns(columns, &ORTHO_MATRICES[i]);
    }
    status = psgd_buffer_create(device, ORTHO_ELEMS * sizeof(*columns), "the self-test of orthogonalization", &memory);
    if (status == PSGD_OK) {
        status = orthogonalize_on_device(device, memory, columns);
    }
    for (int i = 0; (status == PSGD_OK) && (i < NUM_ORTHO_MATRICES); ++i) {
        double error = orthogonality_error(columns, &ORTHO_MATRICES[i]);

        found->orthogonality_error = error <= found->orthogonality_error ? found->orthogonality_error : error;
    }
    psgd_buffer_destroy(device, &memory);
    psgd_device_free_host(device, columns);
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------
 * All of it
 * ---------------------------------------------------------------------------------------------------------------- */

psgd_status_t psgd_selftest_run(cl_device_id id, psgd_selftest_t *selftest_p)
{
    psgd_selftest_t found  = PSGD_SELFTEST_INIT;
    psgd_log_t      log    = psgd_log_open(NULL, NULL, PSGD_LOG_WARN);
    psgd_device_t  *device = NULL;
    psgd_status_t   status;

    status = psgd_device_open(NULL, id, NULL, &log, &device);
    if (status != PSGD_OK) {
        return status;
    }
    status = test_update(device, &found);
    if (status == PSGD_OK) {
        status = test_random_and_denormals(device, &found);
    }
    if (status == PSGD_OK) {
        status = test_orthogonality(device, &found);
    }
    if (status == PSGD_OK) {
        found.passed = (found.update_wrong == 0) && (found.random_wrong == 0) &&
                       (found.orthogonality_error <= MAX_ORTHOGONALITY_ERROR);
        *selftest_p = found;
    }
    psgd_device_close(device);
    return status;
}
