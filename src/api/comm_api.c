/* The doors of the communicators. */
#include <math.h>
#include <stdarg.h>

#include "api/arguments.h"
#include "base/status.h"
#include "comm/nodes.h"
#include "comm/self.h"
#include "comm/threads.h"

enum { MAX_THREADS = 1024 };

psgd_status_t psgd_comm_self_create(psgd_comm_t **comm_p)
{
    if (comm_p == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "psgd_comm_self_create: comm_p is NULL; pass the address of a psgd_comm_t pointer");
    }
    return psgd_self_comm_open(comm_p);
}

psgd_status_t psgd_comm_threads_create(uint32_t num_workers, psgd_comm_t **comms_p)
{
    if (comms_p == NULL) {
        return psgd_fail(
            PSGD_ERR_INVALID_ARGUMENT,
            "psgd_comm_threads_create: comms_p is NULL; pass an array of num_workers psgd_comm_t pointers");
    }
    if ((num_workers < 1) || (num_workers > MAX_THREADS)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_comm_threads_create: num_workers is %u; it must be 1 to %d",
                         num_workers, MAX_THREADS);
    }
    return psgd_threads_comm_open(num_workers, comms_p);
}

/* A level of a communicator of nodes. */
static psgd_status_t check_level(const psgd_comm_t *comm, const char *which, const char *function)
{
    psgd_status_t status;

    if (comm == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT,
                         "%s: %s is NULL; pass a communicator, psgd_comm_self_create()'s for one "
                         "worker alone",
                         function, which);
    }
    status = psgd_check_comm(comm);
    return status == PSGD_OK ? PSGD_OK : psgd_fail_in(status, "%s: %s", function, which);
}

static psgd_status_t check_creation(double deadline_seconds, const void *out, const char *out_name,
                                    const char *function)
{
    if (out == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: %s is NULL; there is nowhere to put the result", function,
                         out_name);
    }
    if (!isfinite(deadline_seconds) || (deadline_seconds < 0.0)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: deadline_seconds is %g; it must be finite and not negative",
                         function, deadline_seconds);
    }
    return PSGD_OK;
}

static psgd_patience_t patience_of(double deadline_seconds)
{
    return (psgd_patience_t){.warn_ns = UINT64_MAX, .fail_ns = psgd_seconds_to_ns(deadline_seconds, 600.0)};
}

psgd_status_t psgd_comm_nodes_create(psgd_comm_t *up, psgd_comm_t *down, psgd_comm_t *leaders, double deadline_seconds,
                                     psgd_comm_t **comm_p)
{
    static const char function[] = "psgd_comm_nodes_create";
    psgd_status_t     status     = check_creation(deadline_seconds, comm_p, "comm_p", function);

    if (status == PSGD_OK) {
        status = check_level(up, "up", function);
    }
    if (status == PSGD_OK) {
        status = check_level(down, "down", function);
    }
    if ((status == PSGD_OK) && (leaders != NULL)) {
        status = check_level(leaders, "leaders", function);
    }
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_nodes_comm_open(up, down, leaders, patience_of(deadline_seconds), comm_p);
    return status == PSGD_OK ? PSGD_OK : psgd_fail_in(status, "%s", function);
}

psgd_status_t psgd_comm_nodes_threads_create(uint32_t num_threads, psgd_comm_t *leaders, double deadline_seconds,
                                             psgd_comm_t **comms_p)
{
    static const char function[] = "psgd_comm_nodes_threads_create";
    psgd_status_t     status     = check_creation(deadline_seconds, comms_p, "comms_p", function);

    if ((status == PSGD_OK) && ((num_threads < 1) || (num_threads > MAX_THREADS))) {
        status = psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "%s: num_threads is %u; it must be 1 to %d", function,
                           num_threads, MAX_THREADS);
    }
    if (status == PSGD_OK) {
        status = check_level(leaders, "leaders", function);
    }
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_nodes_threads_open(num_threads, leaders, patience_of(deadline_seconds), comms_p);
    return status == PSGD_OK ? PSGD_OK : psgd_fail_in(status, "%s", function);
}

psgd_status_t psgd_comm_nodes_describe(const psgd_comm_t *comm, uint32_t *num_nodes_p, uint32_t *node_index_p,
                                       uint32_t *node_workers_p)
{
    if ((comm == NULL) || (num_nodes_p == NULL) || (node_index_p == NULL) || (node_workers_p == NULL)) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_comm_nodes_describe: an argument is NULL; none may be");
    }
    return psgd_nodes_comm_describe(comm, num_nodes_p, node_index_p, node_workers_p);
}

void psgd_comm_destroy(psgd_comm_t *comm)
{
    if ((comm != NULL) && (comm->destroy != NULL)) {
        comm->destroy(comm->self);
    }
}

psgd_status_t psgd_comm_fail(psgd_status_t status, const char *format, ...)
{
    va_list arguments;

    if (format == NULL) {
        return psgd_fail(status, "%s", psgd_status_string(status));
    }
    va_start(arguments, format);
    psgd_fail_v(status, format, arguments);
    va_end(arguments);
    return status;
}
