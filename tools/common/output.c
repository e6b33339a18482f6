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
