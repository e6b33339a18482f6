/* Status codes and the thread-local last error.
 *
 * The function that first decides "this is an error" calls psgd_fail(); everyone above forwards the status. */
#ifndef PSGD_BASE_STATUS_H
#define PSGD_BASE_STATUS_H

#include <stdarg.h>

#include <psgd/psgd.h>

/* Stores the sentence as this thread's last error and returns `status`. The sentence says what, where, and what to do. */
psgd_status_t psgd_fail(psgd_status_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same from a va_list. */
psgd_status_t psgd_fail_v(psgd_status_t status, const char *format, va_list arguments);

/* Puts "<context>: " before the last error of this thread and returns `status`: for a caller that knows which tensor or
 * worker a lower room was speaking of. */
psgd_status_t psgd_fail_in(psgd_status_t status, const char *context_format, ...) __attribute__((format(printf, 2, 3)));

/* Static analysis sees one file at a time, and would not know that the failure comes back (tools/analyze). */
#ifdef PSGD_ANALYSIS
#define psgd_fail(status_, ...) ((void)psgd_fail((status_), __VA_ARGS__), (status_))
#define psgd_fail_in(status_, ...) ((void)psgd_fail_in((status_), __VA_ARGS__), (status_))
#endif

#endif
