/* Decompression: the update P^ Qbar^T, the same bits on every worker and device, and this worker's error M - P^ Q_w^T.
 *
 * The update of element (i, j) is
 *
 *     c   = 0;  for k = 0 .. r - 1:  c = fma(P^_ki, Qbar_kj * 2^-e, c)     |factor| < 2^-40 counts as 0
 *     out = |c| < flush_below ? 0 : c * scale_1 * scale_2                  scale_1 * scale_2 = 2^e
 *
 * with e such that max |Qbar| lies in [2^e, 2^(e+1)). These are operations that OpenCL rounds exactly, and no denormal
 * number goes into one or comes out of one, so that a device that flushes denormals gets the same bits. */
#ifndef PSGD_OPS_DECOMPRESS_H
#define PSGD_OPS_DECOMPRESS_H

#include "device/buffer.h"
#include "device/device.h"
#include "ops/engine.h"
#include "ops/ragged.h"

/* q_scaled = Qbar * 2^-e, entries below 2^-40 as 0, and what undoes the scale. `elems` floats, >= 1, all r x cols of
 * one matrix; q_scaled may be q_mean. All zero: zeros, and a scale of 1. Host arithmetic on the bits: what the caller's
 * process has made of rounding and denormals does not matter.
 * Errors: PSGD_ERR_NONFINITE where an entry is NaN, Inf, or of magnitude 2^120 or more; nothing is written then. */
psgd_status_t psgd_update_scale_q(const float *q_mean, float *q_scaled, size_t elems, psgd_update_scale_t *scale_p);

/* The same for the factors of several pieces of one matrix's update, which share a scale: that of the largest entry. */
typedef struct psgd_update_array {
    const float *values;
    float       *scaled; /* may be `values` */
    size_t       elems;
} psgd_update_array_t;

psgd_status_t psgd_update_scale_arrays(const psgd_update_array_t *arrays, size_t num_arrays,
                                       psgd_update_scale_t *scale_p);

/* The tiles of a pass over M that has a chain over k for each element. */
psgd_status_t psgd_decompress_tiling(psgd_ragged_t *ragged, psgd_tiling_t **tiling_p);

typedef struct psgd_decompressor psgd_decompressor_t;

/* The views of one pass; factors are those of all items, each at its item's offset. */
typedef struct psgd_decompress_views {
    psgd_view_t p_hat;         /* in: r x rows, orthonormal rows (the bound on the update rests on that) */
    psgd_view_t q_scaled;      /* in: r x cols, from psgd_update_scale_q() */
    psgd_view_t update_scales; /* in: psgd_update_scale_t of all matrices, by scale_index */
    psgd_view_t     q_local;       /* in: r x cols, this worker's Q_w; PSGD_FORM_TRANSACTIONAL, PSGD_FORM_HALF */
    psgd_rounding_t rounding;      /* PSGD_FORM_HALF */
} psgd_decompress_views_t;

/* PSGD_FORM_TRANSACTIONAL, PSGD_FORM_HALF: M in the gradients' buffers becomes the update, and the error memories the error. Else the
 * update alone is computed; M, q_local and the error memories are not read or written. `ragged` outlives it. */
psgd_status_t psgd_decompressor_create(psgd_ragged_t *ragged, psgd_form_t form, psgd_decompressor_t **decompressor_p);

/* Enqueues the decompression of all items, which have been placed. Allocates nothing. */
psgd_status_t psgd_decompressor_enqueue(psgd_decompressor_t *decompressor, const psgd_decompress_views_t *views);

void psgd_decompressor_destroy(psgd_decompressor_t *decompressor);

#endif
