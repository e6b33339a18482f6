#include "report.h"

#include <math.h>

static void write_device(const advice_t *a, FILE *file)
{
    const char *source = source_name(a->device_source);

    if (a->device_source == SOURCE_GIVEN) {
        fprintf(file, "device: %.4g GB/s (given), %.4g Gflop/s, %.3g us a launch\n", 1e-9 * a->device.bytes_per_s,
                1e-9 * a->device.flops_per_s, 1e6 * a->device.launch_s);
    } else {
        fprintf(file, "device: %s; passes move %.4g GB/s, %.3g us a launch (%s, %u at once)\n", a->calibration->device,
                1e-9 * a->device.bytes_per_s, 1e6 * a->device.launch_s, source, (unsigned)a->calibration->workers);
    }
    fprintf(file, "staging: %.4g GB/s, %.3g us (%s)%s\n", 1e-9 * a->device.staging_bytes_per_s,
            1e6 * a->device.staging_latency_s, source_name(a->staging_source),
            a->shares_memory ? "; device and host share memory" : "");
}

static void write_link(const advice_t *a, FILE *file)
{
    const double gbps = advice_gbps(a);

    if (isinf(gbps)) {
        fprintf(file, "link: memory");
    } else {
        fprintf(file, "link: %.4g Gbit/s", gbps);
    }
    fprintf(file, " (%s), %.4g us a message (%s); hosts copy and add up %.4g GB/s (%s)\n", source_name(a->link_source),
            1e6 * a->network.latency_s, source_name(a->latency_source), advice_host_gbs(a),
            source_name(a->host_source));
    if (a->options->plain == (int)PLAIN_DIRECT) {
        fprintf(file, "whole gradients would travel from device to device, compressed ones through the hosts\n");
    }
}

static void write_ranks(const advice_t *a, FILE *file)
{
    fprintf(file, "\n%-6s %10s %14s %8s %12s %10s %10s %12s\n", "rank", "tensors", "elements sent", "rate",
            "reducer, MB", "device, ms", "rest, ms", "pays below");
    for (size_t i = 0; i < a->num_ranks; ++i) {
        const rank_advice_t *r    = &a->ranks[i];
        const traffic_t     *t    = &r->whole.total;
        const double         gbps = advice_break_even(a, a->workers, i);

        fprintf(file, "%-6u %10llu %14llu %8.1f %12.1f %10.3f %10.3f ", (unsigned)r->rank,
                (unsigned long long)t->num_compressed, (unsigned long long)traffic_sent_elems(t),
                traffic_compression_rate(t), 1e-6 * traffic_reducer_bytes(t),
                1e3 * (local_sum(&r->local) - r->local.host_s), 1e3 * r->local.host_s);
        if (isinf(gbps)) {
            fprintf(file, "%12s\n", "always");
        } else if (gbps > 0.0) {
            fprintf(file, "%7.3g Gb/s\n", gbps);
        } else {
            fprintf(file, "%12s\n", "never");
        }
    }
}

static void write_predictions(const advice_t *a, FILE *file)
{
    uint32_t sizes[ADVICE_MAX_SIZES];
    size_t   count;

    if (a->options->backward_ms > 0.0) {
        fprintf(file,
                "\nmilliseconds that the exchange adds to a backward pass of %.4g ms, and how many times as fast both "
                "are together:\n",
                a->options->backward_ms);
    } else {
        fprintf(file, "\nmilliseconds of a step's exchange, and how many times less than of whole gradients:\n");
    }
    fprintf(file, "%-8s %11s %-9s", "workers", "plain", "");
    for (size_t i = 0; i < a->num_ranks; ++i) {
        fprintf(file, "   rank %-11u", (unsigned)a->ranks[i].rank);
    }
    fprintf(file, "\n");
    advice_sizes(a, sizes, &count);
    for (size_t w = 0; w < count; ++w) {
        const prediction_t p = advice_predict(a, sizes[w]);

        fprintf(file, "%-8u %11.3f %-9s", (unsigned)sizes[w], 1e3 * p.plain_s, algorithm_name(p.algorithm));
        for (size_t i = 0; i < a->num_ranks; ++i) {
            const rank_prediction_t r = advice_predict_rank(a, sizes[w], i);

            fprintf(file, " %9.3f %7.2f", 1e3 * r.exposed_s, r.speedup);
        }
        fprintf(file, "\n");
    }
}

void report_write_table(const void *user, FILE *file)
{
    const advice_t *a = user;

    fprintf(file, "%s: %llu parameters in %zu tensors, %.1f MB of gradients; %s form of the step\n", a->options->model,
            (unsigned long long)a->model->elems, a->model->count, 4e-6 * (double)a->model->elems,
            a->options->is_finite ? "finite" : "default");
    write_device(a, file);
    write_link(a, file);
    write_ranks(a, file);
    write_predictions(a, file);
    fprintf(file, "\n%s\n", a->sentence);
}
