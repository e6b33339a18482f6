#include "report.h"

#include <math.h>

enum { LABEL_WIDTH = 26, COLUMN_WIDTH = 18 };

/* One row of the table: what stands in a run's column, and what the row says. */
typedef struct table_row {
    const char *label;
    void (*write)(const run_t *run, char *text, size_t bytes);
    const char *meaning;
} table_row_t;

static void write_accuracy(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f %%", 100.0 * run->accuracy);
}

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
    snprintf(text, bytes, "%.2f ms", run->ms_per_step - run->exchange_ms);
}

static void write_exchange_time(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%.2f ms", run->exchange_ms);
}

static void write_hash(const run_t *run, char *text, size_t bytes)
{
    snprintf(text, bytes, "%016llx", (unsigned long long)run->params_hash);
}

static const table_row_t table_rows[] = {
    {"test accuracy", write_accuracy, "test images classified rightly"},
    {"sent per worker and step", write_sent, "what each worker hands to the network; 1 MB is 10^6 bytes"},
    {"time per step", write_step_time, "wall-clock, mean over steps and workers"},
    {"  model", write_model_time, "forward, backward, optimizer"},
    {"  exchange", write_exchange_time, "from gradients to update: compression, messages, waiting for the others"},
    {"final parameters", write_hash, "the same on every worker: compared"},
};

enum { NUM_TABLE_ROWS = sizeof(table_rows) / sizeof(table_rows[0]) };

static void write_heading(const report_t *report, FILE *file)
{
    const trainer_t *trainer = report->trainer;
    const options_t *options = trainer->options;

    fprintf(file, "%s, %zu parameters; %u worker%s on %s%s\n", model_name(options->model),
            trainer->network.params.elems, (unsigned)trainer->workers->count, trainer->workers->count > 1 ? "s" : "",
            trainer->gpu.info.name, trainer->same_devices ? "" : " (worker 0) and other devices");
    fprintf(file,
            "%llu steps of %u images per worker (%.2f epochs), learning rate %g, decay %s, momentum %g, seed %llu\n\n",
            (unsigned long long)trainer->steps, (unsigned)options->batch,
            (double)trainer->steps / (double)trainer->steps_per_epoch, options->lr, decay_name(options->decay),
            options->momentum, (unsigned long long)options->seed);
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

static void write_rows(const report_t *report, FILE *file)
{
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

void report_write_table(const report_t *report, FILE *file)
{
    char heading[32] = "";

    write_heading(report, file);
    if (report->powersgd != NULL) {
        snprintf(heading, sizeof(heading), "PowerSGD, rank %u", (unsigned)report->powersgd->rank);
    }
    write_line(report, "", "plain all-reduce", heading, "", file);
    write_rows(report, file);
    if (report->plain != NULL && report->powersgd != NULL) {
        fprintf(file, "\nPowerSGD sends %.1f times fewer bytes; its accuracy is %+.2f points from the plain run's.\n",
                report->plain->bytes_per_step / report->powersgd->bytes_per_step,
                100.0 * (report->powersgd->accuracy - report->plain->accuracy));
    }
}

/* A JSON string. */
static void write_string(const char *text, FILE *file)
{
    fputc('"', file);
    for (; *text != '\0'; ++text) {
        unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\') {
            fprintf(file, "\\%c", byte);
        } else if (byte < 0x20) {
            fprintf(file, "\\u%04x", byte);
        } else {
            fputc(byte, file);
        }
    }
    fputc('"', file);
}

/* A number, or null where there is none (JSON knows no NaN). */
static void write_number(const char *key, double number, FILE *file)
{
    if (isfinite(number)) {
        fprintf(file, "    \"%s\": %.10g,\n", key, number);
    } else {
        fprintf(file, "    \"%s\": null,\n", key);
    }
}

static void write_run(const char *key, const run_t *run, FILE *file)
{
    if (run == NULL) {
        fprintf(file, "  \"%s\": null", key);
        return;
    }
    fprintf(file, "  \"%s\": {\n", key);
    fprintf(file, "    \"rank\": %u,\n", (unsigned)run->rank);
    write_number("accuracy", run->accuracy, file);
    write_number("test_loss", run->test_loss, file);
    write_number("bytes_per_step", run->bytes_per_step, file);
    fprintf(file, "    \"bytes_total\": %llu,\n", (unsigned long long)run->bytes_total);
    fprintf(file, "    \"messages_per_step\": %llu,\n", (unsigned long long)run->messages_per_step);
    write_number("compression_rate", run->compression_rate, file);
    write_number("ms_per_step", run->ms_per_step, file);
    write_number("exchange_ms", run->exchange_ms, file);
    write_number("seconds", run->seconds, file);
    fprintf(file, "    \"params_hash\": \"%016llx\"\n", (unsigned long long)run->params_hash);
    fprintf(file, "  }");
}

void report_write_json(const report_t *report, FILE *file)
{
    const trainer_t *trainer = report->trainer;
    const options_t *options = trainer->options;

    fprintf(file, "{\n  \"schema\": 1,\n  \"version\": \"%s\",\n", psgd_version_string());
    fprintf(file, "  \"model\": \"%s\",\n  \"parameters\": %zu,\n", model_name(options->model),
            trainer->network.params.elems);
    fprintf(file, "  \"workers\": %u,\n  \"device\": ", (unsigned)trainer->workers->count);
    write_string(trainer->gpu.info.name, file);
    fprintf(file, ",\n  \"driver\": ");
    write_string(trainer->gpu.info.driver_version, file);
    fprintf(file, ",\n  \"same_devices\": %s,\n  \"device_indices\": [", trainer->same_devices ? "true" : "false");
    for (uint32_t w = 0; w < trainer->workers->count; ++w) {
        fprintf(file, "%s%u", w > 0 ? ", " : "", (unsigned)trainer->device_indices[w]);
    }
    fprintf(file, "]");
    fprintf(file, ",\n  \"data\": ");
    write_string(options->data, file);
    fprintf(file, ",\n  \"train_images\": %u,\n  \"test_images\": %u,\n", (unsigned)trainer->train.count,
            (unsigned)trainer->test.count);
    fprintf(file, "  \"rank\": %u,\n  \"epochs\": %.6g,\n  \"steps\": %llu,\n  \"steps_per_epoch\": %llu,\n",
            (unsigned)options->rank, (double)trainer->steps / (double)trainer->steps_per_epoch,
            (unsigned long long)trainer->steps, (unsigned long long)trainer->steps_per_epoch);
    fprintf(file, "  \"batch\": %u,\n  \"lr\": %.17g,\n  \"decay\": \"%s\",\n  \"momentum\": %.17g,\n",
            (unsigned)options->batch, options->lr, decay_name(options->decay), options->momentum);
    fprintf(file, "  \"seed\": %llu,\n  \"start_step\": %llu,\n  \"min_compression_rate\": %.17g,\n",
            (unsigned long long)options->seed, (unsigned long long)options->start_step, options->min_compression_rate);
    write_run("plain", report->plain, file);
    fprintf(file, ",\n");
    write_run("powersgd", report->powersgd, file);
    if (report->plain != NULL && report->powersgd != NULL) {
        fprintf(file, ",\n  \"bytes_ratio\": %.6g", report->plain->bytes_per_step / report->powersgd->bytes_per_step);
    }
    fprintf(file, "\n}\n");
}
