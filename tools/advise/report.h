/* The answer as a table, and as JSON. */
#ifndef PSGD_ADVISE_REPORT_H
#define PSGD_ADVISE_REPORT_H

#include <stdio.h>

#include "advice.h"

/* Of an advice_t. */
void report_write_table(const void *advice, FILE *file);
void report_write_json(const void *advice, FILE *file);

#endif
