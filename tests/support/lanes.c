#include "support/lanes.h"

#include <string.h>

#include "base/hash.h"
#include "base/status.h"
#include "support/suite.h"

uint32_t node_shape_workers(const node_shape_t *shape)
{
    uint32_t workers = 0;

    for (uint32_t n = 0; n < shape->num_nodes; ++n) {
        workers += shape->sizes[n];
    }
    return workers;
}

uint32_t node_shape_node(const node_shape_t *shape, uint32_t worker, uint32_t *local_index_p)
{
    uint32_t node = 0;

    for (; worker >= shape->sizes[node]; ++node) {
        worker -= shape->sizes[node];
    }
    *local_index_p = worker;
    return node;
}

void lanes_create(const node_shape_t *shape, lanes_t *lanes)
{
    psgd_comm_t *leaders[LANES_MAX_NODES], *ups[LANES_MAX_WORKERS], *downs[LANES_MAX_WORKERS];

    assert_ok(psgd_comm_threads_create(shape->num_nodes, leaders));
    for (uint32_t n = 0; n < shape->num_nodes; ++n) {
        assert_ok(psgd_comm_threads_create(shape->sizes[n], ups));
        assert_ok(psgd_comm_threads_create(shape->sizes[n], downs));
        for (uint32_t l = 0; l < shape->sizes[n]; ++l) {
            *lanes++ = (lanes_t){ups[l], downs[l], l == 0 ? leaders[n] : NULL};
        }
    }
}

void lanes_destroy(lanes_t *lanes)
{
    psgd_comm_destroy(lanes->up);
    psgd_comm_destroy(lanes->down);
    psgd_comm_destroy(lanes->leaders);
}

/* ---- the spy ---- */

static psgd_status_t note_begin(spy_t *spy, uint64_t bytes)
{
    if ((int64_t)spy->num_begun == spy->failing_begin) {
        return psgd_fail(PSGD_ERR_COMM, "the spy fails a begin");
    }
    spy->num_begun += 1;
    spy->bytes += bytes;
    return PSGD_OK;
}

static size_t sum_of(const size_t *counts, uint32_t num_counts)
{
    size_t sum = 0;

    for (uint32_t i = 0; i < num_counts; ++i) {
        sum += counts[i];
    }
    return sum;
}

static psgd_status_t spy_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    spy_t        *spy    = self;
    psgd_status_t status = note_begin(spy, count * sizeof(*data));

    spy->num_all_reduces += 1;
    return status == PSGD_OK ? spy->inner->begin_all_reduce(spy->inner->self, data, count, request_p) : status;
}

static psgd_status_t spy_reduce_scatter(void *self, float *data, const size_t *counts, psgd_request_t **request_p)
{
    spy_t        *spy    = self;
    psgd_status_t status = note_begin(spy, sum_of(counts, spy->table.num_workers) * sizeof(*data));

    return status == PSGD_OK ? spy->inner->begin_reduce_scatter(spy->inner->self, data, counts, request_p) : status;
}

static psgd_status_t spy_all_gather(void *self, void *data, const size_t *counts, psgd_request_t **request_p)
{
    spy_t        *spy    = self;
    psgd_status_t status = note_begin(spy, sum_of(counts, spy->table.num_workers));

    return status == PSGD_OK ? spy->inner->begin_all_gather(spy->inner->self, data, counts, request_p) : status;
}

static psgd_status_t spy_all_to_all(void *self, const void *send, const size_t *send_counts, void *receive,
                                    const size_t *receive_counts, psgd_request_t **request_p)
{
    spy_t        *spy    = self;
    psgd_status_t status = note_begin(spy, sum_of(send_counts, spy->table.num_workers));

    return status == PSGD_OK
               ? spy->inner->begin_all_to_all(spy->inner->self, send, send_counts, receive, receive_counts, request_p)
               : status;
}

static psgd_status_t spy_broadcast(void *self, void *data, size_t bytes, uint32_t root, psgd_request_t **request_p)
{
    spy_t        *spy    = self;
    psgd_status_t status = note_begin(spy, bytes);

    return status == PSGD_OK ? spy->inner->begin_broadcast(spy->inner->self, data, bytes, root, request_p) : status;
}

/* Late by chance: the inner communicator is not even asked. */
static psgd_status_t spy_test(void *self, psgd_request_t *request, int *done_p)
{
    spy_t *spy = self;

    if ((int64_t)spy->num_tests == spy->failing_test) {
        return psgd_fail(PSGD_ERR_COMM, "the spy fails a test");
    }
    spy->num_tests += 1;
    if ((spy->delay > 0) && (psgd_hash_u64(spy->stream, spy->num_tests) % spy->delay != 0)) {
        *done_p = 0;
        return PSGD_OK;
    }
    return spy->inner->test(spy->inner->self, request, done_p);
}

static void spy_abort(void *self)
{
    spy_t *spy = self;

    spy->num_aborts += 1;
    spy->inner->abort(spy->inner->self);
}

static void spy_destroy(void *self)
{
    spy_t *spy = self;

    psgd_comm_destroy(spy->inner);
}

static void spy_name_late(void *self, const psgd_request_t *request, char *text, size_t text_bytes)
{
    spy_t *spy = self;

    if (spy->inner->name_late != NULL) {
        spy->inner->name_late(spy->inner->self, request, text, text_bytes);
    }
}

void spy_init(spy_t *spy)
{
    memset(spy, 0, sizeof(*spy));
    spy->failing_test  = -1;
    spy->failing_begin = -1;
}

void spy_wrap(spy_t *spy, psgd_comm_t **comm)
{
    spy->inner                      = *comm;
    spy->table                      = *spy->inner;
    spy->table.name                 = "spy";
    spy->table.self                 = spy;
    spy->table.begin_all_reduce     = spy_all_reduce;
    spy->table.begin_reduce_scatter = spy->lacks_reduce_scatter ? NULL : spy_reduce_scatter;
    spy->table.begin_all_gather     = spy->lacks_all_gather ? NULL : spy_all_gather;
    spy->table.begin_all_to_all     = spy->lacks_all_to_all ? NULL : spy_all_to_all;
    spy->table.begin_broadcast      = spy->lacks_broadcast ? NULL : spy_broadcast;
    spy->table.test                 = spy_test;
    spy->table.abort                = spy_abort;
    spy->table.destroy              = spy_destroy;
    spy->table.name_late            = spy_name_late;
    *comm                           = &spy->table;
}
