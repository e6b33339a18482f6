#include "predict.h"

#include <math.h>
#include <string.h>

enum {
    VOTE_BYTES          = 4 * 67,  /* that travel with each message */
    VOTE_BYTES_MANY     = 4 * 115, /* the same, in smaller pieces, for more workers than: */
    VOTE_WORKERS        = 258,
    LAUNCHES            = 8, /* of a step, outside orthogonalization (docs/performance.md) */
    BREAK_EVEN_HALVINGS = 200
};

static const double LEAST_GBPS = 1e-6, MOST_GBPS = 1e6;

/* ---- one message ---- */

const char *algorithm_name(algorithm_t algorithm)
{
    static const char *const names[] = {"none", "doubling", "tree", "ring"};

    return names[algorithm];
}

network_t network_with_gbps(const network_t *network, double gbps)
{
    network_t other = *network;

    other.wire_s_per_byte = 8e-9 / gbps;
    other.wire.count      = 0;
    return other;
}

/* Between two points by the logarithm of the size; beyond the first and the last as there. */
static double curve_at(const cost_curve_t *curve, double constant, double bytes)
{
    const cost_point_t *points = curve->points;
    size_t              above  = 0;

    if (curve->count == 0) {
        return constant;
    }
    while (above < curve->count && points[above].bytes < bytes) {
        ++above;
    }
    if (above == 0 || above == curve->count) {
        return points[above == 0 ? 0 : above - 1].s_per_byte;
    }
    return points[above - 1].s_per_byte + (points[above].s_per_byte - points[above - 1].s_per_byte) *
                                              log(bytes / points[above - 1].bytes) /
                                              log(points[above].bytes / points[above - 1].bytes);
}

double network_wire_s_per_byte(const network_t *network, double bytes)
{
    return curve_at(&network->wire, network->wire_s_per_byte, bytes);
}

double network_host_s_per_byte(const network_t *network, double bytes)
{
    return curve_at(&network->host, network->host_s_per_byte, bytes);
}

double predict_all_reduce(const network_t *network, uint32_t workers, double bytes, algorithm_t *which_p)
{
    const double a = network->latency_s, w = workers;
    const double nb     = bytes * (network_wire_s_per_byte(network, bytes) + network_host_s_per_byte(network, bytes));
    const double parts  = 2.0 * (w - 1.0) / w * nb; /* all parts but one, out and back */
    double       rounds = 0.0, fold, times[4], best;
    algorithm_t  which  = ALGORITHM_NONE;

    while (ldexp(2.0, (int)rounds) <= w) {
        rounds += 1.0;
    }
    fold                      = ldexp(1.0, (int)rounds) < w ? 2.0 * (a + nb) : 0.0;
    times[ALGORITHM_NONE]     = 0.0;
    times[ALGORITHM_DOUBLING] = rounds * (a + nb) + fold;
    times[ALGORITHM_TREE] =
        2.0 * rounds * a + 2.0 * (ldexp(1.0, (int)rounds) - 1.0) / ldexp(1.0, (int)rounds) * nb + fold;
    times[ALGORITHM_RING] = 2.0 * (w - 1.0) * a + parts;
    if (workers > 1 && bytes > 0.0) {
        which = ALGORITHM_DOUBLING;
        which = times[ALGORITHM_TREE] < times[which] ? ALGORITHM_TREE : which;
        which = times[ALGORITHM_RING] < times[which] ? ALGORITHM_RING : which;
    }
    best = times[which];
    if (which_p != NULL) {
        *which_p = which;
    }
    return best;
}

double predict_message_bytes(uint64_t elems, uint32_t workers)
{
    return 4.0 * (double)elems + (workers <= VOTE_WORKERS ? VOTE_BYTES : VOTE_BYTES_MANY);
}

/* ---- what a worker does for itself ---- */

double local_sum(const local_costs_t *local)
{
    return local->compute_p_s + local->compute_q_s + local->decompress_s + local->ortho_s + local->host_s;
}

static double ratio(double above, double below)
{
    return below > 0.0 ? above / below : 0.0;
}

local_costs_t local_scale(const local_costs_t *local, const traffic_t *from, const traffic_t *to)
{
    const double passes  = ratio((double)to->matrix_elems, (double)from->matrix_elems);
    const double factors = ratio((double)(to->p_elems + to->q_elems), (double)(from->p_elems + from->q_elems));
    const double sent    = ratio((double)traffic_sent_elems(to), (double)traffic_sent_elems(from));

    return (local_costs_t){.compute_p_s  = passes * local->compute_p_s,
                           .compute_q_s  = passes * local->compute_q_s,
                           .decompress_s = passes * local->decompress_s,
                           .ortho_s      = factors * local->ortho_s,
                           .host_s       = sent * local->host_s};
}

/* A pass that moves so many floats and computes so much. */
static double pass(const device_rates_t *device, double floats, double flops)
{
    return fmax(4.0 * floats / device->bytes_per_s, flops / device->flops_per_s);
}

local_costs_t predict_local(const device_rates_t *device, const traffic_t *traffic, uint32_t rank, bool is_finite)
{
    const double  n = (double)traffic->matrix_elems, r = rank, factors = (double)(traffic->p_elems + traffic->q_elems);
    const double  staged    = 4.0 * 2.0 * (factors + (double)traffic->small_elems + (double)traffic->large_elems);
    const double  transfers = 4.0 + (traffic->large_elems > 0 ? 2.0 : 0.0);
    local_costs_t local     = {.host_s = transfers * device->staging_latency_s + staged / device->staging_bytes_per_s};

    if (traffic->matrix_elems == 0) {
        return local;
    }
    /* The lazy form takes the error off the old M on the way; the other one makes it in decompress. */
    local.compute_p_s  = pass(device, 3.0 * n, (is_finite ? 4.0 : 2.0) * n * r);
    local.compute_q_s  = pass(device, n, 2.0 * n * r);
    local.decompress_s = pass(device, is_finite ? n : 3.0 * n, (is_finite ? 2.0 : 4.0) * n * r);
    local.ortho_s      = 2.0 * (3.0 * r + 2.0) * device->launch_s + 4.0 * r * factors / device->flops_per_s;
    local.host_s += LAUNCHES * device->launch_s;
    return local;
}

double predict_copies(const device_rates_t *device, const traffic_t *traffic, bool shares_memory)
{
    return shares_memory
               ? 0.0
               : 2.0 * (device->staging_latency_s + 4.0 * (double)traffic->elems / device->staging_bytes_per_s);
}

/* ---- a step ---- */

static double send(const scenario_t *s, uint64_t elems)
{
    return predict_all_reduce(&s->network, s->workers, predict_message_bytes(elems, s->workers), NULL);
}

static double send_large(const scenario_t *s, const traffic_t *bucket)
{
    return bucket->large_elems > 0 ? send(s, bucket->large_elems) : 0.0;
}

static double send_p(const scenario_t *s, const traffic_t *bucket)
{
    return send(s, bucket->p_elems + bucket->small_elems);
}

static double send_q(const scenario_t *s, const traffic_t *bucket)
{
    return send(s, bucket->q_elems);
}

double predict_messages(const scenario_t *s)
{
    double sum = 0.0;

    for (size_t i = 0; i < s->buckets->count; ++i) {
        const traffic_t *bucket = &s->buckets->buckets[i];

        sum += send_large(s, bucket) + send_p(s, bucket) + send_q(s, bucket);
    }
    return sum;
}

/* The share of a bucket in what goes by elements. */
static double share(const scenario_t *s, size_t bucket)
{
    return ratio((double)s->buckets->buckets[bucket].elems, (double)s->buckets->total.elems);
}

network_t predict_plain_network(const scenario_t *s)
{
    network_t network = s->network;

    if (s->plain_is_direct) {
        network.host_s_per_byte = 0.0;
        network.host.count      = 0;
    }
    return network;
}

double predict_plain(const scenario_t *s, double copies_s)
{
    const network_t network  = predict_plain_network(s);
    double          computed = 0.0, sent = 0.0;

    if (s->workers < 2) {
        return 0.0;
    }
    for (size_t i = 0; i < s->buckets->count; ++i) {
        computed += share(s, i) * s->backward_s;
        sent = fmax(sent, computed) + share(s, i) * copies_s +
               predict_all_reduce(&network, s->workers, 4.0 * (double)s->buckets->buckets[i].elems, NULL);
    }
    return sent - s->backward_s;
}

/* The two things that are busy, and until when. */
typedef struct timeline {
    const scenario_t    *s;
    const local_costs_t *local;
    double               device, network;
    size_t               next_q; /* the first bucket whose Q is to be computed */
    double               last_q; /* when the last Q had arrived */
} timeline_t;

static double passes_share(const timeline_t *t, size_t bucket)
{
    return ratio((double)t->s->buckets->buckets[bucket].matrix_elems, (double)t->s->buckets->total.matrix_elems);
}

/* What each bucket has of orthogonalizing and of the host's work, for one of its two messages. */
static double half_of_rest(const timeline_t *t, size_t bucket)
{
    const traffic_t *b = &t->s->buckets->buckets[bucket], *all = &t->s->buckets->total;

    return 0.5 * (t->local->ortho_s * ratio((double)(b->p_elems + b->q_elems), (double)(all->p_elems + all->q_elems)) +
                  t->local->host_s * ratio((double)traffic_sent_elems(b), (double)traffic_sent_elems(all)));
}

static void compute_p(timeline_t *t, size_t bucket, double *arrives)
{
    t->device += t->local->compute_p_s * passes_share(t, bucket) + half_of_rest(t, bucket);
    t->network = fmax(t->network, t->device) + send_large(t->s, &t->s->buckets->buckets[bucket]) +
                 send_p(t->s, &t->s->buckets->buckets[bucket]);
    *arrives = t->network;
}

static void compute_q(timeline_t *t, size_t bucket, double arrived)
{
    t->device  = fmax(t->device, arrived) + t->local->compute_q_s * passes_share(t, bucket) + half_of_rest(t, bucket);
    t->network = fmax(t->network, t->device) + send_q(t->s, &t->s->buckets->buckets[bucket]);
    t->last_q  = t->network;
}

double predict_step(const scenario_t *s, const local_costs_t *local)
{
    enum { MOST = 4096 }; /* buckets whose arrival is remembered; later ones wait for the last of them */
    timeline_t t = {s, local, 0.0, 0.0, 0, 0.0};
    double     arrivals[MOST];

    for (size_t i = 0; i < s->buckets->count; ++i) {
        t.device += share(s, i) * s->backward_s;
        compute_p(&t, i, &arrivals[i % MOST]);
        while (t.next_q <= i && (arrivals[t.next_q % MOST] <= t.device || i - t.next_q + 1 == MOST)) {
            compute_q(&t, t.next_q, arrivals[t.next_q % MOST]);
            t.next_q += 1;
        }
    }
    for (; t.next_q < s->buckets->count; t.next_q += 1) {
        compute_q(&t, t.next_q, arrivals[t.next_q % MOST]);
    }
    return fmax(t.device, t.last_q) + local->decompress_s - s->backward_s;
}

double predict_break_even(const scenario_t *scenario, const local_costs_t *local, double copies_s)
{
    scenario_t s   = *scenario;
    double     low = LEAST_GBPS, high = MOST_GBPS;

    for (int i = 0; i < BREAK_EVEN_HALVINGS + 2; ++i) {
        /* First both ends, then the middle of the logarithms. */
        const double gbps = i == 0 ? high : i == 1 ? low : sqrt(low * high);
        bool         pays;

        s.network = network_with_gbps(&scenario->network, gbps);
        pays      = predict_step(&s, local) < predict_plain(&s, copies_s);
        if (i == 0 && pays) {
            return (double)INFINITY;
        }
        if (i == 1 && !pays) {
            return 0.0;
        }
        if (i > 1 && pays) {
            low = gbps;
        } else if (i > 1) {
            high = gbps;
        }
    }
    return sqrt(low * high);
}
