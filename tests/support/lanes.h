/* What a communicator of nodes is made of, where all workers are threads of this process: and a spy in front of any of them. */
#ifndef PSGD_TESTS_SUPPORT_LANES_H
#define PSGD_TESTS_SUPPORT_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

enum { LANES_MAX_WORKERS = 8, LANES_MAX_NODES = 8 };

/* Nodes and how many workers each has. */
typedef struct node_shape {
    uint32_t num_nodes;
    uint32_t sizes[LANES_MAX_NODES];
} node_shape_t;

uint32_t node_shape_workers(const node_shape_t *shape);

/* The node of a worker, and its index there. */
uint32_t node_shape_node(const node_shape_t *shape, uint32_t worker, uint32_t *local_index_p);

/* One worker's. */
typedef struct lanes {
    psgd_comm_t *up, *down, *leaders;
} lanes_t;

/* lanes[0 .. workers); on the main thread. */
void lanes_create(const node_shape_t *shape, lanes_t *lanes);

/* Of one worker, where no communicator of nodes has taken them over. */
void lanes_destroy(lanes_t *lanes);

/* What a spy does, and has seen. */
typedef struct spy {
    psgd_comm_t  table;
    psgd_comm_t *inner;

    bool     lacks_reduce_scatter, lacks_all_gather, lacks_all_to_all, lacks_broadcast;
    uint32_t delay;        /* not 0: a request is said not to be complete yet in up to so many tests, by chance */
    uint64_t stream;       /* of the chance */
    int64_t  failing_test; /* the test that fails, from 0; below 0: none */
    int64_t  failing_begin;

    uint64_t num_begun, num_tests, num_all_reduces, num_aborts;
    uint64_t bytes; /* handed to begin_*: of an all_to_all, what is sent */
} spy_t;

/* Sets no habits: change them, then spy_wrap(). */
void spy_init(spy_t *spy);

/* In front of *comm, which it destroys in the end; `spy` outlives it. */
void spy_wrap(spy_t *spy, psgd_comm_t **comm);

#endif
