/* Workers that are MPI processes. Each runs the whole suite; the outcome of a test is agreed on by all of them, so that
 * no process goes on to the next test while another one waits for it in this one. */
#ifndef PSGD_TESTS_MPI_PROCESSES_H
#define PSGD_TESTS_MPI_PROCESSES_H

#include <stdbool.h>
#include <stdint.h>

#include <psgd/psgd.h>

#include "support/job.h"
#include "support/test_device.h"

/* Starts MPI and opens this process's device; and undoes it. */
void processes_open(int *argc, char ***argv);
void processes_close(void);

uint32_t processes_count(void);
uint32_t processes_index(void);

const test_device_t *processes_device(void);

/* Whether the processes run on different devices or drivers: then worker 0 orthogonalizes for all. */
bool processes_are_mixed(void);

/* Fails the test in every process where `status` is not PSGD_OK in one, with that one's last error. A collective. */
void processes_agree(psgd_status_t status);

/* This worker's part of a job, over a communicator of its own; fails in all processes where it does in one. */
void processes_run_job(const job_t *job, job_record_t *record_p);

/* Fails where the processes' updates differ in a bit; all are gathered to process 0 and compared there. */
void processes_assert_equal_updates(const job_record_t *record);

/* The mean over the processes of the error memory after a step; freed by the caller. */
double *processes_mean_error(const job_record_t *record, uint32_t step);

#endif
