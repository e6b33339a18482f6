#include "hierarchy.h"
#include "json.h"
#include "report.h"

static void write_spread(json_t *json, const char *key, spread_t spread)
{
    json_begin_object(json, key);
    json_real(json, "median", spread.median);
    json_real(json, "min", spread.min);
    json_real(json, "max", spread.max);
    json_end_object(json);
}

static void write_phases(json_t *json, const measured_t *m)
{
    json_begin_object(json, "phases");
    for (int phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
        write_spread(json, psgd_phase_name((psgd_phase_t)phase), m->phases[phase]);
    }
    json_end_object(json);
}

static void write_overlap(json_t *json, const measured_t *m)
{
    write_spread(json, "backward_alone_ms", m->backward);
    write_spread(json, "blocking_ms", m->blocking);
    write_spread(json, "blocking_exposed_ms", m->blocking_exposed);
    write_spread(json, "blocking_network_ms", m->blocking_network);
    write_spread(json, "overlapped_ms", m->overlapped);
    write_spread(json, "overlapped_exposed_ms", m->overlapped_exposed);
    write_spread(json, "overlapped_network_ms", m->overlapped_network);
    json_real(json, "exposed_ratio", measured_exposed_ratio(m));
}

/* The keys of one rank. */
static void write_measured(json_t *json, const measured_t *m, const options_t *options)
{
    json_integer(json, "rank", m->rank);
    write_spread(json, "step_ms", m->step);
    write_spread(json, "floor_ms", m->floor);
    write_spread(json, "plain_allreduce_ms", m->plain);
    write_spread(json, "plain_copy_ms", m->plain_copy);
    if (options->times_update) {
        write_spread(json, "step_then_update_ms", m->written);
        write_spread(json, "fused_update_ms", m->fused);
    }
    if (options->backward_ms > 0.0) {
        write_overlap(json, m);
    }
    write_spread(json, "kernel_ms", m->kernel);
    write_spread(json, "kernel_floor_ms", m->kernel_floor);
    write_spread(json, "exact_step_ms", m->exact_step);
    write_spread(json, "ortho_ms", m->ortho);
    write_phases(json, m);
    json_real(json, "floor_fraction", measured_floor_fraction(m));
    json_real(json, "kernel_floor_fraction", measured_kernel_floor_fraction(m));
    json_real(json, "ortho_share", measured_ortho_share(m));
    json_real(json, "plain_ratio", measured_plain_ratio(m));
    json_real(json, "rank_change_ms", m->change_ms);
    json_integer(json, "launches", m->launches);
    json_integer(json, "messages", m->messages);
    json_integer(json, "wire_bytes", m->wire_bytes);
    json_integer(json, "device_bytes", m->device_bytes);
    json_integer(json, "bytes_n", m->compressed_elems * sizeof(float));
    json_real(json, "compression_rate", m->compression_rate);
    json_text(json, "engine", measured_engine(m));
    json_integer(json, "compressed_tensors", m->num_compressed);
    json_integer(json, "fused_tensors", m->num_fused);
    json_integer(json, "checked_elems", m->verified.checked_elems);
    json_integer(json, "probed_elems", m->verified.probed_elems);
    json_real(json, "deviation", m->verified.deviation);
    json_real(json, "check_seconds", m->verified.seconds);
}

/* The keys of the job. */
static void write_common(json_t *json, const bench_t *bench)
{
    const options_t *options = bench->options;

    json_integer(json, "schema", 1);
    json_text(json, "version", psgd_version_string());
    json_text(json, "model", options->model);
    json_integer(json, "parameters", bench->model->elems);
    json_integer(json, "tensors", bench->model->count);
    json_integer(json, "workers", bench->workers->count);
    json_text(json, "device", bench->gpu.info.name);
    json_text(json, "driver", bench->gpu.info.driver_version);
    json_bool(json, "same_devices", bench->same_devices);
    json_integer(json, "steps", options->steps);
    json_text(json, "engine_asked", psgd_engine_name(options_engine(options)));
    json_bool(json, "finite", options->is_finite);
    json_bool(json, "error_feedback", options->error_feedback != 0);
    json_integer(json, "half_iterations", options->half_iterations);
    json_text(json, "wire", dtype_name((psgd_dtype_t)options->wire));
    json_text(json, "error_dtype", dtype_name(options_error_dtype(options)));
    json_integer(json, "byte_budget", options->byte_budget);
    json_integer(json, "energy_every", options->energy_every);
    json_real(json, "gradient_scale", options->gradient_scale);
    json_text(json, "gradient_dtype", dtype_name((psgd_dtype_t)options->gradient_dtype));
    json_bool(json, "flatten", options->flatten);
    json_bool(json, "orthogonalize_shorter", options->orthogonalize_shorter);
    json_bool(json, "warm_start", options->warm_start != 0);
    json_real(json, "min_compression_rate", options->min_compression_rate);
    json_integer(json, "start_step", options->start_step);
    json_integer(json, "seed", options->seed);
    json_real(json, "max_norm", options->max_norm);
    json_integer(json, "absent_every", options->absent_every);
    json_integer(json, "rank_before", options->rank_before);
    json_text(json, "sharing", sharing_name(options->sharing));
    json_integer(json, "check_every", options->check_every);
    json_text(json, "hierarchy", hierarchy_words[options->hierarchy]);
    json_integer(json, "nodes", bench->num_nodes);
    json_integer(json, "bucket_kb", options->bucket_kb);
    json_bool(json, "progress_thread", options->progress_thread);
    json_real(json, "backward_ms", options->backward_ms);
    json_text(json, "buffers", buffers_name(options->buffers));
    json_text(json, "staging", staging_name(options->staging));
    json_integer(json, "floor_moves", (uint64_t)bench_floor_form(options));
}

void report_write_json(const report_t *report, FILE *file)
{
    const options_t *options = report->bench->options;
    json_t           json    = {file, 0, true};

    json_begin_object(&json, NULL);
    write_common(&json, report->bench);
    if (!options->is_sweep) {
        write_measured(&json, &report->measured[0], options);
    } else {
        json_begin_array(&json, "sweep");
        for (size_t i = 0; i < report->count; ++i) {
            json_begin_object(&json, NULL);
            write_measured(&json, &report->measured[i], options);
            json_end_object(&json);
        }
        json_end_array(&json);
    }
    json_end_object(&json);
}

static void write_plan_row(json_t *json, const plan_row_t *row)
{
    json_begin_object(json, NULL);
    json_text(json, "name", row->tensor->name);
    json_integer(json, "batch", row->plan.batch);
    json_bool(json, "copied", row->plan.is_copied != 0);
    json_integer(json, "rows", row->plan.rows);
    json_integer(json, "cols", row->plan.cols);
    json_integer(json, "rank", row->plan.rank);
    json_integer(json, "elems", row->plan.elems);
    json_integer(json, "sent_elems", row->plan.sent_elems);
    json_text(json, "engine", row->plan.rank > 0 ? psgd_engine_name(row->plan.engine) : NULL);
    json_end_object(json);
}

void report_write_plan_json(const plan_report_t *report, FILE *file)
{
    json_t json = {file, 0, true};

    json_begin_object(&json, NULL);
    write_common(&json, report->bench);
    json_integer(&json, "rank", report->rank);
    json_real(&json, "compression_rate", report->compression_rate);
    json_integer(&json, "elems", report->bench->model->elems);
    json_integer(&json, "sent_elems", report->sent_elems);
    json_integer(&json, "payload_bytes", report->payload_bytes);
    json_integer(&json, "device_bytes", report->device_bytes);
    json_begin_array(&json, "plan");
    for (size_t t = 0; t < report->bench->model->count; ++t) {
        write_plan_row(&json, &report->rows[t]);
    }
    json_end_array(&json);
    json_end_object(&json);
}
