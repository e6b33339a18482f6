/* How a tool reports failure: the function that first decides "this is an error" stores a sentence, those above
 * forward the status, and main prints the sentence once. A status is also the exit code, but for the last. */
#ifndef PSGD_TOOLS_STATUS_H
#define PSGD_TOOLS_STATUS_H

#include <psgd/psgd.h>

typedef enum tool_status {
    TOOL_OK     = 0,
    TOOL_FAILED = 1, /* the data, the device, the workers or the run */
    TOOL_USAGE  = 2, /* the command line */
    TOOL_WRONG  = 3, /* it ran, and the results are wrong */

    TOOL_ALL_FAILED = 4 /* TOOL_FAILED where every worker knows that all have failed alike; not an exit code */
} tool_status_t;

/* The program's name, which its messages begin with; static storage. Set first of all. */
void        tool_set_name(const char *name);
const char *tool_name(void);

/* The exit code of a status. */
int tool_exit_code(tool_status_t status);

/* Stores the sentence and returns `status`. */
tool_status_t tool_fail(tool_status_t status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The last sentence stored; "" before any. */
const char *tool_last_error(void);

/* TOOL_OK where `result` is PSGD_OK; else TOOL_FAILED with "<doing>: <the library's sentence>". */
tool_status_t tool_check(psgd_status_t result, const char *doing);

/* *memory_p = count zeroed elements of elem_bytes each (at least one byte); freed by free(). `what` names it in the
 * sentence. */
tool_status_t tool_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp);

/* Static analysis sees one file at a time, and would not know that the failure comes back (tools/analyze). */
#ifdef PSGD_ANALYSIS
#define tool_fail(status_, ...) ((void)tool_fail((status_), __VA_ARGS__), (status_))
#endif

#endif
