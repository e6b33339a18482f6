#include "core/choose.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/agree.h"
#include "core/bucket.h"
#include "core/traffic.h"
#include "ops/tune.h"

static const char   PROFILE_HEAD[]  = "psgd-profile 1";
static const double MEASURE_SECONDS = 0.8; /* of all shapes and engines together */
static const double CLEARLY_FASTER  = 0.9; /* CLBlast's time over the fused engine's, at most, where CLBlast is chosen */

const char *psgd_engine_name(psgd_engine_t engine)
{
    switch (engine) {
    case PSGD_ENGINE_AUTO: return "auto";
    case PSGD_ENGINE_CLBLAST: return "clblast";
    case PSGD_ENGINE_FUSED: return "fused";
    }
    return "unknown";
}

static bool shapes_are_equal(const psgd_plan_matrix_t *a, const psgd_plan_matrix_t *b)
{
    return (a->rows == b->rows) && (a->cols == b->cols) && (a->r == b->r);
}

/* The first matrix of the same shape. */
static size_t first_of_shape(const psgd_plan_t *plan, size_t m)
{
    for (size_t i = 0; i < m; ++i) {
        if (shapes_are_equal(&plan->matrices[i], &plan->matrices[m])) {
            return i;
        }
    }
    return m;
}

/* ---- from the configuration ---- */

typedef struct profile_line {
    uint64_t      rows, cols;
    uint32_t      r;
    psgd_engine_t engine;
} profile_line_t;

static bool parse_engine(const char *word, psgd_engine_t *engine_p)
{
    for (psgd_engine_t engine = PSGD_ENGINE_CLBLAST; engine <= PSGD_ENGINE_FUSED; ++engine) {
        if (strcmp(word, psgd_engine_name(engine)) == 0) {
            *engine_p = engine;
            return true;
        }
    }
    return false;
}

/* Reads a decimal number and moves *text_p behind it; false where there is none, or one beyond 64 bits. */
static bool read_number(const char **text_p, uint64_t *number_p)
{
    char              *end;
    unsigned long long number;

    errno  = 0;
    number = strtoull(*text_p, &end, 10);
    if ((end == *text_p) || (errno != 0)) {
        return false;
    }
    *text_p   = end;
    *number_p = number;
    return true;
}

/* "rows cols rank engine" */
static bool parse_line(const char *text, size_t length, profile_line_t *line)
{
    char        copy[128];
    const char *at = copy;
    char        word[32];
    char        rest[2];
    uint64_t    rank;

    if ((length >= sizeof(copy)) || (memchr(text, '-', length) != NULL) || (memchr(text, '+', length) != NULL)) {
        return false; /* signs are no part of a number here, whatever strtoull() thinks of them */
    }
    memcpy(copy, text, length);
    copy[length] = '\0';
    if (!read_number(&at, &line->rows) || !read_number(&at, &line->cols) || !read_number(&at, &rank) ||
        (rank > PSGD_MAX_RANK) || (sscanf(at, "%31s %1s", word, rest) != 1)) {
        return false;
    }
    line->r = (uint32_t)rank;
    return parse_engine(word, &line->engine);
}

static void apply_line(psgd_reducer_t *r, const profile_line_t *line)
{
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];

        if ((matrix->rows == line->rows) && (matrix->cols == line->cols) && (matrix->r == line->r)) {
            r->choices[m] = line->engine;
        }
    }
}

/* Shapes that this reducer does not have are passed over: one profile may serve many models. */
static psgd_status_t apply_profile(psgd_reducer_t *r, const char *text)
{
    for (size_t number = 1; *text != '\0'; ++number) {
        size_t         length = strcspn(text, "\n");
        profile_line_t line;

        if (number == 1) {
            if ((length != strlen(PROFILE_HEAD)) || (memcmp(text, PROFILE_HEAD, length) != 0)) {
                return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.engine_profile, line 1: '%.*s' is not '%s'; pass what "
                                 "psgd_reducer_get_profile() wrote", (int)(length < 40 ? length : 40), text, PROFILE_HEAD);
            }
        } else if (length > 0) {
            if (!parse_line(text, length, &line)) {
                return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.engine_profile, line %zu: '%.*s' is not 'rows cols rank engine' "
                                 "with engine clblast or fused", number, (int)(length < 80 ? length : 80), text);
            }
            apply_line(r, &line);
        }
        text += length + (text[length] == '\n' ? 1 : 0);
    }
    return PSGD_OK;
}

psgd_status_t psgd_choose_from_config(psgd_reducer_t *r)
{
    psgd_status_t status;

    status = psgd_alloc(r->plan->num_matrices, sizeof(*r->choices), "the choice of engines", &r->choices);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        r->choices[m] = r->config.engine;
    }
    if ((r->config.engine != PSGD_ENGINE_AUTO) || (r->config.engine_profile == NULL)) {
        return PSGD_OK;
    }
    status                   = apply_profile(r, r->config.engine_profile);
    r->config.engine_profile = NULL; /* the caller's, and read during creation alone */
    return status;
}

bool psgd_choose_is_open(const psgd_reducer_t *r)
{
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        if (r->choices[m] == PSGD_ENGINE_AUTO) {
            return true;
        }
    }
    return false;
}

/* ---- dry runs: steps on nothing but zeros, before the first ---- */

/* Gradients for a dry run: the error memories, which are zero and stay so; where there are none of floats, a buffer of zeros. */
typedef struct dry_run {
    psgd_view_t      *grads; /* by matrix index */
    psgd_view_t       zeros;
    psgd_step_views_t views;
} dry_run_t;

static uint64_t largest_matrix_elems(const psgd_plan_t *plan)
{
    uint64_t largest = 0;

    for (size_t m = 0; m < plan->num_matrices; ++m) {
        uint64_t elems = plan->matrices[m].rows * plan->matrices[m].cols;

        largest = elems > largest ? elems : largest;
    }
    return largest;
}

static bool has_float_errors(const psgd_reducer_t *r)
{
    return (r->form == PSGD_FORM_TRANSACTIONAL) || (r->form == PSGD_FORM_LAZY);
}

static psgd_status_t begin_dry_run(psgd_reducer_t *r, dry_run_t *dry)
{
    psgd_status_t status;

    memset(dry, 0, sizeof(*dry));
    status = psgd_alloc(r->plan->num_matrices, sizeof(*dry->grads), "the views of a dry run", &dry->grads);
    if ((status == PSGD_OK) && !has_float_errors(r)) {
        status = psgd_buffer_create(r->device, (size_t)largest_matrix_elems(r->plan) * sizeof(float),
                                    "the zeros of a dry run", &dry->zeros);
    }
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        dry->grads[m] = has_float_errors(r) ? r->errors[m] : dry->zeros;
    }
    dry->views       = psgd_traffic_step_views(r);
    dry->views.grads = dry->grads;
    return PSGD_OK;
}

static void end_dry_run(psgd_reducer_t *r, dry_run_t *dry)
{
    psgd_buffer_destroy(r->device, &dry->zeros);
    psgd_free(dry->grads);
}

/* Drivers compile a kernel when it is first enqueued, PoCL for seconds: better now than in the first step. */
static psgd_status_t run_engines_once(psgd_bucket_t *b, const dry_run_t *dry)
{
    psgd_step_views_t views = psgd_bucket_views(b);
    psgd_status_t     status;

    views.grads = dry->grads + b->plan->first_matrix;
    status      = psgd_engines_enqueue_compute_p(b->engines, &views);
    if (status == PSGD_OK) {
        status = psgd_engines_enqueue_compute_q(b->engines, &views);
    }
    return status == PSGD_OK ? psgd_engines_enqueue_decompress(b->engines, &views) : status;
}

static psgd_status_t create_engines(psgd_bucket_t *b, const dry_run_t *dry)
{
    const psgd_reducer_t *r = b->reducer;
    psgd_status_t         status;

    if (b->plan->num_matrices == 0) {
        return PSGD_OK;
    }
    status = psgd_engines_create(r->device, b->plan, r->choices + b->plan->first_matrix, r->form, &b->engines);
    return status == PSGD_OK ? run_engines_once(b, dry) : status;
}

psgd_status_t psgd_choose_create_engines(psgd_reducer_t *r)
{
    dry_run_t     dry;
    psgd_status_t status = begin_dry_run(r, &dry);

    for (size_t i = 0; (status == PSGD_OK) && (i < r->num_buckets); ++i) {
        status = create_engines(&r->buckets[i], &dry);
    }
    if (r->plan->num_matrices > 0) {
        status = psgd_device_settle(r->device, status, "the first run of the engines");
    }
    end_dry_run(r, &dry);
    return status;
}

/* ---- by measurement ---- */

/* Whether this matrix is the one of its shape that is measured. */
static bool is_measured(const psgd_reducer_t *r, size_t m)
{
    return (r->choices[m] == PSGD_ENGINE_AUTO) && (first_of_shape(r->plan, m) == m);
}

static size_t count_measured(const psgd_reducer_t *r)
{
    size_t count = 0;

    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        count += is_measured(r, m) ? 1 : 0;
    }
    return count;
}

/* timings_p[i]: of the i-th matrix that is measured. */
static psgd_status_t measure(psgd_reducer_t *r, size_t count, psgd_timing_t *timings_p)
{
    size_t       *selected = NULL;
    size_t        n        = 0;
    dry_run_t     dry;
    psgd_status_t status;

    status = psgd_alloc(count, sizeof(*selected), "the shapes to be measured", &selected);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        if (is_measured(r, m)) {
            selected[n++] = m;
        }
    }
    status = begin_dry_run(r, &dry);
    if (status == PSGD_OK) {
        status = psgd_tune_measure(r->device, r->plan, selected, count, r->form, &dry.views, MEASURE_SECONDS, timings_p);
    }
    end_dry_run(r, &dry);
    psgd_free(selected);
    return status;
}

/* From the sums of times over the workers. Clearly faster, or the fused engine it is: a run should choose as the last did. */
static psgd_engine_t fastest(const psgd_timing_t *sum)
{
    return (double)sum->ms[PSGD_TUNE_CLBLAST] < CLEARLY_FASTER * (double)sum->ms[PSGD_TUNE_FUSED] ? PSGD_ENGINE_CLBLAST
                                                                                                 : PSGD_ENGINE_FUSED;
}

static void decide_shape(psgd_reducer_t *r, size_t first, const psgd_timing_t *sum)
{
    const psgd_plan_matrix_t *shape  = &r->plan->matrices[first];
    const double              count  = r->comm->num_workers;
    psgd_engine_t             engine = fastest(sum);

    if (sum->ms[PSGD_TUNE_CLBLAST] < PSGD_NOT_TIMED_MS) {
        psgd_log(&r->log, PSGD_LOG_INFO, "%" PRIu64 " x %" PRIu64 ", r = %u: fused %.3f ms, clblast %.3f ms; %s", shape->rows,
                 shape->cols, shape->r, (double)sum->ms[PSGD_TUNE_FUSED] / count,
                 (double)sum->ms[PSGD_TUNE_CLBLAST] / count, psgd_engine_name(engine));
    }
    for (size_t m = first; m < r->plan->num_matrices; ++m) {
        if (shapes_are_equal(&r->plan->matrices[m], shape)) {
            r->choices[m] = engine;
        }
    }
}

/* A profile names whole shapes, so that all matrices of a shape are open or none. */
static void decide(psgd_reducer_t *r, const psgd_timing_t *sums)
{
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        if (is_measured(r, m)) {
            decide_shape(r, m, sums++);
        }
    }
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        r->fingerprint = psgd_hash_u64(r->fingerprint, (uint64_t)r->choices[m]);
    }
}

psgd_status_t psgd_choose_by_measuring(psgd_reducer_t *r)
{
    size_t         count   = count_measured(r);
    psgd_timing_t *timings = NULL;
    psgd_status_t  status;

    status = psgd_alloc(count, sizeof(*timings), "the times of the engines", &timings);
    if (status == PSGD_OK) {
        status = measure(r, count, timings);
    }
    if (status == PSGD_OK) {
        memcpy(psgd_message_payload(&r->message_chunk), timings, count * sizeof(*timings));
    }
    status = psgd_agree_on_sums(r, status, count * PSGD_NUM_TUNED); /* the others wait for it, whatever failed here */
    if (status == PSGD_OK) {
        memcpy(timings, psgd_message_payload(&r->message_chunk), count * sizeof(*timings));
        decide(r, timings);
    }
    psgd_free(timings);
    return status;
}

/* ---- to text ---- */

typedef struct writer {
    char  *text;
    size_t capacity;
    size_t length; /* of the whole text, also where it does not fit */
} writer_t;

static void write_text(writer_t *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void write_text(writer_t *writer, const char *format, ...)
{
    size_t  room = writer->length < writer->capacity ? writer->capacity - writer->length : 0;
    va_list args;
    int     length;

    va_start(args, format);
    length = vsnprintf(room > 0 ? writer->text + writer->length : NULL, room, format, args);
    va_end(args);
    writer->length += length > 0 ? (size_t)length : 0;
}

size_t psgd_choose_write_profile(const psgd_reducer_t *r, char *text, size_t capacity)
{
    writer_t writer = {text, capacity, 0};

    write_text(&writer, "%s\n", PROFILE_HEAD);
    for (size_t m = 0; m < r->plan->num_matrices; ++m) {
        const psgd_plan_matrix_t *matrix = &r->plan->matrices[m];

        if (first_of_shape(r->plan, m) == m) {
            write_text(&writer, "%" PRIu64 " %" PRIu64 " %" PRIu32 " %s\n", matrix->rows, matrix->cols, matrix->r,
                       psgd_engine_name(r->choices[m]));
        }
    }
    return writer.length + 1;
}
