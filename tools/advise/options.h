/* The command line. */
#ifndef PSGD_ADVISE_OPTIONS_H
#define PSGD_ADVISE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "status.h"

enum { OPTIONS_MAX_RANKS = 16, OPTIONS_MOST_WORKERS = 4096 };

/* How whole gradients travel where they are not compressed. */
typedef enum plain_way { PLAIN_HOST, PLAIN_DIRECT } plain_way_t;

typedef struct options {
    bool        help;
    bool        version;
    const char *model; /* a built-in name, or a file */
    const char *rank_list;
    uint32_t    ranks[OPTIONS_MAX_RANKS];
    size_t      num_ranks;
    uint32_t    workers; /* that the sentence at the end is about; 0: those of this job, or 8 */
    bool        is_finite;
    double      min_compression_rate;
    int         engine;        /* index into engine_words */
    const char *device;        /* psgd_device_find(); NULL: its default */
    uint32_t    steps;         /* timed at each rank */
    uint64_t    measure_elems; /* the most elements that are measured; 0: what the device's memory allows */

    /* In place of measuring; 0: not given. */
    double device_gbs;
    double device_gflops;
    double launch_us;
    double staging_gbs;
    double staging_latency_us;
    double link_gbps;
    bool   in_memory; /* workers exchange through memory */
    double link_latency_us;
    double host_gbs;

    int         plain; /* plain_way_t */
    double      backward_ms;
    uint64_t    bucket_kb;
    const char *calibration;      /* to read */
    const char *save_calibration; /* to write */
    bool        json;
    const char *json_file; /* NULL: standard output, in place of the table */
} options_t;

/* Reads argv into *options_p, with the defaults for what is not given. Errors: TOOL_USAGE, with a sentence that names the option. */
tool_status_t options_parse(int argc, char **argv, options_t *options_p);

/* What --help prints. */
void options_print_help(FILE *file);

/* What the workers of one job must have in common, as one number. */
uint64_t options_hash(const options_t *options);

const char   *options_plain_word(const options_t *options);
psgd_engine_t options_engine(const options_t *options);

/* What has to be measured, where no calibration is read. */
bool options_need_device(const options_t *options); /* the steps, on a device */
bool options_need_link(const options_t *options);

#endif
