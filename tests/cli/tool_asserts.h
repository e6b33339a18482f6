/* Assertions on the status of the tools' own functions. */
#ifndef PSGD_TESTS_CLI_TOOL_ASSERTS_H
#define PSGD_TESTS_CLI_TOOL_ASSERTS_H

#include <string.h>

#include <check.h>

#include "status.h"

#define assert_tool_ok(call_) \
    do { \
        tool_status_t status_ = (call_); \
        ck_assert_msg(status_ == TOOL_OK, "%s: %d: %s", #call_, (int)status_, tool_last_error()); \
    } while (0)

#define assert_tool_fails(call_, expected_, words_) \
    do { \
        tool_status_t status_ = (call_); \
        ck_assert_msg(status_ == (expected_), "%s: got %d, expected %d (%s)", #call_, (int)status_, (int)(expected_), \
                      tool_last_error()); \
        ck_assert_msg(strstr(tool_last_error(), (words_)) != NULL, "%s: '%s' is not in the sentence: %s", #call_, \
                      (words_), tool_last_error()); \
    } while (0)

#endif
