/* The engines and forms that tests of the whole library run through. */
#ifndef PSGD_TESTS_SUPPORT_VARIANTS_H
#define PSGD_TESTS_SUPPORT_VARIANTS_H

#include <psgd/psgd.h>

typedef struct variant {
    psgd_engine_t engine;
    int           gradients_are_finite;
    const char   *name; /* "fused, lazy" */
} variant_t;

/* The engines by name in both forms, then auto in both. */
enum { NUM_FIXED_VARIANTS = 4, NUM_VARIANTS = 6 };

extern const variant_t VARIANTS[NUM_VARIANTS];

/* Those of the engine that `word` names ("fused"), into variants; returns how many, 0 where it names none. */
int variants_of_engine(const char *word, const variant_t *variants[NUM_VARIANTS]);

void variant_apply(const variant_t *variant, psgd_config_t *config);

#endif
