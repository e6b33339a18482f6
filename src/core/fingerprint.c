#include "core/fingerprint.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/message.h"

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

/* The first field in which a worker differs from worker 0. words: num_workers rows of num_words. */
static bool find_difference(const uint64_t *words, size_t num_words, uint32_t num_workers, size_t *field_p,
                            uint32_t *worker_p)
{
    for (size_t field = 0; field < num_words; ++field) {
        for (uint32_t worker = 1; worker < num_workers; ++worker) {
            if (words[worker * num_words + field] != words[field]) {
                *field_p  = field;
                *worker_p = worker;
                return true;
            }
        }
    }
    return false;
}

static bool is_double(size_t option)
{
    return (strcmp(OPTION_NAMES[option], "config.min_compression_rate") == 0) ||
           (strcmp(OPTION_NAMES[option], "config.max_norm") == 0);
}

static psgd_status_t explain_option(const uint64_t *words, size_t option, uint32_t worker)
{
    uint64_t theirs = words[worker * NUM_OPTIONS + option];
    uint64_t first  = words[option];

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

static psgd_status_t explain_tensors(const psgd_plan_t *plan, const psgd_engine_t *choices, const psgd_comm_t *comm,
                                     psgd_patience_t patience, const psgd_log_t *log)
{
    size_t        num_words = plan->num_tensors * NUM_TENSOR_FIELDS;
    uint64_t     *all       = NULL; /* row num_workers holds our own */
    uint64_t     *own;
    size_t        field;
    uint32_t      worker;
    psgd_status_t status;

    status = psgd_alloc(num_words * (comm->num_workers + 1), sizeof(*all), "the fingerprints of all workers", &all);
    if (status != PSGD_OK) {
        return status;
    }
    own = all + num_words * comm->num_workers;
    for (size_t i = 0; i < plan->num_tensors; ++i) {
        tensor_words(plan, choices, &plan->tensors[i], own + i * NUM_TENSOR_FIELDS);
    }
    status = psgd_message_gather_words(comm, own, num_words, patience, log, "the comparison of the tensors", all);
    if (status != PSGD_OK) {
        goto free_all;
    }
    if (!find_difference(all, num_words, comm->num_workers, &field, &worker)) {
        status = psgd_fail(PSGD_ERR_MISMATCH, "the workers' fingerprints differ, but no field of them does: the message was "
                           "damaged on its way");
        goto free_all;
    }
    status =
        psgd_fail(PSGD_ERR_MISMATCH,
                  "worker %u and worker 0 disagree on tensor %zu ('%s' on this worker, %" PRIu64 " x %" PRIu64
                  "): %s differs; pass the same tensors in the same order on every worker",
                  worker, field / NUM_TENSOR_FIELDS, plan->tensors[field / NUM_TENSOR_FIELDS].name,
                  plan->tensors[field / NUM_TENSOR_FIELDS].view.rows,
                  plan->tensors[field / NUM_TENSOR_FIELDS].view.cols, TENSOR_FIELD_NAMES[field % NUM_TENSOR_FIELDS]);

free_all:
    psgd_free(all);
    return status;
}

psgd_status_t psgd_fingerprint_explain(const psgd_plan_t *plan, const psgd_engine_t *choices,
                                       const psgd_config_t *config, const psgd_comm_t *comm, psgd_patience_t patience,
                                       const psgd_log_t *log)
{
    uint64_t      own[NUM_OPTIONS];
    uint64_t     *all = NULL;
    size_t        option;
    uint32_t      worker;
    psgd_status_t status;

    option_words(plan, config, comm->num_workers, own);
    status = psgd_alloc((size_t)NUM_OPTIONS * comm->num_workers, sizeof(*all), "the options of all workers", &all);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_message_gather_words(comm, own, NUM_OPTIONS, patience, log, "the comparison of the options", all);
    if (status == PSGD_OK) {
        status = find_difference(all, NUM_OPTIONS, comm->num_workers, &option, &worker)
                     ? explain_option(all, option, worker)
                     : explain_tensors(plan, choices, comm, patience, log);
    }
    psgd_free(all);
    return status;
}
