/* Host memory: zeroed, counted in elements, overflow checked. */
#ifndef PSGD_BASE_MEMORY_H
#define PSGD_BASE_MEMORY_H

#include <stddef.h>

#include <psgd/psgd.h>

/* *memory_p = count zeroed elements of elem_bytes each (at least one byte); freed by psgd_free().
 * `what` names it in the error sentence: "the wire buffer". Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_alloc(size_t count, size_t elem_bytes, const char *what, void *memory_pp);

/* A copy of a string. */
psgd_status_t psgd_copy_string(const char *text, const char *what, char **copy_p);

void psgd_free(void *memory);

#endif
