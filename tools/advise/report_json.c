#include <math.h>

#include "json.h"
#include "report.h"

static void write_known(json_t *json, const advice_t *a)
{
    const calibration_t *c = a->calibration;

    json_begin_object(json, "device");
    json_text(json, "source", source_name(a->device_source));
    json_text(json, "name", a->device_source == SOURCE_GIVEN ? NULL : c->device);
    json_integer(json, "measured_at_once", a->device_source == SOURCE_GIVEN ? 0 : c->workers);
    json_real(json, "gbs", 1e-9 * a->device.bytes_per_s);
    json_real(json, "gflops", a->device_source == SOURCE_GIVEN ? 1e-9 * a->device.flops_per_s : (double)NAN);
    json_real(json, "launch_us", 1e6 * a->device.launch_s);
    json_bool(json, "shares_memory", a->shares_memory);
    json_text(json, "staging_source", source_name(a->staging_source));
    json_real(json, "staging_gbs", 1e-9 * a->device.staging_bytes_per_s);
    json_real(json, "staging_latency_us", 1e6 * a->device.staging_latency_s);
    json_end_object(json);
    json_begin_object(json, "link");
    json_text(json, "source", source_name(a->link_source));
    json_real(json, "gbps", advice_gbps(a)); /* null: memory */
    json_text(json, "latency_source", source_name(a->latency_source));
    json_real(json, "latency_us", 1e6 * a->network.latency_s);
    json_text(json, "host_source", source_name(a->host_source));
    json_real(json, "host_gbs", advice_host_gbs(a));
    json_end_object(json);
}

static void write_break_even(json_t *json, const advice_t *a, size_t index)
{
    const double gbps = advice_break_even(a, a->workers, index);

    json_text(json, "pays", isinf(gbps) ? "always" : gbps > 0.0 ? "below" : "never");
    json_real(json, "break_even_gbps", gbps > 0.0 ? gbps : (double)NAN);
}

static void write_rank(json_t *json, const advice_t *a, size_t index)
{
    const rank_advice_t *r = &a->ranks[index];
    const traffic_t     *t = &r->whole.total;

    json_begin_object(json, NULL);
    json_integer(json, "rank", r->rank);
    json_integer(json, "compressed_tensors", t->num_compressed);
    json_integer(json, "matrix_elems", t->matrix_elems);
    json_integer(json, "sent_elems", traffic_sent_elems(t));
    json_integer(json, "large_elems", t->large_elems);
    json_real(json, "compression_rate", traffic_compression_rate(t));
    json_real(json, "reducer_bytes", traffic_reducer_bytes(t));
    json_integer(json, "buckets", r->buckets.count);
    json_real(json, "local_ms", 1e3 * local_sum(&r->local));
    json_real(json, "compute_p_ms", 1e3 * r->local.compute_p_s);
    json_real(json, "compute_q_ms", 1e3 * r->local.compute_q_s);
    json_real(json, "decompress_ms", 1e3 * r->local.decompress_s);
    json_real(json, "ortho_ms", 1e3 * r->local.ortho_s);
    json_real(json, "rest_ms", 1e3 * r->local.host_s);
    write_break_even(json, a, index);
    json_end_object(json);
}

static void write_prediction(json_t *json, const advice_t *a, uint32_t workers)
{
    const prediction_t p = advice_predict(a, workers);

    json_begin_object(json, NULL);
    json_integer(json, "workers", workers);
    json_real(json, "plain_allreduce_ms", 1e3 * p.all_reduce_s);
    json_text(json, "algorithm", algorithm_name(p.algorithm));
    json_real(json, "plain_copy_ms", 1e3 * a->copies_s);
    json_real(json, "plain_exposed_ms", 1e3 * p.plain_s);
    json_begin_array(json, "ranks");
    for (size_t i = 0; i < a->num_ranks; ++i) {
        const rank_prediction_t r = advice_predict_rank(a, workers, i);

        json_begin_object(json, NULL);
        json_integer(json, "rank", a->ranks[i].rank);
        json_real(json, "messages_ms", 1e3 * r.messages_s);
        json_real(json, "step_ms", 1e3 * r.step_s);
        json_real(json, "exposed_ms", 1e3 * r.exposed_s);
        json_real(json, "speedup", r.speedup);
        json_end_object(json);
    }
    json_end_array(json);
    json_end_object(json);
}

void report_write_json(const void *user, FILE *file)
{
    const advice_t  *a = user;
    const options_t *o = a->options;
    uint32_t         sizes[ADVICE_MAX_SIZES];
    size_t           count;
    json_t           json = {file, 0, true};

    json_begin_object(&json, NULL);
    json_integer(&json, "schema", 1);
    json_text(&json, "version", psgd_version_string());
    json_text(&json, "model", o->model);
    json_integer(&json, "parameters", a->model->elems);
    json_integer(&json, "tensors", a->model->count);
    json_bool(&json, "finite", o->is_finite);
    json_real(&json, "min_compression_rate", o->min_compression_rate);
    json_real(&json, "backward_ms", o->backward_ms);
    json_integer(&json, "bucket_kb", o->backward_ms > 0.0 ? o->bucket_kb : 0);
    json_text(&json, "plain", options_plain_word(o));
    write_known(&json, a);
    json_begin_array(&json, "ranks");
    for (size_t i = 0; i < a->num_ranks; ++i) {
        write_rank(&json, a, i);
    }
    json_end_array(&json);
    json_begin_array(&json, "predictions");
    advice_sizes(a, sizes, &count);
    for (size_t w = 0; w < count; ++w) {
        write_prediction(&json, a, sizes[w]);
    }
    json_end_array(&json);
    json_begin_object(&json, "advice");
    json_integer(&json, "workers", a->workers);
    json_bool(&json, "compress", a->compresses);
    if (a->compresses) {
        json_integer(&json, "rank", a->ranks[a->chosen].rank);
    } else {
        json_null(&json, "rank");
    }
    json_real(&json, "speedup", advice_predict_rank(a, a->workers, a->chosen).speedup);
    json_text(&json, "sentence", a->sentence);
    json_end_object(&json);
    json_end_object(&json);
}
