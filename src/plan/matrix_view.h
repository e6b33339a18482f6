/* Where the matrices of a tensor lie in it: arithmetic on psgd_matrix_view_t. */
#ifndef PSGD_PLAN_MATRIX_VIEW_H
#define PSGD_PLAN_MATRIX_VIEW_H

#include <stdbool.h>

#include <psgd/psgd.h>

/* All 0: the tensor has no view of its own. */
bool psgd_matrix_view_is_default(const psgd_matrix_view_t *view);

/* One matrix, row-major. */
psgd_matrix_view_t psgd_matrix_view_of_matrix(uint64_t rows, uint64_t cols);

/* Whether it covers each of `elems` elements once. Says what is wrong: PSGD_ERR_INVALID_ARGUMENT. */
psgd_status_t psgd_matrix_view_check(const psgd_matrix_view_t *view, uint64_t elems);

/* Whether its matrices are row-major and lie one behind the other. */
bool psgd_matrix_view_is_contiguous(const psgd_matrix_view_t *view);

/* The same with rows and columns exchanged. */
psgd_matrix_view_t psgd_matrix_view_transposed(const psgd_matrix_view_t *view);

/* The tensor's element number of element (i, j) of matrix b. */
uint64_t psgd_matrix_view_element(const psgd_matrix_view_t *view, uint64_t b, uint64_t i, uint64_t j);

#endif
