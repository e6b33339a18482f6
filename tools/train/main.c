/* psgd-train: data-parallel training on Fashion-MNIST, once with plain all-reduce and once with PowerSGD.
 *
 * It uses libpsgd as any program would, through <psgd/psgd.h> and <psgd/psgd_mpi.h>: trainer.c is where. Run alone it is one worker; under
 * mpiexec each process is one. */
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

/* Where the JSON goes; NULL where none is wanted. Opened before the training, so that a wrong path costs no hour. */
static train_status_t open_json(const options_t *options, const workers_t *workers, FILE **file_p)
{
    FILE *file = NULL;

    if (options->json && workers_is_speaker(workers)) {
        file = options->json_file != NULL ? fopen(options->json_file, "w") : stdout;
        if (file == NULL) {
            return train_fail(TRAIN_FAILED, "cannot write %s: %s", options->json_file, strerror(errno));
        }
    }
    *file_p = file;
    return TRAIN_OK;
}

/* Closes what open_json() has opened; a full disk shows here. */
static train_status_t close_json(const options_t *options, FILE *file)
{
    int result;

    if (file == NULL) {
        return TRAIN_OK;
    }
    result = file == stdout ? fflush(file) : fclose(file);
    if (result != 0) {
        return train_fail(TRAIN_FAILED, "cannot write %s: %s", options->json_file != NULL ? options->json_file : "the JSON",
                          strerror(errno));
    }
    return TRAIN_OK;
}

/* The runs that the options ask for, and what came out. */
static train_status_t run_and_report(trainer_t *trainer, FILE *json)
{
    const options_t *options      = trainer->options;
    bool             wants_plain  = options->compare || options->rank == 0;
    bool             wants_psgd   = options->rank > 0;
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
    if (workers_is_speaker(trainer->workers) && json != stdout) {
        report_write_table(&report, stdout);
    }
    if (json != NULL) {
        report_write_json(&report, json);
    }
    return TRAIN_OK;
}

/* With the data read: the device, the trainer, the runs. */
static train_status_t train(const options_t *options, const workers_t *workers, const dataset_t *dataset, FILE *json)
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
        status = run_and_report(&trainer, json);
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
    FILE          *json = NULL;
    train_status_t status, closed;

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
    status = workers_agree(workers, open_json(&options, workers, &json));
    if (status == TRAIN_OK) {
        status = load(&options, workers, &dataset);
    }
    if (status == TRAIN_OK) {
        status = train(&options, workers, &dataset, json);
    }
    closed = close_json(&options, json);
    if (status == TRAIN_OK) {
        status = workers_agree(workers, closed);
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
