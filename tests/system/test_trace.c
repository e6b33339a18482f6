/* PSGD_TRACE: a file a worker, with a span a phase and bucket, which tells what the device, the host and the network did when. */
#define _XOPEN_SOURCE 700 /* mkdtemp(), setenv() */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum { NUM_WORKERS = 2, NUM_STEPS = 3, MAX_SPANS = 4096, MAX_TIDS = 64 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

static char directory[] = "/tmp/psgd-trace-XXXXXX";

typedef struct span {
    char     name[64], row[64];
    unsigned worker, tid;
    double   begin_us, length_us;
    uint64_t step, bucket, bytes; /* UINT64_MAX: not told */
} span_t;

typedef struct trace {
    span_t *spans;
    size_t  count;
} trace_t;

static job_t traced_job(uint64_t bucket_bytes, job_submission_t submission)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers         = NUM_WORKERS;
    job.num_steps           = NUM_STEPS;
    job.config.engine       = PSGD_ENGINE_FUSED;
    job.config.bucket_bytes = bucket_bytes;
    job.submission          = submission;
    return job;
}

static uint64_t number_behind(const char *line, const char *key)
{
    const char *at = strstr(line, key);

    return at == NULL ? UINT64_MAX : strtoull(at + strlen(key), NULL, 10);
}

/* A line is an event; what is no span is a name. */
static void read_line(const char *line, trace_t *trace)
{
    span_t span;

    if (sscanf(line,
               "{\"name\":\"%63[^\"]\",\"cat\":\"%63[^\"]\",\"ph\":\"X\",\"pid\":%u,\"tid\":%u,\"ts\":%lf,\"dur\":%lf,",
               span.name, span.row, &span.worker, &span.tid, &span.begin_us, &span.length_us) != 6) {
        ck_assert_msg(strstr(line, "\"ph\":\"M\"") != NULL, "%s", line);
        return;
    }
    span.step   = number_behind(line, "\"step\":");
    span.bucket = number_behind(line, "\"bucket\":");
    span.bytes  = number_behind(line, "\"bytes\":");
    ck_assert_uint_lt(trace->count, MAX_SPANS);
    trace->spans[trace->count++] = span;
}

static void path_of(uint32_t worker, char path[96])
{
    snprintf(path, 96, "%s/run.%u.json", directory, worker);
}

static trace_t read_trace(uint32_t worker)
{
    trace_t trace = {calloc(MAX_SPANS, sizeof(span_t)), 0};
    char    path[96], line[512];
    FILE   *file;
    int     last = 0;

    path_of(worker, path);
    file = fopen(path, "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_ptr_nonnull(trace.spans);
    ck_assert_int_eq(fgetc(file), '[');
    while (fgets(line, sizeof(line), file) != NULL) {
        size_t length = strlen(line);

        ck_assert_int_eq(line[length - 1], '\n');
        last = line[length - 2]; /* ',' or, of the last line, ']' */
        read_line(line, &trace);
    }
    ck_assert_int_eq(last, ']');
    fclose(file);
    ck_assert_int_eq(remove(path), 0);
    return trace;
}

static size_t count_spans(const trace_t *trace, const char *row, const char *name, uint64_t step, uint64_t bucket)
{
    size_t count = 0;

    for (size_t i = 0; i < trace->count; ++i) {
        const span_t *span = &trace->spans[i];

        count += (strcmp(span->row, row) == 0) && (strcmp(span->name, name) == 0) && (span->step == step) &&
                         (span->bucket == bucket)
                     ? 1
                     : 0;
    }
    return count;
}

static uint64_t bytes_on_the_network(const trace_t *trace, uint64_t step)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < trace->count; ++i) {
        bytes +=
            (strcmp(trace->spans[i].row, "network") == 0) && (trace->spans[i].step == step) ? trace->spans[i].bytes : 0;
    }
    return bytes;
}

/* On one line of a row one span ends before the next begins. */
static void assert_lines_do_not_overlap(const trace_t *trace)
{
    for (size_t i = 0; i < trace->count; ++i) {
        ck_assert_double_ge(trace->spans[i].length_us, 0.0);
        for (size_t k = 0; k < i; ++k) {
            const span_t *a = &trace->spans[k], *b = &trace->spans[i];
            double        both = (a->begin_us + a->length_us < b->begin_us + b->length_us ? a->begin_us + a->length_us
                                                                                          : b->begin_us + b->length_us) -
                          (a->begin_us > b->begin_us ? a->begin_us : b->begin_us);

            ck_assert_msg((a->tid != b->tid) || (both <= 0.002), "%s and %s overlap by %f us", a->name, b->name, both);
        }
    }
}

static void run_traced(const job_t *job, job_record_t *records)
{
    char pattern[96];

    snprintf(pattern, sizeof(pattern), "%s/run.%%w.json", directory);
    ck_assert_int_eq(setenv("PSGD_TRACE", pattern, 1), 0);
    job_run(job, records);
    ck_assert_int_eq(unsetenv("PSGD_TRACE"), 0);
}

/* With a bucket a tensor: each of the four that are compressed has its P and Q computed, staged and reduced, in every step. */
START_TEST(trace__has_a_span_a_phase_and_bucket)
{
    job_t        job = traced_job(1, _i == 0 ? JOB_AT_ONCE : JOB_LAST_FIRST);
    job_record_t records[WORKERS_MAX];

    run_traced(&job, records);
    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        trace_t trace = read_trace(w);

        for (uint64_t step = 0; step < NUM_STEPS; ++step) {
            for (uint64_t bucket = 0; bucket < JOB_MODEL_TENSORS; ++bucket) {
                bool is_compressed = count_spans(&trace, "staging", "orthonormalize_q", step, bucket) == 1;

                ck_assert_uint_eq(count_spans(&trace, "network", "reduce_p", step, bucket), 1);
                ck_assert_uint_eq(count_spans(&trace, "network", "reduce_q", step, bucket), 1);
                ck_assert_uint_eq(count_spans(&trace, "staging", "reduce_q", step, bucket), is_compressed ? 1 : 0);
                ck_assert_uint_eq(count_spans(&trace, "device", "orthogonalize_p", step, bucket),
                                  is_compressed ? 1 : 0);
                ck_assert_uint_ge(count_spans(&trace, "device", "compute_p", step, bucket), is_compressed ? 1 : 0);
            }
            ck_assert_uint_ge(count_spans(&trace, "device", "decompress", step, UINT64_MAX), 1);
            ck_assert_uint_eq(bytes_on_the_network(&trace, step), records[w].stats[step].bytes_last_step);
        }
        for (size_t i = 0; i < trace.count; ++i) {
            ck_assert_uint_eq(trace.spans[i].worker, w);
        }
        assert_lines_do_not_overlap(&trace);
        free(trace.spans);
    }
    job_records_free(&job, records);
}
END_TEST

START_TEST(trace__changes_no_bit)
{
    job_t        job = traced_job(20000, JOB_LAST_FIRST);
    job_record_t traced[WORKERS_MAX], plain[WORKERS_MAX];

    run_traced(&job, traced);
    job_run(&job, plain);
    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        trace_t trace = read_trace(w);

        job_assert_same_bits(&traced[w], &plain[w]);
        free(trace.spans);
    }
    job_records_free(&job, traced);
    job_records_free(&job, plain);
}
END_TEST

/* What PSGD_TRACE says wrongly is told at creation, on all workers. */
static const struct {
    const char   *pattern;
    psgd_status_t status;
    const char   *words;
} WRONG[] = {
    {"/tmp/trace.json", PSGD_ERR_INVALID_ARGUMENT, "the same for all 2 workers"},
    {"/tmp/trace.%d.json", PSGD_ERR_INVALID_ARGUMENT, "%w stands for the worker"},
    {"/tmp/trace.%w.json%", PSGD_ERR_INVALID_ARGUMENT, "nothing else follows a %"},
    {"/nowhere/trace.%w.json", PSGD_ERR_FILE, "cannot write '/nowhere/trace."},
};

static psgd_status_t create_one(worker_t *worker)
{
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;

    config.log_level = PSGD_LOG_OFF;
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                               JOB_MODEL_TENSORS, &config, worker->comm, &reducer);
}

START_TEST(trace__a_wrong_path_is_told_on_all_workers)
{
    worker_outcome_t outcomes[NUM_WORKERS];

    ck_assert_int_eq(setenv("PSGD_TRACE", WRONG[_i].pattern, 1), 0);
    workers_try(NUM_WORKERS, create_one, NULL, outcomes);
    ck_assert_int_eq(unsetenv("PSGD_TRACE"), 0);
    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        ck_assert_int_eq(outcomes[w].status, WRONG[_i].status);
        ck_assert_ptr_nonnull(strstr(outcomes[w].sentence, WRONG[_i].words));
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trace");
    TCase *tcase = tcase_create("threads");
    int    result;

    if (mkdtemp(directory) == NULL) {
        perror(directory);
        return 1;
    }
    job_model(model);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, trace__has_a_span_a_phase_and_bucket, 0, 2);
    tcase_add_test(tcase, trace__changes_no_bit);
    tcase_add_loop_test(tcase, trace__a_wrong_path_is_told_on_all_workers, 0, (int)(sizeof(WRONG) / sizeof(WRONG[0])));
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return (remove(directory) == 0) && (result == 0) ? 0 : 1;
}
