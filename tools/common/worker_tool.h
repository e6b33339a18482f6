/* How a tool whose processes are workers begins and ends. */
#ifndef PSGD_TOOLS_WORKER_TOOL_H
#define PSGD_TOOLS_WORKER_TOOL_H

#include <stdbool.h>
#include <stdio.h>

#include "workers.h"

/* What the tool does once MPI is there. Collective failures are agreed on, and said, in it. */
typedef tool_status_t (*worker_tool_fn)(int argc, char **argv, const workers_t *workers);

/* All of main(): names the tool, initializes MPI, runs, finalizes MPI, and returns the exit code. any_thread_flag: the option with which
 * MPI has to allow calls from any thread; NULL: none. */
int worker_tool_main(int argc, char **argv, const char *name, const char *any_thread_flag, worker_tool_fn run);

/* --help and --version: worker 0 prints what was asked for. Whether it was either, so that there is nothing else to do. */
bool worker_tool_answers(const workers_t *workers, bool help, bool version, void (*print_help)(FILE *file));

#endif
