/* The exchange of gradients in one training step: handed to the library layer by layer while the backward pass goes on, or in one
 * call behind it (--no-overlap). The same buckets give the same bits either way. With --compressor, in one call to that (compression.h). */
#ifndef PSGD_TRAIN_EXCHANGE_H
#define PSGD_TRAIN_EXCHANGE_H

#include <stdbool.h>

#include <psgd/psgd.h>

#include "compression.h"
#include "options.h"
#include "params.h"

/* What one step is told. */
typedef struct exchange_step {
    uint64_t number;
    uint32_t worker;     /* this one's index */
    float    rate;       /* the learning rate */
    bool     is_sampled; /* whether to note when the gradients are there */
} exchange_step_t;

/* One step. The library reads what lies here until the step has ended, so it must not move. */
typedef struct exchange {
    const options_t    *options;
    const params_t     *params;
    psgd_reducer_t     *reducer;     /* NULL where there is a compression */
    compression_t      *compression; /* --compressor; NULL: the reducer's */
    exchange_step_t     step;
    psgd_buffer_t       grads[PARAMS_MAX_TENSORS], values[PARAMS_MAX_TENSORS], velocities[PARAMS_MAX_TENSORS];
    uint8_t             has_gradient[PARAMS_MAX_TENSORS];
    psgd_optimizer_t    optimizer;
    psgd_step_options_t step_options;
    psgd_status_t       submitted;       /* PSGD_OK, or the first failure of a submission */
    cl_event            gradients_event; /* of a sampled step: complete when the gradients are there */
    double              submit_seconds;  /* spent in submissions */
} exchange_t;

/* Before the backward pass, with one of reducer and compression. What fails here is told to all workers by exchange_end(). Freed by
 * exchange_free(). */
void exchange_begin(exchange_t *x, const options_t *options, const params_t *params, psgd_reducer_t *reducer,
                    compression_t *compression, const exchange_step_t *step);
void exchange_free(exchange_t *x);

/* A network_ready_fn: gradients that the backward pass has enqueued, the last tensors first. Does not wait for the device. */
tool_status_t exchange_take(void *exchange, size_t first, size_t count);

/* Of a sampled step: returns when the device has computed all gradients. What was submitted goes on meanwhile. */
tool_status_t exchange_wait_for_gradients(const exchange_t *x);

/* The gradients' buffers hold the update; or, with --fused-update, parameters and velocities are updated. Waits. A collective. */
tool_status_t exchange_end(exchange_t *x);

#endif
