/* What was measured: of a device, at some ranks, and of a link. */
#ifndef PSGD_ADVISE_CALIBRATION_H
#define PSGD_ADVISE_CALIBRATION_H

#include <stdio.h>

#include "options.h"
#include "predict.h"

/* A step of a worker alone at one rank. */
typedef struct measured_rank {
    uint32_t      rank;
    local_costs_t local;
    traffic_t     traffic; /* of what was measured: the model, or as much of it as there was memory for */
} measured_rank_t;

typedef struct calibration {
    char     model[256];
    uint64_t elems;   /* of all its tensors */
    uint32_t workers; /* that measured at once */

    bool            has_device;
    char            device[256];
    bool            shares_memory; /* device and host */
    bool            is_finite;     /* the form of the step */
    double          device_gbs;    /* that the moves of a step's passes reach, by kernels that do nothing else */
    double          launch_us;
    double          staging_gbs;
    double          staging_latency_us;
    measured_rank_t ranks[OPTIONS_MAX_RANKS];
    size_t          num_ranks;

    double host_gbs; /* messages copied and added up; 0: not measured */

    bool      has_link;
    bool      in_memory; /* it is none: all workers were on one machine */
    network_t network;   /* as measured between `workers` */
} calibration_t;

/* What was measured at this rank, or NULL. */
const measured_rank_t *calibration_find(const calibration_t *calibration, uint32_t rank);

/* Writes a calibration_t as JSON, one object. */
void calibration_write(const void *user, FILE *file);

/* Reads what calibration_write() wrote. Errors: TOOL_FAILED, with the file and what is wrong in it. */
tool_status_t calibration_read(const char *path, calibration_t *calibration_p);

#endif
