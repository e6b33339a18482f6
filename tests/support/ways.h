/* A way to run a job: the options that tests of the whole library combine. What a way leaves out is the library's default. */
#ifndef PSGD_TESTS_SUPPORT_WAYS_H
#define PSGD_TESTS_SUPPORT_WAYS_H

#include "support/job.h"

typedef struct way {
    psgd_engine_t engine;
    job_memory_t  memory;
    uint32_t      num_workers; /* 0: 2 */
    bool          is_finite;   /* gradients_are_finite */
    bool          without_feedback, cold_start, flatten, orthogonalize_shorter;
    uint32_t      half_iterations;
    uint64_t      start_step, energy_every;
    double        max_norm;
    psgd_dtype_t  wire, error_dtype;
} way_t;

job_t way_job(const way_t *way, const psgd_tensor_t *tensors, size_t num_tensors);

#endif
