/* IDX files: what MNIST and its relatives come in, as they are or by gzip.
 *
 *   offset 0   0x00 0x00 0x08 (unsigned bytes) and the number of dimensions
 *   offset 4   each dimension, 32 bits, big-endian
 *   behind     the values, row-major
 *
 * Nothing in a file is trusted: what its header claims is compared with what it holds, byte by byte. */
#ifndef PSGD_TRAIN_IDX_H
#define PSGD_TRAIN_IDX_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum { IDX_MAX_DIMS = 3 };

typedef struct idx {
    uint32_t       num_dims;
    uint32_t       dims[IDX_MAX_DIMS]; /* each >= 1; 1 behind the last */
    size_t         bytes;              /* their product */
    unsigned char *values;
} idx_t;

/* Reads DIR/NAME, or DIR/NAME.gz where that does not exist. The file must have num_dims dimensions (1 to
 * IDX_MAX_DIMS) of unsigned bytes. *idx_p is freed by idx_free(). Errors: TOOL_FAILED: not there (the sentence
 * names the Debian package), not an IDX file, of another shape, truncated, damaged, or longer than its header says. */
tool_status_t idx_read(const char *directory, const char *name, uint32_t num_dims, idx_t *idx_p);

/* Fine for an idx_t that is all zero. */
void idx_free(idx_t *idx);

#endif
