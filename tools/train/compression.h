/* The exchange of gradients by a compressor other than PowerSGD: on the host, in one call behind the backward pass. It stands where the
 * library's reducer does: gradients in, the update out, the same bits on every worker.
 *
 *     with error feedback           with momentum (Signum)                without
 *     M = gradient + e              m = beta m + (1 - beta) gradient      M = gradient
 *     send C(M)                     send sign(m)                          send C(M)
 *     e = M - C(M)
 *     update = mean of all C(M)     update = sign of the sum of all       update = mean of all C(M)
 *
 * Tensors that are not compressed travel as they are, and their update is the mean; with Signum the sign of that mean's momentum, since a
 * learning rate that fits signs fits nothing else. Updates are clipped to a norm over all tensors, as the library's are
 * (psgd_config_t.max_norm), but for Signum's, which are all of one size. Which tensors are compressed
 * psgd_config_t.min_compression_rate says, as with PowerSGD. */
#ifndef PSGD_TRAIN_COMPRESSION_H
#define PSGD_TRAIN_COMPRESSION_H

#include <stdbool.h>

#include <psgd/psgd.h>

#include "compressors/compressor.h"
#include "params.h"

typedef struct compression_settings {
    compressor_t compressor;
    uint32_t     rank;
    double       min_compression_rate;
    bool         error_feedback; /* of the compressors that have it */
    double       momentum;       /* beta of those that keep one */
    uint64_t     seed;
    double       max_norm; /* of an update; 0: it is not clipped */
} compression_settings_t;

/* What it has come to. */
typedef struct compression_stats {
    uint64_t
        bytes_total; /* handed to the communicator by this worker: the vector of an all-reduce, its own part of an all-gather */
    uint64_t messages_last_step; /* collectives */
    double   network_seconds;    /* waiting in them */
    double   compression_rate;   /* gradient elements over words sent in their place */
} compression_stats_t;

typedef struct compression compression_t;

/* tensors[0 .. count) lie at offsets[0 .. count) of a buffer of `extent` floats; names and dimensions are read here alone. A tensor's own
 * rank counts, a view is refused. `comm` must outlive it. Freed by compression_destroy(). Errors: a sentence. */
tool_status_t compression_create(const compression_settings_t *settings, const psgd_tensor_t *tensors,
                                 const size_t *offsets, size_t count, size_t extent, const psgd_comm_t *comm,
                                 compression_t **compression_p);
void          compression_destroy(compression_t *compression);

/* values[0 .. extent): this worker's gradients, and the update when it returns. `step` is the same on all workers. A collective. Errors:
 * TOOL_ALL_FAILED, where a gradient of any worker or the update is not finite; TOOL_FAILED. The run cannot go on then. */
tool_status_t compression_step_host(compression_t *compression, float *values, uint64_t step);

/* The same of gradients on the device. Waits for those. */
tool_status_t compression_step(compression_t *compression, const params_t *params, uint64_t step);

/* What compression has left out so far, or the momentum: extent floats, 0 where nothing is compressed; NULL where nothing is kept. */
const float *compression_memory(const compression_t *compression);

compression_stats_t compression_stats(const compression_t *compression);

#endif
