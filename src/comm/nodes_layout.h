/* Which workers form which node, and what all nodes can do: found out once, when a communicator of nodes is created. */
#ifndef PSGD_COMM_NODES_LAYOUT_H
#define PSGD_COMM_NODES_LAYOUT_H

#include <stdbool.h>

#include <psgd/psgd.h>

#include "base/clock.h"

typedef enum psgd_nodes_skill {
    PSGD_NODES_REDUCE_SCATTER,
    PSGD_NODES_ALL_GATHER,
    PSGD_NODES_ALL_TO_ALL,
    PSGD_NODES_BROADCAST,
    PSGD_NODES_NUM_SKILLS
} psgd_nodes_skill_t;

typedef struct psgd_nodes_layout {
    uint32_t  num_nodes, node_index;      /* this worker's node */
    uint32_t  node_workers, local_index;  /* workers of this node, and this one among them; the leader is 0 */
    uint32_t  num_workers;                /* of all nodes */
    uint32_t *firsts;                     /* num_nodes + 1: node n has workers firsts[n] .. firsts[n + 1] - 1 */
    bool      can[PSGD_NODES_NUM_SKILLS]; /* the three communicators can, on every node */
} psgd_nodes_layout_t;

/* A collective of all workers. `leaders` is NULL on all but the leaders. Errors, on all workers alike unless a deadline passes:
 * PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_UNSUPPORTED, PSGD_ERR_TIMEOUT, PSGD_ERR_COMM, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_nodes_layout_find(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders,
                                     psgd_patience_t patience, psgd_nodes_layout_t *layout_p);

/* A collective of the leaders alone, each for a node of node_workers workers that can do everything among themselves. The layout is
 * that of the leader. */
psgd_status_t psgd_nodes_layout_find_for(uint32_t node_workers, const psgd_comm_t *leaders, psgd_patience_t patience,
                                         psgd_nodes_layout_t *layout_p);

/* The same for another worker of the node. */
psgd_status_t psgd_nodes_layout_copy(const psgd_nodes_layout_t *layout, uint32_t local_index,
                                     psgd_nodes_layout_t *copy_p);

void psgd_nodes_layout_free(psgd_nodes_layout_t *layout);

/* This worker's index among all. */
uint32_t psgd_nodes_layout_worker(const psgd_nodes_layout_t *layout);

#endif
