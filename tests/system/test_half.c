/* Gradients in 16 bits: what a step gives is what it gives for the same numbers in single precision, rounded once at the end.
 *
 * With the argument "bits" the conversions alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/half.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

enum { NUM_STEPS = 3 };

static const psgd_dtype_t DTYPES[] = {PSGD_F16, PSGD_BF16};

enum { NUM_DTYPES = sizeof(DTYPES) / sizeof(DTYPES[0]) };

/* ---- the conversions ------------------------------------------------------------------------------------------------ */

/* Every number that there is in 16 bits, but infinities and NaN. */
enum { NUM_HALVES = 1 << 16 };

static size_t all_finite(psgd_dtype_t dtype, uint16_t *halves)
{
    size_t n = 0;

    for (uint32_t bits = 0; bits < NUM_HALVES; ++bits) {
        if (isfinite(half_decode(dtype, (uint16_t)bits))) {
            halves[n++] = (uint16_t)bits;
        }
    }
    return n;
}

/* One worker and a tensor that is never compressed: the update is the gradient. */
START_TEST(half__all_numbers_come_back_as_they_were)
{
    const psgd_dtype_t   dtype  = DTYPES[_i];
    const test_device_t *device = workers_device(0);
    uint16_t            *halves = calloc(NUM_HALVES, sizeof(*halves)), *found = calloc(NUM_HALVES, sizeof(*found));
    size_t               count   = all_finite(dtype, halves);
    psgd_tensor_t        tensor  = job_tensor("all", count, 0);
    psgd_config_t        config  = PSGD_CONFIG_INIT;
    psgd_comm_t         *comm    = NULL;
    psgd_reducer_t      *reducer = NULL;
    float               *pointer = (float *)(void *)found;

    tensor.dtype = dtype;
    memcpy(found, halves, count * sizeof(*found));
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(device->context, device->id, device->queue, &tensor, 1, &config, comm, &reducer));
    assert_ok(psgd_reducer_step_host(reducer, &pointer, 1));
    for (size_t i = 0; i < count; ++i) {
        bool is_tiny =
            fabsf(half_decode(dtype, halves[i])) < 0x1p-126f; /* denormal in single precision: may become 0 */

        ck_assert_msg((found[i] == halves[i]) || (is_tiny && ((found[i] & 0x7FFF) == 0)), "%04x came back as %04x",
                      halves[i], found[i]);
    }
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
    free(found);
    free(halves);
}
END_TEST

/* The sums of two numbers, over all distances between neighbours: ties, carries, the smallest and the largest. */
static float sum_of_two(size_t i)
{
    static const double PARTS[]   = {0.0,     0x1p-8,    0x1p-9,      0x1.8p-9,     0x1p-11,
                                     0x1p-12, 0x1.8p-12, 0x1.ffffp-9, 0x1.ffffp-12, 0x1.fep-1};
    const size_t        num_parts = sizeof(PARTS) / sizeof(PARTS[0]);

    return (float)ldexp(1.0 + PARTS[i % num_parts] + PARTS[i / num_parts % num_parts],
                        (int)(i / (num_parts * num_parts)) - 30);
}

enum { NUM_SUMS = 100 * 44 }; /* up to 3 x 2^13, which half precision holds */

/* A scale of 1 / 3 makes numbers that need rounding; two workers' mean does too. */
static psgd_status_t round_sums(worker_t *worker)
{
    const psgd_dtype_t  dtype   = *(const psgd_dtype_t *)worker->user;
    psgd_tensor_t       tensor  = job_tensor("sums", NUM_SUMS, 0);
    psgd_config_t       config  = PSGD_CONFIG_INIT;
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;
    psgd_reducer_t     *reducer = NULL;
    uint16_t           *halves  = calloc(NUM_SUMS + 1, sizeof(*halves));
    float              *pointer = (float *)(void *)halves;
    psgd_status_t       status  = PSGD_OK;

    worker_expects(halves != NULL, "no memory");
    tensor.dtype           = dtype;
    options.gradient_scale = 1.0f / 3.0f;
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, worker->comm, &reducer));
    for (size_t i = 0; i < NUM_SUMS; ++i) {
        halves[i] = half_encode(dtype, sum_of_two(worker->index == 0 ? i : NUM_SUMS - 1 - i));
    }
    worker_needs(psgd_reducer_step_host_with(reducer, &pointer, 1, &options));
    for (size_t i = 0; i < NUM_SUMS; ++i) {
        float    a    = half_decode(dtype, half_encode(dtype, sum_of_two(i)));
        float    b    = half_decode(dtype, half_encode(dtype, sum_of_two(NUM_SUMS - 1 - i)));
        float    mean = (a * options.gradient_scale + b * options.gradient_scale) * 0.5f;
        uint16_t must = half_encode(dtype, mean);

        if (halves[i] != must) {
            status = psgd_comm_fail(PSGD_ERR_INTERNAL, "element %zu: %.9g became %04x, and not %04x", i, (double)mean,
                                    halves[i], must);
            break;
        }
    }
    psgd_reducer_destroy(reducer);
    free(halves);
    return status;
}

START_TEST(half__is_rounded_to_nearest_even)
{
    psgd_dtype_t dtype = DTYPES[_i];

    workers_run(2, round_sums, &dtype);
}
END_TEST

/* ---- steps ---------------------------------------------------------------------------------------------------------- */

static psgd_tensor_t single[JOB_MODEL_TENSORS], half[JOB_MODEL_TENSORS];

static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED},
    {.engine = PSGD_ENGINE_FUSED, .is_finite = true, .start_step = 1, .max_norm = 2.0, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .without_feedback = true, .orthogonalize_shorter = true},
    {.engine     = PSGD_ENGINE_CLBLAST,
     .is_finite  = true,
     .start_step = 1,
     .max_norm   = 2.0,
     .memory     = JOB_CHANGING_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .half_iterations = 3, .orthogonalize_shorter = true, .wire = PSGD_BF16},
    {.engine      = PSGD_ENGINE_FUSED,
     .is_finite   = true,
     .flatten     = true,
     .memory      = JOB_SEPARATE_BUFFERS,
     .error_dtype = PSGD_BF16},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

/* Numbers that 16 bits hold exactly. */
static void exact_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    psgd_dtype_t dtype = *(const psgd_dtype_t *)job->user;

    test_random_fill(gradient, job_total_elems(job), (UINT64_C(31) << 32) + 10 * step + worker);
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] = half_decode(dtype, half_encode(dtype, gradient[i]));
    }
}

static job_t half_job(int way, const psgd_tensor_t *tensors, psgd_dtype_t *dtype)
{
    job_t job = way_job(&WAYS[way], tensors, JOB_MODEL_TENSORS);

    job.num_steps     = NUM_STEPS;
    job.give_gradient = exact_gradient;
    job.user          = dtype;
    return job;
}

static void use_dtype(psgd_dtype_t dtype)
{
    job_model(single);
    single[7].rank = 0;
    memcpy(half, single, sizeof(half));
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        half[t].dtype = t == 4 ? PSGD_F32 : dtype; /* one stays as it is */
    }
}

static void assert_rounded(const psgd_dtype_t dtype, const job_record_t *single_record, const job_record_t *half_record)
{
    for (uint32_t step = 0; step < NUM_STEPS; ++step) {
        const float *exact = job_update(single_record, step), *rounded = job_update(half_record, step);

        for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
            uint64_t elems = 1;

            for (uint32_t d = 0; d < half[t].num_dims; ++d) {
                elems *= half[t].dims[d];
            }
            for (uint64_t i = 0; i < elems; ++i, ++exact, ++rounded) {
                float must = half[t].dtype == PSGD_F32 ? *exact : half_decode(dtype, half_encode(dtype, *exact));

                ck_assert_msg(*rounded == must,
                              "step %u, tensor %zu, element %d: %.9g in single precision, %.9g in 16 bits", step, t,
                              (int)i, (double)*exact, (double)*rounded);
            }
        }
    }
}

START_TEST(half__a_step_is_that_of_single_precision_rounded_once)
{
    job_record_t single_records[WORKERS_MAX], half_records[WORKERS_MAX];
    psgd_dtype_t dtype = DTYPES[_i % NUM_DTYPES];
    job_t        singles, halves;

    use_dtype(dtype);
    singles = half_job(_i / NUM_DTYPES, single, &dtype);
    halves  = half_job(_i / NUM_DTYPES, half, &dtype);
    job_run(&singles, single_records);
    job_run(&halves, half_records);
    job_assert_equal_updates(&halves, half_records);
    for (uint32_t w = 0; w < halves.num_workers; ++w) {
        assert_rounded(dtype, &single_records[w], &half_records[w]);
        for (uint32_t step = 0; step < NUM_STEPS; ++step) {
            job_assert_equal_errors(&single_records[w], step, &half_records[w], step);
            ck_assert_uint_gt(half_records[w].stats[step].bytes_last_step, 0);
        }
    }
    job_records_free(&singles, single_records);
    job_records_free(&halves, half_records);
}
END_TEST

/* ---- an optimizer --------------------------------------------------------------------------------------------------- */

enum { MODEL_ELEMS = 20000 };

/* The parameters of two workers: x in single precision, in one buffer. */
typedef struct trained {
    psgd_dtype_t     dtype; /* first: what exact_gradient reads */
    cl_mem           mem[2];
    psgd_buffer_t    params[2][JOB_MODEL_TENSORS];
    psgd_optimizer_t optimizers[2];
    float            x[2][MODEL_ELEMS];
} trained_t;

static void tell_optimizer(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options)
{
    trained_t *trained = job->user;

    (void)step;
    options->optimizer = &trained->optimizers[worker];
}

static void train(int way, const psgd_tensor_t *tensors, psgd_dtype_t dtype, trained_t *trained)
{
    const psgd_optimizer_t blank = PSGD_OPTIMIZER_INIT;
    job_record_t           records[WORKERS_MAX];
    job_t                  job = half_job(way, tensors, &trained->dtype);

    trained->dtype = dtype;
    for (uint32_t w = 0; w < 2; ++w) {
        size_t offset = 0;

        assert_ok(test_buffer_create(workers_device(w), MODEL_ELEMS, &trained->mem[w]));
        test_random_fill(trained->x[w], MODEL_ELEMS, 5);
        assert_ok(test_buffer_write(workers_device(w), trained->mem[w], 0, trained->x[w], MODEL_ELEMS));
        for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
            size_t elems = 1;

            for (uint32_t d = 0; d < tensors[t].num_dims; ++d) {
                elems *= tensors[t].dims[d];
            }
            trained->params[w][t] = (psgd_buffer_t){trained->mem[w], offset * sizeof(float)};
            offset += elems;
        }
        trained->optimizers[w]               = blank;
        trained->optimizers[w].learning_rate = 0.1f;
        trained->optimizers[w].weight_decay  = 0.01f;
        trained->optimizers[w].params        = trained->params[w];
    }
    job.user         = trained;
    job.give_options = tell_optimizer;
    job_run(&job, records);
    for (uint32_t w = 0; w < 2; ++w) {
        assert_ok(test_buffer_read(workers_device(w), trained->mem[w], 0, trained->x[w], MODEL_ELEMS));
        clReleaseMemObject(trained->mem[w]);
    }
    job_records_free(&job, records);
}

/* No rounding at all: the update goes to the parameters in single precision. */
START_TEST(half__an_optimizer_takes_the_update_before_it_is_rounded)
{
    static trained_t singles, halves;
    psgd_dtype_t     dtype = DTYPES[_i % NUM_DTYPES];

    use_dtype(dtype);
    train(_i / NUM_DTYPES, single, dtype, &singles);
    train(_i / NUM_DTYPES, half, dtype, &halves);
    ck_assert(memcmp(halves.x[0], halves.x[1], sizeof(halves.x[0])) == 0);
    ck_assert(memcmp(singles.x[0], halves.x[0], sizeof(halves.x[0])) == 0);
}
END_TEST

/* ---- refusals ------------------------------------------------------------------------------------------------------- */

START_TEST(half__offsets_are_multiples_of_two_bytes)
{
    const test_device_t *device      = workers_device(0);
    psgd_tensor_t        tensor      = job_tensor("w", 40, 50);
    psgd_config_t        config      = PSGD_CONFIG_INIT;
    psgd_comm_t         *comm        = NULL;
    psgd_reducer_t      *reducer     = NULL;
    psgd_buffer_t        grad        = {NULL, 3};
    float                zeros[1001] = {0.0f};
    float               *pointer;

    tensor.dtype = PSGD_BF16;
    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(device->context, device->id, device->queue, &tensor, 1, &config, comm, &reducer));
    assert_ok(test_buffer_create(device, 1001, &grad.mem)); /* twice as many elements, and two more */
    assert_ok(test_buffer_write(device, grad.mem, 0, zeros, 1001));
    assert_fails(psgd_reducer_step(reducer, &grad, 1), PSGD_ERR_INVALID_ARGUMENT, "offsets are multiples of 2");
    grad.offset_bytes = 6;
    assert_fails(psgd_reducer_step(reducer, &grad, 1), PSGD_ERR_INVALID_ARGUMENT, "needs 4000 bytes");
    grad.offset_bytes = 2;
    assert_ok(psgd_reducer_step(reducer, &grad, 1));
    pointer = (float *)(void *)((char *)&grad + 1);
    assert_fails(psgd_reducer_step_host(reducer, &pointer, 1), PSGD_ERR_INVALID_ARGUMENT, "not aligned to 2 bytes");
    clReleaseMemObject(grad.mem);
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("16 bits");
    TCase *tcase = tcase_create("threads");
    int    result;

    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, half__all_numbers_come_back_as_they_were, 0, NUM_DTYPES);
    tcase_add_loop_test(tcase, half__is_rounded_to_nearest_even, 0, NUM_DTYPES);
    if ((argc < 2) || (strcmp(argv[1], "bits") != 0)) {
        tcase_add_loop_test(tcase, half__a_step_is_that_of_single_precision_rounded_once, 0, NUM_WAYS * NUM_DTYPES);
        tcase_add_loop_test(tcase, half__an_optimizer_takes_the_update_before_it_is_rounded, 0, NUM_WAYS * NUM_DTYPES);
        tcase_add_test(tcase, half__offsets_are_multiples_of_two_bytes);
    }
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
