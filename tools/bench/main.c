/* psgd-bench: how long a step of PowerSGD takes, against what the device's memory and MPI allow.
 *
 * It uses libpsgd as any program would, through <psgd/psgd.h> and <psgd/psgd_mpi.h>. Run alone it is one worker; under
 * mpiexec each process is one. Results are checked before anything is timed (verify.c); measure.c times. */
#include <stdlib.h>

#include "bench.h"
#include "devices.h"
#include "measure.h"
#include "model_workers.h"
#include "output.h"
#include "report.h"
#include "worker_tool.h"

static void write_table(const void *report, FILE *file)
{
    report_write_table(report, file);
}

static void write_json(const void *report, FILE *file)
{
    report_write_json(report, file);
}

static void write_plan(const void *report, FILE *file)
{
    report_write_plan(report, file);
}

static void write_plan_json(const void *report, FILE *file)
{
    report_write_plan_json(report, file);
}

/* The table and the JSON, each where the options want it; worker 0 alone. */
static tool_status_t write_results(const bench_t *bench, output_write_fn table, output_write_fn json,
                                   const void *results)
{
    const options_t *options = bench->options;
    tool_status_t    status  = TOOL_OK;

    if (workers_is_speaker(bench->workers)) {
        status = output_write_results(options->json, options->json_file, table, json, results);
    }
    return workers_agree(bench->workers, status);
}

/* ---- --plan ---- */

/* What a tensor makes a step send, without the vote, as psgd_stats_t.bytes_last_step counts it; on average, with half-iterations. */
static uint64_t payload_bytes(const options_t *options, const psgd_tensor_plan_t *plan)
{
    const bool     is_narrow = options->wire != (int)PSGD_F32;
    const uint64_t p_bytes = is_narrow ? 3 : 4, q_bytes = is_narrow ? 2 : 4;

    if (plan->rank == 0) {
        return 4 * plan->elems;
    }
    if (options->half_iterations > 0) {
        return plan->batch * (plan->rows + plan->cols) * plan->rank * p_bytes * options->half_iterations / 2;
    }
    return plan->batch * (plan->rows * p_bytes + plan->cols * q_bytes) * plan->rank;
}

static tool_status_t fill_plan(const bench_t *bench, const psgd_reducer_t *reducer, plan_row_t *rows,
                               plan_report_t *report)
{
    psgd_stats_t  stats  = PSGD_STATS_INIT;
    tool_status_t status = tool_check(psgd_reducer_get_stats(reducer, &stats), "reading the statistics");

    for (size_t t = 0; t < bench->model->count && status == TOOL_OK; ++t) {
        rows[t].tensor = &bench->model->tensors[t];
        status         = bench_tensor_plan(reducer, t, &rows[t].plan);
        report->sent_elems += rows[t].plan.sent_elems;
        report->payload_bytes += status == TOOL_OK ? payload_bytes(bench->options, &rows[t].plan) : 0;
    }
    report->rows             = rows;
    report->device_bytes     = stats.device_bytes;
    report->compression_rate = stats.compression_rate;
    return status;
}

static tool_status_t show_plan(const bench_t *bench)
{
    plan_report_t   report  = {.bench = bench, .rank = bench->options->ranks[0]};
    psgd_reducer_t *reducer = NULL;
    plan_row_t     *rows    = NULL;
    tool_status_t   status;

    status =
        workers_agree(bench->workers, bench_create_reducer(bench, report.rank, false, bench->comm, &reducer, NULL));
    if (status == TOOL_OK) {
        status = tool_alloc(bench->model->count, sizeof(*rows), "the plan", &rows);
        if (status == TOOL_OK) {
            status = fill_plan(bench, reducer, rows, &report);
        }
        status = workers_agree(bench->workers, status);
    }
    if (status == TOOL_OK) {
        status = write_results(bench, write_plan, write_plan_json, &report);
    }
    free(rows);
    psgd_reducer_destroy(reducer);
    return status;
}

/* ---- the benchmark ---- */

static tool_status_t measure_all(const bench_t *bench)
{
    const options_t *options = bench->options;
    measured_t      *results = NULL;
    report_t         report  = {bench, NULL, options->num_ranks};
    tool_status_t    status;

    status = workers_agree(bench->workers, tool_alloc(options->num_ranks, sizeof(*results), "the results", &results));
    for (size_t i = 0; i < options->num_ranks && status == TOOL_OK; ++i) {
        status = measure_run(bench, options->ranks[i], &results[i]);
    }
    if (status == TOOL_OK) {
        report.measured = results;
        status          = write_results(bench, write_table, write_json, &report);
    }
    free(results);
    return status;
}

/* With the model known: the device, the workers, the runs. */
static tool_status_t run_model(const options_t *options, const workers_t *workers, const model_t *model)
{
    static bench_t     bench; /* its parts point to each other */
    psgd_device_info_t info   = PSGD_DEVICE_INFO_INIT;
    tool_status_t      status = workers_share_cores(workers);

    if (status == TOOL_OK) {
        status = devices_choose(options->device, workers, &info);
    }
    status = workers_agree(workers, status);
    if (status != TOOL_OK) {
        return status;
    }
    status = bench_create(&bench, options, workers, model, &info);
    if (status == TOOL_OK) {
        status = options->shows_plan ? show_plan(&bench) : measure_all(&bench);
    }
    bench_destroy(&bench);
    return status;
}

static tool_status_t run(int argc, char **argv, const workers_t *workers)
{
    options_t     options;
    model_t       model  = {0};
    tool_status_t status = workers_agree(workers, options_parse(argc, argv, &options));

    if (status != TOOL_OK) {
        return status;
    }
    if (worker_tool_answers(workers, options.help, options.version, options_print_help)) {
        return TOOL_OK;
    }
    status = workers_agree(workers, output_check(workers_is_speaker(workers) ? options.json_file : NULL));
    if (status == TOOL_OK) { /* workers may differ in it */
        status = workers_agree(workers, options.progress_thread ? workers_need_any_thread(workers, "--progress-thread")
                                                                : TOOL_OK);
    }
    if (status == TOOL_OK) {
        status = model_load_alike(workers, options_hash(&options), options.model, &model);
    }
    if (status == TOOL_OK) {
        status = run_model(&options, workers, &model);
    }
    model_free(&model);
    return status;
}

int main(int argc, char **argv)
{
    return worker_tool_main(argc, argv, "psgd-bench", "--progress-thread", run);
}
