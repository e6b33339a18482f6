#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "compare.h"
#include "items.h"
#include "random.h"

enum { NUM_STEPS = 2 };

/* Keys of what is not a gradient, beyond all steps. */
#define FACTOR_STEP UINT64_MAX

/* What this worker holds while it checks. */
typedef struct check {
    const bench_t  *bench;
    uint32_t        rank;
    psgd_reducer_t *reducer;
    items_t         items;
    float          *updates[NUM_STEPS]; /* extent elements each */
    float          *grads;              /* extent elements: what the device was given */
    psgd_state_t
        *imported[NUM_STEPS]; /* Q before the step; NULL where it goes on from the one that the last step has left */
    psgd_state_t *left[NUM_STEPS]; /* Q behind it */
} check_t;

/* What an update may be off by that is stored in 16 bits, relative to the largest. */
static double rounding(const options_t *options)
{
    static const double units[] = {0.0, 0x1p-11, 0x1p-8}; /* in the order of psgd_dtype_t */

    return units[options->gradient_dtype];
}

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

/* How each tensor is sent, and so what there is to compare. */
static tool_status_t list_items(check_t *check)
{
    const bench_t      *bench  = check->bench;
    psgd_tensor_plan_t *plans  = NULL;
    tool_status_t       status = tool_alloc(bench->model->count, sizeof(*plans), "the plan", &plans);

    for (size_t t = 0; t < bench->model->count && status == TOOL_OK; ++t) {
        status = bench_tensor_plan(check->reducer, t, &plans[t]);
    }
    if (status == TOOL_OK) {
        status = items_create(bench->options, bench->model, bench->gradients.offsets, plans, &check->items);
    }
    free(plans);
    return status;
}

/* The length of the factor that the step after `steps` others starts from. */
static uint64_t factor_length(const check_t *check, const item_t *item, int steps)
{
    const options_t *options    = check->bench->options;
    const uint64_t   compressed = (uint64_t)steps > options->start_step ? (uint64_t)steps - options->start_step : 0;
    const bool       is_p       = options->half_iterations > 0 && compressed * options->half_iterations % 2 == 0;

    return is_p ? item->rows : item->cols;
}

/* Random factors of the item's tensor, cols x rank a matrix; with half-iterations perhaps P, rows x rank. */
static tool_status_t set_factor(const check_t *check, int step, const item_t *item, psgd_state_t *state)
{
    const uint64_t length = factor_length(check, item, step);
    const size_t   elems  = (size_t)(item->batch * length) * item->rank;
    const uint32_t key    = gradients_key((uint32_t)item->pieces[0].tensor, FACTOR_STEP - (uint64_t)step);
    float         *q      = NULL;
    tool_status_t  status = tool_alloc(elems, sizeof(*q), "a first Q", &q);

    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < elems; ++i) {
        q[i] = gradients_value(key, i);
    }
    status =
        tool_check(psgd_state_set_factor(state, item->name, item->batch * length, item->rank, q), "setting a first Q");
    free(q);
    return status;
}

static tool_status_t import_factors(check_t *check, int step)
{
    psgd_state_t **state_p = &check->imported[step];
    tool_status_t  status  = tool_check(psgd_state_create(state_p), "creating a state");

    for (size_t i = 0; i < check->items.count && status == TOOL_OK; ++i) {
        const item_t *item = &check->items.items[i];

        if (item->rank > 0 && item->batch_index == 0) {
            status = set_factor(check, step, item, *state_p);
        }
    }
    if (status == TOOL_OK) {
        status = tool_check(psgd_reducer_import_state(check->reducer, *state_p), "importing the first Q");
    }
    return status;
}

/* Cold steps would begin with random factors that the host does not know. */
static bool imports_before(const check_t *check, int step)
{
    return step == 0 || check->bench->options->warm_start == 0;
}

/* Fresh gradients on the device, and whether they are what the host takes them for. */
static tool_status_t fill(check_t *check, int step)
{
    const gradients_t *gradients = &check->bench->gradients;
    uint32_t           key       = gradients_key(check->bench->workers->index, (uint64_t)step);
    tool_status_t      status    = imports_before(check, step) ? import_factors(check, step) : TOOL_OK;

    if (status == TOOL_OK) {
        status = gradients_fill(gradients, key);
    }
    if (status == TOOL_OK) {
        status = gradients_read(gradients, check->grads);
    }
    for (size_t t = 0; t < gradients->model->count && status == TOOL_OK; ++t) {
        for (uint64_t i = gradients->offsets[t]; i < gradients->offsets[t] + gradients->model->tensors[t].elems; ++i) {
            if (check->grads[i] != gradients_value_of(gradients->dtype, key, i)) {
                return tool_fail(TOOL_WRONG, "the device's gradient of %s is not the host's: %g in place of %g",
                                 gradients->model->tensors[t].name, (double)check->grads[i],
                                 (double)gradients_value_of(gradients->dtype, key, i));
            }
        }
    }
    return status;
}

/* The tensor that --break-check damages: the first that is compressed, or that is not; the number of tensors where
 * there is none. */
static size_t damaged_tensor(const check_t *check, bool is_compressed)
{
    for (size_t i = 0; i < check->items.count; ++i) {
        if ((check->items.items[i].rank > 0) == is_compressed) {
            return check->items.items[i].pieces[0].tensor;
        }
    }
    return check->bench->model->count;
}

/* Another value than that of these bits. */
static void damage_element(psgd_dtype_t dtype, void *element)
{
    float    value;
    uint16_t bits;

    if (dtype == PSGD_F32) {
        memcpy(&value, element, sizeof(value));
        value += 0.001f;
        memcpy(element, &value, sizeof(value));
        return;
    }
    memcpy(&bits, element, sizeof(bits));
    bits ^= dtype == PSGD_F16 ? 0x200 : 0x40; /* the first bit of the mantissa */
    memcpy(element, &bits, sizeof(bits));
}

static tool_status_t damage(const check_t *check)
{
    const bench_t *bench = check->bench;
    size_t         t     = damaged_tensor(check, bench->options->damage != DAMAGE_PLAIN);
    unsigned char  element[sizeof(float)];
    cl_int         result;

    if (bench->options->damage == DAMAGE_NONE || t == bench->model->count ||
        (bench->options->damage == DAMAGE_WORKER && bench->workers->index + 1 < bench->workers->count)) {
        return TOOL_OK;
    }
    result = clEnqueueReadBuffer(bench->gpu.queue, bench->gradients.buffers[t].mem, CL_TRUE,
                                 bench->gradients.buffers[t].offset_bytes, bench->gradients.elem_bytes, element, 0,
                                 NULL, NULL);
    damage_element(bench->gradients.dtype, element);
    if (result == CL_SUCCESS) {
        result = clEnqueueWriteBuffer(bench->gpu.queue, bench->gradients.buffers[t].mem, CL_TRUE,
                                      bench->gradients.buffers[t].offset_bytes, bench->gradients.elem_bytes, element, 0,
                                      NULL, NULL);
    }
    return gpu_check(&bench->gpu, result, "clEnqueueWriteBuffer");
}

/* The 2-norm of the update that was read. */
static double norm_of_update(const check_t *check, int step)
{
    const gradients_t *gradients = &check->bench->gradients;
    double             square    = 0.0;

    for (size_t t = 0; t < gradients->model->count; ++t) {
        for (uint64_t i = gradients->offsets[t]; i < gradients->offsets[t] + gradients->model->tensors[t].elems; ++i) {
            square += (double)check->updates[step][i] * (double)check->updates[step][i];
        }
    }
    return sqrt(square);
}

/* Where updates are clipped: is the norm right? Then takes the clipping off, for the reference knows none. */
static tool_status_t check_norm(check_t *check, int step)
{
    const options_t *options  = check->bench->options;
    psgd_stats_t     stats    = PSGD_STATS_INIT;
    double           norm     = norm_of_update(check, step);
    double           most     = options->takes_norm ? (double)INFINITY : options->max_norm;
    tool_status_t    status   = tool_check(psgd_reducer_get_stats(check->reducer, &stats), "reading the statistics");
    double           expected = fmin(stats.update_norm, most);

    if (status != TOOL_OK || most == 0.0) {
        return status;
    }
    if (!(fabs(norm - expected) <= (VERIFY_BOUND + rounding(options)) * expected)) {
        return tool_fail(TOOL_WRONG, "wrong results: the update of step %d has the norm %.7g, not %.7g", step + 1, norm,
                         expected);
    }
    for (uint64_t i = 0; i < check->bench->gradients.extent && expected < stats.update_norm; ++i) {
        check->updates[step][i] *= (float)(stats.update_norm / expected);
    }
    return TOOL_OK;
}

/* Keeps the update and the Q that the step has left. */
static tool_status_t keep(check_t *check, int step)
{
    tool_status_t status = damage(check);

    if (status == TOOL_OK) {
        status = gradients_read(&check->bench->gradients, check->updates[step]);
    }
    if (status == TOOL_OK) {
        status =
            tool_check(psgd_reducer_export_state(check->reducer, PSGD_ERROR_NONE, &check->left[step]), "exporting Q");
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
        status = workers_agree(workers, step % 2 == 0 ? bench_step(check->bench, check->reducer, NULL)
                                                      : bench_step_in_parts(check->bench, check->reducer, NULL, NULL));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, keep(check, step));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, compare_workers(check, step));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, check_norm(check, step));
    }
    return status;
}

/* ---- the comparison ---- */

static int by_cost(const void *a, const void *b)
{
    const double left  = compare_cost(*(const item_t *const *)a);
    const double right = compare_cost(*(const item_t *const *)b);

    return (left > right) - (left < right);
}

/* This worker's share, the cheapest first. */
static size_t take_share(const check_t *check, const item_t **share)
{
    const workers_t *workers = check->bench->workers;
    size_t           count   = 0;

    for (size_t i = workers->index; i < check->items.count; i += workers->count) {
        share[count++] = &check->items.items[i];
    }
    qsort(share, count, sizeof(*share), by_cost);
    return count;
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
    const bench_t *bench = check->bench;

    return (compare_job_t){.item        = item,
                           .options     = bench->options,
                           .num_workers = bench->workers->count,
                           .rounding    = rounding(bench->options),
                           .allowance   = allowance(bench->options)};
}

/* The item's factor, out of a state that holds those of its whole tensor. */
static tool_status_t take_factor(const psgd_state_t *state, const item_t *item, uint64_t length, const float **factor_p)
{
    uint64_t      lengths = 0;
    uint32_t      rank    = 0;
    const float  *factors = NULL;
    tool_status_t status;

    status = tool_check(psgd_state_get_factor(state, item->name, &lengths, &rank, &factors), "reading Q");
    if (status == TOOL_OK && (lengths != item->batch * length || rank != item->rank)) {
        status = tool_fail(TOOL_WRONG, "wrong results: Q of %s is of another shape", item->name);
    }
    if (status == TOOL_OK) {
        *factor_p = factors + item->batch_index * length * rank;
    }
    return status;
}

static tool_status_t take_factors(const check_t *check, compare_job_t *job)
{
    tool_status_t status = TOOL_OK;

    for (int step = 0; step < NUM_STEPS && status == TOOL_OK; ++step) {
        bool                is_imported = step == 0 || check->imported[step] != NULL;
        const psgd_state_t *before      = is_imported ? check->imported[step] : check->left[step - 1];

        status = take_factor(before, job->item, factor_length(check, job->item, step), &job->before[step]);
        if (status == TOOL_OK && check->bench->options->warm_start != 0) { /* a cold step keeps none */
            status = take_factor(check->left[step], job->item, factor_length(check, job->item, step + 1), &job->after[step]);
        }
    }
    return status;
}

/* One item; a costly matrix by projections once the time is spent, if its whole update is known. *left, *first: multiplications that
 * may still be spent. */
static tool_status_t compare_one(const compare_job_t *job, double *left, double *first, verified_t *verified)
{
    const double   cost  = compare_cost(job->item);
    const uint64_t elems = item_elems(job->item);

    if (job->item->rank == 0) {
        verified->checked_elems += elems;
        return compare_plain(job, &verified->deviation);
    }
    if (cost > *left && cost > *first && item_filled_elems(job->item) == elems) {
        verified->probed_elems += elems;
        return compare_by_probes(job, left);
    }
    verified->checked_elems += item_filled_elems(job->item);
    *left -= cost <= *left ? cost : 0.0; /* the first may come on top */
    *first = 0.0;
    return compare_matrix(job, &verified->deviation);
}

static tool_status_t compare_item(const check_t *check, const item_t *item, double *left, double *first,
                                  verified_t *verified)
{
    compare_job_t job               = make_job(check, item);
    float        *copies[NUM_STEPS] = {NULL};
    tool_status_t status            = item->rank > 0 ? take_factors(check, &job) : TOOL_OK;

    for (int step = 0; step < NUM_STEPS && status == TOOL_OK; ++step) {
        status = item_gather(item, check->updates[step], &copies[step], &job.updates[step]);
    }
    if (status == TOOL_OK) {
        status = compare_one(&job, left, first, verified);
    }
    for (int step = 0; step < NUM_STEPS; ++step) {
        free(copies[step]);
    }
    return status;
}

static tool_status_t compare_all(const check_t *check, verified_t *verified)
{
    const item_t **share  = NULL;
    double         left   = COMPARE_BUDGET;
    double         first  = COMPARE_BUDGET_FIRST;
    size_t         count  = 0;
    tool_status_t  status = tool_alloc(check->items.count, sizeof(*share), "what this worker compares", (void *)&share);

    if (status == TOOL_OK) {
        count = take_share(check, share);
    }
    for (size_t i = 0; i < count && status == TOOL_OK; ++i) {
        status = compare_item(check, share[i], &left, &first, verified);
    }
    free((void *)share);
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
            workers, bench_create_reducer(check->bench, check->rank, false, check->bench->comm, &check->reducer, NULL));
    }
    if (status == TOOL_OK) {
        status = workers_agree(workers, list_items(check));
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
        psgd_state_destroy(check.imported[step]);
        psgd_state_destroy(check.left[step]);
    }
    items_free(&check.items);
    free(check.grads);
    verified.seconds = clock_now() - begin;
    if (status == TOOL_OK) {
        *verified_p = verified;
    }
    return status;
}
