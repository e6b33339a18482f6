/* Checks of device memory that callers bring: gradients, parameters, regions. */
#ifndef PSGD_API_MEMORY_H
#define PSGD_API_MEMORY_H

#include "core/reducer.h"

/* A memory object of the caller's, called `whose` in errors: a buffer of the reducer's context, readable and writable, which has
 * `needed` bytes from offset_bytes on, a multiple of elem_bytes. */
psgd_status_t psgd_check_mem(const psgd_reducer_t *reducer, const char *whose, cl_mem mem, size_t offset_bytes,
                             uint64_t needed, size_t elem_bytes);

/* The same of a buffer that goes with a tensor: `what` is "gradient", "parameter". */
psgd_status_t psgd_check_tensor_mem(const psgd_reducer_t *reducer, const char *what, size_t index,
                                    const psgd_buffer_t *buffer, size_t elem_bytes);

/* Means of what is not compressed, and copies of regions, go through host memory: the host reads and writes such a buffer itself. */
psgd_status_t psgd_check_host_access(const psgd_reducer_t *reducer, const char *whose, cl_mem mem);

/* Where a caller's memory lies: a sub-buffer is a part of another buffer. */
psgd_status_t psgd_locate_mem(const psgd_reducer_t *reducer, cl_mem mem, size_t offset_bytes, psgd_view_t *place_p);

/* Whether two such places have a byte in common. */
bool psgd_places_overlap(const psgd_view_t *a, uint64_t a_bytes, const psgd_view_t *b, uint64_t b_bytes);

#endif
