#include "selftest.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "reference.h"

enum {
    RANK         = 4,
    NUM_STEPS    = 3, /* the second one uses the error memory and the warm start, the third what those became */
    NUM_TENSORS  = 5,
    OFFSET_ELEMS = 37 /* the first gradient's in the buffer, and the gap between two: nothing lies at a round address */
};

/* Compressed: an ordinary, a convolution's and a tall matrix; not compressed: too small, and a vector. */
static const struct {
    const char *name;
    uint32_t    num_dims;
    uint64_t    dims[4];
    bool        is_compressed;
} TENSORS[NUM_TENSORS] = {{"linear.weight", 2, {257, 130}, true},
                          {"conv.weight", 4, {16, 8, 5, 5}, true},
                          {"tall.weight", 2, {601, 10}, true},
                          {"small.weight", 2, {7, 9}, false},
                          {"linear.bias", 1, {257}, false}};

/* Everything of one run; all zero at first, so that release() can be called at any point. */
typedef struct run {
    selftest_t      *result;
    cl_context       context;
    cl_command_queue queue;
    cl_mem           mem;
    psgd_comm_t     *comm;
    psgd_reducer_t  *reducer;
    psgd_state_t    *state;
    size_t           rows[NUM_TENSORS], cols[NUM_TENSORS];
    size_t           offset_elems[NUM_TENSORS];
    size_t           total_elems; /* of the buffer, gaps included */
    reference_t      references[NUM_TENSORS];
    float           *grads; /* total_elems, laid out like the buffer */
    float           *updates;
    uint64_t         random;
} run_t;

/* ---- failing ---- */

/* Stores the sentence, the first one only, and returns false, for `return fail(...)`. */
static bool fail(run_t *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool fail(run_t *run, const char *format, ...)
{
    va_list arguments;

    if (run->result->message[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(run->result->message, sizeof(run->result->message), format, arguments);
        va_end(arguments);
    }
    return false;
}

static bool check_cl(run_t *run, cl_int result, const char *call)
{
    return (result == CL_SUCCESS) || fail(run, "%s failed with OpenCL error %d", call, (int)result);
}

static bool check(run_t *run, psgd_status_t status)
{
    return (status == PSGD_OK) || fail(run, "%s: %s", psgd_status_name(status), psgd_last_error());
}

/* ---- data ---- */

/* Uniform in [-1, 1), multiples of 2^-23: the steps of a 64-bit linear congruence, upper bits. */
static float draw(run_t *run)
{
    run->random = run->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(run->random >> 40) * 0x1p-23f - 1.0f;
}

static size_t elems_of(const run_t *run, size_t t)
{
    return run->rows[t] * run->cols[t];
}

static void lay_out(run_t *run)
{
    run->total_elems = OFFSET_ELEMS;
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        run->rows[t] = (size_t)TENSORS[t].dims[0];
        run->cols[t] = 1;
        for (uint32_t d = 1; d < TENSORS[t].num_dims; ++d) {
            run->cols[t] *= (size_t)TENSORS[t].dims[d];
        }
        run->offset_elems[t] = run->total_elems;
        run->total_elems += elems_of(run, t) + OFFSET_ELEMS;
    }
}

static bool make_data(run_t *run)
{
    lay_out(run);
    run->random  = 1;
    run->grads   = calloc(run->total_elems, sizeof(float));
    run->updates = calloc(run->total_elems, sizeof(float));
    return ((run->grads != NULL) && (run->updates != NULL)) || fail(run, "no host memory for the self-test");
}

/* Draws Q of one matrix for the reference and for the reducer's state. */
static bool make_factor(run_t *run, size_t t)
{
    size_t count = run->cols[t] * RANK;
    float *q     = calloc(count, sizeof(float));
    bool   is_made;

    if (q == NULL) {
        return fail(run, "no host memory for the self-test");
    }
    for (size_t i = 0; i < count; ++i) {
        q[i] = draw(run);
    }
    is_made = (reference_create(run->rows[t], run->cols[t], RANK, q, &run->references[t]) ||
               fail(run, "no host memory for the self-test")) &&
              check(run, psgd_state_set_factor(run->state, TENSORS[t].name, run->cols[t], RANK, q));
    free(q);
    return is_made;
}

/* ---- the device ---- */

static bool open_device(run_t *run, const psgd_device_info_t *info)
{
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)info->platform, 0};
    cl_int                result;

    run->context = clCreateContext(properties, 1, &info->device, NULL, NULL, &result);
    if (!check_cl(run, result, "clCreateContext")) {
        return false;
    }
    run->queue = clCreateCommandQueue(run->context, info->device, 0, &result);
    if (!check_cl(run, result, "clCreateCommandQueue")) {
        return false;
    }
    run->mem = clCreateBuffer(run->context, CL_MEM_READ_WRITE, run->total_elems * sizeof(float), NULL, &result);
    return check_cl(run, result, "clCreateBuffer");
}

static bool create_reducer(run_t *run, const psgd_device_info_t *info)
{
    psgd_config_t config = PSGD_CONFIG_INIT;
    psgd_tensor_t tensors[NUM_TENSORS];

    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        tensors[t]          = (psgd_tensor_t)PSGD_TENSOR_INIT;
        tensors[t].name     = TENSORS[t].name;
        tensors[t].num_dims = TENSORS[t].num_dims;
        for (uint32_t d = 0; d < TENSORS[t].num_dims; ++d) {
            tensors[t].dims[d] = TENSORS[t].dims[d];
        }
    }
    config.rank = RANK;
    return check(run, psgd_comm_self_create(&run->comm)) &&
           check(run, psgd_reducer_create(run->context, info->device, run->queue, tensors, NUM_TENSORS, &config,
                                          run->comm, &run->reducer));
}

/* Both begin with the same Q. */
static bool import_factors(run_t *run)
{
    if (!check(run, psgd_state_create(&run->state))) {
        return false;
    }
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        if (TENSORS[t].is_compressed && !make_factor(run, t)) {
            return false;
        }
    }
    return check(run, psgd_reducer_import_state(run->reducer, run->state));
}

/* ---- steps ---- */

static bool step_device(run_t *run)
{
    size_t        bytes = run->total_elems * sizeof(float);
    psgd_buffer_t buffers[NUM_TENSORS];

    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        buffers[t].mem          = run->mem;
        buffers[t].offset_bytes = run->offset_elems[t] * sizeof(float);
    }
    return check_cl(run, clEnqueueWriteBuffer(run->queue, run->mem, CL_TRUE, 0, bytes, run->grads, 0, NULL, NULL),
                    "clEnqueueWriteBuffer") &&
           check(run, psgd_reducer_step(run->reducer, buffers, NUM_TENSORS)) &&
           check_cl(run, clEnqueueReadBuffer(run->queue, run->mem, CL_TRUE, 0, bytes, run->updates, 0, NULL, NULL),
                    "clEnqueueReadBuffer");
}

static double larger(double a, double b)
{
    return isnan(b) || (b > a) ? b : a; /* NaN stays: it is the largest deviation there is */
}

static double largest_magnitude(const double *values, size_t count)
{
    double largest = 0.0;

    for (size_t i = 0; i < count; ++i) {
        largest = larger(largest, fabs(values[i]));
    }
    return largest;
}

/* max |got - expected| / scale */
static double deviation(const float *got, const double *expected, size_t count, double scale)
{
    double worst = 0.0;

    for (size_t i = 0; i < count; ++i) {
        worst = larger(worst, fabs((double)got[i] - expected[i]) / scale);
    }
    return worst;
}

static void compare_step(run_t *run, size_t t)
{
    const float *grad   = run->grads + run->offset_elems[t];
    const float *update = run->updates + run->offset_elems[t];
    reference_t *r      = &run->references[t];
    size_t       count  = elems_of(run, t);
    double       scale;

    if (TENSORS[t].is_compressed) {
        reference_step(r, grad);
        scale = largest_magnitude(r->m, count);
        run->result->update_deviation =
            larger(run->result->update_deviation, deviation(update, r->update, count, scale));
        return;
    }
    for (size_t i = 0; i < count; ++i) { /* the mean over one worker: the gradient itself, each at most 1 */
        run->result->plain_deviation = larger(run->result->plain_deviation, fabs((double)update[i] - (double)grad[i]));
    }
}

/* What lies between the gradients is the caller's, and stays as it was. */
static bool compare_gaps(run_t *run)
{
    size_t begin = 0;

    for (size_t t = 0; t <= NUM_TENSORS; ++t) {
        size_t end = t < NUM_TENSORS ? run->offset_elems[t] : run->total_elems;

        for (size_t i = begin; i < end; ++i) {
            if (run->updates[i] != run->grads[i]) {
                return fail(run, "the step has written beyond the gradient of '%s'", TENSORS[t > 0 ? t - 1 : 0].name);
            }
        }
        begin = t < NUM_TENSORS ? end + elems_of(run, t) : end;
    }
    return true;
}

static bool run_steps(run_t *run)
{
    for (unsigned step = 0; step < NUM_STEPS; ++step) {
        for (size_t i = 0; i < run->total_elems; ++i) {
            run->grads[i] = draw(run);
        }
        if (!step_device(run) || !compare_gaps(run)) {
            return false;
        }
        for (size_t t = 0; t < NUM_TENSORS; ++t) {
            compare_step(run, t);
        }
        ++run->result->steps;
    }
    return true;
}

static bool compare_errors(run_t *run)
{
    psgd_state_destroy(run->state);
    run->state = NULL;
    if (!check(run, psgd_reducer_export_state(run->reducer, PSGD_ERROR_LOCAL, &run->state))) {
        return false;
    }
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        const reference_t *r     = &run->references[t];
        const float       *error = NULL;
        uint64_t           count = 0;
        double             scale, worst;

        if (!TENSORS[t].is_compressed) {
            continue;
        }
        if (!check(run, psgd_state_get_error(run->state, TENSORS[t].name, &count, &error))) {
            return false;
        }
        if (count != elems_of(run, t)) {
            return fail(run, "the error memory of '%s' has the wrong size", TENSORS[t].name);
        }
        scale                        = largest_magnitude(r->m, (size_t)count);
        worst                        = deviation(error, r->error, (size_t)count, scale);
        run->result->error_deviation = larger(run->result->error_deviation, worst);
    }
    return true;
}

static void release(run_t *run)
{
    psgd_state_destroy(run->state);
    psgd_reducer_destroy(run->reducer);
    psgd_comm_destroy(run->comm);
    if (run->mem != NULL) {
        clReleaseMemObject(run->mem);
    }
    if (run->queue != NULL) {
        clReleaseCommandQueue(run->queue);
    }
    if (run->context != NULL) {
        clReleaseContext(run->context);
    }
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        reference_destroy(&run->references[t]);
    }
    free(run->grads);
    free(run->updates);
}

selftest_t selftest_run(const psgd_device_info_t *info)
{
    selftest_t result = {PSGD_SELFTEST_INIT, 0, 0.0, 0.0, 0.0, false, ""};
    run_t      run    = {.result = &result};
    bool       is_complete;

    is_complete = check(&run, psgd_device_selftest(info->device, &result.known)) && make_data(&run) &&
                  open_device(&run, info) && create_reducer(&run, info) && import_factors(&run) && run_steps(&run) &&
                  compare_errors(&run);
    release(&run);
    result.passed = is_complete && result.known.passed && (result.update_deviation <= SELFTEST_BOUND) &&
                    (result.error_deviation <= SELFTEST_BOUND) && (result.plain_deviation <= SELFTEST_BOUND);
    return result;
}
