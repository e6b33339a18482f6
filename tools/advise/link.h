/* What the link between the workers of this job costs. */
#ifndef PSGD_ADVISE_LINK_H
#define PSGD_ADVISE_LINK_H

#include "calibration.h"
#include "workers.h"

/* A collective: how fast this host copies what is sent and received, and adds it up, all workers at once: calibration->host_gbs. */
tool_status_t link_measure_host(const workers_t *workers, calibration_t *calibration);

/* A collective of two workers or more: whether all of them are on one machine, so that there is no wire; latency and
 * bandwidth, from all-reduces of growing sizes, the last that of the model's gradient where that takes no more than
 * seconds. Needs host_gbs. Errors: TOOL_USAGE for one worker. */
tool_status_t link_measure(const workers_t *workers, uint64_t model_elems, calibration_t *calibration);

/* One all-reduce of so many bytes took so long. */
typedef struct link_sample {
    double bytes;
    double seconds;
} link_sample_t;

/* samples[0 .. count), by size, the first of a few bytes, into a network of so many workers: its latency is a round's share of the first
 * sample, and what is left at each other size is the cost of a byte. In memory that is the hosts' alone; on a link it is the wire's, less
 * what hosts of host_gbs take. */
void link_fit(const link_sample_t *samples, size_t count, uint32_t workers, bool in_memory, double host_gbs,
              network_t *network_p);

#endif
