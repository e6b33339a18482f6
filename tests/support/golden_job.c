#include "support/golden_job.h"

#include <string.h>

#include "support/workers.h"

static void recorded_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    const golden_t *golden = job->user;

    memcpy(gradient, golden_gradient(golden, step, worker), golden->total_elems * sizeof(*gradient));
}

static psgd_status_t fill_recorded_factors(const golden_t *golden, uint32_t step, psgd_state_t *state, bool *is_empty_p)
{
    *is_empty_p = true;
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        const golden_draw_t *draw = golden_starting_factor(golden, step, t);

        if (draw != NULL) {
            worker_needs(psgd_state_set_factor(state, golden->tensors[t].name, draw->rows, (uint32_t)draw->cols,
                                               draw->values));
            *is_empty_p = false;
        }
    }
    return PSGD_OK;
}

static psgd_status_t import_recorded_factors(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    psgd_state_t *state = NULL;
    psgd_status_t status;
    bool          is_empty;

    (void)worker;
    worker_needs(psgd_state_create(&state));
    status = fill_recorded_factors(job->user, step, state, &is_empty);
    if ((status == PSGD_OK) && !is_empty) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

job_t golden_job(golden_t *golden, psgd_tensor_t *tensors)
{
    job_t         job;
    psgd_config_t config;

    golden_reducer_setup(golden, tensors, &config);
    job                     = job_describe(tensors, golden->num_tensors);
    config.deadline_seconds = job.config.deadline_seconds;
    job.config              = config;
    job.num_workers         = golden->num_workers;
    job.num_steps           = golden->num_steps;
    job.give_gradient       = recorded_gradient;
    job.before_step         = import_recorded_factors;
    job.user                = golden;
    return job;
}
