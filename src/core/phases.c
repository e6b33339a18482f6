#include "core/phases.h"

#include "core/bucket.h"
#include "core/exchange.h"

const char *psgd_phase_name(psgd_phase_t phase)
{
    switch (phase) {
#define ROW(name_, word_, text_) \
    case PSGD_PHASE_##name_: return word_;
        PSGD_PHASE_TABLE(ROW)
#undef ROW
    case PSGD_NUM_PHASES: break;
    }
    return "unknown";
}

/* ---- of the whole reducer ---- */

/* What a part has come to, and when it began. */
static void end_compute(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_status_t status, uint64_t start_ns)
{
    if ((status == PSGD_OK) && reducer->config.exact_phase_times) {
        status = psgd_device_wait(reducer->device, psgd_phase_name(phase));
    }
    psgd_step_note(reducer, status);
    reducer->step.phase_ns[phase] += psgd_now_ns() - start_ns;
}

void psgd_phase_compute(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_compute_fn compute)
{
    uint64_t start_ns = psgd_now_ns();

    if (psgd_step_is_healthy(reducer)) {
        end_compute(reducer, phase, compute(reducer), start_ns);
    }
}

void psgd_phase_exchange(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_exchange_fn exchange)
{
    uint64_t start_ns = psgd_now_ns();

    if (psgd_step_goes_on(reducer)) {
        exchange(reducer);
        reducer->step.phase_ns[phase] += psgd_now_ns() - start_ns;
    }
}

/* ---- of a bucket ---- */

void psgd_bucket_compute(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_compute_fn compute)
{
    uint64_t start_ns = psgd_now_ns();

    if (psgd_step_is_healthy(bucket->reducer)) {
        end_compute(bucket->reducer, phase, compute(bucket), start_ns);
    }
}

void psgd_bucket_exchange(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_exchange_fn exchange)
{
    uint64_t start_ns = psgd_now_ns();

    if (psgd_step_goes_on(bucket->reducer)) {
        exchange(bucket);
        bucket->reducer->step.phase_ns[phase] += psgd_now_ns() - start_ns;
    }
}
