/* Ranks for a number of bytes: which matrices get how much of it. */
#ifndef PSGD_PLAN_BUDGET_H
#define PSGD_PLAN_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* Matrices of rows x cols that have one rank. */
typedef struct psgd_budget_item {
    uint64_t rows, cols;
    double   column_bytes; /* what one more column of their factors takes to send */
    uint32_t r;            /* in: the least it gets; out: what it gets */
    uint32_t max_r;        /* the most it gets */
} psgd_budget_item_t;

/* Raises ranks one by one, as long as all columns take at most `bytes`: first where one more column
 * captures most for each element that it takes to send. A matrix is thought to be captured by r / (r + 1), each of its elements
 * counting the same, so that from r to r + 1 it gains
 *
 *     rows cols / ((rows + cols) (r + 1) (r + 2))
 *
 * an element; equal ones in the order of the items. One that does not fit any more is passed over. The items' least ranks fit.
 * Errors: PSGD_ERR_HOST_MEMORY. */
psgd_status_t psgd_budget_spread(psgd_budget_item_t *items, size_t num_items, double bytes);

#endif
