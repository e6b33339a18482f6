#include "api/step_request.h"

#include <float.h>
#include <string.h>

#include "api/arguments.h"
#include "api/memory.h"
#include "base/status.h"
#include "core/update.h"

/* The sizes of the structs in release 0.1.0. */
enum { FIRST_OPTIMIZER_BYTES = sizeof(psgd_optimizer_t), FIRST_STEP_OPTIONS_BYTES = sizeof(psgd_step_options_t) };

static bool is_number(float x, float smallest, float largest)
{
    return (x >= smallest) && (x <= largest); /* false for NaN */
}

/* One buffer a tensor, as views. */
static psgd_status_t read_buffers(const psgd_reducer_t *reducer, const char *what, const psgd_buffer_t *buffers,
                                  size_t elem_bytes, psgd_view_t *views)
{
    psgd_status_t status = PSGD_OK;

    for (size_t i = 0; (status == PSGD_OK) && (i < reducer->plan->num_given); ++i) {
        status   = psgd_check_tensor_mem(reducer, what, i, &buffers[i], elem_bytes);
        views[i] = (psgd_view_t){buffers[i].mem, buffers[i].offset_bytes};
    }
    return status;
}

/* One number of an optimizer's, from 0 to `largest`. */
static psgd_status_t check_number(float value, float largest, const char *name, const char *range)
{
    return is_number(value, 0.0f, largest)
               ? PSGD_OK
               : psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.%s is %g; it must be %s", name, (double)value, range);
}

static psgd_status_t check_optimizer(const psgd_optimizer_t *optimizer)
{
    psgd_status_t status;

    if ((optimizer->rule < PSGD_RULE_POWERSGD) || (optimizer->rule > PSGD_RULE_NESTEROV)) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "optimizer.rule is %d; it must be PSGD_RULE_POWERSGD to PSGD_RULE_NESTEROV",
                         (int)optimizer->rule);
    }
    status = check_number(optimizer->learning_rate, FLT_MAX, "learning_rate", "finite and not negative");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_number(optimizer->momentum, 1.0f, "momentum", "from 0 to 1");
    if (status != PSGD_OK) {
        return status;
    }
    status = check_number(optimizer->weight_decay, FLT_MAX, "weight_decay", "finite and not negative");
    if (status != PSGD_OK) {
        return status;
    }
    if (optimizer->params == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.params is NULL");
    }
    if ((optimizer->momenta == NULL) && ((optimizer->momentum > 0.0f) || (optimizer->rule == PSGD_RULE_POWERSGD))) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "optimizer.momenta is NULL, but the rule has momentum");
    }
    return PSGD_OK;
}

static psgd_status_t read_optimizer(psgd_reducer_t *reducer, const psgd_optimizer_t *given,
                                    psgd_step_request_t *request)
{
    psgd_optimizer_t optimizer = PSGD_OPTIMIZER_INIT;
    psgd_view_t     *params    = reducer->param_views;
    psgd_view_t     *momenta   = params + reducer->plan->num_given;
    psgd_view_t     *halves    = momenta + reducer->plan->num_given;
    psgd_status_t    status;

    status = psgd_copy_struct(given, FIRST_OPTIMIZER_BYTES, "optimizer", "PSGD_OPTIMIZER_INIT", &optimizer,
                              sizeof(optimizer));
    if (status == PSGD_OK) {
        status = check_optimizer(&optimizer);
    }
    if (status == PSGD_OK) {
        status = read_buffers(reducer, "parameter", optimizer.params, sizeof(float), params);
    }
    if ((status == PSGD_OK) && (optimizer.momenta != NULL)) {
        status = read_buffers(reducer, "momentum", optimizer.momenta, sizeof(float), momenta);
    }
    if ((status == PSGD_OK) && (optimizer.half_params != NULL)) {
        status = read_buffers(reducer, "16-bit parameter", optimizer.half_params, sizeof(cl_half), halves);
    }
    if (status != PSGD_OK) {
        return status;
    }
    *reducer->update = (psgd_update_t){optimizer.rule,
                                       optimizer.learning_rate,
                                       optimizer.momentum,
                                       optimizer.weight_decay,
                                       params,
                                       optimizer.momenta != NULL ? momenta : NULL,
                                       optimizer.half_params != NULL ? halves : NULL};
    request->update  = reducer->update;
    return PSGD_OK;
}

psgd_status_t psgd_step_request_read(psgd_reducer_t *reducer, const psgd_step_options_t *given,
                                     psgd_step_request_t *request)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;
    float               scale;
    psgd_status_t       status;

    memset(request, 0, sizeof(*request));
    if (given == NULL) {
        return PSGD_OK;
    }
    status = psgd_copy_struct(given, FIRST_STEP_OPTIONS_BYTES, "options", "PSGD_STEP_OPTIONS_INIT", &options,
                              sizeof(options));
    if (status != PSGD_OK) {
        return status;
    }
    scale = options.gradient_scale == 0.0f ? 1.0f : options.gradient_scale;
    if (!is_number(scale, FLT_MIN, FLT_MAX)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "options.gradient_scale is %g; it must be positive, finite and no denormal (0: 1)",
                         (double)options.gradient_scale);
    }
    if ((scale != 1.0f) || (options.has_gradient != NULL)) {
        for (size_t i = 0; i < reducer->plan->num_given; ++i) {
            reducer->factors[i] = (options.has_gradient == NULL) || (options.has_gradient[i] != 0) ? scale : 0.0f;
        }
        request->factors = reducer->factors;
    }
    return options.optimizer == NULL ? PSGD_OK : read_optimizer(reducer, options.optimizer, request);
}
