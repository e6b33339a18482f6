#include "plan/plan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"

/* Offsets in bytes of anything in the plan stay below 2^63. */
static const uint64_t MAX_TENSOR_ELEMS = (UINT64_C(1) << 40) - 1;
static const uint64_t MAX_TOTAL_ELEMS  = UINT64_C(1) << 48;

/* Rows and columns of a compressed matrix are numbered by 32 bits in the random counters and the kernels' tables. */
static const uint64_t MAX_MATRIX_SIDE = UINT32_MAX;

bool psgd_plan_compresses(uint64_t rows, uint64_t cols, uint32_t r_eff, double min_compression_rate)
{
    return ((double)rows + (double)cols) * (double)r_eff * min_compression_rate < (double)rows * (double)cols;
}

static psgd_status_t check_options(const psgd_config_t *config)
{
    if ((config->rank == 0) || (config->rank > PSGD_MAX_RANK)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.rank is %u; it must be from 1 to %d", config->rank,
                         PSGD_MAX_RANK);
    }
    if (config->half_iterations > PSGD_MAX_HALF_ITERATIONS) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "config.half_iterations is %u; it must be 0 (full iterations) to %d", config->half_iterations,
                         PSGD_MAX_HALF_ITERATIONS);
    }
    if (!isfinite(config->min_compression_rate) || (config->min_compression_rate < 0.0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "config.min_compression_rate is %g; it must be finite and not negative",
                         config->min_compression_rate);
    }
    return PSGD_OK;
}

/* The product of the dims, below 2^40; rows = dims[0], cols = the rest. */
static psgd_status_t matricize(const psgd_tensor_t *tensor, size_t index, psgd_plan_tensor_t *planned)
{
    uint64_t elems = 1;

    if ((tensor->num_dims == 0) || (tensor->num_dims > PSGD_MAX_DIMS)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu '%s' has %u dimensions; it must have 1 to %d", index,
                         tensor->name, tensor->num_dims, PSGD_MAX_DIMS);
    }
    for (uint32_t d = 0; d < tensor->num_dims; ++d) {
        if (tensor->dims[d] == 0) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu '%s': dims[%u] is 0; leave empty tensors out", index,
                             tensor->name, d);
        }
        if (tensor->dims[d] > MAX_TENSOR_ELEMS / elems) {
            return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu '%s': the product of its dims reaches 2^40 elements",
                             index, tensor->name);
        }
        elems *= tensor->dims[d];
    }
    memcpy(planned->dims, tensor->dims, tensor->num_dims * sizeof(tensor->dims[0]));
    planned->num_dims = tensor->num_dims;
    planned->dtype    = tensor->dtype;
    planned->elems    = elems;
    planned->rows     = tensor->dims[0];
    planned->cols     = elems / tensor->dims[0];
    return PSGD_OK;
}

/* r_eff = min(rank, rows, cols), or 0 where the tensor is not to be compressed. */
static uint32_t effective_rank(const psgd_tensor_t *tensor, const psgd_plan_tensor_t *planned,
                               const psgd_config_t *config)
{
    uint64_t r = tensor->rank > 0 ? (uint64_t)tensor->rank : config->rank;

    if ((tensor->rank == PSGD_NEVER_COMPRESS) || (planned->num_dims < 2)) {
        return 0;
    }
    r = r < planned->rows ? r : planned->rows;
    r = r < planned->cols ? r : planned->cols;
    return psgd_plan_compresses(planned->rows, planned->cols, (uint32_t)r, config->min_compression_rate) ? (uint32_t)r : 0;
}

static void add_matrix(psgd_plan_t *plan, size_t tensor_index, uint32_t r)
{
    psgd_plan_tensor_t *tensor = &plan->tensors[tensor_index];
    psgd_plan_matrix_t *matrix = &plan->matrices[plan->num_matrices];

    matrix->tensor_index   = tensor_index;
    matrix->name           = tensor->name;
    matrix->name_hash      = tensor->name_hash;
    matrix->rows           = tensor->rows;
    matrix->cols           = tensor->cols;
    matrix->r              = r;
    matrix->p_offset_elems = plan->p_elems;
    matrix->q_offset_elems = plan->q_elems;
    tensor->route          = PSGD_ROUTE_COMPRESSED;
    tensor->matrix_index   = plan->num_matrices;
    plan->num_matrices += 1;
    plan->p_elems += tensor->rows * r;
    plan->q_elems += tensor->cols * r;
    plan->matrix_elems += tensor->elems;
}

static void add_uncompressed(psgd_plan_t *plan, psgd_plan_tensor_t *tensor)
{
    bool      is_small = tensor->elems <= PSGD_SMALL_TENSOR_BYTES / sizeof(float);
    uint64_t *end      = is_small ? &plan->small_elems : &plan->large_elems;

    tensor->route        = is_small ? PSGD_ROUTE_SMALL : PSGD_ROUTE_LARGE;
    tensor->offset_elems = *end;
    *end += tensor->elems;
}

static psgd_status_t check_tensor(const psgd_tensor_t *tensor, size_t index)
{
    if ((tensor->name == NULL) || (tensor->name[0] == '\0')) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu has no name; names are what the state is keyed by", index);
    }
    if (tensor->dtype != PSGD_F32) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "tensor %zu '%s' has dtype %d; only PSGD_F32 is supported", index,
                         tensor->name, (int)tensor->dtype);
    }
    if ((tensor->rank < PSGD_NEVER_COMPRESS) || (tensor->rank > PSGD_MAX_RANK)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensor %zu '%s' has rank %d; it must be 1 to %d, 0 (the configuration's) or PSGD_NEVER_COMPRESS",
                         index, tensor->name, tensor->rank, PSGD_MAX_RANK);
    }
    return PSGD_OK;
}

static psgd_status_t add_tensor(psgd_plan_t *plan, const psgd_tensor_t *tensor, size_t index,
                                const psgd_config_t *config)
{
    psgd_plan_tensor_t *planned = &plan->tensors[index];
    psgd_status_t       status;
    uint32_t            r;

    status = check_tensor(tensor, index);
    if (status != PSGD_OK) {
        return status;
    }
    status = matricize(tensor, index, planned);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_copy_string(tensor->name, "a tensor's name", &planned->name);
    if (status != PSGD_OK) {
        return status;
    }
    planned->name_hash = psgd_hash_string(0, tensor->name);
    plan->total_elems += planned->elems;
    if (planned->elems > plan->max_tensor_elems) {
        plan->max_tensor_elems = planned->elems;
    }
    if (plan->total_elems > MAX_TOTAL_ELEMS) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the tensors up to '%s' hold more than 2^48 elements", tensor->name);
    }
    r = effective_rank(tensor, planned, config);
    if (r == 0) {
        add_uncompressed(plan, planned);
        return PSGD_OK;
    }
    if ((uint64_t)r * config->half_iterations > PSGD_MAX_RANK) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensor %zu '%s': rank %u times config.half_iterations %u is more than %d", index,
                         tensor->name, r, config->half_iterations, PSGD_MAX_RANK);
    }
    if ((planned->rows > MAX_MATRIX_SIDE) || (planned->cols > MAX_MATRIX_SIDE)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "tensor %zu '%s': a matrix of %" PRIu64 " x %" PRIu64
                         " has a side of 2^32 or more; give it PSGD_NEVER_COMPRESS", index, tensor->name, planned->rows,
                         planned->cols);
    }
    add_matrix(plan, index, r);
    return PSGD_OK;
}

/* State is keyed by name and random numbers by the name's hash, so both are unique. */
static psgd_status_t check_names_are_unique(const psgd_plan_t *plan)
{
    for (size_t i = 0; i < plan->num_tensors; ++i) {
        for (size_t k = i + 1; k < plan->num_tensors; ++k) {
            if (plan->tensors[i].name_hash == plan->tensors[k].name_hash) {
                return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensors %zu '%s' and %zu '%s' have the same name, or names with the "
                                 "same hash; names must be unique", i, plan->tensors[i].name, k, plan->tensors[k].name);
            }
        }
    }
    return PSGD_OK;
}

psgd_status_t psgd_plan_create(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config,
                               psgd_plan_t **plan_p)
{
    psgd_plan_t  *plan = NULL;
    psgd_status_t status;

    status = check_options(config);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(1, sizeof(*plan), "the plan", &plan);
    if (status != PSGD_OK) {
        return status;
    }
    plan->num_tensors = num_tensors;
    status            = psgd_alloc(num_tensors, sizeof(*plan->tensors), "the plan's tensors", &plan->tensors);
    if (status != PSGD_OK) {
        goto destroy_plan;
    }
    status = psgd_alloc(num_tensors, sizeof(*plan->matrices), "the plan's matrices", &plan->matrices);
    if (status != PSGD_OK) {
        goto destroy_plan;
    }
    for (size_t i = 0; i < num_tensors; ++i) {
        status = add_tensor(plan, &tensors[i], i, config);
        if (status != PSGD_OK) {
            goto destroy_plan;
        }
    }
    status = check_names_are_unique(plan);
    if (status != PSGD_OK) {
        goto destroy_plan;
    }
    plan->compressed_elems = plan->p_elems + plan->q_elems + plan->small_elems + plan->large_elems;
    *plan_p                = plan;
    return PSGD_OK;

destroy_plan:
    psgd_plan_destroy(plan);
    return status;
}

void psgd_plan_destroy(psgd_plan_t *plan)
{
    if (plan == NULL) {
        return;
    }
    for (size_t i = 0; (plan->tensors != NULL) && (i < plan->num_tensors); ++i) {
        psgd_free(plan->tensors[i].name);
    }
    psgd_free(plan->matrices);
    psgd_free(plan->tensors);
    psgd_free(plan);
}

const psgd_plan_tensor_t *psgd_plan_find(const psgd_plan_t *plan, const char *name)
{
    for (size_t i = 0; i < plan->num_tensors; ++i) {
        if (strcmp(plan->tensors[i].name, name) == 0) {
            return &plan->tensors[i];
        }
    }
    return NULL;
}
