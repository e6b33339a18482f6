/* Sleeping until a CPU device is through: the waker, and the waits that it wakes. */
#include <pthread.h>

#include "base/clock.h"
#include "device/device.h"
#include "device/waker.h"
#include "support/suite.h"
#include "support/test_device.h"

static const uint64_t SHORT_NS = 20000000, LONG_NS = 30000000000;

/* ---- fixtures ---- */

static test_device_t opened;

static void open_device(void)
{
    assert_ok(test_device_open_apart(&opened));
}

static void close_device(void)
{
    test_device_close(&opened);
}

static cl_event make_gate(void)
{
    cl_int   result;
    cl_event gate = clCreateUserEvent(opened.context, &result);

    ck_assert_int_eq(result, CL_SUCCESS);
    return gate;
}

/* Ends the gate's event, which stays the caller's. */
static void end_gate(cl_event gate, cl_int state)
{
    ck_assert_int_eq(clSetUserEventStatus(gate, state), CL_SUCCESS);
}

/* Somebody who opens a gate after a while. */
typedef struct opener {
    pthread_t thread;
    cl_event  gate;
} opener_t;

static void *open_later(void *argument)
{
    const opener_t *opener = argument;

    psgd_sleep_ns(10 * SHORT_NS);
    end_gate(opener->gate, CL_COMPLETE);
    return NULL;
}

/* ---- the waker ---- */

static psgd_waker_t *make_waker(void)
{
    psgd_waker_t *waker = NULL;

    assert_ok(psgd_waker_create(&waker));
    return waker;
}

START_TEST(waker__without_an_event_nobody_sleeps)
{
    psgd_waker_t  *waker    = make_waker();
    const uint64_t start_ns = psgd_now_ns();

    ck_assert(psgd_waker_sleep(waker, LONG_NS));
    ck_assert_uint_lt(psgd_now_ns() - start_ns, LONG_NS / 2);
    psgd_waker_destroy(waker, LONG_NS);
    psgd_waker_destroy(NULL, LONG_NS);
}
END_TEST

START_TEST(waker__sleeps_for_its_time_and_wakes_when_the_event_ends)
{
    psgd_waker_t *waker    = make_waker();
    opener_t      opener   = {.gate = make_gate()};
    uint64_t      start_ns = psgd_now_ns();

    ck_assert(psgd_waker_watch(waker, opener.gate));
    ck_assert(!psgd_waker_sleep(waker, SHORT_NS));
    ck_assert_uint_ge(psgd_now_ns() - start_ns, SHORT_NS);

    ck_assert_int_eq(pthread_create(&opener.thread, NULL, open_later, &opener), 0);
    start_ns = psgd_now_ns();
    ck_assert(psgd_waker_sleep(waker, LONG_NS));
    ck_assert_uint_lt(psgd_now_ns() - start_ns, LONG_NS / 2);

    pthread_join(opener.thread, NULL);
    clReleaseEvent(opener.gate);
    psgd_waker_destroy(waker, LONG_NS);
}
END_TEST

START_TEST(waker__watches_one_event_at_a_time_and_then_the_next)
{
    psgd_waker_t *waker  = make_waker();
    cl_event      first  = make_gate();
    cl_event      second = make_gate();

    ck_assert(psgd_waker_watch(waker, first));
    ck_assert(!psgd_waker_watch(waker, second));
    end_gate(first, CL_COMPLETE);
    ck_assert(psgd_waker_sleep(waker, LONG_NS));
    ck_assert(psgd_waker_watch(waker, second));
    ck_assert(!psgd_waker_sleep(waker, SHORT_NS));
    end_gate(second, CL_COMPLETE);
    ck_assert(psgd_waker_sleep(waker, LONG_NS));

    clReleaseEvent(second);
    clReleaseEvent(first);
    psgd_waker_destroy(waker, LONG_NS);
}
END_TEST

START_TEST(waker__an_event_that_fails_wakes_too)
{
    psgd_waker_t *waker = make_waker();
    cl_event      gate  = make_gate();

    ck_assert(psgd_waker_watch(waker, gate));
    end_gate(gate, CL_OUT_OF_RESOURCES);
    ck_assert(psgd_waker_sleep(waker, LONG_NS));
    clReleaseEvent(gate);
    psgd_waker_destroy(waker, LONG_NS);
}
END_TEST

/* Who reads this under a leak checker sees that the thread frees what it was left with. */
START_TEST(waker__one_that_the_driver_keeps_is_left_to_itself)
{
    psgd_waker_t  *waker    = make_waker();
    cl_event       gate     = make_gate();
    const uint64_t start_ns = psgd_now_ns();

    ck_assert(psgd_waker_watch(waker, gate));
    psgd_waker_destroy(waker, 0);
    ck_assert_uint_lt(psgd_now_ns() - start_ns, LONG_NS / 2);
    end_gate(gate, CL_COMPLETE);
    psgd_sleep_ns(SHORT_NS);
    clReleaseEvent(gate);
}
END_TEST

/* ---- waits ---- */

typedef struct looks {
    int  count;
    bool is_moving; /* what is said of it */
} looks_t;

static bool count_look(void *watched)
{
    looks_t *looks = watched;

    ++looks->count;
    return looks->is_moving;
}

/* A wait for something that takes a while. */
static int count_looks(bool is_moving)
{
    looks_t         looks    = {0, is_moving};
    psgd_patience_t patience = {LONG_NS, 2 * LONG_NS, count_look, &looks};
    opener_t        opener   = {.gate = make_gate()};
    psgd_device_t  *device   = NULL;

    assert_ok(psgd_device_open(opened.context, opened.id, opened.queue, NULL, &device));
    psgd_device_set_patience(device, patience);
    ck_assert_int_eq(clEnqueueMarkerWithWaitList(opened.queue, 1, &opener.gate, NULL), CL_SUCCESS);
    ck_assert_int_eq(pthread_create(&opener.thread, NULL, open_later, &opener), 0);
    assert_ok(psgd_device_wait(device, "compute_p"));

    pthread_join(opener.thread, NULL);
    clReleaseEvent(opener.gate);
    psgd_device_close(device);
    return looks.count;
}

START_TEST(wait__for_a_cpu_that_takes_long_looks_at_it_a_handful_of_times)
{
    if (opened.info.kind == PSGD_DEVICE_CPU) {
        ck_assert_int_le(count_looks(false), 8);
    }
}
END_TEST

START_TEST(wait__with_a_message_under_way_keeps_looking_at_that)
{
    ck_assert_int_ge(count_looks(true), 50);
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("waker");
    TCase *waker = tcase_create("waker");
    TCase *wait  = tcase_create("wait");

    tcase_add_test(waker, waker__without_an_event_nobody_sleeps);
    tcase_add_test(waker, waker__sleeps_for_its_time_and_wakes_when_the_event_ends);
    tcase_add_test(waker, waker__watches_one_event_at_a_time_and_then_the_next);
    tcase_add_test(waker, waker__an_event_that_fails_wakes_too);
    tcase_add_test(waker, waker__one_that_the_driver_keeps_is_left_to_itself);
    tcase_add_test(wait, wait__for_a_cpu_that_takes_long_looks_at_it_a_handful_of_times);
    tcase_add_test(wait, wait__with_a_message_under_way_keeps_looking_at_that);
    tcase_add_checked_fixture(waker, open_device, close_device);
    tcase_add_checked_fixture(wait, open_device, close_device);
    suite_add_tcase(suite, waker);
    suite_add_tcase(suite, wait);
    return suite;
}

int main(void)
{
    return psgd_run_suite(make_suite());
}
