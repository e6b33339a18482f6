/* The command line. */
#ifndef PSGD_TRAIN_OPTIONS_H
#define PSGD_TRAIN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <psgd/psgd.h>

#include "status.h"

typedef enum model { MODEL_MLP, MODEL_CNN, MODEL_LSTM, NUM_MODELS } model_t;
typedef enum decay { DECAY_LINEAR, DECAY_COSINE, DECAY_NONE, NUM_DECAYS } decay_t;

enum { OPTIONS_DEFAULT_BUCKET_KB = 1000 }; /* torch DDP's first bucket, which is its small one */

typedef struct options {
    bool        help;
    bool        version;
    int         model;   /* model_t */
    uint32_t    width;   /* what its hidden layers and filters are multiplied by */
    uint32_t    depth;   /* of the mlp: how many there are of its last hidden layer */
    const char *data;    /* a directory of IDX files; of the lstm, a text file, or NULL: its default */
    uint32_t    rank;    /* 0: plain all-reduce */
    bool        compare; /* plain all-reduce, then PowerSGD */
    int         compressor;    /* compressor_t */
    double      compressor_lr; /* learning rate of the first step of a run with another compressor than PowerSGD */
    uint32_t    epochs;  /* passes over the training data */
    uint64_t    steps;   /* where not 0: so many steps, in place of whole epochs */
    uint32_t    batch;   /* images of one worker in one step; of the lstm, streams of words */
    uint32_t    embedding, hidden; /* of the lstm, at width 1 */
    uint32_t    vocabulary;        /* of the lstm, at most */
    uint32_t    bptt;              /* of the lstm: words of a stream in one step */
    bool        tied;              /* of the lstm: the softmax's weight is the embedding */
    uint64_t    test_every;        /* steps between two tests; 0: at the end alone */
    double      lr;      /* learning rate of the first step */
    int         decay;   /* decay_t */
    double      momentum;
    uint64_t    seed;
    uint64_t    start_step;           /* psgd_config_t */
    uint32_t    half_iterations;      /* psgd_config_t */
    double      max_norm;             /* psgd_config_t */
    const char *save;                 /* NULL: nothing is saved */
    uint64_t    save_every;           /* steps; 0: at the end alone */
    int         save_form;            /* 0: exact; 1: mean */
    const char *resume;               /* NULL: from the beginning */
    uint64_t    stop_after;           /* steps of this call; 0: all */
    bool        fused_update;         /* the library takes the optimizer's step */
    double      min_compression_rate; /* psgd_config_t */
    uint32_t    error_feedback;       /* psgd_config_t */
    uint32_t    warm_start;           /* psgd_config_t */
    uint64_t    byte_budget;          /* psgd_config_t */
    int         wire;                 /* psgd_dtype_t */
    int         error_dtype;          /* an index into error_dtype_names */
    bool        flatten;              /* psgd_config_t */
    bool        shorter;              /* psgd_config_t.orthogonalize_shorter */
    uint64_t    energy_every;         /* psgd_config_t */
    int         sharing;              /* psgd_sharing_t */
    int         hierarchy;            /* hierarchy_t */
    uint64_t    check_every;          /* psgd_config_t */
    uint64_t    log_every;            /* psgd_config_t */
    int         gradient_dtype;       /* psgd_dtype_t: what gradients are rounded to before the exchange */
    double      loss_scale;           /* of gradients in their buffer; the exchange takes it off again */
    uint32_t    new_rank;             /* from step new_rank_step on; 0: the rank stays */
    uint64_t    new_rank_step;
    const char *tensors;           /* of single tensors (tensor_options.h); NULL: nothing */
    uint32_t    absent_every;      /* which gradients are missing; 0: none */
    uint64_t    reset_error_every; /* steps between two resets of the error memory; 0: never */
    int         engine;            /* psgd_engine_t */
    bool        is_finite;         /* psgd_config_t.gradients_are_finite */
    int         rule;              /* psgd_rule_t */
    double      weight_decay;
    uint64_t    bucket_kb;            /* psgd_config_t.bucket_bytes, in units of 1000 bytes */
    bool        no_overlap;           /* gradients are exchanged in one call behind the backward pass */
    bool        progress_thread;      /* psgd_config_t */
    const char *device;               /* psgd_device_find(); NULL: its default */
    bool        json;
    const char *json_file; /* NULL: standard output, in place of the table */
} options_t;

/* Reads argv into *options_p, with the defaults for what is not given. Nothing is printed. Errors: TOOL_USAGE, with a
 * sentence that names the option. */
tool_status_t options_parse(int argc, char **argv, options_t *options_p);

/* What --help prints. */
void options_print_help(FILE *file);

/* What a run that goes on must have in common with the one that was saved, as one number: all options but where it runs, how often it
 * is tested and what is printed. */
uint64_t options_hash(const options_t *options);

/* What the workers of one job must have in common. */
uint64_t options_job_hash(const options_t *options);

/* psgd_config_t.bucket_bytes. */
uint64_t options_bucket_bytes(const options_t *options);

/* Whether worker `worker` has a gradient of tensor number `tensor` in a step (--absent-every). */
bool options_has_gradient(const options_t *options, uint32_t worker, size_t tensor, uint64_t step);

const char  *sharing_name(int sharing);
const char  *dtype_name(psgd_dtype_t dtype);
psgd_dtype_t options_error_dtype(const options_t *options);
const char  *rule_name(int rule);
const char *model_name(int model);
const char *decay_name(int decay);

#endif
