#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

psgd_status_t psgd_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp)
{
    void *memory = NULL;

    if ((elem_bytes == 0) || (count <= SIZE_MAX / elem_bytes)) {
        memory = calloc((count != 0) && (elem_bytes != 0) ? count : 1, elem_bytes != 0 ? elem_bytes : 1);
    }
    if (memory == NULL) {
        return psgd_fail(PSGD_ERR_HOST_MEMORY, "no host memory for %s (%zu x %zu bytes)", what, count, elem_bytes);
    }
    memcpy(memory_pp, &memory, sizeof(memory));
    return PSGD_OK;
}

psgd_status_t psgd_copy_string(const char *text, const char *what, char **copy_p)
{
    size_t        bytes = strlen(text) + 1;
    psgd_status_t status;

    status = psgd_alloc(bytes, 1, what, copy_p);
    if (status != PSGD_OK) {
        return status;
    }
    memcpy(*copy_p, text, bytes);
    return PSGD_OK;
}

void psgd_free(void *memory)
{
    free(memory);
}
