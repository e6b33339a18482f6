#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "exchange.h"

#include <string.h>
#include <time.h>

#include "clock.h"

static bool is_narrow(const exchange_t *x)
{
    return x->options->gradient_dtype != (int)PSGD_F32;
}

/* Other compressors than the library's take all gradients at once. */
static bool is_overlapped(const exchange_t *x)
{
    return x->compression == NULL && !x->options->no_overlap;
}

static void describe_step(exchange_t *x)
{
    const psgd_optimizer_t    no_optimizer = PSGD_OPTIMIZER_INIT;
    const psgd_step_options_t no_options   = PSGD_STEP_OPTIONS_INIT;
    const params_t           *params       = x->params;

    for (size_t i = 0; i < params->count; ++i) {
        x->grads[i]        = params_grad_buffer(params, i);
        x->values[i]       = params_place(params, i, params->values);
        x->velocities[i]   = params_place(params, i, params->velocities);
        x->has_gradient[i] = options_has_gradient(x->options, x->step.worker, i, x->step.number);
    }
    x->optimizer                   = no_optimizer;
    x->optimizer.rule              = (psgd_rule_t)x->options->rule;
    x->optimizer.weight_decay      = (float)x->options->weight_decay;
    x->optimizer.learning_rate     = x->step.rate;
    x->optimizer.momentum          = (float)x->options->momentum;
    x->optimizer.params            = x->values;
    x->optimizer.momenta           = x->velocities;
    x->step_options                = no_options;
    x->step_options.optimizer      = x->options->fused_update ? &x->optimizer : NULL;
    x->step_options.has_gradient   = x->options->absent_every > 0 ? x->has_gradient : NULL;
    x->step_options.gradient_scale = (float)(1.0 / x->options->loss_scale);
}

void exchange_begin(exchange_t *x, const options_t *options, const params_t *params, psgd_reducer_t *reducer,
                    compression_t *compression, const exchange_step_t *step)
{
    double begin;

    memset(x, 0, sizeof(*x));
    x->options     = options;
    x->params      = params;
    x->reducer     = reducer;
    x->compression = compression;
    x->step        = *step;
    x->submitted   = PSGD_OK;
    describe_step(x);
    if (is_overlapped(x)) {
        begin             = clock_now();
        x->submitted      = psgd_reducer_begin(reducer, &x->step_options);
        x->submit_seconds = clock_now() - begin;
    }
}

void exchange_free(exchange_t *x)
{
    if (x->gradients_event != NULL) {
        clReleaseEvent(x->gradients_event);
    }
    x->gradients_event = NULL;
}

/* An event that completes when all that was enqueued so far has. */
static tool_status_t enqueue_event(const gpu_t *gpu, cl_event *event_p)
{
    tool_status_t status =
        gpu_check(gpu, clEnqueueMarkerWithWaitList(gpu->queue, 0, NULL, event_p), "clEnqueueMarkerWithWaitList");

    return status == TOOL_OK ? gpu_check(gpu, clFlush(gpu->queue), "clFlush") : status;
}

/* A submission that fails here fails the step: there is no more to submit, and psgd_reducer_wait() tells the others. */
static void submit(exchange_t *x, size_t first, size_t count)
{
    const double begin = clock_now();

    if (x->submitted == PSGD_OK) {
        x->submitted = psgd_reducer_submit(x->reducer, first, &x->grads[first], count, 0, NULL);
    }
    x->submit_seconds += clock_now() - begin;
}

tool_status_t exchange_take(void *exchange, size_t first, size_t count)
{
    exchange_t   *x      = exchange;
    tool_status_t status = TOOL_OK;

    if (is_narrow(x)) {
        status = params_enqueue_narrow(x->params, first, count, (psgd_dtype_t)x->options->gradient_dtype,
                                       (float)x->options->loss_scale);
    }
    if (status == TOOL_OK && first == 0 && x->step.is_sampled) { /* before the library enqueues anything behind them */
        status = enqueue_event(x->params->gpu, &x->gradients_event);
    }
    if (status == TOOL_OK && is_overlapped(x)) {
        submit(x, first, count);
    }
    return status;
}

tool_status_t exchange_wait_for_gradients(const exchange_t *x)
{
    const struct timespec rest = {0, 50000};
    const gpu_t          *gpu  = x->params->gpu;
    cl_int                at   = CL_QUEUED;

    for (;;) {
        tool_status_t status =
            gpu_check(gpu, clGetEventInfo(x->gradients_event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(at), &at, NULL),
                      "clGetEventInfo");

        if (status == TOOL_OK && at < 0) {
            status = gpu_check(gpu, at, "the backward pass");
        }
        if (status != TOOL_OK || at == CL_COMPLETE) {
            return status;
        }
        if (x->compression == NULL && x->submitted == PSGD_OK) {
            (void)psgd_reducer_poll(x->reducer); /* a step that has failed says so in psgd_reducer_wait() too */
        }
        nanosleep(&rest, NULL);
    }
}

static tool_status_t explain(const exchange_t *x, psgd_status_t result)
{
    if (result == PSGD_ERR_NONFINITE && x->options->gradient_dtype == (int)PSGD_F16) {
        return tool_fail(
            TOOL_ALL_FAILED,
            "a gradient holds NaN or Inf at step %llu: it outgrew half precision, or the training diverged; "
            "try a smaller --loss-scale, --gradient-dtype bf16, or a smaller --lr",
            (unsigned long long)x->step.number);
    }
    if (result == PSGD_ERR_NONFINITE) {
        return tool_fail(TOOL_ALL_FAILED,
                         "the training diverged at step %llu: a gradient holds NaN or Inf; try a smaller --lr",
                         (unsigned long long)x->step.number);
    }
    return tool_check(result, "the exchange of gradients");
}

/* The library's step. */
static tool_status_t end_step(exchange_t *x)
{
    psgd_status_t result = x->options->no_overlap
                               ? psgd_reducer_step_with(x->reducer, x->grads, x->params->count, &x->step_options)
                               : psgd_reducer_wait(x->reducer, NULL);

    return explain(x, result != PSGD_OK ? result : x->submitted);
}

tool_status_t exchange_end(exchange_t *x)
{
    tool_status_t status =
        x->compression != NULL ? compression_step(x->compression, x->params, x->step.number) : end_step(x);

    return status == TOOL_OK && is_narrow(x) && !x->options->fused_update
               ? params_enqueue_widen(x->params, (psgd_dtype_t)x->options->gradient_dtype)
               : status;
}
