#include "core/phases.h"

#include "core/bucket.h"
#include "core/exchange.h"
#include "core/spans.h"

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

/* When a part began, and what the device had been given until then. */
typedef struct start {
    uint64_t ns, launches;
} start_t;

static start_t start_part(const psgd_reducer_t *reducer)
{
    return (start_t){psgd_now_ns(), psgd_device_launches(reducer->device)};
}

static void end_compute(psgd_reducer_t *reducer, psgd_phase_t phase, uint64_t bucket, psgd_status_t status,
                        start_t start)
{
    if (psgd_device_launches(reducer->device) > start.launches) {
        psgd_spans_enqueued(reducer, phase, bucket, start.ns);
    }
    if ((status == PSGD_OK) && reducer->config.exact_phase_times) {
        status = psgd_device_wait(reducer->device, psgd_phase_name(phase));
    }
    psgd_step_note(reducer, status);
    reducer->step.phase_ns[phase] += psgd_now_ns() - start.ns;
}

/* ---- of the whole reducer ---- */

void psgd_phase_compute(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_compute_fn compute)
{
    start_t start = start_part(reducer);

    if (psgd_step_is_healthy(reducer)) {
        end_compute(reducer, phase, PSGD_NO_BUCKET, compute(reducer), start);
    }
}

void psgd_phase_exchange(psgd_reducer_t *reducer, psgd_phase_t phase, psgd_exchange_fn exchange)
{
    start_t start = start_part(reducer);

    if (psgd_step_goes_on(reducer)) {
        exchange(reducer);
        reducer->step.phase_ns[phase] += psgd_now_ns() - start.ns;
    }
}

/* ---- of a bucket ---- */

void psgd_bucket_compute(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_compute_fn compute)
{
    start_t start = start_part(bucket->reducer);

    if (psgd_step_is_healthy(bucket->reducer)) {
        end_compute(bucket->reducer, phase, psgd_bucket_index(bucket), compute(bucket), start);
    }
}

void psgd_bucket_exchange(psgd_bucket_t *bucket, psgd_phase_t phase, psgd_bucket_exchange_fn exchange)
{
    start_t start = start_part(bucket->reducer);

    if (psgd_step_goes_on(bucket->reducer)) {
        exchange(bucket);
        bucket->reducer->step.phase_ns[phase] += psgd_now_ns() - start.ns;
    }
}
