#include "report.h"

#include "compressor_options.h"
#include "compressors/compressor.h"
#include "hierarchy.h"
#include "json.h"

enum { LABEL_WIDTH = 28, COLUMN_WIDTH = 18 };

/* One row of the table: what stands in a run's column, and what the row says. */
typedef struct table_row {
    const char *label;
    void (*write)(const run_t *run, char *text, size_t bytes);
    const char *meaning;
} table_row_t;

static void write_sent(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.4f MB", 1e-6 * run->bytes_per_step);
}

static void write_step_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->ms_per_step);
}

static void write_model_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->model_ms);
}

static void write_exchange_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->exchange_ms);
}

static void write_submit_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->submit_ms);
}

static void write_wait_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->wait_ms);
}

static void write_network_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->network_ms);
}

static void write_hash(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%016llx", (unsigned long long)run->params_hash);
}

static const table_row_t table_rows[] = {
    {"sent per worker and step", write_sent, "what each worker hands to the network; 1 MB is 10^6 bytes"},
    {"time per step", write_step_time, "wall-clock, mean over steps and workers"},
    {"  model", write_model_time, "forward and backward, until the last gradient is there"},
    {"  exchange", write_exchange_time, "from there to the update: compression, messages, waiting for the others"},
    {"host, submitting", write_submit_time, "of the step: handing gradients to the library"},
    {"host, waiting", write_wait_time, "of the step: from the last gradient enqueued to the update"},
    {"device idle for the network", write_network_time,
     "of the step: it had nothing to do and waited for other workers"},
    {"final parameters", write_hash, "the same on every worker: compared"},
};

enum { NUM_TABLE_ROWS = sizeof(table_rows) / sizeof(table_rows[0]) };

static void write_precisions(const options_t *options, FILE *file)
{
    if (options->gradient_dtype != (int)PSGD_F32 || options->wire != (int)PSGD_F32 ||
        options_error_dtype(options) != PSGD_F32) {
        fprintf(file, "gradients in %s, factors travel in %s, error memory in %s\n",
                dtype_name((psgd_dtype_t)options->gradient_dtype), dtype_name((psgd_dtype_t)options->wire),
                dtype_name(options_error_dtype(options)));
    }
    fprintf(file, "\n");
}

/* How gradients get to the compressor that is not the library's. */
static void write_compressor(const options_t *options, FILE *file)
{
    fprintf(file, "%s, rank %u, learning rate %g, exchanged in one call behind the backward pass\n",
            compressor_words[options->compressor], (unsigned)options->rank, options->compressor_lr);
}

/* How gradients get to the library. */
static void write_form(const options_t *options, FILE *file)
{
    if (options->compressor != (int)COMPRESSOR_POWERSGD) {
        write_compressor(options, file);
        if (!options->compare) {
            return;
        }
        fprintf(file, "plain: ");
    }
    if (options->bucket_kb > 0) {
        fprintf(file, "buckets of %llu KB", (unsigned long long)options->bucket_kb);
    } else {
        fprintf(file, "one bucket");
    }
    fprintf(file, ", exchanged %s the backward pass%s\n", options->no_overlap ? "in one call behind" : "beside",
            options->progress_thread ? ", with a thread of the library's" : "");
}

static void write_heading(const report_t *report, FILE *file)
{
    const trainer_t *trainer = report->trainer;
    const options_t *options = trainer->options;

    fprintf(file, "%s, %zu parameters; %u worker%s on %s%s\n", model_name(options->model),
            trainer->network.params.elems, (unsigned)trainer->workers->count, trainer->workers->count > 1 ? "s" : "",
            trainer->gpu.info.name, trainer->same_devices ? "" : " (worker 0) and other devices");
    fprintf(file,
            "%llu steps of %llu %s per worker (%.2f epochs), learning rate %g, decay %s, momentum %g, seed %llu\n",
            (unsigned long long)trainer->steps, (unsigned long long)trainer->task->step_examples,
            trainer->task->ops->words.examples, (double)trainer->steps / (double)trainer->steps_per_epoch, options->lr,
            decay_name(options->decay), options->momentum, (unsigned long long)options->seed);
    if (trainer->num_nodes > 0) {
        fprintf(file, "%u node%s: their workers combine in memory, one of each speaks to the others\n",
                (unsigned)trainer->num_nodes, trainer->num_nodes > 1 ? "s" : "");
    }
    write_form(options, file);
    write_precisions(options, file);
}

/* One line: a cell for each run that there is, and the meaning. */
static void write_line(const report_t *report, const char *label, const char *plain, const char *powersgd,
                       const char *meaning, FILE *file)
{
    fprintf(file, "%-*s", LABEL_WIDTH, label);
    if (report->plain != NULL) {
        fprintf(file, "%*s", COLUMN_WIDTH, plain);
    }
    if (report->powersgd != NULL) {
        fprintf(file, "%*s", COLUMN_WIDTH, powersgd);
    }
    fprintf(file, "   %s\n", meaning);
}

/* What the last test came to. */
static void write_quality(const report_t *report, FILE *file)
{
    const task_t       *task  = report->trainer->task;
    const task_words_t *words = &task->ops->words;
    char                label[LABEL_WIDTH], plain[32] = "", powersgd[32] = "";

    snprintf(label, sizeof(label), "test %s", words->quality);
    if (report->plain != NULL) {
        snprintf(plain, sizeof(plain), "%.2f%s", words->scale * report->plain->quality, words->unit);
    }
    if (report->powersgd != NULL) {
        snprintf(powersgd, sizeof(powersgd), "%.2f%s", words->scale * report->powersgd->quality, words->unit);
    }
    write_line(report, label, plain, powersgd, task->meaning, file);
}

static void write_rows(const report_t *report, FILE *file)
{
    write_quality(report, file);
    for (size_t i = 0; i < NUM_TABLE_ROWS; ++i) {
        char plain[32]    = "";
        char powersgd[32] = "";

        if (report->plain != NULL) {
            table_rows[i].write(report->plain, plain, sizeof(plain));
        }
        if (report->powersgd != NULL) {
            table_rows[i].write(report->powersgd, powersgd, sizeof(powersgd));
        }
        write_line(report, table_rows[i].label, plain, powersgd, table_rows[i].meaning, file);
    }
}

static const char *compressed_name(const report_t *report)
{
    const compressor_ops_t *ops = compressor_find((compressor_t)report->trainer->options->compressor);

    return ops != NULL ? ops->title : "PowerSGD";
}

void report_write_table(const report_t *report, FILE *file)
{
    char heading[32] = "";

    write_heading(report, file);
    if (report->powersgd != NULL) {
        compressor_options_title(report->trainer->options, report->powersgd->rank, heading, sizeof(heading));
    }
    write_line(report, "", "plain all-reduce", heading, "", file);
    write_rows(report, file);
    if (report->powersgd != NULL && report->trainer->options->energy_every > 0) {
        fprintf(file,
                "\nThe factors held %.1f %% of the energy of gradients and error memory when it was last measured.\n",
                100.0 * report->powersgd->captured);
    }
    if (report->plain != NULL && report->powersgd != NULL) {
        const task_words_t *words = &report->trainer->task->ops->words;

        fprintf(file, "\n%s sends %.1f times fewer bytes; its %s is %+.2f%s from the plain run's.\n",
                compressed_name(report), report->plain->bytes_per_step / report->powersgd->bytes_per_step,
                words->quality, words->scale * (report->powersgd->quality - report->plain->quality), words->difference);
    }
}

/* The tests, by step. */
static void write_curve(json_t *json, const run_t *run, const char *quality)
{
    json_begin_array(json, "curve");
    for (size_t i = 0; i < run->num_points; ++i) {
        const curve_point_t *point = &run->curve[i];

        json_begin_object(json, NULL);
        json_integer(json, "step", point->step);
        json_real(json, "test_loss", point->test_loss);
        json_real(json, quality, point->quality);
        json_integer(json, "bytes_total", point->bytes_total);
        json_real(json, "seconds", point->seconds);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_run(json_t *json, const char *key, const run_t *run, const char *quality)
{
    char hash[17];

    if (run == NULL) {
        json_null(json, key);
        return;
    }
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)run->params_hash);
    json_begin_object(json, key);
    json_integer(json, "rank", run->rank);
    json_real(json, quality, run->quality);
    json_real(json, "test_loss", run->test_loss);
    json_real(json, "bytes_per_step", run->bytes_per_step);
    json_integer(json, "bytes_total", run->bytes_total);
    json_integer(json, "messages_per_step", run->messages_per_step);
    json_real(json, "compression_rate", run->compression_rate);
    json_real(json, "captured_share", run->captured);
    json_real(json, "ms_per_step", run->ms_per_step);
    json_real(json, "model_ms", run->model_ms);
    json_real(json, "exchange_ms", run->exchange_ms);
    json_real(json, "submit_ms", run->submit_ms);
    json_real(json, "wait_ms", run->wait_ms);
    json_real(json, "network_ms", run->network_ms);
    json_real(json, "seconds", run->seconds);
    json_text(json, "params_hash", hash);
    write_curve(json, run, quality);
    json_end_object(json);
}

/* What was trained, by whom, on what. */
static void write_job(json_t *json, const trainer_t *trainer)
{
    const options_t *options = trainer->options;

    json_integer(json, "schema", 1);
    json_text(json, "version", psgd_version_string());
    json_text(json, "model", model_name(options->model));
    json_integer(json, "width", options->width);
    json_integer(json, "depth", options->depth);
    json_integer(json, "parameters", trainer->network.params.elems);
    json_integer(json, "workers", trainer->workers->count);
    json_integer(json, "nodes", trainer->num_nodes);
    json_text(json, "device", trainer->gpu.info.name);
    json_text(json, "driver", trainer->gpu.info.driver_version);
    json_bool(json, "same_devices", trainer->same_devices);
    json_begin_array(json, "device_indices");
    for (uint32_t w = 0; w < trainer->workers->count; ++w) {
        json_integer(json, NULL, trainer->device_indices[w]);
    }
    json_end_array(json);
    json_text(json, "data", trainer->task->data);
    trainer->task->ops->write_json(trainer->task, json);
}

static void write_settings(json_t *json, const trainer_t *trainer)
{
    const options_t *options = trainer->options;

    json_text(json, "compressor", compressor_words[options->compressor]);
    json_real(json, "compressor_lr", options->compressor_lr);
    json_integer(json, "rank", options->rank);
    json_real(json, "epochs", (double)trainer->steps / (double)trainer->steps_per_epoch);
    json_integer(json, "steps", trainer->steps);
    json_integer(json, "steps_per_epoch", trainer->steps_per_epoch);
    json_integer(json, "test_every", options->test_every);
    json_integer(json, "batch", options->batch);
    json_real(json, "lr", options->lr);
    json_text(json, "decay", decay_name(options->decay));
    json_real(json, "momentum", options->momentum);
    json_integer(json, "seed", options->seed);
    json_integer(json, "start_step", options->start_step);
    json_integer(json, "half_iterations", options->half_iterations);
    json_real(json, "max_norm", options->max_norm);
    json_bool(json, "fused_update", options->fused_update);
    json_real(json, "min_compression_rate", options->min_compression_rate);
    json_integer(json, "error_feedback", options->error_feedback);
    json_integer(json, "warm_start", options->warm_start);
    json_integer(json, "byte_budget", options->byte_budget);
    json_text(json, "wire", dtype_name((psgd_dtype_t)options->wire));
    json_text(json, "error_dtype", dtype_name(options_error_dtype(options)));
    json_text(json, "gradient_dtype", dtype_name((psgd_dtype_t)options->gradient_dtype));
    json_real(json, "loss_scale", options->loss_scale);
    json_bool(json, "flatten", options->flatten);
    json_bool(json, "orthogonalize_shorter", options->shorter);
    json_integer(json, "new_rank", options->new_rank);
    json_integer(json, "new_rank_step", options->new_rank_step);
    json_integer(json, "energy_every", options->energy_every);
    json_text(json, "sharing", sharing_name(options->sharing));
    json_text(json, "hierarchy", hierarchy_words[options->hierarchy]);
    json_integer(json, "check_every", options->check_every);
    json_text(json, "tensors", options->tensors);
    json_integer(json, "absent_every", options->absent_every);
    json_integer(json, "reset_error_every", options->reset_error_every);
    json_text(json, "engine", psgd_engine_name((psgd_engine_t)options->engine));
    json_bool(json, "finite", options->is_finite);
    json_integer(json, "bucket_kb", options->bucket_kb);
    json_bool(json, "overlap", !options->no_overlap);
    json_bool(json, "progress_thread", options->progress_thread);
    json_text(json, "rule", rule_name(options->rule));
    json_real(json, "weight_decay", options->weight_decay);
}

void report_write_json(const report_t *report, FILE *file)
{
    json_t      json    = {file, 0, true};
    const char *quality = report->trainer->task->ops->words.quality;

    json_begin_object(&json, NULL);
    write_job(&json, report->trainer);
    write_settings(&json, report->trainer);
    write_run(&json, "plain", report->plain, quality);
    write_run(&json, "powersgd", report->powersgd, quality);
    if (report->plain != NULL && report->powersgd != NULL) {
        json_real(&json, "bytes_ratio", report->plain->bytes_per_step / report->powersgd->bytes_per_step);
    }
    json_end_object(&json);
}
