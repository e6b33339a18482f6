/* What comes out: tables for people, JSON for programs. */
#ifndef PSGD_BENCH_REPORT_H
#define PSGD_BENCH_REPORT_H

#include <stdio.h>

#include "measure.h"

typedef struct report {
    const bench_t    *bench;
    const measured_t *measured; /* one a rank */
    size_t            count;
} report_t;

/* One rank in full, or a line each of several. */
void report_write_table(const report_t *report, FILE *file);

/* One object, schema 1: docs/bench.md lists the keys. */
void report_write_json(const report_t *report, FILE *file);

/* How each tensor is sent at each rank. */
typedef struct plan_row {
    const model_tensor_t *tensor;
    psgd_tensor_plan_t    plan;
} plan_row_t;

typedef struct plan_report {
    const bench_t    *bench;
    uint32_t          rank;
    const plan_row_t *rows; /* one a tensor */
    uint64_t          sent_elems;    /* of all tensors */
    uint64_t          payload_bytes; /* that a step sends for them, without votes */
    uint64_t          device_bytes;
    double            compression_rate;
} plan_report_t;

void report_write_plan(const plan_report_t *report, FILE *file);
void report_write_plan_json(const plan_report_t *report, FILE *file);

#endif
