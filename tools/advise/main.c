/* psgd-advise: whether compressing gradients makes training faster here, and the honest no where it does not.
 *
 * device.c and link.c measure, predict.c is arithmetic, advice.c concludes. Run alone it is one worker; under mpiexec each process is
 * one, and the link between them is measured. */
#include <stdio.h>

#include "advice.h"
#include "device.h"
#include "link.h"
#include "model_workers.h"
#include "output.h"
#include "report.h"
#include "worker_tool.h"

/* What can be refused before anything is measured. */
static tool_status_t check(const options_t *options, const workers_t *workers)
{
    tool_status_t status = output_check(workers_is_speaker(workers) ? options->json_file : NULL);

    if (status == TOOL_OK) {
        status = output_check(workers_is_speaker(workers) ? options->save_calibration : NULL);
    }
    /* One worker that saves what it measured of the device has something to save. */
    if (status == TOOL_OK && options_need_link(options) && workers->count < 2) {
        status = tool_fail(TOOL_USAGE,
                           "one worker has no link to measure: run it by mpiexec -n 2 or more, or say what there is by "
                           "--link-gbps or --in-memory");
    }
    return workers_agree(workers, status);
}

static tool_status_t measure(const options_t *options, const workers_t *workers, const model_t *model, calibration_t *c)
{
    tool_status_t status = TOOL_OK;

    snprintf(c->model, sizeof(c->model), "%s", options->model);
    c->elems   = model->elems;
    c->workers = workers->count;
    if (options_need_device(options)) {
        status = workers_agree(workers, workers_share_cores(workers));
    }
    if (status == TOOL_OK && options_need_device(options)) {
        status = device_measure(options, workers, model, c);
    }
    if (status == TOOL_OK && options->host_gbs == 0.0 && options->calibration == NULL &&
        (options_need_device(options) || options_need_link(options))) {
        status = link_measure_host(workers, c);
    }
    if (status == TOOL_OK && options_need_link(options)) {
        c->host_gbs = options->host_gbs > 0.0 ? options->host_gbs : c->host_gbs;
        status      = link_measure(workers, model->elems, c);
    }
    return status;
}

static tool_status_t get_calibration(const options_t *options, const workers_t *workers, const model_t *model,
                                     calibration_t *c)
{
    tool_status_t status;

    if (options->calibration != NULL) {
        return workers_agree(workers, calibration_read(options->calibration, c));
    }
    status = measure(options, workers, model, c);
    if (status == TOOL_OK && options->save_calibration != NULL) {
        status = workers_agree(workers, workers_is_speaker(workers)
                                            ? output_write(options->save_calibration, calibration_write, c)
                                            : TOOL_OK);
    }
    return status;
}

static tool_status_t write_results(const options_t *options, const workers_t *workers, const advice_t *advice)
{
    tool_status_t status = TOOL_OK;

    if (workers_is_speaker(workers)) {
        status = output_write_results(options->json, options->json_file, report_write_table, report_write_json, advice);
    }
    return workers_agree(workers, status);
}

static tool_status_t advise(const options_t *options, const workers_t *workers, const model_t *model)
{
    static calibration_t calibration;
    static advice_t      advice;
    tool_status_t        status = get_calibration(options, workers, model, &calibration);

    if (status == TOOL_OK) {
        status = workers_agree(workers, advice_make(options, model, &calibration, workers->count, &advice));
    }
    if (status == TOOL_OK) {
        status = write_results(options, workers, &advice);
    }
    advice_free(&advice);
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
    status = model_load_alike(workers, options_hash(&options), options.model, &model);
    if (status == TOOL_OK) {
        status = check(&options, workers);
    }
    if (status == TOOL_OK) {
        status = advise(&options, workers, &model);
    }
    model_free(&model);
    return status;
}

int main(int argc, char **argv)
{
    return worker_tool_main(argc, argv, "psgd-advise", NULL, run);
}
