/* The answer: what is known of this machine, or was said of another, and what follows. */
#ifndef PSGD_ADVISE_ADVICE_H
#define PSGD_ADVISE_ADVICE_H

#include "calibration.h"

/* Where a figure comes from. */
typedef enum source { SOURCE_MEASURED, SOURCE_FILE, SOURCE_GIVEN, SOURCE_ASSUMED } source_t;

const char *source_name(source_t source);

/* One rank. */
typedef struct rank_advice {
    uint32_t      rank;
    bucket_list_t whole;   /* one bucket: a step behind the backward pass */
    bucket_list_t buckets; /* a step beside it */
    local_costs_t local;
} rank_advice_t;

typedef struct advice {
    const options_t     *options;
    const model_t       *model;
    const calibration_t *calibration;
    device_rates_t       device;
    source_t             device_source, staging_source;
    bool                 shares_memory;
    double               copies_s; /* of a plain step */
    network_t            network;
    source_t             link_source, latency_source, host_source;
    rank_advice_t        ranks[OPTIONS_MAX_RANKS];
    size_t               num_ranks;
    uint32_t             workers; /* that the sentence is about */
    bool                 compresses;
    size_t               chosen; /* of ranks */
    char                 sentence[512];
} advice_t;

/* What one number of workers makes of it, seconds. */
typedef struct prediction {
    double      all_reduce_s; /* of whole gradients in one message */
    algorithm_t algorithm;    /* of that */
    double      plain_s;      /* beyond the backward pass, copies included */
} prediction_t;

typedef struct rank_prediction {
    double messages_s; /* one after the other */
    double step_s;     /* behind the backward pass */
    double exposed_s;  /* beside it: what a step adds to it */
    double speedup;    /* of backward pass and exchange together */
} rank_prediction_t;

/* Freed by advice_free(), also after an error. job_workers: of this job, more than one where a link was measured. Errors: TOOL_USAGE where
 * the calibration does not hold what is asked for; TOOL_FAILED. */
tool_status_t advice_make(const options_t *options, const model_t *model, const calibration_t *calibration,
                          uint32_t job_workers, advice_t *advice_p);
void          advice_free(advice_t *advice);

prediction_t      advice_predict(const advice_t *advice, uint32_t workers);
rank_prediction_t advice_predict_rank(const advice_t *advice, uint32_t workers, size_t rank_index);

/* The Gbit/s below which this rank pays; infinite: at any; 0: at none. */
double advice_break_even(const advice_t *advice, uint32_t workers, size_t rank_index);

/* What the link carries in whole gradients, Gbit/s; infinite in memory. */
double advice_gbps(const advice_t *advice);

/* At which hosts copy and add up whole gradients, GB/s. */
double advice_host_gbs(const advice_t *advice);

/* 2, 4, ... 4096, and `workers` where it is none of them; numbers[0 .. *count_p), by size. */
enum { ADVICE_MAX_SIZES = 13 };
void advice_sizes(const advice_t *advice, uint32_t numbers[ADVICE_MAX_SIZES], size_t *count_p);

#endif
