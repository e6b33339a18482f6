/* Buckets (psgd_config_t.bucket_bytes), and gradients that are submitted as they come: a step is the same step, however it is cut and
 * whatever comes first. */
#include <stdio.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/variants.h"
#include "support/ways.h"
#include "support/workers.h"

/* |library - float64| / |float64| of updates and error memories. */
static const double REFERENCE_BOUND = 3e-5;

static psgd_tensor_t model[JOB_MODEL_TENSORS], flat_model[JOB_MODEL_TENSORS];

/* A bucket for each tensor; two or three tensors in each; one for all. */
static const uint64_t BUCKET_BYTES[] = {1, 20000, UINT64_MAX};

enum { NUM_SIZES = sizeof(BUCKET_BYTES) / sizeof(BUCKET_BYTES[0]) };

/* What the library offers beside buckets. */
static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .is_finite = true, .start_step = 1},
    {.engine = PSGD_ENGINE_CLBLAST, .cold_start = true, .max_norm = 1.0},
    {.engine = PSGD_ENGINE_FUSED, .wire = PSGD_F16, .memory = JOB_SEPARATE_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .wire = PSGD_BF16, .error_dtype = PSGD_BF16},
    {.engine = PSGD_ENGINE_FUSED, .orthogonalize_shorter = true, .energy_every = 2, .memory = JOB_CHANGING_BUFFERS},
    {.engine = PSGD_ENGINE_CLBLAST, .without_feedback = true, .num_workers = 1},
    {.engine = PSGD_ENGINE_FUSED, .half_iterations = 2},
    {.engine = PSGD_ENGINE_FUSED, .flatten = true},
    {.engine = PSGD_ENGINE_FUSED, .memory = JOB_HOST_POINTERS},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static bool is_left_out(int i)
{
    return psgd_test_shapes_are_reduced() && (i % 3 != 0);
}

static job_t bucket_job(const way_t *way, uint64_t bucket_bytes)
{
    job_t job = way_job(way, way->flatten ? flat_model : model, JOB_MODEL_TENSORS);

    job.num_steps           = 4;
    job.config.bucket_bytes = bucket_bytes;
    return job;
}

static void assert_same_job(const job_t *a, const job_t *b)
{
    job_record_t a_records[WORKERS_MAX], b_records[WORKERS_MAX];

    job_run(a, a_records);
    job_run(b, b_records);
    job_assert_equal_updates(a, a_records);
    for (uint32_t w = 0; w < a->num_workers; ++w) {
        job_assert_same_bits(&a_records[w], &b_records[w]);
    }
    job_records_free(a, a_records);
    job_records_free(b, b_records);
}

/* --- in one call -------------------------------------------------------------------------------------------------- */

/* Against the reference, which knows of no buckets. */
START_TEST(buckets__steps_agree_with_the_reference)
{
    job_t        job = job_describe(model, JOB_MODEL_TENSORS);
    job_record_t records[WORKERS_MAX];

    job.num_workers         = 2;
    job.num_steps           = 4;
    job.q_stream            = 77;
    job.config.bucket_bytes = BUCKET_BYTES[_i % NUM_SIZES];
    variant_apply(&VARIANTS[_i / NUM_SIZES], &job.config);
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_agrees_with_reference(&job, records, REFERENCE_BOUND);
    job_records_free(&job, records);
}
END_TEST

/* With one bucket nothing is different, to the last bit and message. */
START_TEST(buckets__one_that_holds_all_is_as_none)
{
    job_t        none = bucket_job(&WAYS[0], 0), one = bucket_job(&WAYS[0], UINT64_MAX);
    job_record_t none_records[WORKERS_MAX], one_records[WORKERS_MAX];

    job_run(&none, none_records);
    job_run(&one, one_records);
    for (uint32_t w = 0; w < none.num_workers; ++w) {
        job_assert_same_bits(&none_records[w], &one_records[w]);
        ck_assert_uint_eq(none_records[w].stats[3].bytes_last_step, one_records[w].stats[3].bytes_last_step);
        ck_assert_uint_eq(none_records[w].stats[3].messages_last_step, one_records[w].stats[3].messages_last_step);
    }
    job_records_free(&none, none_records);
    job_records_free(&one, one_records);
}
END_TEST

/* Two messages a bucket, and one for the large tensors of each; the factors of all are sent, once. */
START_TEST(buckets__each_sends_messages_of_its_own)
{
    job_t        whole = bucket_job(&WAYS[0], 0), cut = bucket_job(&WAYS[0], 1);
    job_record_t whole_records[WORKERS_MAX], cut_records[WORKERS_MAX];
    uint64_t     votes;

    job_run(&whole, whole_records);
    job_run(&cut, cut_records);
    ck_assert_uint_eq(whole_records[0].stats[3].messages_last_step, 2);
    ck_assert_uint_eq(cut_records[0].stats[3].messages_last_step, 2 * JOB_MODEL_TENSORS);
    votes = whole_records[0].stats[3].bytes_last_step - sizeof(float) * whole_records[0].stats[3].compressed_elems;
    ck_assert_uint_gt(votes, 0);
    ck_assert_uint_eq(cut_records[0].stats[3].bytes_last_step,
                      sizeof(float) * cut_records[0].stats[3].compressed_elems + votes * JOB_MODEL_TENSORS);
    job_records_free(&whole, whole_records);
    job_records_free(&cut, cut_records);
}
END_TEST

/* What lasts between steps knows of no buckets: a state goes from a reducer to one that is cut differently. */
START_TEST(buckets__state_is_the_same_whatever_they_are)
{
    job_t        job = bucket_job(&WAYS[0], 1);
    job_record_t records[WORKERS_MAX];

    job.after_step = job_reimport;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, REFERENCE_BOUND);
    job_records_free(&job, records);
}
END_TEST

/* --- as gradients come -------------------------------------------------------------------------------------------- */

static const job_submission_t SUBMISSIONS[] = {JOB_LAST_FIRST, JOB_FIRST_LAST, JOB_BY_EVENTS};

enum { NUM_SUBMISSIONS = sizeof(SUBMISSIONS) / sizeof(SUBMISSIONS[0]) };

/* Events are of gradients in device memory. */
static job_submission_t submission_of(const way_t *way, int i)
{
    return (way->memory == JOB_HOST_POINTERS) && (SUBMISSIONS[i] == JOB_BY_EVENTS) ? JOB_LAST_FIRST : SUBMISSIONS[i];
}

START_TEST(submit__gives_the_bits_of_a_step)
{
    const way_t *way     = &WAYS[_i / NUM_SUBMISSIONS];
    job_t        at_once = bucket_job(way, BUCKET_BYTES[_i % NUM_SIZES]), submitted = at_once;

    if (is_left_out(_i)) {
        return;
    }
    submitted.submission = submission_of(way, _i % NUM_SUBMISSIONS);
    assert_same_job(&at_once, &submitted);
}
END_TEST

START_TEST(submit__without_buckets_gives_the_bits_of_a_step)
{
    job_t at_once = bucket_job(&WAYS[_i], 0), submitted = at_once;

    if (is_left_out(_i)) {
        return;
    }
    submitted.submission = submission_of(&WAYS[_i], _i % NUM_SUBMISSIONS);
    assert_same_job(&at_once, &submitted);
}
END_TEST

/* Everything by owners, in many buckets. */
START_TEST(submit__by_owners_gives_the_bits_of_a_step)
{
    job_t at_once = bucket_job(&WAYS[_i], 20000), submitted;

    if (is_left_out(_i)) {
        return;
    }
    at_once.config.sharing = PSGD_SHARING_OWNERS;
    submitted              = at_once;
    submitted.submission   = submission_of(&WAYS[_i], _i % NUM_SUBMISSIONS);
    assert_same_job(&at_once, &submitted);
}
END_TEST

START_TEST(submit__with_a_thread_of_its_own_gives_the_bits_of_a_step)
{
    const way_t *way     = &WAYS[_i / NUM_SIZES];
    job_t        at_once = bucket_job(way, BUCKET_BYTES[_i % NUM_SIZES]), submitted = at_once;

    if (is_left_out(_i)) {
        return;
    }
    submitted.config.progress_thread = 1;
    submitted.submission             = submission_of(way, _i % NUM_SUBMISSIONS);
    assert_same_job(&at_once, &submitted);
}
END_TEST

/* Some gradients are not there, others are scaled. */
static void give_options(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options)
{
    static const uint8_t THERE[2][JOB_MODEL_TENSORS] = {{1, 0, 1, 1, 1, 0, 1, 1, 1}, {1, 1, 1, 0, 1, 1, 1, 1, 0}};

    (void)job;
    options->has_gradient   = THERE[(worker + step) % 2];
    options->gradient_scale = 0.5f + (float)step;
}

START_TEST(submit__takes_the_options_of_a_step)
{
    job_t at_once = bucket_job(&WAYS[0], BUCKET_BYTES[_i]), submitted;

    at_once.give_options = give_options;
    submitted            = at_once;
    submitted.submission = SUBMISSIONS[_i % NUM_SUBMISSIONS];
    assert_same_job(&at_once, &submitted);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buckets");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    job_model(flat_model);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        flat_model[t].rank = flat_model[t].rank > 0 ? 0 : flat_model[t].rank;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, buckets__steps_agree_with_the_reference, 0, NUM_FIXED_VARIANTS * NUM_SIZES);
    tcase_add_test(tcase, buckets__one_that_holds_all_is_as_none);
    tcase_add_test(tcase, buckets__each_sends_messages_of_its_own);
    tcase_add_test(tcase, buckets__state_is_the_same_whatever_they_are);
    tcase_add_loop_test(tcase, submit__gives_the_bits_of_a_step, 0, NUM_WAYS * NUM_SUBMISSIONS);
    tcase_add_loop_test(tcase, submit__without_buckets_gives_the_bits_of_a_step, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, submit__by_owners_gives_the_bits_of_a_step, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, submit__with_a_thread_of_its_own_gives_the_bits_of_a_step, 0, NUM_WAYS * NUM_SIZES);
    tcase_add_loop_test(tcase, submit__takes_the_options_of_a_step, 0, NUM_SIZES);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
