/* A recorded case as a job for the library. */
#ifndef PSGD_TESTS_SUPPORT_GOLDEN_JOB_H
#define PSGD_TESTS_SUPPORT_GOLDEN_JOB_H

#include "support/golden.h"
#include "support/job.h"

/* Describes the case; it imports the recorded Q as the README of tests/golden says. `tensors` has room for
 * GOLDEN_MAX_TENSORS and lives as long as the job, as does `golden`. job->user is `golden`. */
job_t golden_job(golden_t *golden, psgd_tensor_t *tensors);

#endif
