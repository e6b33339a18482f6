/* What PowerSGD replaces: MPI's own all-reduce of the whole gradient. */
#ifndef PSGD_BENCH_PLAIN_H
#define PSGD_BENCH_PLAIN_H

#include "gradients.h"
#include "workers.h"

typedef struct plain {
    const gradients_t *gradients;
    const workers_t   *workers;
    float *host;   /* extent elements, where host and device share no memory or gradients have 16 bits; else NULL */
    void  *halves; /* extent of these: MPI has no sum of them, so that their single precision is added up */
} plain_t;

/* Freed by plain_destroy(), also after an error. */
tool_status_t plain_create(const gradients_t *gradients, const workers_t *workers, plain_t *plain_p);
void          plain_destroy(plain_t *plain);

/* Adds up all workers' gradients in place: MPI_Allreduce where the buffers are mapped, or on a host copy of them.
 * *reduce_ms_p is what MPI took, *copy_ms_p mapping and unmapping, or both copies. Of gradients in
 * 16 bits what MPI takes for as many floats; their buffers are copied and keep what they hold, and nothing is converted. */
tool_status_t plain_run(const plain_t *plain, double *reduce_ms_p, double *copy_ms_p);

#endif
