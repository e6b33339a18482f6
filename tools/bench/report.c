#include "report.h"

#include <math.h>
#include <string.h>

enum { LABEL_WIDTH = 22 };

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void write_heading(const bench_t *bench, FILE *file)
{
    const psgd_device_info_t *info = &bench->gpu.info;

    fprintf(file, "%s: %llu parameters in %zu tensors; %u worker%s on %s%s, driver %s\n", bench->options->model,
            (unsigned long long)bench->model->elems, bench->model->count, (unsigned)bench->workers->count,
            plural(bench->workers->count), info->name, bench->same_devices ? "" : " (worker 0) and other devices",
            info->driver_version);
}

static void write_buckets(const options_t *options, FILE *file)
{
    if (options->bucket_kb > 0) {
        fprintf(file, "buckets of %llu KB%s\n", (unsigned long long)options->bucket_kb,
                options->progress_thread ? ", and a thread of the library's" : "");
    } else {
        fprintf(file, "one bucket, and a thread of the library's\n");
    }
}

/* What all ranks of a run have in common. */
static void write_settings(const report_t *report, FILE *file)
{
    const options_t *options = report->bench->options;

    if (options->half_iterations > 0) {
        fprintf(file, "half-iterations a step: %u; ", (unsigned)options->half_iterations);
    }
    fprintf(file, "engine %s, error feedback %s%s, staging %s, %s; %u rounds\n",
            psgd_engine_name(options_engine(options)), options->error_feedback != 0 ? "on" : "off",
            options->is_finite ? ", finite gradients" : "", staging_name(options->staging),
            options->buffers == BUFFERS_ONE ? "one buffer" : "a buffer each", (unsigned)options->steps);
    if (options->gradient_dtype != (int)PSGD_F32 || options->wire != (int)PSGD_F32 ||
        options_error_dtype(options) != PSGD_F32) {
        fprintf(file, "gradients in %s, factors travel in %s, error memory in %s\n",
                dtype_name((psgd_dtype_t)options->gradient_dtype), dtype_name((psgd_dtype_t)options->wire),
                dtype_name(options_error_dtype(options)));
    }
    if (options->flatten || options->orthogonalize_shorter || options->warm_start == 0) {
        fprintf(file, "%s%s%s\n", options->flatten ? "one matrix of the whole gradient; " : "",
                options->orthogonalize_shorter ? "the shorter side is made orthonormal; " : "",
                options->warm_start != 0 ? "warm start" : "cold start");
    }
    if (options->sharing != (int)PSGD_SHARING_AUTO || options->check_every > 0) {
        fprintf(file, "sharing %s; updates compared every %llu steps (0: never)\n", sharing_name(options->sharing),
                (unsigned long long)options->check_every);
    }
    if (report->bench->num_nodes > 0) {
        fprintf(file, "%u node%s: their workers combine in memory, one of each speaks to the others\n",
                (unsigned)report->bench->num_nodes, report->bench->num_nodes > 1 ? "s" : "");
    }
    if (options->bucket_kb > 0 || options->progress_thread) {
        write_buckets(options, file);
    }
    if (options->absent_every > 0) {
        fprintf(file, "gradients of tensor t are missing on worker w where t + w is a multiple of %u\n",
                (unsigned)options->absent_every);
    }
    if (options->start_step > 0) {
        fprintf(file, "steps before number %llu average without compression\n",
                (unsigned long long)options->start_step);
    }
    if (options->byte_budget > 0) {
        fprintf(file, "budget: %llu bytes a step (--plan shows the ranks)\n", (unsigned long long)options->byte_budget);
    }
}

static void write_checked(const measured_t *m, FILE *file)
{
    fprintf(file, "checked: %u steps, %llu elements against double precision, largest deviation %.1e",
            m->verified.steps, (unsigned long long)m->verified.checked_elems, m->verified.deviation);
    if (m->verified.probed_elems > 0) {
        fprintf(file, "; %llu elements by projections", (unsigned long long)m->verified.probed_elems);
    }
    fprintf(file, "; %.1f s\n", m->verified.seconds);
}

static void write_spread(const char *label, spread_t spread, const char *meaning, FILE *file)
{
    fprintf(file, "%-*s %10.3f %10.3f %10.3f   %s\n", LABEL_WIDTH, label, spread.median, spread.min, spread.max,
            meaning);
}

static const char *phase_meaning(int phase)
{
    static const char *const meanings[] = {
#define PHASE_MEANING(name_, word_, text_) text_,
        PSGD_PHASE_TABLE(PHASE_MEANING)
#undef PHASE_MEANING
    };

    return meanings[phase];
}

static double gigabytes_per_second(double bytes, double ms)
{
    return bytes / ms * 1e-6;
}

static void write_step_times(const report_t *report, const measured_t *m, FILE *file)
{
    int  form       = (int)bench_floor_form(report->bench->options);
    char moves[160] = "nothing is compressed";

    if (m->compressed_elems > 0) {
        snprintf(moves, sizeof(moves), "%d N floats, N = %llu, moved by kernels that do nothing else: %.1f GB/s", form,
                 (unsigned long long)m->compressed_elems,
                 gigabytes_per_second(4.0 * form * (double)m->compressed_elems, m->floor.median));
    }
    write_spread("step", m->step, "from gradients to update", file);
    write_spread("floor", m->floor, moves, file);
    write_spread("plain all-reduce", m->plain, "MPI_Allreduce of the uncompressed gradient", file);
    write_spread("  its copies", m->plain_copy, "mapping, or to host memory and back; beside it", file);
    if (report->bench->options->times_update) {
        write_spread("step, then update", m->written, "and SGD with momentum behind it, on the update", file);
        write_spread("fused update", m->fused, "the same, straight from the factors", file);
    }
}

static void write_overlap(const report_t *report, const measured_t *m, FILE *file)
{
    fprintf(file, "\nwith a simulated backward pass of about %g ms:\n", report->bench->options->backward_ms);
    write_spread("backward pass", m->backward, "alone", file);
    write_spread("blocking step", m->blocking, "the pass, and the step behind it in one call", file);
    write_spread("  exposed", m->blocking_exposed, "beyond the pass alone", file);
    write_spread("  device idle", m->blocking_network, "it had nothing to do and waited for other workers", file);
    write_spread("overlapped step", m->overlapped, "the pass, each tensor submitted as it comes", file);
    write_spread("  exposed", m->overlapped_exposed, "beyond the pass alone", file);
    write_spread("  device idle", m->overlapped_network, "it had nothing to do and waited for other workers", file);
    if (isfinite(measured_exposed_ratio(m))) {
        fprintf(file, "exposed: overlapped / blocking %.2f\n", measured_exposed_ratio(m));
    }
}

static void write_phase_times(const measured_t *m, FILE *file)
{
    fprintf(file, "\nwith the device drained after each phase:\n");
    write_spread("step", m->exact_step, "as above", file);
    for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
        char label[64];

        snprintf(label, sizeof(label), "  %s", psgd_phase_name((psgd_phase_t)phase));
        write_spread(label, m->phases[phase], phase_meaning(phase), file);
    }
    write_spread("kernel", m->kernel, "compute_p + compute_q + decompress", file);
    write_spread("floor", m->kernel_floor, "as above, beside these steps", file);
}

/* "62.1 %", or "-" where there is none. */
static const char *percent(double fraction, char text[16])
{
    if (isfinite(fraction)) {
        snprintf(text, 16, "%.1f %%", 100.0 * fraction);
    } else {
        snprintf(text, 16, "-");
    }
    return text;
}

static void write_one(const report_t *report, FILE *file)
{
    const measured_t *m = &report->measured[0];
    char              fraction[16], kernel_fraction[16], ortho[16];

    fprintf(file, "rank %u: ", (unsigned)m->rank);
    write_settings(report, file);
    write_checked(m, file);
    fprintf(file, "\n%-*s %10s %10s %10s   ms, slowest worker of each round\n", LABEL_WIDTH, "", "median", "min",
            "max");
    write_step_times(report, m, file);
    if (report->bench->options->backward_ms > 0.0) {
        write_overlap(report, m, file);
    }
    write_phase_times(m, file);
    fprintf(file, "\nfloor / step %s, floor / kernel %s, plain all-reduce / step %.2f\n",
            percent(measured_floor_fraction(m), fraction), percent(measured_kernel_floor_fraction(m), kernel_fraction),
            measured_plain_ratio(m));
    if (report->bench->options->shows_ortho) {
        fprintf(file, "orthonormalize_q + orthogonalize_p: %s of the step\n", percent(measured_ortho_share(m), ortho));
    }
    fprintf(file, "%zu of %zu tensors compressed, %.1f times fewer elements; engine: %s", m->num_compressed,
            report->bench->model->count, m->compression_rate, measured_engine(m));
    if (strcmp(measured_engine(m), "mixed") == 0) {
        fprintf(file, " (%zu fused, %zu clblast; --plan lists them)", m->num_fused, m->num_compressed - m->num_fused);
    }
    fprintf(file, "\na step: %llu kernel launches, %llu messages, %.4f MB handed to MPI by each worker\n",
            (unsigned long long)m->launches, (unsigned long long)m->messages, 1e-6 * (double)m->wire_bytes);
    fprintf(file, "device memory of the reducer: %.1f MB\n", 1e-6 * (double)m->device_bytes);
    if (report->bench->options->rank_before > 0) {
        fprintf(file, "from rank %u to %u by psgd_reducer_set_ranks(): %.1f ms\n",
                (unsigned)report->bench->options->rank_before, (unsigned)m->rank, m->change_ms);
    }
}

static void write_sweep_line(const report_t *report, const measured_t *m, FILE *file)
{
    char fraction[16], kernel_fraction[16], ortho[16];

    fprintf(file, "%5u %10.3f %10.3f %10.3f %10.3f %10s %10s %10.2f", (unsigned)m->rank, m->step.median,
            m->kernel.median, m->floor.median, m->plain.median, percent(measured_floor_fraction(m), fraction),
            percent(measured_kernel_floor_fraction(m), kernel_fraction), measured_plain_ratio(m));
    if (report->bench->options->shows_ortho) {
        fprintf(file, " %10s", percent(measured_ortho_share(m), ortho));
    }
    fprintf(file, " %8llu %10.4f %7.1f  %s\n", (unsigned long long)m->launches, 1e-6 * (double)m->wire_bytes,
            m->compression_rate, measured_engine(m));
}

static void write_sweep(const report_t *report, FILE *file)
{
    uint64_t checked = 0, probed = 0;
    double   deviation = 0.0;

    for (size_t i = 0; i < report->count; ++i) {
        checked += report->measured[i].verified.checked_elems;
        probed += report->measured[i].verified.probed_elems;
        deviation = fmax(deviation, report->measured[i].verified.deviation);
    }
    write_settings(report, file);
    fprintf(file, "checked: %llu elements against double precision, largest deviation %.1e; %llu by projections\n\n",
            (unsigned long long)checked, deviation, (unsigned long long)probed);
    fprintf(file, "%5s %10s %10s %10s %10s %10s %10s %10s", "rank", "step ms", "kernel ms", "floor ms", "plain ms",
            "floor/step", "fl./kernel", "plain/step");
    if (report->bench->options->shows_ortho) {
        fprintf(file, " %10s", "ortho/step");
    }
    fprintf(file, " %8s %10s %7s  %s\n", "launches", "sent MB", "rate", "engine");
    for (size_t i = 0; i < report->count; ++i) {
        write_sweep_line(report, &report->measured[i], file);
    }
}

void report_write_table(const report_t *report, FILE *file)
{
    write_heading(report->bench, file);
    if (report->bench->options->is_sweep) {
        write_sweep(report, file);
    } else {
        write_one(report, file);
    }
}

void report_write_plan(const plan_report_t *report, FILE *file)
{
    uint64_t before = 0, after = 0;

    write_heading(report->bench, file);
    fprintf(file, "\nrank %u\n%-32s %14s %5s %12s %12s  %s\n", (unsigned)report->rank, "tensor", "matrix", "r",
            "elements", "sent", "engine");
    for (size_t t = 0; t < report->bench->model->count; ++t) {
        const psgd_tensor_plan_t *plan = &report->rows[t].plan;
        char                      matrix[48];

        if (plan->batch > 1) {
            snprintf(matrix, sizeof(matrix), "%llu of %llux%llu", (unsigned long long)plan->batch,
                     (unsigned long long)plan->rows, (unsigned long long)plan->cols);
        } else {
            snprintf(matrix, sizeof(matrix), "%llux%llu", (unsigned long long)plan->rows,
                     (unsigned long long)plan->cols);
        }
        fprintf(file, "%-32s %14s %5u %12llu %12llu  %s\n", report->rows[t].tensor->name, matrix, (unsigned)plan->rank,
                (unsigned long long)plan->elems, (unsigned long long)plan->sent_elems,
                plan->rank > 0 ? psgd_engine_name(plan->engine) : "-");
        before += plan->elems;
        after += plan->sent_elems;
    }
    fprintf(file, "%-32s %14s %5s %12llu %12llu  %.1f times fewer; %.4f MB a step; %.1f MB of device memory\n", "all", "", "",
            (unsigned long long)before, (unsigned long long)after, report->compression_rate,
            1e-6 * (double)report->payload_bytes, 1e-6 * (double)report->device_bytes);
}
