/* A job: a few steps of one reducer on every worker, all that came out of it, and the same in the float64 reference. */
#ifndef PSGD_TESTS_SUPPORT_JOB_H
#define PSGD_TESTS_SUPPORT_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

#include "support/test_device.h"

/* Where the gradients live. */
typedef enum job_memory {
    JOB_ONE_BUFFER,       /* one behind the other, from an odd offset on, with gaps */
    JOB_SEPARATE_BUFFERS, /* one buffer a tensor */
    JOB_CHANGING_BUFFERS, /* one buffer a tensor, in each step another and from another offset on */
    JOB_HOST_POINTERS     /* psgd_reducer_step_host() */
} job_memory_t;

/* How the gradients of a step get to the reducer. Orders are of tensors. */
typedef enum job_submission {
    JOB_AT_ONCE,    /* psgd_reducer_step_with() */
    JOB_LAST_FIRST, /* submitted one by one, each behind the command that writes it to the reducer's queue */
    JOB_FIRST_LAST, /* the same the wrong way round, in pairs, and psgd_reducer_wait() gives an event */
    JOB_BY_EVENTS, /* each worker in an order of its own, each step in another, behind an event of another queue, out of order where the
                     * device has that */
} job_submission_t;

typedef struct job job_t;

struct job {
    const psgd_tensor_t *tensors;
    size_t               num_tensors;
    psgd_config_t        config;
    uint32_t             num_workers;
    uint32_t             num_steps;
    job_memory_t         memory;
    job_submission_t     submission;
    bool                 exports_last_alone; /* errors are exported after the last step; zero in the records before */

    /* Fills in all tensors of one worker's gradient, one behind the other; those in 16 bits are rounded. NULL: random numbers of
     * gradient_stream. */
    void (*give_gradient)(const job_t *job, uint32_t worker, uint32_t step, float *gradient);
    uint64_t gradient_stream;

    /* Not 0: every worker imports random Q of this stream before step 0; P, with half-iterations. */
    uint64_t q_stream;

    /* Fills in what a step is told beside its gradients; NULL: nothing. */
    void (*give_options)(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options);

    /* Called before each step, after the import of q_stream; may be NULL. */
    psgd_status_t (*before_step)(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer);

    /* Called after each step; may be NULL. */
    psgd_status_t (*after_step)(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer);

    void *user; /* of these functions */
};

/* Of one worker: rows of total_elems, one a step. */
typedef struct job_record {
    uint64_t      total_elems;
    uint32_t      num_steps;
    float        *updates;
    float *errors; /* its own error memory after the step; zero where there is none, and for a flattened gradient */
    psgd_stats_t *stats;      /* after the step */
    psgd_state_t *last_state; /* PSGD_ERROR_LOCAL, after the last step */
} job_record_t;

/* With the defaults: one worker, 4 steps, one buffer, a short deadline. Fields may be changed afterwards. */
job_t job_describe(const psgd_tensor_t *tensors, size_t num_tensors);

/* All tensors of one gradient. */
uint64_t job_total_elems(const job_t *job);

/* A tensor of two dimensions, or of one where cols is 0. */
psgd_tensor_t job_tensor(const char *name, uint64_t rows, uint64_t cols);

/* Nine tensors that have everything: equal and unequal shapes, wide, tall and four-dimensional, vectors, one too small
 * to compress, one never compressed, one of a rank of its own. */
enum { JOB_MODEL_TENSORS = 9 };
void job_model(psgd_tensor_t tensors[JOB_MODEL_TENSORS]);

/* Runs the part of one worker; for threads and for processes. Sets the last error where it fails. The record is freed
 * by job_record_free(), also after a failure. */
psgd_status_t job_run_worker(const job_t *job, const test_device_t *device, const psgd_comm_t *comm,
                             job_record_t *record_p);
void job_record_free(job_record_t *record);

/* Runs all workers on threads: records[0 .. num_workers). The test fails if a worker does. */
void job_run(const job_t *job, job_record_t *records);
void job_records_free(const job_t *job, job_record_t *records);

/* Row `step` of a record. */
const float *job_update(const job_record_t *record, uint32_t step);
const float *job_error(const job_record_t *record, uint32_t step);

/* The gradient that a worker had in a step; freed by the caller. */
float *job_gradient(const job_t *job, uint32_t worker, uint32_t step);

/* For after_step: exports the state, forgets the error memory, and imports the state again. */
psgd_status_t job_reimport(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer);

/* Fills a state with one random Q (P, with half-iterations) a compressed tensor, as q_stream does. */
psgd_status_t job_fill_factors(const psgd_reducer_t *reducer, const job_t *job, uint64_t stream, psgd_state_t *state);

/* The float64 reference on the same gradients and Q (q_stream is not 0): rows of total_elems, one a step, each freed by
 * the caller. averaged_error as in reference_options_t. */
void job_reference(const job_t *job, bool averaged_error, double **updates_p, double **mean_errors_p);

/* mean over the workers of the error memory after `step`, in float64; freed by the caller. */
double *job_mean_error(const job_t *job, const job_record_t *records, uint32_t step);

/* Updates and mean error memories of every step are those of the float64 reference, to `bound` of their norms, or the test fails. */
void job_assert_agrees_with_reference(const job_t *job, const job_record_t *records, double bound);

/* Nothing was lost: what the workers' mean gradients were and the updates not is the mean error memory after the last step, to `bound` of
 * its norm, or the test fails. */
void job_assert_nothing_lost(const job_t *job, const job_record_t *records, double bound);

/* The same values in float64; freed by the caller. */
double *job_wide(const float *values, uint64_t count);

/* |a - b| / |b|, |a - b| where b is zero. */
double job_difference(const float *a, const double *b, uint64_t count);

/* Every worker's updates have the same bits in every step, or the test fails. */
void job_assert_equal_updates(const job_t *job, const job_record_t *records);

/* Both records hold the same bits in every step, or the test fails. */
void job_assert_same_bits(const job_record_t *a, const job_record_t *b);

/* Both hold the same bits of updates in every step; or of one step of each. */
void job_assert_same_updates(const job_record_t *a, const job_record_t *b);
void job_assert_same_update(const job_record_t *a, uint32_t a_step, const job_record_t *b, uint32_t b_step);

/* Both hold the same error memory after a step of each; zeros may differ in their sign. */
void job_assert_equal_errors(const job_record_t *a, uint32_t a_step, const job_record_t *b, uint32_t b_step);

#endif
