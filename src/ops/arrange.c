#include "ops/arrange.h"

#include "base/arith.h"
#include "base/memory.h"
#include "ops/ragged.h"
#include "ops/variant.h"
#include "plan/matrix_view.h"

/* How an item lies in what is given; the same layout as in cl/arrange.cl. */
typedef struct layout {
    uint64_t row_stride, col_stride;
    uint32_t dtype;
    uint32_t unused;
} layout_t;

_Static_assert(sizeof(layout_t) == 24, "the same layout as in cl/arrange.cl");

/* A tile of a matrix that lies across the one it is copied to: small enough for both to stay in a cache. */
enum { ACROSS_SIDE = 64 };

struct psgd_arrange {
    psgd_device_t     *device;
    const psgd_plan_t *plan;
    bool               wide;
    size_t             num_items;
    psgd_view_t       *given, *copies; /* by item, as handed to psgd_ragged_place() */
    psgd_ragged_t     *ragged;
    psgd_tiling_t     *tiling;
    psgd_kernel_t     *in, *out;
    psgd_view_t        layouts; /* by item */
    size_t             group_size;
};

/* ---- items ---- */

/* The matrices of a tensor that has them somewhere else than its copy; else one row. */
static bool has_matrices(const psgd_plan_tensor_t *tensor)
{
    return tensor->is_reshaped && (tensor->route == PSGD_ROUTE_COMPRESSED);
}

static size_t items_of(const psgd_plan_tensor_t *tensor)
{
    if (!tensor->is_copied) {
        return 0;
    }
    return has_matrices(tensor) ? (size_t)tensor->view.batch : 1;
}

static psgd_dtype_t given_type(const psgd_arrange_t *arrange, const psgd_plan_tensor_t *tensor)
{
    return arrange->wide ? PSGD_F32 : tensor->dtype;
}

/* One item of a tensor, and how it lies. */
static void describe_item(const psgd_arrange_t *arrange, const psgd_plan_tensor_t *tensor, size_t n,
                          psgd_ragged_item_t *item, layout_t *layout)
{
    const psgd_matrix_view_t row  = psgd_matrix_view_of_matrix(1, tensor->elems);
    const psgd_matrix_view_t view = has_matrices(tensor) ? tensor->view : row;

    item->rows         = (uint32_t)view.rows; /* the plan keeps both below 2^32 */
    item->cols         = (uint32_t)view.cols;
    item->scale_index  = (uint32_t)n;
    layout->row_stride = view.row_stride;
    layout->col_stride = view.col_stride;
    layout->dtype      = (uint32_t)given_type(arrange, tensor);
}

static psgd_cut_t cut_of(const psgd_arrange_t *arrange, const psgd_ragged_item_t *item, const layout_t *layout)
{
    uint64_t tile_elems = psgd_ragged_tile_elems(arrange->ragged);
    uint64_t cols       = psgd_min(item->cols, tile_elems);

    if (layout->col_stride != 1) {
        return (psgd_cut_t){ACROSS_SIDE, ACROSS_SIDE};
    }
    return (psgd_cut_t){(uint32_t)psgd_max(tile_elems / cols, 1), (uint32_t)cols};
}

static psgd_status_t create_tables(psgd_arrange_t *arrange, psgd_ragged_item_t *items, layout_t *layouts,
                                   psgd_cut_t *cuts)
{
    size_t        n = 0;
    psgd_status_t status;

    for (size_t i = 0; i < arrange->plan->num_given; ++i) {
        const psgd_plan_tensor_t *tensor = &arrange->plan->tensors[i];

        for (size_t b = 0; b < items_of(tensor); ++b, ++n) {
            describe_item(arrange, tensor, n, &items[n], &layouts[n]);
        }
    }
    status = psgd_ragged_create(arrange->device, items, n, &arrange->ragged);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < n; ++i) {
        cuts[i] = cut_of(arrange, &items[i], &layouts[i]);
    }
    status = psgd_tiling_create(arrange->ragged, cuts, PSGD_SUMS_NONE, &arrange->tiling);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_create(arrange->device, n * sizeof(*layouts), "the layouts of gradients", &arrange->layouts);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_buffer_enqueue_write(arrange->device, arrange->layouts, layouts, n * sizeof(*layouts));
    return psgd_device_settle(arrange->device, status, "the layouts of gradients");
}

static psgd_status_t create_items(psgd_arrange_t *arrange)
{
    psgd_ragged_item_t *items   = NULL;
    layout_t           *layouts = NULL;
    psgd_cut_t         *cuts    = NULL;
    psgd_status_t       status;

    status = psgd_alloc(arrange->num_items, sizeof(*items), "the table of copied gradients", &items);
    if (status == PSGD_OK) {
        status = psgd_alloc(arrange->num_items, sizeof(*layouts), "the layouts of gradients", &layouts);
    }
    if (status == PSGD_OK) {
        status = psgd_alloc(arrange->num_items, sizeof(*cuts), "the cuts of gradients", &cuts);
    }
    if (status == PSGD_OK) {
        status = create_tables(arrange, items, layouts, cuts);
    }
    psgd_free(cuts);
    psgd_device_free_host(arrange->device, layouts);
    psgd_free(items);
    return status;
}

/* ---- create and destroy ---- */

static psgd_status_t create_kernels(psgd_arrange_t *arrange)
{
    psgd_program_t *program = NULL;
    psgd_status_t   status  = psgd_program_get(arrange->device, "arrange.cl", "", &program);

    if (status == PSGD_OK) {
        status = psgd_kernel_create(program, "arrange_in", &arrange->in);
    }
    return status == PSGD_OK ? psgd_kernel_create(program, "arrange_out", &arrange->out) : status;
}

static psgd_status_t create(psgd_arrange_t *arrange)
{
    psgd_status_t status;

    status = psgd_alloc(arrange->num_items, sizeof(*arrange->given), "the table of gradients", &arrange->given);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(arrange->num_items, sizeof(*arrange->copies), "the table of copies", &arrange->copies);
    if (status != PSGD_OK) {
        return status;
    }
    status = create_items(arrange);
    return status == PSGD_OK ? create_kernels(arrange) : status;
}

psgd_status_t psgd_arrange_create(psgd_device_t *device, const psgd_plan_t *plan, bool wide, psgd_arrange_t **arrange_p)
{
    psgd_arrange_t *arrange;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*arrange), "the copying of gradients", &arrange);
    if (status != PSGD_OK) {
        return status;
    }
    arrange->device     = device;
    arrange->plan       = plan;
    arrange->wide       = wide;
    arrange->group_size = psgd_group_size(device);
    for (size_t i = 0; i < plan->num_given; ++i) {
        arrange->num_items += items_of(&plan->tensors[i]);
    }
    status = create(arrange);
    if (status != PSGD_OK) {
        psgd_arrange_destroy(arrange);
        return status;
    }
    *arrange_p = arrange;
    return PSGD_OK;
}

void psgd_arrange_destroy(psgd_arrange_t *arrange)
{
    if (arrange == NULL) {
        return;
    }
    psgd_kernel_destroy(arrange->out);
    psgd_kernel_destroy(arrange->in);
    psgd_buffer_destroy(arrange->device, &arrange->layouts);
    psgd_tiling_destroy(arrange->tiling);
    psgd_ragged_destroy(arrange->ragged);
    psgd_free(arrange->copies);
    psgd_free(arrange->given);
    psgd_free(arrange);
}

/* ---- a step ---- */

/* Where the items lie. Places count what is given in its own elements: an offset that, in floats, has that number. */
static psgd_status_t place(psgd_arrange_t *arrange, const psgd_view_t *given, const psgd_view_t *copies)
{
    size_t n = 0;

    for (size_t i = 0; i < arrange->plan->num_given; ++i) {
        const psgd_plan_tensor_t *tensor = &arrange->plan->tensors[i];
        const psgd_matrix_view_t *view   = &tensor->view;

        for (size_t b = 0; b < items_of(tensor); ++b, ++n) {
            uint64_t first = given[i].offset_bytes / psgd_dtype_bytes(given_type(arrange, tensor)) +
                             (has_matrices(tensor) ? psgd_matrix_view_element(view, b, 0, 0) : 0);

            arrange->given[n]  = (psgd_view_t){given[i].mem, (size_t)first * sizeof(float)};
            arrange->copies[n] = psgd_view_at(copies[i], (size_t)(b * view->rows * view->cols) * sizeof(float));
        }
    }
    return psgd_ragged_place(arrange->ragged, arrange->given, arrange->copies);
}

static psgd_status_t launch(psgd_arrange_t *arrange, psgd_kernel_t *kernel)
{
    const psgd_arg_t args[] = {PSGD_ARG_MEM(arrange->layouts)};

    return psgd_tiling_enqueue(arrange->tiling, kernel, arrange->group_size, args, 1);
}

psgd_status_t psgd_arrange_enqueue_in(psgd_arrange_t *arrange, const psgd_view_t *given, const psgd_view_t *copies)
{
    psgd_status_t status = place(arrange, given, copies);

    return status == PSGD_OK ? launch(arrange, arrange->in) : status;
}

psgd_status_t psgd_arrange_enqueue_out(psgd_arrange_t *arrange, const psgd_view_t *copies, const psgd_view_t *given)
{
    psgd_status_t status = place(arrange, given, copies);

    return status == PSGD_OK ? launch(arrange, arrange->out) : status;
}

psgd_status_t psgd_arrange_enqueue_out_one(psgd_arrange_t *arrange, size_t tensor_index, const psgd_view_t *copies,
                                           const psgd_view_t *given)
{
    size_t        first  = 0;
    psgd_status_t status = place(arrange, given, copies);

    for (size_t i = 0; i < tensor_index; ++i) {
        first += items_of(&arrange->plan->tensors[i]);
    }
    for (size_t n = first; (status == PSGD_OK) && (n < first + items_of(&arrange->plan->tensors[tensor_index])); ++n) {
        psgd_ragged_focus(arrange->ragged, n);
        status = launch(arrange, arrange->out);
    }
    psgd_ragged_focus(arrange->ragged, SIZE_MAX);
    return status;
}
