#include "device/arena.h"

#include <string.h>

#include "base/arith.h"
#include "base/memory.h"

enum { ALIGNMENT_BYTES = 64 };

static uint64_t padded_bytes(const psgd_array_t *array)
{
    return psgd_round_up(array->bytes, ALIGNMENT_BYTES);
}

/* Arrays from `first` on, as many as fit into one buffer; *end_p is the first that does not. */
static psgd_status_t create_buffer(psgd_device_t *device, const psgd_array_t *arrays, size_t num_arrays, size_t first,
                                   const char *what, psgd_arena_t *arena, psgd_view_t *views, size_t *end_p)
{
    const uint64_t limit  = psgd_device_limits(device)->max_allocation_bytes;
    psgd_view_t   *buffer = &arena->buffers[arena->num_buffers];
    uint64_t       bytes  = 0;
    size_t         end    = first;
    psgd_status_t  status;

    while ((end < num_arrays) && ((end == first) || (bytes + padded_bytes(&arrays[end]) <= limit))) {
        bytes += padded_bytes(&arrays[end]);
        end += 1;
    }
    *end_p = end;
    if (bytes == 0) {
        return PSGD_OK;
    }
    status = psgd_buffer_create(device, (size_t)bytes, what, buffer);
    if (status != PSGD_OK) {
        return psgd_fail_in(status, "tensors '%s' to '%s'", arrays[first].name, arrays[end - 1].name);
    }
    arena->num_buffers += 1;
    bytes = 0;
    for (size_t i = first; i < end; ++i) {
        views[i] = arrays[i].bytes > 0 ? psgd_view_at(*buffer, (size_t)bytes) : (psgd_view_t){NULL, 0};
        bytes += padded_bytes(&arrays[i]);
    }
    return PSGD_OK;
}

psgd_status_t psgd_arena_create(psgd_device_t *device, const psgd_array_t *arrays, size_t num_arrays, const char *what,
                                psgd_arena_t *arena, psgd_view_t *views)
{
    psgd_status_t status = psgd_alloc(num_arrays, sizeof(*arena->buffers), what, &arena->buffers);

    for (size_t i = 0; (status == PSGD_OK) && (i < num_arrays);) {
        status = create_buffer(device, arrays, num_arrays, i, what, arena, views, &i);
    }
    return status;
}

void psgd_arena_destroy(psgd_device_t *device, psgd_arena_t *arena)
{
    for (size_t i = 0; i < arena->num_buffers; ++i) {
        psgd_buffer_destroy(device, &arena->buffers[i]);
    }
    psgd_free(arena->buffers);
    memset(arena, 0, sizeof(*arena));
}
