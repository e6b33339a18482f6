/* The communicator of the workers. */
#ifndef PSGD_TOOLS_CONNECT_H
#define PSGD_TOOLS_CONNECT_H

#include <psgd/psgd.h>

#include "hierarchy.h"
#include "workers.h"

/* A collective of all workers. *num_nodes_p: between how many nodes messages pass; of the flat form, 0. */
tool_status_t connect_workers(const workers_t *workers, hierarchy_t hierarchy, psgd_comm_t **comm_p,
                              uint32_t *num_nodes_p);

#endif
