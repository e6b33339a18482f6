#include "output.h"

#include <errno.h>
#include <string.h>

tool_status_t output_check(const char *path)
{
    FILE *file;

    if (path == NULL) {
        return TOOL_OK;
    }
    file = fopen(path, "a");
    if (file == NULL || fclose(file) != 0) {
        return tool_fail(TOOL_FAILED, "cannot write %s: %s", path, strerror(errno));
    }
    return TOOL_OK;
}

tool_status_t output_write(const char *path, output_write_fn write, const void *results)
{
    FILE *file;

    if (path == NULL) {
        write(results, stdout);
        if (fflush(stdout) != 0 || ferror(stdout)) {
            return tool_fail(TOOL_FAILED, "cannot write the results: %s", strerror(errno));
        }
        return TOOL_OK;
    }
    file = fopen(path, "w");
    if (file != NULL) {
        write(results, file);
    }
    if (file == NULL || fclose(file) != 0) {
        return tool_fail(TOOL_FAILED, "cannot write %s: %s", path, strerror(errno));
    }
    return TOOL_OK;
}

tool_status_t output_write_results(bool json, const char *json_file, output_write_fn write_table,
                                   output_write_fn write_json, const void *results)
{
    tool_status_t status = output_write(NULL, json && json_file == NULL ? write_json : write_table, results);

    return status == TOOL_OK && json_file != NULL ? output_write(json_file, write_json, results) : status;
}
