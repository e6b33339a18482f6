/* The communicator of one worker alone, and psgd_comm_wait() over tables that a user has filled in. */
#include <stdio.h>

#include "comm/wait.h"
#include "support/collectives.h"
#include "support/suite.h"

static void check_kind(collective_kind_t kind)
{
    static const size_t SIZES[] = {1, 2, 7, 64, 1000, 16385};
    psgd_comm_t        *comm    = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    for (size_t i = 0; i < sizeof(SIZES) / sizeof(SIZES[0]); ++i) {
        const char *wrong = collective_check(comm, kind, SIZES[i], (uint32_t)i, true);

        ck_assert_msg(wrong == NULL, "size %zu: %s", SIZES[i], wrong);
    }
    psgd_comm_destroy(comm);
}

START_TEST(self__every_collective_returns_what_it_was_given)
{
    check_kind((collective_kind_t)_i);
}
END_TEST

START_TEST(self__describes_one_worker)
{
    psgd_comm_t *comm = NULL;

    assert_ok(psgd_comm_self_create(&comm));
    ck_assert_uint_eq(comm->struct_size, sizeof(psgd_comm_t));
    ck_assert_str_eq(comm->name, "self");
    ck_assert_uint_eq(comm->num_workers, 1);
    ck_assert_uint_eq(comm->worker_index, 0);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(self__requests_complete_at_once_and_in_any_order)
{
    psgd_comm_t *comm = NULL;
    const char  *wrong;

    assert_ok(psgd_comm_self_create(&comm));
    wrong = collectives_check_many(comm, 100, 33, 5, true);
    ck_assert_msg(wrong == NULL, "%s", wrong);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(self__refuses_bad_arguments)
{
    psgd_comm_t    *comm       = NULL;
    psgd_request_t *request    = NULL;
    unsigned char   send[3]    = {1, 2, 3};
    unsigned char   receive[2] = {0, 0};
    const size_t    three      = sizeof(send);
    const size_t    two        = sizeof(receive);

    assert_fails(psgd_comm_self_create(NULL), PSGD_ERR_INVALID_ARGUMENT, "comm_p is NULL");
    assert_ok(psgd_comm_self_create(&comm));
    assert_fails(comm->begin_broadcast(comm->self, send, 3, 1, &request), PSGD_ERR_INVALID_ARGUMENT,
                 "there is only worker 0");
    assert_fails(comm->begin_all_to_all(comm->self, send, &three, receive, &two, &request), PSGD_ERR_COMM,
                 "sends 3 bytes to worker 0, which expects 2");
    ck_assert_uint_eq(receive[0], 0);
    ck_assert_ptr_null(request);
    comm->abort(comm->self);
    psgd_comm_destroy(comm);
}
END_TEST

START_TEST(destroy__accepts_null_and_tables_without_destroy)
{
    psgd_comm_t table = {.struct_size = sizeof(table)};

    psgd_comm_destroy(NULL);
    psgd_comm_destroy(&table);
}
END_TEST

START_TEST(fail__stores_the_sentence_and_returns_the_status)
{
    ck_assert_int_eq(psgd_comm_fail(PSGD_ERR_TIMEOUT, NULL), PSGD_ERR_TIMEOUT);
    ck_assert_str_eq(psgd_last_error(), psgd_status_string(PSGD_ERR_TIMEOUT));
    ck_assert_int_eq(psgd_comm_fail(PSGD_ERR_COMM, "worker %d %s", 3, "is gone"), PSGD_ERR_COMM);
    ck_assert_str_eq(psgd_last_error(), "worker 3 is gone");
    ck_assert_int_eq(psgd_comm_fail(PSGD_ERR_TIMEOUT, "before: %s", psgd_last_error()), PSGD_ERR_TIMEOUT);
    ck_assert_str_eq(psgd_last_error(), "before: worker 3 is gone");
}
END_TEST

/* --------------------------------------------------------------------------------------- a user's communicator ---- */

/* Two workers, of which the other one always brings ones; complete after some tests. */
struct psgd_request {
    float *data;
    size_t count;
    int    tests_to_go; /* below 0: never complete */
};

typedef struct user_comm {
    psgd_comm_t    table;
    psgd_request_t request;
    int            num_tests;
    int            num_tests_after_done;
    int            fails_at; /* test number that fails; 0: none */
    int            is_destroyed;
    int            delay;
} user_comm_t;

static psgd_status_t user_begin_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    user_comm_t *comm = self;

    comm->request = (psgd_request_t){data, count, comm->delay};
    *request_p    = &comm->request;
    return PSGD_OK;
}

static psgd_status_t user_test(void *self, psgd_request_t *request, int *done_p)
{
    user_comm_t *comm = self;

    ++comm->num_tests;
    comm->num_tests_after_done += request->data == NULL;
    if (comm->num_tests == comm->fails_at) {
        return psgd_comm_fail(PSGD_ERR_COMM, "cable %d is unplugged", 7);
    }
    *done_p = request->tests_to_go == 0;
    --request->tests_to_go;
    if (*done_p) {
        for (size_t i = 0; i < request->count; ++i) {
            request->data[i] += 1.0f;
        }
        request->data = NULL;
    }
    return PSGD_OK;
}

static void user_abort(void *self)
{
    (void)self;
}

static void user_destroy(void *self)
{
    user_comm_t *comm = self;

    comm->is_destroyed = 1;
}

/* Brings only what is required. */
static void user_comm_init(user_comm_t *comm, int delay)
{
    memset(comm, 0, sizeof(*comm));
    comm->delay                  = delay;
    comm->table.struct_size      = sizeof(comm->table);
    comm->table.name             = "carrier pigeons";
    comm->table.self             = comm;
    comm->table.num_workers      = 2;
    comm->table.worker_index     = 1;
    comm->table.begin_all_reduce = user_begin_all_reduce;
    comm->table.test             = user_test;
    comm->table.abort            = user_abort;
    comm->table.destroy          = user_destroy;
}

/* Counts the lines that it gets, and keeps the last one. */
typedef struct log_lines {
    int              count;
    psgd_log_level_t level;
    char             last[512];
} log_lines_t;

static void keep_line(psgd_log_level_t level, const char *line, void *user)
{
    log_lines_t *lines = user;

    ++lines->count;
    lines->level = level;
    snprintf(lines->last, sizeof(lines->last), "%s", line);
}

static const psgd_patience_t PATIENT = {.warn_ns = UINT64_C(20000000000), .fail_ns = UINT64_C(30000000000)};

START_TEST(wait__returns_when_a_delayed_request_of_a_user_is_complete)
{
    static const int DELAYS[] = {0, 1, 15, 16, 300, 1000};
    user_comm_t      comm;
    float            data[3] = {0.5f, 1.5f, 2.5f};
    psgd_request_t  *request = NULL;

    user_comm_init(&comm, DELAYS[_i]);
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 3, &request));
    assert_ok(psgd_comm_wait(&comm.table, request, PATIENT, NULL, "pigeons"));
    ck_assert_float_eq(data[0], 1.5f);
    ck_assert_float_eq(data[2], 3.5f);
    ck_assert_int_eq(comm.num_tests, DELAYS[_i] + 1);
    ck_assert_int_eq(comm.num_tests_after_done, 0);
    psgd_comm_destroy(&comm.table);
    ck_assert_int_eq(comm.is_destroyed, 1);
}
END_TEST

START_TEST(wait__gives_up_after_the_deadline_and_names_what_it_waited_for)
{
    psgd_patience_t patience = {.warn_ns = UINT64_C(10000000000), .fail_ns = UINT64_C(200000000)};
    user_comm_t     comm;
    float           data[1]  = {0.0f};
    psgd_request_t *request  = NULL;
    uint64_t        start_ns = psgd_now_ns();
    uint64_t        waited_ns;

    user_comm_init(&comm, -1);
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 1, &request));
    assert_fails(psgd_comm_wait(&comm.table, request, patience, NULL, "reduce_p of step 12 (4 bytes)"),
                 PSGD_ERR_TIMEOUT,
                 "reduce_p of step 12 (4 bytes): not complete after 0."); /* 0.20, or a little more on a busy machine */
    ck_assert_ptr_nonnull(strstr(psgd_last_error(), " s on worker 1 (communicator 'carrier pigeons', 2 workers)"));
    waited_ns = psgd_now_ns() - start_ns;
    ck_assert_msg(waited_ns >= patience.fail_ns, "waited %g s", (double)waited_ns * 1e-9);
    ck_assert_msg(waited_ns < 20 * patience.fail_ns, "waited %g s", (double)waited_ns * 1e-9);
}
END_TEST

START_TEST(wait__tests_once_even_with_no_time)
{
    psgd_patience_t patience = {.warn_ns = 0, .fail_ns = 0};
    user_comm_t     comm;
    float           data[1] = {0.0f};
    psgd_request_t *request = NULL;

    user_comm_init(&comm, 0);
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 1, &request));
    assert_ok(psgd_comm_wait(&comm.table, request, patience, NULL, "pigeons"));
    ck_assert_float_eq(data[0], 1.0f);
}
END_TEST

START_TEST(wait__warns_once)
{
    psgd_patience_t patience = {.warn_ns = UINT64_C(20000000), .fail_ns = UINT64_C(300000000)};
    log_lines_t     lines    = {0};
    psgd_log_t      log      = psgd_log_open(keep_line, &lines, PSGD_LOG_WARN);
    user_comm_t     comm;
    float           data[1] = {0.0f};
    psgd_request_t *request = NULL;

    user_comm_init(&comm, -1);
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 1, &request));
    assert_fails(psgd_comm_wait(&comm.table, request, patience, &log, "pigeons"), PSGD_ERR_TIMEOUT, "pigeons");
    ck_assert_int_eq(lines.count, 1);
    ck_assert_int_eq(lines.level, PSGD_LOG_WARN);
    ck_assert_msg(strstr(lines.last, "still waiting for pigeons after 0.") != NULL, "%s", lines.last);
    ck_assert_msg(strstr(lines.last, "giving up after 0.30 s") != NULL, "%s", lines.last);
}
END_TEST

START_TEST(wait__is_silent_when_all_are_in_time)
{
    log_lines_t     lines = {0};
    psgd_log_t      log   = psgd_log_open(keep_line, &lines, PSGD_LOG_DEBUG);
    user_comm_t     comm;
    float           data[1] = {0.0f};
    psgd_request_t *request = NULL;

    user_comm_init(&comm, 100);
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 1, &request));
    assert_ok(psgd_comm_wait(&comm.table, request, PATIENT, &log, "pigeons"));
    ck_assert_int_eq(lines.count, 0);
}
END_TEST

START_TEST(wait__forwards_a_failure_of_test_with_what_was_waited_for)
{
    user_comm_t     comm;
    float           data[1] = {0.0f};
    psgd_request_t *request = NULL;

    user_comm_init(&comm, -1);
    comm.fails_at = 40;
    assert_ok(comm.table.begin_all_reduce(comm.table.self, data, 1, &request));
    assert_fails(psgd_comm_wait(&comm.table, request, PATIENT, NULL, "reduce_q of step 3"), PSGD_ERR_COMM,
                 "reduce_q of step 3: cable 7 is unplugged");
    ck_assert_int_eq(comm.num_tests, 40);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("comm_self");
    TCase *self  = tcase_create("self");
    TCase *wait  = tcase_create("wait");

    tcase_set_timeout(self, 60);
    tcase_add_loop_test(self, self__every_collective_returns_what_it_was_given, 0, NUM_COLLECTIVE_KINDS);
    tcase_add_test(self, self__describes_one_worker);
    tcase_add_test(self, self__requests_complete_at_once_and_in_any_order);
    tcase_add_test(self, self__refuses_bad_arguments);
    tcase_add_test(self, destroy__accepts_null_and_tables_without_destroy);
    tcase_add_test(self, fail__stores_the_sentence_and_returns_the_status);
    suite_add_tcase(suite, self);

    tcase_set_timeout(wait, 60);
    tcase_add_loop_test(wait, wait__returns_when_a_delayed_request_of_a_user_is_complete, 0, 6);
    tcase_add_test(wait, wait__gives_up_after_the_deadline_and_names_what_it_waited_for);
    tcase_add_test(wait, wait__tests_once_even_with_no_time);
    tcase_add_test(wait, wait__warns_once);
    tcase_add_test(wait, wait__is_silent_when_all_are_in_time);
    tcase_add_test(wait, wait__forwards_a_failure_of_test_with_what_was_waited_for);
    suite_add_tcase(suite, wait);
    return psgd_run_suite(suite);
}
