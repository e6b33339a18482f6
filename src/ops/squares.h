/* The squares of the Frobenius norms of matrices, in one pass over them. */
#ifndef PSGD_OPS_SQUARES_H
#define PSGD_OPS_SQUARES_H

#include "ops/ragged.h"

typedef struct psgd_squares psgd_squares_t;

/* of_errors false: of what lies in the gradients' buffers; true: in the error memories. `ragged` outlives it. */
psgd_status_t psgd_squares_create(psgd_ragged_t *ragged, bool of_errors, psgd_squares_t **squares_p);

/* The items have been placed. Allocates nothing. The sums are on the host when the device has been waited for. */
psgd_status_t psgd_squares_enqueue(psgd_squares_t *squares);

/* Of item `item`, of the last pass that was waited for. */
double psgd_squares_of(const psgd_squares_t *squares, size_t item);

/* keep_memory: the device may still write to the host's memory. */
void psgd_squares_destroy(psgd_squares_t *squares, bool keep_memory);

#endif
