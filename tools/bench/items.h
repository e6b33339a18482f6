/* What of a model is compared with the reference, piece by piece: the matrices that a reducer compresses, and the tensors that it does
 * not. */
#ifndef PSGD_BENCH_ITEMS_H
#define PSGD_BENCH_ITEMS_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"
#include "options.h"

/* A run of an item's elements, row by row, that one tensor holds. */
typedef struct item_piece {
    size_t   tensor;
    uint64_t first; /* gradient: of the tensor's matrix its element (0, 0), counted as gradients_t.offsets are */
    uint64_t elems;
} item_piece_t;

typedef struct item {
    const char *name;                /* what its factor is kept under: a tensor's, or PSGD_FLATTENED_NAME */
    uint64_t    rows, cols;          /* elements x 1 where it is not compressed */
    uint32_t    rank;                /* 0: not compressed */
    uint64_t    batch_index;         /* which matrix of the tensor */
    uint64_t    batch;               /* of so many */
    uint64_t row_stride, col_stride; /* gradients between neighbours of a matrix's column, of its row; of one piece */
    bool     is_contiguous;          /* element k of a piece is gradient first + k */
    item_piece_t *pieces; /* one behind the other; what they do not fill is zero. One, but in a flattened gradient */
    size_t        num_pieces;
} item_t;

typedef struct items {
    item_t       *items;
    size_t        count;
    item_piece_t *pieces; /* of all items */
} items_t;

/* The items of a model whose tensor t has its first gradient at offsets[t] and is sent as plans[t] says. Freed by items_free(), also
 * after an error. Names are the model's. */
tool_status_t items_create(const options_t *options, const model_t *model, const uint64_t *offsets,
                           const psgd_tensor_plan_t *plans, items_t *items_p);
void          items_free(items_t *items);

uint64_t item_elems(const item_t *item);
uint64_t item_filled_elems(const item_t *item); /* without what fills up a flattened gradient */

/* Which gradient element k of a piece is, as gradients_t.offsets count. */
static inline uint64_t item_place(const item_t *item, const item_piece_t *piece, uint64_t k)
{
    return item->is_contiguous ? piece->first + k
                               : piece->first + k / item->cols * item->row_stride + k % item->cols * item->col_stride;
}

/* The item's elements out of `all`, which holds them as gradients_t.offsets say: a part of it, or a copy in *copy_p, the caller's
 * to free. */
tool_status_t item_gather(const item_t *item, const float *all, float **copy_p, const float **elems_p);

#endif
