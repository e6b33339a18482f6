/* Singular value decompositions, by LAPACKE (liblapacke-dev), where the build has found it. */
#ifndef PSGD_TRAIN_SINGULAR_H
#define PSGD_TRAIN_SINGULAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

/* M = left diag(values) right. */
typedef struct singular {
    size_t       count;  /* min(rows, cols) */
    const float *values; /* count: falling, none negative */
    const float *left;   /* rows x count, row-major */
    const float *right;  /* count x cols, row-major */
} singular_t;

/* Whether the build has found it. */
extern const bool singular_is_available;

size_t singular_scratch_words(size_t rows, size_t cols);

/* Of M (rows x cols, row-major, finite). What *singular_p points to lies in `scratch`. Errors: TOOL_FAILED. */
tool_status_t singular_decompose(const float *values, size_t rows, size_t cols, uint32_t *scratch,
                                 singular_t *singular_p);

#endif
