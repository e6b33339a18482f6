/* Running one Check suite, and the assertions that all tests use. */
#ifndef PSGD_TESTS_SUPPORT_SUITE_H
#define PSGD_TESTS_SUPPORT_SUITE_H

#include <string.h>

#include <check.h>
#include <psgd/psgd.h>

/* Runs the suite in this process (no fork: OpenCL and MPI do not survive one), prints the failures and the counts, and
 * returns what main() returns. */
int psgd_run_suite(Suite *suite);

/* 1 where PSGD_TEST_SHAPES=reduced: the run is slow (sanitizers), so tests take fewer and smaller shapes. */
int psgd_test_shapes_are_reduced(void);

/* The call succeeds; else the test fails with the library's own sentence. */
#define assert_ok(call_) \
    do { \
        psgd_status_t status_ = (call_); \
        ck_assert_msg(status_ == PSGD_OK, "%s: %s: %s", #call_, psgd_status_name(status_), psgd_last_error()); \
    } while (0)

/* The call fails with exactly this status, and its sentence contains `words`. */
#define assert_fails(call_, expected_, words_) \
    do { \
        psgd_status_t status_ = (call_); \
        ck_assert_msg(status_ == (expected_), "%s: got %s, expected %s (%s)", #call_, psgd_status_name(status_), \
                      psgd_status_name(expected_), psgd_last_error()); \
        ck_assert_msg(strstr(psgd_last_error(), (words_)) != NULL, "%s: '%s' is not in the sentence: %s", #call_, \
                      (words_), psgd_last_error()); \
    } while (0)

#endif
