/* Training: one run from the initial parameters to the test in the end. */
#ifndef PSGD_TRAIN_TRAINER_H
#define PSGD_TRAIN_TRAINER_H

#include "compression.h"
#include "gpu.h"
#include "network.h"
#include "options.h"
#include "task.h"
#include "workers.h"

/* A test on the way, or in the end. */
typedef struct curve_point {
    uint64_t step; /* steps made */
    double   test_loss;
    double   quality;
    uint64_t bytes_total; /* as in run_t, so far */
    double   seconds;     /* of the steps, without tests; mean over the workers */
} curve_point_t;

/* What one run came to. Times are means over steps and workers; bytes are the same on every worker. */
typedef struct run {
    uint32_t rank;              /* 0: plain all-reduce */
    double   quality;           /* of the last test: accuracy or perplexity, as task_words_t says */
    double   test_loss;         /* of the last test: mean cross-entropy, nats */
    uint64_t bytes_total;       /* handed to the communicator by each worker, in all steps */
    double   bytes_per_step;    /* bytes_total over steps */
    uint64_t messages_per_step; /* collectives of the last step */
    double   compression_rate;  /* gradient elements over sent elements of a compressed step */
    double   ms_per_step;       /* wall-clock */
    double   model_ms;          /* of these, until the last gradient is on the device */
    double   exchange_ms;       /* and from there to the update on the device */
    double   submit_ms;         /* of the host: in psgd_reducer_begin() and psgd_reducer_submit() */
    double   wait_ms;           /* of the host: from the last submission to the update, whatever it waits for */
    double   network_ms; /* while the host waited for other workers and the device had nothing to do: psgd_stats_t */
    double   seconds;    /* of all steps, without tests */
    double
        captured; /* with energy_every: which part of the gradients' energy the factors captured when last measured */
    uint64_t params_hash;       /* of the parameters in the end; the same on every worker */
    curve_point_t *curve;             /* num_points tests, the last in the end; freed by free() */
    size_t         num_points;
} run_t;

typedef struct trainer {
    const options_t *options;
    const workers_t *workers;
    gpu_t            gpu;
    bool             same_devices;   /* of all workers */
    uint32_t        *device_indices; /* by worker: psgd_device_info_t.index on its machine */
    network_t        network;
    task_t          *task; /* the caller's */
    psgd_comm_t     *comm; /* of all workers */
    compression_t   *compression; /* of the run that is being made, where it is not the library's */
    uint32_t         num_nodes; /* between which messages pass; 0: the flat form */
    uint64_t         steps_per_epoch;
    uint64_t         steps; /* of a run */
    float           *rates; /* steps_per_epoch: the learning rates of the epoch */
} trainer_t;

/* A collective: opens the device, copies the data there, builds the model, and makes a few steps alone, so that
 * every kernel is compiled and loaded before anything is timed; then connects the workers. One worker for each kind
 * of device on a machine goes first, and the others find what it left in the driver's cache: drivers may fail where
 * several processes fill that at once. Where it fails it has said why. The trainer must not move. Freed by
 * trainer_destroy(), also after an error. */
tool_status_t trainer_create(trainer_t *trainer, const options_t *options, const workers_t *workers,
                             const psgd_device_info_t *info, task_t *task);
void          trainer_destroy(trainer_t *trainer);

/* Trains from the initial parameters of the seed, with gradients averaged at low rank `rank` (0: as they are), and
 * tests. Parameters that differ between workers in the end are an error. A collective. */
tool_status_t trainer_run(trainer_t *trainer, uint32_t rank, run_t *run_p);

#endif
