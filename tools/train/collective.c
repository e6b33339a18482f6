#define _POSIX_C_SOURCE 200809L /* nanosleep */
#include "collective.h"

#include <sched.h>
#include <time.h>

#include "clock.h"

enum { ROUNDS_WITHOUT_REST = 1000 };

static const double PATIENCE_SECONDS = 600.0; /* psgd_config_t.deadline_seconds */

static tool_status_t give_up(const psgd_comm_t *comm, const psgd_request_t *request, const char *what)
{
    char late[256] = "";

    if (comm->name_late != NULL) {
        comm->name_late(comm->self, request, late, sizeof(late));
    }
    comm->abort(comm->self);
    return tool_fail(TOOL_FAILED, "%s: not complete after %.0f s: %s", what, PATIENCE_SECONDS,
                     late[0] != '\0' ? late : "a worker has died, or hangs");
}

/* The other workers of a machine want its cores too. */
static void rest(uint64_t round)
{
    const struct timespec moment = {0, 50000};

    if (round < ROUNDS_WITHOUT_REST) {
        sched_yield();
    } else {
        nanosleep(&moment, NULL);
    }
}

static tool_status_t wait_for(const psgd_comm_t *comm, psgd_request_t *request, const char *what)
{
    const double begin = clock_now();

    for (uint64_t round = 0;; ++round) {
        int           done   = 0;
        tool_status_t status = tool_check(comm->test(comm->self, request, &done), what);

        if (status != TOOL_OK || done) {
            return status;
        }
        if (clock_now() - begin > PATIENCE_SECONDS) {
            return give_up(comm, request, what);
        }
        rest(round);
    }
}

tool_status_t collective_sum(const psgd_comm_t *comm, float *data, size_t count, const char *what)
{
    psgd_request_t *request = NULL;
    tool_status_t   status  = tool_check(comm->begin_all_reduce(comm->self, data, count, &request), what);

    return status == TOOL_OK ? wait_for(comm, request, what) : status;
}

tool_status_t collective_gather(const psgd_comm_t *comm, void *data, const size_t *counts_bytes, const char *what)
{
    psgd_request_t *request = NULL;
    tool_status_t   status;

    if (comm->begin_all_gather == NULL) {
        return tool_fail(TOOL_FAILED, "%s: the communicator '%s' has no all_gather", what, comm->name);
    }
    status = tool_check(comm->begin_all_gather(comm->self, data, counts_bytes, &request), what);
    return status == TOOL_OK ? wait_for(comm, request, what) : status;
}
