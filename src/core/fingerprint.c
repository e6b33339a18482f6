#include "core/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/status.h"

/* The options, one word each. */
#define OPTION_TABLE(ROW) \
    ROW("the version of libpsgd", version) \
    ROW("the number of workers", num_workers) \
    ROW("config.rank", config->rank) \
    ROW("config.min_compression_rate", double_bits(config->min_compression_rate)) \
    ROW("config.start_step", config->start_step) \
    ROW("config.error_feedback", (uint64_t)(config->error_feedback != 0)) \
    ROW("config.warm_start", (uint64_t)(config->warm_start != 0)) \
    ROW("config.seed", config->seed) \
    ROW("config.engine", (uint64_t)config->engine) \
    ROW("config.gradients_are_finite", (uint64_t)(config->gradients_are_finite != 0)) \
    ROW("config.max_norm", double_bits(config->max_norm)) \
    ROW("config.energy_every", config->energy_every) \
    ROW("config.check_every", config->check_every) \
    ROW("config.bucket_bytes", config->bucket_bytes) \
    ROW("config.half_iterations", config->half_iterations) \
    ROW("config.byte_budget", config->byte_budget) \
    ROW("config.error_dtype", (uint64_t)config->error_dtype) \
    ROW("config.wire", (uint64_t)config->wire) \
    ROW("config.sharing", (uint64_t)config->sharing) \
    ROW("config.flatten", (uint64_t)(config->flatten != 0)) \
    ROW("config.orthogonalize_shorter", (uint64_t)(config->orthogonalize_shorter != 0)) \
    ROW("the number of tensors", (uint64_t)plan->num_given)

static const char *const OPTION_NAMES[] = {
#define ROW(name_, value_) name_,
    OPTION_TABLE(ROW)
#undef ROW
};

static const char *const TENSOR_FIELD_NAMES[] = {"its name", "its dimensions, type or view", "its rank",
                                                 "its engine (config.engine_profile)"};

enum {
    NUM_OPTIONS       = sizeof(OPTION_NAMES) / sizeof(OPTION_NAMES[0]),
    NUM_TENSOR_FIELDS = sizeof(TENSOR_FIELD_NAMES) / sizeof(TENSOR_FIELD_NAMES[0])
};

static uint64_t double_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void option_words(const psgd_plan_t *plan, const psgd_config_t *config, uint32_t num_workers,
                         uint64_t words[NUM_OPTIONS])
{
    const uint64_t version = PSGD_VERSION_MAJOR * 1000000 + PSGD_VERSION_MINOR * 1000 + PSGD_VERSION_PATCH;
    const uint64_t values[NUM_OPTIONS] = {
#define ROW(name_, value_) value_,
        OPTION_TABLE(ROW)
#undef ROW
    };

    memcpy(words, values, sizeof(values));
}

static void tensor_words(const psgd_plan_t *plan, const psgd_engine_t *choices, const psgd_plan_tensor_t *tensor,
                         uint64_t words[NUM_TENSOR_FIELDS])
{
    uint64_t shape = psgd_hash_bytes((uint64_t)tensor->dtype, tensor->dims, tensor->num_dims * sizeof(tensor->dims[0]));
    bool     is_compressed = psgd_plan_tensor_is_compressed(tensor);

    words[0] = tensor->name_hash;
    words[1] = psgd_hash_bytes(shape, &tensor->view, sizeof(tensor->view));
    words[2] = is_compressed ? plan->matrices[tensor->matrix_index].r : 0;
    words[3] = is_compressed ? (uint64_t)choices[tensor->matrix_index] : 0;
}

uint64_t psgd_fingerprint(const psgd_plan_t *plan, const psgd_engine_t *choices, const psgd_config_t *config,
                          uint32_t num_workers)
{
    uint64_t options[NUM_OPTIONS];
    uint64_t fields[NUM_TENSOR_FIELDS];
    uint64_t hash = 0;

    option_words(plan, config, num_workers, options);
    hash = psgd_hash_bytes(hash, options, sizeof(options));
    for (size_t i = 0; i < plan->num_tensors; ++i) {
        tensor_words(plan, choices, &plan->tensors[i], fields);
        hash = psgd_hash_bytes(hash, fields, sizeof(fields));
    }
    return hash;
}

/* What is being compared, a word of each worker at a time: all workers see the same, and stop at the same. */
typedef struct comparison {
    psgd_gather_t     *gather;
    const psgd_comm_t *comm;
    psgd_patience_t    patience;
    const psgd_log_t  *log;
} comparison_t;

/* The first worker that has another word than worker 0; 0 where there is none. */
static psgd_status_t compare_word(const comparison_t *c, uint64_t word, const char *what, uint32_t *worker_p)
{
    psgd_status_t status = psgd_gather_words(c->gather, c->comm, &word, 1, c->patience, c->log, what);

    *worker_p = 0;
    for (uint32_t w = 1; (status == PSGD_OK) && (w < c->comm->num_workers) && (*worker_p == 0); ++w) {
        *worker_p = c->gather->words[w] != c->gather->words[0] ? w : 0;
    }
    return status;
}

static bool is_double(size_t option)
{
    return (strcmp(OPTION_NAMES[option], "config.min_compression_rate") == 0) ||
           (strcmp(OPTION_NAMES[option], "config.max_norm") == 0);
}

static psgd_status_t explain_option(size_t option, uint64_t first, uint32_t worker, uint64_t theirs)
{
    if (is_double(option)) {
        double values[2];

        memcpy(&values[0], &first, sizeof(first));
        memcpy(&values[1], &theirs, sizeof(theirs));
        return psgd_fail(PSGD_ERR_MISMATCH, "the workers disagree on %s: worker 0 has %g, worker %u has %g; create every "
                         "reducer alike", OPTION_NAMES[option], values[0], worker, values[1]);
    }
    return psgd_fail(PSGD_ERR_MISMATCH, "the workers disagree on %s: worker 0 has %" PRIu64 ", worker %u has %" PRIu64
                     "; create every reducer alike", OPTION_NAMES[option], first, worker, theirs);
}

static psgd_status_t explain_tensors(const psgd_plan_t *plan, const psgd_engine_t *choices,
                                     const comparison_t *comparison)
{
    for (size_t field = 0; field < plan->num_tensors * NUM_TENSOR_FIELDS; ++field) {
        const psgd_plan_tensor_t *tensor = &plan->tensors[field / NUM_TENSOR_FIELDS];
        uint64_t                  words[NUM_TENSOR_FIELDS];
        uint32_t                  worker = 0;
        psgd_status_t             status;

        tensor_words(plan, choices, tensor, words);
        status = compare_word(comparison, words[field % NUM_TENSOR_FIELDS], "the comparison of the tensors", &worker);
        if (status != PSGD_OK) {
            return status;
        }
        if (worker > 0) {
            return psgd_fail(PSGD_ERR_MISMATCH,
                             "worker %u and worker 0 disagree on tensor %zu ('%s' on this worker, %" PRIu64
                             " x %" PRIu64 "): %s differs; pass the same tensors in the same order on every worker",
                             worker, field / NUM_TENSOR_FIELDS, tensor->name, tensor->view.rows, tensor->view.cols,
                             TENSOR_FIELD_NAMES[field % NUM_TENSOR_FIELDS]);
        }
    }
    return psgd_fail(PSGD_ERR_MISMATCH,
                     "the workers' fingerprints differ, but no field of them does: the message was damaged on "
                     "its way");
}

psgd_status_t psgd_fingerprint_explain(const psgd_plan_t *plan, const psgd_engine_t *choices,
                                       const psgd_config_t *config, psgd_gather_t *gather, const psgd_comm_t *comm,
                                       psgd_patience_t patience, const psgd_log_t *log)
{
    const comparison_t comparison = {gather, comm, patience, log};
    uint64_t           own[NUM_OPTIONS];

    option_words(plan, config, comm->num_workers, own);
    for (size_t option = 0; option < NUM_OPTIONS; ++option) {
        uint32_t      worker = 0;
        psgd_status_t status = compare_word(&comparison, own[option], "the comparison of the options", &worker);

        if (status != PSGD_OK) {
            return status;
        }
        if (worker > 0) {
            return explain_option(option, gather->words[0], worker, gather->words[worker]);
        }
    }
    return explain_tensors(plan, choices, &comparison);
}
