/* What a step costs: host arithmetic alone. Times are in seconds, sizes in bytes, rates in units a second.
 *
 * A message costs latency and bandwidth. With W workers, n bytes, latency a and b seconds a byte, an all-reduce takes the least of
 *
 *    doubling   L (a + n b)                          each worker exchanges the whole vector with L others
 *    tree       2 L a + 2 (W - 1)/W n b              halving, then doubling: parts of it (Rabenseifner)
 *    ring       2 (W - 1) a + 2 (W - 1)/W n b        parts of it, to the neighbour
 *
 * L = log2 W. Where W is no power of two the first two are of the power of two below, and 2 (a + n b) more: the workers above it hand in
 * what they have and get the result. b has two parts: the wire's, 8 / bits a second, and the host's, which copies what is sent and
 * received, and adds it up. */
#ifndef PSGD_ADVISE_PREDICT_H
#define PSGD_ADVISE_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "traffic.h"

enum { PREDICT_MAX_POINTS = 16 };

/* What a byte costs depends on the size of the message: a link that was measured has points. */
typedef struct cost_point {
    double bytes; /* that are to be added up over the workers */
    double s_per_byte;
} cost_point_t;

typedef struct cost_curve {
    cost_point_t points[PREDICT_MAX_POINTS]; /* by size */
    size_t       count;                      /* 0: the constant beside it counts */
} cost_curve_t;

/* A link. */
typedef struct network {
    double       latency_s;
    double       wire_s_per_byte; /* 0: workers exchange through memory */
    double       host_s_per_byte;
    cost_curve_t wire;
    cost_curve_t host;
} network_t;

typedef enum algorithm { ALGORITHM_NONE, ALGORITHM_DOUBLING, ALGORITHM_TREE, ALGORITHM_RING } algorithm_t;

const char *algorithm_name(algorithm_t algorithm);

/* A link of so many Gbit/s in place of the one that `network` has; everything else stays. */
network_t network_with_gbps(const network_t *network, double gbps);

/* What a byte costs in a message of so many: on the wire, and the hosts. */
double network_wire_s_per_byte(const network_t *network, double bytes);
double network_host_s_per_byte(const network_t *network, double bytes);

/* An all-reduce of `bytes`; 0 for one worker, or no bytes. *which_p (may be NULL): the fastest. */
double predict_all_reduce(const network_t *network, uint32_t workers, double bytes, algorithm_t *which_p);

/* What a step costs a worker apart from messages, all tensors together. */
typedef struct local_costs {
    double compute_p_s;
    double compute_q_s;
    double decompress_s;
    double ortho_s; /* orthonormalize_q and orthogonalize_p, half of it each */
    double host_s;  /* staging, and what the host does; half of it with each message */
} local_costs_t;

double local_sum(const local_costs_t *local);

/* `local` of a model with traffic `from`, for one with traffic `to`: the passes go by N, the rest by what is sent. */
local_costs_t local_scale(const local_costs_t *local, const traffic_t *from, const traffic_t *to);

/* A device that is described and not measured. */
typedef struct device_rates {
    double bytes_per_s;         /* that the passes of a step move */
    double flops_per_s;         /* of the products */
    double launch_s;            /* of one kernel */
    double staging_bytes_per_s; /* between device and host memory */
    double staging_latency_s;   /* of one transfer */
} device_rates_t;

/* A step at rank r on it. Passes move 3 N, N and 3 N floats (with `is_finite` 3 N, N, N) and compute 8 N r in all; each takes what is the
 * longer of the two. Orthogonalization: 3 r + 2 launches and 4 r flops an element, for P and for Q. Staging: P and Q there and back,
 * large tensors there and back. */
local_costs_t predict_local(const device_rates_t *device, const traffic_t *traffic, uint32_t rank, bool is_finite);

/* What a plain step's copies cost: there and back; 0 where device and host share memory. */
double predict_copies(const device_rates_t *device, const traffic_t *traffic, bool shares_memory);

/* One question: these buckets, over this link, by so many workers, beside a backward pass that takes so long. */
typedef struct scenario {
    const bucket_list_t *buckets;
    network_t            network;
    uint32_t             workers;
    bool                 plain_is_direct; /* whole gradients cost the hosts nothing: devices send them */
    double backward_s; /* buckets come as it goes on, by their elements; 0: all are there at the beginning */
} scenario_t;

/* A message's bytes: the payload, and the vote that goes with it. */
double predict_message_bytes(uint64_t elems, uint32_t workers);

/* The messages of a compressed step, one after the other. */
double predict_messages(const scenario_t *scenario);

/* The link as whole gradients see it. */
network_t predict_plain_network(const scenario_t *scenario);

/* What a step adds to the backward pass: whole gradients, a bucket after the other, with copies_s of copies in all. */
double predict_plain(const scenario_t *scenario, double copies_s);

/* The same of a compressed step. The device computes in one order, the backward pass included, and the network sends in one order; each
 * bucket's Q follows its P. */
double predict_step(const scenario_t *scenario, const local_costs_t *local);

/* The Gbit/s below which compressing is the faster: infinite where it always is, 0 where it never is. */
double predict_break_even(const scenario_t *scenario, const local_costs_t *local, double copies_s);

#endif
