/* Workers of several nodes.
 *
 * A collective is a few steps, each a collective of one of three lanes: `up` and `down` connect the workers of a node, `across` their
 * leaders.
 *
 *                      up                        across                  down
 *    all_reduce        all_reduce                all_reduce              broadcast
 *    reduce_scatter    all_reduce                reduce_scatter          broadcast of the node's segments
 *    all_gather        all_gather of the node's  all_gather by node      broadcast
 *    broadcast         broadcast by the root     broadcast               broadcast, on other nodes
 *    all_to_all        all_to_all of the counts  all_to_all by node      all_to_all to the leader, before; from it, after
 *
 * So sums are made once for all workers, and copied: they have the same bits everywhere.
 *
 * Order. A step begins when the one before it is complete, which every worker finds out in its own time; yet the workers of a lane
 * must begin their collectives in the same order. Hence two rules. Steps of a lane begin in the order in which their requests were
 * begun, and those of one request in theirs: a step waits until all earlier requests have begun their last step of that lane. And what
 * goes up has a lane of its own: it begins at once, with the request, when nobody knows yet which earlier requests have come down where.
 * (On one lane for both the order would depend on that.) A step thus waits for earlier requests alone, so no two ever wait for each
 * other; and `test` of any request brings all of them on, so it does not matter which ones a worker tests.
 *
 * Where all workers are on one node, or each is on a node of its own, one lane connects them all and is used as it is. */
#include "comm/nodes.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "comm/nodes_layout.h"
#include "comm/nodes_route.h"
#include "comm/threads.h"
#include "comm/wait.h"

enum { MAX_REQUESTS = 32, /* under way at once */ MAX_STEPS = 4 };

typedef enum lane { LANE_UP, LANE_ACROSS, LANE_DOWN, NUM_LANES } lane_t;

typedef struct nodes nodes_t;

/* Begins a step's collective. *part_p stays NULL where this worker has no part in it, or there is nothing to send. */
typedef psgd_status_t (*begin_step_fn)(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p);

typedef struct step {
    lane_t        lane;
    begin_step_fn begin;
} step_t;

typedef struct operation {
    const char *name;
    size_t      num_steps;
    step_t      steps[MAX_STEPS];
    bool        lends_memory; /* the lanes read or write memory of this file's */
} operation_t;

struct psgd_request {
    psgd_request_t    *next_free;
    const operation_t *operation;
    size_t             next_step; /* that has not begun */
    lane_t             lane;      /* of the last one that has */
    psgd_request_t    *part;      /* its collective; NULL: complete */
    bool               is_done;

    /* What it was begun with. */
    char         *data; /* `receive` of an all_to_all */
    size_t        elem_bytes, count;
    const size_t *counts;
    uint32_t      root;
    const char   *send;
    const size_t *receive_counts;

    size_t      *node_counts; /* num_nodes; the leader's */
    psgd_route_t route;
};

/* One worker's communicator. */
struct nodes {
    psgd_comm_t         table;
    psgd_nodes_layout_t layout;
    psgd_comm_t        *lanes[NUM_LANES]; /* across: NULL but on the leader */
    const psgd_comm_t  *direct;           /* the lane that connects all workers; NULL: none does */
    psgd_status_t       failure;          /* what has gone wrong, for ever */
    char                sentence[512];
    psgd_request_t     *free_requests;
    size_t              num_under_way;
    psgd_request_t     *under_way[MAX_REQUESTS]; /* in the order in which they were begun */
    psgd_request_t      requests[MAX_REQUESTS];
    size_t             *node_counts; /* the memory of the requests' */
};

static bool is_leader(const nodes_t *nodes)
{
    return nodes->layout.local_index == 0;
}

static size_t sum_of(const size_t *counts, uint32_t begin, uint32_t end)
{
    size_t sum = 0;

    for (uint32_t w = begin; w < end; ++w) {
        sum += counts[w];
    }
    return sum;
}

/* Elements of the segments of node n. */
static size_t node_count(const nodes_t *nodes, const size_t *counts, uint32_t n)
{
    return sum_of(counts, nodes->layout.firsts[n], nodes->layout.firsts[n + 1]);
}

static void fill_node_counts(const nodes_t *nodes, psgd_request_t *request)
{
    for (uint32_t n = 0; n < nodes->layout.num_nodes; ++n) {
        request->node_counts[n] = node_count(nodes, request->counts, n);
    }
}

/* Where the segments of this worker's node begin, in elements. */
static size_t node_begin(const nodes_t *nodes, const size_t *counts)
{
    return sum_of(counts, 0, nodes->layout.firsts[nodes->layout.node_index]);
}

static float *floats_of(const psgd_request_t *request)
{
    void *data = request->data;

    return data;
}

/* ------------------------------------------------------------------------------------------------------- steps ---- */

static psgd_status_t sum_on_node(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *up = nodes->lanes[LANE_UP];

    return up->begin_all_reduce(up->self, floats_of(request), request->count, part_p);
}

static psgd_status_t sum_over_nodes(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *across = nodes->lanes[LANE_ACROSS];

    return across->begin_all_reduce(across->self, floats_of(request), request->count, part_p);
}

static psgd_status_t scatter_over_nodes(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *across = nodes->lanes[LANE_ACROSS];

    fill_node_counts(nodes, request);
    return across->begin_reduce_scatter(across->self, floats_of(request), request->node_counts, part_p);
}

static psgd_status_t gather_on_node(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *up = nodes->lanes[LANE_UP];

    if (node_count(nodes, request->counts, nodes->layout.node_index) == 0) {
        return PSGD_OK;
    }
    return up->begin_all_gather(up->self, request->data + node_begin(nodes, request->counts),
                                request->counts + nodes->layout.firsts[nodes->layout.node_index], part_p);
}

static psgd_status_t gather_over_nodes(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *across = nodes->lanes[LANE_ACROSS];

    fill_node_counts(nodes, request);
    return across->begin_all_gather(across->self, request->data, request->node_counts, part_p);
}

static psgd_status_t spread(nodes_t *nodes, char *data, size_t bytes, psgd_request_t **part_p)
{
    psgd_comm_t *down = nodes->lanes[LANE_DOWN];

    return bytes > 0 ? down->begin_broadcast(down->self, data, bytes, 0, part_p) : PSGD_OK;
}

static psgd_status_t spread_all(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    return spread(nodes, request->data, request->count * request->elem_bytes, part_p);
}

static psgd_status_t spread_segments(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    return spread(nodes, request->data + node_begin(nodes, request->counts) * request->elem_bytes,
                  node_count(nodes, request->counts, nodes->layout.node_index) * request->elem_bytes, part_p);
}

/* The node on which a worker is. */
static uint32_t node_of(const nodes_t *nodes, uint32_t worker)
{
    uint32_t low = 0, high = nodes->layout.num_nodes - 1;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (nodes->layout.firsts[middle + 1] > worker) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool is_on_root_node(const nodes_t *nodes, const psgd_request_t *request)
{
    return node_of(nodes, request->root) == nodes->layout.node_index;
}

static psgd_status_t bring_to_node(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *up = nodes->lanes[LANE_UP];

    if (!is_on_root_node(nodes, request)) {
        return PSGD_OK;
    }
    return up->begin_broadcast(up->self, request->data, request->count,
                               request->root - nodes->layout.firsts[nodes->layout.node_index], part_p);
}

static psgd_status_t pass_over_nodes(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t *across = nodes->lanes[LANE_ACROSS];

    return across->begin_broadcast(across->self, request->data, request->count, node_of(nodes, request->root), part_p);
}

static psgd_status_t spread_elsewhere(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    return is_on_root_node(nodes, request) ? PSGD_OK : spread_all(nodes, request, part_p);
}

/* An all_to_all in which the leader alone receives: own_bytes of this worker; the leader's from_leader says of whom how much. */
static psgd_status_t to_leader(const nodes_t *nodes, lane_t lane, psgd_route_t *route, const void *send,
                               size_t own_bytes, void *receive, psgd_request_t **part_p)
{
    const psgd_comm_t *comm = nodes->lanes[lane];

    memset(route->to_leader, 0, nodes->layout.node_workers * sizeof(*route->to_leader));
    if (!is_leader(nodes)) {
        memset(route->from_leader, 0, nodes->layout.node_workers * sizeof(*route->from_leader));
    }
    route->to_leader[0] = own_bytes;
    return comm->begin_all_to_all(comm->self, send, route->to_leader, receive, route->from_leader, part_p);
}

static psgd_status_t tell_counts(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_route_t *route     = &request->route;
    const size_t  row_bytes = 2 * (size_t)nodes->layout.num_workers * sizeof(*route->own_row);

    for (uint32_t l = 0; l < nodes->layout.node_workers; ++l) {
        route->from_leader[l] = row_bytes;
    }
    return to_leader(nodes, LANE_UP, route, route->own_row, row_bytes, is_leader(nodes) ? route->rows : route->own_row,
                     part_p);
}

static psgd_status_t bring_pieces(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_route_t *route  = &request->route;
    psgd_status_t status = is_leader(nodes) ? psgd_route_reserve(route, &nodes->layout) : PSGD_OK;

    for (uint32_t l = 0; is_leader(nodes) && (l < nodes->layout.node_workers); ++l) {
        route->from_leader[l] = psgd_route_sent(route, &nodes->layout, l);
    }
    if (status != PSGD_OK) {
        return status;
    }
    return to_leader(nodes, LANE_DOWN, route, request->send, sum_of(request->counts, 0, nodes->layout.num_workers),
                     is_leader(nodes) ? route->gathered : request->data, part_p);
}

static psgd_status_t exchange_blocks(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t  *across = nodes->lanes[LANE_ACROSS];
    psgd_route_t *route  = &request->route;

    psgd_route_pack(route, &nodes->layout);
    return across->begin_all_to_all(across->self, route->outgoing, route->to_nodes, route->incoming, route->from_nodes,
                                    part_p);
}

static psgd_status_t deal_pieces(nodes_t *nodes, psgd_request_t *request, psgd_request_t **part_p)
{
    psgd_comm_t  *down  = nodes->lanes[LANE_DOWN];
    psgd_route_t *route = &request->route;

    memset(route->to_leader, 0, nodes->layout.node_workers * sizeof(*route->to_leader));
    memset(route->from_leader, 0, nodes->layout.node_workers * sizeof(*route->from_leader));
    route->from_leader[0] = sum_of(request->receive_counts, 0, nodes->layout.num_workers);
    if (is_leader(nodes)) {
        psgd_route_arrange(route, &nodes->layout);
        for (uint32_t l = 0; l < nodes->layout.node_workers; ++l) {
            route->to_leader[l] = psgd_route_received(route, &nodes->layout, l);
        }
    }
    return down->begin_all_to_all(down->self, is_leader(nodes) ? route->gathered : request->send, route->to_leader,
                                  request->data, route->from_leader, part_p);
}

static const operation_t ALL_REDUCE = {
    "all_reduce", 3, {{LANE_UP, sum_on_node}, {LANE_ACROSS, sum_over_nodes}, {LANE_DOWN, spread_all}}, false};

static const operation_t REDUCE_SCATTER = {
    "reduce_scatter",
    3,
    {{LANE_UP, sum_on_node}, {LANE_ACROSS, scatter_over_nodes}, {LANE_DOWN, spread_segments}},
    true};

static const operation_t ALL_GATHER = {
    "all_gather", 3, {{LANE_UP, gather_on_node}, {LANE_ACROSS, gather_over_nodes}, {LANE_DOWN, spread_all}}, true};

static const operation_t BROADCAST = {
    "broadcast", 3, {{LANE_UP, bring_to_node}, {LANE_ACROSS, pass_over_nodes}, {LANE_DOWN, spread_elsewhere}}, false};

static const operation_t ALL_TO_ALL = {
    "all_to_all",
    4,
    {{LANE_UP, tell_counts}, {LANE_DOWN, bring_pieces}, {LANE_ACROSS, exchange_blocks}, {LANE_DOWN, deal_pieces}},
    true};

/* ---------------------------------------------------------------------------------------------------- failures ---- */

/* "within node 1 of 2 (workers 2 to 3, numbered from 0 there)". */
static void describe_lane(const nodes_t *nodes, lane_t lane, char *text, size_t text_bytes)
{
    const psgd_nodes_layout_t *layout = &nodes->layout;
    const uint32_t             first  = layout->firsts[layout->node_index];

    if (lane == LANE_ACROSS) {
        snprintf(text, text_bytes, "among the %u nodes (worker n there speaks for node n)", layout->num_nodes);
    } else {
        snprintf(text, text_bytes, "within node %u of %u (its workers 0 to %u are %u to %u of all)", layout->node_index,
                 layout->num_nodes, layout->node_workers - 1, first, first + layout->node_workers - 1);
    }
}

/* A lane has failed: so has this worker's communicator, for ever. */
static psgd_status_t fail_in_lane(nodes_t *nodes, const psgd_request_t *request, psgd_status_t status)
{
    char where[128];

    describe_lane(nodes, request->lane, where, sizeof(where));
    status = psgd_comm_result(nodes->lanes[request->lane], status);
    psgd_fail_in(status, "communicator nodes: %s %s", request->operation->name, where);
    nodes->failure = status;
    snprintf(nodes->sentence, sizeof(nodes->sentence), "%s", psgd_last_error());
    return status;
}

static psgd_status_t fail_again(const nodes_t *nodes)
{
    return psgd_fail(nodes->failure, "%s", nodes->sentence);
}

/* ---------------------------------------------------------------------------------------------------- progress ---- */

/* Whether the step under way is complete. */
static psgd_status_t test_part(const nodes_t *nodes, psgd_request_t *request, bool *is_complete_p)
{
    const psgd_comm_t *comm = nodes->lanes[request->lane];
    int                done = request->part == NULL ? 1 : 0;
    psgd_status_t      status;

    if (!done) {
        status = comm->test(comm->self, request->part, &done);
        if (status != PSGD_OK) {
            return status;
        }
    }
    if (done) {
        request->part = NULL;
    }
    *is_complete_p = done != 0;
    return PSGD_OK;
}

static psgd_status_t begin_step(nodes_t *nodes, psgd_request_t *request)
{
    const step_t *step = &request->operation->steps[request->next_step];

    request->next_step += 1;
    request->lane = step->lane;
    request->part = NULL;
    return nodes->lanes[step->lane] != NULL ? step->begin(nodes, request, &request->part) : PSGD_OK;
}

/* As far as it goes; is_open says in which lanes no earlier request has a step to begin. */
static psgd_status_t advance_request(nodes_t *nodes, psgd_request_t *request, const bool *is_open)
{
    for (;;) {
        bool          is_complete = false;
        psgd_status_t status      = test_part(nodes, request, &is_complete);

        if ((status != PSGD_OK) || !is_complete) {
            return status;
        }
        if (request->next_step == request->operation->num_steps) {
            request->is_done = true;
            return PSGD_OK;
        }
        if (!is_open[request->operation->steps[request->next_step].lane]) {
            return PSGD_OK;
        }
        status = begin_step(nodes, request);
        if (status != PSGD_OK) {
            return status;
        }
    }
}

static void close_lanes(const psgd_request_t *request, bool *is_open)
{
    for (size_t i = request->next_step; i < request->operation->num_steps; ++i) {
        is_open[request->operation->steps[i].lane] = false;
    }
}

/* All requests, the earliest first. */
static psgd_status_t advance(nodes_t *nodes)
{
    bool   is_open[NUM_LANES] = {true, true, true};
    size_t kept               = 0;

    for (size_t i = 0; i < nodes->num_under_way; ++i) {
        psgd_request_t *request = nodes->under_way[i];
        psgd_status_t   status  = advance_request(nodes, request, is_open);

        if (status != PSGD_OK) {
            return fail_in_lane(nodes, request, status);
        }
        if (!request->is_done) {
            close_lanes(request, is_open);
            nodes->under_way[kept++] = request;
        }
    }
    nodes->num_under_way = kept;
    return PSGD_OK;
}

/* --------------------------------------------------------------------------------------------------- the table ---- */

/* Takes a request from the pool; NULL, with a sentence, where there is none to be had: refused() is the status. */
static psgd_request_t *request_take(nodes_t *nodes, const operation_t *operation)
{
    psgd_request_t *request = nodes->free_requests;

    if (nodes->failure != PSGD_OK) {
        psgd_fail(nodes->failure, "%s", nodes->sentence);
        return NULL;
    }
    if (request == NULL) {
        psgd_fail(PSGD_ERR_COMM,
                  "communicator nodes: worker %u has %d requests under way and can have no more; "
                  "test them until they are complete",
                  nodes->table.worker_index, MAX_REQUESTS);
        return NULL;
    }
    nodes->free_requests = request->next_free;
    request->operation   = operation;
    request->next_step   = 0;
    request->part        = NULL;
    request->is_done     = false;
    return request;
}

static psgd_status_t refused(const nodes_t *nodes)
{
    return nodes->failure != PSGD_OK ? nodes->failure : PSGD_ERR_COMM;
}

static void request_give_back(nodes_t *nodes, psgd_request_t *request)
{
    request->next_free   = nodes->free_requests;
    nodes->free_requests = request;
}

/* Its first step, which goes up, begins here and now. */
static psgd_status_t request_start(nodes_t *nodes, psgd_request_t *request, psgd_request_t **request_p)
{
    psgd_status_t status;

    nodes->under_way[nodes->num_under_way++] = request;
    status                                   = advance(nodes);
    if (status == PSGD_OK) {
        *request_p = request;
    }
    return status;
}

static psgd_status_t nodes_begin_all_reduce(void *self, float *data, size_t count_elems, psgd_request_t **request_p)
{
    nodes_t        *nodes   = self;
    psgd_request_t *request = request_take(nodes, &ALL_REDUCE);

    if (request == NULL) {
        return refused(nodes);
    }
    request->data       = (char *)data;
    request->elem_bytes = sizeof(*data);
    request->count      = count_elems;
    return request_start(nodes, request, request_p);
}

static psgd_status_t nodes_begin_reduce_scatter(void *self, float *data, const size_t *counts_elems,
                                                psgd_request_t **request_p)
{
    nodes_t        *nodes   = self;
    psgd_request_t *request = request_take(nodes, &REDUCE_SCATTER);

    if (request == NULL) {
        return refused(nodes);
    }
    request->data       = (char *)data;
    request->elem_bytes = sizeof(*data);
    request->counts     = counts_elems;
    request->count      = sum_of(counts_elems, 0, nodes->layout.num_workers);
    return request_start(nodes, request, request_p);
}

static psgd_status_t nodes_begin_all_gather(void *self, void *data, const size_t *counts_bytes,
                                            psgd_request_t **request_p)
{
    nodes_t        *nodes   = self;
    psgd_request_t *request = request_take(nodes, &ALL_GATHER);

    if (request == NULL) {
        return refused(nodes);
    }
    request->data       = data;
    request->elem_bytes = 1;
    request->counts     = counts_bytes;
    request->count      = sum_of(counts_bytes, 0, nodes->layout.num_workers);
    return request_start(nodes, request, request_p);
}

static psgd_status_t nodes_begin_all_to_all(void *self, const void *send, const size_t *send_counts_bytes,
                                            void *receive, const size_t *receive_counts_bytes,
                                            psgd_request_t **request_p)
{
    nodes_t        *nodes   = self;
    psgd_request_t *request = request_take(nodes, &ALL_TO_ALL);
    psgd_status_t   status;

    if (request == NULL) {
        return refused(nodes);
    }
    request->send           = send;
    request->counts         = send_counts_bytes;
    request->data           = receive;
    request->receive_counts = receive_counts_bytes;
    status = psgd_route_begin(&request->route, &nodes->layout, send_counts_bytes, receive_counts_bytes);
    if (status != PSGD_OK) {
        request_give_back(nodes, request);
        return status;
    }
    return request_start(nodes, request, request_p);
}

static psgd_status_t nodes_begin_broadcast(void *self, void *data, size_t count_bytes, uint32_t root,
                                           psgd_request_t **request_p)
{
    nodes_t        *nodes = self;
    psgd_request_t *request;

    if (root >= nodes->layout.num_workers) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "broadcast from worker %u: there are only workers 0 to %u", root,
                         nodes->layout.num_workers - 1);
    }
    request = request_take(nodes, &BROADCAST);
    if (request == NULL) {
        return refused(nodes);
    }
    request->data       = data;
    request->elem_bytes = 1;
    request->count      = count_bytes;
    request->root       = root;
    return request_start(nodes, request, request_p);
}

/* What is complete stays so, whatever has failed since. */
static psgd_status_t nodes_test(void *self, psgd_request_t *request, int *done_p)
{
    nodes_t      *nodes  = self;
    psgd_status_t status = PSGD_OK;

    if (!request->is_done) {
        status = nodes->failure != PSGD_OK ? fail_again(nodes) : advance(nodes);
    }
    *done_p = request->is_done ? 1 : 0;
    if (!request->is_done) {
        return status;
    }
    request_give_back(nodes, request);
    return PSGD_OK;
}

static void nodes_abort(void *self)
{
    nodes_t *nodes = self;

    for (int lane = 0; lane < NUM_LANES; ++lane) {
        if (nodes->lanes[lane] != NULL) {
            nodes->lanes[lane]->abort(nodes->lanes[lane]->self);
        }
    }
}

/* What the request waits for: its own step, or that of an earlier one which has to go first. */
static const psgd_request_t *blocking(const nodes_t *nodes, const psgd_request_t *request)
{
    for (size_t i = 0; (request->part == NULL) && (i < nodes->num_under_way); ++i) {
        if (nodes->under_way[i]->part != NULL) {
            return nodes->under_way[i];
        }
    }
    return request;
}

/* "within node 0 of 2 (its workers 0 to 1 are 0 to 1 of all): worker 1 has not begun it". */
static void nodes_name_late(void *self, const psgd_request_t *request, char *text, size_t text_bytes)
{
    nodes_t              *nodes   = self;
    const psgd_request_t *blocker = blocking(nodes, request);
    const psgd_comm_t    *comm    = nodes->lanes[blocker->lane];
    char                  where[128], late[160] = "";

    if (blocker->part == NULL) {
        return;
    }
    describe_lane(nodes, blocker->lane, where, sizeof(where));
    if (comm->name_late != NULL) {
        comm->name_late(comm->self, blocker->part, late, sizeof(late));
    }
    snprintf(text, text_bytes, "%s: %s%s", where, late[0] != '\0' ? late : "not all have come to it",
             (blocker->lane == LANE_DOWN) && !is_leader(nodes) ? " (worker 0 may itself wait for other nodes)" : "");
}

/* ------------------------------------------------------------------------------ one lane that connects everyone ---- */

static psgd_status_t direct_begin_all_reduce(void *self, float *data, size_t count_elems, psgd_request_t **request_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->begin_all_reduce(nodes->direct->self, data, count_elems, request_p);
}

static psgd_status_t direct_begin_reduce_scatter(void *self, float *data, const size_t *counts_elems,
                                                 psgd_request_t **request_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->begin_reduce_scatter(nodes->direct->self, data, counts_elems, request_p);
}

static psgd_status_t direct_begin_all_gather(void *self, void *data, const size_t *counts_bytes,
                                             psgd_request_t **request_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->begin_all_gather(nodes->direct->self, data, counts_bytes, request_p);
}

static psgd_status_t direct_begin_all_to_all(void *self, const void *send, const size_t *send_counts_bytes,
                                             void *receive, const size_t *receive_counts_bytes,
                                             psgd_request_t **request_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->begin_all_to_all(nodes->direct->self, send, send_counts_bytes, receive, receive_counts_bytes,
                                           request_p);
}

static psgd_status_t direct_begin_broadcast(void *self, void *data, size_t count_bytes, uint32_t root,
                                            psgd_request_t **request_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->begin_broadcast(nodes->direct->self, data, count_bytes, root, request_p);
}

static psgd_status_t direct_test(void *self, psgd_request_t *request, int *done_p)
{
    const nodes_t *nodes = self;

    return nodes->direct->test(nodes->direct->self, request, done_p);
}

static void direct_name_late(void *self, const psgd_request_t *request, char *text, size_t text_bytes)
{
    const nodes_t *nodes = self;

    nodes->direct->name_late(nodes->direct->self, request, text, text_bytes);
}

/* --------------------------------------------------------------------------------------- creation, destruction ---- */

/* Whether lanes may still use memory of this file's. */
static bool memory_is_lent(const nodes_t *nodes)
{
    for (size_t i = 0; i < nodes->num_under_way; ++i) {
        if (nodes->under_way[i]->operation->lends_memory) {
            return true;
        }
    }
    return false;
}

static void nodes_free(nodes_t *nodes)
{
    if (!memory_is_lent(nodes)) {
        for (size_t i = 0; i < MAX_REQUESTS; ++i) {
            psgd_route_free(&nodes->requests[i].route);
        }
        psgd_free(nodes->node_counts);
    }
    psgd_nodes_layout_free(&nodes->layout);
    psgd_free(nodes);
}

static void nodes_destroy(void *self)
{
    nodes_t *nodes = self;

    for (int lane = 0; lane < NUM_LANES; ++lane) {
        psgd_comm_t *comm = nodes->lanes[lane];

        if ((comm != NULL) && (comm->destroy != NULL)) {
            comm->destroy(comm->self);
        }
    }
    nodes_free(nodes);
}

static void fill_direct_table(nodes_t *nodes)
{
    const psgd_comm_t *direct = nodes->direct;
    psgd_comm_t       *table  = &nodes->table;

    table->begin_all_reduce     = direct_begin_all_reduce;
    table->begin_reduce_scatter = direct->begin_reduce_scatter != NULL ? direct_begin_reduce_scatter : NULL;
    table->begin_all_gather     = direct->begin_all_gather != NULL ? direct_begin_all_gather : NULL;
    table->begin_all_to_all     = direct->begin_all_to_all != NULL ? direct_begin_all_to_all : NULL;
    table->begin_broadcast      = direct->begin_broadcast != NULL ? direct_begin_broadcast : NULL;
    table->test                 = direct_test;
    table->name_late            = direct->name_late != NULL ? direct_name_late : NULL;
}

static void fill_table_of_lanes(nodes_t *nodes)
{
    const bool  *can   = nodes->layout.can;
    psgd_comm_t *table = &nodes->table;

    table->begin_all_reduce     = nodes_begin_all_reduce;
    table->begin_reduce_scatter = can[PSGD_NODES_REDUCE_SCATTER] ? nodes_begin_reduce_scatter : NULL;
    table->begin_all_gather     = can[PSGD_NODES_ALL_GATHER] ? nodes_begin_all_gather : NULL;
    table->begin_all_to_all     = can[PSGD_NODES_ALL_TO_ALL] ? nodes_begin_all_to_all : NULL;
    table->begin_broadcast      = can[PSGD_NODES_BROADCAST] ? nodes_begin_broadcast : NULL;
    table->test                 = nodes_test;
    table->name_late            = nodes_name_late;
}

/* Whether each level may be used by any thread. */
static int any_thread(const nodes_t *nodes)
{
    for (int lane = 0; lane < NUM_LANES; ++lane) {
        if ((nodes->lanes[lane] != NULL) && !nodes->lanes[lane]->any_thread) {
            return 0;
        }
    }
    return 1;
}

static void fill_table(nodes_t *nodes)
{
    const psgd_nodes_layout_t *layout = &nodes->layout;

    nodes->table = (psgd_comm_t){
        .struct_size  = sizeof(psgd_comm_t),
        .name         = "nodes",
        .self         = nodes,
        .num_workers  = layout->num_workers,
        .worker_index = psgd_nodes_layout_worker(layout),
        .abort        = nodes_abort,
        .destroy      = nodes_destroy,
        .any_thread   = any_thread(nodes),
    };
    if (layout->num_nodes == 1) {
        nodes->direct = nodes->lanes[LANE_UP];
    } else if (layout->num_workers == layout->num_nodes) {
        nodes->direct = nodes->lanes[LANE_ACROSS];
    }
    if (nodes->direct != NULL) {
        fill_direct_table(nodes);
    } else {
        fill_table_of_lanes(nodes);
    }
}

static psgd_status_t allocate_requests(nodes_t *nodes)
{
    const size_t num_nodes = nodes->layout.num_nodes;

    for (size_t i = MAX_REQUESTS; i-- > 0;) {
        request_give_back(nodes, &nodes->requests[i]);
    }
    if (!is_leader(nodes)) {
        return PSGD_OK;
    }
    if (psgd_alloc(MAX_REQUESTS * num_nodes, sizeof(*nodes->node_counts), "the counts of nodes", &nodes->node_counts) !=
        PSGD_OK) {
        return PSGD_ERR_HOST_MEMORY;
    }
    for (size_t i = 0; i < MAX_REQUESTS; ++i) {
        nodes->requests[i].node_counts = nodes->node_counts + i * num_nodes;
    }
    return PSGD_OK;
}

/* Takes over the lanes and what *layout holds. */
static psgd_status_t create_with_layout(psgd_comm_t *up, psgd_comm_t *down, psgd_comm_t *leaders,
                                        psgd_nodes_layout_t *layout, psgd_comm_t **comm_p)
{
    nodes_t      *nodes  = NULL;
    psgd_status_t status = psgd_alloc(1, sizeof(*nodes), "a communicator of nodes", &nodes);

    if (status != PSGD_OK) {
        psgd_nodes_layout_free(layout);
        return status;
    }
    nodes->layout             = *layout;
    nodes->lanes[LANE_UP]     = up;
    nodes->lanes[LANE_ACROSS] = leaders;
    nodes->lanes[LANE_DOWN]   = down;
    status                    = allocate_requests(nodes);
    if (status != PSGD_OK) {
        nodes_free(nodes);
        return status;
    }
    fill_table(nodes);
    *comm_p = &nodes->table;
    return PSGD_OK;
}

/* After a deadline or a failure of a lane nothing else can be done with it. */
static void abort_if_stuck(psgd_status_t status, psgd_comm_t *comm)
{
    if ((comm != NULL) && ((status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM))) {
        comm->abort(comm->self);
    }
}

psgd_status_t psgd_nodes_comm_open(psgd_comm_t *up, psgd_comm_t *down, psgd_comm_t *leaders, psgd_patience_t patience,
                                   psgd_comm_t **comm_p)
{
    psgd_nodes_layout_t layout;
    psgd_status_t       status = psgd_nodes_layout_find(up, down, leaders, patience, &layout);

    abort_if_stuck(status, up);
    abort_if_stuck(status, down);
    abort_if_stuck(status, leaders);
    return status == PSGD_OK ? create_with_layout(up, down, leaders, &layout, comm_p) : status;
}

static void destroy_all(psgd_comm_t **comms, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        if (comms[i] != NULL) {
            comms[i]->destroy(comms[i]->self);
        }
    }
}

/* comms[i] of threads i, whose lanes they take over one after the other: what is taken is NULL afterwards. */
static psgd_status_t create_threads(psgd_comm_t **ups, psgd_comm_t **downs, psgd_comm_t *leaders,
                                    const psgd_nodes_layout_t *layout, psgd_comm_t **comms)
{
    for (uint32_t i = 0; i < layout->node_workers; ++i) {
        psgd_nodes_layout_t own;
        psgd_status_t       status = psgd_nodes_layout_copy(layout, i, &own);

        if (status == PSGD_OK) {
            status = create_with_layout(ups[i], downs[i], i == 0 ? leaders : NULL, &own, &comms[i]);
        }
        if (status != PSGD_OK) {
            return status;
        }
        ups[i] = downs[i] = NULL;
    }
    return PSGD_OK;
}

/* The leaders stay the caller's after a failure. */
static void take_back_leaders(psgd_comm_t *first)
{
    if (first != NULL) {
        nodes_t *nodes            = first->self;
        nodes->lanes[LANE_ACROSS] = NULL;
    }
}

psgd_status_t psgd_nodes_threads_open(uint32_t num_threads, psgd_comm_t *leaders, psgd_patience_t patience,
                                      psgd_comm_t **comms_p)
{
    psgd_nodes_layout_t layout = {0};
    psgd_comm_t       **lanes  = NULL; /* ups, downs, and what is made of them */
    psgd_status_t       status;

    status = psgd_alloc(3 * (size_t)num_threads, sizeof(psgd_comm_t *), "the communicators of threads", &lanes);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_threads_comm_open(num_threads, lanes);
    if (status == PSGD_OK) {
        status = psgd_threads_comm_open(num_threads, lanes + num_threads);
    }
    if (status == PSGD_OK) {
        status = psgd_nodes_layout_find_for(num_threads, leaders, patience, &layout);
        abort_if_stuck(status, leaders);
    }
    if (status == PSGD_OK) {
        status = create_threads(lanes, lanes + num_threads, leaders, &layout, lanes + 2 * (size_t)num_threads);
    }
    if (status == PSGD_OK) {
        memcpy(comms_p, lanes + 2 * (size_t)num_threads, num_threads * sizeof(psgd_comm_t *));
    } else {
        take_back_leaders(lanes[2 * (size_t)num_threads]);
        destroy_all(lanes, 3 * num_threads);
    }
    psgd_nodes_layout_free(&layout);
    psgd_free(lanes);
    return status;
}

psgd_status_t psgd_nodes_comm_describe(const psgd_comm_t *comm, uint32_t *num_nodes_p, uint32_t *node_index_p,
                                       uint32_t *node_workers_p)
{
    const nodes_t *nodes = comm->self;

    if (comm->destroy != nodes_destroy) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "communicator '%s' is none of nodes", comm->name);
    }
    *num_nodes_p    = nodes->layout.num_nodes;
    *node_index_p   = nodes->layout.node_index;
    *node_workers_p = nodes->layout.node_workers;
    return PSGD_OK;
}
