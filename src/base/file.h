/* Whole files: read at once, and written so that a reader finds the old one or the new one, and never a part. */
#ifndef PSGD_BASE_FILE_H
#define PSGD_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include <psgd/psgd.h>

/* All bytes of a regular file; *bytes_p is freed by psgd_free(). Errors: PSGD_ERR_FILE, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_file_read(const char *path, unsigned char **bytes_p, size_t *count_p);

/* Written to a temporary file beside it, synced, renamed to `path`, and the directory synced. Where that fails, what was at `path` is
 * still there, and the temporary file is not. Errors: PSGD_ERR_FILE, PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_file_write(const char *path, const void *bytes, size_t count);

bool psgd_file_exists(const char *path);

/* Fine where it is not there. */
void psgd_file_remove(const char *path);

#endif
