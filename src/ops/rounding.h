/* What an error memory in bfloat16 is rounded by: cl/bfloat.clh. */
#ifndef PSGD_OPS_ROUNDING_H
#define PSGD_OPS_ROUNDING_H

#include "device/buffer.h"

typedef struct psgd_rounding {
    psgd_view_t keys; /* of chance: uint32 by matrix index */
    uint32_t    step_key;
} psgd_rounding_t;

#endif
