#include "api/arguments.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "core/vote.h"

/* The sizes of the structs in release 0.1.0. */
enum { FIRST_CONFIG_BYTES = sizeof(psgd_config_t), FIRST_TENSOR_BYTES = sizeof(psgd_tensor_t) };

/* So that nothing but dust becomes denormal when it is clipped. */
static const double MIN_MAX_NORM = 1e-12;

static size_t size_of(const void *given)
{
    size_t bytes;

    memcpy(&bytes, given, sizeof(bytes));
    return bytes;
}

static psgd_status_t check_size(const void *given, size_t first_bytes, const char *what, const char *init_macro,
                                size_t known_bytes)
{
    size_t bytes = size_of(given);

    if ((bytes < first_bytes) || (bytes > known_bytes + 65536)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s has struct_size %zu; initialize it with %s", what, bytes, init_macro);
    }
    return PSGD_OK;
}

psgd_status_t psgd_copy_struct(const void *given, size_t first_bytes, const char *what, const char *init_macro, void *known,
                               size_t known_bytes)
{
    const unsigned char *bytes = given;
    size_t               size;
    psgd_status_t        status = check_size(given, first_bytes, what, init_macro, known_bytes);

    if (status != PSGD_OK) {
        return status;
    }
    size = size_of(given);
    for (size_t i = known_bytes; i < size; ++i) {
        if (bytes[i] != 0) {
            return psgd_fail(PSGD_ERR_UNSUPPORTED, "%s has struct_size %zu and sets an option at byte %zu that this version of "
                             "libpsgd (%s) does not know", what, size, i, PSGD_VERSION_STRING);
        }
    }
    memcpy(known, given, size < known_bytes ? size : known_bytes);
    memcpy(known, &known_bytes, sizeof(known_bytes)); /* its struct_size: now one of ours */
    return PSGD_OK;
}

psgd_status_t psgd_check_output_struct(const void *given, size_t first_bytes, const char *what, const char *init_macro,
                                       size_t known_bytes, size_t *writable_bytes_p)
{
    psgd_status_t status = check_size(given, first_bytes, what, init_macro, known_bytes);

    if (status != PSGD_OK) {
        return status;
    }
    *writable_bytes_p = size_of(given) < known_bytes ? size_of(given) : known_bytes;
    return PSGD_OK;
}

static psgd_status_t check_flag(int value, const char *name)
{
    if ((value != 0) && (value != 1)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.%s is %d; it must be 0 or 1", name, value);
    }
    return PSGD_OK;
}

static psgd_status_t check_seconds(double value, const char *name)
{
    if (!isfinite(value) || (value < 0.0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.%s is %g; it must be finite and not negative (0: the default)", name,
                         value);
    }
    return PSGD_OK;
}

static psgd_status_t check_config(const psgd_config_t *config)
{
    psgd_status_t status;

    status = check_flag(config->error_feedback, "error_feedback");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_flag(config->warm_start, "warm_start");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_flag(config->exact_phase_times, "exact_phase_times");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_seconds(config->deadline_seconds, "deadline_seconds");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_seconds(config->warn_seconds, "warn_seconds");
    if (status != PSGD_OK) {
        return status;
    }
    if ((config->max_norm != 0.0) && !(config->max_norm >= MIN_MAX_NORM)) { /* NaN is refused too */
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "config.max_norm is %g; it must be 0 (off), %g or more, or infinite "
                         "(measured, not clipped)",
                         config->max_norm, MIN_MAX_NORM);
    }
    status = check_flag(config->gradients_are_finite, "gradients_are_finite");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_flag(config->progress_thread, "progress_thread");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_flag(config->flatten, "flatten");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_flag(config->orthogonalize_shorter, "orthogonalize_shorter");
    if (status != PSGD_OK) {
        return status;
    }
    if ((config->engine < PSGD_ENGINE_AUTO) || (config->engine > PSGD_ENGINE_FUSED)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "config.engine is %d; it must be PSGD_ENGINE_AUTO, PSGD_ENGINE_CLBLAST or "
                         "PSGD_ENGINE_FUSED", (int)config->engine);
    }
    if ((config->staging < PSGD_STAGING_AUTO) || (config->staging > PSGD_STAGING_MAP)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.staging is %d; it must be PSGD_STAGING_AUTO to PSGD_STAGING_MAP",
                         (int)config->staging);
    }
    if ((config->error_dtype != PSGD_F32) && (config->error_dtype != PSGD_BF16)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "config.error_dtype is %d; it must be PSGD_F32 or PSGD_BF16 (half precision does not reach "
                         "to the small numbers that an error memory holds)",
                         (int)config->error_dtype);
    }
    if ((config->wire < PSGD_F32) || (config->wire > PSGD_BF16)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "config.wire is %d; it must be PSGD_F32, PSGD_F16 or PSGD_BF16",
                         (int)config->wire);
    }
    if ((config->sharing < PSGD_SHARING_AUTO) || (config->sharing > PSGD_SHARING_OWNERS)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "config.sharing is %d; it must be PSGD_SHARING_AUTO, PSGD_SHARING_NONE or "
                         "PSGD_SHARING_OWNERS",
                         (int)config->sharing);
    }
    if ((config->log_level < PSGD_LOG_OFF) || (config->log_level > PSGD_LOG_DEBUG)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.log_level is %d; it must be PSGD_LOG_OFF to PSGD_LOG_DEBUG",
                         (int)config->log_level);
    }
    return PSGD_OK;
}

psgd_status_t psgd_read_config(const psgd_config_t *given, psgd_config_t *config_p)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_status_t status;

    if (given != NULL) {
        status = psgd_copy_struct(given, FIRST_CONFIG_BYTES, "config", "PSGD_CONFIG_INIT", &config, sizeof(config));
        if (status != PSGD_OK) {
            return status;
        }
    }
    status = check_config(&config);
    if (status != PSGD_OK) {
        return status;
    }
    *config_p = config;
    return PSGD_OK;
}

/* Sizes are compared before a tensor is read: a longer one may reach beyond the array. */
psgd_status_t psgd_read_tensors(const psgd_tensor_t *given, size_t num_tensors, psgd_tensor_t **tensors_p)
{
    const unsigned char *next    = (const unsigned char *)given;
    psgd_tensor_t       *tensors = NULL;
    psgd_status_t        status;

    if ((given == NULL) || (num_tensors == 0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_create: there are no tensors (tensors is %s, num_tensors %zu)",
                         given == NULL ? "NULL" : "given", num_tensors);
    }
    status = psgd_alloc(num_tensors, sizeof(*tensors), "the list of tensors", &tensors);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < num_tensors; ++i) {
        psgd_tensor_t blank = PSGD_TENSOR_INIT;

        tensors[i] = blank;
        status     = check_size(next, FIRST_TENSOR_BYTES, "a tensor", "PSGD_TENSOR_INIT", sizeof(*tensors));
        if ((status == PSGD_OK) && (size_of(next) != given->struct_size)) {
            status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the tensors have different struct_size");
        }
        if (status == PSGD_OK) {
            status = psgd_copy_struct(next, FIRST_TENSOR_BYTES, "a tensor", "PSGD_TENSOR_INIT", &tensors[i],
                                      sizeof(*tensors));
        }
        if (status != PSGD_OK) {
            psgd_free(tensors);
            return psgd_fail_in(status, "tensor %zu", i);
        }
        next += given->struct_size;
    }
    *tensors_p = tensors;
    return PSGD_OK;
}

/* The first of its required members that is NULL; NULL where none is. */
static const char *missing_member(const psgd_comm_t *comm)
{
    if (comm->name == NULL) {
        return "its name";
    }
    if (comm->begin_all_reduce == NULL) {
        return "begin_all_reduce";
    }
    if (comm->test == NULL) {
        return "test";
    }
    return comm->abort == NULL ? "abort" : NULL;
}

psgd_status_t psgd_check_comm(const psgd_comm_t *comm)
{
    if (comm == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "comm is NULL; pass psgd_comm_self_create()'s for one worker alone");
    }
    if (comm->struct_size != sizeof(*comm)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "comm has struct_size %zu, this version of libpsgd needs %zu; set it to "
                         "sizeof(psgd_comm_t)", comm->struct_size, sizeof(*comm));
    }
    if (missing_member(comm) != NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "comm lacks %s; its name, begin_all_reduce, test and abort are required",
                         missing_member(comm));
    }
    if ((comm->num_workers == 0) || (comm->num_workers > PSGD_MAX_WORKERS) || (comm->worker_index >= comm->num_workers)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "comm has worker_index %u of num_workers %u; there are 1 to %d workers, "
                         "numbered from 0", comm->worker_index, comm->num_workers, PSGD_MAX_WORKERS);
    }
    return PSGD_OK;
}

psgd_status_t psgd_check_idle(psgd_reducer_t *reducer, const char *function)
{
    if (reducer == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: reducer is NULL", function);
    }
    if (reducer->step.is_open) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "%s: a step was begun or submitted, and psgd_reducer_wait() has not ended it", function);
    }
    psgd_reducer_settle(reducer);
    return PSGD_OK;
}
