/* What all parts of a benchmark share: the device, the gradients, the workers. */
#ifndef PSGD_BENCH_BENCH_H
#define PSGD_BENCH_BENCH_H

#include <stdbool.h>

#include "floor.h"
#include "gradients.h"
#include "model.h"
#include "options.h"
#include "workers.h"

typedef struct bench {
    const options_t *options;
    const workers_t *workers;
    const model_t   *model;
    gpu_t            gpu;
    gradients_t      gradients;
    psgd_tensor_t   *tensors;      /* the model's */
    uint8_t         *has_gradient; /* of each tensor, on this worker; NULL: all are there */
    psgd_comm_t     *comm;         /* of all workers */
    uint32_t         num_nodes;    /* between which messages pass; 0: the flat form */
    bool             same_devices; /* of all workers */
} bench_t;

/* A collective: opens the device, allocates the gradients, and makes a step alone at each rank, so that every kernel is
 * compiled before anything is timed; then connects the workers. One worker for each kind of device on a machine goes
 * first, and the others find what it left in the driver's cache: drivers may fail where several processes fill that at
 * once. Where it fails it has said why. Must not move. Freed by bench_destroy(), also after an error. */
tool_status_t bench_create(bench_t *bench, const options_t *options, const workers_t *workers, const model_t *model,
                           const psgd_device_info_t *info);
void          bench_destroy(bench_t *bench);

/* A reducer as the options want it, changed to `rank` where they want another one before; freed by psgd_reducer_destroy(), also after
 * an error. A collective of the workers of `comm`. change_ms_p, where it is not NULL: what the change took, 0 without. */
tool_status_t bench_create_reducer(const bench_t *bench, uint32_t rank, bool exact_phase_times, const psgd_comm_t *comm,
                                   psgd_reducer_t **reducer_p, double *change_ms_p);

/* One step on the gradients as they lie there; with an optimizer, which takes the update. */
tool_status_t bench_step(const bench_t *bench, psgd_reducer_t *reducer, const psgd_optimizer_t *optimizer);

/* The same, tensor by tensor from the last to the first, each of them behind `before` (NULL: nothing), which enqueues what computes its
 * gradient. */
typedef tool_status_t (*bench_before_fn)(const void *user, size_t tensor);
tool_status_t bench_step_in_parts(const bench_t *bench, psgd_reducer_t *reducer, bench_before_fn before,
                                  const void *user);

/* How the reducer sends tensor `index`. */
tool_status_t bench_tensor_plan(const psgd_reducer_t *reducer, size_t index, psgd_tensor_plan_t *plan_p);

/* N: elements of the tensors that the reducer compresses. */
tool_status_t bench_compressed_elems(const bench_t *bench, const psgd_reducer_t *reducer, uint64_t *elems_p);

/* The moves of memory that the options leave a step with. */
floor_form_t bench_floor_form(const options_t *options);

/* Says on a terminal what is being done at this rank; NULL takes the line away. */
void bench_say(const bench_t *bench, uint32_t rank, const char *doing);

#endif
