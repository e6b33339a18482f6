#include "ops/tune.h"

#include "base/clock.h"
#include "base/memory.h"

static const psgd_engine_ops_t *const CANDIDATES[PSGD_NUM_TUNED] = {&psgd_engine_fused, &psgd_engine_clblast};

enum { MAX_ROUNDS = 20 };

/* A shape that the fused engine does in less is not worth a comparison. */
static const double MOMENT_MS = 0.5;

/* Wall-clock time of the products of one matrix, ended by a wait. */
static psgd_status_t time_once(psgd_device_t *device, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine,
                               size_t item, const psgd_step_views_t *views, uint64_t *ns_p)
{
    uint64_t      start_ns = psgd_now_ns();
    psgd_status_t status   = ops->enqueue_one(engine, item, views);

    status = psgd_device_settle(device, status, "the measuring of an engine"); /* it may be destroyed now */
    *ns_p = psgd_now_ns() - start_ns;
    return status;
}

/* The fastest of several rounds within the budget. The first round compiles and is not counted. */
static psgd_status_t measure_matrix(psgd_device_t *device, const psgd_engine_ops_t *ops, psgd_engine_state_t *engine,
                                    size_t item, const psgd_step_views_t *views, uint64_t budget_ns, float *ms_p)
{
    uint64_t best_ns = UINT64_MAX;
    uint64_t used_ns = 0;

    for (int round = 0; (round <= MAX_ROUNDS) && ((round <= 1) || (used_ns < budget_ns)); ++round) {
        uint64_t      ns;
        psgd_status_t status = time_once(device, ops, engine, item, views, &ns);

        if (status != PSGD_OK) {
            return status;
        }
        if (round > 0) {
            used_ns += ns;
            best_ns = ns < best_ns ? ns : best_ns;
        }
    }
    *ms_p = (float)((double)best_ns * 1e-6);
    return PSGD_OK;
}

static bool is_worth_comparing(const psgd_timing_t *timing)
{
    return (double)timing->ms[PSGD_TUNE_FUSED] >= MOMENT_MS;
}

/* Times one engine on those matrices that are still in question. */
static psgd_status_t measure_engine(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices,
                                    size_t num_matrices, psgd_form_t form, const psgd_step_views_t *views,
                                    uint64_t budget_ns, int candidate, psgd_timing_t *timings)
{
    const psgd_engine_ops_t *ops      = CANDIDATES[candidate];
    size_t                  *selected = NULL; /* in timings */
    size_t                  *indices  = NULL; /* in the plan */
    size_t                   count    = 0;
    psgd_engine_state_t     *engine   = NULL;
    psgd_status_t            status;

    status = psgd_alloc(num_matrices, sizeof(*selected), "the shapes to be measured", &selected);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_alloc(num_matrices, sizeof(*indices), "the shapes to be measured", &indices);
    if (status != PSGD_OK) {
        goto free_selected;
    }
    for (size_t i = 0; i < num_matrices; ++i) {
        if ((candidate == PSGD_TUNE_FUSED) || is_worth_comparing(&timings[i])) {
            indices[count]    = matrices[i];
            selected[count++] = i;
        }
    }
    if (count > 0) {
        status = ops->create(device, plan, indices, count, form, &engine);
    }
    for (size_t i = 0; (status == PSGD_OK) && (i < count); ++i) {
        status = measure_matrix(device, ops, engine, i, views, budget_ns / count, &timings[selected[i]].ms[candidate]);
    }
    ops->destroy(engine);
    psgd_free(indices);

free_selected:
    psgd_free(selected);
    return status;
}

psgd_status_t psgd_tune_measure(psgd_device_t *device, const psgd_plan_t *plan, const size_t *matrices,
                                size_t num_matrices, psgd_form_t form, const psgd_step_views_t *views, double seconds,
                                psgd_timing_t *timings_p)
{
    uint64_t      budget_ns = (uint64_t)(seconds * 1e9) / PSGD_NUM_TUNED;
    psgd_status_t status    = PSGD_OK;

    for (size_t i = 0; i < num_matrices; ++i) {
        timings_p[i] = (psgd_timing_t){{PSGD_NOT_TIMED_MS, PSGD_NOT_TIMED_MS}};
    }
    for (int c = 0; (status == PSGD_OK) && (c < PSGD_NUM_TUNED); ++c) {
        status = measure_engine(device, plan, matrices, num_matrices, form, views, budget_ns, c, timings_p);
    }
    return status;
}
