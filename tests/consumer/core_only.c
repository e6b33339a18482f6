/* A program that uses the core library alone, without MPI: one worker, one step. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <psgd/psgd.h>

enum { ROWS = 64, COLS = 48 };

int main(void)
{
    static float    grad[ROWS * COLS];
    float          *grads[] = { grad };
    psgd_tensor_t   weight  = PSGD_TENSOR_INIT;
    psgd_comm_t    *comm    = NULL;
    psgd_reducer_t *reducer = NULL;
    float           worst   = 0.0f;
    psgd_status_t   status;

    weight.name     = "weight";
    weight.num_dims = 2;
    weight.dims[0]  = ROWS;
    weight.dims[1]  = COLS;
    for (int i = 0; i < ROWS * COLS; i++) {
        grad[i] = 3.0f; /* rank 1, so the update is the gradient */
    }

    status = psgd_comm_self_create(&comm);
    if (status == PSGD_OK) {
        status = psgd_reducer_create(NULL, NULL, NULL, &weight, 1, NULL, comm, &reducer);
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_step_host(reducer, grads, 1);
    }
    for (int i = 0; i < ROWS * COLS; i++) {
        worst = fmaxf(worst, fabsf(grad[i] - 3.0f));
    }
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);

    if ((status != PSGD_OK) || (worst > 1e-5f) || (strcmp(psgd_version_string(), PSGD_VERSION_STRING) != 0)) {
        fprintf(stderr, "%s: %s; off by %g; library %s, header %s\n", psgd_status_name(status), psgd_last_error(),
                (double)worst, psgd_version_string(), PSGD_VERSION_STRING);
        return 1;
    }
    printf("one step with libpsgd %s\n", psgd_version_string());
    return 0;
}
