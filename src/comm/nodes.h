/* A communicator of nodes: workers that share memory combine first, and one of them speaks for the node.
 *
 * Three communicators serve it. `up` and `down` connect the workers of one node, in the same order; `leaders` connects the workers of
 * index 0 of all nodes, the leaders. Workers are numbered node by node, in the order of their leaders. */
#ifndef PSGD_COMM_NODES_H
#define PSGD_COMM_NODES_H

#include <psgd/psgd.h>

#include "base/clock.h"

/* As psgd_comm_nodes_create(), whose errors it has. */
psgd_status_t psgd_nodes_comm_open(psgd_comm_t *up, psgd_comm_t *down, psgd_comm_t *leaders, psgd_patience_t patience,
                                   psgd_comm_t **comm_p);

/* As psgd_comm_nodes_threads_create(), whose errors it has. */
psgd_status_t psgd_nodes_threads_open(uint32_t num_threads, psgd_comm_t *leaders, psgd_patience_t patience,
                                      psgd_comm_t **comms_p);

/* As psgd_comm_nodes_describe(), whose errors it has. */
psgd_status_t psgd_nodes_comm_describe(const psgd_comm_t *comm, uint32_t *num_nodes_p, uint32_t *node_index_p,
                                       uint32_t *node_workers_p);

#endif
