/* Checkpoints of a reducer (psgd_reducer_save, psgd_reducer_load): the exact form continues bit for bit, the mean form on any
 * number of workers; what does not fit, or is not whole, is refused by all, and nothing has changed. */
#define _POSIX_C_SOURCE 200809L /* mkdtemp */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "reference/powersgd_reference.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { STEPS_BEFORE = 3, STEPS_AFTER = 3, PATH_BYTES = 256 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];
static char          directory[] = "/tmp/psgd-checkpoint-XXXXXX";

static const struct {
    psgd_engine_t engine;
    int           gradients_are_finite;
    int           warm_start;
    int           error_feedback;
    uint32_t      half_iterations;
    uint64_t      start_step;
    uint32_t      num_workers;
} ways[] = {
    {PSGD_ENGINE_FUSED, 0, 1, 1, 0, 0, 2}, {PSGD_ENGINE_FUSED, 1, 1, 1, 0, 1, 3}, {PSGD_ENGINE_CLBLAST, 1, 1, 1, 0, 0, 2},
    {PSGD_ENGINE_FUSED, 0, 0, 1, 0, 0, 2}, {PSGD_ENGINE_FUSED, 0, 1, 0, 0, 4, 1}, {PSGD_ENGINE_FUSED, 0, 1, 1, 1, 0, 2},
    {PSGD_ENGINE_CLBLAST, 0, 1, 1, 3, 0, 2},
};

enum { NUM_WAYS = sizeof(ways) / sizeof(ways[0]) };

static job_t checkpoint_job(int way)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers                 = ways[way].num_workers;
    job.config.engine               = ways[way].engine;
    job.config.gradients_are_finite = ways[way].gradients_are_finite;
    job.config.warm_start           = ways[way].warm_start;
    job.config.error_feedback       = ways[way].error_feedback;
    job.config.half_iterations      = ways[way].half_iterations;
    job.config.start_step           = ways[way].start_step;
    return job;
}

static const char *path_of(const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/%.200s", directory, name);
    return path;
}

static size_t count_files(void)
{
    DIR           *dir   = opendir(directory);
    size_t         count = 0;
    struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        count += entry->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void empty_directory(void)
{
    DIR           *dir = opendir(directory);
    struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.') {
            unlink(path_of(entry->d_name));
        }
    }
    closedir(dir);
}

/* --- the exact form ------------------------------------------------------------------------------------------------ */

/* The path is one of the process; its bytes are read by all workers at once. */
static char the_path[PATH_BYTES];

static psgd_status_t save_exactly(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)job;
    (void)worker;
    (void)step;
    return psgd_reducer_save(reducer, the_path, PSGD_ERROR_LOCAL);
}

static psgd_status_t save_mean(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)job;
    (void)worker;
    return step + 1 == STEPS_BEFORE ? psgd_reducer_save(reducer, the_path, PSGD_ERROR_MEAN) : PSGD_OK;
}

static psgd_status_t load(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)job;
    (void)worker;
    return step == 0 ? psgd_reducer_load(reducer, the_path) : PSGD_OK;
}

static void later_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    job_t  whole = *job;
    float *values;

    whole.give_gradient = NULL;
    values              = job_gradient(&whole, worker, step + STEPS_BEFORE);
    memcpy(gradient, values, job_total_elems(job) * sizeof(*gradient));
    free(values);
}

/* Saved to the_path, and loaded from there. */
static void assert_continues_exactly(int way)
{
    job_t        whole = checkpoint_job(way), before = whole, after = whole;
    job_record_t whole_records[WORKERS_MAX], before_records[WORKERS_MAX], after_records[WORKERS_MAX];

    whole.num_steps     = STEPS_BEFORE + STEPS_AFTER;
    before.num_steps    = STEPS_BEFORE;
    before.after_step   = save_exactly; /* after every step: each takes the place of the last */
    after.num_steps     = STEPS_AFTER;
    after.before_step   = load;
    after.give_gradient = later_gradient;
    job_run(&whole, whole_records);
    job_run(&before, before_records);
    ck_assert_uint_eq(count_files(), 1 + before.num_workers);
    job_run(&after, after_records);
    job_assert_equal_updates(&after, after_records);
    for (uint32_t w = 0; w < whole.num_workers; ++w) {
        for (uint32_t step = 0; step < STEPS_AFTER; ++step) {
            job_assert_same_update(&whole_records[w], STEPS_BEFORE + step, &after_records[w], step);
            job_assert_equal_errors(&whole_records[w], STEPS_BEFORE + step, &after_records[w], step);
            ck_assert_uint_eq(after_records[w].stats[step].bytes_last_step,
                              whole_records[w].stats[STEPS_BEFORE + step].bytes_last_step);
        }
    }
    job_records_free(&whole, whole_records);
    job_records_free(&before, before_records);
    job_records_free(&after, after_records);
    empty_directory();
}

START_TEST(checkpoint__the_exact_form_continues_bitwise_identically)
{
    snprintf(the_path, sizeof(the_path), "%s", path_of("exact"));
    assert_continues_exactly(_i);
}
END_TEST

/* A file of the directory that one is in. */
START_TEST(checkpoint__a_name_without_a_directory_is_a_path)
{
    char before[4096];

    ck_assert_ptr_nonnull(getcwd(before, sizeof(before)));
    ck_assert_int_eq(chdir(directory), 0);
    snprintf(the_path, sizeof(the_path), "%s", "relative");
    assert_continues_exactly(0);
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

static void save_one(int way, const char *name, psgd_error_form_t form)
{
    job_t        job = checkpoint_job(way);
    job_record_t records[WORKERS_MAX];

    snprintf(the_path, sizeof(the_path), "%s", path_of(name));
    job.num_steps  = STEPS_BEFORE;
    job.after_step = form == PSGD_ERROR_MEAN ? save_mean : save_exactly;
    job_run(&job, records);
    job_records_free(&job, records);
}

/* Two workers take the place of three: the files of the one that is not there any more go as well. */
START_TEST(checkpoint__files_of_more_workers_than_there_are_now_go)
{
    save_one(1, "exact", PSGD_ERROR_LOCAL);
    ck_assert_uint_eq(count_files(), 1 + 3);
    save_one(0, "exact", PSGD_ERROR_LOCAL);
    ck_assert_uint_eq(count_files(), 1 + 2);
    empty_directory();
}
END_TEST

/* --- the mean form ------------------------------------------------------------------------------------------------- */

enum { RESUMED_STEPS = 20, SAVED_WORKERS = 4 };

static const uint32_t NUMBERS[] = {1, 2, 3, 4, 8};

enum { NUM_NUMBERS = sizeof(NUMBERS) / sizeof(NUMBERS[0]) };

/* The same on every worker, so that the mean does not depend on their number: what W workers bring on average, another brings alone. */
static void common_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    (void)worker;
    test_random_fill(gradient, job_total_elems(job), 5000 + step + (job->user != NULL ? STEPS_BEFORE : 0));
}

/* Before the checkpoint the workers differ. */
static void apart_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    test_random_fill(gradient, job_total_elems(job), 6000 + 10 * step + worker);
}

static psgd_status_t load_and_forget(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_status_t status = load(job, worker, step, reducer);

    return (status == PSGD_OK) && (step == 0) ? psgd_reducer_reset_error(reducer) : status;
}

/* |a - b| over all steps of updates, relative to b. */
static double distance(const job_t *job, const job_record_t *a, const job_record_t *b, uint32_t b_first)
{
    uint64_t total = job_total_elems(job);
    double   sum = 0.0, size = 0.0;

    for (uint32_t step = 0; step < job->num_steps; ++step) {
        for (uint64_t i = 0; i < total; ++i) {
            double x = (double)job_update(a, step)[i], y = (double)job_update(b, b_first + step)[i];

            sum += (x - y) * (x - y);
            size += y * y;
        }
    }
    return sqrt(sum / size);
}

/* 20 steps after 4 workers became so many: at most a fifth of what forgetting the error memory costs. */
START_TEST(checkpoint__the_mean_form_continues_on_any_number_of_workers)
{
    job_t        before = job_describe(model, JOB_MODEL_TENSORS), whole, after, forgetful;
    job_record_t whole_records[WORKERS_MAX], records[WORKERS_MAX];
    double       resumed, forgotten;

    snprintf(the_path, sizeof(the_path), "%s", path_of("mean"));
    before.num_workers        = SAVED_WORKERS;
    before.num_steps          = STEPS_BEFORE;
    before.config.engine      = PSGD_ENGINE_FUSED;
    before.exports_last_alone = true;
    before.give_gradient      = apart_gradient;
    before.after_step         = save_mean;
    job_run(&before, records);
    job_records_free(&before, records);
    ck_assert_uint_eq(count_files(), 1);

    whole               = before; /* 4 workers go on */
    whole.num_steps     = RESUMED_STEPS;
    whole.give_gradient = common_gradient;
    whole.user          = &whole;
    whole.after_step    = NULL;
    whole.before_step   = load;
    after               = whole;
    after.num_workers   = NUMBERS[_i];
    forgetful           = after;
    forgetful.before_step = load_and_forget;
    job_run(&whole, whole_records);
    job_run(&after, records);
    job_assert_equal_updates(&after, records);
    resumed = distance(&after, &records[0], &whole_records[0], 0);
    job_records_free(&after, records);
    job_run(&forgetful, records);
    forgotten = distance(&forgetful, &records[0], &whole_records[0], 0);
    job_records_free(&forgetful, records);
    job_records_free(&whole, whole_records);
    printf("from %d to %u workers: the updates of %d steps differ by %.1e; without the error memory by %.1e\n", SAVED_WORKERS,
           NUMBERS[_i], RESUMED_STEPS, resumed, forgotten);
    ck_assert_double_le(resumed, forgotten / 5.0);
    empty_directory();
}
END_TEST

/* In double precision the number of workers makes no difference: all of them start from the mean error. */
START_TEST(checkpoint__the_mean_form_is_exact_in_double_precision)
{
    enum { ROWS = 30, COLS = 20, ELEMS = ROWS * COLS, RANK = 3 };
    const reference_shape_t shape   = {{ROWS, COLS}, 2, 0};
    reference_options_t     options = REFERENCE_OPTIONS_INIT;
    reference_t            *apart, *resumed;
    static double           grads[SAVED_WORKERS][ELEMS], update[ELEMS], other[ELEMS], q[COLS * RANK];
    const double           *pointers[8];
    float                   random[ELEMS];

    options.num_workers = SAVED_WORKERS;
    options.rank        = RANK;
    options.min_compression_rate = 0.0;
    apart               = reference_create(&shape, 1, &options);
    options.num_workers = NUMBERS[_i];
    resumed             = reference_create(&shape, 1, &options);
    ck_assert((apart != NULL) && (resumed != NULL));
    test_random_fill(random, COLS * RANK, 3);
    for (size_t i = 0; i < COLS * RANK; ++i) {
        q[i] = (double)random[i];
    }
    reference_set_q(apart, 0, q);
    for (uint32_t step = 0; step < 5 + RESUMED_STEPS; ++step) {
        for (uint32_t w = 0; w < 8; ++w) {
            test_random_fill(random, ELEMS, 700 + 10 * step + (step < 5 ? w : 0));
            for (size_t i = 0; (w < SAVED_WORKERS) && (i < ELEMS); ++i) {
                grads[w][i] = (double)random[i];
            }
            pointers[w] = grads[w % SAVED_WORKERS];
        }
        if (step == 5) { /* the checkpoint */
            reference_set_q(resumed, 0, apart->tensors[0].q);
            reference_mean_error(apart, resumed->errors[0]);
            for (uint32_t w = 1; w < NUMBERS[_i]; ++w) {
                memcpy(resumed->errors[w], resumed->errors[0], sizeof(update));
            }
        }
        reference_step(apart, pointers, update);
        if (step >= 5) {
            reference_step(resumed, pointers, other);
            ck_assert_double_le(reference_difference(other, update, ELEMS), 1e-10);
        }
    }
    reference_destroy(resumed);
    reference_destroy(apart);
}
END_TEST

/* --- refusals ------------------------------------------------------------------------------------------------------ */

typedef struct refusal {
    psgd_status_t status;
    const char   *words;
} refusal_t;

static psgd_status_t expect_refusal(const refusal_t *expected, psgd_status_t status)
{
    worker_expects(status == expected->status, "got %s (%s)", psgd_status_name(status), psgd_last_error());
    worker_expects(strstr(psgd_last_error(), expected->words) != NULL, "'%s' is not in '%s'", expected->words, psgd_last_error());
    return PSGD_OK;
}

/* Each step tries what must be refused first. */
static psgd_status_t load_in_vain(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)worker;
    (void)step;
    return expect_refusal(job->user, psgd_reducer_load(reducer, the_path));
}

static psgd_status_t save_in_vain(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)worker;
    return expect_refusal(job->user,
                          psgd_reducer_save(reducer, the_path, step % 2 == 0 ? PSGD_ERROR_LOCAL : PSGD_ERROR_MEAN));
}

/* A run that tries in vain has the bits of one that never tried. */
static void assert_nothing_has_changed(int way, psgd_status_t (*in_vain)(const job_t *, uint32_t, uint32_t, psgd_reducer_t *),
                                       const job_t *like, psgd_status_t status, const char *words)
{
    refusal_t    expected = {status, words};
    job_t        never    = like != NULL ? *like : checkpoint_job(way), tries;
    job_record_t never_records[WORKERS_MAX], records[WORKERS_MAX];

    never.num_steps   = STEPS_AFTER;
    never.before_step = never.after_step = NULL;
    tries             = never;
    tries.before_step = in_vain;
    tries.user        = &expected;
    job_run(&never, never_records);
    job_run(&tries, records);
    for (uint32_t w = 0; w < never.num_workers; ++w) {
        job_assert_same_bits(&never_records[w], &records[w]);
    }
    job_records_free(&never, never_records);
    job_records_free(&tries, records);
}

static void change_file(const char *path, long at, const char *bytes, size_t count)
{
    FILE *file = fopen(path, "r+b");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, at, SEEK_SET), 0);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(checkpoint__files_that_are_not_whole_or_not_there_are_refused)
{
    char path[PATH_BYTES];

    snprintf(the_path, sizeof(the_path), "%s", path_of("absent"));
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "No such file");
    save_one(0, "mean", PSGD_ERROR_MEAN);
    change_file(the_path, 1000, "\x55\xAA", 2);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "is damaged");
    ck_assert_int_eq(truncate(the_path, 999), 0);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "was cut short");
    change_file(the_path, 0, "\x7F" "ELF", 4);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "is no checkpoint");

    save_one(0, "exact", PSGD_ERROR_LOCAL);
    snprintf(path, sizeof(path), "%.200s.3.1", the_path);
    change_file(path, 200, "\x55\xAA", 2); /* worker 1's alone: all refuse */
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "failed on worker 1 (");
    ck_assert_int_eq(unlink(path), 0);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "failed on worker 1 (");
    snprintf(path, sizeof(path), "%.200s.3.0", the_path);
    snprintf(the_path, sizeof(the_path), "%s", path);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "load the manifest");
    snprintf(the_path, sizeof(the_path), "%s", directory);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "is no file that can be read at once");
    empty_directory();
}
END_TEST

static void copy_file(const char *from, const char *to)
{
    static char bytes[1 << 20];
    FILE       *file = fopen(from, "rb");
    size_t      count;

    ck_assert_ptr_nonnull(file);
    count = fread(bytes, 1, sizeof(bytes), file);
    ck_assert((count > 0) && (count < sizeof(bytes)));
    fclose(file);
    file = fopen(to, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

/* Whole files, each of them: of the other worker, of another save, of another form. */
START_TEST(checkpoint__a_workers_file_that_belongs_to_another_save_is_refused)
{
    char path[PATH_BYTES], part[2][PATH_BYTES];

    save_one(0, "exact", PSGD_ERROR_LOCAL);
    snprintf(path, sizeof(path), "%s", the_path);
    for (int w = 0; w < 2; ++w) {
        snprintf(part[w], sizeof(part[w]), "%.200s.3.%d", path, w);
    }
    copy_file(part[1], part[0]);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "failed on worker 0 (");
    save_one(1, "other", PSGD_ERROR_LOCAL);
    snprintf(part[0], sizeof(part[0]), "%.200s.3.1", the_path);
    snprintf(the_path, sizeof(the_path), "%s", path);
    save_one(0, "exact", PSGD_ERROR_LOCAL);
    copy_file(part[0], part[1]);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "failed on worker 1 (");
    save_one(0, "mean", PSGD_ERROR_MEAN);
    copy_file(the_path, part[1]);
    snprintf(the_path, sizeof(the_path), "%s", path);
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_FILE, "failed on worker 1 (");
    empty_directory();
}
END_TEST

START_TEST(checkpoint__what_does_not_fit_is_refused)
{
    job_t         other = checkpoint_job(0);
    psgd_tensor_t renamed[JOB_MODEL_TENSORS];

    save_one(0, "exact", PSGD_ERROR_LOCAL);
    other.num_workers = 3;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "saved by 2 workers in the exact form");
    other             = checkpoint_job(0);
    other.config.rank = 3;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "another rank");
    other             = checkpoint_job(0);
    other.config.seed = 5;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "seed");
    other                       = checkpoint_job(0);
    other.config.error_feedback = 0;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "error feedback off");
    other                        = checkpoint_job(0);
    other.config.half_iterations = 1;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "half-iterations");
    memcpy(renamed, model, sizeof(model));
    renamed[0].name = "fc9.weight";
    other           = checkpoint_job(0);
    other.tensors   = renamed;
    assert_nothing_has_changed(0, load_in_vain, &other, PSGD_ERR_STATE, "lacks the factor of 'fc9.weight'");

    empty_directory();
    save_one(4, "mean", PSGD_ERROR_MEAN); /* without error feedback */
    assert_nothing_has_changed(0, load_in_vain, NULL, PSGD_ERR_STATE, "lacks the error memory of 'fc1.weight'");
    empty_directory();
}
END_TEST

/* --- saves that fail ----------------------------------------------------------------------------------------------- */

/* Where a directory is in the way of worker 1's file, or of the manifest, the save before stays. */
START_TEST(checkpoint__a_save_that_fails_leaves_the_one_before)
{
    job_t        after = checkpoint_job(0);
    job_record_t records[WORKERS_MAX];
    size_t       files;

    save_one(0, "exact", PSGD_ERROR_LOCAL);
    files = count_files();
    for (uint32_t step = 0; step < STEPS_AFTER; ++step) { /* the names of the files to come */
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%.200s.%u.1.new", the_path, step);
        ck_assert_int_eq(mkdir(path, 0777), 0);
    }
    {
        refusal_t expected = {PSGD_ERR_FILE, "failed on worker 1 ("};
        job_t     tries    = checkpoint_job(0);

        tries.num_steps   = 1;
        tries.before_step = save_in_vain; /* at step 0, in the exact form */
        tries.user        = &expected;
        job_run(&tries, records);
        job_records_free(&tries, records);
    }
    ck_assert_uint_eq(count_files(), files + STEPS_AFTER);
    after.num_steps     = STEPS_AFTER;
    after.before_step   = load;
    after.give_gradient = later_gradient;
    job_run(&after, records); /* still whole */
    ck_assert_uint_eq(records[0].stats[0].steps, STEPS_BEFORE + 1);
    job_records_free(&after, records);
    for (uint32_t step = 0; step < STEPS_AFTER; ++step) {
        char path[PATH_BYTES];

        snprintf(path, sizeof(path), "%.200s.%u.1.new", the_path, step);
        rmdir(path);
    }
    empty_directory();
}
END_TEST

static psgd_status_t load_and_save_in_vain(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_status_t status = load(job, worker, step, reducer);

    return status == PSGD_OK ? save_in_vain(job, worker, step, reducer) : status;
}

/* Its files have the names of those of the save that stands, which are not removed. */
START_TEST(checkpoint__a_save_that_fails_at_the_same_step_leaves_the_one_before)
{
    refusal_t    expected = {PSGD_ERR_FILE, "failed on worker 1 ("};
    job_t        tries    = checkpoint_job(0);
    job_record_t records[WORKERS_MAX];
    char         in_the_way[PATH_BYTES];

    save_one(0, "exact", PSGD_ERROR_LOCAL);
    snprintf(in_the_way, sizeof(in_the_way), "%.200s.%u.1.new", the_path, STEPS_BEFORE);
    ck_assert_int_eq(mkdir(in_the_way, 0777), 0);
    tries.num_steps   = 1;
    tries.before_step = load_and_save_in_vain;
    tries.user        = &expected;
    for (int again = 0; again < 2; ++again) {
        job_run(&tries, records);
        job_records_free(&tries, records);
        ck_assert_uint_eq(count_files(), 1 + 2 + 1);
    }
    rmdir(in_the_way);
    empty_directory();
}
END_TEST

/* --- a worker that is late ----------------------------------------------------------------------------------------- */

enum { LATE_STEPS = 4 };

static const uint64_t LATE_NS = 20 * 1000 * 1000;

static psgd_status_t (*test_in_time)(void *self, psgd_request_t *request, int *done_p);

static psgd_status_t test_late(void *self, psgd_request_t *request, int *done_p)
{
    psgd_status_t status = test_in_time(self, request, done_p);

    if ((status == PSGD_OK) && *done_p) {
        psgd_sleep_ns(LATE_NS);
    }
    return status;
}

/* Both forms by turns, at the same path. */
static psgd_status_t save_by_turns(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)job;
    (void)worker;
    return psgd_reducer_save(reducer, the_path, step % 2 == 0 ? PSGD_ERROR_LOCAL : PSGD_ERROR_MEAN);
}

/* Worker 1 hears of everything a while after worker 0. */
static psgd_status_t save_late(worker_t *worker)
{
    psgd_comm_t   comm   = *worker->comm;
    job_t         job    = checkpoint_job(0);
    job_record_t  record = {0};
    psgd_status_t status;

    if (worker->index == 1) {
        test_in_time = worker->comm->test;
        comm.test    = test_late;
    }
    job.num_steps  = LATE_STEPS;
    job.after_step = save_by_turns;
    status         = job_run_worker(&job, worker->device, &comm, &record);
    job_record_free(&record);
    return status;
}

START_TEST(checkpoint__files_of_the_save_before_go_also_where_a_worker_is_late)
{
    snprintf(the_path, sizeof(the_path), "%s", path_of("late"));
    workers_run(2, save_late, NULL);
    ck_assert_uint_eq(count_files(), 1);
    empty_directory();
}
END_TEST

START_TEST(checkpoint__a_directory_that_is_not_there_is_told_and_nothing_changes)
{
    snprintf(the_path, sizeof(the_path), "%s/absent/checkpoint", directory);
    assert_nothing_has_changed(0, save_in_vain, NULL, PSGD_ERR_FILE, "(a file could not be");
    assert_nothing_has_changed(1, save_in_vain, NULL, PSGD_ERR_FILE, "(a file could not be");
}
END_TEST

START_TEST(checkpoint__null_and_forms_that_are_not_files_are_told)
{
    psgd_tensor_t   tensor  = job_tensor("weight", 40, 56);
    psgd_reducer_t *reducer = NULL;
    psgd_comm_t    *comm    = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    assert_ok(psgd_reducer_create(NULL, NULL, NULL, &tensor, 1, NULL, comm, &reducer));
    assert_fails(psgd_reducer_save(NULL, "x", PSGD_ERROR_MEAN), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_save(reducer, NULL, PSGD_ERROR_MEAN), PSGD_ERR_INVALID_ARGUMENT, "path is NULL");
    assert_fails(psgd_reducer_save(reducer, "", PSGD_ERROR_LOCAL), PSGD_ERR_INVALID_ARGUMENT, "path is NULL or empty");
    assert_fails(psgd_reducer_save(reducer, "x", PSGD_ERROR_NONE), PSGD_ERR_INVALID_ARGUMENT, "form is 0");
    assert_fails(psgd_reducer_load(NULL, "x"), PSGD_ERR_INVALID_ARGUMENT, "reducer is NULL");
    assert_fails(psgd_reducer_load(reducer, NULL), PSGD_ERR_INVALID_ARGUMENT, "path is NULL");
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoints");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return EXIT_FAILURE;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, checkpoint__the_exact_form_continues_bitwise_identically, 0, NUM_WAYS);
    tcase_add_test(tcase, checkpoint__files_of_more_workers_than_there_are_now_go);
    tcase_add_loop_test(tcase, checkpoint__the_mean_form_continues_on_any_number_of_workers, 0, NUM_NUMBERS);
    tcase_add_loop_test(tcase, checkpoint__the_mean_form_is_exact_in_double_precision, 0, NUM_NUMBERS);
    tcase_add_test(tcase, checkpoint__files_that_are_not_whole_or_not_there_are_refused);
    tcase_add_test(tcase, checkpoint__a_workers_file_that_belongs_to_another_save_is_refused);
    tcase_add_test(tcase, checkpoint__a_name_without_a_directory_is_a_path);
    tcase_add_test(tcase, checkpoint__what_does_not_fit_is_refused);
    tcase_add_test(tcase, checkpoint__a_save_that_fails_leaves_the_one_before);
    tcase_add_test(tcase, checkpoint__a_save_that_fails_at_the_same_step_leaves_the_one_before);
    tcase_add_test(tcase, checkpoint__files_of_the_save_before_go_also_where_a_worker_is_late);
    tcase_add_test(tcase, checkpoint__a_directory_that_is_not_there_is_told_and_nothing_changes);
    tcase_add_test(tcase, checkpoint__null_and_forms_that_are_not_files_are_told);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    rmdir(directory);
    return result;
}
