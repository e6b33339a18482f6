/* The 2-norm of the update over all tensors, from what all workers hold before it is decompressed, and clipping by it. */
#ifndef PSGD_CORE_NORM_H
#define PSGD_CORE_NORM_H

#include "core/reducer.h"

/* Whether config.max_norm asks for it. */
bool psgd_norm_is_wanted(const psgd_reducer_t *reducer);

/* The sum of squares, in double precision and in an order that does not depend on the processor. */
double psgd_norm_square(const float *values, size_t elems);

/* Takes the square of the norm of this step's update: sets step.update_norm and step.clip. */
void psgd_norm_take(psgd_reducer_t *reducer, double square);

/* to[i] = values[i] step.clip; `to` may be `values`. */
void psgd_norm_clip(const psgd_reducer_t *reducer, const float *values, float *to, size_t elems);

#endif
