#include "worker_tool.h"

#include <stdlib.h>

#include <psgd/psgd.h>

int worker_tool_main(int argc, char **argv, const char *name, const char *any_thread_flag, worker_tool_fn run)
{
    const bool    any_thread = any_thread_flag != NULL && workers_find_flag(argc, argv, any_thread_flag);
    workers_t     workers;
    tool_status_t status;

    tool_set_name(name);
    status = workers_begin(&argc, &argv, any_thread, &workers);
    if (status != TOOL_OK) {
        fprintf(stderr, "%s: %s\n", tool_name(), tool_last_error());
        return EXIT_FAILURE;
    }
    status = run(argc, argv, &workers);
    workers_end(&workers);
    return tool_exit_code(status);
}

bool worker_tool_answers(const workers_t *workers, bool help, bool version, void (*print_help)(FILE *file))
{
    if (workers_is_speaker(workers) && help) {
        print_help(stdout);
    } else if (workers_is_speaker(workers) && version) {
        printf("%s %s\n", tool_name(), psgd_version_string());
    }
    return help || version;
}
