/* A reducer's state, out and in. In memory a factor lies as r x cols (a column of Q is contiguous); a state holds it cols x r,
 * row-major, as users write it. */
#include <inttypes.h>
#include <string.h>

#include "base/half.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/alternate.h"
#include "core/exchange.h"
#include "core/phases.h"
#include "core/state.h"
#include "core/traffic.h"
#include "plan/matrix_view.h"

/* ---- export ---------------------------------------------------------------------------------------------------- */

static void transpose(const float *from, size_t rows, size_t cols, float *to)
{
    for (size_t i = 0; i < rows; ++i) {
        for (size_t k = 0; k < cols; ++k) {
            to[k * rows + i] = from[i * cols + k];
        }
    }
}

/* The factor of a matrix that the next step starts from: Q; or P, before a half-iteration that computes Q. */
static uint64_t factor_length(const psgd_plan_matrix_t *matrix, bool is_p)
{
    return is_p ? matrix->rows : matrix->cols;
}

static float *factor_of(psgd_reducer_t *r, const psgd_plan_matrix_t *matrix)
{
    return r->factor + (psgd_reducer_starts_from_p(r) ? matrix->p_offset_elems : matrix->q_offset_elems);
}

/* Whether state is kept under this tensor's name: that of a flattened one is its matrix's. */
static bool has_matrices(const psgd_plan_tensor_t *tensor)
{
    return tensor->route == PSGD_ROUTE_COMPRESSED;
}

/* The factors of a tensor's matrices, unless the next step draws its own. */
static psgd_status_t export_factor(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, psgd_state_t *state)
{
    const psgd_plan_matrix_t *first  = &r->plan->matrices[tensor->matrix_index];
    size_t                    length = (size_t)factor_length(first, psgd_reducer_starts_from_p(r));
    size_t                    batch  = (size_t)tensor->view.batch;
    float                    *factor = NULL;
    psgd_status_t             status;

    if (!r->config.warm_start && !r->is_imported[tensor->matrix_index]) {
        return PSGD_OK;
    }
    status = psgd_alloc(batch * length * first->r, sizeof(*factor), "a factor", &factor);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t b = 0; b < batch; ++b) {
        transpose(factor_of(r, &first[b]), first->r, length, factor + b * length * first->r);
    }
    status = psgd_state_set_factor(state, tensor->name, batch * length, first->r, factor);
    psgd_free(factor);
    return status;
}

static psgd_status_t export_factors(psgd_reducer_t *r, psgd_state_t *state)
{
    for (size_t i = 0; i < r->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];
        psgd_status_t             status = has_matrices(tensor) ? export_factor(r, tensor, state) : PSGD_OK;

        if (status != PSGD_OK) {
            return status;
        }
    }
    state->half_iterations = r->half_iterations_done;
    return psgd_state_set_step(state, r->step_number, r->config.seed);
}

static uint64_t matrix_elems(const psgd_plan_t *plan, size_t index)
{
    return plan->matrices[index].rows * plan->matrices[index].cols;
}

/* Those in 16 bits, a matrix at a time, by way of `halves`, which has room for all. */
static psgd_status_t read_halves(psgd_reducer_t *r, uint16_t *halves, float *errors)
{
    size_t        at     = 0;
    psgd_status_t status = PSGD_OK;

    for (size_t m = 0; (status == PSGD_OK) && (m < r->plan->num_matrices); ++m) {
        size_t elems = (size_t)matrix_elems(r->plan, m);

        status = psgd_buffer_enqueue_read(r->device, r->errors[m], halves + at, elems * sizeof(*halves));
        at += elems;
    }
    status = psgd_device_settle(r->device, status, "the export of the error memory");
    if (status == PSGD_OK) {
        psgd_bfloat_decode(halves, at, errors);
    }
    return status;
}

static psgd_status_t read_half_errors(psgd_reducer_t *r, float *errors)
{
    uint16_t     *halves = NULL;
    psgd_status_t status =
        psgd_alloc((size_t)r->plan->matrix_elems, sizeof(*halves), "the error memory in 16 bits", &halves);

    if (status == PSGD_OK) {
        status = read_halves(r, halves, errors);
    }
    psgd_device_free_host(r->device, halves);
    return status;
}

/* All error memories of this worker, one behind the other. */
static psgd_status_t read_errors(psgd_reducer_t *r, float *errors)
{
    psgd_status_t status = psgd_reducer_settle_errors(r);

    if (status != PSGD_OK) {
        return status;
    }
    if (r->half_errors != NULL) {
        return read_half_errors(r, errors);
    }
    status = psgd_traffic_enqueue_span(r, r->errors, r->plan->num_matrices, matrix_elems, 0, r->plan->matrix_elems, errors,
                                       false);
    return psgd_device_settle(r->device, status, "the export of the error memory");
}

/* Calls move(an element of the tensor, the same in its matrices, one behind the other) for all of them. */
static void for_each_element(const psgd_plan_tensor_t *tensor, float *in_tensor, float *in_matrices,
                             void (*move)(float *, float *))
{
    const psgd_matrix_view_t *view = &tensor->view;

    for (uint64_t b = 0; b < view->batch; ++b) {
        for (uint64_t i = 0; i < view->rows; ++i) {
            for (uint64_t j = 0; j < view->cols; ++j) {
                move(in_tensor + psgd_matrix_view_element(view, b, i, j), in_matrices++);
            }
        }
    }
}

static void to_tensor(float *in_tensor, float *in_matrix)
{
    *in_tensor = *in_matrix;
}

static void to_matrix(float *in_tensor, float *in_matrix)
{
    *in_matrix = *in_tensor;
}

/* A state holds an error memory with the shape of its tensor. */
static psgd_status_t set_error(const psgd_plan_tensor_t *tensor, float *in_matrices, psgd_state_t *state)
{
    float        *error = NULL;
    psgd_status_t status;

    if (!tensor->is_reshaped) {
        return psgd_state_set_error(state, tensor->name, tensor->elems, in_matrices);
    }
    status = psgd_alloc((size_t)tensor->elems, sizeof(*error), "an error memory", &error);
    if (status != PSGD_OK) {
        return status;
    }
    for_each_element(tensor, error, in_matrices, to_tensor);
    status = psgd_state_set_error(state, tensor->name, tensor->elems, error);
    psgd_free(error);
    return status;
}

static psgd_status_t set_errors(const psgd_reducer_t *r, float *errors, psgd_state_t *state)
{
    for (size_t i = 0; i < r->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];
        psgd_status_t             status = has_matrices(tensor) ? set_error(tensor, errors, state) : PSGD_OK;

        if (status != PSGD_OK) {
            return status;
        }
        errors += has_matrices(tensor) ? tensor->elems : 0;
    }
    return PSGD_OK;
}

/* errors := the mean over the workers, in bounded pieces with a vote each; every worker comes here, whatever failed. NULL: it was
 * memory that did. */
static void average_errors(psgd_reducer_t *r, float *errors)
{
    uint64_t bits        = psgd_reducer_hash_bits(r);
    uint64_t piece_elems = r->message_chunk.capacity_elems;
    float   *payload     = psgd_message_payload(&r->message_chunk);

    for (uint64_t begin = 0; (begin < r->plan->matrix_elems) && psgd_step_goes_on(r); begin += piece_elems) {
        uint64_t rest  = r->plan->matrix_elems - begin;
        uint64_t elems = rest < piece_elems ? rest : piece_elems;

        if (psgd_step_is_healthy(r) && (errors != NULL)) {
            memcpy(payload, errors + begin, elems * sizeof(float));
        }
        psgd_exchange_begin(r, &r->message_chunk, (size_t)elems, bits);
        if (psgd_step_goes_on(r)) {
            psgd_exchange_finish(r, &r->message_chunk, "the export of the mean error");
        }
        psgd_exchange_average(r, &r->message_chunk);
        if (psgd_step_is_healthy(r) && (errors != NULL)) {
            memcpy(errors + begin, payload, elems * sizeof(float));
        }
    }
}

/* A collective of its own, told and judged like a step. */
static psgd_status_t export_mean(psgd_reducer_t *r, psgd_status_t local, float *errors)
{
    memset(&r->step, 0, sizeof(r->step));
    psgd_step_note(r, local);
    average_errors(r, errors);
    r->stats.bytes_total += r->step.bytes;
    if (r->step.agreed != PSGD_OK) {
        return psgd_fail(r->step.agreed, "%s", r->step.sentence);
    }
    return r->step.local;
}

static psgd_status_t read_local_errors(psgd_reducer_t *r, float **errors_p)
{
    psgd_status_t status;

    if (r->plan->matrix_elems > SIZE_MAX / sizeof(float)) {
        return psgd_fail(PSGD_ERR_HOST_MEMORY, "the error memory is larger than this host can address");
    }
    status = psgd_alloc((size_t)r->plan->matrix_elems, sizeof(float), "the exported error memory", errors_p);
    if (status != PSGD_OK) {
        return status;
    }
    return read_errors(r, *errors_p);
}

/* The means take the place of this worker's own errors in the state, where there is room for them. */
static psgd_status_t put_means(const psgd_reducer_t *r, float *means, psgd_state_t *state)
{
    if (!psgd_message_is_finite(means, (size_t)r->plan->matrix_elems)) {
        return psgd_fail(PSGD_ERR_NONFINITE, "the mean of the workers' error memories overflows");
    }
    for (size_t i = 0; i < r->plan->num_tensors; ++i) {
        const psgd_plan_tensor_t *tensor = &r->plan->tensors[i];
        float                    *error;

        if (!has_matrices(tensor)) {
            continue;
        }
        error = psgd_state_find(state, tensor->name)->error;
        if (tensor->is_reshaped) {
            for_each_element(tensor, error, means, to_tensor);
        } else {
            memcpy(error, means, (size_t)tensor->elems * sizeof(*error));
        }
        means += tensor->elems;
    }
    return PSGD_OK;
}

/* Whatever can fail on one worker alone does so before the collective, and its votes tell the others. */
static psgd_status_t export_errors(psgd_reducer_t *r, psgd_error_form_t form, psgd_state_t *state, psgd_status_t local)
{
    float        *errors = NULL;
    psgd_status_t status = local;

    if ((form == PSGD_ERROR_NONE) || !r->config.error_feedback || (r->plan->num_matrices == 0)) {
        return local;
    }
    if (status == PSGD_OK) {
        status = read_local_errors(r, &errors);
    }
    if (status == PSGD_OK) {
        status = set_errors(r, errors, state);
    }
    if (form == PSGD_ERROR_MEAN) {
        status = export_mean(r, status, errors);
        status = (status == PSGD_OK) && (errors != NULL) ? put_means(r, errors, state) : status;
    }
    psgd_device_free_host(r->device, errors);
    return status;
}

psgd_status_t psgd_reducer_state_export(psgd_reducer_t *r, psgd_error_form_t form, psgd_state_t **state_p)
{
    psgd_state_t *state = NULL;
    psgd_status_t status;

    if (r->poison.is_told) {
        return psgd_reducer_check_poison(r);
    }
    status = psgd_reducer_check_poison(r);
    if (status == PSGD_OK) {
        status = psgd_state_create(&state);
    }
    if (status == PSGD_OK) {
        status = export_factors(r, state);
    }
    status = export_errors(r, form, state, status);
    if (status != PSGD_OK) {
        psgd_state_destroy(state);
        return status;
    }
    *state_p = state;
    return PSGD_OK;
}

/* ---- import ---------------------------------------------------------------------------------------------------- */

/* Half-iterations of a reducer after the import of a state. */
static uint64_t half_iterations_after(const psgd_reducer_t *r, const psgd_state_t *state)
{
    return state->has_step && (r->config.half_iterations > 0) ? state->half_iterations : r->half_iterations_done;
}

static bool starts_from_p_after(const psgd_reducer_t *r, const psgd_state_t *state)
{
    return (r->config.half_iterations > 0) && psgd_alternation_computes_q(half_iterations_after(r, state));
}

static psgd_status_t check_factor(const psgd_state_entry_t *entry, const psgd_plan_matrix_t *matrix, uint64_t batch,
                                  bool is_p)
{
    uint64_t length = batch * factor_length(matrix, is_p);

    if ((entry->rank != 0) && ((entry->cols != length) || (entry->rank != matrix->r))) {
        return psgd_fail(
            PSGD_ERR_STATE,
            "the state's factor of '%s' is %" PRIu64 " x %u, this reducer's is %" PRIu64
            " x %u (%s); was it saved with another rank or model, or after another number of half-iterations?",
            entry->name, entry->cols, entry->rank, length, matrix->r, is_p ? "a P" : "a Q");
    }
    return PSGD_OK;
}

static psgd_status_t check_error(const psgd_reducer_t *r, const psgd_state_entry_t *entry,
                                 const psgd_plan_tensor_t *tensor)
{
    if (entry->error_elems == 0) {
        return PSGD_OK;
    }
    if (!r->config.error_feedback) {
        return psgd_fail(PSGD_ERR_STATE, "the state holds an error memory of '%s', but this reducer has error feedback off",
                         entry->name);
    }
    if (entry->error_elems != tensor->elems) {
        return psgd_fail(PSGD_ERR_STATE, "the state's error of '%s' has %" PRIu64 " elements, the tensor has %" PRIu64,
                         entry->name, entry->error_elems, tensor->elems);
    }
    return PSGD_OK;
}

static psgd_status_t check_entry(const psgd_reducer_t *r, const psgd_state_t *state, const psgd_state_entry_t *entry)
{
    const psgd_plan_tensor_t *tensor = psgd_plan_find(r->plan, entry->name);
    psgd_status_t             status;

    if (tensor == NULL) {
        return psgd_fail(PSGD_ERR_STATE, "the state holds a tensor '%s' that this reducer does not have", entry->name);
    }
    if (!has_matrices(tensor)) {
        return psgd_fail(PSGD_ERR_STATE,
                         "the state holds a factor or error of '%s', which this reducer does not compress%s",
                         entry->name, tensor->route == PSGD_ROUTE_FLATTENED ? " by itself (config.flatten)" : "");
    }
    status = check_factor(entry, &r->plan->matrices[tensor->matrix_index], tensor->view.batch,
                          starts_from_p_after(r, state));
    if (status != PSGD_OK) {
        return status;
    }
    return check_error(r, entry, tensor);
}

psgd_status_t psgd_reducer_state_check(const psgd_reducer_t *r, const psgd_state_t *state)
{
    if (state->has_step && (state->seed != r->config.seed)) {
        return psgd_fail(PSGD_ERR_STATE, "the state was made with seed %" PRIu64 ", this reducer with seed %" PRIu64
                         "; create the reducer with the state's seed", state->seed, r->config.seed);
    }
    if (state->has_step && (state->half_iterations > 0) && (state->half_iterations % 2 == 0) &&
        (r->config.half_iterations == 0)) {
        return psgd_fail(PSGD_ERR_STATE,
                         "the state goes on from factors P, after %" PRIu64 " half-iterations; this reducer does "
                         "full iterations, which start from Q: create it with config.half_iterations",
                         state->half_iterations);
    }
    for (size_t i = 0; i < state->num_entries; ++i) {
        psgd_status_t status = check_entry(r, state, &state->entries[i]);

        if (status != PSGD_OK) {
            return status;
        }
    }
    return PSGD_OK;
}

/* To where the matrices' error memories lie, in elements of their size. Waits. */
static psgd_status_t write_elements(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, const char *elements)
{
    size_t        bytes  = (size_t)(tensor->view.rows * tensor->view.cols) * psgd_reducer_error_elem_bytes(r);
    psgd_status_t status = PSGD_OK;

    for (size_t b = 0; (status == PSGD_OK) && (b < tensor->view.batch); ++b) {
        status = psgd_buffer_enqueue_write(r->device, r->errors[tensor->matrix_index + b], elements + b * bytes, bytes);
    }
    return psgd_device_settle(r->device, status, "the import of the error memory");
}

static psgd_status_t write_matrices(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, const float *in_matrices)
{
    uint16_t     *halves = NULL;
    psgd_status_t status;

    if (r->half_errors == NULL) {
        return write_elements(r, tensor, (const char *)in_matrices);
    }
    status = psgd_alloc((size_t)tensor->elems, sizeof(*halves), "an error memory in 16 bits", &halves);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_bfloat_encode(in_matrices, (size_t)tensor->elems, halves);
    status = write_elements(r, tensor, (const char *)halves);
    psgd_device_free_host(r->device, halves);
    return status;
}

static psgd_status_t import_error(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, float *error)
{
    float        *in_matrices = NULL;
    psgd_status_t status;

    if (!tensor->is_reshaped) {
        return write_matrices(r, tensor, error);
    }
    status = psgd_alloc((size_t)tensor->elems, sizeof(*in_matrices), "an error memory", &in_matrices);
    if (status != PSGD_OK) {
        return status;
    }
    for_each_element(tensor, error, in_matrices, to_matrix);
    status = write_matrices(r, tensor, in_matrices);
    psgd_device_free_host(r->device, in_matrices);
    return status;
}

/* The device's part first: a failure here leaves error memories partly written, so it poisons. */
static psgd_status_t import_errors(psgd_reducer_t *r, const psgd_state_t *state)
{
    psgd_status_t status = psgd_reducer_settle_errors(r);

    for (size_t i = 0; (status == PSGD_OK) && (i < state->num_entries); ++i) {
        const psgd_state_entry_t *entry = &state->entries[i];

        if (entry->error_elems > 0) {
            status = import_error(r, psgd_plan_find(r->plan, entry->name), entry->error);
        }
    }
    if (status != PSGD_OK) {
        psgd_reducer_poison(r, status, false);
    }
    return status;
}

static void import_factor(psgd_reducer_t *r, const psgd_plan_tensor_t *tensor, const psgd_state_entry_t *entry)
{
    size_t length = (size_t)(entry->cols / tensor->view.batch);

    for (size_t b = 0; b < tensor->view.batch; ++b) {
        transpose(entry->factor + b * length * entry->rank, length, entry->rank,
                  factor_of(r, &r->plan->matrices[tensor->matrix_index + b]));
        r->is_imported[tensor->matrix_index + b] = true;
    }
}

static void import_factors(psgd_reducer_t *r, const psgd_state_t *state)
{
    for (size_t i = 0; i < state->num_entries; ++i) {
        const psgd_state_entry_t *entry = &state->entries[i];

        if (entry->rank > 0) {
            import_factor(r, psgd_plan_find(r->plan, entry->name), entry);
        }
    }
}

psgd_status_t psgd_reducer_state_import(psgd_reducer_t *r, const psgd_state_t *state)
{
    psgd_status_t status = psgd_reducer_check_poison(r);

    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_reducer_state_check(r, state);
    if (status != PSGD_OK) {
        return status;
    }
    status = import_errors(r, state);
    if (status != PSGD_OK) {
        return status;
    }
    r->half_iterations_done = half_iterations_after(r, state);
    import_factors(r, state);
    if (state->has_step) {
        r->step_number = state->step;
    }
    return PSGD_OK;
}
