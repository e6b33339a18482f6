#include "device.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "devices.h"
#include "floor.h"
#include "gradients.h"
#include "measure_kernels.h"
#include "notice.h"
#include "rounds.h"

enum {
    WARM_UP_STEPS  = 2,
    FLOOR_ROUNDS   = 9,
    LAUNCHES       = 200,
    TRANSFERS      = 32,
    TRANSFER_BYTES = 16 << 20,
    MEMORY_SHARE =
        2,     /* of the device's memory, what is measured may take one part in so many; and of that, so many arrays: */
    ARRAYS = 6 /* the gradients, the error memory, two of the floor, and room */
};

/* What is measured, and with what. */
typedef struct bench {
    const options_t *options;
    const workers_t *workers;
    model_t          model; /* or a part of it */
    psgd_tensor_t   *tensors;
    gpu_t            gpu;
    gradients_t      gradients;
    psgd_comm_t     *self;
} bench_t;

/* ---- a part of the model ---- */

tool_status_t device_part_of(const model_t *model, uint64_t max_elems, model_t *part_p)
{
    bool          has_matrix = false;
    tool_status_t status     = TOOL_OK;

    for (size_t t = 0; t < model->count && status == TOOL_OK; ++t) {
        const model_tensor_t *tensor = &model->tensors[t];

        if (part_p->elems + tensor->elems > max_elems) {
            continue;
        }
        status = model_add(part_p, tensor->name, tensor->num_dims, tensor->dims);
        if (status == TOOL_OK) {
            part_p->tensors[part_p->count - 1].rank = tensor->rank;
            part_p->tensors[part_p->count - 1].view = tensor->view;
            has_matrix                              = has_matrix || tensor->num_dims > 1;
        }
    }
    if (status == TOOL_OK && !has_matrix) {
        return tool_fail(TOOL_FAILED,
                         "no tensor of two dims or more fits into %llu elements, which is what may be measured here; "
                         "describe a device by --device-gbs, or allow more by --measure-elems",
                         (unsigned long long)max_elems);
    }
    return status;
}

static uint64_t most_elems(const options_t *options, const workers_t *workers, const psgd_device_info_t *info)
{
    const uint64_t all = info->global_memory_bytes / MEMORY_SHARE / workers->local_count / ARRAYS / sizeof(float);
    const uint64_t one = info->max_allocation_bytes / sizeof(float);
    const uint64_t fit = one > 0 && one < all ? one : all;

    return options->measure_elems > 0 ? options->measure_elems : fit;
}

/* ---- steps ---- */

static psgd_config_t make_config(const options_t *options, uint32_t rank, bool is_exact)
{
    psgd_config_t config = PSGD_CONFIG_INIT;

    config.rank                 = rank;
    config.engine               = options_engine(options);
    config.gradients_are_finite = options->is_finite;
    config.min_compression_rate = options->min_compression_rate;
    config.exact_phase_times    = is_exact;
    return config;
}

static tool_status_t create_reducer(const bench_t *b, uint32_t rank, bool is_exact, psgd_reducer_t **reducer_p)
{
    const psgd_config_t config = make_config(b->options, rank, is_exact);

    return tool_check(psgd_reducer_create(b->gpu.context, b->gpu.info.device, b->gpu.queue, b->tensors, b->model.count,
                                          &config, b->self, reducer_p),
                      "creating a reducer");
}

static tool_status_t step(const bench_t *b, psgd_reducer_t *reducer)
{
    return tool_check(psgd_reducer_step(reducer, b->gradients.buffers, b->model.count), "a step");
}

/* One step of all workers at once, on fresh gradients. */
static tool_status_t time_step(const bench_t *b, psgd_reducer_t *reducer, uint64_t number, double *seconds_p)
{
    tool_status_t status = gradients_fill(&b->gradients, gradients_key(b->workers->index, number));
    double        begin;

    if (status == TOOL_OK) {
        status = workers_wait(b->workers);
    }
    begin = clock_now();
    if (status == TOOL_OK) {
        status = step(b, reducer);
    }
    *seconds_p = clock_now() - begin;
    return status;
}

/* times[0] is the steps', times[1 + phase] a phase's, `rounds` each. */
static tool_status_t time_steps(const bench_t *b, uint32_t rank, bool is_exact, size_t rounds, double *times)
{
    psgd_reducer_t *reducer = NULL;
    tool_status_t   status  = create_reducer(b, rank, is_exact, &reducer);

    for (size_t i = 0; i < WARM_UP_STEPS + rounds && status == TOOL_OK; ++i) {
        const size_t round = i < WARM_UP_STEPS ? 0 : i - WARM_UP_STEPS;
        psgd_stats_t stats = PSGD_STATS_INIT;

        status = time_step(b, reducer, i, &times[round]);
        if (status == TOOL_OK) {
            status = tool_check(psgd_reducer_get_stats(reducer, &stats), "reading the statistics");
        }
        for (size_t phase = 0; phase < PSGD_NUM_PHASES; ++phase) {
            times[(1 + phase) * rounds + round] = 1e-9 * (double)stats.phase_ns_last[phase];
        }
    }
    psgd_reducer_destroy(reducer);
    return status;
}

local_costs_t device_costs(const double phases_s[PSGD_NUM_PHASES], double step_s)
{
    local_costs_t costs = {.compute_p_s  = phases_s[PSGD_PHASE_COMPUTE_P],
                           .compute_q_s  = phases_s[PSGD_PHASE_COMPUTE_Q],
                           .decompress_s = phases_s[PSGD_PHASE_DECOMPRESS],
                           .ortho_s = phases_s[PSGD_PHASE_ORTHONORMALIZE_Q] + phases_s[PSGD_PHASE_ORTHOGONALIZE_P]};
    const double  sum   = local_sum(&costs);

    /* Draining costs a little: where the phases come to more than a step, each is so much less in it. */
    if (sum > step_s) {
        costs.compute_p_s *= step_s / sum;
        costs.compute_q_s *= step_s / sum;
        costs.decompress_s *= step_s / sum;
        costs.ortho_s *= step_s / sum;
    } else {
        costs.host_s = step_s - sum;
    }
    return costs;
}

/* Both kinds of steps at one rank. */
static tool_status_t measure_rank(const bench_t *b, uint32_t rank, measured_rank_t *measured_p)
{
    const size_t  rounds = b->options->steps;
    double       *times = NULL, phases[PSGD_NUM_PHASES] = {0.0}, step_s = 0.0;
    bucket_list_t list   = {0};
    tool_status_t status = tool_alloc(rounds * (1 + PSGD_NUM_PHASES), sizeof(*times), "the times of steps", &times);

    if (status == TOOL_OK) {
        status = time_steps(b, rank, false, rounds, times);
    }
    if (status == TOOL_OK) {
        status = rounds_slowest_median(b->workers, times, rounds, &step_s);
    }
    if (status == TOOL_OK) {
        status = time_steps(b, rank, true, rounds, times);
    }
    for (size_t phase = 0; phase < PSGD_NUM_PHASES && status == TOOL_OK; ++phase) {
        status = rounds_slowest_median(b->workers, times + (1 + phase) * rounds, rounds, &phases[phase]);
    }
    if (status == TOOL_OK) {
        status = buckets_make(&b->model, rank, b->options->min_compression_rate, 0, &list);
    }
    if (status == TOOL_OK) {
        *measured_p = (measured_rank_t){rank, device_costs(phases, step_s), list.total};
    }
    buckets_free(&list);
    free(times);
    return status;
}

/* ---- moves, launches, transfers ---- */

static tool_status_t measure_moves(const bench_t *b, double *gbs_p)
{
    const floor_form_t form = b->options->is_finite ? FLOOR_LAZY : FLOOR_TRANSACTIONAL;
    floor_t            floor;
    double             times[FLOOR_ROUNDS], seconds = 0.0;
    tool_status_t      status = floor_create(&b->gpu, form, b->model.elems, &floor);

    if (status == TOOL_OK) {
        status = floor_check(&floor);
    }
    for (size_t i = 0; i < FLOOR_ROUNDS && status == TOOL_OK; ++i) {
        double begin;

        status   = workers_wait(b->workers);
        begin    = clock_now();
        status   = status == TOOL_OK ? floor_run(&floor) : status;
        times[i] = clock_now() - begin;
    }
    floor_destroy(&floor);
    if (status == TOOL_OK) {
        status = rounds_slowest_median(b->workers, times, FLOOR_ROUNDS, &seconds);
    }
    if (status == TOOL_OK) {
        *gbs_p = 1e-9 * (double)form * sizeof(float) * (double)b->model.elems / seconds;
    }
    return status;
}

/* One element at a time, one launch behind the other. */
static tool_status_t measure_launches(const bench_t *b, double *us_p)
{
    const cl_uint  key    = 1;
    const cl_ulong first  = 0;
    double         begin  = clock_now(), seconds;
    tool_status_t  status = TOOL_OK;

    for (int i = 0; i < LAUNCHES && status == TOOL_OK; ++i) {
        status = GPU_LAUNCH(&b->gpu, MEASURE_KERNEL_FILL_GRADIENTS, 1, GPU_ARG(key), GPU_ARG(first),
                            GPU_ARG(b->gradients.mems[0]));
    }
    if (status == TOOL_OK) {
        status = gpu_wait(&b->gpu);
    }
    seconds = clock_now() - begin;
    if (status == TOOL_OK) {
        status = workers_max(b->workers, &seconds, 1);
    }
    if (status == TOOL_OK) {
        *us_p = 1e6 * seconds / LAUNCHES;
    }
    return status;
}

/* The median of transfers of so many bytes there, and back. */
static tool_status_t time_transfers(const bench_t *b, void *host, size_t bytes, double *seconds_p)
{
    double        times[TRANSFERS];
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < TRANSFERS && status == TOOL_OK; ++i) {
        const double begin = clock_now();

        status = gpu_write(&b->gpu, b->gradients.mems[0], host, bytes);
        if (status == TOOL_OK) {
            status = gpu_read(&b->gpu, b->gradients.mems[0], host, bytes);
        }
        times[i] = 0.5 * (clock_now() - begin);
    }
    return status == TOOL_OK ? rounds_slowest_median(b->workers, times, TRANSFERS, seconds_p) : status;
}

static tool_status_t measure_staging(const bench_t *b, double *gbs_p, double *latency_us_p)
{
    const size_t  all     = (size_t)gradients_mem_elems(&b->gradients, 0) * sizeof(float);
    const size_t  bytes   = all < TRANSFER_BYTES ? all : TRANSFER_BYTES;
    double        short_s = 0.0, long_s = 0.0;
    void         *host   = NULL;
    tool_status_t status = tool_alloc(bytes, 1, "transfers", &host);

    if (status == TOOL_OK) {
        status = time_transfers(b, host, sizeof(float), &short_s);
    }
    if (status == TOOL_OK) {
        status = time_transfers(b, host, bytes, &long_s);
    }
    if (status == TOOL_OK) {
        *latency_us_p = 1e6 * short_s;
        *gbs_p        = 1e-9 * (double)bytes / (long_s > 2.0 * short_s ? long_s - short_s : 0.5 * long_s);
    }
    free(host);
    return status;
}

/* ---- all of it ---- */

/* Every kernel that is timed later is compiled here. */
static tool_status_t rehearse(const bench_t *b)
{
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < b->options->num_ranks && status == TOOL_OK; ++i) {
        psgd_reducer_t *reducer = NULL;

        status = create_reducer(b, b->options->ranks[i], false, &reducer);
        if (status == TOOL_OK) {
            status = gradients_fill(&b->gradients, gradients_key(b->workers->index, 0));
        }
        if (status == TOOL_OK) {
            status = step(b, reducer);
        }
        psgd_reducer_destroy(reducer);
    }
    return status;
}

static tool_status_t build(bench_t *b, const model_t *model, const psgd_device_info_t *info)
{
    tool_status_t status = device_part_of(model, most_elems(b->options, b->workers, info), &b->model);

    if (status == TOOL_OK) {
        status = model_make_tensors(&b->model, PSGD_F32, &b->tensors);
    }
    if (status == TOOL_OK) {
        status = gpu_open(info, &measure_program, &b->gpu);
    }
    if (status == TOOL_OK) {
        status = gradients_create(&b->gpu, &b->model, PSGD_F32, true, &b->gradients);
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_comm_self_create(&b->self), "a communicator of one worker");
    }
    return status == TOOL_OK ? rehearse(b) : status;
}

/* In two turns: one worker for each kind of device goes first, and the others find what it left in the driver's cache. */
static tool_status_t build_in_turns(bench_t *b, const model_t *model, const psgd_device_info_t *info)
{
    bool          leads  = false;
    tool_status_t status = workers_agree(b->workers, workers_lead(b->workers, devices_hash(info), &leads));

    for (int turn = 0; turn < 2 && status == TOOL_OK; ++turn) {
        if (leads == (turn == 0)) {
            status = build(b, model, info);
        }
        status = workers_agree(b->workers, status);
    }
    return status;
}

static void destroy(bench_t *b)
{
    psgd_comm_destroy(b->self);
    gradients_destroy(&b->gradients);
    gpu_close(&b->gpu);
    free(b->tensors);
    model_free(&b->model);
}

static tool_status_t measure(const bench_t *b, calibration_t *calibration)
{
    tool_status_t status = measure_moves(b, &calibration->device_gbs);

    if (status == TOOL_OK) {
        status = measure_launches(b, &calibration->launch_us);
    }
    if (status == TOOL_OK) {
        status = measure_staging(b, &calibration->staging_gbs, &calibration->staging_latency_us);
    }
    for (size_t i = 0; i < b->options->num_ranks && status == TOOL_OK; ++i) {
        status                 = measure_rank(b, b->options->ranks[i], &calibration->ranks[i]);
        calibration->num_ranks = i + 1;
    }
    return status;
}

tool_status_t device_measure(const options_t *options, const workers_t *workers, const model_t *model,
                             calibration_t *calibration)
{
    static bench_t     bench; /* its parts point to each other */
    psgd_device_info_t info   = PSGD_DEVICE_INFO_INIT;
    notice_t          *notice = NULL;
    tool_status_t      status = workers_agree(workers, devices_choose(options->device, workers, &info));

    if (status != TOOL_OK) {
        return status;
    }
    bench = (bench_t){.options = options, .workers = workers};
    if (workers_is_speaker(workers)) {
        notice = notice_begin(
            4.0, "psgd-advise: compiling kernels; the driver keeps them, so this takes long in the first run only");
    }
    status = build_in_turns(&bench, model, &info);
    notice_end(notice);
    if (status == TOOL_OK) {
        status = measure(&bench, calibration);
        if (status != TOOL_OK) {
            workers_give_up(workers, status);
        }
    }
    if (status == TOOL_OK) {
        calibration->has_device    = true;
        calibration->is_finite     = options->is_finite;
        calibration->shares_memory = info.has_unified_memory != 0;
        snprintf(calibration->device, sizeof(calibration->device), "%s", info.name);
    }
    destroy(&bench);
    return status;
}
