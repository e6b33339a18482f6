#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "compare.h"
#include "random.h"

enum { NUM_STEPS = 2 };

/* Keys of what is not a gradient, beyond all steps. */
#define FACTOR_STEP UINT64_MAX

/* What this worker holds while it checks. */
typedef struct check {
    const bench_t  *bench;
    uint32_t        rank;
    psgd_reducer_t *reducer;
    float          *updates[NUM_STEPS];     /* extent elements each */
    float          *grads;                  /* extent elements: what the device was given */
    psgd_state_t   *factors[NUM_STEPS + 1]; /* Q before the first step, and behind each */
} check_t;

/* ---- the steps ---- */

static tool_status_t allocate(check_t *check)
{
    uint64_t      extent = check->bench->gradients.extent;
    tool_status_t status = tool_alloc(extent, sizeof(float), "the gradients on the host", &check->grads);

    for (int step = 0; step < NUM_STEPS && status == TOOL_OK; ++step) {
        status = tool_alloc(extent, sizeof(float), "the updates on the host", &check->updates[step]);
    }
    return status;
}

/* The length of the factor that the step after `steps` others starts from. */
static uint64_t factor_length(const check_t *check, const psgd_tensor_plan_t *plan, int steps)
{
    uint32_t half_iterations = check->bench->options->half_iterations;
    bool     is_p            = half_iterations > 0 && (uint32_t)steps * half_iterations % 2 == 0;

    return is_p ? plan->rows : plan->cols;
}

/* A random Q of tensor t, cols x rank; with half-iterations a P. */
static tool_status_t set_factor(check_t *check, size_t t, const psgd_tensor_plan_t *plan)
{
    const char   *name   = check->bench->model->tensors[t].name;
    uint64_t      length = factor_length(check, plan, 0);
    size_t        elems  = (size_t)length * plan->rank;
    uint32_t      key    = gradients_key((uint32_t)t, FACTOR_STEP);
    float        *q      = NULL;
    tool_status_t status = tool_alloc(elems, sizeof(*q), "a first Q", &q);

    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < elems; ++i) {
        q[i] = gradients_value(key, i);
    }
    status = tool_check(psgd_state_set_factor(check->factors[0], name, length, plan->rank, q), "setting a first Q");
    free(q);
    return status;
}

static tool_status_t import_factors(check_t *check)
{
    tool_status_t status = tool_check(psgd_state_create(&check->factors[0]), "creating a state");

    for (size_t t = 0; t < check->bench->model->count && status == TOOL_OK; ++t) {
        psgd_tensor_plan_t plan;

        status = bench_tensor_plan(check->reducer, t, &plan);
        if (status == TOOL_OK && plan.rank > 0) {
            status = set_factor(check, t, &plan);
        }
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_import_state(check->reducer, check->factors[0]), "importing the first Q");
    }
    return status;
}

/* Fresh gradients on the device, and whether they are what the host takes them for. */
static tool_status_t fill(check_t *check, int step)
{
    const gradients_t *gradients = &check->bench->gradients;
    uint32_t           key       = gradients_key(check->bench->workers->index, (uint64_t)step);
    tool_status_t      status    = gradients_fill(gradients, key);

    if (status == TOOL_OK) {
        status = gradients_read(gradients, check->grads);
    }
    for (size_t t = 0; t < gradients->model->count && status == TOOL_OK; ++t) {
        for (uint64_t i = gradients->offsets[t]; i < gradients->offsets[t] + gradients->model->tensors[t].elems; ++i) {
            if (check->grads[i] != gradients_value(key, i)) {
                return tool_fail(TOOL_WRONG, "the device's gradient of %s is not the host's: %g in place of %g",
                                 gradients->model->tensors[t].name, (double)check->grads[i],
                                 (double)gradients_value(key, i));
            }
        }
    }
    return status;
}

/* The tensor that --break-check damages: the first that is compressed, or that is not; the number of tensors where
 * there is none. */
static size_t damaged_tensor(const check_t *check, bool is_compressed)
{
    for (size_t t = 0; t < check->bench->model->count; ++t) {
        psgd_tensor_plan_t plan;

        if (bench_tensor_plan(check->reducer, t, &plan) == TOOL_OK && (plan.rank > 0) == is_compressed) {
            return t;
        }
    }
    return check->bench->model->count;
}

static tool_status_t damage(const check_t *check)
{
    const bench_t *bench = check->bench;
    size_t         t     = damaged_tensor(check, bench->options->damage != DAMAGE_PLAIN);
    float          value = 0.0f;
    cl_int         result;

    if (bench->options->damage == DAMAGE_NONE || t == bench->model->count ||
        (bench->options->damage == DAMAGE_WORKER && bench->workers->index + 1 < bench->workers->count)) {
        return TOOL_OK;
    }
    result = clEnqueueReadBuffer(bench->gpu.queue, bench->gradients.buffers[t].mem, CL_TRUE,
                                 bench->gradients.buffers[t].offset_bytes, sizeof(value), &value, 0, NULL, NULL);
    value += 0.001f;
    if (result == CL_SUCCESS) {
        result = clEnqueueWriteBuffer(bench->gpu.queue, bench->gradients.buffers[t].mem, CL_TRUE,
                                      bench->gradients.buffers[t].offset_bytes, sizeof(value), &value, 0, NULL, NULL);
    }
    return gpu_check(&bench->gpu, result, "clEnqueueWriteBuffer");
}

/* Keeps the update and the Q that the step has left. */
static tool_status_t keep(check_t *check, int step)
{
    tool_status_t status = damage(check);

    if (status == TOOL_OK) {
        status = gradients_read(&check->bench->gradients, check->updates[step]);
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_export_state(check->reducer, PSGD_ERROR_NONE, &check->factors[step + 1]),
                            "exporting Q");
    }
    return status;
}

static tool_status_t compare_workers(const check_t *check, int step)
{
    const gradients_t *gradients = &check->bench->gradients;
    uint64_t           hash      = 0;
    bool               equal     = false;
    tool_status_t      status;

    for (size_t t = 0; t < gradients->model->count; ++t) {
        for (uint64_t i = gradients->offsets[t]; i < gradients->offsets[t] + gradients->model->tensors[t].elems; ++i) {
            uint32_t bits;

            memcpy(&bits, &check->updates[step][i], sizeof(bits));
            hash = random_mix(hash ^ bits);
        }
    }
    status = workers_are_equal(check->bench->workers, hash, &equal);
    if (status == TOOL_OK && !equal) {
        return tool_fail(TOOL_WRONG, "wrong results: the workers hold different updates after step %d", step + 1);
    }
    return status;
}

static tool_status_t run_step(check_t *check, int step)
{
    const workers_t *workers = check->bench->workers;
    tool_status_t    status  = workers_agree(workers, fill(check, step));

    if (status == TOOL_OK) {
        status = workers_agree(workers, bench_step(check->bench, check->reducer, NULL));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, keep(check, step));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, compare_workers(check, step));
    }
    return status;
}

/* ---- the comparison ---- */

/* A tensor to be compared by this worker. */
typedef struct item {
    size_t             tensor;
    psgd_tensor_plan_t plan;
    double             cost;
} item_t;

static int by_cost(const void *a, const void *b)
{
    double left  = ((const item_t *)a)->cost;
    double right = ((const item_t *)b)->cost;

    return (left > right) - (left < right);
}

/* This worker's share of the tensors, the cheapest first. */
static tool_status_t list_items(const check_t *check, item_t *items, size_t *count_p)
{
    const workers_t *workers = check->bench->workers;
    size_t           count   = 0;
    tool_status_t    status  = TOOL_OK;

    for (size_t t = workers->index; t < check->bench->model->count && status == TOOL_OK; t += workers->count) {
        item_t *item = &items[count++];

        item->tensor = t;
        status       = bench_tensor_plan(check->reducer, t, &item->plan);
        if (status == TOOL_OK) {
            item->cost = compare_cost(&item->plan);
        }
    }
    qsort(items, count, sizeof(*items), by_cost);
    *count_p = count;
    return status;
}

/* What numbers in 16 bits may cost, beside fp32: some of their units. */
static double allowance(const options_t *options)
{
    const double units = 16.0;
    const double f16   = options->wire == (int)PSGD_F16 ? units * 0x1p-11 : 0.0;
    const double bf16  = options->wire == (int)PSGD_BF16 || options_error_dtype(options) == PSGD_BF16 ? units * 0x1p-8 : 0.0;

    return fmax(f16, bf16);
}

static compare_job_t make_job(const check_t *check, const item_t *item)
{
    const bench_t *bench  = check->bench;
    uint64_t       offset = bench->gradients.offsets[item->tensor];
    compare_job_t  job    = {.name               = bench->model->tensors[item->tensor].name,
                             .plan               = &item->plan,
                             .num_workers        = bench->workers->count,
                             .first              = offset,
                             .has_error_feedback = bench->options->error_feedback != 0,
                             .half_iterations    = bench->options->half_iterations,
                             .gradient_scale     = (double)(float)bench->options->gradient_scale,
                             .allowance          = allowance(bench->options)};

    for (int step = 0; step < NUM_STEPS; ++step) {
        job.updates[step] = check->updates[step] + offset;
    }
    return job;
}

static tool_status_t take_factors(const check_t *check, compare_job_t *job)
{
    tool_status_t status = TOOL_OK;

    for (int step = 0; step <= NUM_STEPS && status == TOOL_OK; ++step) {
        uint64_t cols = 0;
        uint32_t rank = 0;

        status = tool_check(psgd_state_get_factor(check->factors[step], job->name, &cols, &rank, &job->factors[step]),
                            "reading Q");
        if (status == TOOL_OK && (cols != factor_length(check, job->plan, step) || rank != job->plan->rank)) {
            status = tool_fail(TOOL_WRONG, "wrong results: Q of %s is of another shape", job->name);
        }
    }
    return status;
}

/* Everything that this worker compares; costly matrices by projections once the time is spent. */
static tool_status_t compare_items(const check_t *check, const item_t *items, size_t count, verified_t *verified)
{
    double        left   = COMPARE_BUDGET;
    double        first  = COMPARE_BUDGET_FIRST;
    tool_status_t status = TOOL_OK;

    for (size_t i = 0; i < count && status == TOOL_OK; ++i) {
        compare_job_t job = make_job(check, &items[i]);

        if (items[i].plan.rank == 0) {
            status = compare_plain(&job, &verified->deviation);
            verified->checked_elems += items[i].plan.elems;
            continue;
        }
        status = take_factors(check, &job);
        if (status == TOOL_OK && (items[i].cost <= left || items[i].cost <= first)) {
            status = compare_matrix(&job, &verified->deviation);
            verified->checked_elems += items[i].plan.elems;
            left -= items[i].cost <= left ? items[i].cost : 0.0; /* the first may come on top */
            first = 0.0;
        } else if (status == TOOL_OK) {
            status = compare_by_probes(&job, &left);
            verified->probed_elems += items[i].plan.elems;
        }
    }
    return status;
}

static tool_status_t compare_all(const check_t *check, verified_t *verified)
{
    item_t       *items  = NULL;
    size_t        count  = 0;
    tool_status_t status = tool_alloc(check->bench->model->count, sizeof(*items), "the tensors to compare", &items);

    if (status == TOOL_OK) {
        status = list_items(check, items, &count);
    }
    if (status == TOOL_OK) {
        status = compare_items(check, items, count, verified);
    }
    free(items);
    return status;
}

/* What all workers have found together. */
static tool_status_t sum_up(const workers_t *workers, verified_t *verified)
{
    double        sums[2] = {(double)verified->checked_elems, (double)verified->probed_elems};
    tool_status_t status  = workers_sum(workers, sums, 2);

    if (status == TOOL_OK) {
        verified->checked_elems = (uint64_t)sums[0];
        verified->probed_elems  = (uint64_t)sums[1];
        status                  = workers_max(workers, &verified->deviation, 1);
    }
    return status;
}

static tool_status_t run(check_t *check, verified_t *verified)
{
    const workers_t *workers = check->bench->workers;
    tool_status_t    status  = workers_agree(workers, allocate(check));

    if (status == TOOL_OK) {
        status = workers_agree(
            workers, bench_create_reducer(check->bench, check->rank, false, check->bench->comm, &check->reducer));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, import_factors(check));
    }
    for (int step = 0; step < NUM_STEPS && status == TOOL_OK; ++step) {
        status = run_step(check, step);
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, compare_all(check, verified));
    }
    return status == TOOL_OK ? workers_agree(workers, sum_up(workers, verified)) : status;
}

tool_status_t verify_run(const bench_t *bench, uint32_t rank, verified_t *verified_p)
{
    double        begin    = clock_now();
    check_t       check    = {.bench = bench, .rank = rank};
    verified_t    verified = {.steps = NUM_STEPS};
    tool_status_t status   = run(&check, &verified);

    psgd_reducer_destroy(check.reducer);
    for (int step = 0; step < NUM_STEPS; ++step) {
        free(check.updates[step]);
    }
    for (int step = 0; step <= NUM_STEPS; ++step) {
        psgd_state_destroy(check.factors[step]);
    }
    free(check.grads);
    verified.seconds = clock_now() - begin;
    if (status == TOOL_OK) {
        *verified_p = verified;
    }
    return status;
}
