/* --compressor: what it goes together with. */
#ifndef PSGD_TRAIN_COMPRESSOR_OPTIONS_H
#define PSGD_TRAIN_COMPRESSOR_OPTIONS_H

#include <stddef.h>

#include "options.h"

/* Errors: TOOL_USAGE with a sentence that names the option that does not go with --compressor; TOOL_FAILED where this program was built
 * without what the compressor needs. */
tool_status_t compressor_options_check(const options_t *options);

/* The learning rate of a run with --compressor, where --compressor-lr does not give it. */
double compressor_options_lr(const options_t *options);

/* What the run at this rank is called: "plain all-reduce", "PowerSGD, rank 4", "random block". */
void compressor_options_title(const options_t *options, uint32_t rank, char *text, size_t bytes);

#endif
