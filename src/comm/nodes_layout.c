#include "comm/nodes_layout.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"
#include "comm/wait.h"

static const char CREATION[] = "the creation of a communicator of nodes";

/* W of psgd_comm_t. */
enum { MAX_WORKERS = 74565 };

/* What the workers of a node tell each other first, as sums: the leader alone fills in the first two. All are whole numbers far below
 * 2^24, so exact. */
enum { INTRO_NUM_NODES, INTRO_NODE_INDEX, INTRO_TROUBLES, INTRO_ELEMS };

/* What the leaders tell each other: workers of each node, and behind that how many workers have found something wrong, and how many
 * nodes can do what. */
enum { TAIL_TROUBLES, TAIL_SKILLS, TAIL_ELEMS = TAIL_SKILLS + PSGD_NODES_NUM_SKILLS };

static psgd_status_t sum_over(const psgd_comm_t *comm, float *data, size_t count, psgd_patience_t patience)
{
    psgd_request_t *request = NULL;
    psgd_status_t   status  = psgd_comm_result(comm, comm->begin_all_reduce(comm->self, data, count, &request));

    return status == PSGD_OK ? psgd_comm_wait(comm, request, patience, NULL, CREATION) : status;
}

static psgd_status_t broadcast_over(const psgd_comm_t *comm, void *data, size_t bytes, psgd_patience_t patience)
{
    psgd_request_t *request = NULL;
    psgd_status_t   status  = psgd_comm_result(comm, comm->begin_broadcast(comm->self, data, bytes, 0, &request));

    return status == PSGD_OK ? psgd_comm_wait(comm, request, patience, NULL, CREATION) : status;
}

/* ---- what can be wrong on one worker ---- */

/* PSGD_OK, or a sentence. */
static psgd_status_t check_parts(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders)
{
    if ((up->num_workers != down->num_workers) || (up->worker_index != down->worker_index)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "up has this worker as %u of %u, down as %u of %u; both must connect the workers of one node "
                         "in the same order",
                         up->worker_index, up->num_workers, down->worker_index, down->num_workers);
    }
    if ((up->worker_index == 0) && (leaders == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "leaders is NULL on worker 0 of a node; it must connect the workers of index 0 of all nodes");
    }
    if ((up->worker_index != 0) && (leaders != NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "leaders is not NULL on worker %u of a node; only worker 0 speaks for its node",
                         up->worker_index);
    }
    if (down->begin_broadcast == NULL) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED, "down, communicator '%s', has no begin_broadcast, which a node needs",
                         down->name);
    }
    return PSGD_OK;
}

/* The status where somebody has found something wrong; the sentence of `own`, where it was this worker, is there already. */
static psgd_status_t troubled(psgd_status_t own, double num_workers)
{
    return own != PSGD_OK ? own
                          : psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                                      "%.0f other worker%s found something wrong; their own errors say what",
                                      num_workers, num_workers > 1.0 ? "s" : "");
}

/* ---- the exchange ---- */

static bool node_can(psgd_nodes_skill_t skill, const psgd_comm_t *up, const psgd_comm_t *down,
                     const psgd_comm_t *leaders)
{
    switch (skill) {
    case PSGD_NODES_REDUCE_SCATTER: return leaders->begin_reduce_scatter != NULL;
    case PSGD_NODES_ALL_GATHER:
        return (leaders->begin_all_gather != NULL) && ((up == NULL) || (up->begin_all_gather != NULL));
    case PSGD_NODES_BROADCAST:
        return (leaders->begin_broadcast != NULL) && ((up == NULL) || (up->begin_broadcast != NULL));
    case PSGD_NODES_ALL_TO_ALL:
        return (leaders->begin_all_to_all != NULL) &&
               ((up == NULL) || ((up->begin_all_to_all != NULL) && (down->begin_all_to_all != NULL)));
    default: return false;
    }
}

/* The leaders' part: `table` becomes the same on all of them. */
static psgd_status_t exchange_over_nodes(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders,
                                         uint32_t node_workers, float troubles, psgd_patience_t patience, float *table)
{
    float *tail = table + leaders->num_workers;

    table[leaders->worker_index] = (float)node_workers;
    tail[TAIL_TROUBLES]          = troubles;
    for (int skill = 0; skill < PSGD_NODES_NUM_SKILLS; ++skill) {
        tail[TAIL_SKILLS + skill] = node_can((psgd_nodes_skill_t)skill, up, down, leaders) ? 1.0f : 0.0f;
    }
    return sum_over(leaders, table, leaders->num_workers + (size_t)TAIL_ELEMS, patience);
}

/* layout_p->firsts and what follows from it. */
static psgd_status_t read_table(const float *table, psgd_nodes_layout_t *layout_p)
{
    const float  *tail   = table + layout_p->num_nodes;
    double        number = 0.0;
    psgd_status_t status;

    status = psgd_alloc((size_t)layout_p->num_nodes + 1, sizeof(*layout_p->firsts), "the workers of nodes",
                        &layout_p->firsts);
    if (status != PSGD_OK) {
        return status;
    }
    for (uint32_t n = 0; n < layout_p->num_nodes; ++n) {
        layout_p->firsts[n] = (uint32_t)number;
        number += (double)table[n];
        if (number > MAX_WORKERS) {
            psgd_nodes_layout_free(layout_p);
            return psgd_fail(PSGD_ERR_UNSUPPORTED, "the %u nodes have more than %d workers", layout_p->num_nodes,
                             MAX_WORKERS);
        }
    }
    layout_p->num_workers                 = (uint32_t)number;
    layout_p->firsts[layout_p->num_nodes] = layout_p->num_workers;
    for (int skill = 0; skill < PSGD_NODES_NUM_SKILLS; ++skill) {
        layout_p->can[skill] = tail[TAIL_SKILLS + skill] == (float)layout_p->num_nodes;
    }
    return PSGD_OK;
}

/* Memory of a collective that has failed or is late may still be written to, and stays. */
static bool is_at_rest(psgd_status_t status)
{
    return (status != PSGD_ERR_TIMEOUT) && (status != PSGD_ERR_COMM);
}

/* `table` becomes the same on all workers of all nodes. */
static psgd_status_t fill_table(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders,
                                uint32_t num_nodes, double troubles, psgd_patience_t patience, float *table)
{
    psgd_status_t status = PSGD_OK;

    if (leaders != NULL) {
        status = exchange_over_nodes(up, down, leaders, up->num_workers, (float)troubles, patience, table);
    }
    if ((status != PSGD_OK) || (troubles > 0.0)) { /* then `down` may not be fit for use, and all on this node know */
        return status;
    }
    return broadcast_over(down, table, (num_nodes + (size_t)TAIL_ELEMS) * sizeof(*table), patience);
}

/* After the introduction; `troubles` of this node. */
static psgd_status_t find_among_nodes(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders,
                                      psgd_status_t own, double troubles, psgd_patience_t patience,
                                      psgd_nodes_layout_t *layout)
{
    float        *table = NULL;
    psgd_status_t status;

    if (layout->num_nodes == 0) { /* there is nobody to tell the other nodes */
        return troubled(own, troubles);
    }
    status = psgd_alloc(layout->num_nodes + (size_t)TAIL_ELEMS, sizeof(*table), "the sizes of nodes", &table);
    if (status != PSGD_OK) {
        return status;
    }
    status = fill_table(up, down, leaders, layout->num_nodes, troubles, patience, table);
    if (!is_at_rest(status)) {
        return status;
    }
    if ((status == PSGD_OK) && (troubles > 0.0)) {
        status = troubled(own, troubles);
    } else if ((status == PSGD_OK) && (table[layout->num_nodes + TAIL_TROUBLES] > 0.0f)) {
        status = troubled(PSGD_OK, (double)table[layout->num_nodes + TAIL_TROUBLES]);
    } else if (status == PSGD_OK) {
        status = read_table(table, layout);
    }
    psgd_free(table);
    return status;
}

psgd_status_t psgd_nodes_layout_find(const psgd_comm_t *up, const psgd_comm_t *down, const psgd_comm_t *leaders,
                                     psgd_patience_t patience, psgd_nodes_layout_t *layout_p)
{
    const psgd_status_t own    = check_parts(up, down, leaders);
    psgd_nodes_layout_t layout = {.node_workers = up->num_workers, .local_index = up->worker_index};
    float              *intro  = NULL;
    psgd_status_t       status;

    if (up->worker_index != 0) {
        leaders = NULL;
    }
    status = psgd_alloc(INTRO_ELEMS, sizeof(*intro), "the introduction of nodes", &intro);
    if (status != PSGD_OK) {
        return status;
    }
    if (leaders != NULL) {
        intro[INTRO_NUM_NODES]  = (float)leaders->num_workers;
        intro[INTRO_NODE_INDEX] = (float)leaders->worker_index;
    }
    intro[INTRO_TROUBLES] = own == PSGD_OK ? 0.0f : 1.0f;
    status                = sum_over(up, intro, INTRO_ELEMS, patience);
    if (status != PSGD_OK) {
        return status; /* the sum may still be under way: its memory stays */
    }
    layout.num_nodes  = (uint32_t)intro[INTRO_NUM_NODES];
    layout.node_index = (uint32_t)intro[INTRO_NODE_INDEX];
    status            = find_among_nodes(up, down, leaders, own, (double)intro[INTRO_TROUBLES], patience, &layout);
    psgd_free(intro);
    if (status == PSGD_OK) {
        *layout_p = layout;
    }
    return status;
}

psgd_status_t psgd_nodes_layout_find_for(uint32_t node_workers, const psgd_comm_t *leaders, psgd_patience_t patience,
                                         psgd_nodes_layout_t *layout_p)
{
    psgd_nodes_layout_t layout = {
        .num_nodes = leaders->num_workers, .node_index = leaders->worker_index, .node_workers = node_workers};
    float        *table = NULL;
    psgd_status_t status;

    status = psgd_alloc(layout.num_nodes + (size_t)TAIL_ELEMS, sizeof(*table), "the sizes of nodes", &table);
    if (status != PSGD_OK) {
        return status;
    }
    status = exchange_over_nodes(NULL, NULL, leaders, node_workers, 0.0f, patience, table);
    if (!is_at_rest(status)) {
        return status;
    }
    if ((status == PSGD_OK) && (table[layout.num_nodes + TAIL_TROUBLES] > 0.0f)) {
        status = troubled(PSGD_OK, (double)table[layout.num_nodes + TAIL_TROUBLES]);
    }
    if (status == PSGD_OK) {
        status = read_table(table, &layout);
    }
    psgd_free(table);
    if (status == PSGD_OK) {
        *layout_p = layout;
    }
    return status;
}

psgd_status_t psgd_nodes_layout_copy(const psgd_nodes_layout_t *layout, uint32_t local_index,
                                     psgd_nodes_layout_t *copy_p)
{
    const size_t        count = (size_t)layout->num_nodes + 1;
    psgd_nodes_layout_t copy  = *layout;
    psgd_status_t       status;

    status = psgd_alloc(count, sizeof(*copy.firsts), "the workers of nodes", &copy.firsts);
    if (status != PSGD_OK) {
        return status;
    }
    memcpy(copy.firsts, layout->firsts, count * sizeof(*copy.firsts));
    copy.local_index = local_index;
    *copy_p          = copy;
    return PSGD_OK;
}

void psgd_nodes_layout_free(psgd_nodes_layout_t *layout)
{
    psgd_free(layout->firsts);
    layout->firsts = NULL;
}

uint32_t psgd_nodes_layout_worker(const psgd_nodes_layout_t *layout)
{
    return layout->firsts[layout->node_index] + layout->local_index;
}
