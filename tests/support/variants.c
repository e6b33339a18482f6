#include "support/variants.h"

#include <string.h>

const variant_t VARIANTS[NUM_VARIANTS] = {
    {PSGD_ENGINE_CLBLAST, 0, "clblast"},   {PSGD_ENGINE_FUSED, 0, "fused"}, {PSGD_ENGINE_CLBLAST, 1, "clblast, lazy"},
    {PSGD_ENGINE_FUSED, 1, "fused, lazy"}, {PSGD_ENGINE_AUTO, 0, "auto"},   {PSGD_ENGINE_AUTO, 1, "auto, lazy"},
};

int variants_of_engine(const char *word, const variant_t *variants[NUM_VARIANTS])
{
    int count = 0;

    for (int v = 0; v < NUM_VARIANTS; ++v) {
        if (strcmp(psgd_engine_name(VARIANTS[v].engine), word) == 0) {
            variants[count++] = &VARIANTS[v];
        }
    }
    return count;
}

void variant_apply(const variant_t *variant, psgd_config_t *config)
{
    config->engine               = variant->engine;
    config->gradients_are_finite = variant->gradients_are_finite;
}
