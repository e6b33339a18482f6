/* The answer as a table, and as JSON. */
#ifndef PSGD_ADVISE_REPORT_H
#define PSGD_ADVISE_REPORT_H

#include <stdio.h>

#include "advice.h"

/* `user` is an advice_t. */
void report_write_table(const void *user, FILE *file);
void report_write_json(const void *user, FILE *file);

#endif
