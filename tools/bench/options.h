/* The command line. */
#ifndef PSGD_BENCH_OPTIONS_H
#define PSGD_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "status.h"

enum { OPTIONS_MAX_RANKS = 64 };

typedef enum buffers { BUFFERS_ONE, BUFFERS_EACH } buffers_t;

/* What --break-check damages before the results are compared, so that tests see the check fail. Not in --help. */
typedef enum damage { DAMAGE_NONE, DAMAGE_UPDATE, DAMAGE_PLAIN, DAMAGE_WORKER } damage_t;

typedef struct options {
    bool        help;
    bool        version;
    const char *model; /* a built-in name, or a file */
    uint32_t    rank;  /* of --rank */
    const char *rank_list;
    uint32_t    ranks[OPTIONS_MAX_RANKS]; /* of --ranks, else the one of --rank */
    size_t      num_ranks;
    bool        is_sweep;       /* --ranks was given */
    uint32_t    steps;          /* timed, of each loop */
    int         engine;         /* index into engine_words */
    bool        is_finite;      /* psgd_config_t.gradients_are_finite */
    uint32_t    error_feedback; /* psgd_config_t */
    uint32_t    half_iterations; /* psgd_config_t */
    bool        takes_norm;      /* psgd_config_t.max_norm: infinite */
    uint64_t    byte_budget;     /* psgd_config_t */
    int         wire;            /* psgd_dtype_t */
    int         error_dtype;     /* psgd_dtype_t: PSGD_F32 or PSGD_BF16 */
    uint64_t    energy_every;    /* psgd_config_t */
    double      gradient_scale;  /* psgd_step_options_t */
    bool        flatten;         /* psgd_config_t */
    bool        orthogonalize_shorter; /* psgd_config_t */
    uint32_t    warm_start;            /* psgd_config_t */
    double      min_compression_rate;  /* psgd_config_t */
    uint64_t    start_step;            /* psgd_config_t */
    uint64_t    seed;                  /* psgd_config_t */
    double      max_norm;              /* psgd_config_t */
    int         sharing;               /* psgd_sharing_t */
    uint64_t    check_every;           /* psgd_config_t */
    uint64_t    log_every;             /* psgd_config_t */
    uint32_t    rank_before;           /* reducers begin with this rank, and change; 0: with the one that is measured */
    uint32_t    absent_every;          /* which gradients are missing; 0: none */
    int         gradient_dtype;        /* psgd_dtype_t */
    bool        times_update;    /* the optimizer's step too */
    int         hierarchy;       /* hierarchy_t */
    uint64_t    bucket_kb;       /* psgd_config_t.bucket_bytes, in units of 1000 bytes */
    bool        progress_thread; /* psgd_config_t */
    double      backward_ms;     /* of a simulated backward pass; 0: none */
    int         staging;        /* psgd_staging_t */
    int         buffers;        /* buffers_t */
    const char *device;         /* psgd_device_find(); NULL: its default */
    bool        shows_ortho;    /* the share of making factors orthonormal */
    bool        shows_plan;     /* the tensors, and nothing is run */
    int         damage;         /* damage_t */
    bool        json;
    const char *json_file; /* NULL: standard output, in place of the table */
} options_t;

/* Reads argv into *options_p, with the defaults for what is not given. Nothing is printed. Errors: TOOL_USAGE, with a
 * sentence that names the option. */
tool_status_t options_parse(int argc, char **argv, options_t *options_p);

/* What --help prints. */
void options_print_help(FILE *file);

/* What the workers of one job must have in common, as one number: all options but where it runs and what is printed. */
uint64_t options_hash(const options_t *options);

/* Whether worker `worker` has a gradient of tensor number `tensor` (--absent-every). */
bool options_has_gradient(const options_t *options, uint32_t worker, size_t tensor);

psgd_engine_t options_engine(const options_t *options);

const char  *sharing_name(int sharing);
const char *dtype_name(psgd_dtype_t dtype);
psgd_dtype_t options_error_dtype(const options_t *options);
const char *staging_name(int staging);
const char *buffers_name(int buffers);

#endif
