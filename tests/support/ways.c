#include "support/ways.h"

job_t way_job(const way_t *way, const psgd_tensor_t *tensors, size_t num_tensors)
{
    job_t job = job_describe(tensors, num_tensors);

    job.memory                       = way->memory;
    job.num_workers                  = way->num_workers > 0 ? way->num_workers : 2;
    job.config.engine                = way->engine;
    job.config.gradients_are_finite  = way->is_finite;
    job.config.error_feedback        = !way->without_feedback;
    job.config.warm_start            = !way->cold_start;
    job.config.flatten               = way->flatten;
    job.config.orthogonalize_shorter = way->orthogonalize_shorter;
    job.config.half_iterations       = way->half_iterations;
    job.config.start_step            = way->start_step;
    job.config.energy_every          = way->energy_every;
    job.config.max_norm              = way->max_norm;
    job.config.wire                  = way->wire;
    job.config.error_dtype           = way->error_dtype;
    return job;
}
