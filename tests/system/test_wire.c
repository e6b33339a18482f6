/* Factors that travel in 16 bits (psgd_config_t.wire): nothing is lost, all workers hold the same bits, and what is sent is less. */
#include <math.h>
#include <stdlib.h>

#include "core/vote.h"
#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

/* What a balance of a few fp32 matrices may be off by. */
static const double ROUNDING_BOUND = 4e-6;

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED},
    {.engine = PSGD_ENGINE_FUSED, .is_finite = true, .start_step = 1, .num_workers = 3, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .cold_start = true, .num_workers = 1},
    {.engine = PSGD_ENGINE_CLBLAST, .is_finite = true, .num_workers = 7, .memory = JOB_SEPARATE_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .half_iterations = 1},
    {.engine          = PSGD_ENGINE_FUSED,
     .half_iterations = 3,
     .start_step      = 1,
     .num_workers     = 4,
     .memory          = JOB_CHANGING_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .max_norm = 1e9, .num_workers = 5},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]), NUM_DTYPES = 2 };

static const psgd_dtype_t DTYPES[NUM_DTYPES] = {PSGD_F16, PSGD_BF16};

static psgd_dtype_t dtype_of(int i)
{
    return DTYPES[i % NUM_DTYPES];
}

/* Under the sanitizers every other way does. */
static bool is_left_out(int i)
{
    return psgd_test_shapes_are_reduced() && (i / NUM_DTYPES % 2 == 1);
}

static job_t wire_job(int i)
{
    job_t job = way_job(&WAYS[i / NUM_DTYPES], model, JOB_MODEL_TENSORS);

    job.num_steps   = 5;
    job.config.wire = dtype_of(i);
    return job;
}

START_TEST(wire__nothing_is_lost_and_all_workers_hold_the_same_bits)
{
    job_t        job = wire_job(_i);
    job_record_t records[WORKERS_MAX];

    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, ROUNDING_BOUND);
    job_records_free(&job, records);
}
END_TEST

/* The first compressed step differs from one in single precision by a few units of 2^-11 and 2^-8, and does differ; what travels
 * uncompressed differs by the order of additions alone. */
START_TEST(wire__an_update_is_as_near_as_sixteen_bits_allow)
{
    job_t        narrow = wire_job(_i), wide = narrow;
    uint64_t     total = job_total_elems(&narrow), at = 0;
    uint32_t     step = (uint32_t)narrow.config.start_step;
    double       unit = dtype_of(_i) == PSGD_F16 ? 0x1p-11 : 0x1p-8, difference;
    double      *expected;
    job_record_t records[WORKERS_MAX], wide_records[WORKERS_MAX];

    if (is_left_out(_i)) {
        return;
    }
    wide.config.wire = PSGD_F32;
    narrow.num_steps = wide.num_steps = step + 1;
    job_run(&narrow, records);
    job_run(&wide, wide_records);
    expected   = job_wide(job_update(&wide_records[0], step), total);
    difference = job_difference(job_update(&records[0], step), expected, total);
    ck_assert_double_le(difference, 4.0 * unit);
    ck_assert_double_ge(difference, 0.02 * unit);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        uint64_t elems = 1;

        for (uint32_t d = 0; d < model[t].num_dims; ++d) {
            elems *= model[t].dims[d];
        }
        if ((model[t].num_dims < 2) || (model[t].rank == PSGD_NEVER_COMPRESS)) {
            ck_assert_double_le(job_difference(job_update(&records[0], step) + at, expected + at, elems), 1e-6);
        }
        at += elems;
    }
    free(expected);
    job_records_free(&narrow, records);
    job_records_free(&wide, wide_records);
}
END_TEST

/* P in 2 bytes there and 4 back, Q in 2 and 2; the half of it, beside a vote for each owner there and back. */
START_TEST(wire__sends_five_eighths)
{
    psgd_tensor_t tensor = job_tensor("w", 1000, 800);
    job_t         job    = wire_job(_i);
    uint64_t      votes  = 4 * psgd_vote_elems(job.num_workers) * job.num_workers;
    uint64_t      bytes;
    job_record_t  records[WORKERS_MAX];

    if (is_left_out(_i)) {
        return;
    }
    job.tensors     = &tensor;
    job.num_tensors = 1;
    job.num_steps   = (uint32_t)job.config.start_step + 2;
    job_run(&job, records);
    switch (job.config.half_iterations) { /* the second step of one sends a P, of three a P, a Q and a P */
    case 0: bytes = 4 * (1000 * 3 + 800 * 2) + 2 * votes; break;
    case 1: bytes = 4 * 1000 * 3 + votes; break;
    default: bytes = 4 * (2 * 1000 + 800) * 3 + 3 * votes; break;
    }
    ck_assert_uint_ge(records[0].stats[job.num_steps - 1].bytes_last_step, bytes);
    ck_assert_uint_le(records[0].stats[job.num_steps - 1].bytes_last_step,
                      bytes + 16 * job.num_workers * 3); /* exponents, padding */
    job_records_free(&job, records);
}
END_TEST

/* ---- sizes of gradients ---------------------------------------------------------------------------------------------- */

static void scaled_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    test_random_fill(gradient, job_total_elems(job), (UINT64_C(3) << 32) + 100 * step + worker);
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] *= *(const float *)job->user;
    }
}

/* Far beyond what half precision reaches by itself: scaled gradients give the scaled update, bit for bit. */
START_TEST(wire__gradients_of_any_size_are_treated_alike)
{
    static float one = 1.0f, scales[] = {0x1p-80f, 0x1p60f};
    job_t        plain = wire_job(_i), scaled;
    job_record_t records[WORKERS_MAX], scaled_records[WORKERS_MAX];

    if (is_left_out(_i) || (WAYS[_i / NUM_DTYPES].max_norm > 0.0)) {
        return; /* a norm has a size */
    }
    plain.give_gradient = scaled_gradient;
    plain.user          = &one;
    job_run(&plain, records);
    for (size_t s = 0; s < sizeof(scales) / sizeof(scales[0]); ++s) {
        scaled      = plain;
        scaled.user = &scales[s];
        job_run(&scaled, scaled_records);
        for (uint32_t step = 0; step < plain.num_steps; ++step) {
            for (uint64_t i = 0; i < records[0].total_elems; ++i) {
                float must = job_update(&records[0], step)[i] * scales[s], is = job_update(&scaled_records[0], step)[i];

                ck_assert_msg(is == must, "step %u, element %d: %.9g and not %.9g", step, (int)i, (double)is,
                              (double)must);
            }
        }
        job_records_free(&scaled, scaled_records);
    }
    job_records_free(&plain, records);
}
END_TEST

/* ---- failures -------------------------------------------------------------------------------------------------------- */

/* Before step 2 a step with a NaN on worker 1. */
static psgd_status_t spoil(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    uint64_t      total  = job_total_elems(job);
    float        *values = malloc(total * sizeof(*values)), *next = values;
    float        *pointers[JOB_MODEL_TENSORS];
    psgd_status_t status = PSGD_ERR_NONFINITE;

    worker_expects(values != NULL, "no memory for a gradient");
    test_random_fill(values, total, 12345 + worker);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        pointers[t] = next;
        for (uint64_t elems = 1, d = 0; d <= model[t].num_dims; ++d) {
            next += d == model[t].num_dims ? elems : 0;
            elems *= d < model[t].num_dims ? model[t].dims[d] : 1;
        }
    }
    values[77] = worker == 1 ? (float)NAN : values[77];
    if (step == 2) {
        status = psgd_reducer_step_host(reducer, pointers, JOB_MODEL_TENSORS);
    }
    free(values);
    worker_expects(status == PSGD_ERR_NONFINITE, "got %s", psgd_status_name(status));
    return PSGD_OK;
}

START_TEST(wire__a_step_that_failed_has_not_happened)
{
    job_t        good = wire_job(_i), spoilt;
    job_record_t records[WORKERS_MAX], spoilt_records[WORKERS_MAX];

    if (is_left_out(_i) || good.config.gradients_are_finite || (good.num_workers < 2)) {
        return;
    }
    spoilt             = good;
    spoilt.before_step = spoil;
    job_run(&good, records);
    job_run(&spoilt, spoilt_records);
    for (uint32_t w = 0; w < good.num_workers; ++w) {
        job_assert_same_bits(&records[w], &spoilt_records[w]);
        ck_assert_uint_eq(spoilt_records[w].stats[good.num_steps - 1].skipped_steps, 1);
    }
    job_records_free(&good, records);
    job_records_free(&spoilt, spoilt_records);
}
END_TEST

START_TEST(wire__a_communicator_that_cannot_is_refused)
{
    const test_device_t *device  = workers_device(0);
    psgd_config_t        config  = PSGD_CONFIG_INIT;
    psgd_reducer_t      *reducer = NULL;
    psgd_comm_t         *comm    = NULL, poor;

    config.wire = dtype_of(_i);
    assert_ok(psgd_comm_self_create(&comm));
    poor                  = *comm;
    poor.begin_all_to_all = NULL;
    assert_fails(psgd_reducer_create(device->context, device->id, device->queue, model, JOB_MODEL_TENSORS, &config,
                                     &poor, &reducer),
                 PSGD_ERR_UNSUPPORTED, "'self' has no begin_all_to_all");
    poor                  = *comm;
    poor.begin_all_gather = NULL;
    assert_fails(psgd_reducer_create(device->context, device->id, device->queue, model, JOB_MODEL_TENSORS, &config,
                                     &poor, &reducer),
                 PSGD_ERR_UNSUPPORTED, "'self' has no begin_all_gather");
    config.wire = (psgd_dtype_t)3;
    assert_fails(psgd_reducer_create(device->context, device->id, device->queue, model, JOB_MODEL_TENSORS, &config,
                                     comm, &reducer),
                 PSGD_ERR_UNSUPPORTED, "config.wire is 3");
    psgd_comm_destroy(comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wire");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, wire__nothing_is_lost_and_all_workers_hold_the_same_bits, 0, NUM_WAYS * NUM_DTYPES);
    tcase_add_loop_test(tcase, wire__an_update_is_as_near_as_sixteen_bits_allow, 0, NUM_WAYS * NUM_DTYPES);
    tcase_add_loop_test(tcase, wire__sends_five_eighths, 0, NUM_WAYS * NUM_DTYPES);
    tcase_add_loop_test(tcase, wire__gradients_of_any_size_are_treated_alike, 0, NUM_WAYS * NUM_DTYPES);
    tcase_add_loop_test(tcase, wire__a_step_that_failed_has_not_happened, 0, NUM_WAYS * NUM_DTYPES);
    tcase_add_loop_test(tcase, wire__a_communicator_that_cannot_is_refused, 0, NUM_DTYPES);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
