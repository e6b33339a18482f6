/* Spans of time in a file that chrome://tracing and https://ui.perfetto.dev show: JSON, "Trace Event Format". */
#ifndef PSGD_BASE_TRACE_H
#define PSGD_BASE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include <psgd/psgd.h>

/* Where a span is shown: one row each, or more where spans of it overlap. */
typedef enum psgd_trace_row {
    PSGD_TRACE_DEVICE,
    PSGD_TRACE_STAGING,
    PSGD_TRACE_NETWORK,
    PSGD_NUM_TRACE_ROWS
} psgd_trace_row_t;

typedef struct psgd_span {
    psgd_trace_row_t row;
    const char      *name;             /* static; no character that JSON escapes */
    uint64_t         begin_ns, end_ns; /* psgd_now_ns() */
    uint64_t         step;
    uint64_t         bucket; /* PSGD_NO_BUCKET: of all */
    uint64_t         bytes;  /* 0: it moves none that are counted */
} psgd_span_t;

#define PSGD_NO_BUCKET UINT64_MAX

typedef struct psgd_trace psgd_trace_t;

/* Creates the file: in `pattern` %w is the worker's number, %p the process's, and %% a %. With several workers it has one of these.
 * Errors: PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_FILE, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_trace_open(const char *pattern, uint32_t worker, uint32_t num_workers, psgd_trace_t **trace_p);

/* Copies it; every few thousand the file is written to. NULL does nothing. */
void psgd_trace_add(psgd_trace_t *trace, const psgd_span_t *span);

/* Writes what is left. PSGD_ERR_FILE where any write has failed. NULL is fine. */
psgd_status_t psgd_trace_close(psgd_trace_t *trace);

#endif
