#include "ops/engines.h"

#include "base/memory.h"

static const psgd_engine_ops_t *const ENGINES[] = {&psgd_engine_fused, &psgd_engine_clblast};

enum { NUM_ENGINES = sizeof(ENGINES) / sizeof(ENGINES[0]) };

struct psgd_engines {
    psgd_engine_state_t *states[NUM_ENGINES]; /* NULL: nobody chose it */
};

/* The matrices that chose this engine. */
static size_t select_matrices(const psgd_plan_t *plan, const psgd_engine_t *choices, psgd_engine_t kind, size_t *selected)
{
    size_t count = 0;

    for (size_t m = 0; m < plan->num_matrices; ++m) {
        if (choices[m] == kind) {
            selected[count++] = m;
        }
    }
    return count;
}

psgd_status_t psgd_engines_create(psgd_device_t *device, const psgd_plan_t *plan, const psgd_engine_t *choices,
                                  psgd_form_t form, psgd_engines_t **engines_p)
{
    psgd_engines_t *engines  = NULL;
    size_t         *selected = NULL;
    psgd_status_t   status;

    status = psgd_alloc(1, sizeof(*engines), "the engines", &engines);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(plan->num_matrices, sizeof(*selected), "the engines' matrices", &selected);
    for (int e = 0; (status == PSGD_OK) && (e < NUM_ENGINES); ++e) {
        size_t count = select_matrices(plan, choices, ENGINES[e]->kind, selected);

        if (count > 0) {
            status = ENGINES[e]->create(device, plan, selected, count, form, &engines->states[e]);
        }
    }
    psgd_free(selected);
    if (status != PSGD_OK) {
        psgd_engines_destroy(engines);
        return status;
    }
    *engines_p = engines;
    return PSGD_OK;
}

void psgd_engines_destroy(psgd_engines_t *engines)
{
    if (engines == NULL) {
        return;
    }
    for (int e = 0; e < NUM_ENGINES; ++e) {
        ENGINES[e]->destroy(engines->states[e]);
    }
    psgd_free(engines);
}

#define DEFINE_PASS(pass_) \
    psgd_status_t psgd_engines_enqueue_##pass_(psgd_engines_t *engines, const psgd_step_views_t *views) \
    { \
        psgd_status_t status = PSGD_OK; \
        for (int e = 0; (status == PSGD_OK) && (e < NUM_ENGINES); ++e) { \
            if (engines->states[e] != NULL) { \
                status = ENGINES[e]->enqueue_##pass_(engines->states[e], views); \
            } \
        } \
        return status; \
    }

DEFINE_PASS(compute_p)
DEFINE_PASS(compute_q)
DEFINE_PASS(decompress)
DEFINE_PASS(settle)
