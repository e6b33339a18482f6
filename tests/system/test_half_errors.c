/* The error memory in bfloat16 (psgd_config_t.error_dtype): half the memory, and nothing lost but a rounding that is right on
 * average.
 *
 * With the argument "first" in the first way alone. */
#include <math.h>
#include <stdlib.h>

#include "support/half.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED, .energy_every = 1},
    {.engine                = PSGD_ENGINE_FUSED,
     .is_finite             = true,
     .orthogonalize_shorter = true,
     .wire                  = PSGD_F16,
     .num_workers           = 3,
     .memory                = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .num_workers = 1},
    {.engine = PSGD_ENGINE_CLBLAST, .is_finite = true, .wire = PSGD_BF16, .memory = JOB_CHANGING_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .half_iterations = 1},
    {.engine                = PSGD_ENGINE_FUSED,
     .half_iterations       = 3,
     .orthogonalize_shorter = true,
     .num_workers           = 4,
     .memory                = JOB_SEPARATE_BUFFERS},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static job_t half_job(int way)
{
    job_t job = way_job(&WAYS[way], model, JOB_MODEL_TENSORS);

    job.num_steps          = 5;
    job.config.error_dtype = PSGD_BF16;
    return job;
}

static uint32_t bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

/* The first step finds no error: its update is that of single precision, and each element of what is left is one of the two that lie
 * beside the exact one; the farther one as often as it is near. */
START_TEST(half_errors__are_one_of_two_neighbours_by_chance_and_right_on_average)
{
    job_t        half = half_job(_i), single = half;
    double       balance = 0.0, variance = 0.0;
    uint64_t     up = 0, down = 0;
    job_record_t records[WORKERS_MAX], single_records[WORKERS_MAX];

    single.config.error_dtype = PSGD_F32;
    half.num_steps = single.num_steps = 1;
    job_run(&half, records);
    job_run(&single, single_records);
    for (uint32_t w = 0; w < half.num_workers; ++w) {
        job_assert_same_updates(&records[w], &single_records[w]);
        for (uint64_t i = 0; i < records[w].total_elems; ++i) {
            uint32_t exact = bits_of(job_error(&single_records[w], 0)[i]), is = bits_of(job_error(&records[w], 0)[i]);
            uint32_t nearer = exact & 0xFFFF0000U;
            double   chance = (double)(exact & 0xFFFFU) / 65536.0;

            ck_assert_msg((is == nearer) || (is == nearer + 0x10000U), "worker %u, element %d: %08x became %08x", w,
                          (int)i, exact, is);
            if (chance > 0.0) {
                up += is != nearer ? 1 : 0;
                down += is == nearer ? 1 : 0;
                balance += (is != nearer ? 1.0 : 0.0) - chance;
                variance += chance * (1.0 - chance);
            }
        }
    }
    ck_assert_uint_gt(up, 1000);
    ck_assert_uint_gt(down, 1000);
    ck_assert_double_le(fabs(balance), 5.0 * sqrt(variance));
    job_records_free(&half, records);
    job_records_free(&single, single_records);
}
END_TEST

/* A rounding by chance is off by 0.41 units on average, a unit being 2^-8 to 2^-7 of an element; five of them, in no common direction, by
 * the root of five times as much: 0.005 of what is left. */
static const double FIVE_ROUNDINGS = 0x1.8p-8;

START_TEST(half_errors__lose_no_more_than_their_rounding_and_all_workers_hold_the_same_bits)
{
    job_t        job = half_job(_i);
    job_record_t records[WORKERS_MAX];

    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, FIVE_ROUNDINGS);
    job_records_free(&job, records);
}
END_TEST

START_TEST(half_errors__go_on_bit_for_bit_after_an_export)
{
    job_t        straight = half_job(_i), interrupted = straight;
    job_record_t records[WORKERS_MAX], interrupted_records[WORKERS_MAX];

    interrupted.after_step = job_reimport;
    job_run(&straight, records);
    job_run(&interrupted, interrupted_records);
    for (uint32_t w = 0; w < straight.num_workers; ++w) {
        job_assert_same_bits(&records[w], &interrupted_records[w]);
    }
    job_records_free(&straight, records);
    job_records_free(&interrupted, interrupted_records);
}
END_TEST

/* Two ranks less from step 2 on, and a step that fails on worker 0 before step 1. */
static psgd_status_t disturb(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    uint32_t      ranks[JOB_MODEL_TENSORS];
    float         nothing[1] = {0.0f};
    float        *pointers[JOB_MODEL_TENSORS];
    psgd_status_t status;

    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        ranks[t]    = 2;
        pointers[t] = nothing;
    }
    if (step == 1) {
        status = psgd_reducer_step_host(reducer, pointers, JOB_MODEL_TENSORS - 1); /* one too few, on all workers */
        worker_expects(status == PSGD_ERR_INVALID_ARGUMENT, "worker %u got %s", worker, psgd_status_name(status));
    }
    return step == 2 ? psgd_reducer_set_ranks(reducer, ranks, job->num_tensors) : PSGD_OK;
}

START_TEST(half_errors__stay_through_failures_and_changes_of_rank)
{
    job_t        job = half_job(_i);
    job_record_t records[WORKERS_MAX];

    job.before_step = disturb;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, FIVE_ROUNDINGS);
    job_records_free(&job, records);
}
END_TEST

START_TEST(half_errors__take_half_the_memory)
{
    psgd_tensor_t tensor = job_tensor("w", 1000, 800);
    job_t         half   = half_job(_i), single;
    job_record_t  records[WORKERS_MAX], single_records[WORKERS_MAX];

    half.tensors              = &tensor;
    half.num_tensors          = 1;
    half.num_steps            = 1;
    single                    = half;
    single.config.error_dtype = PSGD_F32;
    job_run(&half, records);
    job_run(&single, single_records);
    ck_assert_uint_ge(single_records[0].stats[0].device_bytes, records[0].stats[0].device_bytes + 2 * 800000 - 100000);
    job_records_free(&half, records);
    job_records_free(&single, single_records);
}
END_TEST

START_TEST(half_errors__half_precision_is_refused)
{
    const test_device_t *device  = workers_device(0);
    psgd_config_t        config  = PSGD_CONFIG_INIT;
    psgd_reducer_t      *reducer = NULL;
    psgd_comm_t         *comm    = NULL;

    config.error_dtype = PSGD_F16;
    assert_ok(psgd_comm_self_create(&comm));
    assert_fails(psgd_reducer_create(device->context, device->id, device->queue, model, JOB_MODEL_TENSORS, &config,
                                     comm, &reducer),
                 PSGD_ERR_UNSUPPORTED, "config.error_dtype is 1");
    psgd_comm_destroy(comm);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("error memory in 16 bits");
    TCase *tcase = tcase_create("threads");
    int    num_ways = (argc > 1) && (strcmp(argv[1], "first") == 0) ? 1 : NUM_WAYS;
    int    result;

    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, half_errors__are_one_of_two_neighbours_by_chance_and_right_on_average, 0, num_ways);
    tcase_add_loop_test(tcase, half_errors__lose_no_more_than_their_rounding_and_all_workers_hold_the_same_bits, 0,
                        num_ways);
    tcase_add_loop_test(tcase, half_errors__go_on_bit_for_bit_after_an_export, 0, num_ways);
    tcase_add_loop_test(tcase, half_errors__stay_through_failures_and_changes_of_rank, 0, num_ways);
    tcase_add_loop_test(tcase, half_errors__take_half_the_memory, 0, num_ways);
    tcase_add_test(tcase, half_errors__half_precision_is_refused);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
