/* One launch for many matrices that lie in many buffers. The device side is cl/ragged.clh.
 *
 *   psgd_ragged_t   the matrices ("items") of an operation, and where they lie in this step
 *   psgd_tiling_t   one way to cut them into tiles, a work-group each
 *
 * A launch can reach PSGD_RAGGED_SLOTS memory objects of gradients and one of error memories; matrices that lie in more are
 * done in several launches. */
#ifndef PSGD_OPS_RAGGED_H
#define PSGD_OPS_RAGGED_H

#include "device/buffer.h"
#include "device/device.h"
#include "device/program.h"
#include "ops/variant.h"

enum { PSGD_RAGGED_SLOTS = 16 };

/* A matrix, rows x cols; the same layout as in cl/ragged.clh. */
typedef struct psgd_ragged_item {
    uint32_t rows, cols, r;
    uint32_t scale_index; /* its number among all matrices, which scales of updates go by */
    uint64_t p_offset; /* elements, from the beginning of any buffer of all P */
    uint64_t q_offset;
} psgd_ragged_item_t;

/* How one item is cut: into tiles of so many rows by so many columns, the last ones less. */
typedef struct psgd_cut {
    uint32_t rows, cols;
} psgd_cut_t;

/* What a tile adds up, each for itself, where an item is cut along that axis: a part, for the second sum. */
typedef enum psgd_sums {
    PSGD_SUMS_NONE,
    PSGD_SUMS_OVER_COLS, /* r x rows of them; they go to P */
    PSGD_SUMS_OVER_ROWS  /* r x cols of them; they go to Q */
} psgd_sums_t;

typedef struct psgd_ragged psgd_ragged_t;
typedef struct psgd_tiling psgd_tiling_t;

/* num_items >= 1 items, copied. Waits for the upload. */
psgd_status_t psgd_ragged_create(psgd_device_t *device, const psgd_ragged_item_t *items, size_t num_items,
                                 psgd_ragged_t **ragged_p);
void psgd_ragged_destroy(psgd_ragged_t *ragged);

const psgd_ragged_item_t *psgd_ragged_items(const psgd_ragged_t *ragged, size_t *num_items_p);
psgd_device_t            *psgd_ragged_device(const psgd_ragged_t *ragged);

/* The ranks of the items, which kernels are compiled for. */
psgd_ranks_t psgd_ragged_ranks(const psgd_ragged_t *ragged);

/* How many elements a tile should have, where nothing else matters: all items together give every compute unit some. */
uint64_t psgd_ragged_tile_elems(const psgd_ragged_t *ragged);

/* Item i's gradient lies at grads[i], its error memory at errors[i] (errors NULL: there is none). Uploads the table where
 * anything has changed since the last call, which the device must have finished with. */
psgd_status_t psgd_ragged_place(psgd_ragged_t *ragged, const psgd_view_t *grads, const psgd_view_t *errors);

/* From here on launches do this item alone, second sums too; SIZE_MAX: all of them again. */
void psgd_ragged_focus(psgd_ragged_t *ragged, size_t item);

/* Cuts item i as cuts[i] says. Waits for the upload. `ragged` outlives the tiling. */
psgd_status_t psgd_tiling_create(psgd_ragged_t *ragged, const psgd_cut_t *cuts, psgd_sums_t sums,
                                 psgd_tiling_t **tiling_p);
void psgd_tiling_destroy(psgd_tiling_t *tiling);

/* The tiles of items that are one row each: pieces of it. */
psgd_status_t psgd_tiling_create_of_rows(psgd_ragged_t *ragged, psgd_tiling_t **tiling_p);

/* Enqueues the kernel over all tiles, a work-group of group_size work-items each. Its parameters are PSGD_RAGGED_PARAMS,
 * then `args`. The items have been placed. Allocates nothing. */
psgd_status_t psgd_tiling_enqueue(psgd_tiling_t *tiling, psgd_kernel_t *kernel, size_t group_size, const psgd_arg_t *args,
                                  size_t num_args);

/* The number of an item's first tile; of item num_items: how many tiles there are. */
size_t psgd_tiling_first_tile(const psgd_tiling_t *tiling, size_t item);

/* What the parts take, in floats; 0 where no item is cut along the axis that is summed over. */
uint64_t psgd_tiling_part_elems(const psgd_tiling_t *tiling);

/* The second sum, of all parts into `out`, all P or all Q. Nothing to do where there are no parts. */
psgd_status_t psgd_tiling_enqueue_sums(psgd_tiling_t *tiling, psgd_view_t parts, psgd_view_t out);

#endif
