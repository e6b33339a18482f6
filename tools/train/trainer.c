#include "trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <psgd/psgd.h>

#include "averaging.h"
#include "clock.h"
#include "compressor_options.h"
#include "connect.h"
#include "devices.h"
#include "exchange.h"
#include "kernels.h"
#include "notice.h"
#include "resuming.h"
#include "score.h"
#include "progress.h"

/* So many steps apart, beginning with a run's first, it is noted when the gradients are there, so that what comes before and
 * behind that can be told apart. */
enum { STEPS_BETWEEN_SAMPLES = 8 };

/* What a worker does for itself. */
static tool_status_t build(trainer_t *trainer, const psgd_device_info_t *info)
{
    const options_t *options = trainer->options;
    task_t          *task    = trainer->task;
    tool_status_t    status  = gpu_open(info, &train_program, &trainer->gpu);

    if (status == TOOL_OK) {
        status = task->ops->build(task, &trainer->gpu, trainer->workers, &trainer->network);
    }
    if (status == TOOL_OK && options->gradient_dtype != (int)PSGD_F32) {
        status = params_allocate_halves(&trainer->network.params);
    }
    if (status == TOOL_OK) {
        trainer->steps_per_epoch = task->steps_per_epoch;
        trainer->steps           = options->steps > 0 ? options->steps : options->epochs * task->steps_per_epoch;
        status = tool_alloc(trainer->steps_per_epoch, sizeof(*trainer->rates), "the learning rates", &trainer->rates);
    }
    return status;
}

void trainer_destroy(trainer_t *trainer)
{
    free(trainer->rates);
    free(trainer->device_indices);
    psgd_comm_destroy(trainer->comm);
    network_destroy(&trainer->network);
    gpu_close(&trainer->gpu);
    memset(trainer, 0, sizeof(*trainer));
}

/* What the options want done between two steps. */
static tool_status_t prepare_step(const trainer_t *trainer, psgd_reducer_t *reducer, uint64_t step)
{
    const options_t *options = trainer->options;
    tool_status_t    status  = TOOL_OK;

    if (options->new_rank > 0 && step == options->new_rank_step) {
        status = averaging_change_rank(trainer, reducer);
    }
    if (status == TOOL_OK && options->reset_error_every > 0 && step > 0 && step % options->reset_error_every == 0) {
        status = tool_check(psgd_reducer_reset_error(reducer), "forgetting the error memory");
    }
    return status;
}

/* What a run accumulates. */
typedef struct clock_sums {
    uint64_t steps;
    double   submit_seconds; /* in psgd_reducer_begin() and psgd_reducer_submit() */
    double   wait_seconds;   /* from there to the update, whatever is waited for */
    uint64_t samples;
    double   model_seconds;    /* of the steps sampled: from the step's beginning to the gradients on the device */
    double   exchange_seconds; /* and from there to the update */
} clock_sums_t;

/* Forward and backward, which hands each layer's gradients to the exchange. Waits for nothing. */
static tool_status_t enqueue_model(trainer_t *trainer, psgd_reducer_t *reducer, uint64_t step_in_epoch,
                                   const exchange_step_t *step, exchange_t *exchange)
{
    network_t    *network = &trainer->network;
    size_t        scored  = 0;
    tool_status_t status;

    /* Before the model: the device prepares factors meanwhile. */
    exchange_begin(exchange, trainer->options, &network->params, reducer, trainer->compression, step);
    status = trainer->task->ops->enqueue(trainer->task, step_in_epoch, network, &scored);
    if (status == TOOL_OK) {
        status = network_enqueue_forward(network, scored);
    }
    if (status == TOOL_OK) {
        status = network_enqueue_backward(network, exchange_take, exchange);
    }
    return status;
}

/* From the gradients to the update, and how long that takes; `begin` is when the step began. */
static tool_status_t finish_exchange(exchange_t *exchange, double begin, clock_sums_t *sums)
{
    double        enqueued = clock_now(), there = enqueued;
    tool_status_t status = TOOL_OK;

    if (exchange->step.is_sampled) {
        status = exchange_wait_for_gradients(exchange);
        there  = clock_now();
    }
    if (status == TOOL_OK) {
        status = exchange_end(exchange);
    }
    sums->steps += 1;
    sums->submit_seconds += exchange->submit_seconds;
    sums->wait_seconds += clock_now() - enqueued;
    if (exchange->step.is_sampled) {
        sums->samples += 1;
        sums->model_seconds += there - begin;
        sums->exchange_seconds += clock_now() - there;
    }
    return status;
}

/* What the optimizer is left of the momentum. */
static float outer_momentum(const trainer_t *trainer)
{
    const options_t *options = trainer->options;
    const bool is_kept = trainer->compression != NULL && compressor_keeps_momentum((compressor_t)options->compressor);

    return is_kept ? 0.0f : (float)options->momentum;
}

/* One training step. Nothing blocks but the end of the exchange. */
static tool_status_t train_step(trainer_t *trainer, psgd_reducer_t *reducer, uint64_t number, uint64_t step_in_epoch,
                                float rate, clock_sums_t *sums)
{
    const options_t      *options  = trainer->options;
    const exchange_step_t step     = {number, trainer->workers->index, rate, sums->steps % STEPS_BETWEEN_SAMPLES == 0};
    exchange_t            exchange = {.gradients_event = NULL};
    double                begin;
    tool_status_t         status = prepare_step(trainer, reducer, number);

    begin = clock_now();
    if (status == TOOL_OK) {
        status = enqueue_model(trainer, reducer, step_in_epoch, &step, &exchange);
    }
    if (status == TOOL_OK) {
        status = finish_exchange(&exchange, begin, sums);
    }
    exchange_free(&exchange);
    if (status == TOOL_OK && !options->fused_update) {
        status = params_enqueue_update(&trainer->network.params, (psgd_rule_t)options->rule, outer_momentum(trainer),
                                       (float)options->weight_decay, rate);
    }
    return status;
}

/* The learning rate of step t of T, which falls from `lr` to 0 behind the last. */
static float rate_at(const options_t *options, double lr, uint64_t step, uint64_t steps)
{
    double done = (double)step / (double)steps;

    switch ((decay_t)options->decay) {
    case DECAY_LINEAR: return (float)(lr * (1.0 - done));
    case DECAY_COSINE: return (float)(lr * 0.5 * (1.0 + cos(3.14159265358979323846 * done)));
    case DECAY_NONE:
    case NUM_DECAYS: break;
    }
    return (float)lr;
}

/* The learning rates and the order of examples of an epoch, which begins at one of its steps. The rates are worker 0's:
 * another C library may round a cosine otherwise, and then the workers would part. */
static tool_status_t begin_epoch(trainer_t *trainer, uint64_t epoch, uint64_t step_in_epoch)
{
    const double  lr    = trainer->compression != NULL ? trainer->options->compressor_lr : trainer->options->lr;
    uint64_t      first = epoch * trainer->steps_per_epoch;
    tool_status_t status;

    for (uint64_t i = 0; i < trainer->steps_per_epoch; ++i) {
        trainer->rates[i] = rate_at(trainer->options, lr, first + i, trainer->steps);
    }
    status = workers_share(trainer->workers, trainer->rates, trainer->steps_per_epoch);
    if (status == TOOL_OK) {
        status = trainer->task->ops->begin_epoch(trainer->task, trainer->workers, epoch, step_in_epoch);
    }
    return status;
}

/* Writes the progress line where it is due. */
static tool_status_t report_progress(trainer_t *trainer, progress_t *progress, uint64_t done, uint64_t *scored_from)
{
    double        loss = 0.0, hits = 0.0;
    tool_status_t status;

    if (!progress_is_due(progress)) {
        return TOOL_OK;
    }
    status = network_take_score(&trainer->network, &loss, &hits);
    if (status == TOOL_OK) {
        progress_write(progress, done, trainer->steps,
                       loss / (double)((done - *scored_from) * trainer->task->step_examples));
        *scored_from = done;
    }
    return status;
}

static bool is_due_to_save(const options_t *options, uint64_t done, uint64_t end)
{
    return options->save != NULL && (done == end || (options->save_every > 0 && done % options->save_every == 0));
}

static bool is_due_to_test(const options_t *options, uint64_t done, uint64_t end)
{
    return done == end || (options->test_every > 0 && done % options->test_every == 0);
}

/* The time that steps take; it stands still while the model is tested. */
typedef struct watch {
    double seconds; /* until it was stopped */
    double start;
} watch_t;

static void watch_start(watch_t *watch)
{
    watch->start = clock_now();
}

static void watch_stop(watch_t *watch)
{
    watch->seconds += clock_now() - watch->start;
}

/* One more point of the run's curve, when all steps so far are done. A collective. */
static tool_status_t test(trainer_t *trainer, const psgd_reducer_t *reducer, uint64_t done, double seconds, run_t *run)
{
    psgd_stats_t   stats  = PSGD_STATS_INIT;
    curve_point_t *point  = &run->curve[run->num_points];
    score_t        score  = {0.0, 0.0};
    tool_status_t  status = score_all(trainer->task, trainer->workers, &trainer->network, &score);

    if (status == TOOL_OK) {
        status = workers_sum(trainer->workers, &seconds, 1);
    }
    if (status == TOOL_OK) {
        status = averaging_read_stats(trainer, reducer, &stats);
    }
    if (status == TOOL_OK) {
        *point = (curve_point_t){done, score.loss, score.quality, stats.bytes_total,
                                 seconds / (double)trainer->workers->count};
        run->num_points += 1;
        run->test_loss = score.loss;
        run->quality   = score.quality;
    }
    return status;
}

/* Stops the watch for a test. */
static tool_status_t pause_and_test(trainer_t *trainer, const psgd_reducer_t *reducer, uint64_t done, watch_t *watch,
                                    run_t *run)
{
    tool_status_t status = gpu_wait(&trainer->gpu);

    watch_stop(watch);
    if (status == TOOL_OK) {
        status = test(trainer, reducer, done, watch->seconds, run);
    }
    watch_start(watch);
    return status;
}

/* Steps first to end - 1 of a run, and its tests. */
static tool_status_t train_all(trainer_t *trainer, psgd_reducer_t *reducer, uint64_t first, uint64_t end,
                               progress_t *progress, clock_sums_t *sums, run_t *run)
{
    watch_t       watch       = {0.0, 0.0};
    uint64_t      scored_from = first;
    tool_status_t status      = TOOL_OK;

    watch_start(&watch);
    for (uint64_t step = first; step < end && status == TOOL_OK; ++step) {
        uint64_t step_in_epoch = step % trainer->steps_per_epoch;

        if (step_in_epoch == 0 || step == first) {
            status = begin_epoch(trainer, step / trainer->steps_per_epoch, step_in_epoch);
        }
        if (status == TOOL_OK) {
            status = train_step(trainer, reducer, step, step_in_epoch, trainer->rates[step_in_epoch], sums);
        }
        if (status == TOOL_OK) {
            status = report_progress(trainer, progress, step + 1, &scored_from);
        }
        if (status == TOOL_OK && is_due_to_save(trainer->options, step + 1, end)) {
            status = resuming_save(trainer, reducer, step + 1);
        }
        if (status == TOOL_OK && is_due_to_test(trainer->options, step + 1, end)) {
            status      = pause_and_test(trainer, reducer, step + 1, &watch, run);
            scored_from = step + 1;
        }
    }
    run->seconds = watch.seconds;
    return status;
}

static tool_status_t take_energy(const psgd_reducer_t *reducer, run_t *run)
{
    psgd_energy_t energy = PSGD_ENERGY_INIT;
    tool_status_t status =
        tool_check(psgd_reducer_get_energy(reducer, SIZE_MAX, &energy), "reading the captured energy");

    run->captured = energy.captured_share;
    return status;
}

/* Times as means over the workers, and what the reducer has counted. */
static tool_status_t summarize(const trainer_t *trainer, const psgd_reducer_t *reducer, uint64_t steps,
                               const clock_sums_t *sums, run_t *run)
{
    psgd_stats_t  stats    = PSGD_STATS_INIT;
    double        times[6] = {run->seconds,
                              sums->model_seconds / (double)sums->samples,
                              sums->exchange_seconds / (double)sums->samples,
                              sums->submit_seconds / (double)sums->steps,
                              sums->wait_seconds / (double)sums->steps,
                              0.0};
    tool_status_t status   = averaging_read_stats(trainer, reducer, &stats);

    times[5] = 1e-9 * (double)stats.network_ns_total / (double)steps;
    if (status == TOOL_OK) {
        status = workers_sum(trainer->workers, times, 6);
    }
    if (status != TOOL_OK) {
        return status;
    }
    run->seconds           = times[0] / (double)trainer->workers->count;
    run->ms_per_step       = 1e3 * run->seconds / (double)steps;
    run->model_ms          = 1e3 * times[1] / (double)trainer->workers->count;
    run->exchange_ms       = 1e3 * times[2] / (double)trainer->workers->count;
    run->submit_ms         = 1e3 * times[3] / (double)trainer->workers->count;
    run->wait_ms           = 1e3 * times[4] / (double)trainer->workers->count;
    run->network_ms        = 1e3 * times[5] / (double)trainer->workers->count;
    run->bytes_total       = stats.bytes_total;
    run->bytes_per_step    = (double)stats.bytes_total / (double)steps;
    run->messages_per_step = stats.messages_last_step;
    run->compression_rate  = stats.compression_rate;
    return run->rank > 0 && trainer->options->energy_every > 0 && stats.num_compressed_tensors > 0
               ? take_energy(reducer, run)
               : TOOL_OK;
}

/* Between steps first and end, at most. */
static size_t num_tests(const options_t *options, uint64_t first, uint64_t end)
{
    return 1 + (options->test_every > 0 ? (size_t)((end - first) / options->test_every + 1) : 0);
}

/* Trains with the reducer, and tests. */
static tool_status_t run_with(trainer_t *trainer, psgd_reducer_t *reducer, run_t *run)
{
    clock_sums_t  sums = {0};
    char          title[32], label[40];
    progress_t    progress;
    uint64_t      first = 0, end = trainer->steps;
    tool_status_t status = params_init(&trainer->network.params, trainer->options->seed);

    if (status == TOOL_OK && trainer->options->resume != NULL) {
        status = resuming_load(trainer, reducer, &first);
    }
    if (status == TOOL_OK && first >= end) {
        status = tool_fail(TOOL_ALL_FAILED, "the run saved at '%s' has come to its end", trainer->options->resume);
    }
    if (status == TOOL_OK) {
        status = workers_wait(trainer->workers);
    }
    if (status != TOOL_OK) {
        return status;
    }
    if (trainer->options->stop_after > 0 && trainer->options->stop_after < end - first) {
        end = first + trainer->options->stop_after;
    }
    compressor_options_title(trainer->options, run->rank, title, sizeof(title));
    snprintf(label, sizeof(label), "%s:", title);
    status = tool_alloc(num_tests(trainer->options, first, end), sizeof(*run->curve), "the tests", &run->curve);
    if (status != TOOL_OK) {
        return status;
    }
    progress = progress_begin(label, workers_is_speaker(trainer->workers));
    status   = train_all(trainer, reducer, first, end, &progress, &sums, run);
    progress_end(&progress);
    if (status == TOOL_OK) {
        status = summarize(trainer, reducer, end - first, &sums, run);
    }
    if (status == TOOL_OK) {
        status = params_hash(&trainer->network.params, &run->params_hash);
    }
    if (status == TOOL_OK) {
        status = workers_compare(trainer->workers, run->params_hash, "the parameters that training ended with",
                                 "none can be trusted; --check-every finds the step");
    }
    return status;
}

tool_status_t trainer_run(trainer_t *trainer, uint32_t rank, run_t *run_p)
{
    run_t           run     = {.rank = rank};
    psgd_reducer_t *reducer = NULL;
    tool_status_t   status  = averaging_create(trainer, rank, trainer->options->start_step, trainer->comm, &reducer);

    if (status == TOOL_OK) {
        status = run_with(trainer, reducer, &run);
    }
    averaging_destroy(trainer, reducer);
    if (status != TOOL_OK) {
        free(run.curve);
        return status;
    }
    *run_p = run;
    return TOOL_OK;
}

/* Every kernel that a run at this rank launches, by a plain step, a compressed one and a test of one worker alone. */
static tool_status_t rehearse(trainer_t *trainer, uint32_t rank, const psgd_comm_t *self)
{
    clock_sums_t    sums     = {0};
    psgd_reducer_t *reducer  = NULL;
    tool_status_t   status   = averaging_create(trainer, rank, 1, self, &reducer);

    if (status == TOOL_OK) {
        status = params_init(&trainer->network.params, trainer->options->seed);
    }
    for (uint64_t step = 0; step < 2 && status == TOOL_OK; ++step) {
        status = train_step(trainer, reducer, step, 0, 0.0f, &sums);
    }
    averaging_destroy(trainer, reducer);
    return status == TOOL_OK ? score_rehearse(trainer->task, trainer->workers, &trainer->network) : status;
}

/* The runs that the options ask for, rehearsed. */
static tool_status_t rehearse_all(trainer_t *trainer)
{
    const options_t *options = trainer->options;
    psgd_comm_t     *self    = NULL;
    tool_status_t    status  = tool_check(psgd_comm_self_create(&self), "a communicator of one worker");

    if (status == TOOL_OK) {
        status = trainer->task->ops->begin_epoch(trainer->task, trainer->workers, 0, 0);
    }
    if (status == TOOL_OK && (options->compare || options->rank == 0)) {
        status = rehearse(trainer, 0, self);
    }
    if (status == TOOL_OK && options->rank > 0) {
        status = rehearse(trainer, options->rank, self);
    }
    psgd_comm_destroy(self);
    return status;
}

/* Builds and rehearses in two turns: first the worker that leads, then the others. */
static tool_status_t prepare_in_turns(trainer_t *trainer, const psgd_device_info_t *info)
{
    bool          leads  = false;
    tool_status_t status = workers_agree(trainer->workers, workers_lead(trainer->workers, devices_hash(info), &leads));

    for (int turn = 0; turn < 2 && status == TOOL_OK; ++turn) {
        if (leads == (turn == 0)) {
            status = build(trainer, info);
            if (status == TOOL_OK) {
                status = rehearse_all(trainer);
            }
        }
        status = workers_agree(trainer->workers, status);
    }
    return status;
}

/* Which devices the workers took, and whether they are alike. */
static tool_status_t compare_devices(trainer_t *trainer, const psgd_device_info_t *info)
{
    const workers_t *workers = trainer->workers;
    tool_status_t    status;

    status =
        tool_alloc(workers->count, sizeof(*trainer->device_indices), "the workers' devices", &trainer->device_indices);
    if (status == TOOL_OK) {
        status = workers_gather(workers, info->index, trainer->device_indices);
    }
    if (status == TOOL_OK) {
        status = workers_are_equal(workers, devices_hash(info), &trainer->same_devices);
    }
    return status;
}

tool_status_t trainer_create(trainer_t *trainer, const options_t *options, const workers_t *workers,
                             const psgd_device_info_t *info, task_t *task)
{
    notice_t     *notice = NULL;
    tool_status_t status;

    memset(trainer, 0, sizeof(*trainer));
    trainer->options = options;
    trainer->workers = workers;
    trainer->task    = task;
    if (workers_is_speaker(workers)) {
        notice = notice_begin(
            4.0, "psgd-train: compiling kernels; the driver keeps them, so this takes long in the first run only");
    }
    status = prepare_in_turns(trainer, info);
    notice_end(notice);
    if (status == TOOL_OK) {
        status = workers_agree(workers, compare_devices(trainer, info));
    }
    if (status == TOOL_OK) {
        status = connect_workers(workers, (hierarchy_t)options->hierarchy, &trainer->comm, &trainer->num_nodes);
    }
    return status;
}
