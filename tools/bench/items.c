#include "items.h"

#include <stdlib.h>
#include <string.h>

uint64_t item_elems(const item_t *item)
{
    return item->rows * item->cols;
}

uint64_t item_filled_elems(const item_t *item)
{
    uint64_t elems = 0;

    for (size_t i = 0; i < item->num_pieces; ++i) {
        elems += item->pieces[i].elems;
    }
    return elems;
}

static bool is_flattened(const options_t *options, const psgd_tensor_plan_t *plan)
{
    return options->flatten && plan->rank > 0;
}

/* The matrices of a tensor as they were given, before any is transposed. */
static psgd_matrix_view_t given_view(const model_tensor_t *tensor)
{
    const uint64_t cols = tensor->elems / tensor->dims[0];

    return tensor->view.batch > 0 ? tensor->view
                                  : (psgd_matrix_view_t){1, tensor->dims[0], cols, tensor->elems, cols, 1};
}

static psgd_matrix_view_t transposed(psgd_matrix_view_t view)
{
    return (psgd_matrix_view_t){view.batch, view.cols, view.rows, view.batch_stride, view.col_stride, view.row_stride};
}

/* The matrices as the reducer has them. */
static psgd_matrix_view_t planned_view(const options_t *options, const model_tensor_t *tensor)
{
    psgd_matrix_view_t view = given_view(tensor);

    return options->orthogonalize_shorter && view.rows > view.cols ? transposed(view) : view;
}

static void add_plain(const model_tensor_t *tensor, size_t index, uint64_t first, items_t *items, item_piece_t *piece)
{
    *piece                       = (item_piece_t){index, first, tensor->elems};
    items->items[items->count++] = (item_t){.name          = tensor->name,
                                            .rows          = tensor->elems,
                                            .cols          = 1,
                                            .batch         = 1,
                                            .is_contiguous = true,
                                            .pieces        = piece,
                                            .num_pieces    = 1};
}

static tool_status_t add_matrices(const options_t *options, const model_tensor_t *tensor, size_t index, uint64_t first,
                                  const psgd_tensor_plan_t *plan, items_t *items, item_piece_t *pieces)
{
    const psgd_matrix_view_t view = planned_view(options, tensor);

    if (plan->rows != view.rows || plan->cols != view.cols || plan->batch != view.batch) {
        return tool_fail(TOOL_WRONG, "wrong results: the plan has %s as matrices of another shape", tensor->name);
    }
    for (uint64_t b = 0; b < view.batch; ++b) {
        pieces[b]                    = (item_piece_t){index, first + b * view.batch_stride, view.rows * view.cols};
        items->items[items->count++] = (item_t){.name          = tensor->name,
                                                .rows          = view.rows,
                                                .cols          = view.cols,
                                                .rank          = plan->rank,
                                                .batch_index   = b,
                                                .batch         = view.batch,
                                                .row_stride    = view.row_stride,
                                                .col_stride    = view.col_stride,
                                                .is_contiguous = view.row_stride == view.cols && view.col_stride == 1,
                                                .pieces        = &pieces[b],
                                                .num_pieces    = 1};
    }
    return TOOL_OK;
}

/* One piece more of the one matrix; its item is made by the first. */
static void add_flattened(const model_tensor_t *tensor, size_t index, uint64_t first, const psgd_tensor_plan_t *plan,
                          items_t *items, item_t **flattened, item_piece_t *piece)
{
    *piece = (item_piece_t){index, first, tensor->elems};
    if (*flattened == NULL) {
        *flattened  = &items->items[items->count++];
        **flattened = (item_t){.name          = PSGD_FLATTENED_NAME,
                               .rows          = plan->rows,
                               .cols          = plan->cols,
                               .rank          = plan->rank,
                               .batch         = 1,
                               .is_contiguous = true,
                               .pieces        = piece};
    }
    (*flattened)->num_pieces += 1;
}

/* How many pieces there are at most, and so items: a matrix each, a tensor that is not compressed. */
static size_t count_pieces(const model_t *model, const psgd_tensor_plan_t *plans)
{
    size_t count = 0;

    for (size_t t = 0; t < model->count; ++t) {
        count += plans[t].rank > 0 ? (size_t)plans[t].batch : 1;
    }
    return count;
}

tool_status_t items_create(const options_t *options, const model_t *model, const uint64_t *offsets,
                           const psgd_tensor_plan_t *plans, items_t *items_p)
{
    const size_t  count     = count_pieces(model, plans);
    item_t       *flattened = NULL;
    size_t        used      = 0; /* pieces; those of the flattened gradient come first, one behind the other */
    tool_status_t status;

    memset(items_p, 0, sizeof(*items_p));
    status = tool_alloc(count, sizeof(*items_p->items), "what to compare", &items_p->items);
    if (status == TOOL_OK) {
        status = tool_alloc(count, sizeof(*items_p->pieces), "what to compare", &items_p->pieces);
    }
    for (size_t t = 0; t < model->count && status == TOOL_OK; ++t) {
        if (is_flattened(options, &plans[t])) {
            add_flattened(&model->tensors[t], t, offsets[t], &plans[t], items_p, &flattened, &items_p->pieces[used++]);
        }
    }
    for (size_t t = 0; t < model->count && status == TOOL_OK; ++t) {
        if (plans[t].rank == 0) {
            add_plain(&model->tensors[t], t, offsets[t], items_p, &items_p->pieces[used++]);
        } else if (!is_flattened(options, &plans[t])) {
            status =
                add_matrices(options, &model->tensors[t], t, offsets[t], &plans[t], items_p, &items_p->pieces[used]);
            used += (size_t)plans[t].batch;
        }
    }
    return status;
}

void items_free(items_t *items)
{
    free(items->pieces);
    free(items->items);
    memset(items, 0, sizeof(*items));
}

tool_status_t item_gather(const item_t *item, const float *all, float **copy_p, const float **elems_p)
{
    float        *copy = NULL;
    uint64_t      at   = 0;
    tool_status_t status;

    *copy_p = NULL;
    if (item->is_contiguous && item->num_pieces == 1) {
        *elems_p = all + item->pieces[0].first;
        return TOOL_OK;
    }
    status = tool_alloc((size_t)item_elems(item), sizeof(*copy), "a matrix of the update", &copy);
    for (size_t i = 0; i < item->num_pieces && status == TOOL_OK; ++i) {
        for (uint64_t k = 0; k < item->pieces[i].elems; ++k) {
            copy[at++] = all[item_place(item, &item->pieces[i], k)];
        }
    }
    *copy_p  = copy;
    *elems_p = copy;
    return status;
}
