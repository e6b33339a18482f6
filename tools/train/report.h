/* What comes out: the table for people, and JSON for programs. */
#ifndef PSGD_TRAIN_REPORT_H
#define PSGD_TRAIN_REPORT_H

#include <stdio.h>

#include "trainer.h"

/* Everything that was run; NULL for what was not. */
typedef struct report {
    const trainer_t *trainer;
    const run_t     *plain;
    const run_t     *powersgd;
} report_t;

void report_write_table(const report_t *report, FILE *file);

/* One object, schema 1: docs/training.md lists the keys. */
void report_write_json(const report_t *report, FILE *file);

#endif
