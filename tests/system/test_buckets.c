/* Buckets (psgd_config_t.bucket_bytes), and gradients that are submitted as they come: a step is the same step, however it is cut and
 * whatever comes first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "reference/powersgd_reference.h"
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
    double      *updates, *errors;
    uint64_t     total = job_total_elems(&job);

    job.num_workers         = 2;
    job.num_steps           = 4;
    job.q_stream            = 77;
    job.config.bucket_bytes = BUCKET_BYTES[_i % NUM_SIZES];
    variant_apply(&VARIANTS[_i / NUM_SIZES], &job.config);
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    job_reference(&job, false, &updates, &errors);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *error = job_mean_error(&job, records, step);

        ck_assert_double_le(job_difference(job_update(&records[0], step), updates + step * total, total),
                            REFERENCE_BOUND);
        ck_assert_double_le(reference_difference(error, errors + step * total, total), REFERENCE_BOUND);
        free(error);
    }
    free(updates);
    free(errors);
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

/* --- what goes wrong ---------------------------------------------------------------------------------------------- */

enum { PAIR = 2, NUM_STEPS = 5, BAD_STEP = 2 };

/* A reducer of the model with gradients in a buffer each. */
typedef struct trial {
    psgd_reducer_t *reducer;
    psgd_buffer_t   grads[JOB_MODEL_TENSORS];
    uint64_t        elems[JOB_MODEL_TENSORS];
    float          *values; /* of one tensor */
} trial_t;

static psgd_status_t trial_create(worker_t *worker, const psgd_config_t *config, trial_t *trial)
{
    uint64_t largest = 0;

    memset(trial, 0, sizeof(*trial));
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        trial->elems[t] = 1;
        for (uint32_t d = 0; d < model[t].num_dims; ++d) {
            trial->elems[t] *= model[t].dims[d];
        }
        largest = trial->elems[t] > largest ? trial->elems[t] : largest;
        worker_needs(test_buffer_create(worker->device, trial->elems[t], &trial->grads[t].mem));
    }
    trial->values = malloc(largest * sizeof(float));
    worker_expects(trial->values != NULL, "no memory for a gradient");
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                               JOB_MODEL_TENSORS, config, worker->comm, &trial->reducer);
}

static void trial_destroy(trial_t *trial)
{
    psgd_reducer_destroy(trial->reducer);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        if (trial->grads[t].mem != NULL) {
            clReleaseMemObject(trial->grads[t].mem);
        }
    }
    free(trial->values);
}

/* Random gradients of this step; `nan_tensor` gets a NaN (SIZE_MAX: none does). */
static psgd_status_t trial_write(worker_t *worker, trial_t *trial, uint32_t step, size_t nan_tensor)
{
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        test_random_fill(trial->values, trial->elems[t], (uint64_t)(step + 1) * 1000 + worker->index * 100 + t);
        if (t == nan_tensor) {
            trial->values[trial->elems[t] / 2] = NAN;
        }
        worker_needs(test_buffer_write(worker->device, trial->grads[t].mem, 0, trial->values, trial->elems[t]));
    }
    return PSGD_OK;
}

/* Adds up the bits of the update. */
static psgd_status_t trial_hash(worker_t *worker, trial_t *trial, uint64_t *hash)
{
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        worker_needs(test_buffer_read(worker->device, trial->grads[t].mem, 0, trial->values, trial->elems[t]));
        for (uint64_t i = 0; i < trial->elems[t]; ++i) {
            uint32_t bits;

            memcpy(&bits, &trial->values[i], sizeof(bits));
            *hash = *hash * UINT64_C(1099511628211) + bits;
        }
    }
    return PSGD_OK;
}

static psgd_status_t submit_one(trial_t *trial, size_t tensor)
{
    return psgd_reducer_submit(trial->reducer, tensor, &trial->grads[tensor], 1, 0, NULL);
}

static psgd_status_t submit_all(trial_t *trial)
{
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        worker_needs(submit_one(trial, t));
    }
    return PSGD_OK;
}

/* A wrong step of one worker, called `index`: what its calls say is checked here, and then it waits. */
typedef psgd_status_t (*mistake_fn)(worker_t *worker, trial_t *trial);

static psgd_status_t expect(psgd_status_t status, psgd_status_t expected, const char *words)
{
    worker_expects(status == expected, "%s in place of %s: %s", psgd_status_name(status), psgd_status_name(expected),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), words) != NULL, "no '%s' in: %s", words, psgd_last_error());
    return PSGD_OK;
}

static psgd_status_t submits_one_twice(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 4));
    worker_needs(submit_one(trial, 8));
    worker_needs(expect(submit_one(trial, 4), PSGD_ERR_INVALID_ARGUMENT, "was submitted twice in step 2"));
    return expect(submit_one(trial, 5), PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_wait() ends this step");
}

static psgd_status_t leaves_one_out(worker_t *worker, trial_t *trial)
{
    (void)worker;
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        if (t != 3) {
            worker_needs(submit_one(trial, t));
        }
    }
    return PSGD_OK;
}

static psgd_status_t submits_nothing(worker_t *worker, trial_t *trial)
{
    (void)worker;
    (void)trial;
    return PSGD_OK;
}

static psgd_status_t submits_what_is_not_there(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 8));
    worker_needs(expect(psgd_reducer_submit(trial->reducer, 7, &trial->grads[7], 3, 0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                        "created for 9 tensors"));
    return PSGD_OK;
}

static psgd_status_t submits_a_bad_event(worker_t *worker, trial_t *trial)
{
    (void)worker;
    return expect(psgd_reducer_submit(trial->reducer, 8, &trial->grads[8], 1, 1, NULL), PSGD_ERR_INVALID_ARGUMENT,
                  "num_events is 1, but wait_list is NULL");
}

static psgd_status_t submits_overlapping_ones(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(submit_one(trial, 5));
    return expect(psgd_reducer_submit(trial->reducer, 4, &trial->grads[5], 1, 0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                  "of tensor");
}

static psgd_status_t has_a_nan(worker_t *worker, trial_t *trial)
{
    worker_needs(trial_write(worker, trial, BAD_STEP, 1));
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        psgd_status_t status = submit_one(trial, t); /* it may have been told already */

        worker_expects((status == PSGD_OK) || (status == PSGD_ERR_NONFINITE), "%s", psgd_last_error());
    }
    return PSGD_OK;
}

static psgd_status_t begins_twice(worker_t *worker, trial_t *trial)
{
    (void)worker;
    worker_needs(psgd_reducer_begin(trial->reducer, NULL));
    worker_needs(expect(psgd_reducer_begin(trial->reducer, NULL), PSGD_ERR_INVALID_ARGUMENT,
                        "psgd_reducer_begin: a step was begun"));
    return submit_one(trial, 8);
}

static const struct {
    mistake_fn    make;
    psgd_status_t status; /* of all workers */
    const char   *words;  /* in the sentence of the worker that makes it */
} MISTAKES[] = {
    {submits_one_twice, PSGD_ERR_INVALID_ARGUMENT, "was submitted twice"},
    {leaves_one_out, PSGD_ERR_INVALID_ARGUMENT, "the gradient of tensor 3"},
    {submits_nothing, PSGD_ERR_INVALID_ARGUMENT, "nothing was submitted for step 2"},
    {submits_what_is_not_there, PSGD_ERR_INVALID_ARGUMENT, "created for 9 tensors"},
    {submits_a_bad_event, PSGD_ERR_INVALID_ARGUMENT, "wait_list is NULL"},
    {submits_overlapping_ones, PSGD_ERR_INVALID_ARGUMENT, "of tensor"},
    {has_a_nan, PSGD_ERR_NONFINITE, "NaN"},
    {begins_twice, PSGD_ERR_INVALID_ARGUMENT, "was not submitted"},
};

enum { NUM_MISTAKES = sizeof(MISTAKES) / sizeof(MISTAKES[0]) };

/* Steps in one of which worker 1 makes a mistake, or in which nobody does. */
typedef struct course {
    psgd_config_t config;
    int           mistake; /* -1: none */
    uint64_t      hashes[PAIR];
} course_t;

static psgd_status_t make_mistake(worker_t *worker, trial_t *trial, int mistake)
{
    worker_needs(trial_write(worker, trial, BAD_STEP, SIZE_MAX));
    if (worker->index == 1) {
        worker_needs(MISTAKES[mistake].make(worker, trial));
    } else {
        for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
            psgd_status_t status = submit_one(trial, t); /* worker 1's failure may have come here already */

            worker_expects((status == PSGD_OK) || (status == MISTAKES[mistake].status), "%s", psgd_last_error());
        }
    }
    return expect(psgd_reducer_wait(trial->reducer, NULL), MISTAKES[mistake].status,
                  worker->index == 1 ? MISTAKES[mistake].words : "worker 1");
}

static psgd_status_t run_course(worker_t *worker)
{
    course_t     *course = worker->user;
    trial_t       trial;
    psgd_status_t status = trial_create(worker, &course->config, &trial);

    for (uint32_t step = 0; (status == PSGD_OK) && (step < NUM_STEPS); ++step) {
        if ((step == BAD_STEP) && (course->mistake >= 0)) {
            status = make_mistake(worker, &trial, course->mistake);
        }
        if (status == PSGD_OK) {
            status = trial_write(worker, &trial, step, SIZE_MAX);
        }
        if (status == PSGD_OK) {
            status = submit_all(&trial);
        }
        if (status == PSGD_OK) {
            status = psgd_reducer_wait(trial.reducer, NULL);
        }
        if (status == PSGD_OK) {
            status = trial_hash(worker, &trial, &course->hashes[worker->index]);
        }
    }
    trial_destroy(&trial);
    return status;
}

static course_t describe_course(int mistake, uint64_t bucket_bytes, int progress_thread)
{
    course_t course = {.config = PSGD_CONFIG_INIT, .mistake = mistake};

    course.config.engine           = PSGD_ENGINE_FUSED;
    course.config.bucket_bytes     = bucket_bytes;
    course.config.progress_thread  = progress_thread;
    course.config.deadline_seconds = 60.0;
    course.config.log_level        = PSGD_LOG_OFF;
    return course;
}

/* All workers are told, in words; and what follows has the bits of a run in which nobody made a mistake. */
START_TEST(mistake__is_told_to_all_and_changes_nothing)
{
    const uint64_t bucket_bytes = BUCKET_BYTES[_i % NUM_SIZES];
    course_t       right        = describe_course(-1, bucket_bytes, 0);
    course_t       wrong        = describe_course(_i / NUM_SIZES, bucket_bytes, _i % 2);

    if (is_left_out(_i)) {
        return;
    }
    workers_run(PAIR, run_course, &right);
    workers_run(PAIR, run_course, &wrong);
    ck_assert_uint_eq(right.hashes[0], right.hashes[1]);
    ck_assert_uint_eq(wrong.hashes[0], right.hashes[0]);
    ck_assert_uint_eq(wrong.hashes[1], right.hashes[1]);
}
END_TEST

/* --- between submit and wait -------------------------------------------------------------------------------------- */

static psgd_status_t call_others(worker_t *worker)
{
    const psgd_config_t *config                   = worker->user;
    uint32_t             ranks[JOB_MODEL_TENSORS] = {0};
    psgd_stats_t         stats                    = PSGD_STATS_INIT;
    psgd_state_t        *state                    = NULL;
    psgd_region_t        region;
    trial_t              trial;
    psgd_status_t        status = trial_create(worker, config, &trial);

    worker_needs(status);
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    worker_needs(psgd_state_create(&state));
    worker_needs(psgd_state_set_step(state, 3, 0));
    worker_needs(psgd_reducer_poll(trial.reducer)); /* no step: nothing happens */
    worker_needs(submit_one(&trial, 8));
    region = (psgd_region_t){trial.grads[0].mem, 0, sizeof(float)};

#define REFUSED(call_) worker_needs(expect(call_, PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_wait() has not ended it"))
    REFUSED(psgd_reducer_step(trial.reducer, trial.grads, JOB_MODEL_TENSORS));
    REFUSED(psgd_reducer_set_ranks(trial.reducer, ranks, JOB_MODEL_TENSORS));
    REFUSED(psgd_reducer_reset_error(trial.reducer));
    REFUSED(psgd_reducer_import_state(trial.reducer, state));
    REFUSED(psgd_reducer_save(trial.reducer, "nowhere", PSGD_ERROR_MEAN));
    REFUSED(psgd_reducer_load(trial.reducer, "nowhere"));
    REFUSED(psgd_replica_check(trial.reducer, &region, 1));
    REFUSED(psgd_replica_sync(trial.reducer, &region, 1, 0));
#undef REFUSED
    worker_needs(psgd_reducer_get_stats(trial.reducer, &stats));
    for (size_t t = 8; t-- > 0;) {
        worker_needs(submit_one(&trial, t));
    }
    worker_needs(psgd_reducer_wait(trial.reducer, NULL));
    psgd_state_destroy(state);
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(submit__other_calls_are_refused_until_the_step_has_ended)
{
    course_t course = describe_course(-1, BUCKET_BYTES[_i], 0);

    workers_run(PAIR, call_others, &course.config);
}
END_TEST

/* A reducer is destroyed with a step under way: at once, whatever has been sent; the other worker is told by its deadline. */
static psgd_status_t leave_early(worker_t *worker)
{
    const psgd_config_t *config = worker->user;
    trial_t              trial;
    psgd_status_t        status;

    worker_needs(trial_create(worker, config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    if (worker->index == 1) {
        worker_needs(submit_one(&trial, 8));
        worker_needs(submit_one(&trial, 7));
        trial_destroy(&trial);
        return PSGD_OK;
    }
    for (size_t t = JOB_MODEL_TENSORS; t-- > 0;) {
        submit_one(&trial, t);
    }
    status = psgd_reducer_wait(trial.reducer, NULL);
    worker_expects((status == PSGD_ERR_COMM) || (status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_POISONED), "%s",
                   psgd_last_error());
    worker_needs(expect(submit_one(&trial, 0), PSGD_ERR_POISONED, "cannot go on"));
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(destroy__with_a_step_under_way_does_not_wait)
{
    course_t course = describe_course(-1, BUCKET_BYTES[_i % NUM_SIZES], _i / NUM_SIZES);

    course.config.deadline_seconds = 1.0;
    workers_run(PAIR, leave_early, &course.config);
}
END_TEST

/* A worker that stalls in mid-step: the others are told by their deadline, and so is it when it goes on. */
static psgd_status_t stall(worker_t *worker)
{
    const psgd_config_t *config = worker->user;
    trial_t              trial;
    psgd_status_t        status;

    worker_needs(trial_create(worker, config, &trial));
    worker_needs(trial_write(worker, &trial, 0, SIZE_MAX));
    for (size_t t = JOB_MODEL_TENSORS; t-- > 4;) {
        worker_needs(submit_one(&trial, t));
    }
    if (worker->index == 1) {
        psgd_sleep_ns(UINT64_C(2500000000));
    }
    for (size_t t = 4; t-- > 0;) {
        submit_one(&trial, t);
    }
    status = psgd_reducer_wait(trial.reducer, NULL);
    if (worker->index == 0) {
        worker_needs(expect(status, PSGD_ERR_TIMEOUT, "worker 1 has not begun it"));
    }
    worker_expects((status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM) || (status == PSGD_ERR_POISONED), "%s: %s",
                   psgd_status_name(status), psgd_last_error());
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(wait__a_worker_that_stalls_is_named)
{
    course_t course = describe_course(-1, 1, _i);

    course.config.deadline_seconds = 1.0;
    workers_run(PAIR, stall, &course.config);
}
END_TEST

/* --- what runs when ------------------------------------------------------------------------------------------------ */

/* Reducers whose communicator may not be used by another thread. */
static psgd_status_t refuse_thread(worker_t *worker)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_comm_t   comm   = *worker->comm;
    trial_t       trial;
    psgd_status_t status;

    comm.any_thread        = 0;
    config.progress_thread = 1;
    config.log_level       = PSGD_LOG_OFF;
    worker->comm           = &comm;
    status                 = trial_create(worker, &config, &trial);
    worker_needs(expect(status, PSGD_ERR_UNSUPPORTED, "MPI_THREAD_MULTIPLE"));
    trial_destroy(&trial);
    return PSGD_OK;
}

START_TEST(progress_thread__needs_a_communicator_that_allows_it)
{
    workers_run(PAIR, refuse_thread, NULL);
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
    tcase_add_loop_test(tcase, mistake__is_told_to_all_and_changes_nothing, 0, NUM_MISTAKES * NUM_SIZES);
    tcase_add_loop_test(tcase, submit__other_calls_are_refused_until_the_step_has_ended, 0, NUM_SIZES);
    tcase_add_loop_test(tcase, destroy__with_a_step_under_way_does_not_wait, 0, NUM_SIZES * 2);
    tcase_add_loop_test(tcase, wait__a_worker_that_stalls_is_named, 0, 2);
    tcase_add_test(tcase, progress_thread__needs_a_communicator_that_allows_it);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
