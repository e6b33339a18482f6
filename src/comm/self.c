/* One worker alone: sums over one worker are what it has, and what it sends it receives. Nothing is ever under way. */
#include "comm/self.h"

#include <string.h>

#include "base/memory.h"
#include "base/status.h"

struct psgd_request {
    char unused; /* all requests are one: complete from the start */
};

typedef struct self_comm {
    psgd_comm_t    table;
    psgd_request_t request;
} self_comm_t;

static psgd_status_t self_complete(self_comm_t *comm, psgd_request_t **request_p)
{
    *request_p = &comm->request;
    return PSGD_OK;
}

static psgd_status_t self_begin_all_reduce(void *self, float *data, size_t count_elems, psgd_request_t **request_p)
{
    (void)data;
    (void)count_elems;
    return self_complete(self, request_p);
}

static psgd_status_t self_begin_reduce_scatter(void *self, float *data, const size_t *counts_elems,
                                               psgd_request_t **request_p)
{
    (void)data;
    (void)counts_elems;
    return self_complete(self, request_p);
}

static psgd_status_t self_begin_all_gather(void *self, void *data, const size_t *counts_bytes,
                                           psgd_request_t **request_p)
{
    (void)data;
    (void)counts_bytes;
    return self_complete(self, request_p);
}

static psgd_status_t self_begin_all_to_all(void *self, const void *send, const size_t *send_counts_bytes, void *receive,
                                           const size_t *receive_counts_bytes, psgd_request_t **request_p)
{
    if (send_counts_bytes[0] != receive_counts_bytes[0]) {
        return psgd_fail(PSGD_ERR_COMM,
                         "all_to_all does not match: worker 0 sends %zu bytes to worker 0, which expects %zu; "
                         "both must be the same",
                         send_counts_bytes[0], receive_counts_bytes[0]);
    }
    if (send_counts_bytes[0] > 0) {
        memcpy(receive, send, send_counts_bytes[0]);
    }
    return self_complete(self, request_p);
}

static psgd_status_t self_begin_broadcast(void *self, void *data, size_t count_bytes, uint32_t root,
                                          psgd_request_t **request_p)
{
    (void)data;
    (void)count_bytes;
    if (root != 0) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "broadcast from worker %u: there is only worker 0", root);
    }
    return self_complete(self, request_p);
}

static psgd_status_t self_test(void *self, psgd_request_t *request, int *done_p)
{
    (void)self;
    (void)request;
    *done_p = 1;
    return PSGD_OK;
}

static void self_abort(void *self)
{
    (void)self;
}

static void self_destroy(void *self)
{
    psgd_free(self);
}

psgd_status_t psgd_self_comm_open(psgd_comm_t **comm_p)
{
    self_comm_t  *comm;
    psgd_status_t status;

    status = psgd_alloc(1, sizeof(*comm), "a communicator", &comm);
    if (status != PSGD_OK) {
        return status;
    }
    comm->table = (psgd_comm_t){
        .struct_size          = sizeof(psgd_comm_t),
        .name                 = "self",
        .self                 = comm,
        .num_workers          = 1,
        .worker_index         = 0,
        .begin_all_reduce     = self_begin_all_reduce,
        .begin_reduce_scatter = self_begin_reduce_scatter,
        .begin_all_gather     = self_begin_all_gather,
        .begin_all_to_all     = self_begin_all_to_all,
        .begin_broadcast      = self_begin_broadcast,
        .test                 = self_test,
        .abort                = self_abort,
        .destroy              = self_destroy,
        .any_thread           = 1,
    };
    *comm_p = &comm->table;
    return PSGD_OK;
}
