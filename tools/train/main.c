/* psgd-train: data-parallel training on Fashion-MNIST or a text, once with plain all-reduce and once with PowerSGD.
 *
 * It uses libpsgd as any program would, through <psgd/psgd.h> and <psgd/psgd_mpi.h>: exchange.c and trainer.c are where. Run alone
 * it is one worker; under mpiexec each process is one. */
#include <stdlib.h>

#include "devices.h"
#include "options.h"
#include "output.h"
#include "report.h"
#include "task.h"
#include "trainer.h"
#include "worker_tool.h"

static void write_table(const void *report, FILE *file)
{
    report_write_table(report, file);
}

static void write_json(const void *report, FILE *file)
{
    report_write_json(report, file);
}

/* The runs that the options ask for, and what came out. */
static tool_status_t run_and_report(trainer_t *trainer)
{
    const options_t *options     = trainer->options;
    bool             wants_plain = options->compare || options->rank == 0;
    bool             wants_psgd  = options->rank > 0;
    run_t            plain = {.curve = NULL}, powersgd = {.curve = NULL};
    report_t         report = {trainer, wants_plain ? &plain : NULL, wants_psgd ? &powersgd : NULL};
    tool_status_t    status = TOOL_OK;

    if (wants_plain) {
        status = trainer_run(trainer, 0, &plain);
    }
    if (status == TOOL_OK && wants_psgd) {
        status = trainer_run(trainer, options->rank, &powersgd);
    }
    if (status != TOOL_OK) {
        workers_give_up(trainer->workers, status);
        status = TOOL_FAILED;
    } else {
        status = workers_agree(trainer->workers, workers_is_speaker(trainer->workers)
                                                     ? output_write_results(options->json, options->json_file,
                                                                            write_table, write_json, &report)
                                                     : TOOL_OK);
    }
    free(plain.curve);
    free(powersgd.curve);
    return status;
}

/* With the data read: the device, the trainer, the runs. */
static tool_status_t train(const options_t *options, const workers_t *workers, task_t *task)
{
    static trainer_t   trainer; /* its parts point to each other */
    psgd_device_info_t info   = PSGD_DEVICE_INFO_INIT;
    tool_status_t      status = workers_share_cores(workers);

    if (status == TOOL_OK) {
        status = devices_choose(options->device, workers, &info);
    }
    status = workers_agree(workers, status);
    if (status != TOOL_OK) {
        return status;
    }
    status = trainer_create(&trainer, options, workers, &info, task);
    if (status == TOOL_OK) {
        status = run_and_report(&trainer);
    }
    trainer_destroy(&trainer);
    return status;
}

/* Reads the data, and sees to it that all workers mean the same. */
static tool_status_t load(const options_t *options, const workers_t *workers, task_t **task_p)
{
    tool_status_t status;

    status = workers_agree(workers, workers_compare(workers, options_job_hash(options), "the options",
                                                    "start all of them with the same ones"));
    if (status == TOOL_OK) {
        status = workers_agree(workers, options->model == MODEL_LSTM ? task_load_text(options, task_p)
                                                                     : task_load_images(options, task_p));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, workers_compare(workers, (*task_p)->ops->hash(*task_p), "the data",
                                                        "give all of them the same files"));
    }
    return status;
}

static tool_status_t run(int argc, char **argv, const workers_t *workers)
{
    options_t     options;
    task_t       *task = NULL;
    tool_status_t status;

    status = workers_agree(workers, options_parse(argc, argv, &options));
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
        status = load(&options, workers, &task);
    }
    if (status == TOOL_OK) {
        status = train(&options, workers, task);
    }
    if (task != NULL) {
        task->ops->destroy(task);
    }
    return status;
}

int main(int argc, char **argv)
{
    return worker_tool_main(argc, argv, "psgd-train", "--progress-thread", run);
}
