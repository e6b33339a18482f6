#include "core/state.h"

#include <inttypes.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "core/message.h"

/* A tensor has fewer than 2^40 elements, and its factors have no more. */
static const uint64_t MAX_VALUES = (UINT64_C(1) << 40) - 1;

psgd_status_t psgd_state_create(psgd_state_t **state_p)
{
    psgd_state_t *state = NULL;
    psgd_status_t status;

    if (state_p == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_create: state_p is NULL");
    }
    status = psgd_alloc(1, sizeof(*state), "a state", &state);
    if (status != PSGD_OK) {
        return status;
    }
    *state_p = state;
    return PSGD_OK;
}

void psgd_state_destroy(psgd_state_t *state)
{
    if (state == NULL) {
        return;
    }
    for (size_t i = 0; i < state->num_entries; ++i) {
        psgd_free(state->entries[i].name);
        psgd_free(state->entries[i].factor);
        psgd_free(state->entries[i].error);
    }
    psgd_free(state->entries);
    psgd_free(state);
}

psgd_state_entry_t *psgd_state_find(const psgd_state_t *state, const char *name)
{
    for (size_t i = 0; i < state->num_entries; ++i) {
        if (strcmp(state->entries[i].name, name) == 0) {
            return &state->entries[i];
        }
    }
    return NULL;
}

static psgd_status_t grow(psgd_state_t *state)
{
    size_t              capacity = state->capacity == 0 ? 16 : state->capacity * 2;
    psgd_state_entry_t *entries  = NULL;
    psgd_status_t       status;

    status = psgd_alloc(capacity, sizeof(*entries), "a state", &entries);
    if (status != PSGD_OK) {
        return status;
    }
    if (state->num_entries > 0) {
        memcpy(entries, state->entries, state->num_entries * sizeof(*entries));
    }
    psgd_free(state->entries);
    state->entries  = entries;
    state->capacity = capacity;
    return PSGD_OK;
}

static psgd_status_t find_or_add(psgd_state_t *state, const char *name, psgd_state_entry_t **entry_p)
{
    psgd_state_entry_t *entry = psgd_state_find(state, name);
    psgd_status_t       status;

    if (entry == NULL) {
        if (state->num_entries == state->capacity) {
            status = grow(state);
            if (status != PSGD_OK) {
                return status;
            }
        }
        entry  = &state->entries[state->num_entries];
        status = psgd_copy_string(name, "a tensor's name", &entry->name);
        if (status != PSGD_OK) {
            return status;
        }
        state->num_entries += 1;
    }
    *entry_p = entry;
    return PSGD_OK;
}

/* Checked values, copied. */
static psgd_status_t copy_values(const float *values, uint64_t elems, const char *what, const char *name,
                                 float **copy_p)
{
    float        *copy = NULL;
    psgd_status_t status;

    if ((elems > MAX_VALUES) || (elems > SIZE_MAX / sizeof(float))) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "%s of '%s' has %" PRIu64 " elements, which is more than a tensor may have", what, name,
                         elems);
    }
    if (!psgd_message_is_finite(values, (size_t)elems)) {
        return psgd_fail(PSGD_ERR_NONFINITE, "%s of '%s' holds NaN or Inf", what, name);
    }
    status = psgd_alloc((size_t)elems, sizeof(float), what, &copy);
    if (status != PSGD_OK) {
        return status;
    }
    memcpy(copy, values, (size_t)elems * sizeof(float));
    *copy_p = copy;
    return PSGD_OK;
}

/* An entry for this name, and a copy of the values that it is to hold. Without the copy nothing has been added. */
static psgd_status_t prepare_entry(psgd_state_t *state, const char *name, const float *values, uint64_t elems,
                                   const char *what, psgd_state_entry_t **entry_p, float **copy_p)
{
    float        *copy = NULL;
    psgd_status_t status;

    status = copy_values(values, elems, what, name, &copy);
    if (status != PSGD_OK) {
        return status;
    }
    status = find_or_add(state, name, entry_p);
    if (status != PSGD_OK) {
        psgd_free(copy);
        return status;
    }
    *copy_p = copy;
    return PSGD_OK;
}

psgd_status_t psgd_state_set_step(psgd_state_t *state, uint64_t step, uint64_t seed)
{
    if (state == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_step: state is NULL");
    }
    state->has_step = true;
    state->step     = step;
    state->seed     = seed;
    return PSGD_OK;
}

psgd_status_t psgd_state_set_half_iterations(psgd_state_t *state, uint64_t half_iterations)
{
    if (state == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_half_iterations: state is NULL");
    }
    state->half_iterations = half_iterations;
    return PSGD_OK;
}

psgd_status_t psgd_state_set_factor(psgd_state_t *state, const char *name, uint64_t cols, uint32_t rank, const float *q)
{
    psgd_state_entry_t *entry;
    float              *copy;
    psgd_status_t       status;

    if ((state == NULL) || (name == NULL) || (q == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_factor: %s is NULL",
                         state == NULL ? "state" : (name == NULL ? "name" : "q"));
    }
    if (name[0] == '\0') {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_factor: name is empty");
    }
    if ((cols == 0) || (rank == 0) || (rank > PSGD_MAX_RANK) || (rank > cols) || (cols > UINT32_MAX)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_factor: the factor of '%s' cannot be %llu x %u; rank is 1 "
                         "to %d and at most cols, cols below 2^32", name, (unsigned long long)cols, rank, PSGD_MAX_RANK);
    }
    status = prepare_entry(state, name, q, cols * rank, "the factor", &entry, &copy);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_free(entry->factor);
    entry->factor = copy;
    entry->cols   = cols;
    entry->rank   = rank;
    return PSGD_OK;
}

psgd_status_t psgd_state_set_error(psgd_state_t *state, const char *name, uint64_t num_elems, const float *error)
{
    psgd_state_entry_t *entry;
    float              *copy;
    psgd_status_t       status;

    if ((state == NULL) || (name == NULL) || (error == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_error: %s is NULL",
                         state == NULL ? "state" : (name == NULL ? "name" : "error"));
    }
    if (name[0] == '\0') {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_error: name is empty");
    }
    if (num_elems == 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_set_error: the error of '%s' has no elements", name);
    }
    status = prepare_entry(state, name, error, num_elems, "the error", &entry, &copy);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_free(entry->error);
    entry->error       = copy;
    entry->error_elems = num_elems;
    return PSGD_OK;
}

psgd_status_t psgd_state_get_step(const psgd_state_t *state, uint64_t *step_p, uint64_t *seed_p)
{
    if ((state == NULL) || (step_p == NULL) || (seed_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_step: %s is NULL",
                         state == NULL ? "state" : (step_p == NULL ? "step_p" : "seed_p"));
    }
    if (!state->has_step) {
        return psgd_fail(PSGD_ERR_STATE, "the state holds no step");
    }
    *step_p = state->step;
    *seed_p = state->seed;
    return PSGD_OK;
}

psgd_status_t psgd_state_get_half_iterations(const psgd_state_t *state, uint64_t *half_iterations_p)
{
    if ((state == NULL) || (half_iterations_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_half_iterations: %s is NULL",
                         state == NULL ? "state" : "half_iterations_p");
    }
    *half_iterations_p = state->half_iterations;
    return PSGD_OK;
}

psgd_status_t psgd_state_get_factor(const psgd_state_t *state, const char *name, uint64_t *cols_p, uint32_t *rank_p,
                                    const float **q_p)
{
    const psgd_state_entry_t *entry;

    if ((state == NULL) || (name == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_factor: %s is NULL",
                         state == NULL ? "state" : "name");
    }
    if ((cols_p == NULL) || (rank_p == NULL) || (q_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_factor: %s is NULL",
                         cols_p == NULL ? "cols_p" : (rank_p == NULL ? "rank_p" : "q_p"));
    }
    entry = psgd_state_find(state, name);
    if ((entry == NULL) || (entry->rank == 0)) {
        return psgd_fail(PSGD_ERR_STATE, "the state holds no factor of '%s'", name);
    }
    *cols_p = entry->cols;
    *rank_p = entry->rank;
    *q_p    = entry->factor;
    return PSGD_OK;
}

psgd_status_t psgd_state_get_error(const psgd_state_t *state, const char *name, uint64_t *num_elems_p,
                                   const float **error_p)
{
    const psgd_state_entry_t *entry;

    if ((state == NULL) || (name == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_error: %s is NULL",
                         state == NULL ? "state" : "name");
    }
    if ((num_elems_p == NULL) || (error_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_state_get_error: %s is NULL",
                         num_elems_p == NULL ? "num_elems_p" : "error_p");
    }
    entry = psgd_state_find(state, name);
    if ((entry == NULL) || (entry->error_elems == 0)) {
        return psgd_fail(PSGD_ERR_STATE, "the state holds no error of '%s'", name);
    }
    *num_elems_p = entry->error_elems;
    *error_p     = entry->error;
    return PSGD_OK;
}
