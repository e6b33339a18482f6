/* How an all-to-all goes by way of the leaders: the workers of a node bring their leader how much they send and expect, and what they
 * send; it arranges that by node, the leaders exchange, and each arranges what came by worker.
 *
 *    rows       by local worker: what it sends to each worker, what it expects of each, in bytes
 *    gathered   [ sender of this node | receiver ]                what the workers of the node send
 *    outgoing   [ node | sender of this node | receiver there ]   one block a node
 *    incoming   [ node | sender there | receiver of this node ]
 *    arranged   [ receiver of this node | sender ]                what they receive
 *
 * Memory is allocated by the first all-to-all of its size; only the leader needs more than its own row. */
#ifndef PSGD_COMM_NODES_ROUTE_H
#define PSGD_COMM_NODES_ROUTE_H

#include "comm/nodes_layout.h"

typedef struct psgd_route {
    size_t *own_row;                 /* 2 W */
    size_t *rows;                    /* node_workers x 2 W; the leader's */
    size_t *to_leader, *from_leader; /* node_workers: the counts of what goes up or down */
    size_t *to_nodes, *from_nodes;   /* num_nodes; the leader's */
    size_t *cursors;                 /* node_workers; the leader's */
    char   *gathered;                /* and arranged, when all is sent */
    char   *outgoing, *incoming;
    size_t  gathered_bytes, outgoing_bytes, incoming_bytes; /* allocated */
} psgd_route_t;

/* route->own_row, and memory for counts at the first call. Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_route_begin(psgd_route_t *route, const psgd_nodes_layout_t *layout, const size_t *send_counts,
                               const size_t *receive_counts);

/* The leader, when rows are there: memory for all that it will hold. */
psgd_status_t psgd_route_reserve(psgd_route_t *route, const psgd_nodes_layout_t *layout);

/* What local worker l sends in all, and receives. */
size_t psgd_route_sent(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l);
size_t psgd_route_received(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l);

/* The leader: outgoing and to_nodes, from_nodes from what was gathered; arranged from incoming. */
void psgd_route_pack(psgd_route_t *route, const psgd_nodes_layout_t *layout);
void psgd_route_arrange(psgd_route_t *route, const psgd_nodes_layout_t *layout);

void psgd_route_free(psgd_route_t *route);

#endif
