/* The doors to what a reducer remembers between steps: state, checkpoints. */
#include "api/arguments.h"
#include "base/status.h"
#include "core/checkpoint.h"
#include "core/state.h"

/* ---- state ----------------------------------------------------------------------------------------------------- */

psgd_status_t psgd_reducer_export_state(psgd_reducer_t *reducer, psgd_error_form_t form, psgd_state_t **state_p)
{
    psgd_status_t status;

    if ((reducer == NULL) || (state_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_export_state: %s is NULL",
                         reducer == NULL ? "reducer" : "state_p");
    }
    if ((form != PSGD_ERROR_NONE) && (form != PSGD_ERROR_LOCAL) && (form != PSGD_ERROR_MEAN)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "psgd_reducer_export_state: form is %d; it must be PSGD_ERROR_NONE, "
                         "PSGD_ERROR_LOCAL or PSGD_ERROR_MEAN",
                         (int)form);
    }
    status = psgd_check_idle(reducer, "psgd_reducer_export_state");
    return status == PSGD_OK ? psgd_reducer_state_export(reducer, form, state_p) : status;
}

psgd_status_t psgd_reducer_import_state(psgd_reducer_t *reducer, const psgd_state_t *state)
{
    psgd_status_t status;

    if ((reducer == NULL) || (state == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_reducer_import_state: %s is NULL",
                         reducer == NULL ? "reducer" : "state");
    }
    status = psgd_check_idle(reducer, "psgd_reducer_import_state");
    return status == PSGD_OK ? psgd_reducer_state_import(reducer, state) : status;
}

/* ---- checkpoints ----------------------------------------------------------------------------------------------- */

static psgd_status_t check_path(const char *path, const char *function)
{
    return (path == NULL) || (path[0] == '\0')
               ? psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: path is NULL or empty", function)
               : PSGD_OK;
}

psgd_status_t psgd_reducer_save(psgd_reducer_t *reducer, const char *path, psgd_error_form_t form)
{
    psgd_status_t status = psgd_check_idle(reducer, "psgd_reducer_save");

    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = check_path(path, "psgd_reducer_save");
    if ((form != PSGD_ERROR_MEAN) && (form != PSGD_ERROR_LOCAL)) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                           "psgd_reducer_save: form is %d; it must be PSGD_ERROR_MEAN or PSGD_ERROR_LOCAL", (int)form);
    }
    return psgd_checkpoint_save(reducer, path, form, status);
}

psgd_status_t psgd_reducer_load(psgd_reducer_t *reducer, const char *path)
{
    psgd_status_t status = psgd_check_idle(reducer, "psgd_reducer_load");

    if (status != PSGD_OK) {
        return status; /* nobody can be told */
    }
    status = check_path(path, "psgd_reducer_load");
    return psgd_checkpoint_load(reducer, path, status);
}
