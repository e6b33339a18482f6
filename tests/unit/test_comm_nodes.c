/* The communicator of nodes, all workers being threads of this process. What a worker finds wrong is told by its thread and asserted on
 * the main one. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "support/collectives.h"
#include "support/count_allocations.h"
#include "support/lanes.h"
#include "support/suite.h"

enum { MAX_WORKERS = LANES_MAX_WORKERS, MAX_REQUESTS = 32 };

static const double SHORT_DEADLINE_SECONDS = 0.3;
static const double LONG_DEADLINE_SECONDS  = 30.0;

/* One node, one worker a node, and nodes of equal and unequal sizes. */
static const node_shape_t SHAPES[] = {
    {1, {1}},    {1, {3}},       {3, {1, 1, 1}}, {2, {2, 2}},       {2, {1, 2}},
    {2, {3, 1}}, {3, {2, 1, 3}}, {3, {1, 2, 2}}, {4, {2, 2, 2, 2}},
};

enum { NUM_SHAPES = sizeof(SHAPES) / sizeof(SHAPES[0]) };

/* The memory of collectives that a test leaves in the middle stays: a leak that is meant. */
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void leaks_are_meant(bool are_meant)
{
    void (*tell)(void) = are_meant ? __lsan_disable : __lsan_enable;

    if (tell != NULL) {
        tell();
    }
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

typedef struct worker worker_t;

/* What one worker does with its communicator; NULL, or a sentence that says what is wrong. */
typedef const char *(*work_fn)(worker_t *worker);

struct worker {
    pthread_t           thread;
    const node_shape_t *shape;
    uint32_t            index, node, local_index;
    lanes_t             lanes;
    spy_t               up, down, leaders; /* in front of them, where are_spied */
    double              deadline_seconds;  /* of creation */
    psgd_comm_t        *comm;
    work_fn             work;
    meeting_t          *everywhere;
    uint64_t            number; /* of the test's */
    bool                leaves_messages;
    bool                may_hear_later; /* of a failure elsewhere: in the collective behind it */
    char                wrong[512];
};

static const char *wrong_sentence(const char *what)
{
    static _Thread_local char sentence[512];

    snprintf(sentence, sizeof(sentence), "%s: %.400s", what, psgd_last_error());
    return sentence;
}

static void *worker_main(void *argument)
{
    worker_t   *worker = argument;
    const char *wrong  = NULL;

    if (worker->leaves_messages) {
        leaks_are_meant(true);
    }
    if (psgd_comm_nodes_create(worker->lanes.up, worker->lanes.down, worker->lanes.leaders, worker->deadline_seconds,
                               &worker->comm) != PSGD_OK) {
        wrong = wrong_sentence("creation");
        lanes_destroy(&worker->lanes);
    } else {
        wrong = worker->work(worker);
        if (wrong != NULL) {
            worker->comm->abort(worker->comm->self);
        }
    }
    if (wrong != NULL) {
        snprintf(worker->wrong, sizeof(worker->wrong), "%s", wrong);
    }
    psgd_comm_destroy(worker->comm);
    if (worker->leaves_messages) {
        leaks_are_meant(false);
    }
    return NULL;
}

/* Prepares all workers of a shape; work, spies and number are the caller's to set. */
static uint32_t workers_prepare(const node_shape_t *shape, meeting_t *everywhere, worker_t *workers)
{
    const uint32_t count = node_shape_workers(shape);
    lanes_t        lanes[MAX_WORKERS];

    memset(workers, 0, MAX_WORKERS * sizeof(*workers));
    lanes_create(shape, lanes);
    everywhere->num_workers = count;
    atomic_store(&everywhere->arrived, 0);
    for (uint32_t w = 0; w < count; ++w) {
        workers[w].shape            = shape;
        workers[w].index            = w;
        workers[w].node             = node_shape_node(shape, w, &workers[w].local_index);
        workers[w].lanes            = lanes[w];
        workers[w].deadline_seconds = LONG_DEADLINE_SECONDS;
        workers[w].everywhere       = everywhere;
        spy_init(&workers[w].up);
        spy_init(&workers[w].down);
        spy_init(&workers[w].leaders);
    }
    return count;
}

static void worker_wrap(worker_t *worker)
{
    spy_wrap(&worker->up, &worker->lanes.up);
    spy_wrap(&worker->down, &worker->lanes.down);
    if (worker->lanes.leaders != NULL) {
        spy_wrap(&worker->leaders, &worker->lanes.leaders);
    }
}

static void workers_go(worker_t *workers, uint32_t count)
{
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_int_eq(pthread_create(&workers[w].thread, NULL, worker_main, &workers[w]), 0);
    }
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_int_eq(pthread_join(workers[w].thread, NULL), 0);
    }
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_msg(workers[w].wrong[0] == '\0', "worker %u of %u on %u nodes: %s", w, count,
                      workers[w].shape->num_nodes, workers[w].wrong);
    }
}

static void run_workers(const node_shape_t *shape, work_fn work, uint64_t number)
{
    worker_t  workers[MAX_WORKERS];
    meeting_t everywhere;
    uint32_t  count = workers_prepare(shape, &everywhere, workers);

    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work   = work;
        workers[w].number = number;
    }
    workers_go(workers, count);
}

/* NULL if `status` is `expected` and the last error contains `words`. */
static const char *expect_failure(psgd_status_t status, psgd_status_t expected, const char *words)
{
    static _Thread_local char sentence[512];

    if ((status == expected) && (strstr(psgd_last_error(), words) != NULL)) {
        return NULL;
    }
    snprintf(sentence, sizeof(sentence), "got %s (%.300s), expected %s with '%s'", psgd_status_name(status),
             psgd_last_error(), psgd_status_name(expected), words);
    return sentence;
}

static psgd_status_t all_reduce(psgd_comm_t *comm, float *data, size_t count, double deadline_seconds)
{
    psgd_request_t *request = NULL;
    psgd_status_t   status  = comm->begin_all_reduce(comm->self, data, count, &request);

    return status == PSGD_OK ? collective_wait(comm, request, deadline_seconds) : status;
}

/* ------------------------------------------------------------------------------------------------- collectives ---- */

static const size_t SIZES[] = {1, 2, 7, 511, 16385, 65537};

static const char *check_sizes(worker_t *worker)
{
    const collective_kind_t kind  = (collective_kind_t)worker->number;
    const char             *wrong = NULL;

    for (uint32_t i = 0; (wrong == NULL) && (i < sizeof(SIZES) / sizeof(SIZES[0])); ++i) {
        wrong = collective_check(worker->comm, kind, SIZES[i], i, false);
    }
    return wrong;
}

START_TEST(nodes__every_collective_equals_plain_loops_with_equal_bits_on_all_workers)
{
    for (int shape = 0; shape < NUM_SHAPES; ++shape) {
        run_workers(&SHAPES[shape], check_sizes, (uint64_t)_i);
    }
}
END_TEST

static const char *broadcast_from_all(worker_t *worker)
{
    const char *wrong = NULL;

    for (uint32_t root = 0; (wrong == NULL) && (root < worker->comm->num_workers); ++root) {
        wrong = collective_check(worker->comm, COLLECTIVE_BROADCAST, 7001, root, false);
    }
    return wrong;
}

START_TEST(nodes__any_worker_can_broadcast)
{
    for (int shape = 0; shape < NUM_SHAPES; ++shape) {
        run_workers(&SHAPES[shape], broadcast_from_all, 0);
    }
}
END_TEST

/* In [-1, 1), with all 24 bits in use. */
static float value_of(uint32_t worker, size_t i)
{
    return ((float)(psgd_hash_u64(psgd_hash_u64(1, worker), i) >> 40) - 8388608.0f) / 8388608.0f;
}

/* The sum over the nodes of the sums over their workers, in order. */
static float sum_by_nodes(const node_shape_t *shape, size_t i)
{
    float    sum    = 0.0f;
    uint32_t worker = 0;

    for (uint32_t n = 0; n < shape->num_nodes; ++n) {
        float of_node = value_of(worker++, i);

        for (uint32_t l = 1; l < shape->sizes[n]; ++l) {
            of_node += value_of(worker++, i);
        }
        sum = n == 0 ? of_node : sum + of_node;
    }
    return sum;
}

static const char *check_order_of_sums(worker_t *worker)
{
    enum { COUNT = 3000 };
    float data[COUNT];

    for (size_t i = 0; i < COUNT; ++i) {
        data[i] = value_of(worker->index, i);
    }
    if (all_reduce(worker->comm, data, COUNT, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("all_reduce");
    }
    for (size_t i = 0; i < COUNT; ++i) {
        float expected = sum_by_nodes(worker->shape, i);

        if (memcmp(&data[i], &expected, sizeof(expected)) != 0) {
            return "a sum is not that of the nodes' sums";
        }
    }
    return NULL;
}

START_TEST(nodes__a_sum_is_that_of_the_nodes_sums)
{
    for (int shape = 0; shape < NUM_SHAPES; ++shape) {
        run_workers(&SHAPES[shape], check_order_of_sums, 0);
    }
}
END_TEST

/* --- many at once --- */

static const char *check_many(worker_t *worker)
{
    const char *wrong = NULL;

    for (uint32_t seed = 0; (wrong == NULL) && (seed < 4); ++seed) {
        wrong = collectives_check_many(worker->comm, (uint32_t)worker->number, 300 * seed + 1, seed, false);
    }
    return wrong;
}

START_TEST(nodes__many_requests_under_way_complete_in_any_order)
{
    static const uint32_t NUMS[] = {2, 16, MAX_REQUESTS};

    for (int shape = 0; shape < NUM_SHAPES - 1; ++shape) {
        run_workers(&SHAPES[shape], check_many, NUMS[_i]);
    }
}
END_TEST

static void pause_by_chance(uint64_t stream, uint64_t number)
{
    uint64_t chance = psgd_hash_u64(stream, number);

    if (chance % 4 == 0) {
        psgd_sleep_ns(chance / 4 % 200000);
    }
}

/* Begins up to MAX_REQUESTS of all kinds, with pauses, and tests them in an order and with pauses of this worker's own, so that each
 * worker learns of the end of a step at another time. */
static const char *begin_and_test_by_chance(worker_t *worker)
{
    enum { ROUNDS = 3, NUM = 24 };
    const uint64_t stream = psgd_hash_u64(worker->number, worker->index);
    const char    *wrong  = NULL;
    collective_t   collectives[NUM];

    for (uint32_t round = 0; (wrong == NULL) && (round < ROUNDS); ++round) {
        uint32_t first = (uint32_t)(psgd_hash_u64(stream, 1000 + round) % NUM);

        for (uint32_t i = 0; (wrong == NULL) && (i < NUM); ++i) {
            uint64_t kind = psgd_hash_u64(worker->number, round * NUM + i) % NUM_COLLECTIVE_KINDS;

            pause_by_chance(stream, round * NUM + i);
            wrong = collective_begin(&collectives[i], worker->comm, (collective_kind_t)kind, 1 + 37 * i, i, false);
        }
        for (uint32_t i = 0; (wrong == NULL) && (i < NUM); ++i) {
            uint32_t at = worker->index % 2 == 0 ? (first + i) % NUM : (first + NUM - i) % NUM;

            pause_by_chance(stream, 5000 + round * NUM + i);
            wrong = collective_finish(&collectives[at], LONG_DEADLINE_SECONDS);
        }
        for (uint32_t i = 0; (wrong == NULL) && (i < NUM); ++i) {
            wrong = collective_compare_bits(&collectives[i], LONG_DEADLINE_SECONDS);
            collective_free(&collectives[i]);
        }
    }
    return wrong;
}

START_TEST(nodes__collectives_meet_whatever_each_worker_sees_complete_first)
{
    for (int i = 0; i < NUM_SHAPES - 1; ++i) {
        worker_t  workers[MAX_WORKERS];
        meeting_t everywhere;
        uint32_t  count = workers_prepare(&SHAPES[i], &everywhere, workers);

        for (uint32_t w = 0; w < count; ++w) {
            spy_t *spies[] = {&workers[w].up, &workers[w].down, &workers[w].leaders};

            workers[w].work   = begin_and_test_by_chance;
            workers[w].number = (uint64_t)i;
            for (uint64_t s = 0; s < 3; ++s) {
                spies[s]->delay  = 5;
                spies[s]->stream = psgd_hash_u64(s, psgd_hash_u64(w, (uint64_t)i));
            }
            worker_wrap(&workers[w]);
        }
        workers_go(workers, count);
    }
}
END_TEST

static const char *exceed_the_pool(worker_t *worker)
{
    psgd_comm_t    *comm                   = worker->comm;
    float           data[MAX_REQUESTS + 1] = {0.0f};
    psgd_request_t *requests[MAX_REQUESTS + 1];
    const char     *wrong;

    for (int i = 0; i < MAX_REQUESTS; ++i) {
        data[i] = (float)i;
        if (comm->begin_all_reduce(comm->self, &data[i], 1, &requests[i]) != PSGD_OK) {
            return wrong_sentence("begin");
        }
    }
    wrong = expect_failure(comm->begin_all_reduce(comm->self, &data[MAX_REQUESTS], 1, &requests[MAX_REQUESTS]),
                           PSGD_ERR_COMM, "32 requests under way");
    for (int i = MAX_REQUESTS - 1; (wrong == NULL) && (i >= 0); --i) {
        if (collective_wait(comm, requests[i], LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("wait");
        }
        if (data[i] != (float)i * (float)comm->num_workers) {
            return "wrong sum";
        }
    }
    return wrong != NULL ? wrong : collective_check(comm, COLLECTIVE_ALL_REDUCE, 100, 1, false);
}

START_TEST(nodes__one_request_too_many_is_refused_and_does_no_harm)
{
    run_workers(&SHAPES[6], exceed_the_pool, 0);
}
END_TEST

/* Request 0 is begun by all and tested by nobody while many others come and go; then the first test finds it complete. */
static const char *leave_one_untested(worker_t *worker)
{
    psgd_comm_t    *comm     = worker->comm;
    float           first[5] = {1.0f, 2.0f, 3.0f, 4.0f, 5.0f};
    psgd_request_t *request  = NULL;
    const char     *wrong    = NULL;
    int             is_done  = 0;

    if (comm->begin_all_reduce(comm->self, first, 5, &request) != PSGD_OK) {
        return wrong_sentence("begin");
    }
    for (uint32_t i = 0; (wrong == NULL) && (i < 200); ++i) {
        wrong = collective_check(comm, (collective_kind_t)(i % NUM_COLLECTIVE_KINDS), 1 + i % 9, i, false);
    }
    if (wrong != NULL) {
        return wrong;
    }
    if ((comm->test(comm->self, request, &is_done) != PSGD_OK) || !is_done) {
        return "not complete, although later ones are";
    }
    return first[4] == 5.0f * (float)comm->num_workers ? NULL : "wrong sum";
}

START_TEST(nodes__a_request_may_stay_untested_while_others_come_and_go)
{
    run_workers(&SHAPES[6], leave_one_untested, 0);
    run_workers(&SHAPES[3], leave_one_untested, 0);
}
END_TEST

static const char *many_small(worker_t *worker)
{
    for (int i = 0; i < 2000; ++i) {
        float data[3] = {(float)i, 1.0f, (float)worker->index};

        if (all_reduce(worker->comm, data, 3, LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("all_reduce");
        }
        if ((data[0] != (float)i * (float)worker->comm->num_workers) || (data[1] != (float)worker->comm->num_workers)) {
            return "wrong sum";
        }
    }
    return NULL;
}

START_TEST(nodes__thousands_of_collectives_in_a_row)
{
    run_workers(&SHAPES[3], many_small, 0);
    run_workers(&SHAPES[5], many_small, 0);
}
END_TEST

/* --- what is sent, and what is allocated --- */

enum { COUNTED_FLOATS = 1000, COUNTED_ROUNDS = 10 };

static const char *send_counted(worker_t *worker)
{
    float data[COUNTED_FLOATS];

    worker->up.bytes = worker->down.bytes = worker->leaders.bytes = 0;
    worker->up.num_begun = worker->down.num_begun = worker->leaders.num_begun = 0;
    for (int i = 0; i < COUNTED_ROUNDS; ++i) {
        for (int k = 0; k < COUNTED_FLOATS; ++k) {
            data[k] = 1.0f;
        }
        if (all_reduce(worker->comm, data, COUNTED_FLOATS, LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("all_reduce");
        }
        if (data[COUNTED_FLOATS - 1] != (float)worker->comm->num_workers) {
            return "wrong sum";
        }
    }
    return NULL;
}

START_TEST(nodes__a_sum_passes_between_nodes_once_however_many_workers_they_have)
{
    const uint64_t bytes = COUNTED_ROUNDS * COUNTED_FLOATS * sizeof(float);
    worker_t       workers[MAX_WORKERS];
    meeting_t      everywhere;
    uint32_t       count = workers_prepare(&SHAPES[6], &everywhere, workers);

    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work = send_counted;
        worker_wrap(&workers[w]);
    }
    workers_go(workers, count);
    for (uint32_t w = 0; w < count; ++w) {
        bool is_leader = workers[w].local_index == 0;

        ck_assert_uint_eq(workers[w].up.bytes, bytes);
        ck_assert_uint_eq(workers[w].down.bytes, bytes);
        ck_assert_uint_eq(workers[w].leaders.bytes, is_leader ? bytes : 0);
        ck_assert_uint_eq(workers[w].up.num_begun, COUNTED_ROUNDS);
        ck_assert_uint_eq(workers[w].down.num_begun, COUNTED_ROUNDS);
        ck_assert_uint_eq(workers[w].leaders.num_begun, is_leader ? COUNTED_ROUNDS : 0);
    }
}
END_TEST

/* Where one level connects all workers, the other has nothing to do. */
START_TEST(nodes__one_node_or_one_worker_a_node_costs_nothing)
{
    const node_shape_t *shape = &SHAPES[1 + _i];
    worker_t            workers[MAX_WORKERS];
    meeting_t           everywhere;
    uint32_t            count = workers_prepare(shape, &everywhere, workers);

    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work = send_counted;
        worker_wrap(&workers[w]);
    }
    workers_go(workers, count);
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_uint_eq(workers[w].up.num_begun, shape->num_nodes == 1 ? COUNTED_ROUNDS : 0);
        ck_assert_uint_eq(workers[w].leaders.num_begun, shape->num_nodes == 1 ? 0 : COUNTED_ROUNDS);
        ck_assert_uint_eq(workers[w].down.num_begun, 0);
    }
}
END_TEST

static atomic_uint_fast64_t allocations_before;

/* One of each kind. */
static const char *one_of_each(psgd_comm_t *comm)
{
    static _Thread_local float         sums[100], scattered[512];
    static _Thread_local unsigned char bytes[600], gathered[600], sent[600], received[600];
    size_t                             counts[MAX_WORKERS], from_each[MAX_WORKERS];
    psgd_request_t                    *requests[NUM_COLLECTIVE_KINDS];

    for (uint32_t w = 0; w < comm->num_workers; ++w) {
        counts[w]    = 40 + w;
        from_each[w] = 40 + comm->worker_index;
    }
    if ((comm->begin_all_reduce(comm->self, sums, 100, &requests[0]) != PSGD_OK) ||
        (comm->begin_broadcast(comm->self, bytes, 600, 1, &requests[1]) != PSGD_OK) ||
        (comm->begin_reduce_scatter(comm->self, scattered, counts, &requests[2]) != PSGD_OK) ||
        (comm->begin_all_to_all(comm->self, sent, counts, received, from_each, &requests[3]) != PSGD_OK) ||
        (comm->begin_all_gather(comm->self, gathered, counts, &requests[4]) != PSGD_OK)) {
        return wrong_sentence("begin");
    }
    for (int i = 0; i < NUM_COLLECTIVE_KINDS; ++i) {
        if (collective_wait(comm, requests[i], LONG_DEADLINE_SECONDS) != PSGD_OK) {
            return wrong_sentence("wait");
        }
    }
    return NULL;
}

static const char *run_steadily(worker_t *worker)
{
    const char *wrong = NULL;

    for (int round = 0; (wrong == NULL) && (round < 10); ++round) {
        wrong = one_of_each(worker->comm);
    }
    meet(worker->everywhere); /* by now everything has its memory */
    if (worker->index == 0) {
        atomic_store(&allocations_before, count_allocations());
    }
    meet(worker->everywhere);
    for (int round = 0; (wrong == NULL) && (round < 20); ++round) {
        wrong = one_of_each(worker->comm);
    }
    meet(worker->everywhere);
    if ((wrong == NULL) && (count_allocations() != atomic_load(&allocations_before))) {
        wrong = "steady rounds allocate memory";
    }
    meet(worker->everywhere);
    return wrong;
}

START_TEST(nodes__steady_rounds_allocate_nothing)
{
    ck_assert_uint_gt(count_allocations(), 0); /* they are counted at all */
    run_workers(&SHAPES[6], run_steadily, 0);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- failures ---- */

/* A level fails on worker 2, the leader of node 1, which then aborts; everybody is told, and told again. */
static const char *meet_a_failure(worker_t *worker)
{
    static const char *const WHERE[]  = {"within node 1 of 2 (its workers 0 to 1 are 2 to 3 of all)",
                                         "among the 2 nodes (worker n there speaks for node n)"};
    float                    data[10] = {0.0f};
    psgd_comm_t             *comm     = worker->comm;
    psgd_status_t            status   = all_reduce(comm, data, 10, LONG_DEADLINE_SECONDS);
    const char              *wrong;

    if ((status == PSGD_OK) && worker->may_hear_later && (worker->node == 0)) { /* it had come: the next one does not */
        status = all_reduce(comm, data, 10, LONG_DEADLINE_SECONDS);
    }
    wrong = expect_failure(status, PSGD_ERR_COMM, "communicator nodes: all_reduce ");
    if ((wrong == NULL) && (worker->index == 2)) {
        wrong = expect_failure(status, PSGD_ERR_COMM, "the spy fails a ");
        wrong = wrong == NULL ? expect_failure(status, PSGD_ERR_COMM, WHERE[worker->number]) : wrong;
    }
    if ((wrong == NULL) && (worker->index == 1)) {
        wrong = expect_failure(status, PSGD_ERR_COMM, "within node 0 of 2 (its workers 0 to 1 are 0 to 1 of all)");
    }
    if (wrong == NULL) {
        psgd_request_t *request = NULL;

        wrong = expect_failure(comm->begin_broadcast(comm->self, data, 4, 0, &request), PSGD_ERR_COMM,
                               "communicator nodes: all_reduce ");
    }
    comm->abort(comm->self);
    meet(worker->everywhere); /* nobody's data go before all are done with them */
    return wrong;
}

START_TEST(nodes__a_level_that_fails_is_named)
{
    worker_t  workers[MAX_WORKERS];
    meeting_t everywhere;
    uint32_t  count   = workers_prepare(&SHAPES[3], &everywhere, workers);
    bool      is_up   = _i % 2 == 0;
    spy_t    *failing = is_up ? &workers[2].up : &workers[2].leaders;

    failing->failing_begin = 1; /* the first after creation */
    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work   = meet_a_failure;
        workers[w].number = is_up ? 0 : 1;
        worker_wrap(&workers[w]);
    }
    workers_go(workers, count);
    for (uint32_t w = 0; w < count; ++w) { /* aborted at every level, once */
        ck_assert_uint_eq(workers[w].up.num_aborts, 1);
        ck_assert_uint_eq(workers[w].down.num_aborts, 1);
        ck_assert_uint_eq(workers[w].leaders.num_aborts, workers[w].local_index == 0 ? 1 : 0);
    }
}
END_TEST

static const char *fail_in_a_test(worker_t *worker)
{
    float data[10] = {0.0f};

    if (all_reduce(worker->comm, data, 10, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("the collective before");
    }
    if (worker->index == 2) {
        spy_t *failing = worker->number == 0 ? &worker->up : &worker->leaders;

        failing->failing_test = (int64_t)failing->num_tests;
    }
    worker->may_hear_later =
        worker->number == 1; /* node 1 has sent its sum when its leader fails: node 0 may have all it needs */
    return meet_a_failure(worker);
}

START_TEST(nodes__a_level_that_fails_in_the_middle_is_named)
{
    worker_t  workers[MAX_WORKERS];
    meeting_t everywhere;
    uint32_t  count = workers_prepare(&SHAPES[3], &everywhere, workers);

    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work   = fail_in_a_test;
        workers[w].number = (uint64_t)_i;
        worker_wrap(&workers[w]);
    }
    workers_go(workers, count);
}
END_TEST

/* Worker 3, the second of node 1, never comes; it stays until the others have given up. */
static const char *one_never_comes(worker_t *worker)
{
    static const char *const LATE[] = {
        "among the 2 nodes (worker n there speaks for node n): worker 1 has not begun it",
        "within node 0 of 2 (its workers 0 to 1 are 0 to 1 of all): worker 0 has not begun it (worker 0 may itself "
        "wait for "
        "other nodes)",
        "within node 1 of 2 (its workers 0 to 1 are 2 to 3 of all): worker 1 has not begun it"};
    float       data[2] = {1.0f, 2.0f};
    const char *wrong   = NULL;

    if (worker->index != 3) {
        wrong = expect_failure(all_reduce(worker->comm, data, 2, SHORT_DEADLINE_SECONDS), PSGD_ERR_TIMEOUT,
                               LATE[worker->index]);
    }
    meet(worker->everywhere);
    worker->comm->abort(worker->comm->self);
    meet(worker->everywhere);
    return wrong;
}

START_TEST(nodes__a_worker_that_never_comes_is_a_timeout_that_names_its_level)
{
    run_workers(&SHAPES[3], one_never_comes, 0);
}
END_TEST

/* The same; worker 2 waits for a later request, whose turn among the nodes comes after that of the first. */
static const char *one_never_comes_to_the_first(worker_t *worker)
{
    static const char *const LATE[] = {
        "among the 2 nodes (worker n there speaks for node n): worker 1 has not begun it",
        "within node 0 of 2 (its workers 0 to 1 are 0 to 1 of all): worker 0 has not begun it",
        "within node 1 of 2 (its workers 0 to 1 are 2 to 3 of all): worker 1 has not begun it"};
    float           data[4]     = {1.0f, 2.0f, 3.0f, 4.0f};
    psgd_request_t *requests[2] = {NULL, NULL};
    const char     *wrong       = NULL;
    psgd_comm_t    *comm        = worker->comm;

    if (worker->index != 3) {
        if ((comm->begin_broadcast(comm->self, data, 4, 3, &requests[0]) != PSGD_OK) ||
            (comm->begin_broadcast(comm->self, data + 2, 4, 0, &requests[1]) != PSGD_OK)) {
            return wrong_sentence("begin");
        }
        wrong = expect_failure(collective_wait(comm, requests[worker->index == 2 ? 1 : 0], SHORT_DEADLINE_SECONDS),
                               PSGD_ERR_TIMEOUT, LATE[worker->index]);
    }
    meet(worker->everywhere);
    comm->abort(comm->self);
    meet(worker->everywhere);
    return wrong;
}

START_TEST(nodes__a_request_that_waits_for_an_earlier_one_names_what_that_waits_for)
{
    run_workers(&SHAPES[3], one_never_comes_to_the_first, 0);
}
END_TEST

static const char *one_aborts(worker_t *worker)
{
    float       data[2] = {1.0f, 2.0f};
    const char *wrong   = NULL;

    if (all_reduce(worker->comm, data, 2, LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("the collective before");
    }
    if (worker->index != 3) {
        wrong = expect_failure(all_reduce(worker->comm, data, 2, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM, " aborted");
    }
    worker->comm->abort(worker->comm->self);
    meet(worker->everywhere);
    return wrong;
}

START_TEST(nodes__an_abort_fails_what_is_pending_on_all_others)
{
    run_workers(&SHAPES[3], one_aborts, 0);
}
END_TEST

/* What is complete on this worker stays so, although the communicator has failed since. */
static const char *fail_after_completion(worker_t *worker)
{
    psgd_comm_t    *comm        = worker->comm;
    float           data[2]     = {1.0f, 2.0f};
    psgd_request_t *requests[2] = {NULL, NULL};
    const char     *wrong       = NULL;
    int             is_done     = 0;

    if ((comm->begin_all_reduce(comm->self, data, 1, &requests[0]) != PSGD_OK) ||
        (comm->begin_all_reduce(comm->self, data + 1, 1, &requests[1]) != PSGD_OK)) {
        return wrong_sentence("begin");
    }
    if (collective_wait(comm, requests[1], LONG_DEADLINE_SECONDS) != PSGD_OK) {
        return wrong_sentence("wait");
    }
    meet(worker->everywhere);
    if (worker->index == 3) {
        comm->abort(comm->self);
    }
    meet(worker->everywhere);
    if (worker->index != 3) {
        psgd_request_t *request = NULL;
        psgd_status_t   status  = comm->begin_all_reduce(comm->self, data + 1, 1, &request);

        if (worker->node == 1) {
            wrong = expect_failure(status, PSGD_ERR_COMM, "worker 1 aborted");
        }
        if ((wrong == NULL) && ((comm->test(comm->self, requests[0], &is_done) != PSGD_OK) || !is_done)) {
            wrong = "what was complete is so no longer";
        }
        comm->abort(comm->self);
    }
    meet(worker->everywhere);
    return wrong != NULL || data[0] == (float)comm->num_workers ? wrong : "wrong sum";
}

START_TEST(nodes__what_is_complete_stays_so_after_a_failure)
{
    run_workers(&SHAPES[3], fail_after_completion, 0);
}
END_TEST

static const char *leave_at_once(worker_t *worker)
{
    float data[2] = {1.0f, 1.0f};

    if (worker->index == worker->number % worker->comm->num_workers) {
        psgd_sleep_ns(10000 * (worker->number % 30));
    }
    return all_reduce(worker->comm, data, 2, LONG_DEADLINE_SECONDS) == PSGD_OK ? NULL
                                                                               : wrong_sentence("the last collective");
}

START_TEST(nodes__a_worker_that_leaves_after_the_last_collective_disturbs_nobody)
{
    for (uint64_t round = 0; round < 100; ++round) {
        run_workers(&SHAPES[4], leave_at_once, round);
    }
}
END_TEST

/* Everything is under way when all abort: memory that the levels may still use stays. */
static const char *abort_in_the_middle(worker_t *worker)
{
    psgd_comm_t *comm = worker->comm;
    collective_t collectives[NUM_COLLECTIVE_KINDS];
    const char  *wrong = NULL;

    for (int i = 0; (wrong == NULL) && (i < NUM_COLLECTIVE_KINDS); ++i) {
        wrong = collective_begin(&collectives[i], comm, (collective_kind_t)i, 5000, 1, false);
    }
    for (uint64_t i = 0; (wrong == NULL) && (i < worker->number % 7); ++i) {
        int is_done = 0;

        comm->test(comm->self, collectives[NUM_COLLECTIVE_KINDS - 1].request, &is_done);
        if (is_done) {
            break;
        }
    }
    comm->abort(comm->self);
    return NULL; /* with whatever begin() said after another's abort; data stay allocated */
}

START_TEST(nodes__an_abort_in_the_middle_leaves_nobody_waiting)
{
    for (uint64_t round = 0; round < 40; ++round) {
        worker_t  workers[MAX_WORKERS];
        meeting_t everywhere;
        uint32_t  count = workers_prepare(&SHAPES[3 + round % 4], &everywhere, workers);

        for (uint32_t w = 0; w < count; ++w) {
            workers[w].work            = abort_in_the_middle;
            workers[w].number          = round + w;
            workers[w].leaves_messages = true;
        }
        workers_go(workers, count);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- creation ---- */

static const char *describe(worker_t *worker)
{
    const psgd_comm_t *comm      = worker->comm;
    uint32_t           num_nodes = 0, node = 0, workers = 0;

    if (psgd_comm_nodes_describe(comm, &num_nodes, &node, &workers) != PSGD_OK) {
        return wrong_sentence("describe");
    }
    if ((comm->struct_size != sizeof(*comm)) || (strcmp(comm->name, "nodes") != 0) ||
        (comm->num_workers != node_shape_workers(worker->shape)) || (comm->worker_index != worker->index)) {
        return "the table is wrong";
    }
    return (num_nodes == worker->shape->num_nodes) && (node == worker->node) && (workers == worker->shape->sizes[node])
               ? NULL
               : "the layout is wrong";
}

START_TEST(nodes__workers_are_numbered_node_by_node)
{
    for (int shape = 0; shape < NUM_SHAPES; ++shape) {
        run_workers(&SHAPES[shape], describe, 0);
    }
}
END_TEST

/* What one level lacks on one node, none has. */
static const char *look_at_operations(worker_t *worker)
{
    const psgd_comm_t *comm = worker->comm;

    if ((comm->begin_reduce_scatter == NULL) != (worker->number == 0) ||
        (comm->begin_all_gather == NULL) != (worker->number == 1 || worker->number == 4) ||
        (comm->begin_all_to_all == NULL) != (worker->number == 2 || worker->number == 5 || worker->number == 6) ||
        (comm->begin_broadcast == NULL) != (worker->number == 3 || worker->number == 7)) {
        return "another operation is missing, or it is there";
    }
    return check_order_of_sums(worker);
}

START_TEST(nodes__an_operation_is_there_where_all_levels_have_it)
{
    worker_t  workers[MAX_WORKERS];
    meeting_t everywhere;
    uint32_t  count = workers_prepare(&SHAPES[3], &everywhere, workers);

    for (uint32_t w = 2; w < count; ++w) { /* node 1 alone */
        workers[w].leaders.lacks_reduce_scatter = _i == 0;
        workers[w].leaders.lacks_all_gather     = _i == 1;
        workers[w].leaders.lacks_all_to_all     = _i == 2;
        workers[w].leaders.lacks_broadcast      = _i == 3;
        workers[w].up.lacks_all_gather          = _i == 4;
        workers[w].up.lacks_all_to_all          = _i == 5;
        workers[w].down.lacks_all_to_all        = _i == 6;
        workers[w].up.lacks_broadcast           = _i == 7;
    }
    for (uint32_t w = 0; w < count; ++w) {
        workers[w].work   = look_at_operations;
        workers[w].number = (uint64_t)_i;
        worker_wrap(&workers[w]);
    }
    workers_go(workers, count);
}
END_TEST

/* --- creations that fail: without worker_main(), which expects them to succeed --- */

typedef struct attempt {
    pthread_t     thread;
    lanes_t       lanes;
    psgd_status_t status;
    meeting_t    *everywhere;
    char          sentence[512];
    psgd_comm_t  *comm;
} attempt_t;

static void *attempt_main(void *argument)
{
    attempt_t *attempt = argument;

    leaks_are_meant(true);
    attempt->status = psgd_comm_nodes_create(attempt->lanes.up, attempt->lanes.down, attempt->lanes.leaders,
                                             SHORT_DEADLINE_SECONDS, &attempt->comm);
    snprintf(attempt->sentence, sizeof(attempt->sentence), "%s", psgd_last_error());
    meet(attempt->everywhere);
    leaks_are_meant(false);
    return NULL;
}

/* All but worker `missing` call it. */
static void attempt_all(attempt_t *attempts, uint32_t count, uint32_t missing)
{
    meeting_t everywhere = {0, missing < count ? count - 1 : count};

    for (uint32_t w = 0; w < count; ++w) {
        attempts[w].everywhere = &everywhere;
        attempts[w].comm       = NULL;
        if (w != missing) {
            ck_assert_int_eq(pthread_create(&attempts[w].thread, NULL, attempt_main, &attempts[w]), 0);
        }
    }
    for (uint32_t w = 0; w < count; ++w) {
        if (w != missing) {
            ck_assert_int_eq(pthread_join(attempts[w].thread, NULL), 0);
            ck_assert_ptr_null(attempts[w].comm);
        }
    }
}

static void prepare_attempts(const node_shape_t *shape, attempt_t *attempts)
{
    lanes_t lanes[MAX_WORKERS];

    lanes_create(shape, lanes);
    for (uint32_t w = 0; w < node_shape_workers(shape); ++w) {
        memset(&attempts[w], 0, sizeof(attempts[w]));
        attempts[w].lanes = lanes[w];
    }
}

static void assert_attempt(const attempt_t *attempt, psgd_status_t status, const char *words)
{
    ck_assert_msg(attempt->status == status, "%s: %s", psgd_status_name(attempt->status), attempt->sentence);
    ck_assert_msg(strstr(attempt->sentence, words) != NULL, "'%s' is not in: %s", words, attempt->sentence);
    ck_assert_msg(strstr(attempt->sentence, "psgd_comm_nodes_create: ") == attempt->sentence, "%s", attempt->sentence);
}

START_TEST(nodes__creation_without_a_worker_ends_at_the_deadline)
{
    attempt_t attempts[MAX_WORKERS];

    prepare_attempts(&SHAPES[3], attempts);
    attempt_all(attempts, 4, 3);
    assert_attempt(&attempts[2], PSGD_ERR_TIMEOUT, "the creation of a communicator of nodes: not complete after");
    assert_attempt(&attempts[2], PSGD_ERR_TIMEOUT, "worker 1 has not begun it");
    ck_assert(attempts[0].status == PSGD_ERR_TIMEOUT || attempts[0].status == PSGD_ERR_COMM);
    ck_assert(attempts[1].status == PSGD_ERR_TIMEOUT || attempts[1].status == PSGD_ERR_COMM);
    for (int w = 0; w < 4; ++w) { /* they stay the caller's */
        lanes_destroy(&attempts[w].lanes);
    }
}
END_TEST

/* What one worker passes wrongly, all are told. */
START_TEST(nodes__what_one_worker_passes_wrongly_all_are_told)
{
    attempt_t    attempts[MAX_WORKERS];
    psgd_comm_t *other = NULL, *up = NULL;
    spy_t        spy;

    prepare_attempts(&SHAPES[6], attempts); /* 2, 1 and 3 workers: 4 is the second of node 2 */
    assert_ok(psgd_comm_self_create(&other));
    up = attempts[4].lanes.down;
    spy_init(&spy);
    switch (_i) {
    case 0: attempts[4].lanes.leaders = other; break;
    case 1: attempts[4].lanes.down = other; break;
    default:
        spy.lacks_broadcast = true;
        spy_wrap(&spy, &attempts[4].lanes.down);
        break;
    }
    attempt_all(attempts, 6, UINT32_MAX);
    for (uint32_t w = 0; w < 6; ++w) {
        if (w != 4) {
            assert_attempt(&attempts[w], PSGD_ERR_INVALID_ARGUMENT, "1 other worker found something wrong");
        }
    }
    switch (_i) {
    case 0:
        assert_attempt(&attempts[4], PSGD_ERR_INVALID_ARGUMENT, "leaders is not NULL on worker 1 of a node");
        attempts[4].lanes.leaders = NULL;
        break;
    case 1:
        assert_attempt(&attempts[4], PSGD_ERR_INVALID_ARGUMENT, "up has this worker as 1 of 3, down as 0 of 1");
        attempts[4].lanes.down = up;
        break;
    default: assert_attempt(&attempts[4], PSGD_ERR_UNSUPPORTED, "has no begin_broadcast"); break;
    }
    psgd_comm_destroy(other);
    for (int w = 0; w < 6; ++w) {
        lanes_destroy(&attempts[w].lanes);
    }
}
END_TEST

START_TEST(nodes__a_node_without_a_speaker_is_told)
{
    static const node_shape_t one_node = {1, {3}};
    attempt_t                 attempts[MAX_WORKERS];
    psgd_comm_t              *leaders;

    prepare_attempts(&one_node, attempts);
    leaders                   = attempts[0].lanes.leaders;
    attempts[0].lanes.leaders = NULL;
    attempt_all(attempts, 3, UINT32_MAX);
    assert_attempt(&attempts[0], PSGD_ERR_INVALID_ARGUMENT, "leaders is NULL on worker 0 of a node");
    assert_attempt(&attempts[1], PSGD_ERR_INVALID_ARGUMENT, "1 other worker found something wrong");
    assert_attempt(&attempts[2], PSGD_ERR_INVALID_ARGUMENT, "1 other worker found something wrong");
    psgd_comm_destroy(leaders);
    for (int w = 0; w < 3; ++w) {
        lanes_destroy(&attempts[w].lanes);
    }
}
END_TEST

START_TEST(nodes__refuses_bad_arguments)
{
    psgd_comm_t    *up = NULL, *down = NULL, *leaders = NULL, *comm = NULL;
    psgd_comm_t     bad;
    psgd_comm_t    *comms[2] = {NULL, NULL};
    psgd_request_t *request  = NULL;
    uint32_t        number;
    float           data[1] = {0.0f};

    assert_ok(psgd_comm_self_create(&up));
    assert_ok(psgd_comm_self_create(&down));
    assert_ok(psgd_comm_self_create(&leaders));
    bad      = *up;
    bad.test = NULL;
    assert_fails(psgd_comm_nodes_create(up, down, leaders, 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "psgd_comm_nodes_create: comm_p is NULL");
    assert_fails(psgd_comm_nodes_create(NULL, down, leaders, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "psgd_comm_nodes_create: up is NULL");
    assert_fails(psgd_comm_nodes_create(up, NULL, leaders, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "down is NULL");
    assert_fails(psgd_comm_nodes_create(up, down, NULL, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "leaders is NULL on worker 0");
    assert_fails(psgd_comm_nodes_create(&bad, down, leaders, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "up: comm lacks test");
    assert_fails(psgd_comm_nodes_create(up, &bad, leaders, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "down: comm lacks test");
    assert_fails(psgd_comm_nodes_create(up, down, &bad, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "leaders: comm lacks test");
    assert_fails(psgd_comm_nodes_create(up, down, leaders, -1.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "deadline_seconds is -1");
    assert_fails(psgd_comm_nodes_create(up, down, leaders, (double)NAN, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "must be finite");
    assert_fails(psgd_comm_nodes_threads_create(0, leaders, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "psgd_comm_nodes_threads_create: num_threads is 0; it must be 1 to 1024");
    assert_fails(psgd_comm_nodes_threads_create(1025, leaders, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "num_threads is 1025");
    assert_fails(psgd_comm_nodes_threads_create(2, NULL, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT, "leaders is NULL");
    assert_fails(psgd_comm_nodes_threads_create(2, leaders, 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT, "comms_p is NULL");
    assert_fails(psgd_comm_nodes_describe(up, &number, &number, &number), PSGD_ERR_INVALID_ARGUMENT,
                 "communicator 'self' is none of nodes");
    assert_fails(psgd_comm_nodes_describe(NULL, &number, &number, &number), PSGD_ERR_INVALID_ARGUMENT,
                 "an argument is NULL");
    ck_assert_ptr_null(comm);
    ck_assert_ptr_null(comms[0]);

    assert_ok(psgd_comm_nodes_create(up, down, leaders, 0.0, &comm)); /* all alone */
    ck_assert_uint_eq(comm->num_workers, 1);
    ck_assert_ptr_null(collective_check(comm, COLLECTIVE_ALL_TO_ALL, 10, 1, false));
    assert_fails(comm->begin_broadcast(comm->self, data, 4, 1, &request), PSGD_ERR_INVALID_ARGUMENT,
                 "there is only worker 0");
    psgd_comm_destroy(comm);
}
END_TEST

static const char *refuse_a_root(worker_t *worker)
{
    psgd_request_t *request = NULL;
    float           data[1] = {0.0f};

    return expect_failure(worker->comm->begin_broadcast(worker->comm->self, data, 4, 4, &request),
                          PSGD_ERR_INVALID_ARGUMENT, "broadcast from worker 4: there are only workers 0 to 3");
}

START_TEST(nodes__refuses_a_root_that_is_not_there)
{
    run_workers(&SHAPES[3], refuse_a_root, 0);
}
END_TEST

/* ------------------------------------------------------------------------------------- a node that is a process ---- */

/* One thread a node creates the communicators of all its workers, as a process does; each worker has its own thread then. */
typedef struct household {
    pthread_t    thread;
    psgd_comm_t *leaders;
    psgd_comm_t *comms[MAX_WORKERS];
    uint32_t     num_threads;
    char         wrong[512];
} household_t;

static void *member_main(void *argument)
{
    psgd_comm_t *comm  = argument;
    const char  *wrong = NULL;

    for (uint32_t kind = 0; (wrong == NULL) && (kind < NUM_COLLECTIVE_KINDS); ++kind) {
        wrong = collective_check(comm, (collective_kind_t)kind, 3001, kind, false);
    }
    for (uint32_t seed = 0; (wrong == NULL) && (seed < 3); ++seed) {
        wrong = collectives_check_many(comm, 16, 100, seed, false);
    }
    if (wrong != NULL) {
        comm->abort(comm->self);
    }
    psgd_comm_destroy(comm);
    return (void *)(uintptr_t)(wrong != NULL ? 1 : 0);
}

static void *household_main(void *argument)
{
    household_t *household = argument;
    pthread_t    threads[MAX_WORKERS];
    void        *result = NULL;

    if (psgd_comm_nodes_threads_create(household->num_threads, household->leaders, LONG_DEADLINE_SECONDS,
                                       household->comms) != PSGD_OK) {
        snprintf(household->wrong, sizeof(household->wrong), "%s", psgd_last_error());
        psgd_comm_destroy(household->leaders);
        return NULL;
    }
    for (uint32_t t = 0; t < household->num_threads; ++t) {
        pthread_create(&threads[t], NULL, member_main, household->comms[t]);
    }
    for (uint32_t t = 0; t < household->num_threads; ++t) {
        pthread_join(threads[t], &result);
        if (result != NULL) {
            snprintf(household->wrong, sizeof(household->wrong), "thread %u found something wrong", t);
        }
    }
    return NULL;
}

START_TEST(nodes__one_thread_can_create_those_of_its_process)
{
    for (int shape = 0; shape < NUM_SHAPES; ++shape) {
        household_t  households[LANES_MAX_NODES];
        psgd_comm_t *leaders[LANES_MAX_NODES];

        memset(households, 0, sizeof(households));
        assert_ok(psgd_comm_threads_create(SHAPES[shape].num_nodes, leaders));
        for (uint32_t n = 0; n < SHAPES[shape].num_nodes; ++n) {
            households[n].leaders     = leaders[n];
            households[n].num_threads = SHAPES[shape].sizes[n];
            ck_assert_int_eq(pthread_create(&households[n].thread, NULL, household_main, &households[n]), 0);
        }
        for (uint32_t n = 0; n < SHAPES[shape].num_nodes; ++n) {
            ck_assert_int_eq(pthread_join(households[n].thread, NULL), 0);
            ck_assert_msg(households[n].wrong[0] == '\0', "node %u of shape %d: %s", n, shape, households[n].wrong);
        }
    }
}
END_TEST

START_TEST(nodes__a_process_that_never_comes_is_a_timeout)
{
    psgd_comm_t *leaders[2];
    psgd_comm_t *comms[3] = {NULL, NULL, NULL};

    assert_ok(psgd_comm_threads_create(2, leaders));
    leaks_are_meant(true);
    assert_fails(psgd_comm_nodes_threads_create(3, leaders[0], SHORT_DEADLINE_SECONDS, comms), PSGD_ERR_TIMEOUT,
                 "worker 1 has not begun it");
    ck_assert_ptr_null(comms[0]);
    psgd_comm_destroy(leaders[0]); /* still the caller's, and aborted */
    assert_fails(psgd_comm_nodes_threads_create(3, leaders[1], SHORT_DEADLINE_SECONDS, comms), PSGD_ERR_COMM,
                 "worker 0 aborted");
    leaks_are_meant(false);
    psgd_comm_destroy(leaders[1]);
}
END_TEST

int main(void)
{
    Suite *suite       = suite_create("comm_nodes");
    TCase *collectives = tcase_create("collectives");
    TCase *failures    = tcase_create("failures");
    TCase *creation    = tcase_create("creation");

    tcase_set_timeout(collectives, 300);
    tcase_add_loop_test(collectives, nodes__every_collective_equals_plain_loops_with_equal_bits_on_all_workers, 0,
                        NUM_COLLECTIVE_KINDS);
    tcase_add_test(collectives, nodes__any_worker_can_broadcast);
    tcase_add_test(collectives, nodes__a_sum_is_that_of_the_nodes_sums);
    tcase_add_loop_test(collectives, nodes__many_requests_under_way_complete_in_any_order, 0, 3);
    tcase_add_test(collectives, nodes__collectives_meet_whatever_each_worker_sees_complete_first);
    tcase_add_test(collectives, nodes__one_request_too_many_is_refused_and_does_no_harm);
    tcase_add_test(collectives, nodes__a_request_may_stay_untested_while_others_come_and_go);
    tcase_add_test(collectives, nodes__thousands_of_collectives_in_a_row);
    tcase_add_test(collectives, nodes__a_sum_passes_between_nodes_once_however_many_workers_they_have);
    tcase_add_loop_test(collectives, nodes__one_node_or_one_worker_a_node_costs_nothing, 0, 2);
    tcase_add_test(collectives, nodes__steady_rounds_allocate_nothing);
    suite_add_tcase(suite, collectives);

    tcase_set_timeout(failures, 120);
    tcase_add_loop_test(failures, nodes__a_level_that_fails_is_named, 0, 2);
    tcase_add_loop_test(failures, nodes__a_level_that_fails_in_the_middle_is_named, 0, 2);
    tcase_add_test(failures, nodes__a_worker_that_never_comes_is_a_timeout_that_names_its_level);
    tcase_add_test(failures, nodes__a_request_that_waits_for_an_earlier_one_names_what_that_waits_for);
    tcase_add_test(failures, nodes__an_abort_fails_what_is_pending_on_all_others);
    tcase_add_test(failures, nodes__what_is_complete_stays_so_after_a_failure);
    tcase_add_test(failures, nodes__a_worker_that_leaves_after_the_last_collective_disturbs_nobody);
    tcase_add_test(failures, nodes__an_abort_in_the_middle_leaves_nobody_waiting);
    suite_add_tcase(suite, failures);

    tcase_set_timeout(creation, 120);
    tcase_add_test(creation, nodes__workers_are_numbered_node_by_node);
    tcase_add_loop_test(creation, nodes__an_operation_is_there_where_all_levels_have_it, 0, 8);
    tcase_add_test(creation, nodes__creation_without_a_worker_ends_at_the_deadline);
    tcase_add_loop_test(creation, nodes__what_one_worker_passes_wrongly_all_are_told, 0, 3);
    tcase_add_test(creation, nodes__a_node_without_a_speaker_is_told);
    tcase_add_test(creation, nodes__refuses_bad_arguments);
    tcase_add_test(creation, nodes__refuses_a_root_that_is_not_there);
    tcase_add_test(creation, nodes__one_thread_can_create_those_of_its_process);
    tcase_add_test(creation, nodes__a_process_that_never_comes_is_a_timeout);
    suite_add_tcase(suite, creation);
    return psgd_run_suite(suite);
}
