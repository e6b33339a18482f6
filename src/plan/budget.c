#include "plan/budget.h"

#include <stdbool.h>

#include "base/memory.h"

/* The items that may still grow, the one that gains most at the root: heap[i] is not behind heap[2 i + 1] and heap[2 i + 2]. */
typedef struct heap {
    const psgd_budget_item_t *items;
    size_t                   *order; /* indices of items */
    size_t                    size;
} heap_t;

static double gain_of(const psgd_budget_item_t *item)
{
    return (double)item->rows * (double)item->cols / ((double)item->rows + (double)item->cols) /
           ((double)item->r + 1.0) / ((double)item->r + 2.0);
}

static bool comes_before(const heap_t *heap, size_t a, size_t b)
{
    double gain_a = gain_of(&heap->items[heap->order[a]]), gain_b = gain_of(&heap->items[heap->order[b]]);

    return (gain_a > gain_b) || ((gain_a == gain_b) && (heap->order[a] < heap->order[b]));
}

static void sift_down(heap_t *heap, size_t i)
{
    for (;;) {
        size_t first = i;

        for (size_t child = 2 * i + 1; (child <= 2 * i + 2) && (child < heap->size); ++child) {
            first = comes_before(heap, child, first) ? child : first;
        }
        if (first == i) {
            return;
        }
        size_t order       = heap->order[i];
        heap->order[i]     = heap->order[first];
        heap->order[first] = order;
        i                  = first;
    }
}

psgd_status_t psgd_budget_spread(psgd_budget_item_t *items, size_t num_items, double bytes)
{
    heap_t        heap   = {items, NULL, 0};
    double        spent  = 0.0;
    psgd_status_t status = psgd_alloc(num_items, sizeof(*heap.order), "the order of matrices", &heap.order);

    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; i < num_items; ++i) {
        spent += items[i].column_bytes * items[i].r;
        if (items[i].r < items[i].max_r) {
            heap.order[heap.size++] = i;
        }
    }
    for (size_t i = heap.size; i > 0; --i) {
        sift_down(&heap, i - 1);
    }
    while (heap.size > 0) {
        psgd_budget_item_t *item = &items[heap.order[0]];
        bool                fits = spent + item->column_bytes <= bytes;

        if (fits) {
            item->r += 1;
            spent += item->column_bytes;
        }
        if (!fits || (item->r == item->max_r)) {
            heap.order[0] = heap.order[--heap.size];
        }
        sift_down(&heap, 0);
    }
    psgd_free(heap.order);
    return PSGD_OK;
}
