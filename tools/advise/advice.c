#include "advice.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

/* Where nothing was measured and nothing said. docs/advise.md has these figures too. */
static const double ASSUMED_LAUNCH_US = 5.0, ASSUMED_STAGING_GBS = 12.0, ASSUMED_STAGING_LATENCY_US = 10.0;
static const double ASSUMED_LINK_LATENCY_US = 20.0, ASSUMED_MEMORY_LATENCY_US = 1.0, ASSUMED_HOST_GBS = 10.0;
static const double ASSUMED_FLOPS_PER_BYTE = 4.0;

enum { ASSUMED_WORKERS = 8 };

static const double WORTH_IT = 1.1;  /* times faster, that advice to compress needs at least */
static const double NEARLY   = 1.1;  /* of the fastest rank's time: higher ranks that take no longer are preferred */
static const double LITTLE   = 0.05; /* of the backward pass */

const char *source_name(source_t source)
{
    static const char *const names[] = {"measured", "from the calibration", "given", "assumed"};

    return names[source];
}

static double first_of(double given, double known, double assumed)
{
    return given > 0.0 ? given : known > 0.0 ? known : assumed;
}

static source_t source_of(const advice_t *advice, double given, bool is_known)
{
    if (given > 0.0) {
        return SOURCE_GIVEN;
    }
    if (!is_known) {
        return SOURCE_ASSUMED;
    }
    return advice->options->calibration != NULL ? SOURCE_FILE : SOURCE_MEASURED;
}

/* ---- the device ---- */

static void describe_device(advice_t *a)
{
    const options_t     *o        = a->options;
    const calibration_t *c        = a->calibration;
    const bool           is_known = o->device_gbs == 0.0 && c->has_device;
    const double         gbs      = first_of(o->device_gbs, c->device_gbs, 1.0);
    const double         staging  = first_of(o->staging_gbs, is_known ? c->staging_gbs : 0.0, ASSUMED_STAGING_GBS);
    const double         latency =
        first_of(o->staging_latency_us, is_known ? c->staging_latency_us : 0.0, ASSUMED_STAGING_LATENCY_US);
    const double launch = first_of(o->launch_us, is_known ? c->launch_us : 0.0, ASSUMED_LAUNCH_US);

    a->device         = (device_rates_t){.bytes_per_s = 1e9 * gbs,
                                         .flops_per_s = 1e9 * first_of(o->device_gflops, 0.0, ASSUMED_FLOPS_PER_BYTE * gbs),
                                         .launch_s    = 1e-6 * launch,
                                         .staging_bytes_per_s = 1e9 * staging,
                                         .staging_latency_s   = 1e-6 * latency};
    a->device_source  = source_of(a, o->device_gbs, is_known);
    a->staging_source = source_of(a, o->staging_gbs, is_known);
    a->shares_memory  = is_known && c->shares_memory && o->staging_gbs == 0.0;
}

/* What a step costs on the device that was measured. */
static tool_status_t measured_local(const advice_t *a, rank_advice_t *r)
{
    const options_t       *o        = a->options;
    const measured_rank_t *measured = calibration_find(a->calibration, r->rank);

    if (measured == NULL) {
        return tool_fail(TOOL_USAGE,
                         "rank %u was not measured in %s; measure it with --ranks, or describe a device by "
                         "--device-gbs",
                         (unsigned)r->rank, o->calibration);
    }
    if (a->calibration->is_finite != o->is_finite) {
        return tool_fail(TOOL_USAGE, "%s is of steps %s --finite; say the same here", o->calibration,
                         a->calibration->is_finite ? "with" : "without");
    }
    r->local = local_scale(&measured->local, &measured->traffic, &r->whole.total);
    if (o->staging_gbs > 0.0 || o->staging_latency_us > 0.0) {
        r->local.host_s = predict_local(&a->device, &r->whole.total, r->rank, o->is_finite).host_s;
    }
    return TOOL_OK;
}

static tool_status_t make_rank(const advice_t *a, uint32_t rank, rank_advice_t *r)
{
    const options_t *o      = a->options;
    const uint64_t   bucket = o->backward_ms > 0.0 ? 1000 * o->bucket_kb : 0;
    tool_status_t    status;

    r->rank = rank;
    status  = buckets_make(a->model, rank, o->min_compression_rate, 0, &r->whole);
    if (status == TOOL_OK) {
        status = buckets_make(a->model, rank, o->min_compression_rate, bucket, &r->buckets);
    }
    if (status != TOOL_OK) {
        return status;
    }
    if (o->device_gbs == 0.0) {
        return measured_local(a, r);
    }
    r->local = predict_local(&a->device, &r->whole.total, rank, o->is_finite);
    return TOOL_OK;
}

/* ---- the link ---- */

/* What hosts cost goes with them to any link; the latency of a wire and that of memory do not stand for each other. */
static void describe_link(advice_t *a)
{
    const options_t     *o             = a->options;
    const calibration_t *c             = a->calibration;
    const bool           is_measured   = o->link_gbps == 0.0 && !o->in_memory;
    const bool           goes_by_wire  = is_measured ? !c->in_memory : !o->in_memory;
    const bool           knows_latency = c->has_link && c->in_memory == !goes_by_wire;
    const double         latency_us    = first_of(o->link_latency_us, knows_latency ? 1e6 * c->network.latency_s : 0.0,
                                       goes_by_wire ? ASSUMED_LINK_LATENCY_US : ASSUMED_MEMORY_LATENCY_US);

    a->network           = c->network;
    a->network.latency_s = 1e-6 * latency_us;
    if (!is_measured) {
        a->network.wire_s_per_byte = o->in_memory ? 0.0 : 8e-9 / o->link_gbps;
        a->network.wire.count      = 0;
    }
    if (o->host_gbs > 0.0 || a->network.host.count == 0) {
        a->network.host_s_per_byte = 1e-9 / first_of(o->host_gbs, c->host_gbs, ASSUMED_HOST_GBS);
        a->network.host.count      = 0;
    }
    a->link_source    = is_measured ? source_of(a, 0.0, true) : SOURCE_GIVEN;
    a->latency_source = source_of(a, o->link_latency_us, knows_latency);
    a->host_source    = source_of(a, o->host_gbs, c->host_gbs > 0.0);
}

double advice_gbps(const advice_t *a)
{
    const double per_byte = network_wire_s_per_byte(&a->network, 4.0 * (double)a->model->elems);

    return per_byte > 0.0 ? 8e-9 / per_byte : (double)INFINITY;
}

double advice_host_gbs(const advice_t *a)
{
    return 1e-9 / network_host_s_per_byte(&a->network, 4.0 * (double)a->model->elems);
}

/* ---- predictions ---- */

static scenario_t scenario_of(const advice_t *a, const bucket_list_t *buckets, uint32_t workers)
{
    return (scenario_t){buckets, a->network, workers, a->options->plain == (int)PLAIN_DIRECT,
                        1e-3 * a->options->backward_ms};
}

prediction_t advice_predict(const advice_t *a, uint32_t workers)
{
    const scenario_t s       = scenario_of(a, &a->ranks[0].buckets, workers);
    const network_t  network = predict_plain_network(&s);
    prediction_t     p       = {.algorithm = ALGORITHM_NONE};

    p.all_reduce_s = predict_all_reduce(&network, workers, 4.0 * (double)a->model->elems, &p.algorithm);
    p.plain_s      = predict_plain(&s, a->copies_s);
    return p;
}

rank_prediction_t advice_predict_rank(const advice_t *a, uint32_t workers, size_t rank_index)
{
    const rank_advice_t *r      = &a->ranks[rank_index];
    const scenario_t     s      = scenario_of(a, &r->buckets, workers);
    scenario_t           behind = scenario_of(a, &r->whole, workers);
    rank_prediction_t    p;

    behind.backward_s = 0.0;
    p.messages_s      = predict_messages(&behind);
    p.step_s          = predict_step(&behind, &r->local);
    p.exposed_s       = predict_step(&s, &r->local);
    p.speedup         = (s.backward_s + predict_plain(&s, a->copies_s)) / (s.backward_s + p.exposed_s);
    return p;
}

double advice_break_even(const advice_t *a, uint32_t workers, size_t rank_index)
{
    const rank_advice_t *r = &a->ranks[rank_index];
    const scenario_t     s = scenario_of(a, &r->buckets, workers);

    return predict_break_even(&s, &r->local, a->copies_s);
}

void advice_sizes(const advice_t *a, uint32_t numbers[ADVICE_MAX_SIZES], size_t *count_p)
{
    bool is_in = false;

    *count_p = 0;
    for (uint32_t w = 2; w <= OPTIONS_MOST_WORKERS; w *= 2) {
        if (!is_in && a->workers < w) {
            numbers[(*count_p)++] = a->workers;
            is_in                 = true;
        }
        numbers[(*count_p)++] = w;
        is_in                 = is_in || a->workers == w;
    }
}

/* ---- the sentence ---- */

static void say(advice_t *a, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(advice_t *a, const char *format, ...)
{
    const size_t used = strlen(a->sentence);
    va_list      arguments;

    va_start(arguments, format);
    vsnprintf(a->sentence + used, sizeof(a->sentence) - used, format, arguments);
    va_end(arguments);
}

/* The index of the rank with the shortest step. */
static size_t fastest_rank(const advice_t *a)
{
    size_t fastest = 0;

    for (size_t i = 1; i < a->num_ranks; ++i) {
        if (advice_predict_rank(a, a->workers, i).exposed_s < advice_predict_rank(a, a->workers, fastest).exposed_s) {
            fastest = i;
        }
    }
    return fastest;
}

/* The highest rank that takes hardly longer than the fastest: the closer to the true mean gradient. */
static size_t best_rank(const advice_t *a, size_t fastest)
{
    const double most = NEARLY * advice_predict_rank(a, a->workers, fastest).exposed_s;
    size_t       best = fastest;

    for (size_t i = 0; i < a->num_ranks; ++i) {
        const rank_prediction_t p = advice_predict_rank(a, a->workers, i);

        if (p.exposed_s <= most && p.speedup >= WORTH_IT && a->ranks[i].rank > a->ranks[best].rank) {
            best = i;
        }
    }
    return best;
}

static void say_break_even(advice_t *a, size_t rank_index)
{
    const double gbps = advice_break_even(a, a->workers, rank_index);

    if (isinf(gbps)) {
        say(a, " It is the faster way on any link.");
    } else if (gbps > 0.0) {
        say(a, " It is the faster way on links below %.3g Gbit/s.", gbps);
    } else {
        say(a, " It is not the faster way on any link.");
    }
}

static void say_no(advice_t *a, size_t fastest)
{
    const rank_advice_t    *r        = &a->ranks[fastest];
    const rank_prediction_t p        = advice_predict_rank(a, a->workers, fastest);
    const double            plain_ms = 1e3 * advice_predict(a, a->workers).plain_s;
    const double            local_ms = 1e3 * local_sum(&r->local);
    const double            backward = a->options->backward_ms;

    say(a, "Do not compress here, with %u workers: ", (unsigned)a->workers);
    if (r->whole.total.num_compressed == 0) {
        say(a, "no tensor of this model would be sent with fewer elements, at any of these ranks.");
        return;
    }
    if (backward > 0.0 && plain_ms < LITTLE * backward) {
        say(a, "whole gradients travel behind the backward pass of %.4g ms, and all but %.4g ms are hidden there.",
            backward, plain_ms);
    } else if (local_ms >= plain_ms) {
        say(a,
            "averaging whole gradients adds %.4g ms to a step, and compressing them takes %.4g ms of computing alone.",
            plain_ms, local_ms);
    } else {
        say(a,
            "averaging whole gradients adds %.4g ms to a step, and compression %.4g ms: a step becomes %.3g times as "
            "fast.",
            plain_ms, 1e3 * p.exposed_s, p.speedup);
    }
    if (p.speedup > 1.0) {
        say(a, " Compressing is ahead by less than a tenth.");
    } else {
        say_break_even(a, fastest);
    }
}

static void say_yes(advice_t *a)
{
    const rank_prediction_t p        = advice_predict_rank(a, a->workers, a->chosen);
    const double            plain_ms = 1e3 * advice_predict(a, a->workers).plain_s;

    say(a, "Compress, with rank %u: with %u workers the exchange adds %.4g ms to a step in place of %.4g ms",
        (unsigned)a->ranks[a->chosen].rank, (unsigned)a->workers, 1e3 * p.exposed_s, plain_ms);
    if (a->options->backward_ms > 0.0) {
        say(a, ", and a step becomes %.3g times as fast.", p.speedup);
    } else {
        say(a, ", %.3g times less.", p.speedup);
    }
    say_break_even(a, a->chosen);
}

static void conclude(advice_t *a)
{
    const size_t fastest = fastest_rank(a);

    a->compresses = a->ranks[fastest].whole.total.num_compressed > 0 &&
                    advice_predict_rank(a, a->workers, fastest).speedup >= WORTH_IT;
    a->chosen = a->compresses ? best_rank(a, fastest) : fastest;
    if (a->compresses) {
        say_yes(a);
    } else {
        say_no(a, fastest);
    }
}

tool_status_t advice_make(const options_t *options, const model_t *model, const calibration_t *calibration,
                          uint32_t job_workers, advice_t *advice_p)
{
    advice_t     *a      = advice_p;
    tool_status_t status = TOOL_OK;

    *a = (advice_t){.options = options, .model = model, .calibration = calibration};
    if (options->device_gbs == 0.0 && !calibration->has_device) {
        return tool_fail(TOOL_USAGE, "%s holds no device; describe one by --device-gbs", options->calibration);
    }
    if (options->link_gbps == 0.0 && !options->in_memory && !calibration->has_link) {
        return tool_fail(TOOL_USAGE, "%s holds no link; say what there is by --link-gbps or --in-memory",
                         options->calibration);
    }
    describe_device(a);
    describe_link(a);
    for (size_t i = 0; i < options->num_ranks && status == TOOL_OK; ++i) {
        a->num_ranks = i + 1;
        status       = make_rank(a, options->ranks[i], &a->ranks[i]);
    }
    if (status != TOOL_OK) {
        return status;
    }
    a->copies_s =
        predict_copies(&a->device, &a->ranks[0].whole.total, a->shares_memory || options->plain == (int)PLAIN_DIRECT);
    a->workers = options->workers > 0 ? options->workers : job_workers > 1 ? job_workers : ASSUMED_WORKERS;
    conclude(a);
    return TOOL_OK;
}

void advice_free(advice_t *advice)
{
    for (size_t i = 0; i < advice->num_ranks; ++i) {
        buckets_free(&advice->ranks[i].whole);
        buckets_free(&advice->ranks[i].buckets);
    }
    memset(advice, 0, sizeof(*advice));
}
