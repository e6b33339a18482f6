#include "rank_list.h"

#include <stdlib.h>

tool_status_t rank_list_parse(const char *option, const char *text, uint32_t *ranks, size_t capacity, size_t *count_p)
{
    const char *at = text;

    *count_p = 0;
    for (;;) {
        char         *end  = NULL;
        unsigned long rank = strtoul(at, &end, 10);

        if (*at < '0' || *at > '9' || (*end != ',' && *end != '\0') || rank < 1 || rank > PSGD_MAX_RANK) {
            return tool_fail(TOOL_USAGE, "%s takes whole numbers from 1 to %d with commas between, not '%s'", option,
                             PSGD_MAX_RANK, text);
        }
        if (*count_p == capacity) {
            return tool_fail(TOOL_USAGE, "%s takes at most %zu ranks", option, capacity);
        }
        ranks[(*count_p)++] = (uint32_t)rank;
        if (*end == '\0') {
            return TOOL_OK;
        }
        at = end + 1;
    }
}
