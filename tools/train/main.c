/* psgd-train: data-parallel training on Fashion-MNIST, once with plain all-reduce and once with PowerSGD.
 *
 * It uses libpsgd as any program would, through <psgd/psgd.h> and <psgd/psgd_mpi.h>: trainer.c is where. Run alone
 * it is one worker; under mpiexec each process is one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataset.h"
#include "devices.h"
#include "options.h"
#include "report.h"
#include "trainer.h"
#include "workers.h"

/* Sees to it that --json's FILE can be written before the training, so that a wrong path costs no hour. What it holds
 * stays until there is something new. */
static train_status_t check_json(const options_t *options, const workers_t *workers)
{
    FILE *file;

    if (options->json_file == NULL || !workers_is_speaker(workers)) {
        return TRAIN_OK;
    }
    file = fopen(options->json_file, "a");
    if (file == NULL || fclose(file) != 0) {
        return train_fail(TRAIN_FAILED, "cannot write %s: %s", options->json_file, strerror(errno));
    }
    return TRAIN_OK;
}

/* The table and the JSON, each where the options want it. A full disk shows at the end. */
static train_status_t write_report(const options_t *options, const report_t *report)
{
    FILE *file;

    if (!options->json || options->json_file != NULL) {
        report_write_table(report, stdout);
    } else {
        report_write_json(report, stdout);
    }
    if (fflush(stdout) != 0) {
        return train_fail(TRAIN_FAILED, "cannot write the results: %s", strerror(errno));
    }
    if (options->json_file == NULL) {
        return TRAIN_OK;
    }
    file = fopen(options->json_file, "w");
    if (file != NULL) {
        report_write_json(report, file);
    }
    if (file == NULL || fclose(file) != 0) {
        return train_fail(TRAIN_FAILED, "cannot write %s: %s", options->json_file, strerror(errno));
    }
    return TRAIN_OK;
}

/* The runs that the options ask for, and what came out. */
static train_status_t run_and_report(trainer_t *trainer)
{
    const options_t *options     = trainer->options;
    bool             wants_plain = options->compare || options->rank == 0;
    bool             wants_psgd  = options->rank > 0;
    run_t            plain, powersgd;
    report_t         report = {trainer, wants_plain ? &plain : NULL, wants_psgd ? &powersgd : NULL};
    train_status_t   status = TRAIN_OK;

    if (wants_plain) {
        status = trainer_run(trainer, 0, &plain);
    }
    if (status == TRAIN_OK && wants_psgd) {
        status = trainer_run(trainer, options->rank, &powersgd);
    }
    if (status != TRAIN_OK) {
        workers_give_up(trainer->workers, status);
        return TRAIN_FAILED;
    }
    if (workers_is_speaker(trainer->workers)) {
        status = write_report(options, &report);
    }
    return workers_agree(trainer->workers, status);
}

/* With the data read: the device, the trainer, the runs. */
static train_status_t train(const options_t *options, const workers_t *workers, const dataset_t *dataset)
{
    static trainer_t   trainer; /* its parts point to each other */
    psgd_device_info_t info   = PSGD_DEVICE_INFO_INIT;
    train_status_t     status = workers_share_cores(workers);

    if (status == TRAIN_OK) {
        status = devices_choose(options->device, workers, &info);
    }
    status = workers_agree(workers, status);
    if (status != TRAIN_OK) {
        return status;
    }
    status = trainer_create(&trainer, options, workers, &info, dataset);
    if (status == TRAIN_OK) {
        status = run_and_report(&trainer);
    }
    trainer_destroy(&trainer);
    return status;
}

/* Reads the data, and sees to it that all workers mean the same. */
static train_status_t load(const options_t *options, const workers_t *workers, dataset_t *dataset_p)
{
    train_status_t status;

    status = workers_agree(workers, workers_compare(workers, options_hash(options), "the options"));
    if (status == TRAIN_OK) {
        status = workers_agree(workers, dataset_load(options->data, dataset_p));
    }
    if (status == TRAIN_OK) {
        status = workers_agree(workers, workers_compare(workers, dataset_hash(dataset_p), "the data"));
    }
    return status;
}

static train_status_t run(int argc, char **argv, const workers_t *workers)
{
    options_t      options;
    dataset_t      dataset;
    train_status_t status;

    memset(&dataset, 0, sizeof(dataset));
    status = workers_agree(workers, options_parse(argc, argv, &options));
    if (status != TRAIN_OK) {
        return status;
    }
    if (options.help || options.version) {
        if (workers_is_speaker(workers) && options.help) {
            options_print_help(stdout);
        } else if (workers_is_speaker(workers)) {
            printf("psgd-train %s\n", psgd_version_string());
        }
        return TRAIN_OK;
    }
    status = workers_agree(workers, check_json(&options, workers));
    if (status == TRAIN_OK) {
        status = load(&options, workers, &dataset);
    }
    if (status == TRAIN_OK) {
        status = train(&options, workers, &dataset);
    }
    dataset_free(&dataset);
    return status;
}

int main(int argc, char **argv)
{
    workers_t      workers;
    train_status_t status = workers_begin(&argc, &argv, &workers);

    if (status != TRAIN_OK) {
        fprintf(stderr, "psgd-train: %s\n", train_last_error());
        return EXIT_FAILURE;
    }
    status = run(argc, argv, &workers);
    workers_end(&workers);
    return status == TRAIN_ALL_FAILED ? TRAIN_FAILED : (int)status;
}
