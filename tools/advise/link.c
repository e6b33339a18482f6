#include "link.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <mpi.h>

#include "clock.h"
#include "rounds.h"

enum {
    HOST_ELEMS    = 4 << 20,
    HOST_ROUNDS   = 9,
    MOST_ROUNDS   = 200,
    LEAST_ROUNDS  = 3,
    SMALLEST_LAST = 1 << 20, /* elements of the largest message, at least and at most */
    GREATEST_LAST = 1 << 27
};

static const double ENOUGH_SECONDS = 0.4; /* of one size */
static const double MOST_SECONDS   = 4.0; /* that one all-reduce may be expected to take */

/* ---- the host's part ---- */

/* One round of each; sums of floats as MPI makes them. */
static void time_host(float *to, float *from, double *copy_s, double *sum_s)
{
    double begin = clock_now(), middle;

    memcpy(to, from, (size_t)HOST_ELEMS * sizeof(float));
    middle = clock_now();
    MPI_Reduce_local(from, to, HOST_ELEMS, MPI_FLOAT, MPI_SUM);
    *copy_s = middle - begin;
    *sum_s  = clock_now() - middle;
}

/* A byte that is sent is copied once by its sender and once by its receiver, and half of what is received is added up. */
static double host_gbs_of(double copy_s, double sum_s)
{
    return 1e-9 * (double)HOST_ELEMS * sizeof(float) / (2.0 * copy_s + 0.5 * sum_s);
}

tool_status_t link_measure_host(const workers_t *workers, calibration_t *calibration)
{
    double        copies[HOST_ROUNDS], sums[HOST_ROUNDS], copy_s = 0.0, sum_s = 0.0;
    float        *from = NULL, *to = NULL;
    tool_status_t status = tool_alloc(HOST_ELEMS, sizeof(*from), "messages", &from);

    if (status == TOOL_OK) {
        status = tool_alloc(HOST_ELEMS, sizeof(*to), "messages", &to);
    }
    status = workers_agree(workers, status);
    for (int i = 0; i < HOST_ROUNDS + 1 && status == TOOL_OK; ++i) { /* the first touches the memory */
        status = workers_wait(workers);
        time_host(to, from, &copies[i > 0 ? i - 1 : 0], &sums[i > 0 ? i - 1 : 0]);
    }
    if (status == TOOL_OK) {
        status = rounds_slowest_median(workers, copies, HOST_ROUNDS, &copy_s);
    }
    if (status == TOOL_OK) {
        status = rounds_slowest_median(workers, sums, HOST_ROUNDS, &sum_s);
    }
    if (status == TOOL_OK) {
        calibration->host_gbs = host_gbs_of(copy_s, sum_s);
    }
    free(from);
    free(to);
    return status;
}

/* ---- the wire's ---- */

void link_fit(const link_sample_t *samples, size_t count, uint32_t workers, bool in_memory, double host_gbs,
              network_t *network_p)
{
    /* What messages cost is linear in latency and in bytes: two questions give the factors of the fastest algorithm. */
    const network_t per_round = {.latency_s = 1.0}, per_byte = {.wire_s_per_byte = 1.0};
    const double    host    = 1e-9 / host_gbs;
    network_t       network = {.latency_s = samples[0].seconds / predict_all_reduce(&per_round, workers, 1.0, NULL)};
    cost_curve_t   *curve   = in_memory ? &network.host : &network.wire;

    for (size_t i = 1; i < count && curve->count < PREDICT_MAX_POINTS; ++i) {
        const double cost =
            (samples[i].seconds - samples[0].seconds) / predict_all_reduce(&per_byte, workers, samples[i].bytes, NULL);

        curve->points[curve->count++] = (cost_point_t){samples[i].bytes, fmax(cost - (in_memory ? 0.0 : host), 0.0)};
    }
    network.host_s_per_byte = in_memory ? curve->points[curve->count - 1].s_per_byte : host;
    network.wire_s_per_byte = in_memory ? 0.0 : curve->points[curve->count - 1].s_per_byte;
    *network_p              = network;
}

/* Other numbers in each round, as a step has them, so that no round finds the ones before in a cache. */
static void fill(float *values, size_t elems, int round)
{
    for (size_t i = 0; i < elems; ++i) {
        values[i] = (float)(i % 1024) + (float)round;
    }
}

/* The median of several all-reduces; of the shortest message the least, since what is waited for beyond that is not the link's. All
 * workers make as many: worker 0's clock decides. */
static tool_status_t time_size(const workers_t *workers, float *values, size_t elems, double *seconds_p)
{
    double        times[MOST_ROUNDS] = {0.0};
    double        begin = clock_now(), goes_on = 1.0;
    int           rounds = 0;
    tool_status_t status = TOOL_OK;

    while (status == TOOL_OK && goes_on > 0.0) {
        double at;

        fill(values, elems, rounds);
        status = workers_wait(workers);
        at     = clock_now();
        if (status == TOOL_OK) {
            status = workers_sum_floats(workers, values, elems);
        }
        times[rounds++] = clock_now() - at;
        goes_on         = workers_is_speaker(workers) && rounds < MOST_ROUNDS &&
                          (rounds < LEAST_ROUNDS || clock_now() - begin < ENOUGH_SECONDS)
                              ? 1.0
                              : 0.0;
        if (status == TOOL_OK) {
            status = workers_max(workers, &goes_on, 1);
        }
    }
    if (status == TOOL_OK) {
        status = rounds_slowest_median(workers, times, (size_t)rounds, seconds_p);
    }
    if (status == TOOL_OK && elems == 1) {
        *seconds_p = times[0];
    }
    return status;
}

/* 1, then 16 Ki elements and always four times as many, and last the model. */
static size_t next_size(size_t elems, size_t most)
{
    const size_t next = elems < 4096 ? 4096 : 4 * elems;

    return elems < most && next > most ? most : next;
}

static tool_status_t time_sizes(const workers_t *workers, float *values, size_t most, link_sample_t *samples,
                                size_t *count_p)
{
    tool_status_t status   = TOOL_OK;
    double        expected = 0.0;

    *count_p = 0;
    for (size_t elems = 1; elems <= most && expected < MOST_SECONDS && status == TOOL_OK;
         elems        = next_size(elems, most)) {
        double seconds = 0.0;

        status = time_size(workers, values, elems, &seconds);
        if (status == TOOL_OK) {
            samples[(*count_p)++] = (link_sample_t){(double)(elems * sizeof(*values)), seconds};
        }
        expected = seconds * (double)next_size(elems, most) / (double)elems * (elems > 4096);
        if (*count_p == PREDICT_MAX_POINTS + 1) {
            break;
        }
    }
    return status;
}

static size_t largest(uint64_t model_elems)
{
    const uint64_t most = model_elems < GREATEST_LAST ? model_elems : GREATEST_LAST;

    return most > SMALLEST_LAST ? (size_t)most : (size_t)SMALLEST_LAST;
}

tool_status_t link_measure(const workers_t *workers, uint64_t model_elems, calibration_t *calibration)
{
    link_sample_t samples[PREDICT_MAX_POINTS + 1] = {{0.0, 0.0}};
    size_t        count = 0, most = largest(model_elems);
    float        *values = NULL;
    tool_status_t status;

    if (workers->count < 2) {
        return tool_fail(TOOL_USAGE,
                         "one worker has no link to measure: run it by mpiexec -n 2 or more, or say what there is by "
                         "--link-gbps or --in-memory");
    }
    status = workers_agree(workers, tool_alloc(most, sizeof(*values), "the messages", &values));
    if (status == TOOL_OK) {
        status = time_sizes(workers, values, most, samples, &count);
    }
    if (status == TOOL_OK) {
        calibration->in_memory = workers->local_count == workers->count;
        calibration->has_link  = true;
        link_fit(samples, count, workers->count, calibration->in_memory, calibration->host_gbs, &calibration->network);
    }
    free(values);
    return status;
}
