#include "ops/variant.h"

#include <stdbool.h>
#include <stdio.h>

/* What the arrays of a kernel hold, and nothing that it computes, depends on this: one size for work-items side by side, which have no
 * arrays, and powers of two where ranks differ, so that few programs are compiled. */
static uint32_t room_for(bool uses_vectors, psgd_ranks_t ranks)
{
    uint32_t room = 1;

    if (ranks.common != 0) {
        return ranks.common;
    }
    while (uses_vectors && (room < ranks.largest)) {
        room *= 2;
    }
    return room;
}

/* Registers of a vector. Where they are short, two: a factor's element is then loaded for twice as many of the matrix's. */
static uint32_t registers_for(uint32_t register_floats)
{
    return register_floats == 16 ? 1 : 2;
}

void psgd_variant_options(const psgd_device_t *device, psgd_form_t form, psgd_ranks_t ranks,
                          char options[PSGD_VARIANT_OPTIONS_BYTES])
{
    bool     uses_vectors = psgd_uses_vectors(device);
    uint32_t floats       = uses_vectors ? psgd_device_limits(device)->vector_floats : 16;
    uint32_t registers    = registers_for(floats);

    snprintf(options, PSGD_VARIANT_OPTIONS_BYTES,
             "-DPSGD_VECTORS=%d -DPSGD_WIDTH=%u -DPSGD_REGISTERS=%u -DPSGD_GROUP=%d -DPSGD_FORM=%d -DPSGD_RANK=%u "
             "-DPSGD_MAX_RANK=%u",
             uses_vectors ? 1 : 0, registers * floats, registers, PSGD_GROUP_LANES, (int)form, ranks.common,
             room_for(uses_vectors, ranks));
}
