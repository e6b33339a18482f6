#include "comm/nodes_route.h"

#include <string.h>

#include "base/memory.h"

static size_t sum_of(const size_t *counts, size_t num_counts)
{
    size_t sum = 0;

    for (size_t i = 0; i < num_counts; ++i) {
        sum += counts[i];
    }
    return sum;
}

/* What local worker l sends to each worker, or expects of each. */
static const size_t *sends_of(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l)
{
    return route->rows + (size_t)l * 2 * layout->num_workers;
}

static const size_t *receives_of(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l)
{
    return sends_of(route, layout, l) + layout->num_workers;
}

size_t psgd_route_sent(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l)
{
    return sum_of(sends_of(route, layout, l), layout->num_workers);
}

size_t psgd_route_received(const psgd_route_t *route, const psgd_nodes_layout_t *layout, uint32_t l)
{
    return sum_of(receives_of(route, layout, l), layout->num_workers);
}

/* ---- memory ---- */

static psgd_status_t allocate_counts(psgd_route_t *route, const psgd_nodes_layout_t *layout)
{
    const size_t  row_elems = 2 * (size_t)layout->num_workers;
    const size_t  local     = layout->node_workers;
    const size_t  nodes     = layout->num_nodes;
    const bool    is_leader = layout->local_index == 0;
    const size_t  elems     = row_elems + 2 * local + (is_leader ? local * row_elems + 2 * nodes + local : 0);
    size_t       *next      = NULL;
    psgd_status_t status    = psgd_alloc(elems, sizeof(*next), "the counts of an all_to_all", &next);

    if (status != PSGD_OK) {
        return status;
    }
    route->own_row     = next;
    route->to_leader   = route->own_row + row_elems;
    route->from_leader = route->to_leader + local;
    if (is_leader) {
        route->rows       = route->from_leader + local;
        route->to_nodes   = route->rows + local * row_elems;
        route->from_nodes = route->to_nodes + nodes;
        route->cursors    = route->from_nodes + nodes;
    }
    return PSGD_OK;
}

psgd_status_t psgd_route_begin(psgd_route_t *route, const psgd_nodes_layout_t *layout, const size_t *send_counts,
                               const size_t *receive_counts)
{
    const size_t  num_workers = layout->num_workers;
    psgd_status_t status      = route->own_row == NULL ? allocate_counts(route, layout) : PSGD_OK;

    if (status == PSGD_OK) {
        memcpy(route->own_row, send_counts, num_workers * sizeof(*send_counts));
        memcpy(route->own_row + num_workers, receive_counts, num_workers * sizeof(*receive_counts));
    }
    return status;
}

static psgd_status_t reserve(char **memory, size_t *allocated, size_t bytes)
{
    char         *grown = NULL;
    psgd_status_t status;

    if ((*memory != NULL) && (bytes <= *allocated)) {
        return PSGD_OK;
    }
    status = psgd_alloc(bytes, 1, "an all_to_all of a node", &grown);
    if (status != PSGD_OK) {
        return status;
    }
    psgd_free(*memory);
    *memory    = grown;
    *allocated = bytes;
    return PSGD_OK;
}

psgd_status_t psgd_route_reserve(psgd_route_t *route, const psgd_nodes_layout_t *layout)
{
    size_t        sent = 0, received = 0;
    psgd_status_t status;

    for (uint32_t l = 0; l < layout->node_workers; ++l) {
        sent += psgd_route_sent(route, layout, l);
        received += psgd_route_received(route, layout, l);
    }
    status = reserve(&route->gathered, &route->gathered_bytes, sent > received ? sent : received);
    if (status == PSGD_OK) {
        status = reserve(&route->outgoing, &route->outgoing_bytes, sent);
    }
    return status == PSGD_OK ? reserve(&route->incoming, &route->incoming_bytes, received) : status;
}

void psgd_route_free(psgd_route_t *route)
{
    psgd_free(route->own_row); /* all counts */
    psgd_free(route->gathered);
    psgd_free(route->outgoing);
    psgd_free(route->incoming);
    memset(route, 0, sizeof(*route));
}

/* ---- arranging ---- */

/* Copies `bytes`, none being fine, and steps over them on both sides. */
static char *copy_on(char *to, const char *from, size_t bytes, size_t *cursor)
{
    if (bytes > 0) {
        memcpy(to, from, bytes);
    }
    *cursor += bytes;
    return to + bytes;
}

/* Each sender's pieces lie in the order of their receivers, so a cursor a sender is enough. */
void psgd_route_pack(psgd_route_t *route, const psgd_nodes_layout_t *layout)
{
    char  *to    = route->outgoing;
    size_t begin = 0;

    for (uint32_t l = 0; l < layout->node_workers; ++l) {
        route->cursors[l] = begin;
        begin += psgd_route_sent(route, layout, l);
    }
    for (uint32_t n = 0; n < layout->num_nodes; ++n) {
        route->to_nodes[n]   = 0;
        route->from_nodes[n] = 0;
        for (uint32_t l = 0; l < layout->node_workers; ++l) {
            const size_t *sends    = sends_of(route, layout, l);
            const size_t *receives = receives_of(route, layout, l);

            for (uint32_t w = layout->firsts[n]; w < layout->firsts[n + 1]; ++w) {
                to = copy_on(to, route->gathered + route->cursors[l], sends[w], &route->cursors[l]);
                route->to_nodes[n] += sends[w];
                route->from_nodes[n] += receives[w];
            }
        }
    }
}

/* Each receiver's pieces come in the order of their senders. */
void psgd_route_arrange(psgd_route_t *route, const psgd_nodes_layout_t *layout)
{
    const char *from  = route->incoming;
    size_t      begin = 0;

    for (uint32_t l = 0; l < layout->node_workers; ++l) {
        route->cursors[l] = begin;
        begin += psgd_route_received(route, layout, l);
    }
    for (uint32_t w = 0; w < layout->num_workers; ++w) {
        for (uint32_t l = 0; l < layout->node_workers; ++l) {
            const size_t bytes = receives_of(route, layout, l)[w];

            copy_on(route->gathered + route->cursors[l], from, bytes, &route->cursors[l]);
            from += bytes;
        }
    }
}
