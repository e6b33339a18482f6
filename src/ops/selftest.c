#include "ops/selftest.h"

#include <math.h>
#include <string.h>

#include <Random123/philox.h>

#include "base/bits.h"
#include "base/memory.h"
#include "base/random.h"
#include "device/cl_device.h"
#include "device/program.h"
#include "ops/known_update.h"
#include "ops/orthogonalize.h"

enum { UPDATE_R = 7 };

static const double MAX_ORTHOGONALITY_ERROR = 9.5e-7; /* 8 units of fp32's rounding */

/* ------------------------------------------------------------------------------------------------------------------
 * Random numbers
 * ---------------------------------------------------------------------------------------------------------------- */

enum {
    RANDOM_ELEMS  = 4096,
    PHILOX_WORDS  = 4,
    RANDOM_WORDS  = PHILOX_WORDS + 1, /* and the bits of the number made of them */
    RANDOM_TOTAL  = RANDOM_ELEMS * RANDOM_WORDS,
    RANDOM_COLUMN = 3,
    RANDOM_FIRST  = 0x7FFFF800 /* element numbers on both sides of 2^31 */
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
        status = psgd_buffer_enqueue_read(device, memory, words, RANDOM_TOTAL * sizeof(*words));
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

    status = psgd_alloc(RANDOM_TOTAL, sizeof(*words), "the self-test of random numbers", &words);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_create(device, RANDOM_TOTAL * sizeof(*words), "the self-test of random numbers", &memory);
    if (status == PSGD_OK) {
        status = draw_on_device(device, program, memory, words);
    }
    if (status == PSGD_OK) {
        found->random_values = RANDOM_TOTAL;
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
    status = psgd_known_update_run(device, PSGD_FORM_NO_FEEDBACK, UPDATE_R, &found.update_values, &found.update_wrong);
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
