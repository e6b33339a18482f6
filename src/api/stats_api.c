/* The doors to what a reducer says of itself: statistics, the plan of a tensor, captured energy, the engines' profile. */
#include <stdint.h>
#include <string.h>

#include "api/arguments.h"
#include "base/status.h"
#include "core/choose.h"
#include "core/energy.h"
#include "core/reducer.h"

/* The sizes of the structs in release 0.1.0. */
enum { FIRST_STATS_BYTES = sizeof(psgd_stats_t), FIRST_TENSOR_PLAN_BYTES = sizeof(psgd_tensor_plan_t) };

psgd_status_t psgd_reducer_get_stats(const psgd_reducer_t *reducer, psgd_stats_t *stats_p)
{
    psgd_stats_t  stats;
    size_t        bytes;
    psgd_status_t status;

    if ((reducer == NULL) || (stats_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_get_stats: %s is NULL",
                         reducer == NULL ? "reducer" : "stats_p");
    }
    status = psgd_check_output_struct(stats_p, FIRST_STATS_BYTES, "*stats_p", "PSGD_STATS_INIT", sizeof(stats), &bytes);
    if (status != PSGD_OK) {
        return status;
    }
    stats              = reducer->stats;
    stats.struct_size  = stats_p->struct_size;
    stats.steps        = reducer->step_number;
    stats.device_bytes = psgd_device_bytes(reducer->device);
    memcpy(stats_p, &stats, bytes);
    return PSGD_OK;
}

/* The elements of its factors that a tensor accounts for: of those of a flattened gradient, its share. */
static uint64_t factor_elems(const psgd_plan_t *plan, const psgd_plan_tensor_t *tensor)
{
    const psgd_plan_matrix_t *matrix  = &plan->matrices[tensor->matrix_index];
    uint64_t                  factors = (matrix->rows + matrix->cols) * matrix->r;

    return tensor->route == PSGD_ROUTE_FLATTENED
               ? (uint64_t)((double)factors * (double)tensor->elems / (double)plan->flattened_elems + 0.5)
               : tensor->view.batch * factors;
}

static psgd_tensor_plan_t describe_plan(const psgd_reducer_t *reducer, const psgd_plan_tensor_t *tensor)
{
    const psgd_plan_matrix_t *matrix = &reducer->plan->matrices[tensor->matrix_index];
    psgd_tensor_plan_t        plan   = PSGD_TENSOR_PLAN_INIT;

    plan.rows       = tensor->view.rows;
    plan.cols       = tensor->view.cols;
    plan.batch      = tensor->view.batch;
    plan.elems      = tensor->elems;
    plan.sent_elems = tensor->elems;
    plan.is_copied  = tensor->is_copied ? 1 : 0;
    if (psgd_plan_tensor_is_compressed(tensor)) {
        plan.rows       = matrix->rows;
        plan.cols       = matrix->cols;
        plan.rank       = matrix->r;
        plan.sent_elems = factor_elems(reducer->plan, tensor);
        plan.engine     = reducer->choices[tensor->matrix_index];
    }
    return plan;
}

psgd_status_t psgd_reducer_get_tensor_plan(const psgd_reducer_t *reducer, size_t tensor_index,
                                           psgd_tensor_plan_t *plan_p)
{
    psgd_tensor_plan_t plan;
    size_t             bytes;
    psgd_status_t      status;

    if ((reducer == NULL) || (plan_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_get_tensor_plan: %s is NULL",
                         reducer == NULL ? "reducer" : "plan_p");
    }
    if (tensor_index >= reducer->plan->num_given) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor_index is %zu, but the reducer has %zu tensors",
                         tensor_index, reducer->plan->num_given);
    }
    status = psgd_check_output_struct(plan_p, FIRST_TENSOR_PLAN_BYTES, "*plan_p", "PSGD_TENSOR_PLAN_INIT", sizeof(plan),
                                      &bytes);
    if (status != PSGD_OK) {
        return status;
    }
    plan             = describe_plan(reducer, &reducer->plan->tensors[tensor_index]);
    plan.struct_size = plan_p->struct_size;
    memcpy(plan_p, &plan, bytes);
    return PSGD_OK;
}

psgd_status_t psgd_reducer_get_energy(const psgd_reducer_t *reducer, size_t tensor_index, psgd_energy_t *energy_p)
{
    psgd_energy_t energy = PSGD_ENERGY_INIT;
    size_t        bytes;
    psgd_status_t status;

    if ((reducer == NULL) || (energy_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_get_energy: %s is NULL",
                         reducer == NULL ? "reducer" : "energy_p");
    }
    if ((tensor_index != SIZE_MAX) && (tensor_index >= reducer->plan->num_given)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "tensor_index is %zu, but the reducer has %zu tensors",
                         tensor_index, reducer->plan->num_given);
    }
    status =
        psgd_check_output_struct(energy_p, sizeof(energy), "*energy_p", "PSGD_ENERGY_INIT", sizeof(energy), &bytes);
    if (status != PSGD_OK) {
        return status;
    }
    if ((tensor_index != SIZE_MAX) && !psgd_plan_tensor_is_compressed(&reducer->plan->tensors[tensor_index])) {
        return psgd_fail(PSGD_ERR_STATE, "tensor %zu '%s' is not compressed", tensor_index,
                         reducer->plan->tensors[tensor_index].name);
    }
    energy.struct_size = energy_p->struct_size;
    status             = psgd_energy_read(reducer, tensor_index, &energy);
    if (status == PSGD_OK) {
        memcpy(energy_p, &energy, bytes);
    }
    return status;
}

psgd_status_t psgd_reducer_get_profile(const psgd_reducer_t *reducer, char *text, size_t capacity, size_t *bytes_p)
{
    if ((reducer == NULL) || (bytes_p == NULL) || ((text == NULL) && (capacity > 0))) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_get_profile: %s is NULL",
                         reducer == NULL ? "reducer" : (bytes_p == NULL ? "bytes_p" : "text"));
    }
    *bytes_p = psgd_choose_write_profile(reducer, NULL, 0);
    if ((text != NULL) && (*bytes_p > capacity)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "psgd_reducer_get_profile: the profile has %zu bytes, but capacity is %zu", *bytes_p,
                         capacity);
    }
    psgd_choose_write_profile(reducer, text, capacity);
    return PSGD_OK;
}
