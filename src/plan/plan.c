#include "plan/plan.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/arith.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "plan/budget.h"
#include "plan/matrix_view.h"

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

/* The product of the dims, below 2^40. */
static psgd_status_t read_dims(const psgd_tensor_t *tensor, size_t index, psgd_plan_tensor_t *planned)
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
    return PSGD_OK;
}

/* The matrices of the tensor: those of its view, or dims[0] by the rest. */
static psgd_status_t matricize(const psgd_tensor_t *tensor, size_t index, const psgd_config_t *config,
                               psgd_plan_tensor_t *planned)
{
    psgd_status_t status;

    if (psgd_matrix_view_is_default(&tensor->view) || config->flatten) {
        planned->view = psgd_matrix_view_of_matrix(tensor->dims[0], planned->elems / tensor->dims[0]);
        return PSGD_OK;
    }
    status = psgd_matrix_view_check(&tensor->view, planned->elems);
    if (status != PSGD_OK) {
        return psgd_fail_in(status, "tensor %zu '%s'", index, tensor->name);
    }
    planned->view = tensor->view;
    return PSGD_OK;
}

/* r_eff = min(rank, rows, cols), or 0 where such matrices are not worth compressing. */
static uint32_t rank_of_matrices(const psgd_matrix_view_t *view, uint64_t rank, const psgd_config_t *config)
{
    uint64_t r = psgd_min(rank, psgd_min(view->rows, view->cols));

    return psgd_plan_compresses(view->rows, view->cols, (uint32_t)r, config->min_compression_rate) ? (uint32_t)r : 0;
}

/* r_eff, or 0 where the tensor is not to be compressed. With a budget the least that it gets. */
static uint32_t effective_rank(const psgd_tensor_t *tensor, const psgd_plan_tensor_t *planned,
                               const psgd_config_t *config)
{
    bool     is_vector = (planned->num_dims < 2) && psgd_matrix_view_is_default(&tensor->view);
    uint64_t rank      = config->byte_budget > 0 ? 1 : config->rank;

    if ((tensor->rank == PSGD_NEVER_COMPRESS) || is_vector) {
        return 0;
    }
    return rank_of_matrices(&planned->view, tensor->rank > 0 ? (uint64_t)tensor->rank : rank, config);
}

/* ---- a budget ---- */

/* The largest rank up to `most` that is worth it, at least 1, which is. */
static uint32_t largest_rank(const psgd_matrix_view_t *view, uint32_t most, const psgd_config_t *config)
{
    uint64_t r = psgd_min(most, psgd_min(view->rows, view->cols));

    if (config->half_iterations > 0) {
        r = psgd_min(r, PSGD_MAX_RANK / config->half_iterations);
    }
    while ((r > 1) && (rank_of_matrices(view, r, config) == 0)) {
        r -= 1;
    }
    return (uint32_t)r;
}

/* What one column of a matrix's factors takes to send in a step: psgd_stats_t.bytes_last_step counts like that. */
static double column_bytes(const psgd_matrix_view_t *view, const psgd_config_t *config)
{
    const bool   is_narrow = config->wire != PSGD_F32;
    const double p_bytes   = is_narrow ? 3.0 : 4.0; /* an element: 2 there and 4 back, the half of it */
    const double q_bytes   = is_narrow ? 2.0 : 4.0;
    const double rows = (double)view->rows, cols = (double)view->cols;

    if (config->half_iterations > 0) { /* half of the factors each time */
        return (double)view->batch * (rows + cols) * p_bytes * config->half_iterations / 2.0;
    }
    return (double)view->batch * (rows * p_bytes + cols * q_bytes);
}

/* From 1 up; one that the caller has given stays as it is. */
static psgd_budget_item_t budget_item(const psgd_matrix_view_t *view, uint32_t given, const psgd_config_t *config)
{
    psgd_budget_item_t item = {view->rows, view->cols, column_bytes(view, config), given, given};

    if (given == 0) {
        item.r     = 1;
        item.max_r = largest_rank(view, config->rank, config);
    }
    return item;
}

/* Ranks of the items, beside so many elements that travel as they are. */
static psgd_status_t spread_budget(psgd_budget_item_t *items, size_t num_items, uint64_t uncompressed_elems,
                                   const psgd_config_t *config)
{
    double least = 4.0 * (double)uncompressed_elems;

    for (size_t i = 0; i < num_items; ++i) {
        least += items[i].column_bytes * items[i].r;
    }
    if (least > (double)config->byte_budget) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "config.byte_budget is %" PRIu64 ", but a step sends at least %.0f bytes: %" PRIu64
                         " elements uncompressed, and factors of rank 1",
                         config->byte_budget, least, uncompressed_elems);
    }
    return psgd_budget_spread(items, num_items, (double)config->byte_budget - 4.0 * (double)uncompressed_elems);
}

/* The ranks of all tensors, compressed each for itself. */
static psgd_status_t spread_over_tensors(psgd_plan_t *plan, const psgd_tensor_t *tensors, const psgd_config_t *config)
{
    psgd_budget_item_t *items        = NULL;
    uint64_t            uncompressed = 0;
    size_t              n            = 0;
    psgd_status_t       status       = psgd_alloc(plan->num_given, sizeof(*items), "the budget of tensors", &items);

    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < plan->num_given; ++i) {
        const psgd_plan_tensor_t *planned = &plan->tensors[i];

        if (planned->r > 0) {
            items[n++] = budget_item(&planned->view, tensors[i].rank > 0 ? planned->r : 0, config);
        } else {
            uncompressed += planned->elems;
        }
    }
    status = spread_budget(items, n, uncompressed, config);
    for (size_t i = plan->num_given; (status == PSGD_OK) && (i > 0); --i) {
        if (plan->tensors[i - 1].r > 0) {
            plan->tensors[i - 1].r = items[--n].r;
        }
    }
    psgd_free(items);
    return status;
}

/* ---- matrices and vectors ---- */

/* The random numbers of a batch's first matrix are those of a tensor that holds it alone. */
static uint64_t hash_of_matrix(const psgd_plan_tensor_t *tensor, uint64_t b)
{
    return b == 0 ? tensor->name_hash : psgd_hash_u64(tensor->name_hash, b);
}

static void add_matrices(psgd_plan_t *plan, size_t tensor_index)
{
    psgd_plan_tensor_t       *tensor = &plan->tensors[tensor_index];
    const psgd_matrix_view_t *view   = &tensor->view;
    const uint32_t            r      = tensor->r;

    tensor->route        = PSGD_ROUTE_COMPRESSED;
    tensor->matrix_index = plan->num_matrices;
    for (uint64_t b = 0; b < view->batch; ++b) {
        plan->matrices[plan->num_matrices] = (psgd_plan_matrix_t){.tensor_index      = tensor_index,
                                                                  .grad_offset_elems = b * view->rows * view->cols,
                                                                  .name              = tensor->name,
                                                                  .name_hash         = hash_of_matrix(tensor, b),
                                                                  .rows              = view->rows,
                                                                  .cols              = view->cols,
                                                                  .r                 = r,
                                                                  .p_offset_elems    = plan->p_elems,
                                                                  .q_offset_elems    = plan->q_elems};
        plan->num_matrices += 1;
        plan->p_elems += view->rows * r;
        plan->q_elems += view->cols * r;
    }
    plan->matrix_elems += tensor->elems;
}

static void add_uncompressed(psgd_plan_t *plan, psgd_plan_tensor_t *tensor)
{
    bool      is_small = tensor->elems <= PSGD_SMALL_TENSOR_BYTES / sizeof(float);
    uint64_t *end      = is_small ? &plan->small_elems : &plan->large_elems;
    bool      is_vector = tensor->num_dims < 2;

    tensor->view = psgd_matrix_view_of_matrix(is_vector ? tensor->elems : tensor->dims[0],
                                              is_vector ? 1 : tensor->elems / tensor->dims[0]);
    tensor->route        = is_small ? PSGD_ROUTE_SMALL : PSGD_ROUTE_LARGE;
    tensor->offset_elems = *end;
    *end += tensor->elems;
}

static psgd_status_t check_tensor(const psgd_tensor_t *tensor, size_t index)
{
    if ((tensor->name == NULL) || (tensor->name[0] == '\0')) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor %zu has no name; names are what the state is keyed by", index);
    }
    if ((tensor->dtype < PSGD_F32) || (tensor->dtype > PSGD_BF16)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "tensor %zu '%s' has dtype %d; it must be PSGD_F32, PSGD_F16 or PSGD_BF16", index,
                         tensor->name, (int)tensor->dtype);
    }
    if ((tensor->rank < PSGD_NEVER_COMPRESS) || (tensor->rank > PSGD_MAX_RANK)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensor %zu '%s' has rank %d; it must be 1 to %d, 0 (the configuration's) or PSGD_NEVER_COMPRESS",
                         index, tensor->name, tensor->rank, PSGD_MAX_RANK);
    }
    return PSGD_OK;
}

/* What the kernels' tables and the random counters can number. */
static psgd_status_t check_matrices(const psgd_plan_tensor_t *planned, const psgd_config_t *config)
{
    if ((uint64_t)planned->r * config->half_iterations > PSGD_MAX_RANK) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensor '%s': rank %u times config.half_iterations %u is more than %d", planned->name,
                         planned->r, config->half_iterations, PSGD_MAX_RANK);
    }
    if ((planned->view.rows > MAX_MATRIX_SIDE) || (planned->view.cols > MAX_MATRIX_SIDE)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "tensor '%s': a matrix of %" PRIu64 " x %" PRIu64
                         " has a side of 2^32 or more; give it PSGD_NEVER_COMPRESS",
                         planned->name, planned->view.rows, planned->view.cols);
    }
    return PSGD_OK;
}

/* As one tensor, for what is known before it is decided how it travels. */
static psgd_status_t describe_tensor(psgd_plan_t *plan, const psgd_tensor_t *tensor, size_t index,
                                     const psgd_config_t *config)
{
    psgd_plan_tensor_t *planned = &plan->tensors[index];
    psgd_status_t       status;

    status = check_tensor(tensor, index);
    if (status != PSGD_OK) {
        return status;
    }
    status = read_dims(tensor, index, planned);
    if (status != PSGD_OK) {
        return status;
    }
    status = matricize(tensor, index, config, planned);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_copy_string(tensor->name, "a tensor's name", &planned->name);
    if (status != PSGD_OK) {
        return status;
    }
    planned->name_hash = psgd_hash_string(0, tensor->name);
    plan->total_elems += planned->elems;
    if (plan->total_elems > MAX_TOTAL_ELEMS) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "the tensors up to '%s' hold more than 2^48 elements", tensor->name);
    }
    return PSGD_OK;
}

/* A copy is made tensor by tensor, a row of it, or of its matrices, at a time. */
static psgd_status_t mark_copied(psgd_plan_tensor_t *planned)
{
    planned->is_reshaped =
        (planned->route == PSGD_ROUTE_FLATTENED) ||
        ((planned->route == PSGD_ROUTE_COMPRESSED) && !psgd_matrix_view_is_contiguous(&planned->view));
    planned->is_copied = planned->is_reshaped || (planned->dtype != PSGD_F32);
    if (planned->is_copied && (planned->elems > UINT32_MAX)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "tensor '%s' has %" PRIu64 " elements: a gradient in 16 bits, of a view that is not "
                         "contiguous or of a flattened gradient has fewer than 2^32",
                         planned->name, planned->elems);
    }
    return PSGD_OK;
}

static psgd_status_t route_tensor(psgd_plan_t *plan, size_t index, const psgd_config_t *config)
{
    psgd_plan_tensor_t *planned = &plan->tensors[index];
    psgd_status_t       status;

    if (planned->r == 0) {
        add_uncompressed(plan, planned);
    } else {
        status = check_matrices(planned, config);
        if (status != PSGD_OK) {
            return status;
        }
        if (config->orthogonalize_shorter && (planned->view.rows > planned->view.cols)) {
            planned->view          = psgd_matrix_view_transposed(&planned->view);
            planned->is_transposed = true;
        }
        add_matrices(plan, index);
    }
    return mark_copied(planned);
}

/* ---- the flattened gradient ---- */

static bool is_flattened(const psgd_tensor_t *tensor)
{
    return tensor->rank != PSGD_NEVER_COMPRESS;
}

/* The side of the smallest square that holds so many elements: up to 2^48, of which a double's root is exact enough to be cut. */
static uint64_t side_of_square(uint64_t elems)
{
    uint64_t side = (uint64_t)sqrt((double)elems);

    return side * side < elems ? side + 1 : side;
}

/* The tensor behind the caller's, whose matrix is all of theirs. */
static psgd_status_t add_flat_tensor(psgd_plan_t *plan, uint64_t side, uint32_t r, const psgd_config_t *config)
{
    psgd_plan_tensor_t *flat = &plan->tensors[plan->num_given];
    psgd_status_t       status;

    status = psgd_copy_string(PSGD_FLATTENED_NAME, "a tensor's name", &flat->name);
    if (status != PSGD_OK) {
        return status;
    }
    flat->name_hash = psgd_hash_string(0, flat->name);
    flat->dims[0] = flat->dims[1] = side;
    flat->num_dims                = 2;
    flat->elems                   = side * side;
    flat->view                    = psgd_matrix_view_of_matrix(side, side);
    flat->r                       = r;
    plan->num_tensors             = plan->num_given + 1;
    add_matrices(plan, plan->num_given);
    return check_matrices(flat, config);
}

static psgd_status_t check_flattened(const psgd_tensor_t *tensor, size_t index)
{
    if (tensor->rank > 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "tensor %zu '%s' has rank %d; with config.flatten it must be 0 (the configuration's) or "
                         "PSGD_NEVER_COMPRESS",
                         index, tensor->name, tensor->rank);
    }
    return PSGD_OK;
}

/* Its rank, beside tensors that travel as they are; 0: it is not worth compressing. */
static psgd_status_t rank_of_square(uint64_t side, uint64_t uncompressed_elems, const psgd_config_t *config,
                                    uint32_t *r_p)
{
    const psgd_matrix_view_t square = psgd_matrix_view_of_matrix(side, side);
    const uint64_t           rank   = config->byte_budget > 0 ? 1 : config->rank;
    uint32_t                 r      = side == 0 ? 0 : rank_of_matrices(&square, rank, config);
    psgd_status_t            status = PSGD_OK;

    if ((r > 0) && (config->byte_budget > 0)) {
        psgd_budget_item_t item = budget_item(&square, 0, config);

        status = spread_budget(&item, 1, uncompressed_elems, config);
        r      = item.r;
    }
    *r_p = r;
    return status;
}

/* All tensors but those that are never compressed, one behind the other. */
static psgd_status_t flatten(psgd_plan_t *plan, const psgd_tensor_t *tensors, const psgd_config_t *config)
{
    uint64_t      elems  = 0;
    psgd_status_t status = PSGD_OK;
    uint32_t      r      = 0;

    for (size_t i = 0; (status == PSGD_OK) && (i < plan->num_given); ++i) {
        if (is_flattened(&tensors[i])) {
            plan->tensors[i].offset_elems = elems;
            elems += plan->tensors[i].elems;
            status = check_flattened(&tensors[i], i);
        }
    }
    if (status == PSGD_OK) {
        status = rank_of_square(side_of_square(elems), plan->total_elems - elems, config, &r);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < plan->num_given); ++i) {
        psgd_plan_tensor_t *planned = &plan->tensors[i];

        if ((r > 0) && is_flattened(&tensors[i])) {
            planned->route = PSGD_ROUTE_FLATTENED; /* matrix 0 is the only one */
            plan->flattened_elems += planned->elems;
        } else {
            add_uncompressed(plan, planned);
        }
        status = mark_copied(planned);
    }
    return (status == PSGD_OK) && (r > 0) ? add_flat_tensor(plan, side_of_square(elems), r, config) : status;
}

/* ---- all of it ---- */

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

/* Room for the matrices of all tensors. */
static psgd_status_t allocate_matrices(psgd_plan_t *plan)
{
    uint64_t count = 1;

    for (size_t i = 0; i < plan->num_given; ++i) {
        count += plan->tensors[i].view.batch;
    }
    if (count > UINT32_MAX) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "the tensors hold %" PRIu64 " matrices; there may be 2^32 - 1", count);
    }
    return psgd_alloc((size_t)count, sizeof(*plan->matrices), "the plan's matrices", &plan->matrices);
}

static psgd_status_t route_all(psgd_plan_t *plan, const psgd_tensor_t *tensors, const psgd_config_t *config)
{
    psgd_status_t status = PSGD_OK;

    if (config->flatten) {
        return flatten(plan, tensors, config);
    }
    for (size_t i = 0; i < plan->num_given; ++i) {
        plan->tensors[i].r = effective_rank(&tensors[i], &plan->tensors[i], config);
    }
    if (config->byte_budget > 0) {
        status = spread_over_tensors(plan, tensors, config);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < plan->num_given); ++i) {
        status = route_tensor(plan, i, config);
    }
    return status;
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
    plan->num_given = plan->num_tensors = num_tensors;
    status = psgd_alloc(num_tensors + 1, sizeof(*plan->tensors), "the plan's tensors", &plan->tensors);
    if (status != PSGD_OK) {
        goto destroy_plan;
    }
    for (size_t i = 0; i < num_tensors; ++i) {
        status = describe_tensor(plan, &tensors[i], i, config);
        if (status != PSGD_OK) {
            goto destroy_plan;
        }
    }
    status = allocate_matrices(plan);
    if (status != PSGD_OK) {
        goto destroy_plan;
    }
    status = route_all(plan, tensors, config);
    if (status != PSGD_OK) {
        goto destroy_plan;
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
    for (size_t i = 0; (plan->tensors != NULL) && (i <= plan->num_given); ++i) {
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

bool psgd_plan_tensor_is_compressed(const psgd_plan_tensor_t *tensor)
{
    return (tensor->route == PSGD_ROUTE_COMPRESSED) || (tensor->route == PSGD_ROUTE_FLATTENED);
}

bool psgd_plan_has_reshaped(const psgd_plan_t *plan)
{
    for (size_t i = 0; i < plan->num_given; ++i) {
        if (plan->tensors[i].is_reshaped) {
            return true;
        }
    }
    return false;
}

bool psgd_plan_has_copied(const psgd_plan_t *plan)
{
    for (size_t i = 0; i < plan->num_given; ++i) {
        if (plan->tensors[i].is_copied) {
            return true;
        }
    }
    return false;
}

size_t psgd_dtype_bytes(psgd_dtype_t dtype)
{
    return dtype == PSGD_F32 ? 4 : 2;
}
