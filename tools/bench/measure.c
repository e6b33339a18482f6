#include "measure.h"

#include <math.h>

#include "backward.h"
#include "clock.h"
#include "plain.h"
#include "update.h"

enum {
    WARM_UP_ROUNDS = 2,
    FIRST_STEP     = 1000 /* of the gradients' keys: other gradients than the check's */
};

/* One loop: a reducer, and what it is compared with. */
typedef struct loop {
    const bench_t  *bench;
    bool            is_exact; /* the second loop */
    psgd_reducer_t *reducer;
    double          change_ms; /* of its rank */
    floor_t         floor;
    plain_t         plain;
    update_t        update; /* with --update, in the first loop */
    backward_t      backward; /* with --backward-ms, in the first loop */
    series_t        series;
} loop_t;

static bool times_update(const loop_t *loop)
{
    return loop->bench->options->times_update && !loop->is_exact;
}

static bool times_backward(const loop_t *loop)
{
    return loop->bench->options->backward_ms > 0.0 && !loop->is_exact;
}

static tool_status_t prepare_local(loop_t *loop)
{
    const bench_t *bench  = loop->bench;
    uint64_t       elems  = 0;
    tool_status_t  status = bench_compressed_elems(bench, loop->reducer, &elems);

    if (status == TOOL_OK) {
        status = floor_create(&bench->gpu, bench_floor_form(bench->options), elems, &loop->floor);
    }
    if (status == TOOL_OK) {
        status = floor_check(&loop->floor);
    }
    if (status == TOOL_OK) {
        status = plain_create(&bench->gradients, bench->workers, &loop->plain);
    }
    if (status == TOOL_OK && times_update(loop)) {
        status = update_create(&bench->gradients, &loop->update);
    }
    if (status == TOOL_OK && times_backward(loop)) {
        status = backward_create(&bench->gpu, bench->model, bench->options->backward_ms, &loop->backward);
    }
    return status == TOOL_OK ? series_create(bench->options->steps, &loop->series) : status;
}

static tool_status_t prepare(loop_t *loop, uint32_t rank)
{
    const bench_t *bench = loop->bench;
    tool_status_t  status;

    status = workers_agree(bench->workers, bench_create_reducer(bench, rank, loop->is_exact, bench->comm,
                                                                &loop->reducer, &loop->change_ms));
    return status == TOOL_OK ? workers_agree(bench->workers, prepare_local(loop)) : status;
}

static void finish(loop_t *loop)
{
    series_destroy(&loop->series);
    backward_destroy(&loop->backward);
    update_destroy(&loop->update);
    plain_destroy(&loop->plain);
    floor_destroy(&loop->floor);
    psgd_reducer_destroy(loop->reducer);
}

/* The milliseconds of one step of all workers at once. */
static tool_status_t time_step(const loop_t *loop, double *ms_p)
{
    tool_status_t status = workers_wait(loop->bench->workers);
    double        begin  = clock_now();

    if (status == TOOL_OK) {
        status = bench_step(loop->bench, loop->reducer, NULL);
    }
    *ms_p = 1e3 * (clock_now() - begin);
    return status;
}

/* A step and an optimizer's behind it, or both in one; each on fresh gradients. */
static tool_status_t time_update(const loop_t *loop, uint32_t key, bool is_fused, double *ms_p)
{
    const bench_t *bench  = loop->bench;
    tool_status_t  status = gradients_fill(&bench->gradients, key);
    double         begin;

    if (status == TOOL_OK) {
        status = workers_wait(bench->workers);
    }
    begin = clock_now();
    if (status == TOOL_OK) {
        status = bench_step(bench, loop->reducer, is_fused ? &loop->update.optimizer : NULL);
    }
    if (status == TOOL_OK && !is_fused) {
        status = update_run(&loop->update);
    }
    *ms_p = 1e3 * (clock_now() - begin);
    return status;
}

static tool_status_t time_floor(const loop_t *loop, double *ms_p)
{
    tool_status_t status = workers_wait(loop->bench->workers);
    double        begin  = clock_now();

    if (status == TOOL_OK) {
        status = floor_run(&loop->floor);
    }
    *ms_p = 1e3 * (clock_now() - begin);
    return status;
}

static tool_status_t time_plain(const loop_t *loop, double *reduce_ms_p, double *copy_ms_p)
{
    tool_status_t status = workers_wait(loop->bench->workers);

    return status == TOOL_OK ? plain_run(&loop->plain, reduce_ms_p, copy_ms_p) : status;
}

static tool_status_t get_stats(const loop_t *loop, psgd_stats_t *stats_p)
{
    const psgd_stats_t empty = PSGD_STATS_INIT;

    *stats_p = empty;
    return tool_check(psgd_reducer_get_stats(loop->reducer, stats_p), "reading the statistics");
}

static double phase_ms(const psgd_stats_t *stats, psgd_phase_t phase)
{
    return 1e-6 * (double)stats->phase_ns_last[phase];
}

static void note_phases(loop_t *loop, size_t round, const psgd_stats_t *stats)
{
    for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
        series_set(&loop->series, (metric_t)(METRIC_PHASES + phase), round, phase_ms(stats, (psgd_phase_t)phase));
    }
    series_set(&loop->series, METRIC_KERNEL, round,
               phase_ms(stats, PSGD_PHASE_COMPUTE_P) + phase_ms(stats, PSGD_PHASE_COMPUTE_Q) +
                   phase_ms(stats, PSGD_PHASE_DECOMPRESS));
    series_set(&loop->series, METRIC_ORTHO, round,
               phase_ms(stats, PSGD_PHASE_ORTHONORMALIZE_Q) + phase_ms(stats, PSGD_PHASE_ORTHOGONALIZE_P));
}

static tool_status_t enqueue_share(const void *backward, size_t tensor)
{
    return backward_enqueue(backward, tensor);
}

/* The backward pass and a step: behind it in one call, or beside it as gradients come. */
static tool_status_t run_backward_and_step(const loop_t *loop, bool is_overlapped)
{
    const bench_t *bench  = loop->bench;
    tool_status_t  status = TOOL_OK;

    if (is_overlapped) {
        return bench_step_in_parts(bench, loop->reducer, enqueue_share, &loop->backward);
    }
    for (size_t t = bench->model->count; t-- > 0 && status == TOOL_OK;) {
        status = backward_enqueue(&loop->backward, t);
    }
    return status == TOOL_OK ? bench_step(bench, loop->reducer, NULL) : status;
}

/* One of the two forms, on fresh gradients: what it takes, what of that is exposed, and how long the device waited for the network. */
static tool_status_t time_form(const loop_t *loop, uint32_t key, bool is_overlapped, double ms[NUM_METRICS])
{
    const metric_t first  = is_overlapped ? METRIC_OVERLAPPED : METRIC_BLOCKING;
    psgd_stats_t   stats  = PSGD_STATS_INIT;
    tool_status_t  status = gradients_fill(&loop->bench->gradients, key);
    double         begin;

    if (status == TOOL_OK) {
        status = workers_wait(loop->bench->workers);
    }
    begin = clock_now();
    if (status == TOOL_OK) {
        status = run_backward_and_step(loop, is_overlapped);
    }
    ms[first]     = 1e3 * (clock_now() - begin);
    ms[first + 1] = ms[first] - ms[METRIC_BACKWARD];
    if (status == TOOL_OK) {
        status = get_stats(loop, &stats);
    }
    ms[first + 2] = 1e-6 * (double)stats.network_ns_last;
    return status;
}

/* The pass alone, and both forms in turn. */
static tool_status_t time_backward(const loop_t *loop, uint64_t number, uint32_t key, double ms[NUM_METRICS])
{
    tool_status_t status = workers_wait(loop->bench->workers);
    double        begin  = clock_now();

    if (status == TOOL_OK) {
        status = backward_run(&loop->backward);
    }
    ms[METRIC_BACKWARD] = 1e3 * (clock_now() - begin);
    for (uint64_t i = 0; i < 2 && status == TOOL_OK; ++i) {
        status = time_form(loop, key, (number + i) % 2 == 1, ms);
    }
    return status;
}

/* Fresh gradients, then one of each. */
static tool_status_t run_round(loop_t *loop, uint64_t number, double ms[NUM_METRICS], psgd_stats_t *stats)
{
    const bench_t *bench = loop->bench;
    tool_status_t  status;

    status = gradients_fill(&bench->gradients, gradients_key(bench->workers->index, FIRST_STEP + number));
    if (status == TOOL_OK) {
        status = time_step(loop, &ms[METRIC_STEP]);
    }
    if (status == TOOL_OK) {
        status = get_stats(loop, stats);
    }
    if (status == TOOL_OK) {
        status = time_floor(loop, &ms[METRIC_FLOOR]);
    }
    if (status == TOOL_OK && !loop->is_exact) {
        status = time_plain(loop, &ms[METRIC_PLAIN], &ms[METRIC_PLAIN_COPY]);
    }
    for (int is_fused = 0; is_fused < 2 && status == TOOL_OK && times_update(loop); ++is_fused) {
        status = time_update(loop, gradients_key(bench->workers->index, FIRST_STEP + number), is_fused != 0,
                             &ms[is_fused != 0 ? METRIC_FUSED : METRIC_WRITTEN]);
    }
    if (status == TOOL_OK && times_backward(loop)) {
        status = time_backward(loop, number, gradients_key(bench->workers->index, FIRST_STEP + number), ms);
    }
    return status;
}

static tool_status_t run_rounds(loop_t *loop, psgd_stats_t *stats)
{
    size_t        rounds = loop->series.rounds;
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < WARM_UP_ROUNDS + rounds && status == TOOL_OK; ++i) {
        double ms[NUM_METRICS] = {0.0};

        status = run_round(loop, i, ms, stats);
        if (status == TOOL_OK && i >= WARM_UP_ROUNDS) {
            for (int metric = METRIC_STEP; metric < METRIC_KERNEL; ++metric) {
                series_set(&loop->series, (metric_t)metric, i - WARM_UP_ROUNDS, ms[metric]);
            }
            note_phases(loop, i - WARM_UP_ROUNDS, stats);
        }
    }
    return status == TOOL_OK ? series_take_slowest(&loop->series, loop->bench->workers) : status;
}

static void take_times(loop_t *loop, measured_t *measured)
{
    if (!loop->is_exact) {
        measured->step       = series_spread(&loop->series, METRIC_STEP);
        measured->floor      = series_spread(&loop->series, METRIC_FLOOR);
        measured->plain      = series_spread(&loop->series, METRIC_PLAIN);
        measured->plain_copy = series_spread(&loop->series, METRIC_PLAIN_COPY);
        measured->written    = series_spread(&loop->series, METRIC_WRITTEN);
        measured->fused      = series_spread(&loop->series, METRIC_FUSED);
        measured->backward           = series_spread(&loop->series, METRIC_BACKWARD);
        measured->blocking           = series_spread(&loop->series, METRIC_BLOCKING);
        measured->overlapped         = series_spread(&loop->series, METRIC_OVERLAPPED);
        measured->blocking_exposed   = series_spread(&loop->series, METRIC_BLOCKING_EXPOSED);
        measured->blocking_network   = series_spread(&loop->series, METRIC_BLOCKING_NETWORK);
        measured->overlapped_exposed = series_spread(&loop->series, METRIC_OVERLAPPED_EXPOSED);
        measured->overlapped_network = series_spread(&loop->series, METRIC_OVERLAPPED_NETWORK);
        return;
    }
    measured->exact_step   = series_spread(&loop->series, METRIC_STEP);
    measured->kernel_floor = series_spread(&loop->series, METRIC_FLOOR);
    measured->kernel       = series_spread(&loop->series, METRIC_KERNEL);
    measured->ortho        = series_spread(&loop->series, METRIC_ORTHO);
    for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
        measured->phases[phase] = series_spread(&loop->series, (metric_t)(METRIC_PHASES + phase));
    }
}

/* What the reducer of the first loop says of itself. */
static tool_status_t take_stats(const loop_t *loop, const psgd_stats_t *stats, measured_t *measured)
{
    tool_status_t status = TOOL_OK;

    measured->change_ms        = loop->change_ms;
    measured->launches         = stats->launches_last_step;
    measured->messages         = stats->messages_last_step;
    measured->wire_bytes       = stats->bytes_last_step;
    measured->device_bytes     = stats->device_bytes;
    measured->compression_rate = stats->compression_rate;
    measured->num_compressed   = (size_t)stats->num_compressed_tensors;
    for (size_t t = 0; t < loop->bench->model->count && status == TOOL_OK; ++t) {
        psgd_tensor_plan_t plan;

        status = bench_tensor_plan(loop->reducer, t, &plan);
        measured->num_fused += status == TOOL_OK && plan.rank > 0 && plan.engine == PSGD_ENGINE_FUSED;
    }
    return status == TOOL_OK ? bench_compressed_elems(loop->bench, loop->reducer, &measured->compressed_elems) : status;
}

static tool_status_t run_loop(const bench_t *bench, bool is_exact, measured_t *measured)
{
    loop_t        loop   = {.bench = bench, .is_exact = is_exact};
    psgd_stats_t  stats  = PSGD_STATS_INIT;
    tool_status_t status = prepare(&loop, measured->rank);

    if (status == TOOL_OK) {
        status = run_rounds(&loop, &stats);
        if (status == TOOL_OK && !is_exact) {
            status = take_stats(&loop, &stats, measured);
        }
        if (status == TOOL_OK) {
            take_times(&loop, measured);
        } else {
            workers_give_up(bench->workers, status);
        }
    }
    finish(&loop);
    return status;
}

tool_status_t measure_run(const bench_t *bench, uint32_t rank, measured_t *measured_p)
{
    measured_t    measured = {.rank = rank};
    tool_status_t status;

    bench_say(bench, rank, "checking the results");
    status = verify_run(bench, rank, &measured.verified);
    if (status == TOOL_OK) {
        bench_say(bench, rank, "timing steps");
        status = run_loop(bench, false, &measured);
    }
    if (status == TOOL_OK) {
        bench_say(bench, rank, "timing phases");
        status = run_loop(bench, true, &measured);
    }
    bench_say(bench, rank, NULL);
    if (status == TOOL_OK) {
        *measured_p = measured;
    }
    return status;
}

static double ratio(double above, double below)
{
    return above > 0.0 && below > 0.0 ? above / below : (double)NAN;
}

/* A floor of no elements still takes the time of looking at the clock. */
static double floor_ratio(const measured_t *measured, double above, double below)
{
    return measured->compressed_elems > 0 ? ratio(above, below) : (double)NAN;
}

double measured_floor_fraction(const measured_t *measured)
{
    return floor_ratio(measured, measured->floor.median, measured->step.median);
}

double measured_kernel_floor_fraction(const measured_t *measured)
{
    return floor_ratio(measured, measured->kernel_floor.median, measured->kernel.median);
}

double measured_ortho_share(const measured_t *measured)
{
    return floor_ratio(measured, measured->ortho.median, measured->exact_step.median);
}

double measured_plain_ratio(const measured_t *measured)
{
    return ratio(measured->plain.median, measured->step.median);
}

double measured_exposed_ratio(const measured_t *measured)
{
    return ratio(measured->overlapped_exposed.median, measured->blocking_exposed.median);
}

const char *measured_engine(const measured_t *measured)
{
    if (measured->num_compressed == 0) {
        return "none";
    }
    if (measured->num_fused == 0) {
        return psgd_engine_name(PSGD_ENGINE_CLBLAST);
    }
    return measured->num_fused == measured->num_compressed ? psgd_engine_name(PSGD_ENGINE_FUSED) : "mixed";
}
