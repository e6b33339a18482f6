/* Communicators of nodes over MPI: which processes form a node, threads within processes, and all collectives over both.
 *
 * All processes of a test run on one host, so most tests name their nodes. */
#define _GNU_SOURCE /* setenv */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <psgd/psgd_mpi.h>

#include "base/clock.h"
#include "support/collectives.h"
#include "support/suite.h"

enum { MAX_THREADS = 3, MAX_REQUESTS = 32 };

static const double SHORT_DEADLINE_SECONDS = 0.5;
static const double LONG_DEADLINE_SECONDS  = 60.0;

static int num_processes;
static int process_index;

/* What a creation that timed out leaves to MPI is meant to stay. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
    return "leak:libmpich\n";
}

void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static void leaks_are_meant(int are_meant)
{
    void (*tell)(void) = are_meant ? __lsan_disable : __lsan_enable;

    if (tell != NULL) {
        tell();
    }
}

/* --- between us and MPI: what passes between nodes, and what fails ------------------------------------------------- */

static int num_all_reduces;    /* of communicators of more than one process */
static int num_reduced_floats; /* by them */

int MPI_Iallreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request)
{
    int size = 0;

    PMPI_Comm_size(comm, &size);
    num_all_reduces += size > 1 ? 1 : 0;
    num_reduced_floats += size > 1 ? count : 0;
    return PMPI_Iallreduce(send, receive, count, type, op, comm, request);
}

static int restores_left; /* calls that put MPI_ERRORS_ARE_FATAL back until one fails; 0: none does */

int MPI_Comm_set_errhandler(MPI_Comm comm, MPI_Errhandler handler)
{
    if ((handler == MPI_ERRORS_ARE_FATAL) && (restores_left > 0) && (--restores_left == 0)) {
        return MPI_ERR_OTHER;
    }
    return PMPI_Comm_set_errhandler(comm, handler);
}

static uint64_t naming_ns; /* that MPI takes to name this process's processor */

int MPI_Get_processor_name(char *name, int *length)
{
    psgd_sleep_ns(naming_ns);
    return PMPI_Get_processor_name(name, length);
}

/* --- nodes of processes ------------------------------------------------------------------------------------------- */

/* How processes are dealt to nodes. */
typedef enum deal {
    DEAL_PAIRS,    /* 0 1 | 2 3 */
    DEAL_IN_TURNS, /* 0 2 | 1 3 */
    DEAL_ALL_IN_ONE,
    DEAL_ONE_EACH,
    NUM_DEALS
} deal_t;

static int node_of(deal_t deal, int process)
{
    switch (deal) {
    case DEAL_PAIRS: return process / 2;
    case DEAL_IN_TURNS: return process % 2;
    case DEAL_ALL_IN_ONE: return 0;
    default: return process;
    }
}

/* The index that a process has as a worker: node by node. */
static uint32_t worker_of(deal_t deal, int process)
{
    uint32_t before = 0;

    for (int p = 0; p < num_processes; ++p) {
        int node = node_of(deal, p), own = node_of(deal, process);

        before += (node < own) || ((node == own) && (p < process)) ? 1 : 0;
    }
    return before;
}

static psgd_comm_t *open_nodes(deal_t deal)
{
    psgd_comm_t *comm = NULL;
    char         name[32];

    snprintf(name, sizeof(name), "node %d", node_of(deal, process_index));
    assert_ok(psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, name, LONG_DEADLINE_SECONDS, &comm));
    return comm;
}

/* The processes of `node`, and how many nodes there are. */
static uint32_t count_processes(deal_t deal, int node, uint32_t *num_nodes_p)
{
    uint32_t count = 0;

    *num_nodes_p = 0;
    for (int p = 0; p < num_processes; ++p) {
        count += node_of(deal, p) == node ? 1 : 0;
        if ((uint32_t)node_of(deal, p) + 1 > *num_nodes_p) {
            *num_nodes_p = (uint32_t)node_of(deal, p) + 1;
        }
    }
    return count;
}

START_TEST(mpi_nodes__workers_are_numbered_node_by_node)
{
    deal_t       deal = (deal_t)_i;
    psgd_comm_t *comm = open_nodes(deal);
    uint32_t     num_nodes, node, node_workers, expected_nodes;
    uint32_t     expected_workers = count_processes(deal, node_of(deal, process_index), &expected_nodes);

    assert_ok(psgd_comm_nodes_describe(comm, &num_nodes, &node, &node_workers));
    ck_assert_str_eq(comm->name, "nodes");
    ck_assert_uint_eq(comm->num_workers, (uint32_t)num_processes);
    ck_assert_uint_eq(comm->worker_index, worker_of(deal, process_index));
    ck_assert_uint_eq(num_nodes, expected_nodes);
    ck_assert_uint_eq(node, (uint32_t)node_of(deal, process_index));
    ck_assert_uint_eq(node_workers, expected_workers);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi_nodes__every_collective_equals_plain_loops_with_equal_bits_on_all_workers)
{
    static const size_t SIZES[] = {1, 7, 511, 100003};

    for (int deal = 0; deal < NUM_DEALS; ++deal) {
        psgd_comm_t *comm = open_nodes((deal_t)deal);

        for (uint32_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); ++i) {
            const char *wrong = collective_check(comm, (collective_kind_t)_i, SIZES[i], i, false);

            ck_assert_msg(wrong == NULL, "deal %d, size %zu: %s", deal, SIZES[i], wrong);
        }
        psgd_comm_destroy(comm);
    }
}
END_TEST

START_TEST(mpi_nodes__many_requests_under_way_complete_in_any_order)
{
    for (int deal = 0; deal < NUM_DEALS; ++deal) {
        psgd_comm_t *comm = open_nodes((deal_t)deal);

        for (uint32_t seed = 0; seed < 3; ++seed) {
            const char *wrong = collectives_check_many(comm, MAX_REQUESTS, 1 + 100 * seed, seed, false);

            ck_assert_msg(wrong == NULL, "deal %d: %s", deal, wrong);
        }
        psgd_comm_destroy(comm);
    }
}
END_TEST

/* Without names: all tests run on one host, so that is one node; unless the environment says otherwise. */
START_TEST(mpi_nodes__processes_that_share_memory_and_a_processor_name_are_one_node)
{
    psgd_comm_t *comm = NULL;
    uint32_t     num_nodes, node, node_workers;
    const char  *wrong;

    assert_ok(psgd_comm_mpi_nodes_create_f(MPI_Comm_c2f(MPI_COMM_WORLD), NULL, LONG_DEADLINE_SECONDS, &comm));
    assert_ok(psgd_comm_nodes_describe(comm, &num_nodes, &node, &node_workers));
    ck_assert_uint_eq(num_nodes, 1);
    ck_assert_uint_eq(node_workers, (uint32_t)num_processes);
    wrong = collective_check(comm, COLLECTIVE_ALL_REDUCE, 100, 1, false);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi_nodes__the_environment_names_the_node)
{
    psgd_comm_t *comm = NULL;
    uint32_t     num_nodes, node, node_workers, expected_nodes;
    char         name[32];

    count_processes(DEAL_PAIRS, 0, &expected_nodes);
    snprintf(name, sizeof(name), "host-%d", process_index / 2);
    setenv("PSGD_NODE", name, 1);
    assert_ok(psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, NULL, LONG_DEADLINE_SECONDS, &comm));
    assert_ok(psgd_comm_nodes_describe(comm, &num_nodes, &node, &node_workers));
    ck_assert_uint_eq(num_nodes, expected_nodes);
    ck_assert_uint_eq(node, (uint32_t)process_index / 2);
    psgd_comm_destroy(comm);
    comm = NULL;
    assert_ok(psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, "all", LONG_DEADLINE_SECONDS,
                                         &comm)); /* the program's word goes first */
    assert_ok(psgd_comm_nodes_describe(comm, &num_nodes, &node, &node_workers));
    ck_assert_uint_eq(num_nodes, 1);
    psgd_comm_destroy(comm);
    unsetenv("PSGD_NODE");
}
END_TEST

START_TEST(mpi_nodes__a_sum_passes_between_nodes_once)
{
    psgd_comm_t    *comm = open_nodes(DEAL_PAIRS);
    float           data[100];
    psgd_request_t *request = NULL;
    int             is_leader, is_alone;

    if (num_processes == 2) { /* one node: nothing does */
        psgd_comm_destroy(comm);
        return;
    }
    is_leader = process_index % 2 == 0;
    is_alone  = is_leader && (process_index == num_processes - 1);
    for (int i = 0; i < 100; ++i) {
        data[i] = 1.0f;
    }
    num_all_reduces = num_reduced_floats = 0;
    assert_ok(comm->begin_all_reduce(comm->self, data, 100, &request));
    assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
    ck_assert_float_eq(data[99], (float)num_processes);
    ck_assert_int_eq(num_all_reduces, is_alone ? 1 : is_leader ? 2 : 1); /* within the node, between nodes */
    ck_assert_int_eq(num_reduced_floats, 100 * num_all_reduces);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi_nodes__the_callers_communicator_stays_as_it_is)
{
    MPI_Comm       own;
    MPI_Errhandler handler;
    psgd_comm_t   *comm = NULL;
    const char    *wrong;

    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    MPI_Comm_set_errhandler(own, MPI_ERRORS_ARE_FATAL);
    assert_ok(psgd_comm_mpi_nodes_create(own, NULL, LONG_DEADLINE_SECONDS, &comm));
    MPI_Comm_get_errhandler(own, &handler);
    ck_assert(handler == MPI_ERRORS_ARE_FATAL);
    MPI_Errhandler_free(&handler);
    MPI_Comm_free(&own);
    wrong = collective_check(comm, COLLECTIVE_ALL_REDUCE, 100, 1, false);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    psgd_comm_destroy(comm);
}
END_TEST

/* The first is that of the communicator over which processes tell their nodes. */
START_TEST(mpi_nodes__a_handler_that_cannot_be_put_back_is_told)
{
    MPI_Comm     own;
    psgd_comm_t *comm = NULL;

    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    MPI_Comm_set_errhandler(own, MPI_ERRORS_ARE_FATAL);
    restores_left = 2;
    leaks_are_meant(1);
    assert_fails(
        psgd_comm_mpi_nodes_create(own, NULL, LONG_DEADLINE_SECONDS, &comm), PSGD_ERR_COMM,
        "psgd_comm_mpi_nodes_create: MPI_Comm_set_errhandler (the caller's) failed in a communicator of nodes");
    leaks_are_meant(0);
    ck_assert_int_eq(restores_left, 0);
    ck_assert_ptr_null(comm);
}
END_TEST

START_TEST(mpi_nodes__creating_and_destroying_many_times_loses_no_communicator)
{
    int times = psgd_test_shapes_are_reduced() ? 20 : 300; /* of up to five each; MPICH has 2048 at a time */

    for (int i = 0; i < times; ++i) {
        psgd_comm_destroy(open_nodes((deal_t)(i % NUM_DEALS)));
    }
}
END_TEST

/* --- what is refused ---------------------------------------------------------------------------------------------- */

START_TEST(mpi_nodes__refuses_bad_arguments)
{
    psgd_comm_t *comm = NULL, *comms[MAX_THREADS] = {NULL};

    assert_fails(psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, NULL, 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "psgd_comm_mpi_nodes_create: comm_p is NULL");
    assert_fails(psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, NULL, -1.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "deadline_seconds is -1");
    assert_fails(psgd_comm_mpi_nodes_create(MPI_COMM_NULL, NULL, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "MPI_COMM_NULL");
    assert_fails(psgd_comm_mpi_nodes_create_f(MPI_Comm_c2f(MPI_COMM_WORLD), NULL, (double)NAN, &comm),
                 PSGD_ERR_INVALID_ARGUMENT, "must be finite");
    assert_fails(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 0, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "psgd_comm_mpi_threads_create: num_threads is 0; it must be 1 to 1024");
    assert_fails(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 1025, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "num_threads is 1025");
    assert_fails(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 2, 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "comms_p is NULL");
    assert_fails(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 2, (double)INFINITY, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "must be finite");
    assert_fails(psgd_comm_mpi_threads_create_f(MPI_Comm_c2f(MPI_COMM_NULL), 2, 0.0, comms), PSGD_ERR_INVALID_ARGUMENT,
                 "MPI_COMM_NULL");
    ck_assert_ptr_null(comm);
    ck_assert_ptr_null(comms[0]);
}
END_TEST

START_TEST(mpi_nodes__a_name_on_some_processes_alone_is_refused_on_all)
{
    psgd_comm_t *comm = NULL;

    assert_fails(
        psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, process_index == 1 ? "here" : NULL, LONG_DEADLINE_SECONDS, &comm),
        PSGD_ERR_INVALID_ARGUMENT, "process 1 says what its node is called, process 0 does not");
    ck_assert_ptr_null(comm);
}
END_TEST

/* Process 0 stays away until the others have given up; what they have begun on this copy is never complete. */
START_TEST(mpi_nodes__creation_that_not_all_join_is_a_timeout)
{
    MPI_Comm     own;
    psgd_comm_t *comm = NULL, *comms[MAX_THREADS] = {NULL};

    for (int i = 0; i < 2; ++i) {
        MPI_Comm_dup(MPI_COMM_WORLD, &own);
        if (process_index != 0) {
            leaks_are_meant(1);
            assert_fails(i == 0 ? psgd_comm_mpi_nodes_create(own, NULL, SHORT_DEADLINE_SECONDS, &comm)
                                : psgd_comm_mpi_threads_create(own, 2, SHORT_DEADLINE_SECONDS, comms),
                         PSGD_ERR_TIMEOUT, "have called it");
            leaks_are_meant(0);
        }
        ck_assert_ptr_null(comm);
        ck_assert_ptr_null(comms[0]);
        MPI_Barrier(MPI_COMM_WORLD);
    }
}
END_TEST

/* Process 1 has come, and then takes its time before it tells its node. It must not wait without end for those who have given up. */
START_TEST(mpi_nodes__who_is_late_between_stages_gets_a_timeout_too)
{
    MPI_Comm     own;
    psgd_comm_t *comm = NULL;

    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    naming_ns = process_index == 1 ? 1500000000 : 0;
    leaks_are_meant(1);
    assert_fails(psgd_comm_mpi_nodes_create(own, NULL, SHORT_DEADLINE_SECONDS, &comm), PSGD_ERR_TIMEOUT,
                 "psgd_comm_mpi_nodes_create: ");
    leaks_are_meant(0);
    naming_ns = 0;
    ck_assert_ptr_null(comm);
    MPI_Barrier(MPI_COMM_WORLD);
}
END_TEST

/* The last process is late for a collective; who waits names its level, and then it comes after all. */
START_TEST(mpi_nodes__a_late_process_is_named_with_its_level)
{
    psgd_comm_t    *comm    = open_nodes(DEAL_PAIRS);
    float           data[2] = {1.0f, 1.0f};
    psgd_request_t *request = NULL;

    if (num_processes == 4) {
        if (process_index == 3) {
            psgd_sleep_ns(2000000000);
        }
        assert_ok(comm->begin_all_reduce(comm->self, data, 2, &request));
        if (process_index == 2) {
            assert_fails(collective_wait(comm, request, SHORT_DEADLINE_SECONDS), PSGD_ERR_TIMEOUT,
                         "within node 1 of 2 (its workers 0 to 1 are 2 to 3 of all): ");
        }
        if (process_index == 0) {
            assert_fails(collective_wait(comm, request, SHORT_DEADLINE_SECONDS), PSGD_ERR_TIMEOUT,
                         "among the 2 nodes (worker n there speaks for node n): ");
        }
        assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
        ck_assert_float_eq(data[0], 4.0f);
    }
    psgd_comm_destroy(comm);
}
END_TEST

/* --- threads within processes ------------------------------------------------------------------------------------- */

/* Not all processes have as many. */
static uint32_t threads_of(int shape, int process)
{
    return shape == 0 ? 2 : 1 + (uint32_t)(process + shape) % MAX_THREADS;
}

typedef struct thread {
    pthread_t    id;
    psgd_comm_t *comm;
    int          shape;
    char         wrong[512];
} thread_t;

static void *thread_main(void *argument)
{
    thread_t    *thread = argument;
    psgd_comm_t *comm   = thread->comm;
    const char  *wrong  = NULL;

    for (uint32_t kind = 0; (wrong == NULL) && (kind < NUM_COLLECTIVE_KINDS); ++kind) {
        wrong = collective_check(comm, (collective_kind_t)kind, 5003, kind, false);
    }
    for (uint32_t seed = 0; (wrong == NULL) && (seed < 3); ++seed) {
        wrong = collectives_check_many(comm, 16, 100, seed, false);
    }
    if (wrong != NULL) {
        snprintf(thread->wrong, sizeof(thread->wrong), "%s", wrong);
        comm->abort(comm->self);
    }
    psgd_comm_destroy(comm);
    return NULL;
}

/* This thread, the main one, is the first worker of its process: MPI_THREAD_FUNNELED is enough. */
START_TEST(mpi_threads__every_collective_equals_plain_loops)
{
    const uint32_t num_threads          = threads_of(_i, process_index);
    psgd_comm_t   *comms[MAX_THREADS]   = {NULL};
    thread_t       threads[MAX_THREADS] = {{0}};
    uint32_t       num_nodes, node, node_workers, before = 0, all = 0;

    for (int p = 0; p < num_processes; ++p) {
        before += p < process_index ? threads_of(_i, p) : 0;
        all += threads_of(_i, p);
    }
    if (_i == 0) {
        assert_ok(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, num_threads, LONG_DEADLINE_SECONDS, comms));
    } else {
        assert_ok(
            psgd_comm_mpi_threads_create_f(MPI_Comm_c2f(MPI_COMM_WORLD), num_threads, LONG_DEADLINE_SECONDS, comms));
    }
    for (uint32_t t = 0; t < num_threads; ++t) {
        assert_ok(psgd_comm_nodes_describe(comms[t], &num_nodes, &node, &node_workers));
        ck_assert_uint_eq(comms[t]->num_workers, all);
        ck_assert_uint_eq(comms[t]->worker_index, before + t);
        ck_assert_uint_eq(num_nodes, (uint32_t)num_processes);
        ck_assert_uint_eq(node, (uint32_t)process_index);
        ck_assert_uint_eq(node_workers, num_threads);
        threads[t].comm = comms[t];
    }
    for (uint32_t t = 1; t < num_threads; ++t) {
        ck_assert_int_eq(pthread_create(&threads[t].id, NULL, thread_main, &threads[t]), 0);
    }
    thread_main(&threads[0]);
    for (uint32_t t = 1; t < num_threads; ++t) {
        ck_assert_int_eq(pthread_join(threads[t].id, NULL), 0);
    }
    for (uint32_t t = 0; t < num_threads; ++t) {
        ck_assert_msg(threads[t].wrong[0] == '\0', "thread %u of process %d: %s", t, process_index, threads[t].wrong);
    }
}
END_TEST

static void *begin_elsewhere(void *argument)
{
    psgd_comm_t    *comm    = argument;
    psgd_request_t *request = NULL;
    float           data[1] = {0.0f};

    return (comm->begin_all_reduce(comm->self, data, 1, &request) == PSGD_ERR_COMM) &&
                   (strstr(psgd_last_error(), "begun by a thread other than the main one") != NULL)
               ? NULL
               : argument;
}

START_TEST(mpi_threads__with_funneled_mpi_the_first_worker_must_be_the_main_thread)
{
    psgd_comm_t *comm = NULL;
    pthread_t    thread;
    void        *wrong = NULL;

    assert_ok(psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 1, LONG_DEADLINE_SECONDS, &comm));
    ck_assert_int_eq(pthread_create(&thread, NULL, begin_elsewhere, comm), 0);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_msg(wrong == NULL, "not refused, or in other words");
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi_threads__a_single_threaded_mpi_is_refused)
{
    psgd_comm_t *comms[2] = {NULL, NULL};

    assert_fails(
        psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 2, LONG_DEADLINE_SECONDS, comms), PSGD_ERR_INVALID_ARGUMENT,
        "psgd_comm_mpi_threads_create: MPI was initialized for a single thread, and this process is to have 2");
    ck_assert_ptr_null(comms[0]);
    assert_ok(
        psgd_comm_mpi_threads_create(MPI_COMM_WORLD, 1, LONG_DEADLINE_SECONDS, comms)); /* that is no thread more */
    ck_assert_ptr_null(collective_check(comms[0], COLLECTIVE_ALL_REDUCE, 10, 1, false));
    psgd_comm_destroy(comms[0]);
}
END_TEST

static Suite *suite_of_single(void)
{
    Suite *suite = suite_create("comm_nodes_mpi, one thread");
    TCase *tcase = tcase_create("single");

    tcase_add_test(tcase, mpi_threads__a_single_threaded_mpi_is_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}

static Suite *suite_of_all(void)
{
    Suite *suite   = suite_create("comm_nodes_mpi");
    TCase *nodes   = tcase_create("nodes");
    TCase *threads = tcase_create("threads");

    tcase_set_timeout(nodes, 240);
    tcase_add_loop_test(nodes, mpi_nodes__workers_are_numbered_node_by_node, 0, NUM_DEALS);
    tcase_add_loop_test(nodes, mpi_nodes__every_collective_equals_plain_loops_with_equal_bits_on_all_workers, 0,
                        NUM_COLLECTIVE_KINDS);
    tcase_add_test(nodes, mpi_nodes__many_requests_under_way_complete_in_any_order);
    tcase_add_test(nodes, mpi_nodes__processes_that_share_memory_and_a_processor_name_are_one_node);
    tcase_add_test(nodes, mpi_nodes__the_environment_names_the_node);
    tcase_add_test(nodes, mpi_nodes__a_sum_passes_between_nodes_once);
    tcase_add_test(nodes, mpi_nodes__the_callers_communicator_stays_as_it_is);
    tcase_add_test(nodes, mpi_nodes__a_handler_that_cannot_be_put_back_is_told);
    tcase_add_test(nodes, mpi_nodes__creating_and_destroying_many_times_loses_no_communicator);
    tcase_add_test(nodes, mpi_nodes__refuses_bad_arguments);
    tcase_add_test(nodes, mpi_nodes__a_name_on_some_processes_alone_is_refused_on_all);
    tcase_add_test(nodes, mpi_nodes__creation_that_not_all_join_is_a_timeout);
    tcase_add_test(nodes, mpi_nodes__who_is_late_between_stages_gets_a_timeout_too);
    tcase_add_test(nodes, mpi_nodes__a_late_process_is_named_with_its_level);
    suite_add_tcase(suite, nodes);

    tcase_set_timeout(threads, 240);
    tcase_add_loop_test(threads, mpi_threads__every_collective_equals_plain_loops, 0, 3);
    tcase_add_test(threads, mpi_threads__with_funneled_mpi_the_first_worker_must_be_the_main_thread);
    suite_add_tcase(suite, threads);
    return suite;
}

int main(int argc, char **argv)
{
    bool is_single = (argc > 1) && (strcmp(argv[1], "single") == 0);
    int  provided  = MPI_THREAD_SINGLE, result;

    MPI_Init_thread(&argc, &argv, is_single ? MPI_THREAD_SINGLE : MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_size(MPI_COMM_WORLD, &num_processes);
    MPI_Comm_rank(MPI_COMM_WORLD, &process_index);
    result = psgd_run_suite(is_single ? suite_of_single() : suite_of_all());
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return result;
}
