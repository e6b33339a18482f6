#include "connect.h"

#include <psgd/psgd_mpi.h>

static tool_status_t connect_nodes(const workers_t *workers, psgd_comm_t **comm_p, uint32_t *num_nodes_p)
{
    uint32_t      node, node_workers;
    tool_status_t status =
        tool_check(psgd_comm_mpi_nodes_create(workers->all, NULL, 0.0, comm_p), "connecting the workers of all nodes");

    if (status != TOOL_OK) {
        return status;
    }
    return tool_check(psgd_comm_nodes_describe(*comm_p, num_nodes_p, &node, &node_workers), "connecting the workers");
}

tool_status_t connect_workers(const workers_t *workers, hierarchy_t hierarchy, psgd_comm_t **comm_p,
                              uint32_t *num_nodes_p)
{
    tool_status_t status;

    if (hierarchy == HIERARCHY_NODES) {
        status = connect_nodes(workers, comm_p, num_nodes_p);
    } else {
        *num_nodes_p = 0;
        status       = tool_check(psgd_comm_mpi_create(workers->all, 0.0, comm_p), "connecting the workers");
    }
    return workers_agree(workers, status);
}
