/* The doors of the communicators. */
#include <stdarg.h>

#include "base/status.h"
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
