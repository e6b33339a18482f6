/* The text of the kernels: embedded in the library, or read from PSGD_KERNEL_DIR. */
#ifndef PSGD_DEVICE_SOURCES_H
#define PSGD_DEVICE_SOURCES_H

#include <stddef.h>

#include <psgd/psgd.h>

/* The name of embedded file number `index`, from 0; NULL behind the last one. */
const char *psgd_source_name(size_t index);

/* *text_p = the text of one file of cl/ with its `#include "name"` lines replaced by those files, and `#line` directives so
 * that the compiler speaks of our files and lines. directory: read from there; NULL: what is embedded.
 * *text_p is freed by psgd_free(). Errors: PSGD_ERR_BUILD (unknown file, unreadable, includes itself),
 * PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_source_load(const char *file, const char *directory, char **text_p);

#endif
