/* What a step is told beside its gradients: gradients that are not there, a scale of this worker's own, an optimizer's step on
 * parameters; and the resetting of the error memory. In both engines and all forms. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

enum { NUM_STEPS = 4, MOST_ELEMS = 1 << 15 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

/* Of the last two, parameters lie otherwise than their matrices. */
static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED},
    {.engine = PSGD_ENGINE_FUSED, .is_finite = true, .start_step = 1, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .start_step = 2},
    {.engine = PSGD_ENGINE_CLBLAST, .is_finite = true, .max_norm = 4.0, .memory = JOB_SEPARATE_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .without_feedback = true, .max_norm = 4.0},
    {.engine = PSGD_ENGINE_FUSED, .half_iterations = 1, .start_step = 1, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .half_iterations = 3, .max_norm = 4.0, .error_dtype = PSGD_BF16},
    {.engine = PSGD_ENGINE_FUSED, .start_step = 1, .orthogonalize_shorter = true, .error_dtype = PSGD_BF16},
    {.engine = PSGD_ENGINE_FUSED, .is_finite = true, .half_iterations = 2, .max_norm = 4.0, .flatten = true},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static job_t options_job(int way)
{
    job_t job = way_job(&WAYS[way], model, JOB_MODEL_TENSORS);

    job.num_steps = NUM_STEPS;
    return job;
}

static psgd_config_t config_of(int way)
{
    return options_job(way).config;
}

static void assert_jobs_agree(const job_t *a, const job_t *b)
{
    job_record_t a_records[WORKERS_MAX], b_records[WORKERS_MAX];

    job_run(a, a_records);
    job_run(b, b_records);
    job_assert_equal_updates(a, a_records);
    for (uint32_t w = 0; w < a->num_workers; ++w) {
        job_assert_same_updates(&a_records[w], &b_records[w]);
        for (uint32_t step = 0; step < a->num_steps; ++step) {
            job_assert_equal_errors(&a_records[w], step, &b_records[w], step);
        }
    }
    job_records_free(a, a_records);
    job_records_free(b, b_records);
}

static uint64_t elems_of(const psgd_tensor_t *tensor)
{
    uint64_t elems = 1;

    for (uint32_t d = 0; d < tensor->num_dims; ++d) {
        elems *= tensor->dims[d];
    }
    return elems;
}

/* --- gradients that are not there ---------------------------------------------------------------------------------- */

/* Two workers lack some tensors each, other ones in other steps; nobody has tensor 7 in step 1. */
static bool is_there(uint32_t worker, uint32_t step, size_t tensor)
{
    return !((tensor == (step + 4 * worker) % JOB_MODEL_TENSORS) || ((step == 1) && (tensor == 7)) ||
             ((worker == 1) && (tensor == 8)));
}

static void gradient_with_gaps(const job_t *job, uint32_t worker, uint32_t step, float *gradient, float gap)
{
    job_t  whole = *job;
    float *values;

    whole.give_gradient = NULL;
    values              = job_gradient(&whole, worker, step);
    memcpy(gradient, values, job_total_elems(job) * sizeof(*gradient));
    free(values);
    for (size_t t = 0; t < job->num_tensors; ++t) {
        for (uint64_t i = 0; i < elems_of(&job->tensors[t]); ++i, ++gradient) {
            *gradient = is_there(worker, step, t) ? *gradient : gap;
        }
    }
}

static void gradient_with_zeros(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    gradient_with_gaps(job, worker, step, gradient, 0.0f);
}

static void gradient_with_nan(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    gradient_with_gaps(job, worker, step, gradient, (float)NAN);
}

static void tell_gaps(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options)
{
    static uint8_t has_gradient[2][JOB_MODEL_TENSORS]; /* by worker */

    for (size_t t = 0; t < job->num_tensors; ++t) {
        has_gradient[worker][t] = is_there(worker, step, t);
    }
    options->has_gradient = has_gradient[worker];
}

START_TEST(step__a_gradient_that_is_not_there_counts_as_zeros_whatever_the_buffer_holds)
{
    job_t zeros = options_job(_i), gaps = zeros;

    zeros.give_gradient = gradient_with_zeros;
    gaps.give_gradient  = gradient_with_nan;
    gaps.give_options   = tell_gaps;
    assert_jobs_agree(&zeros, &gaps);
}
END_TEST

/* --- a scale ------------------------------------------------------------------------------------------------------- */

static float scale_of(uint32_t worker, uint32_t step)
{
    return 1.0f / (float)(3 + 1000 * step + 7 * worker);
}

static void scaled_gradient(const job_t *job, uint32_t worker, uint32_t step, float *gradient)
{
    job_t  whole = *job;
    float *values;

    whole.give_gradient = NULL;
    values              = job_gradient(&whole, worker, step);
    for (uint64_t i = 0; i < job_total_elems(job); ++i) {
        gradient[i] = values[i] * scale_of(worker, step);
    }
    free(values);
}

static void tell_scale(const job_t *job, uint32_t worker, uint32_t step, psgd_step_options_t *options)
{
    (void)job;
    options->gradient_scale = scale_of(worker, step);
}

/* Scales that change from step to step, and differ between the workers. */
START_TEST(step__gradients_are_scaled_before_anything_else)
{
    job_t host = options_job(_i), device = host;

    host.give_gradient  = scaled_gradient;
    device.give_options = tell_scale;
    assert_jobs_agree(&host, &device);
}
END_TEST

/* --- the error memory ---------------------------------------------------------------------------------------------- */

static psgd_status_t reset(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    (void)job;
    return (step == 2) && (worker == 1) ? psgd_reducer_reset_error(reducer) : PSGD_OK;
}

static psgd_status_t import_zeros(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    static float  zeros[MOST_ELEMS];
    psgd_state_t *state = NULL;
    psgd_status_t status = PSGD_OK;

    if ((step != 2) || (worker != 1)) {
        return PSGD_OK;
    }
    worker_needs(psgd_state_create(&state));
    for (size_t t = 0; (t < job->num_tensors) && (status == PSGD_OK); ++t) {
        psgd_tensor_plan_t plan = PSGD_TENSOR_PLAN_INIT;

        worker_needs(psgd_reducer_get_tensor_plan(reducer, t, &plan));
        if ((plan.rank > 0) && job->config.error_feedback) {
            status = psgd_state_set_error(state, job->tensors[t].name, plan.elems, zeros);
        }
    }
    if (status == PSGD_OK) {
        status = psgd_reducer_import_state(reducer, state);
    }
    psgd_state_destroy(state);
    return status;
}

/* On one worker alone: the updates stay equal all the same. */
START_TEST(reset_error__leaves_zeros_and_nothing_else_changes)
{
    job_t imported = options_job(_i), resetting = imported;

    if (WAYS[_i].flatten) {
        return; /* its error memory has another name */
    }
    imported.before_step  = import_zeros;
    resetting.before_step = reset;
    assert_jobs_agree(&imported, &resetting);
}
END_TEST

/* --- an optimizer's step ------------------------------------------------------------------------------------------- */

/* What one worker holds: gradients, parameters, momenta, 16-bit parameters; each one buffer for all tensors. */
typedef struct memory {
    uint64_t      elems;
    cl_mem        grads, params, momenta, halves;
    psgd_buffer_t grad_buffers[JOB_MODEL_TENSORS], param_buffers[JOB_MODEL_TENSORS], momentum_buffers[JOB_MODEL_TENSORS],
        half_buffers[JOB_MODEL_TENSORS];
    float *x, *m, *u; /* on the host: what must be */
    float *found;
} memory_t;

enum { FIRST = 3, GAP = 5 }; /* elements before the first tensor, and between two */

static psgd_status_t memory_create(const test_device_t *device, memory_t *memory)
{
    uint64_t end = FIRST;

    memset(memory, 0, sizeof(*memory));
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        end += elems_of(&model[t]) + GAP;
    }
    memory->elems = end;
    worker_needs(test_buffer_create(device, end, &memory->grads));
    worker_needs(test_buffer_create(device, end, &memory->params));
    worker_needs(test_buffer_create(device, end, &memory->momenta));
    worker_needs(test_buffer_create(device, end, &memory->halves)); /* twice what it takes */
    end = FIRST;
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        memory->grad_buffers[t]     = (psgd_buffer_t){memory->grads, end * sizeof(float)};
        memory->param_buffers[t]    = (psgd_buffer_t){memory->params, end * sizeof(float)};
        memory->momentum_buffers[t] = (psgd_buffer_t){memory->momenta, end * sizeof(float)};
        memory->half_buffers[t]     = (psgd_buffer_t){memory->halves, end * sizeof(cl_half)};
        end += elems_of(&model[t]) + GAP;
    }
    memory->x     = calloc(memory->elems, sizeof(float));
    memory->m     = calloc(memory->elems, sizeof(float));
    memory->u     = calloc(memory->elems, sizeof(float));
    memory->found = calloc(memory->elems, sizeof(float));
    worker_expects((memory->x != NULL) && (memory->m != NULL) && (memory->u != NULL) && (memory->found != NULL), "no memory");
    test_random_fill(memory->x, memory->elems, 99);
    worker_needs(test_buffer_write(device, memory->params, 0, memory->x, memory->elems));
    return test_buffer_write(device, memory->momenta, 0, memory->m, memory->elems);
}

static void memory_destroy(memory_t *memory)
{
    clReleaseMemObject(memory->halves);
    clReleaseMemObject(memory->momenta);
    clReleaseMemObject(memory->params);
    clReleaseMemObject(memory->grads);
    free(memory->found);
    free(memory->u);
    free(memory->m);
    free(memory->x);
}

static float without_denormals(float x)
{
    return fabsf(x) < FLT_MIN ? 0.0f : x;
}

/* The formulas of the header, on the tensors' elements. */
static void update_on_the_host(const psgd_optimizer_t *o, memory_t *memory)
{
    uint64_t at = FIRST;

    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t, at += GAP) {
        for (uint64_t end = at + elems_of(&model[t]); at < end; ++at) {
            float d = fmaf(o->weight_decay, memory->x[at], memory->u[at]);
            float m = o->momenta != NULL ? without_denormals(fmaf(o->momentum, memory->m[at], d)) : d;
            float along = o->rule == PSGD_RULE_POWERSGD ? d + m : (o->rule == PSGD_RULE_HEAVY_BALL ? m : fmaf(o->momentum, m, d));

            memory->m[at] = o->momenta != NULL ? m : memory->m[at];
            memory->x[at] = without_denormals(fmaf(-o->learning_rate, along, memory->x[at]));
        }
    }
}

static float widen(cl_half half)
{
    int      exponent = (half >> 10) & 31;
    unsigned fraction = half & 1023;
    float    size     = exponent == 0 ? ldexpf((float)fraction, -24) : ldexpf((float)(fraction + 1024), exponent - 25);

    return (half & 0x8000) != 0 ? -size : size;
}

/* Parameters and momenta have the host's bits, what lies between them is untouched, and the 16-bit ones are the nearest. */
static psgd_status_t check_memory(const test_device_t *device, memory_t *memory)
{
    uint64_t at = FIRST;
    cl_half *halves;

    worker_needs(test_buffer_read(device, memory->params, 0, memory->found, memory->elems));
    worker_expects(memcmp(memory->found, memory->x, memory->elems * sizeof(float)) == 0, "the parameters are not the host's");
    worker_needs(test_buffer_read(device, memory->momenta, 0, memory->found, memory->elems));
    worker_expects(memcmp(memory->found, memory->m, memory->elems * sizeof(float)) == 0, "the momenta are not the host's");
    worker_needs(test_buffer_read(device, memory->halves, 0, memory->found, memory->elems));
    halves = (cl_half *)(void *)memory->found;
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t, at += GAP) {
        for (uint64_t end = at + elems_of(&model[t]); at < end; ++at) {
            float x = memory->x[at];

            worker_expects(fabsf(widen(halves[at]) - x) <= fmaxf(ldexpf(fabsf(x), -11), 0x1p-25f),
                           "%g in 16 bits is %g", (double)x, (double)widen(halves[at]));
        }
    }
    return PSGD_OK;
}

/* Gradients of one step into the buffers, with what lies between them. */
static psgd_status_t write_grads(const worker_t *worker, uint32_t step, memory_t *memory)
{
    test_random_fill(memory->u, memory->elems, 1000 + 10 * step + worker->index);
    return test_buffer_write(worker->device, memory->grads, 0, memory->u, memory->elems);
}

typedef struct update_case {
    int         way;
    psgd_rule_t rule;
    float       momentum, weight_decay;
} update_case_t;

static psgd_status_t take_steps(const worker_t *worker, const psgd_optimizer_t *optimizer, psgd_reducer_t *apart,
                                psgd_reducer_t *fused, memory_t *memory)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;

    options.optimizer = optimizer;
    for (uint32_t step = 0; step < NUM_STEPS; ++step) {
        worker_needs(write_grads(worker, step, memory));
        worker_needs(psgd_reducer_step(apart, memory->grad_buffers, JOB_MODEL_TENSORS));
        worker_needs(test_buffer_read(worker->device, memory->grads, 0, memory->u, memory->elems));
        update_on_the_host(optimizer, memory);
        worker_needs(write_grads(worker, step, memory));
        worker_needs(psgd_reducer_step_with(fused, memory->grad_buffers, JOB_MODEL_TENSORS, &options));
        worker_needs(check_memory(worker->device, memory));
    }
    return PSGD_OK;
}

static psgd_status_t update_parameters(worker_t *worker)
{
    const update_case_t *which     = worker->user;
    psgd_config_t        config    = config_of(which->way);
    psgd_optimizer_t     optimizer = PSGD_OPTIMIZER_INIT;
    psgd_reducer_t      *apart = NULL, *fused = NULL;
    memory_t             memory;
    psgd_status_t        status;

    worker_needs(memory_create(worker->device, &memory));
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                                     JOB_MODEL_TENSORS, &config, worker->comm, &apart));
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                                     JOB_MODEL_TENSORS, &config, worker->comm, &fused));
    optimizer.rule          = which->rule;
    optimizer.learning_rate = 0.05f;
    optimizer.momentum      = which->momentum;
    optimizer.weight_decay  = which->weight_decay;
    optimizer.params        = memory.param_buffers;
    optimizer.momenta       = which->momentum > 0.0f ? memory.momentum_buffers : NULL;
    optimizer.half_params   = memory.half_buffers;
    status                  = take_steps(worker, &optimizer, apart, fused, &memory);
    psgd_reducer_destroy(fused);
    psgd_reducer_destroy(apart);
    memory_destroy(&memory);
    return status;
}

static const update_case_t RULES[] = {
    {0, PSGD_RULE_POWERSGD, 0.9f, 1e-3f},  {0, PSGD_RULE_HEAVY_BALL, 0.9f, 0.0f}, {0, PSGD_RULE_NESTEROV, 0.8f, 1e-2f},
    {0, PSGD_RULE_HEAVY_BALL, 0.0f, 1e-3f}, {0, PSGD_RULE_NESTEROV, 0.0f, 0.0f},
};

enum { NUM_RULES = sizeof(RULES) / sizeof(RULES[0]) };

START_TEST(update__parameters_have_the_bits_of_decompress_then_update)
{
    update_case_t which = RULES[_i % NUM_RULES];

    if (psgd_test_shapes_are_reduced() && (_i >= NUM_RULES) && (_i % NUM_RULES > 0)) {
        return; /* all rules in one way, and all ways by one rule */
    }
    which.way = _i / NUM_RULES;
    workers_run(2, update_parameters, &which);
}
END_TEST

/* Of more than 256 KiB, which do not travel with the small ones. */
START_TEST(update__a_tensor_that_travels_by_itself_is_updated_as_the_others)
{
    const psgd_tensor_t kept  = model[8];
    update_case_t       which = RULES[_i % NUM_RULES];

    which.way        = _i;
    model[8].dims[0] = 65539;
    workers_run(2, update_parameters, &which);
    model[8] = kept;
}
END_TEST

/* --- refusals ------------------------------------------------------------------------------------------------------ */

static psgd_status_t refuse(const worker_t *worker, psgd_reducer_t *reducer, memory_t *memory, psgd_optimizer_t optimizer,
                            float gradient_scale, psgd_status_t expected, const char *words)
{
    psgd_step_options_t options = PSGD_STEP_OPTIONS_INIT;
    psgd_status_t       status;

    if (worker->index == 1) { /* the other one does nothing wrong, and is told */
        optimizer.params         = memory->param_buffers;
        optimizer.rule           = PSGD_RULE_HEAVY_BALL;
        optimizer.learning_rate  = 0.1f;
        optimizer.momentum       = 0.0f;
        gradient_scale           = 0.0f;
    }
    worker_needs(write_grads(worker, 0, memory));
    options.gradient_scale = gradient_scale;
    options.optimizer      = &optimizer;
    status                 = psgd_reducer_step_with(reducer, memory->grad_buffers, JOB_MODEL_TENSORS, &options);
    worker_expects(status == expected, "got %s (%s)", psgd_status_name(status), psgd_last_error());
    worker_expects((worker->index == 1) || (strstr(psgd_last_error(), words) != NULL), "'%s' is not in '%s'", words,
                   psgd_last_error());
    return check_memory(worker->device, memory);
}

static psgd_status_t refuse_all(const worker_t *worker, psgd_reducer_t *reducer, memory_t *memory)
{
    psgd_optimizer_t optimizer = PSGD_OPTIMIZER_INIT, wrong;

    optimizer.params = memory->param_buffers;
    worker_needs(refuse(worker, reducer, memory, optimizer, -1.0f, PSGD_ERR_INVALID_ARGUMENT, "gradient_scale is -1"));
    worker_needs(refuse(worker, reducer, memory, optimizer, (float)NAN, PSGD_ERR_INVALID_ARGUMENT, "gradient_scale"));
    wrong        = optimizer;
    wrong.params = NULL;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "params is NULL"));
    wrong          = optimizer;
    wrong.momentum = 0.5f;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "momenta is NULL"));
    wrong               = optimizer;
    wrong.learning_rate = (float)INFINITY;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "learning_rate is inf"));
    wrong               = optimizer;
    wrong.learning_rate = -1.0f;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "learning_rate is -1"));
    wrong          = optimizer;
    wrong.momentum = 1.5f;
    wrong.momenta  = memory->momentum_buffers;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "momentum is 1.5"));
    wrong              = optimizer;
    wrong.weight_decay = -0.5f;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "weight_decay is -0.5"));
    wrong      = optimizer;
    wrong.rule = PSGD_RULE_POWERSGD; /* whose sum is remembered without momentum, too */
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "momenta is NULL"));
    wrong      = optimizer;
    wrong.rule = (psgd_rule_t)3;
    worker_needs(refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_UNSUPPORTED, "optimizer.rule is 3"));
    wrong             = optimizer;
    wrong.struct_size = 1;
    return refuse(worker, reducer, memory, wrong, 0.0f, PSGD_ERR_INVALID_ARGUMENT, "PSGD_OPTIMIZER_INIT");
}

static psgd_status_t refuse_wrong_options(worker_t *worker)
{
    psgd_config_t   config  = config_of(0);
    psgd_reducer_t *reducer = NULL;
    memory_t        memory;
    psgd_status_t   status;

    worker_needs(memory_create(worker->device, &memory));
    worker_needs(test_buffer_write(worker->device, memory.halves, 0, memory.u, memory.elems));
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                                     JOB_MODEL_TENSORS, &config, worker->comm, &reducer));
    memset(memory.x, 0, memory.elems * sizeof(float)); /* as the halves are */
    worker_needs(test_buffer_write(worker->device, memory.params, 0, memory.x, memory.elems));
    status = refuse_all(worker, reducer, &memory);
    psgd_reducer_destroy(reducer);
    memory_destroy(&memory);
    return status;
}

START_TEST(options__that_make_no_sense_are_told_to_all_and_nothing_has_changed)
{
    workers_run(2, refuse_wrong_options, NULL);
}
END_TEST

/* Another learning rate on worker 1. */
static psgd_status_t differ(worker_t *worker)
{
    psgd_config_t       config    = config_of(0);
    psgd_optimizer_t    optimizer = PSGD_OPTIMIZER_INIT;
    psgd_step_options_t options   = PSGD_STEP_OPTIONS_INIT;
    psgd_reducer_t     *reducer   = NULL;
    memory_t            memory;
    psgd_status_t       status;

    worker_needs(memory_create(worker->device, &memory));
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, model,
                                     JOB_MODEL_TENSORS, &config, worker->comm, &reducer));
    worker_needs(write_grads(worker, 0, &memory));
    optimizer.params        = memory.param_buffers;
    optimizer.learning_rate = worker->index == 1 ? 0.1f : 0.2f;
    options.optimizer       = &optimizer;
    status                  = psgd_reducer_step_with(reducer, memory.grad_buffers, JOB_MODEL_TENSORS, &options);
    worker_expects(status == PSGD_ERR_MISMATCH, "got %s", psgd_status_name(status));
    psgd_reducer_destroy(reducer);
    memory_destroy(&memory);
    return PSGD_OK;
}

START_TEST(update__workers_with_other_numbers_are_told_apart)
{
    workers_run(2, differ, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options of a step");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    model[7].rank = 0; /* flattened tensors have none of their own */
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, step__a_gradient_that_is_not_there_counts_as_zeros_whatever_the_buffer_holds, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, step__gradients_are_scaled_before_anything_else, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, reset_error__leaves_zeros_and_nothing_else_changes, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, update__parameters_have_the_bits_of_decompress_then_update, 0, NUM_WAYS * NUM_RULES);
    tcase_add_loop_test(tcase, update__a_tensor_that_travels_by_itself_is_updated_as_the_others, 0, NUM_WAYS);
    tcase_add_test(tcase, options__that_make_no_sense_are_told_to_all_and_nothing_has_changed);
    tcase_add_test(tcase, update__workers_with_other_numbers_are_told_apart);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
