/* A list of low ranks on a command line: 1,2,4. */
#ifndef PSGD_TOOLS_RANK_LIST_H
#define PSGD_TOOLS_RANK_LIST_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* Reads `text` into ranks[0 .. *count_p), `capacity` at most. Errors: TOOL_USAGE, with a sentence that names `option`. */
tool_status_t rank_list_parse(const char *option, const char *text, uint32_t *ranks, size_t capacity, size_t *count_p);

#endif
