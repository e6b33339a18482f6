#define _POSIX_C_SOURCE 200809L /* getpid */
#include "base/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/status.h"

enum { MAX_PATH_BYTES = 4096, CAPACITY = 4096, MAX_LANES = 10, LANES_APART = 10 };

static const char *const ROW_NAMES[PSGD_NUM_TRACE_ROWS] = {"device", "staging", "network"};

struct psgd_trace {
    FILE       *file;
    char        path[MAX_PATH_BYTES];
    uint32_t    worker;
    psgd_span_t spans[CAPACITY];
    size_t      count;
    uint64_t    lane_end_ns[PSGD_NUM_TRACE_ROWS][MAX_LANES]; /* of the last span there; 0: none yet */
};

/* ---- the path ---- */

/* One character of the path, or what a % stands for. */
static int expand_one(char letter, uint32_t worker, char *text, size_t bytes)
{
    switch (letter) {
    case 'w': return snprintf(text, bytes, "%" PRIu32, worker);
    case 'p': return snprintf(text, bytes, "%ld", (long)getpid());
    case '%': return snprintf(text, bytes, "%%");
    default: return -1;
    }
}

static psgd_status_t expand(const char *pattern, uint32_t worker, uint32_t num_workers, char path[MAX_PATH_BYTES])
{
    size_t used   = 0;
    bool   varies = false;

    for (const char *at = pattern; *at != '\0'; ++at) {
        bool is_special = *at == '%';
        int  length     = 1;

        if (is_special) {
            at += 1;
            varies = varies || (*at == 'w') || (*at == 'p');
            length = expand_one(*at, worker, path + used, MAX_PATH_BYTES - used);
        } else if (used < MAX_PATH_BYTES) {
            path[used] = *at;
        }
        if (length < 0) {
            return psgd_fail(
                PSGD_ERR_INVALID_ARGUMENT,
                "PSGD_TRACE is '%s': %%w stands for the worker, %%p for the process and %%%% for a %%, and nothing "
                "else follows a %%",
                pattern);
        }
        used += (size_t)length;
        if (used >= MAX_PATH_BYTES) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "PSGD_TRACE is a path of more than %d bytes",
                             MAX_PATH_BYTES - 1);
        }
    }
    path[used] = '\0';
    if ((num_workers > 1) && !varies) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "PSGD_TRACE is '%s', the same for all %u workers: write %%w where the worker's number belongs",
                         pattern, num_workers);
    }
    return PSGD_OK;
}

/* ---- the file ---- */

/* Of overlapping spans each has a line of its own, as far as there are lines. */
static unsigned lane_of(psgd_trace_t *trace, const psgd_span_t *span)
{
    uint64_t *ends = trace->lane_end_ns[span->row];
    unsigned  lane = 0;

    while ((lane + 1 < MAX_LANES) && (ends[lane] > span->begin_ns)) {
        lane += 1;
    }
    return lane;
}

static void name_row(const psgd_trace_t *trace, unsigned row, unsigned lane)
{
    fprintf(trace->file,
            ",\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":%" PRIu32 ",\"tid\":%u,\"args\":{\"name\":\"%s%s\"}}",
            trace->worker, row * LANES_APART + lane, ROW_NAMES[row], lane > 0 ? ", beside it" : "");
}

static void write_span(psgd_trace_t *trace, const psgd_span_t *span)
{
    const unsigned lane = lane_of(trace, span);

    if (trace->lane_end_ns[span->row][lane] == 0) {
        name_row(trace, span->row, lane);
    }
    trace->lane_end_ns[span->row][lane] = span->end_ns;
    fprintf(trace->file,
            ",\n{\"name\":\"%s\",\"cat\":\"%s\",\"ph\":\"X\",\"pid\":%" PRIu32 ",\"tid\":%u,\"ts\":%.3f,\"dur\":%.3f,"
            "\"args\":{\"step\":%" PRIu64,
            span->name, ROW_NAMES[span->row], trace->worker, span->row * LANES_APART + lane,
            (double)span->begin_ns * 1e-3, (double)(span->end_ns - span->begin_ns) * 1e-3, span->step);
    if (span->bucket != PSGD_NO_BUCKET) {
        fprintf(trace->file, ",\"bucket\":%" PRIu64, span->bucket);
    }
    if (span->bytes > 0) {
        fprintf(trace->file, ",\"bytes\":%" PRIu64, span->bytes);
    }
    fputs("}}", trace->file);
}

static void flush(psgd_trace_t *trace)
{
    for (size_t i = 0; i < trace->count; ++i) {
        write_span(trace, &trace->spans[i]);
    }
    trace->count = 0;
}

psgd_status_t psgd_trace_open(const char *pattern, uint32_t worker, uint32_t num_workers, psgd_trace_t **trace_p)
{
    psgd_trace_t *trace  = NULL;
    psgd_status_t status = psgd_alloc(1, sizeof(*trace), "the trace", &trace);

    if (status != PSGD_OK) {
        return status;
    }
    trace->worker = worker;
    status        = expand(pattern, worker, num_workers, trace->path);
    if (status != PSGD_OK) {
        goto free_trace;
    }
    trace->file = fopen(trace->path, "we");
    if (trace->file == NULL) {
        status = psgd_fail(PSGD_ERR_FILE, "PSGD_TRACE: cannot write '%s': %s", trace->path, strerror(errno));
        goto free_trace;
    }
    fprintf(trace->file,
            "[{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%" PRIu32 ",\"args\":{\"name\":\"worker %" PRIu32
            " of %" PRIu32 "\"}}",
            worker, worker, num_workers);
    *trace_p = trace;
    return PSGD_OK;

free_trace:
    psgd_free(trace);
    return status;
}

void psgd_trace_add(psgd_trace_t *trace, const psgd_span_t *span)
{
    if (trace == NULL) {
        return;
    }
    if (trace->count == CAPACITY) {
        flush(trace);
    }
    trace->spans[trace->count++] = *span;
}

psgd_status_t psgd_trace_close(psgd_trace_t *trace)
{
    psgd_status_t status = PSGD_OK;
    bool          has_failed;

    if (trace == NULL) {
        return PSGD_OK;
    }
    flush(trace);
    fputs("]\n", trace->file);
    has_failed = ferror(trace->file) != 0;
    has_failed = (fclose(trace->file) != 0) || has_failed;
    if (has_failed) {
        status = psgd_fail(PSGD_ERR_FILE, "PSGD_TRACE: '%s' could not be written: it is not whole", trace->path);
    }
    psgd_free(trace);
    return status;
}
