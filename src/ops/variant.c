#include "ops/variant.h"

#include <stdio.h>

void psgd_variant_options(const psgd_device_t *device, psgd_form_t form, psgd_ranks_t ranks,
                          char options[PSGD_VARIANT_OPTIONS_BYTES])
{
    bool     uses_vectors = psgd_uses_vectors(device);
    uint32_t width        = uses_vectors ? psgd_device_limits(device)->vector_floats : 4;

    snprintf(options, PSGD_VARIANT_OPTIONS_BYTES,
             "-DPSGD_VECTORS=%d -DPSGD_WIDTH=%u -DPSGD_GROUP=%d -DPSGD_FORM=%d -DPSGD_RANK=%u -DPSGD_MAX_RANK=%u",
             uses_vectors ? 1 : 0, width, PSGD_GROUP_LANES, (int)form, ranks.common, ranks.largest);
}
