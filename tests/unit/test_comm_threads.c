/* The communicator of threads. What a worker finds wrong is told by its thread and asserted on the main one. */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "support/collectives.h"
#include "support/suite.h"

enum { MAX_WORKERS = 8, MAX_REQUESTS = 64 };

static const double SHORT_DEADLINE_SECONDS = 0.2;
static const double LONG_DEADLINE_SECONDS  = 30.0;

/* What one worker does; NULL, or a sentence that says what is wrong. */
typedef const char *(*work_fn)(psgd_comm_t *comm, void *context);

typedef struct worker {
    pthread_t    thread;
    psgd_comm_t *comm;
    work_fn      work;
    void        *context;
    char         wrong[512];
} worker_t;

static void *worker_main(void *argument)
{
    worker_t   *worker = argument;
    const char *wrong  = worker->work(worker->comm, worker->context);

    if (wrong != NULL) {
        snprintf(worker->wrong, sizeof(worker->wrong), "%s", wrong);
        worker->comm->abort(worker->comm->self);
    }
    psgd_comm_destroy(worker->comm);
    return NULL;
}

static void run_workers(uint32_t num_workers, work_fn work, void *context)
{
    worker_t     workers[MAX_WORKERS];
    psgd_comm_t *comms[MAX_WORKERS];

    memset(workers, 0, sizeof(workers));
    assert_ok(psgd_comm_threads_create(num_workers, comms));
    for (uint32_t w = 0; w < num_workers; ++w) {
        workers[w].comm    = comms[w];
        workers[w].work    = work;
        workers[w].context = context;
        ck_assert_int_eq(pthread_create(&workers[w].thread, NULL, worker_main, &workers[w]), 0);
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        ck_assert_int_eq(pthread_join(workers[w].thread, NULL), 0);
    }
    for (uint32_t w = 0; w < num_workers; ++w) {
        ck_assert_msg(workers[w].wrong[0] == '\0', "worker %u of %u: %s", w, num_workers, workers[w].wrong);
    }
}

static const char *wrong_sentence(const char *what)
{
    static _Thread_local char sentence[512];

    snprintf(sentence, sizeof(sentence), "%s: %s", what, psgd_last_error());
    return sentence;
}

/* NULL if `status` is `expected` and the last error contains `words`. */
static const char *expect_failure(psgd_status_t status, psgd_status_t expected, const char *words)
{
    static _Thread_local char sentence[512];

    if ((status == expected) && (strstr(psgd_last_error(), words) != NULL)) {
        return NULL;
    }
    snprintf(sentence, sizeof(sentence), "got %s (%s), expected %s with '%s'", psgd_status_name(status),
             psgd_last_error(), psgd_status_name(expected), words);
    return sentence;
}

static psgd_status_t all_reduce(psgd_comm_t *comm, float *data, size_t count, double deadline_seconds)
{
    psgd_request_t *request = NULL;
    psgd_status_t   status  = comm->begin_all_reduce(comm->self, data, count, &request);

    return status == PSGD_OK ? collective_wait(comm, request, deadline_seconds) : status;
}

/* Workers meet here without the communicator. */
typedef struct meeting {
    atomic_uint arrived;
    uint32_t    num_workers;
} meeting_t;

static void meet(meeting_t *meeting)
{
    unsigned target = (atomic_fetch_add(&meeting->arrived, 1) / meeting->num_workers + 1) * meeting->num_workers;

    while (atomic_load(&meeting->arrived) < target) {
        psgd_sleep_ns(10000);
    }
}

/* ------------------------------------------------------------------------------------------------- collectives ---- */

/* Around the block (512 floats) and chunk (16384 floats, 65536 bytes) of the implementation. */
static const size_t SIZES[] = {1, 2, 3, 7, 64, 511, 513, 1023, 16383, 16384, 16385, 65536, 65537, 100003};

static const char *check_sizes(psgd_comm_t *comm, void *context)
{
    const collective_kind_t *kind  = context;
    const char              *wrong = NULL;

    for (uint32_t i = 0; (wrong == NULL) && (i < sizeof(SIZES) / sizeof(SIZES[0])); ++i) {
        wrong = collective_check(comm, *kind, SIZES[i], i, true);
    }
    return wrong;
}

START_TEST(threads__every_collective_equals_plain_loops_bit_for_bit)
{
    collective_kind_t kind        = (collective_kind_t)_i;
    uint32_t          max_workers = psgd_test_shapes_are_reduced() ? 4 : MAX_WORKERS;

    for (uint32_t num_workers = 1; num_workers <= max_workers; ++num_workers) {
        run_workers(num_workers, check_sizes, &kind);
    }
}
END_TEST

static const char *broadcast_from_all(psgd_comm_t *comm, void *context)
{
    const char *wrong = NULL;

    (void)context;
    for (uint32_t root = 0; (wrong == NULL) && (root < comm->num_workers); ++root) {
        wrong = collective_check(comm, COLLECTIVE_BROADCAST, 70001, root, true);
    }
    return wrong;
}

START_TEST(threads__any_worker_can_broadcast)
{
    run_workers(5, broadcast_from_all, NULL);
}
END_TEST

static const char *check_many(psgd_comm_t *comm, void *context)
{
    const uint32_t *num_collectives = context;
    const char     *wrong           = NULL;

    for (uint32_t seed = 0; (wrong == NULL) && (seed < 4); ++seed) {
        wrong = collectives_check_many(comm, *num_collectives, 1000 * seed + 1, seed, true);
    }
    return wrong;
}

START_TEST(threads__many_requests_under_way_complete_in_any_order)
{
    static const uint32_t NUMS[] = {2, 16, MAX_REQUESTS};
    uint32_t              num    = NUMS[_i];

    for (uint32_t num_workers = 1; num_workers <= MAX_WORKERS; num_workers += num_workers < 4 ? 1 : 4) {
        run_workers(num_workers, check_many, &num);
    }
}
END_TEST

static const char *exceed_the_pool(psgd_comm_t *comm, void *context)
{
    float           data[MAX_REQUESTS + 1] = {0.0f};
    psgd_request_t *requests[MAX_REQUESTS + 1];
    const char     *wrong;

    (void)context;
    for (int i = 0; i < MAX_REQUESTS; ++i) {
        data[i] = (float)i;
        if (comm->begin_all_reduce(comm->self, &data[i], 1, &requests[i]) != PSGD_OK) {
            return wrong_sentence("begin");
        }
    }
    wrong = expect_failure(comm->begin_all_reduce(comm->self, &data[MAX_REQUESTS], 1, &requests[MAX_REQUESTS]),
                           PSGD_ERR_COMM, "64 requests under way");
    for (int i = 0; (wrong == NULL) && (i < MAX_REQUESTS); ++i) {
        if (collective_wait(comm, requests[i], LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("wait");
        }
        if (data[i] != (float)i * (float)comm->num_workers) {
            return "wrong sum";
        }
    }
    return wrong != NULL ? wrong : collective_check(comm, COLLECTIVE_ALL_REDUCE, 100, 1, true);
}

START_TEST(threads__one_request_too_many_is_refused_and_does_no_harm)
{
    run_workers(3, exceed_the_pool, NULL);
}
END_TEST

/* Request 0 is begun by all and tested by nobody, while many others come and go. */
static const char *leave_one_untested(psgd_comm_t *comm, void *context)
{
    float           first[5]   = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
    psgd_request_t *request    = NULL;
    const char     *wrong      = NULL;
    meeting_t      *everywhere = context;

    if (comm->begin_all_reduce(comm->self, first, 5, &request) != PSGD_OK) {
        return wrong_sentence("begin");
    }
    for (uint32_t i = 0; (wrong == NULL) && (i < 1000); ++i) {
        wrong = collective_check(comm, (collective_kind_t)(i % NUM_COLLECTIVE_KINDS), 1 + i % 9, i, true);
    }
    if (wrong != NULL) {
        return wrong;
    }
    meet(everywhere);
    if (first[4] != 5.0f) {
        return "the work was done before anyone tested it";
    }
    meet(everywhere);
    if (collective_wait(comm, request, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("wait");
    }
    return first[4] == 5.0f * (float)comm->num_workers ? NULL : "wrong sum";
}

START_TEST(threads__a_request_may_stay_untested_while_others_come_and_go)
{
    meeting_t everywhere = {0, 3};

    run_workers(3, leave_one_untested, &everywhere);
}
END_TEST

/* Workers begin, and only worker 0 polls: the others are busy until it is done. */
static const char *let_one_poll(psgd_comm_t *comm, void *context)
{
    enum { COUNT = 100000 };
    float          *data       = malloc(COUNT * sizeof(*data));
    psgd_request_t *request    = NULL;
    meeting_t      *everywhere = context;
    const char     *wrong      = NULL;

    if (data == NULL) {
        return "no memory";
    }
    for (int i = 0; i < COUNT; ++i) {
        data[i] = (float)(i % 1000);
    }
    if (comm->begin_all_reduce(comm->self, data, COUNT, &request) != PSGD_OK) {
        return wrong_sentence("begin");
    }
    meet(everywhere);
    if ((comm->worker_index == 0) && (collective_wait(comm, request, LONG_DEADLINE_SECONDS) != PSGD_OK)) {
        return wrong_sentence("wait of worker 0");
    }
    meet(everywhere);
    if (data[999] != 999.0f * (float)comm->num_workers) {
        wrong = "not complete, although worker 0 has polled it to its end";
    }
    if ((wrong == NULL) && (comm->worker_index != 0)) {
        int is_done = 0;

        if ((comm->test(comm->self, request, &is_done) != PSGD_OK) || !is_done) {
            wrong = "the first test does not find it complete";
        }
    }
    meet(everywhere);
    free(data);
    return wrong;
}

START_TEST(threads__a_busy_worker_holds_up_nobody)
{
    meeting_t everywhere = {0, 4};

    run_workers(4, let_one_poll, &everywhere);
}
END_TEST

static const char *many_small(psgd_comm_t *comm, void *context)
{
    (void)context;
    for (int i = 0; i < 5000; ++i) {
        float data[3] = {(float)i, 1.0f, (float)comm->worker_index};

        if (all_reduce(comm, data, 3, LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("all_reduce");
        }
        if ((data[0] != (float)i * (float)comm->num_workers) || (data[1] != (float)comm->num_workers)) {
            return "wrong sum";
        }
    }
    return NULL;
}

START_TEST(threads__thousands_of_collectives_in_a_row)
{
    for (uint32_t num_workers = 1; num_workers <= 4; ++num_workers) {
        run_workers(num_workers, many_small, NULL);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------- calls that do not match ---- */

typedef enum mismatch {
    MISMATCH_COUNT,
    MISMATCH_KIND,
    MISMATCH_ROOT,
    MISMATCH_REDUCE_SCATTER,
    MISMATCH_ALL_GATHER,
    MISMATCH_ALL_TO_ALL,
    NUM_MISMATCHES
} mismatch_t;

static const char *const MISMATCH_WORDS[NUM_MISMATCHES][2] = {
    {"all_reduce of 64 floats", "all_reduce of 65 floats"},
    {"all_reduce of 64 floats", "broadcast of 64 bytes from worker 0"},
    {"broadcast of 64 bytes from worker 0", "broadcast of 64 bytes from worker 1"},
    {"segment 1 of reduce_scatter", "elements on worker"},
    {"segment 1 of all_gather", "elements on worker"},
    {"in all_to_all worker 2 sends 5 bytes to worker 1", "which expects 4"},
};

/* Worker 2 of 3 calls differently. */
static psgd_status_t begin_mismatched(psgd_comm_t *comm, mismatch_t mismatch, float *data, size_t *counts,
                                      size_t *receive_counts, psgd_request_t **request_p)
{
    int is_odd_one = comm->worker_index == 2;

    switch (mismatch) {
    case MISMATCH_COUNT: return comm->begin_all_reduce(comm->self, data, is_odd_one ? 65 : 64, request_p);
    case MISMATCH_KIND:
        return is_odd_one ? comm->begin_broadcast(comm->self, data, 64, 0, request_p)
                          : comm->begin_all_reduce(comm->self, data, 64, request_p);
    case MISMATCH_ROOT: return comm->begin_broadcast(comm->self, data, 64, is_odd_one ? 1 : 0, request_p);
    case MISMATCH_REDUCE_SCATTER:
        counts[1] += is_odd_one ? 1 : 0;
        counts[2] -= is_odd_one ? 1 : 0;
        return comm->begin_reduce_scatter(comm->self, data, counts, request_p);
    case MISMATCH_ALL_GATHER:
        counts[1] += is_odd_one ? 1 : 0;
        counts[2] -= is_odd_one ? 1 : 0;
        return comm->begin_all_gather(comm->self, data, counts, request_p);
    default:
        counts[1] += is_odd_one ? 1 : 0;
        return comm->begin_all_to_all(comm->self, data, counts, data + 40, receive_counts, request_p);
    }
}

static const char *call_differently(psgd_comm_t *comm, void *context)
{
    const mismatch_t *mismatch          = context;
    float             data[80]          = {0.0f};
    size_t            counts[3]         = {4, 4, 4};
    size_t            receive_counts[3] = {4, 4, 4};
    psgd_request_t   *request           = NULL;
    psgd_status_t     status;
    const char       *wrong;

    if (all_reduce(comm, data, 1, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("the collective before");
    }
    status = begin_mismatched(comm, *mismatch, data, counts, receive_counts, &request);
    if (status == PSGD_OK) {
        status = collective_wait(comm, request, LONG_DEADLINE_SECONDS);
    }
    wrong = expect_failure(status, PSGD_ERR_COMM, MISMATCH_WORDS[*mismatch][0]);
    if (wrong == NULL) {
        wrong = expect_failure(status, PSGD_ERR_COMM, MISMATCH_WORDS[*mismatch][1]);
    }
    if (wrong == NULL) {
        wrong = expect_failure(status, PSGD_ERR_COMM, "collective 1 does not match");
    }
    if (wrong == NULL) { /* and it stays so */
        wrong = expect_failure(all_reduce(comm, data, 1, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM,
                               MISMATCH_WORDS[*mismatch][0]);
    }
    comm->abort(comm->self);
    return wrong;
}

START_TEST(threads__calls_that_do_not_match_fail_on_all_workers_and_name_them)
{
    mismatch_t mismatch = (mismatch_t)_i;

    run_workers(3, call_differently, &mismatch);
}
END_TEST

/* --------------------------------------------------------------------------------------- workers that are gone ---- */

/* Worker 1 never comes; it stays until the other has given up. */
static const char *one_never_comes(psgd_comm_t *comm, void *context)
{
    meeting_t  *everywhere = context;
    float       data[2]    = {1.0f, 2.0f};
    uint64_t    start_ns   = psgd_now_ns();
    double      waited_seconds;
    const char *wrong = NULL;

    if (comm->worker_index == 0) {
        wrong = expect_failure(all_reduce(comm, data, 2, SHORT_DEADLINE_SECONDS), PSGD_ERR_TIMEOUT, "on worker 0");
        waited_seconds = (double)(psgd_now_ns() - start_ns) * 1e-9;
        if ((wrong == NULL) &&
            ((waited_seconds < SHORT_DEADLINE_SECONDS) || (waited_seconds > 20 * SHORT_DEADLINE_SECONDS))) {
            wrong = "the deadline was not kept";
        }
        if ((wrong == NULL) && (data[0] != 1.0f)) {
            wrong = "the data were changed";
        }
        comm->abort(comm->self);
    }
    meet(everywhere);
    if (comm->worker_index == 1) { /* now it comes, too late */
        wrong = expect_failure(all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM, "worker 0 aborted");
    }
    return wrong;
}

START_TEST(threads__a_worker_that_never_comes_is_a_timeout)
{
    meeting_t everywhere = {0, 2};

    run_workers(2, one_never_comes, &everywhere);
}
END_TEST

/* Workers 0, 1 and 3 wait for worker 2, which aborts. */
static const char *one_aborts(psgd_comm_t *comm, void *context)
{
    float       data[2] = {1.0f, 2.0f};
    const char *wrong;

    (void)context;
    if (all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("the collective before");
    }
    if (comm->worker_index == 2) {
        psgd_sleep_ns(50000000);
        comm->abort(comm->self);
        return NULL;
    }
    wrong = expect_failure(all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM, "worker 2 aborted");
    if (wrong == NULL) {
        wrong = expect_failure(all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM, "worker 2 aborted");
    }
    return wrong;
}

START_TEST(threads__an_abort_fails_what_is_pending_and_what_comes_later_on_all_others)
{
    run_workers(4, one_aborts, NULL);
}
END_TEST

/* What all have begun and one has polled to its end is complete, whoever aborts then. */
static const char *abort_after_completion(psgd_comm_t *comm, void *context)
{
    meeting_t      *everywhere = context;
    float           data[2]    = {1.0f, 2.0f};
    psgd_request_t *request    = NULL;
    psgd_status_t   status     = PSGD_OK;

    if (comm->begin_all_reduce(comm->self, data, 2, &request) != PSGD_OK) {
        return wrong_sentence("begin");
    }
    if (comm->worker_index == 0) {
        status = collective_wait(comm, request, LONG_DEADLINE_SECONDS);
        comm->abort(comm->self);
        meet(everywhere);
    } else {
        meet(everywhere);
        status = collective_wait(comm, request, LONG_DEADLINE_SECONDS);
    }
    if (status != PSGD_OK) {
        return wrong_sentence("wait");
    }
    return data[1] == 2.0f * (float)comm->num_workers ? NULL : "wrong sum";
}

START_TEST(threads__an_abort_does_not_undo_what_is_complete)
{
    meeting_t everywhere = {0, 3};

    run_workers(3, abort_after_completion, &everywhere);
}
END_TEST

/* Each worker ends on its own after its last collective: nobody is told of a failure. */
static const char *leave_at_once(psgd_comm_t *comm, void *context)
{
    const uint32_t *round = context;
    float           data[2];

    if (comm->worker_index == *round % comm->num_workers) {
        psgd_sleep_ns(10000 * (*round % 50));
    }
    data[0] = data[1] = 1.0f;
    return all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS) == PSGD_OK ? NULL : wrong_sentence("the last collective");
}

START_TEST(threads__a_worker_that_leaves_after_the_last_collective_disturbs_nobody)
{
    for (uint32_t round = 0; round < 300; ++round) {
        run_workers(3, leave_at_once, &round);
    }
}
END_TEST

static const char *leave_early(psgd_comm_t *comm, void *context)
{
    float data[2] = {1.0f, 2.0f};

    (void)context;
    if (comm->worker_index == 1) {
        return NULL;
    }
    return expect_failure(all_reduce(comm, data, 2, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM, "worker 1 has left");
}

START_TEST(threads__a_worker_that_leaves_early_is_named)
{
    run_workers(3, leave_early, NULL);
}
END_TEST

START_TEST(threads__destroy_after_abort_with_requests_under_way)
{
    psgd_comm_t    *comms[3];
    psgd_request_t *request = NULL;
    float           data[4] = {0.0f};

    assert_ok(psgd_comm_threads_create(3, comms));
    assert_ok(comms[0]->begin_all_reduce(comms[0]->self, data, 4, &request));
    comms[0]->abort(comms[0]->self);
    psgd_comm_destroy(comms[0]);
    psgd_comm_destroy(comms[2]);
    assert_fails(comms[1]->begin_all_reduce(comms[1]->self, data, 4, &request), PSGD_ERR_COMM, "worker 0 aborted");
    psgd_comm_destroy(comms[1]);
}
END_TEST

/* Aborts while chunks of a large collective are being done. */
static const char *abort_in_the_middle(psgd_comm_t *comm, void *context)
{
    enum { COUNT = 200000 };
    static _Thread_local float data[COUNT];
    meeting_t                 *everywhere = context;
    psgd_request_t            *request    = NULL;
    psgd_status_t              status;

    status = comm->begin_all_reduce(comm->self, data, COUNT, &request);
    if (status == PSGD_OK && comm->worker_index != 0) {
        status = collective_wait(comm, request, LONG_DEADLINE_SECONDS);
    }
    if (comm->worker_index == 0) {
        comm->abort(comm->self);
    }
    meet(everywhere); /* nobody's data go before all are done with them */
    return (status == PSGD_OK) || (comm->worker_index == 0) ? NULL
                                                            : expect_failure(status, PSGD_ERR_COMM, "worker 0 aborted");
}

START_TEST(threads__an_abort_in_the_middle_of_the_work_leaves_nobody_waiting)
{
    for (int round = 0; round < 50; ++round) {
        meeting_t everywhere = {0, 3};

        run_workers(3, abort_in_the_middle, &everywhere);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------- creation, bad arguments ---- */

START_TEST(threads__creation_describes_each_worker)
{
    enum { MOST = 1024 };
    psgd_comm_t *comms[MOST];

    assert_ok(psgd_comm_threads_create(MOST, comms));
    for (uint32_t w = 0; w < MOST; ++w) {
        ck_assert_uint_eq(comms[w]->struct_size, sizeof(psgd_comm_t));
        ck_assert_str_eq(comms[w]->name, "threads");
        ck_assert_uint_eq(comms[w]->num_workers, MOST);
        ck_assert_uint_eq(comms[w]->worker_index, w);
    }
    for (uint32_t w = 0; w < MOST; ++w) {
        psgd_comm_destroy(comms[w]);
    }
}
END_TEST

START_TEST(threads__refuses_bad_arguments)
{
    psgd_comm_t    *untouched = (psgd_comm_t *)&untouched;
    psgd_comm_t    *comms[2];
    psgd_request_t *request = NULL;
    float           data[1] = {0.0f};

    comms[0] = untouched;
    assert_fails(psgd_comm_threads_create(2, NULL), PSGD_ERR_INVALID_ARGUMENT, "comms_p is NULL");
    assert_fails(psgd_comm_threads_create(0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "num_workers is 0; it must be 1 to 1024");
    assert_fails(psgd_comm_threads_create(1025, comms), PSGD_ERR_INVALID_ARGUMENT, "num_workers is 1025");
    assert_fails(psgd_comm_threads_create(UINT32_MAX, comms), PSGD_ERR_INVALID_ARGUMENT, "num_workers is 4294967295");
    ck_assert_ptr_eq(comms[0], untouched);

    assert_ok(psgd_comm_threads_create(2, comms));
    assert_fails(comms[0]->begin_broadcast(comms[0]->self, data, 4, 2, &request), PSGD_ERR_INVALID_ARGUMENT,
                 "only workers 0 to 1");
    ck_assert_ptr_null(request);
    psgd_comm_destroy(comms[0]);
    psgd_comm_destroy(comms[1]);
}
END_TEST

int main(void)
{
    Suite *suite       = suite_create("comm_threads");
    TCase *collectives = tcase_create("collectives");
    TCase *failures    = tcase_create("failures");

    tcase_set_timeout(collectives, 120);
    tcase_add_loop_test(collectives, threads__every_collective_equals_plain_loops_bit_for_bit, 0, NUM_COLLECTIVE_KINDS);
    tcase_add_test(collectives, threads__any_worker_can_broadcast);
    tcase_add_loop_test(collectives, threads__many_requests_under_way_complete_in_any_order, 0, 3);
    tcase_add_test(collectives, threads__one_request_too_many_is_refused_and_does_no_harm);
    tcase_add_test(collectives, threads__a_request_may_stay_untested_while_others_come_and_go);
    tcase_add_test(collectives, threads__a_busy_worker_holds_up_nobody);
    tcase_add_test(collectives, threads__thousands_of_collectives_in_a_row);
    suite_add_tcase(suite, collectives);

    tcase_set_timeout(failures, 120);
    tcase_add_loop_test(failures, threads__calls_that_do_not_match_fail_on_all_workers_and_name_them, 0,
                        NUM_MISMATCHES);
    tcase_add_test(failures, threads__a_worker_that_never_comes_is_a_timeout);
    tcase_add_test(failures, threads__an_abort_fails_what_is_pending_and_what_comes_later_on_all_others);
    tcase_add_test(failures, threads__an_abort_does_not_undo_what_is_complete);
    tcase_add_test(failures, threads__a_worker_that_leaves_after_the_last_collective_disturbs_nobody);
    tcase_add_test(failures, threads__a_worker_that_leaves_early_is_named);
    tcase_add_test(failures, threads__destroy_after_abort_with_requests_under_way);
    tcase_add_test(failures, threads__an_abort_in_the_middle_of_the_work_leaves_nobody_waiting);
    tcase_add_test(failures, threads__creation_describes_each_worker);
    tcase_add_test(failures, threads__refuses_bad_arguments);
    suite_add_tcase(suite, failures);
    return psgd_run_suite(suite);
}
