#include "comm/wait.h"

enum {
    ATTENTIVE_NS = 20000000, /* as long as most messages travel */
    SLEEP_NS     = 100000
};

static double seconds(uint64_t ns)
{
    return (double)ns * 1e-9;
}

/* "over communicator 'mpi' of 4 workers" is for the log too: the caller's `what` says nothing of it. */
static void warn_once(const psgd_comm_t *comm, uint64_t waited_ns, psgd_patience_t patience, const psgd_log_t *log,
                      const char *what, bool *is_warned)
{
    if (*is_warned || (waited_ns < patience.warn_ns)) {
        return;
    }
    *is_warned = true;
    if (log != NULL) {
        psgd_log(log, PSGD_LOG_WARN,
                 "still waiting for %s after %.2f s (communicator '%s', %u workers); a worker is late or gone; "
                 "giving up after %.2f s",
                 what, seconds(waited_ns), comm->name, comm->num_workers, seconds(patience.fail_ns));
    }
}

static psgd_status_t give_up(const psgd_comm_t *comm, const psgd_request_t *request, uint64_t waited_ns, const char *what)
{
    char late[256] = "";

    if (comm->name_late != NULL) {
        comm->name_late(comm->self, request, late, sizeof(late));
    }
    return psgd_fail(PSGD_ERR_TIMEOUT, "%s: not complete after %.2f s on worker %u (communicator '%s', %u workers): %s", what,
                     seconds(waited_ns), comm->worker_index, comm->name, comm->num_workers,
                     late[0] != '\0' ? late : "a worker has died, hangs, or is slower than the deadline allows");
}

/* Rests between two polls. A message is many packets, and MPI takes in those that have arrived only when it is asked: who sleeps
 * between two of them makes it travel several times as long. So at first only the processor is offered, to whoever has work. */
static void rest(uint64_t waited_ns)
{
    if (waited_ns < ATTENTIVE_NS) {
        psgd_yield();
    } else {
        psgd_sleep_ns(SLEEP_NS);
    }
}

psgd_status_t psgd_comm_result(const psgd_comm_t *comm, psgd_status_t status)
{
    if ((status == PSGD_OK) || (status == PSGD_ERR_TIMEOUT) || (status == PSGD_ERR_COMM)) {
        return status;
    }
    return psgd_fail_in(PSGD_ERR_COMM, "communicator '%s' failed with status %d (%s)", comm->name, (int)status,
                        psgd_status_string(status));
}

psgd_status_t psgd_comm_wait(const psgd_comm_t *comm, psgd_request_t *request, psgd_patience_t patience,
                             const psgd_log_t *log, const char *what)
{
    uint64_t start_ns  = psgd_now_ns();
    bool     is_warned = false;

    for (;;) {
        int           is_done = 0;
        uint64_t      waited_ns;
        psgd_status_t status;

        status = psgd_comm_result(comm, comm->test(comm->self, request, &is_done));
        if (status != PSGD_OK) {
            return psgd_fail_in(status, "%s", what);
        }
        if (is_done) {
            return PSGD_OK;
        }
        waited_ns = psgd_now_ns() - start_ns;
        if (waited_ns >= patience.fail_ns) {
            return give_up(comm, request, waited_ns, what);
        }
        warn_once(comm, waited_ns, patience, log, what, &is_warned);
        if (patience.watch != NULL) {
            patience.watch(patience.watched);
        }
        rest(waited_ns);
    }
}
