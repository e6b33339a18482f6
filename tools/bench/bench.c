#define _POSIX_C_SOURCE 200809L /* isatty() */
#include "bench.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <psgd/psgd.h>

#include "backward.h"
#include "clock.h"
#include "connect.h"
#include "devices.h"
#include "kernels.h"
#include "notice.h"
#include "update.h"

static tool_status_t note_absent(bench_t *bench)
{
    tool_status_t status = TOOL_OK;

    if (bench->options->absent_every > 0) {
        status = tool_alloc(bench->model->count, sizeof(*bench->has_gradient), "which gradients are there",
                            &bench->has_gradient);
    }
    for (size_t t = 0; t < bench->model->count && bench->has_gradient != NULL; ++t) {
        bench->has_gradient[t] = options_has_gradient(bench->options, bench->workers->index, t);
    }
    return status;
}

static double config_max_norm(const options_t *options)
{
    return options->takes_norm ? (double)INFINITY : options->max_norm;
}

static psgd_config_t make_config(const options_t *options, uint32_t rank)
{
    psgd_config_t config = PSGD_CONFIG_INIT;

    config.rank                  = rank;
    config.engine                = options_engine(options);
    config.gradients_are_finite  = options->is_finite;
    config.error_feedback        = (int)options->error_feedback;
    config.warm_start            = (int)options->warm_start;
    config.min_compression_rate  = options->min_compression_rate;
    config.start_step            = options->start_step;
    config.seed                  = options->seed;
    config.max_norm              = config_max_norm(options);
    config.half_iterations       = options->half_iterations;
    config.flatten               = options->flatten;
    config.orthogonalize_shorter = options->orthogonalize_shorter;
    config.byte_budget           = options->byte_budget;
    config.wire                  = (psgd_dtype_t)options->wire;
    config.error_dtype           = options_error_dtype(options);
    config.energy_every          = options->energy_every;
    config.sharing               = (psgd_sharing_t)options->sharing;
    config.check_every           = options->check_every;
    config.log_every             = options->log_every;
    config.staging               = (psgd_staging_t)options->staging;
    config.bucket_bytes          = 1000 * options->bucket_kb;
    config.progress_thread       = options->progress_thread;
    return config;
}

/* All tensors to `rank`, but those whose rank is their own. */
static tool_status_t change_rank(const bench_t *bench, psgd_reducer_t *reducer, uint32_t rank)
{
    uint32_t     *ranks  = NULL;
    tool_status_t status = tool_alloc(bench->model->count, sizeof(*ranks), "the ranks of the tensors", &ranks);

    for (size_t t = 0; t < bench->model->count && status == TOOL_OK; ++t) {
        ranks[t] = bench->tensors[t].rank == 0 ? rank : 0;
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_set_ranks(reducer, ranks, bench->model->count), "changing the rank");
    }
    free(ranks);
    return status;
}

tool_status_t bench_create_reducer(const bench_t *bench, uint32_t rank, bool exact_phase_times, const psgd_comm_t *comm,
                                   psgd_reducer_t **reducer_p, double *change_ms_p)
{
    const uint32_t before = bench->options->rank_before;
    psgd_config_t  config = make_config(bench->options, before > 0 ? before : rank);
    tool_status_t  status;
    double         begin;

    config.exact_phase_times = exact_phase_times;
    status = tool_check(psgd_reducer_create(bench->gpu.context, bench->gpu.info.device, bench->gpu.queue,
                                            bench->tensors, bench->model->count, &config, comm, reducer_p),
                        "creating the reducer");
    begin  = clock_now();
    if (status == TOOL_OK && before > 0) {
        status = change_rank(bench, *reducer_p, rank);
    }
    if (change_ms_p != NULL) {
        *change_ms_p = before > 0 ? 1e3 * (clock_now() - begin) : 0.0;
    }
    return status;
}

static psgd_step_options_t step_options(const bench_t *bench, const psgd_optimizer_t *optimizer)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;

    options.has_gradient   = bench->has_gradient;
    options.gradient_scale = (float)bench->options->gradient_scale;
    options.optimizer      = optimizer;
    return options;
}

tool_status_t bench_step(const bench_t *bench, psgd_reducer_t *reducer, const psgd_optimizer_t *optimizer)
{
    const psgd_step_options_t options = step_options(bench, optimizer);

    return tool_check(psgd_reducer_step_with(reducer, bench->gradients.buffers, bench->model->count, &options), "a step");
}

/* Where a submission fails, psgd_reducer_wait() tells all workers. */
tool_status_t bench_step_in_parts(const bench_t *bench, psgd_reducer_t *reducer, bench_before_fn before,
                                  const void *user)
{
    const psgd_step_options_t options = step_options(bench, NULL);
    psgd_status_t             result  = psgd_reducer_begin(reducer, &options), ended;
    tool_status_t             status  = TOOL_OK;

    for (size_t t = bench->model->count; t-- > 0 && status == TOOL_OK;) {
        if (before != NULL) {
            status = before(user, t);
        }
        if (status == TOOL_OK && result == PSGD_OK) {
            result = psgd_reducer_submit(reducer, t, &bench->gradients.buffers[t], 1, 0, NULL);
        }
    }
    if (status != TOOL_OK) {
        return status;
    }
    ended = psgd_reducer_wait(reducer, NULL);
    return tool_check(ended != PSGD_OK ? ended : result, "a step in parts");
}

tool_status_t bench_tensor_plan(const psgd_reducer_t *reducer, size_t index, psgd_tensor_plan_t *plan_p)
{
    const psgd_tensor_plan_t empty = PSGD_TENSOR_PLAN_INIT;

    *plan_p = empty;
    return tool_check(psgd_reducer_get_tensor_plan(reducer, index, plan_p), "asking how a tensor is sent");
}

tool_status_t bench_compressed_elems(const bench_t *bench, const psgd_reducer_t *reducer, uint64_t *elems_p)
{
    uint64_t      elems  = 0;
    tool_status_t status = TOOL_OK;

    for (size_t t = 0; t < bench->model->count && status == TOOL_OK; ++t) {
        psgd_tensor_plan_t plan;

        status = bench_tensor_plan(reducer, t, &plan);
        elems += status == TOOL_OK && plan.rank > 0 ? plan.elems : 0;
    }
    *elems_p = elems;
    return status;
}

floor_form_t bench_floor_form(const options_t *options)
{
    if (options->error_feedback == 0) {
        return FLOOR_UPDATE_ONLY;
    }
    return options->is_finite ? FLOOR_LAZY : FLOOR_TRANSACTIONAL;
}

/* What a worker does for itself. */
static tool_status_t build(bench_t *bench, const psgd_device_info_t *info)
{
    tool_status_t status = gpu_open(info, &bench_program, &bench->gpu);

    if (status == TOOL_OK) {
        status = gradients_create(&bench->gpu, bench->model, (psgd_dtype_t)bench->options->gradient_dtype,
                                  bench->options->buffers == BUFFERS_ONE, &bench->gradients);
    }
    if (status == TOOL_OK) {
        status = note_absent(bench);
    }
    return status == TOOL_OK ? model_make_tensors(bench->model, bench->gradients.dtype, &bench->tensors) : status;
}

static tool_status_t rehearse_update(bench_t *bench, psgd_reducer_t *reducer)
{
    update_t      update = {0};
    tool_status_t status = update_create(&bench->gradients, &update);

    if (status == TOOL_OK) {
        status = update_run(&update);
    }
    if (status == TOOL_OK) {
        status = bench_step(bench, reducer, &update.optimizer);
    }
    update_destroy(&update);
    return status;
}

/* Every kernel that a run at this rank launches, by a step of one worker alone. */
static tool_status_t rehearse(bench_t *bench, uint32_t rank, const psgd_comm_t *self)
{
    psgd_reducer_t *reducer = NULL;
    tool_status_t   status  = bench_create_reducer(bench, rank, false, self, &reducer, NULL);

    if (status == TOOL_OK && !bench->options->shows_plan) {
        status = gradients_fill(&bench->gradients, gradients_key(0, 0));
        if (status == TOOL_OK) {
            status = bench_step(bench, reducer, NULL);
        }
    }
    if (status == TOOL_OK && bench->options->times_update && !bench->options->shows_plan) {
        status = rehearse_update(bench, reducer);
    }
    psgd_reducer_destroy(reducer);
    return status;
}

static tool_status_t rehearse_backward(const bench_t *bench)
{
    backward_t    backward = {0};
    tool_status_t status   = backward_create(&bench->gpu, bench->model, bench->options->backward_ms, &backward);

    backward_destroy(&backward);
    return status;
}

static tool_status_t rehearse_all(bench_t *bench)
{
    psgd_comm_t  *self   = NULL;
    floor_t       floor  = {0};
    tool_status_t status = tool_check(psgd_comm_self_create(&self), "a communicator of one worker");

    for (size_t i = 0; i < bench->options->num_ranks && status == TOOL_OK; ++i) {
        status = rehearse(bench, bench->options->ranks[i], self);
    }
    psgd_comm_destroy(self);
    if (status == TOOL_OK && !bench->options->shows_plan) {
        status = floor_create(&bench->gpu, bench_floor_form(bench->options), 1, &floor);
        if (status == TOOL_OK) {
            status = floor_run(&floor);
        }
        floor_destroy(&floor);
    }
    return status == TOOL_OK && bench->options->backward_ms > 0.0 ? rehearse_backward(bench) : status;
}

/* Builds and rehearses in two turns: first the worker that leads, then the others. */
static tool_status_t prepare_in_turns(bench_t *bench, const psgd_device_info_t *info)
{
    bool          leads  = false;
    tool_status_t status = workers_agree(bench->workers, workers_lead(bench->workers, devices_hash(info), &leads));

    for (int turn = 0; turn < 2 && status == TOOL_OK; ++turn) {
        if (leads == (turn == 0)) {
            status = build(bench, info);
            if (status == TOOL_OK) {
                status = rehearse_all(bench);
            }
        }
        status = workers_agree(bench->workers, status);
    }
    return status;
}

tool_status_t bench_create(bench_t *bench, const options_t *options, const workers_t *workers, const model_t *model,
                           const psgd_device_info_t *info)
{
    notice_t     *notice = NULL;
    tool_status_t status;

    memset(bench, 0, sizeof(*bench));
    bench->options = options;
    bench->workers = workers;
    bench->model   = model;
    if (workers_is_speaker(workers)) {
        notice = notice_begin(
            4.0, "psgd-bench: compiling kernels; the driver keeps them, so this takes long in the first run only");
    }
    status = prepare_in_turns(bench, info);
    notice_end(notice);
    if (status == TOOL_OK) {
        status = workers_agree(workers, workers_are_equal(workers, devices_hash(info), &bench->same_devices));
    }
    if (status == TOOL_OK) {
        status = connect_workers(workers, (hierarchy_t)options->hierarchy, &bench->comm, &bench->num_nodes);
    }
    return status;
}

void bench_destroy(bench_t *bench)
{
    psgd_comm_destroy(bench->comm);
    gradients_destroy(&bench->gradients);
    free(bench->has_gradient);
    free(bench->tensors);
    gpu_close(&bench->gpu);
    memset(bench, 0, sizeof(*bench));
}

void bench_say(const bench_t *bench, uint32_t rank, const char *doing)
{
    if (!workers_is_speaker(bench->workers) || !isatty(STDERR_FILENO)) {
        return;
    }
    if (doing == NULL) {
        fprintf(stderr, "\r\033[K");
    } else {
        fprintf(stderr, "\r\033[Krank %u: %s...", (unsigned)rank, doing);
    }
    fflush(stderr);
}
