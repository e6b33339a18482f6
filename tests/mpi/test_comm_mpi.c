/* The communicator over MPI, on 1 to 4 processes.
 *
 * MPI's profiling interface lets this program stand between the library and MPI: it counts calls, and makes them
 * fail. */
#define _GNU_SOURCE /* kill, clock */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <psgd/psgd_mpi.h>

#include "base/clock.h"
#include "comm_mpi/mpi_comm.h"
#include "support/collectives.h"
#include "support/suite.h"

enum { MAX_REQUESTS = 32, DEFAULT_LIMIT = 1 << 30 };

static const double SHORT_DEADLINE_SECONDS = 0.3;
static const double LONG_DEADLINE_SECONDS  = 30.0;

static int num_workers;
static int worker_index;

/* The leak sanitizer, where it is there. Communicators that are left to MPI stay within MPICH, and so, on our side,
 * does what a timed-out creation leaves. */
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

/* --- between us and MPI ------------------------------------------------------------------------------------------- */

/* Calls to let through before one fails; below 0: none fails. */
static int all_reduces_until_failure = -1;
static int tests_until_failure       = -1;
static int idups_until_failure       = -1;
static int num_comm_frees;
static int num_all_reduces;

static int fails_now(int *calls_until_failure)
{
    if (*calls_until_failure < 0) {
        return 0;
    }
    return (*calls_until_failure)-- == 0;
}

int MPI_Iallreduce(const void *send, void *receive, int count, MPI_Datatype type, MPI_Op op, MPI_Comm comm,
                   MPI_Request *request)
{
    ++num_all_reduces;
    return fails_now(&all_reduces_until_failure) ? MPI_ERR_BUFFER
                                                 : PMPI_Iallreduce(send, receive, count, type, op, comm, request);
}

int MPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
    return fails_now(&tests_until_failure) ? MPI_ERR_TRUNCATE : PMPI_Test(request, flag, status);
}

int MPI_Comm_idup(MPI_Comm comm, MPI_Comm *copy_p, MPI_Request *request)
{
    return fails_now(&idups_until_failure) ? MPI_ERR_OTHER : PMPI_Comm_idup(comm, copy_p, request);
}

int MPI_Comm_free(MPI_Comm *comm)
{
    ++num_comm_frees;
    return PMPI_Comm_free(comm);
}

/* --- collectives -------------------------------------------------------------------------------------------------- */

/* In bytes: one element a call, several, no multiple of a float, all in one. */
static const size_t LIMITS[] = {4, 64, 1022, DEFAULT_LIMIT};

enum { NUM_LIMITS = sizeof(LIMITS) / sizeof(LIMITS[0]) };

static psgd_comm_t *open_comm(size_t limit)
{
    psgd_comm_t *comm = NULL;

    assert_ok(psgd_mpi_comm_open(MPI_COMM_WORLD, LONG_DEADLINE_SECONDS, limit, &comm));
    return comm;
}

static void check_sizes(psgd_comm_t *comm, collective_kind_t kind, size_t max_size)
{
    static const size_t SIZES[] = {1, 2, 3, 7, 64, 255, 256, 1023, 16385, 300007};

    for (uint32_t i = 0; (i < sizeof(SIZES) / sizeof(SIZES[0])) && (SIZES[i] <= max_size); ++i) {
        const char *wrong = collective_check(comm, kind, SIZES[i], i, false);

        ck_assert_msg(wrong == NULL, "worker %d of %d, size %zu: %s", worker_index, num_workers, SIZES[i], wrong);
    }
}

START_TEST(mpi__every_collective_equals_plain_loops_with_equal_bits_on_all_workers)
{
    psgd_comm_t *comm = NULL;

    assert_ok(psgd_comm_mpi_create(MPI_COMM_WORLD, 0.0, &comm));
    check_sizes(comm, (collective_kind_t)_i, SIZE_MAX);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__a_collective_above_the_limit_of_one_call_is_made_of_several)
{
    psgd_comm_t *comm = open_comm(LIMITS[_i]);

    for (int kind = 0; kind < NUM_COLLECTIVE_KINDS; ++kind) {
        check_sizes(comm, (collective_kind_t)kind, LIMITS[_i] < 64 ? 64 : 1023);
    }
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__the_limit_divides_a_collective_into_that_many_calls)
{
    psgd_comm_t    *comm     = open_comm(40); /* ten floats */
    float           data[31] = {0.0f};
    psgd_request_t *request  = NULL;
    int             before   = num_all_reduces;

    assert_ok(comm->begin_all_reduce(comm->self, data, 31, &request));
    ck_assert_int_eq(num_all_reduces - before, 4);
    assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
    assert_ok(comm->begin_all_reduce(comm->self, data, 30, &request));
    ck_assert_int_eq(num_all_reduces - before, 7);
    assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__many_requests_under_way_complete_in_any_order)
{
    psgd_comm_t *comm = open_comm(LIMITS[_i]);

    for (uint32_t seed = 0; seed < 3; ++seed) {
        const char *wrong = collectives_check_many(comm, MAX_REQUESTS, 1 + 20 * seed, seed, false);

        ck_assert_msg(wrong == NULL, "worker %d of %d: %s", worker_index, num_workers, wrong);
    }
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__one_request_too_many_is_refused_and_does_no_harm)
{
    psgd_comm_t    *comm                   = open_comm(DEFAULT_LIMIT);
    float           data[MAX_REQUESTS + 1] = {0.0f};
    psgd_request_t *requests[MAX_REQUESTS + 1];

    for (int i = 0; i < MAX_REQUESTS; ++i) {
        data[i] = (float)i;
        assert_ok(comm->begin_all_reduce(comm->self, &data[i], 1, &requests[i]));
    }
    assert_fails(comm->begin_all_reduce(comm->self, &data[MAX_REQUESTS], 1, &requests[MAX_REQUESTS]), PSGD_ERR_COMM,
                 "32 requests are under way");
    for (int i = 0; i < MAX_REQUESTS; ++i) {
        assert_ok(collective_wait(comm, requests[i], LONG_DEADLINE_SECONDS));
        ck_assert_float_eq(data[i], (float)(i * num_workers));
    }
    ck_assert_ptr_null(collective_check(comm, COLLECTIVE_ALL_REDUCE, 1, 1, false));
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__thousands_of_collectives_in_a_row)
{
    psgd_comm_t *comm = open_comm(DEFAULT_LIMIT);

    for (int i = 0; i < 2000; ++i) {
        float           data[2] = {(float)i, 1.0f};
        psgd_request_t *request = NULL;

        assert_ok(comm->begin_all_reduce(comm->self, data, 2, &request));
        assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
        ck_assert_float_eq(data[0], (float)i * (float)num_workers);
    }
    psgd_comm_destroy(comm);
}
END_TEST

/* --- creation ----------------------------------------------------------------------------------------------------- */

START_TEST(mpi__creation_describes_this_worker)
{
    psgd_comm_t *comm = NULL;

    assert_ok(psgd_comm_mpi_create(MPI_COMM_WORLD, 0.0, &comm));
    ck_assert_uint_eq(comm->struct_size, sizeof(psgd_comm_t));
    ck_assert_str_eq(comm->name, "mpi");
    ck_assert_uint_eq(comm->num_workers, (uint32_t)num_workers);
    ck_assert_uint_eq(comm->worker_index, (uint32_t)worker_index);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__the_order_is_that_of_the_communicator)
{
    MPI_Comm     reversed;
    psgd_comm_t *comm = NULL;
    const char  *wrong;

    MPI_Comm_split(MPI_COMM_WORLD, 0, -worker_index, &reversed);
    assert_ok(psgd_comm_mpi_create_f(MPI_Comm_c2f(reversed), LONG_DEADLINE_SECONDS, &comm));
    ck_assert_uint_eq(comm->worker_index, (uint32_t)(num_workers - 1 - worker_index));
    wrong = collective_check(comm, COLLECTIVE_ALL_GATHER, 10, 3, false);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    psgd_comm_destroy(comm);
    MPI_Comm_free(&reversed);
}
END_TEST

/* The error handler of `own` is what it was. */
static void assert_errors_are_fatal(MPI_Comm own)
{
    MPI_Errhandler handler;
    int            is_fatal;

    MPI_Comm_get_errhandler(own, &handler);
    is_fatal = handler == MPI_ERRORS_ARE_FATAL;
    MPI_Errhandler_free(&handler);
    ck_assert(is_fatal);
}

START_TEST(mpi__the_callers_communicator_stays_as_it_is)
{
    MPI_Comm     own;
    psgd_comm_t *comm = NULL;

    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    MPI_Comm_set_errhandler(own, MPI_ERRORS_ARE_FATAL);
    assert_ok(psgd_comm_mpi_create(own, LONG_DEADLINE_SECONDS, &comm));
    assert_errors_are_fatal(own);
    MPI_Comm_free(&own);
    ck_assert_ptr_null(collective_check(comm, COLLECTIVE_ALL_REDUCE, 100, 1, false));
    psgd_comm_destroy(comm);
}
END_TEST

/* A receive of the caller that would take anything takes nothing of the library's, and the other way round. */
START_TEST(mpi__messages_never_meet_the_callers)
{
    psgd_comm_t *comm     = open_comm(DEFAULT_LIMIT);
    int          next     = (worker_index + 1) % num_workers;
    int          received = -1;
    MPI_Request  request;
    const char  *wrong;

    MPI_Irecv(&received, 1, MPI_INT, MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &request);
    wrong = collectives_check_many(comm, 10, 100, 1, false);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    ck_assert_int_eq(received, -1);
    MPI_Barrier(MPI_COMM_WORLD); /* all have looked */
    MPI_Send(&worker_index, 1, MPI_INT, next, 0, MPI_COMM_WORLD);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    ck_assert_int_eq(received, (worker_index + num_workers - 1) % num_workers);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__creating_and_destroying_many_times_loses_no_communicator)
{
    int times = psgd_test_shapes_are_reduced() ? 50 : 2200; /* MPICH has 2048 at a time */

    num_comm_frees = 0;
    for (int i = 0; i < times; ++i) {
        psgd_comm_t *comm = open_comm(DEFAULT_LIMIT);

        psgd_comm_destroy(comm);
    }
    ck_assert_int_eq(num_comm_frees, times);
}
END_TEST

/* --- bad arguments ------------------------------------------------------------------------------------------------ */

static void *create_on_this_thread(void *argument)
{
    psgd_comm_t *comm = NULL;

    if ((psgd_comm_mpi_create(MPI_COMM_WORLD, LONG_DEADLINE_SECONDS, &comm) == PSGD_ERR_INVALID_ARGUMENT) &&
        (strstr(psgd_last_error(), "a thread other than the main one") != NULL) && (comm == NULL)) {
        return NULL;
    }
    return argument;
}

START_TEST(mpi__refuses_bad_arguments)
{
    psgd_comm_t    *comm    = NULL;
    psgd_request_t *request = NULL;
    float           data[2] = {0.0f, 0.0f};
    void           *wrong   = NULL; /* stays NULL if the thread is refused */
    pthread_t       thread;

    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT, "comm_p is NULL");
    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, -1.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "deadline_seconds is -1");
    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, (double)NAN, &comm), PSGD_ERR_INVALID_ARGUMENT, "must be finite");
    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, (double)INFINITY, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "must be finite");
    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, -(double)INFINITY, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "deadline_seconds is -inf");
    assert_fails(psgd_comm_mpi_create_f(MPI_Comm_c2f(MPI_COMM_WORLD), 0.0, NULL), PSGD_ERR_INVALID_ARGUMENT,
                 "comm_p is NULL");
    assert_fails(psgd_comm_mpi_create_f(MPI_Comm_c2f(MPI_COMM_WORLD), (double)NAN, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "must be finite");
    assert_fails(psgd_comm_mpi_create(MPI_COMM_NULL, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "MPI_COMM_NULL");
    assert_fails(psgd_comm_mpi_create_f(MPI_Comm_c2f(MPI_COMM_NULL), 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT,
                 "MPI_COMM_NULL");
    ck_assert_int_eq(pthread_create(&thread, NULL, create_on_this_thread, data), 0);
    ck_assert_int_eq(pthread_join(thread, &wrong), 0);
    ck_assert_ptr_null(wrong);
    ck_assert_ptr_null(comm);

    comm = open_comm(DEFAULT_LIMIT);
    assert_fails(comm->begin_broadcast(comm->self, data, 8, (uint32_t)num_workers, &request), PSGD_ERR_INVALID_ARGUMENT,
                 "there are only workers");
    ck_assert_ptr_null(request);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(mpi__refuses_an_intercommunicator)
{
    MPI_Comm     half;
    MPI_Comm     inter;
    psgd_comm_t *comm = NULL;

    if (num_workers < 2) {
        return;
    }
    MPI_Comm_split(MPI_COMM_WORLD, worker_index == 0, 0, &half);
    MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, worker_index == 0 ? 1 : 0, 0, &inter);
    assert_fails(psgd_comm_mpi_create(inter, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "intercommunicator");
    MPI_Comm_free(&inter);
    MPI_Comm_free(&half);
}
END_TEST

START_TEST(mpi__an_all_to_all_that_does_not_match_itself_is_refused)
{
    psgd_comm_t    *comm              = open_comm(DEFAULT_LIMIT);
    size_t          send_counts[4]    = {1, 1, 1, 1};
    size_t          receive_counts[4] = {2, 2, 2, 2};
    unsigned char   send[4]           = {0};
    unsigned char   receive[8]        = {0};
    psgd_request_t *request           = NULL;

    assert_fails(comm->begin_all_to_all(comm->self, send, send_counts, receive, receive_counts, &request),
                 PSGD_ERR_COMM, "sends 1 bytes to itself and expects 2");
    ck_assert_ptr_null(collective_check(comm, COLLECTIVE_ALL_TO_ALL, 10, 1, false));
    psgd_comm_destroy(comm);
}
END_TEST

/* --- MPI fails ---------------------------------------------------------------------------------------------------- */

START_TEST(mpi__an_error_of_begin_is_told_in_mpis_words_and_leaves_nothing_under_way)
{
    psgd_comm_t    *comm    = open_comm(DEFAULT_LIMIT);
    float           data[2] = {1.0f, 1.0f};
    psgd_request_t *request = NULL;

    for (int i = 0; i < 2 * MAX_REQUESTS; ++i) { /* more often than there are requests */
        all_reduces_until_failure = 0;
        assert_fails(comm->begin_all_reduce(comm->self, data, 2, &request), PSGD_ERR_COMM,
                     "MPI_Iallreduce failed in all_reduce on worker");
        ck_assert_msg(strstr(psgd_last_error(), "nvalid buffer pointer") != NULL, "%s", psgd_last_error());
    }
    ck_assert_ptr_null(request);
    ck_assert_ptr_null(collective_check(comm, COLLECTIVE_ALL_REDUCE, 10, 1, false));
    num_comm_frees = 0;
    psgd_comm_destroy(comm);
    ck_assert_int_eq(num_comm_frees, 1);
}
END_TEST

START_TEST(mpi__a_real_mpi_error_is_returned_and_not_fatal)
{
    psgd_comm_t    *comm    = open_comm(DEFAULT_LIMIT);
    psgd_request_t *request = NULL;

    assert_fails(comm->begin_all_reduce(comm->self, NULL, 2, &request), PSGD_ERR_COMM,
                 "MPI_Iallreduce failed in all_reduce on worker");
    psgd_comm_destroy(comm);
}
END_TEST

/* The second of two calls fails on all workers: the first is under way and stays so, and its communicator with it. */
START_TEST(mpi__an_error_with_a_part_under_way_keeps_the_communicator)
{
    psgd_comm_t    *comm    = open_comm(4);
    static float    data[2] = {1.0f, 1.0f};
    psgd_request_t *request = NULL;

    all_reduces_until_failure = 1;
    assert_fails(comm->begin_all_reduce(comm->self, data, 2, &request), PSGD_ERR_COMM, "MPI_Iallreduce failed");
    num_comm_frees = 0;
    psgd_comm_destroy(comm);
    ck_assert_int_eq(num_comm_frees, 0);
}
END_TEST

START_TEST(mpi__an_error_of_test_is_told_in_mpis_words)
{
    psgd_comm_t    *comm    = open_comm(DEFAULT_LIMIT);
    static float    data[2] = {1.0f, 1.0f};
    psgd_request_t *request = NULL;

    assert_ok(comm->begin_all_reduce(comm->self, data, 2, &request));
    tests_until_failure = 0;
    assert_fails(collective_wait(comm, request, LONG_DEADLINE_SECONDS), PSGD_ERR_COMM,
                 "MPI_Test failed in all_reduce on worker");
    ck_assert_msg(strstr(psgd_last_error(), "truncated") != NULL, "%s", psgd_last_error());
    comm->abort(comm->self);
    num_comm_frees = 0;
    psgd_comm_destroy(comm);
    ck_assert_int_eq(num_comm_frees, 0);
}
END_TEST

START_TEST(mpi__an_error_of_creation_is_told_in_mpis_words)
{
    psgd_comm_t *comm = NULL;

    idups_until_failure = 0;
    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, 1.0, &comm), PSGD_ERR_COMM,
                 "MPI_Comm_idup failed in psgd_comm_mpi_create on worker");
    ck_assert_ptr_null(comm);
}
END_TEST

/* --- workers gone ------------------------------------------------------------------------------------------------- */

START_TEST(mpi__nothing_collective_after_abort)
{
    psgd_comm_t    *comm    = open_comm(DEFAULT_LIMIT);
    float           data[2] = {1.0f, 1.0f};
    psgd_request_t *request = NULL;
    int             before;

    comm->abort(comm->self);
    before = num_all_reduces;
    assert_fails(comm->begin_all_reduce(comm->self, data, 2, &request), PSGD_ERR_COMM, "was aborted");
    ck_assert_int_eq(num_all_reduces, before);
    num_comm_frees = 0;
    psgd_comm_destroy(comm);
    ck_assert_int_eq(num_comm_frees, 0);
}
END_TEST

/* The workers but the last wait for it in vain, and give up. True: the deadline was kept. */
static void expect_timeout(psgd_comm_t *comm, float *data, size_t count)
{
    psgd_request_t *request  = NULL;
    uint64_t        start_ns = psgd_now_ns();
    double          waited_seconds;

    assert_ok(comm->begin_all_reduce(comm->self, data, count, &request));
    assert_fails(collective_wait(comm, request, SHORT_DEADLINE_SECONDS), PSGD_ERR_TIMEOUT, "communicator 'mpi'");
    waited_seconds = (double)(psgd_now_ns() - start_ns) * 1e-9;
    ck_assert_msg((waited_seconds >= SHORT_DEADLINE_SECONDS) && (waited_seconds < 20 * SHORT_DEADLINE_SECONDS),
                  "waited %g s", waited_seconds);
    comm->abort(comm->self);
    num_comm_frees = 0;
    psgd_comm_destroy(comm);
    ck_assert_int_eq(num_comm_frees, 0);
}

static int is_last(void)
{
    return worker_index == num_workers - 1;
}

/* Wakes process `pid` up until it says that it is awake: a signal sent before it slept would be lost. */
static void wake_up(pid_t pid)
{
    int         is_awake = 0;
    int         message;
    MPI_Request request;

    MPI_Irecv(&message, 1, MPI_INT, num_workers - 1, 0, MPI_COMM_WORLD, &request);
    while (!is_awake) {
        kill(pid, SIGCONT);
        psgd_sleep_ns(10000000);
        MPI_Test(&request, &is_awake, MPI_STATUS_IGNORE);
    }
}

/* Sleeps until worker 0 has something to say. */
static void wait_for_worker_0(void)
{
    int message;

    MPI_Recv(&message, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

static void tell_last_worker(void)
{
    MPI_Send(&worker_index, 1, MPI_INT, num_workers - 1, 0, MPI_COMM_WORLD);
}

/* The last worker comes after the others have given up: stopped by a signal, or just late. Its collective is the one
 * that MPI still has on the others, so it completes, and what they left to MPI is at rest before MPI_Finalize. */
static void check_late_worker(int is_stopped)
{
    psgd_comm_t    *comm    = open_comm(DEFAULT_LIMIT);
    psgd_request_t *request = NULL;
    static float    data[64]; /* MPI writes to it until the last worker has come */
    int             pid = (int)getpid();
    MPI_Comm        others;

    for (int i = 0; i < 64; ++i) {
        data[i] = (float)i;
    }
    MPI_Bcast(&pid, 1, MPI_INT, num_workers - 1, MPI_COMM_WORLD);
    MPI_Comm_split(MPI_COMM_WORLD, is_last(), 0, &others);
    if (is_last()) {
        wait_for_worker_0(); /* who stops before would leave the others in MPI_Comm_split */
        if (is_stopped) {
            raise(SIGSTOP);
            MPI_Send(&pid, 1, MPI_INT, 0, 0, MPI_COMM_WORLD);
        } else {
            wait_for_worker_0();
        }
        assert_ok(comm->begin_all_reduce(comm->self, data, 64, &request));
        assert_ok(collective_wait(comm, request, LONG_DEADLINE_SECONDS));
        ck_assert_float_eq(data[63], 63.0f * (float)num_workers);
        psgd_comm_destroy(comm);
    } else {
        MPI_Barrier(others); /* all are out of MPI_Comm_split */
        if (worker_index == 0) {
            tell_last_worker();
        }
        expect_timeout(comm, data, 64);
        MPI_Barrier(others); /* all have given up */
        if (worker_index == 0) {
            is_stopped ? wake_up(pid) : tell_last_worker();
        }
    }
    MPI_Comm_free(&others);
    MPI_Barrier(MPI_COMM_WORLD);
}

START_TEST(mpi__a_stopped_process_is_a_timeout_at_the_others)
{
    if (num_workers > 1) {
        check_late_worker(1);
    }
}
END_TEST

START_TEST(mpi__a_late_process_is_a_timeout_at_the_others)
{
    if (num_workers > 1) {
        check_late_worker(0);
    }
}
END_TEST

START_TEST(mpi__creation_that_not_all_join_is_a_timeout)
{
    psgd_comm_t *comm     = NULL;
    uint64_t     start_ns = psgd_now_ns();
    MPI_Comm     own;
    MPI_Comm     others;

    if (num_workers < 2) {
        return;
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &own);
    MPI_Comm_split(MPI_COMM_WORLD, is_last(), 0, &others);
    leaks_are_meant(1);
    if (is_last()) {
        wait_for_worker_0();
        assert_ok(psgd_comm_mpi_create(own, LONG_DEADLINE_SECONDS, &comm)); /* MPI still has the others' part */
        comm->abort(comm->self);
        psgd_comm_destroy(comm);
    } else {
        assert_fails(psgd_comm_mpi_create(own, SHORT_DEADLINE_SECONDS, &comm), PSGD_ERR_TIMEOUT,
                     "processes of the communicator have called it");
        ck_assert_uint_lt(psgd_now_ns() - start_ns, UINT64_C(5000000000));
        ck_assert_ptr_null(comm);
        assert_errors_are_fatal(own);
        MPI_Barrier(others);
        if (worker_index == 0) {
            tell_last_worker();
        }
    }
    leaks_are_meant(0);
    MPI_Comm_free(&others);
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Comm_free(&own);
}
END_TEST

/* --- before and after MPI ----------------------------------------------------------------------------------------- */

static psgd_comm_t *outlives_mpi;

START_TEST(mpi__before_mpi_init_creation_is_refused)
{
    psgd_comm_t *comm = NULL;

    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "MPI is not initialized");
    assert_fails(psgd_comm_mpi_create_f(0, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "MPI is not initialized");
}
END_TEST

START_TEST(mpi__after_mpi_finalize_creation_is_refused_and_destroy_is_safe)
{
    psgd_comm_t *comm = NULL;

    assert_fails(psgd_comm_mpi_create(MPI_COMM_WORLD, 0.0, &comm), PSGD_ERR_INVALID_ARGUMENT, "MPI is finalized");
    num_comm_frees = 0;
    psgd_comm_destroy(outlives_mpi);
    ck_assert_int_eq(num_comm_frees, 0);
}
END_TEST

static void start_mpi(void)
{
    int provided;

    MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_size(MPI_COMM_WORLD, &num_workers);
    MPI_Comm_rank(MPI_COMM_WORLD, &worker_index);
}

static void end_mpi(void)
{
    outlives_mpi = open_comm(DEFAULT_LIMIT);
    MPI_Finalize();
}

int main(void)
{
    Suite *suite  = suite_create("comm_mpi");
    TCase *before = tcase_create("before MPI_Init");
    TCase *during = tcase_create("between");
    TCase *after  = tcase_create("after MPI_Finalize");

    tcase_add_test(before, mpi__before_mpi_init_creation_is_refused);
    suite_add_tcase(suite, before);

    tcase_set_timeout(during, 120);
    tcase_add_unchecked_fixture(during, start_mpi, end_mpi);
    tcase_add_test(during, mpi__creation_describes_this_worker);
    tcase_add_loop_test(during, mpi__every_collective_equals_plain_loops_with_equal_bits_on_all_workers, 0,
                        NUM_COLLECTIVE_KINDS);
    tcase_add_loop_test(during, mpi__a_collective_above_the_limit_of_one_call_is_made_of_several, 0, NUM_LIMITS);
    tcase_add_test(during, mpi__the_limit_divides_a_collective_into_that_many_calls);
    tcase_add_loop_test(during, mpi__many_requests_under_way_complete_in_any_order, 0, NUM_LIMITS);
    tcase_add_test(during, mpi__one_request_too_many_is_refused_and_does_no_harm);
    tcase_add_test(during, mpi__thousands_of_collectives_in_a_row);
    tcase_add_test(during, mpi__the_order_is_that_of_the_communicator);
    tcase_add_test(during, mpi__the_callers_communicator_stays_as_it_is);
    tcase_add_test(during, mpi__messages_never_meet_the_callers);
    tcase_add_test(during, mpi__creating_and_destroying_many_times_loses_no_communicator);
    tcase_add_test(during, mpi__refuses_bad_arguments);
    tcase_add_test(during, mpi__refuses_an_intercommunicator);
    tcase_add_test(during, mpi__an_all_to_all_that_does_not_match_itself_is_refused);
    tcase_add_test(during, mpi__an_error_of_begin_is_told_in_mpis_words_and_leaves_nothing_under_way);
    tcase_add_test(during, mpi__a_real_mpi_error_is_returned_and_not_fatal);
    tcase_add_test(during, mpi__an_error_with_a_part_under_way_keeps_the_communicator);
    tcase_add_test(during, mpi__an_error_of_test_is_told_in_mpis_words);
    tcase_add_test(during, mpi__an_error_of_creation_is_told_in_mpis_words);
    tcase_add_test(during, mpi__nothing_collective_after_abort);
    tcase_add_test(during, mpi__a_stopped_process_is_a_timeout_at_the_others);
    tcase_add_test(during, mpi__a_late_process_is_a_timeout_at_the_others);
    tcase_add_test(during, mpi__creation_that_not_all_join_is_a_timeout);
    suite_add_tcase(suite, during);

    tcase_add_test(after, mpi__after_mpi_finalize_creation_is_refused_and_destroy_is_safe);
    suite_add_tcase(suite, after);
    return psgd_run_suite(suite);
}
