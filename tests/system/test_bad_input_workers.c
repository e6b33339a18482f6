/* Workers that do not agree, wrong data, workers that fall silent and communicators that fail, through the public API: each with its
 * status on all workers, a sentence that names the cause, and no effect on what follows; or a reducer that says from then on why it
 * cannot go on. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "system/bad_input.h"

/* --- workers that do not agree ------------------------------------------------------------------------------------ */

/* Worker 1 creates its reducer with a difference; all workers are told the same. */
static psgd_status_t create_with_difference(worker_t *worker)
{
    void (*spoil)(creation_t * creation) = *(void (**)(creation_t *))worker->user;
    creation_t      creation             = good_creation();
    psgd_reducer_t *reducer              = NULL;
    psgd_status_t   status;

    creation.context                 = worker->device->context;
    creation.device                  = worker->device->id;
    creation.queue                   = worker->device->queue;
    creation.config.deadline_seconds = 60.0;
    if (worker->index == 1) {
        spoil(&creation);
    }
    status = create(&creation, worker->comm, &reducer);
    psgd_reducer_destroy(reducer);
    return status;
}

enum { REFUSING_WORKERS = 3 };

static void assert_outcomes(const worker_outcome_t *outcomes, psgd_status_t status, const char *words,
                            const char *words_of_others)
{
    for (uint32_t w = 0; w < REFUSING_WORKERS; ++w) {
        const char *expected = w == 1 ? words : words_of_others;

        ck_assert_msg(outcomes[w].status == status, "worker %u: %s: %s", w, psgd_status_name(outcomes[w].status),
                      outcomes[w].sentence);
        ck_assert_msg(strstr(outcomes[w].sentence, expected) != NULL, "worker %u: '%s' is not in: %s", w, expected,
                      outcomes[w].sentence);
    }
}

static void assert_all_refuse(void (*spoil)(creation_t *creation), psgd_status_t status, const char *words,
                              const char *words_of_others)
{
    worker_outcome_t outcomes[WORKERS_MAX];

    workers_try(REFUSING_WORKERS, create_with_difference, &spoil, outcomes);
    assert_outcomes(outcomes, status, words, words_of_others);
    bad_input_count_case();
}

/* What worker 1 has otherwise than the others. */
#define DIFFERENCES(ROW) \
    ROW(dims, creation->tensors[0].dims[1] += 1, "disagree on tensor 0 ('first.weight'", \
        "its dimensions, type or view") \
    ROW(num_dims, (creation->tensors[1].num_dims = 2, creation->tensors[1].dims[1] = 1), \
        "disagree on tensor 1 ('second.bias'", "its dimensions, type or view") \
    ROW(dtype, creation->tensors[1].dtype = PSGD_BF16, "disagree on tensor 1 ('second.bias'", \
        "its dimensions, type or view") \
    ROW(view, creation->tensors[0].view = transposed, "disagree on tensor 0 ('first.weight'", \
        "its dimensions, type or view") \
    ROW(tensor_rank, creation->tensors[0].rank = PSGD_NEVER_COMPRESS, "disagree on tensor 0 ('first.weight'", \
        "its rank") \
    ROW(number, creation->num_tensors = 1, "the number of tensors", "worker 1 has 1") \
    ROW(rank, creation->config.rank = 3, "config.rank", "worker 0 has 4, worker 1 has 3") \
    ROW(rate, creation->config.min_compression_rate = 1.5, "config.min_compression_rate", \
        "worker 0 has 2, worker 1 has 1.5") \
    ROW(start_step, creation->config.start_step = 7, "config.start_step", "worker 0 has 0, worker 1 has 7") \
    ROW(feedback, creation->config.error_feedback = 0, "config.error_feedback", "worker 0 has 1, worker 1 has 0") \
    ROW(warm_start, creation->config.warm_start = 0, "config.warm_start", "worker 0 has 1, worker 1 has 0") \
    ROW(seed, creation->config.seed = 5, "config.seed", "worker 0 has 0, worker 1 has 5") \
    ROW(engine, creation->config.engine = PSGD_ENGINE_FUSED, "config.engine", "worker 0 has 0, worker 1 has 2") \
    ROW(finite, creation->config.gradients_are_finite = 1, "config.gradients_are_finite", \
        "worker 0 has 0, worker 1 has 1") \
    ROW(max_norm, creation->config.max_norm = 0.5, "config.max_norm", "worker 0 has 0, worker 1 has 0.5") \
    ROW(energy_every, creation->config.energy_every = 3, "config.energy_every", "worker 0 has 0, worker 1 has 3") \
    ROW(check_every, creation->config.check_every = 4, "config.check_every", "worker 0 has 0, worker 1 has 4") \
    ROW(halves, creation->config.half_iterations = 2, "config.half_iterations", "worker 0 has 0, worker 1 has 2") \
    ROW(byte_budget, creation->config.byte_budget = 1000000, "config.byte_budget", \
        "worker 0 has 0, worker 1 has 1000000") \
    ROW(error_dtype, creation->config.error_dtype = PSGD_BF16, "config.error_dtype", "worker 0 has 0, worker 1 has 2") \
    ROW(wire, creation->config.wire = PSGD_F16, "config.wire", "worker 0 has 0, worker 1 has 1") \
    ROW(sharing, creation->config.sharing = PSGD_SHARING_OWNERS, "config.sharing", "worker 0 has 0, worker 1 has 2") \
    ROW(flatten, creation->config.flatten = 1, "config.flatten", "worker 0 has 0, worker 1 has 1") \
    ROW(shorter, creation->config.orthogonalize_shorter = 1, "config.orthogonalize_shorter", \
        "worker 0 has 0, worker 1 has 1") \
    ROW(profile, creation->config.engine_profile = "psgd-profile 1\n24 40 4 clblast\n", "config.engine_profile", \
        "'first.weight'")

static const psgd_matrix_view_t transposed = {1, COLS, ROWS, 0, 1, COLS};

#define ROW(name_, spoil_, what_, how_) \
    static void differ_in_##name_(creation_t *creation) \
    { \
        spoil_; \
    }
DIFFERENCES(ROW)
#undef ROW

static const struct {
    void (*spoil)(creation_t *creation);
    const char *what, *how;
} differences[] = {
#define ROW(name_, spoil_, what_, how_) {differ_in_##name_, what_, how_},
    DIFFERENCES(ROW)
#undef ROW
};

static void differ_in_name(creation_t *creation)
{
    creation->tensors[1].name = "other.bias";
}

static void differ_in_order(creation_t *creation)
{
    psgd_tensor_t first = creation->tensors[0];

    creation->tensors[0] = creation->tensors[1];
    creation->tensors[1] = first;
}

static void break_config(creation_t *creation)
{
    creation->config.rank = 0;
}

static void break_profile(creation_t *creation)
{
    creation->config.engine_profile = "psgd-profile 1\n24 40 4 magic\n";
}

static void break_tensor(creation_t *creation)
{
    creation->tensors[1].struct_size = 0;
}

static void break_device(creation_t *creation)
{
    creation->device = NULL;
}

START_TEST(workers__that_differ_are_told_in_what)
{
    void (*spoil)(creation_t * creation) = differences[_i].spoil;
    worker_outcome_t outcomes[WORKERS_MAX];

    workers_try(REFUSING_WORKERS, create_with_difference, &spoil, outcomes);
    assert_outcomes(outcomes, PSGD_ERR_MISMATCH, differences[_i].what, differences[_i].what);
    assert_outcomes(outcomes, PSGD_ERR_MISMATCH, differences[_i].how, differences[_i].how);
    bad_input_count_case();
}
END_TEST

/* Each worker is told its own tensor. */
START_TEST(workers__that_differ_in_names_or_their_order_are_told)
{
    assert_all_refuse(differ_in_name, PSGD_ERR_MISMATCH, "'other.bias'", "'second.bias'");
    assert_all_refuse(differ_in_order, PSGD_ERR_MISMATCH, "tensor 0 ('second.bias'", "tensor 0 ('first.weight'");
}
END_TEST

START_TEST(workers__all_fail_to_create_where_one_does)
{
    assert_all_refuse(break_config, PSGD_ERR_INVALID_ARGUMENT, "config.rank is 0", "1 of 3 workers");
    assert_all_refuse(break_profile, PSGD_ERR_INVALID_ARGUMENT, "config.engine_profile, line 2", "1 of 3 workers");
    assert_all_refuse(break_tensor, PSGD_ERR_INVALID_ARGUMENT, "tensor 1: a tensor has struct_size 0",
                      "1 of 3 workers");
    assert_all_refuse(break_device, PSGD_ERR_INVALID_ARGUMENT, "device is NULL", "1 of 3 workers");
}
END_TEST

/* The exact bits of what two states hold. */
static psgd_status_t compare_states(const job_t *job, const psgd_state_t *a, const psgd_state_t *b)
{
    uint64_t a_step, b_step, a_seed, b_seed;

    worker_needs(psgd_state_get_step(a, &a_step, &a_seed));
    worker_needs(psgd_state_get_step(b, &b_step, &b_seed));
    worker_expects((a_step == b_step) && (a_seed == b_seed), "the step changed");
    for (size_t t = 0; t < job->num_tensors; ++t) {
        const char  *name = job->tensors[t].name;
        const float *a_values, *b_values;
        uint64_t     a_count, b_count;
        uint32_t     a_rank, b_rank;

        if (psgd_state_get_factor(a, name, &a_count, &a_rank, &a_values) != PSGD_OK) {
            continue;
        }
        worker_needs(psgd_state_get_factor(b, name, &b_count, &b_rank, &b_values));
        worker_expects((a_count == b_count) && (a_rank == b_rank), "the factor of '%s' changed its shape", name);
        worker_expects(memcmp(a_values, b_values, a_count * a_rank * sizeof(float)) == 0, "Q of '%s' changed", name);
        worker_needs(psgd_state_get_error(a, name, &a_count, &a_values));
        worker_needs(psgd_state_get_error(b, name, &b_count, &b_values));
        worker_expects(memcmp(a_values, b_values, a_count * sizeof(float)) == 0, "the error of '%s' changed", name);
    }
    return PSGD_OK;
}

/* More often than a communicator has requests: a step that ends early gives back all it began. */
enum { MANY_TIMES = 70 };

/* What is wrong with the gradients of the step that is tried before step 2. */
typedef struct spoilt_step {
    const char   *tensor;
    float         value;
    bool          on_all_workers; /* else on worker 1 alone */
    uint32_t      times;          /* in a row */
    psgd_status_t expected;
    const char   *words;
} spoilt_step_t;

static size_t tensor_offset(const job_t *job, const char *name)
{
    size_t offset = 0;

    for (size_t t = 0; t < job->num_tensors; ++t) {
        size_t elems = 1;

        if (strcmp(job->tensors[t].name, name) == 0) {
            return offset;
        }
        for (uint32_t d = 0; d < job->tensors[t].num_dims; ++d) {
            elems *= job->tensors[t].dims[d];
        }
        offset += elems;
    }
    return offset;
}

static psgd_status_t try_spoilt_step(const job_t *job, uint32_t worker, psgd_reducer_t *reducer, float *values)
{
    const spoilt_step_t *spoilt = job->user;
    float               *pointers[32];
    size_t               offset = 0;
    psgd_status_t        status;

    worker_expects(job->num_tensors <= 32, "too many tensors");
    test_random_fill(values, job_total_elems(job), 12345 + worker);
    if ((worker == 1) || spoilt->on_all_workers) {
        values[tensor_offset(job, spoilt->tensor) + 1] = spoilt->value;
    }
    for (size_t t = 0; t < job->num_tensors; ++t) {
        size_t elems = 1;

        pointers[t] = values + offset;
        for (uint32_t d = 0; d < job->tensors[t].num_dims; ++d) {
            elems *= job->tensors[t].dims[d];
        }
        offset += elems;
    }
    status = psgd_reducer_step_host(reducer, pointers, job->num_tensors);
    worker_expects(status == spoilt->expected, "the spoilt step of '%s' ended with %s: %s", spoilt->tensor,
                   psgd_status_name(status), psgd_last_error());
    worker_expects(strstr(psgd_last_error(), spoilt->words) != NULL, "'%s' is not in the sentence: %s", spoilt->words,
                   psgd_last_error());
    return PSGD_OK;
}

static psgd_status_t spoil_before_step_2(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const spoilt_step_t *spoilt = job->user;
    psgd_stats_t         stats  = PSGD_STATS_INIT;
    psgd_state_t        *before = NULL, *after = NULL;
    float               *values;

    if (step != 2) {
        return PSGD_OK;
    }
    values = malloc(job_total_elems(job) * sizeof(*values));
    worker_expects(values != NULL, "no memory for a gradient");
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &before));
    for (uint32_t i = 0; i < spoilt->times; ++i) {
        worker_needs(try_spoilt_step(job, worker, reducer, values));
    }
    free(values);
    worker_needs(psgd_reducer_export_state(reducer, PSGD_ERROR_LOCAL, &after));
    worker_needs(compare_states(job, before, after));
    worker_needs(psgd_reducer_get_stats(reducer, &stats));
    worker_expects((stats.steps == 2) && (stats.skipped_steps == spoilt->times), "%llu steps, %llu skipped",
                   (unsigned long long)stats.steps, (unsigned long long)stats.skipped_steps);
    psgd_state_destroy(before);
    psgd_state_destroy(after);
    return PSGD_OK;
}

/* The steps of spoilt gradients fail alike on all workers and have not happened: later ones are as in a clean run. */
static void assert_steps_have_not_happened(const spoilt_step_t *spoilt, size_t num_spoilt, uint64_t start_step)
{
    psgd_tensor_t tensors[3] = {job_tensor("weight", 40, 56), job_tensor("bias", 11, 0), job_tensor("large", 70000, 0)};
    job_t         job        = job_describe(tensors, 3);
    job_record_t  clean[WORKERS_MAX], disturbed[WORKERS_MAX];

    job.num_workers       = 2;
    job.num_steps         = 3;
    job.config.start_step = start_step;
    job_run(&job, clean);
    job.before_step = spoil_before_step_2;
    for (size_t i = 0; i < num_spoilt; ++i) {
        spoilt_step_t step = spoilt[i];

        job.user = &step;
        job_run(&job, disturbed);
        for (uint32_t w = 0; w < job.num_workers; ++w) {
            job_assert_same_bits(&clean[w], &disturbed[w]);
        }
        bad_input_count_case();
        job_records_free(&job, disturbed);
    }
    job_records_free(&job, clean);
}

START_TEST(nonfinite__a_step_with_nan_or_inf_on_one_worker_has_not_happened)
{
    const spoilt_step_t spoilt[] = {
        {"weight", (float)NAN, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"large", (float)INFINITY, false, MANY_TIMES, PSGD_ERR_NONFINITE, "worker 1"},
        {"bias", (float)NAN, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"weight", -(float)INFINITY, false, 1, PSGD_ERR_NONFINITE, "worker 1"},
        {"weight", (float)NAN, true, 1, PSGD_ERR_NONFINITE, "worker 0"},
    };

    assert_steps_have_not_happened(spoilt, psgd_test_shapes_are_reduced() ? 2 : 5, 0);
    assert_steps_have_not_happened(spoilt, 1, 100); /* a plain step */
}
END_TEST

START_TEST(nonfinite__a_step_that_overflows_has_not_happened)
{
    const spoilt_step_t spoilt[] = {
        {"bias", FLT_MAX, true, 1, PSGD_ERR_NONFINITE, "overflow"}, /* each is finite, their sum is not */
        {"large", FLT_MAX, true, 1, PSGD_ERR_NONFINITE, "overflow"},
    };

    assert_steps_have_not_happened(spoilt, 2, 0);
    assert_steps_have_not_happened(spoilt, 1, 100);
}
END_TEST

START_TEST(nonfinite__on_one_worker_alone)
{
    const test_device_t *device = workers_device(0);
    bench_t              bench  = open_bench();
    float                values[BENCH_ELEMS];

    good_step(&bench, 0, values);
    test_random_fill(values, BENCH_ELEMS, 5);
    values[ELEMS / 2] = (float)NAN;
    assert_ok(test_buffer_write(device, bench.mem, 0, values, BENCH_ELEMS));
    assert_refused(psgd_reducer_step(bench.reducer, bench.grads, 2), PSGD_ERR_NONFINITE, "step 1");
    assert_unharmed(&bench, 1);
    close_bench(&bench);
}
END_TEST

/* Worker 1 calls the step wrongly; both are told, and both go on. */
static psgd_status_t call_wrongly_before_step_2(const job_t *job, uint32_t worker, uint32_t step,
                                                psgd_reducer_t *reducer)
{
    float        *values;
    float        *pointers[32];
    size_t        offset = 0;
    psgd_status_t status;

    if (step != 2) {
        return PSGD_OK;
    }
    values = malloc(job_total_elems(job) * sizeof(*values));
    worker_expects((values != NULL) && (job->num_tensors <= 32), "no memory for a gradient");
    test_random_fill(values, job_total_elems(job), 12345);
    for (size_t t = 0; t < job->num_tensors; ++t) {
        pointers[t] = values + offset;
        offset += job->tensors[t].dims[0] * (job->tensors[t].num_dims > 1 ? job->tensors[t].dims[1] : 1);
    }
    status = psgd_reducer_step_host(reducer, pointers, worker == 1 ? job->num_tensors - 1 : job->num_tensors);
    free(values);
    worker_expects(status == PSGD_ERR_INVALID_ARGUMENT, "worker %u: %s: %s", worker, psgd_status_name(status),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), "worker 1") != NULL, "worker 1 is not named: %s", psgd_last_error());
    return PSGD_OK;
}

/* A save whose form or path is not worker 1's: one that is none, another one, none at all. Both are told, and nothing is written. */
static psgd_status_t save_wrongly_before_step_2(const job_t *job, uint32_t worker, uint32_t step,
                                                psgd_reducer_t *reducer)
{
    static const struct {
        psgd_error_form_t form;
        const char       *path;
        psgd_status_t     status;
    } of_worker_1[] = {{(psgd_error_form_t)7, "/tmp/psgd-never-written", PSGD_ERR_INVALID_ARGUMENT},
                       {PSGD_ERROR_LOCAL, "/tmp/psgd-never-written", PSGD_ERR_MISMATCH},
                       {PSGD_ERROR_MEAN, NULL, PSGD_ERR_INVALID_ARGUMENT}};

    (void)job;
    for (size_t i = 0; (step == 2) && (i < sizeof(of_worker_1) / sizeof(of_worker_1[0])); ++i) {
        psgd_status_t status = worker == 1 ? psgd_reducer_save(reducer, of_worker_1[i].path, of_worker_1[i].form)
                                           : psgd_reducer_save(reducer, "/tmp/psgd-never-written", PSGD_ERROR_MEAN);

        worker_expects(status == of_worker_1[i].status, "case %zu, worker %u: %s: %s", i, worker,
                       psgd_status_name(status), psgd_last_error());
        worker_expects(access("/tmp/psgd-never-written", F_OK) != 0, "case %zu: something was written", i);
    }
    return PSGD_OK;
}

typedef psgd_status_t (*between_steps_fn)(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer);

/* A job with something wrong between its steps has the bits of one without. */
static void assert_goes_on_after(between_steps_fn something_wrong, int num_cases)
{
    psgd_tensor_t tensors[3] = {job_tensor("weight", 40, 56), job_tensor("bias", 11, 0), job_tensor("large", 70000, 0)};
    job_t         clean      = job_describe(tensors, 3), disturbed;
    job_record_t  clean_records[WORKERS_MAX], disturbed_records[WORKERS_MAX];

    clean.num_workers     = 2;
    disturbed             = clean;
    disturbed.before_step = something_wrong;
    job_run(&clean, clean_records);
    job_run(&disturbed, disturbed_records);
    for (uint32_t w = 0; w < clean.num_workers; ++w) {
        job_assert_same_bits(&clean_records[w], &disturbed_records[w]);
    }
    for (int i = 0; i < num_cases; ++i) {
        bad_input_count_case();
    }
    job_records_free(&clean, clean_records);
    job_records_free(&disturbed, disturbed_records);
}

START_TEST(workers__all_hear_of_a_wrong_save_and_go_on)
{
    assert_goes_on_after(save_wrongly_before_step_2, 3);
}
END_TEST

START_TEST(workers__all_hear_of_a_wrong_call_and_go_on)
{
    assert_goes_on_after(call_wrongly_before_step_2, 1);
}
END_TEST

/* --- reducers that cannot go on ----------------------------------------------------------------------------------- */

/* Calls on a reducer that a failure has poisoned, with what a good call would bring. */
typedef struct poisoned {
    psgd_reducer_t *reducer;
    float         **pointers; /* a gradient a tensor */
    size_t          num_tensors;
    psgd_state_t   *state; /* an empty one */
    uint32_t       *ranks; /* zeros */
    psgd_region_t   region;
    psgd_buffer_t  *grads;
} poisoned_t;

#define POISONED_CALLS(ROW) \
    ROW(step, psgd_reducer_step(p->reducer, p->grads, p->num_tensors)) \
    ROW(step_host, psgd_reducer_step_host(p->reducer, p->pointers, p->num_tensors)) \
    ROW(step_without_gradients, psgd_reducer_step(p->reducer, NULL, 0)) \
    ROW(reset_error, psgd_reducer_reset_error(p->reducer)) \
    ROW(set_ranks, psgd_reducer_set_ranks(p->reducer, p->ranks, p->num_tensors)) \
    ROW(replica_check, psgd_replica_check(p->reducer, &p->region, 1)) \
    ROW(replica_sync, psgd_replica_sync(p->reducer, &p->region, 1, 0)) \
    ROW(export_local, export_and_destroy(p->reducer, PSGD_ERROR_LOCAL)) \
    ROW(export_mean, export_and_destroy(p->reducer, PSGD_ERROR_MEAN)) \
    ROW(import, psgd_reducer_import_state(p->reducer, p->state)) \
    ROW(save, psgd_reducer_save(p->reducer, "/tmp/psgd-poisoned-saves-nothing", PSGD_ERROR_LOCAL)) \
    ROW(load, psgd_reducer_load(p->reducer, "/tmp/psgd-poisoned-saves-nothing"))

static psgd_status_t export_and_destroy(psgd_reducer_t *reducer, psgd_error_form_t form)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = psgd_reducer_export_state(reducer, form, &state);

    psgd_state_destroy(state);
    return status;
}

#define ROW(name_, call_) \
    static psgd_status_t poisoned_##name_(const poisoned_t *p) \
    { \
        return call_; \
    }
POISONED_CALLS(ROW)
#undef ROW

static const struct {
    const char *name;
    psgd_status_t (*call)(const poisoned_t *p);
} poisoned_calls[] = {
#define ROW(name_, call_) {#name_, poisoned_##name_},
    POISONED_CALLS(ROW)
#undef ROW
};

enum { NUM_POISONED_CALLS = sizeof(poisoned_calls) / sizeof(poisoned_calls[0]) };

/* Every later call says why; the statistics are there all the same. */
static psgd_status_t expect_poisoned(psgd_reducer_t *reducer, cl_mem mem, float **pointers, size_t num_tensors,
                                     const char *words)
{
    psgd_buffer_t grads[2] = {{mem, 0}, {mem, ELEMS * sizeof(float)}};
    uint32_t      ranks[2] = {0, 0};
    poisoned_t    poisoned = {reducer, pointers, num_tensors, NULL, ranks, {mem, 0, 4}, grads};
    psgd_stats_t  stats    = PSGD_STATS_INIT;

    worker_needs(psgd_state_create(&poisoned.state));
    for (size_t i = 0; i < NUM_POISONED_CALLS; ++i) {
        psgd_status_t status = poisoned_calls[i].call(&poisoned);

        worker_expects(status == PSGD_ERR_POISONED, "%s after the failure: %s: %s", poisoned_calls[i].name,
                       psgd_status_name(status), psgd_last_error());
        worker_expects(strstr(psgd_last_error(), words) != NULL, "%s: '%s' is not in the sentence: %s",
                       poisoned_calls[i].name, words, psgd_last_error());
        psgd_comm_fail(PSGD_OK, "the sentence of an earlier call");
    }
    psgd_state_destroy(poisoned.state);
    return psgd_reducer_get_stats(reducer, &stats);
}

/* Q differs between the workers: worker 1 imports one of its own. */
static psgd_status_t import_on_one_worker(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("weight", ROWS, COLS);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    psgd_state_t   *state   = NULL;
    float           values[ELEMS], q[COLS * 4];
    float          *pointer   = values;
    cl_mem          mem       = NULL;
    bool            imports_q = *(const bool *)worker->user;
    psgd_status_t   expected  = imports_q ? PSGD_ERR_DIVERGED : PSGD_ERR_MISMATCH;
    psgd_status_t   status;

    config.log              = ignore_line;
    config.deadline_seconds = 60.0;
    test_random_fill(values, ELEMS, worker->index);
    test_random_fill(q, COLS * 4, 9);
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, worker->comm, &reducer));
    worker_needs(psgd_reducer_step_host(reducer, &pointer, 1));
    if (worker->index == 1) {
        worker_needs(psgd_state_create(&state));
        if (imports_q) {
            worker_needs(psgd_state_set_factor(state, "weight", COLS, 4, q));
        } else {
            worker_needs(psgd_state_set_step(state, 7, 0));
        }
        worker_needs(psgd_reducer_import_state(reducer, state));
        psgd_state_destroy(state);
    }
    status = psgd_reducer_step_host(reducer, &pointer, 1);
    worker_expects(status == expected, "%s: %s", psgd_status_name(status), psgd_last_error());
    worker_expects(strstr(psgd_last_error(), "worker 1") != NULL, "worker 1 is not named: %s", psgd_last_error());
    worker_needs(test_buffer_create(worker->device, ELEMS, &mem));
    worker_needs(expect_poisoned(reducer, mem, &pointer, 1, psgd_status_name(expected)));
    clReleaseMemObject(mem);
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

START_TEST(workers__that_hold_another_q_or_step_are_named)
{
    bool imports_q = true;

    workers_run(3, import_on_one_worker, &imports_q);
    bad_input_count_case();
    imports_q = false;
    workers_run(3, import_on_one_worker, &imports_q);
    bad_input_count_case();
}
END_TEST

static const double SHORT_DEADLINE_SECONDS = 2.0;

/* Worker 1 makes one step and then none; worker 0 finds out in its second. */
static psgd_status_t fall_silent(worker_t *worker)
{
    psgd_tensor_t   tensor  = job_tensor("weight", ROWS, COLS);
    psgd_config_t   config  = PSGD_CONFIG_INIT;
    psgd_reducer_t *reducer = NULL;
    cl_mem          mem     = NULL;
    float           values[ELEMS];
    float          *pointer = values;
    psgd_status_t   status;

    config.deadline_seconds = worker->index == 0 ? SHORT_DEADLINE_SECONDS : 60.0;
    config.log              = ignore_line;
    test_random_fill(values, ELEMS, worker->index);
    worker_needs(psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1,
                                     &config, worker->comm, &reducer));
    worker_needs(psgd_reducer_step_host(reducer, &pointer, 1));
    if (worker->index == 0) {
        status = psgd_reducer_step_host(reducer, &pointer, 1);
        worker_expects(status == PSGD_ERR_TIMEOUT, "%s: %s", psgd_status_name(status), psgd_last_error());
        worker_expects(strstr(psgd_last_error(), "reduce_p of step 1") != NULL, "the sentence: %s", psgd_last_error());
        worker_needs(test_buffer_create(worker->device, ELEMS, &mem));
        worker_needs(expect_poisoned(reducer, mem, &pointer, 1, "PSGD_ERR_TIMEOUT"));
        clReleaseMemObject(mem);
    }
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

START_TEST(workers__that_stop_are_given_up_after_the_deadline)
{
    workers_run(2, fall_silent, NULL);
    bad_input_count_case();
}
END_TEST

static psgd_status_t never_create(worker_t *worker)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    psgd_status_t   status;

    if (worker->index == 1) {
        return PSGD_OK;
    }
    creation.config.deadline_seconds = 0.2;
    status                           = create(&creation, worker->comm, &reducer);
    worker_expects(status == PSGD_ERR_TIMEOUT, "%s: %s", psgd_status_name(status), psgd_last_error());
    worker_expects(reducer == NULL, "a reducer was created");
    return PSGD_OK;
}

START_TEST(workers__that_never_come_are_given_up_after_the_deadline)
{
    workers_run(2, never_create, NULL);
    bad_input_count_case();
}
END_TEST

/* --- one communicator that fails ---------------------------------------------------------------------------------- */

/* Forwards to the library's own communicator of one worker until it is told to fail. */
typedef struct breaking_comm {
    psgd_comm_t   table;
    psgd_comm_t  *inner;
    uint32_t      begins_left;   /* before it fails */
    bool          fails_in_test; /* else in begin_all_reduce */
    psgd_status_t status;        /* that it fails with */
    uint32_t      num_aborts;
    uint32_t      num_late_calls; /* after the abort */
} breaking_comm_t;

static psgd_status_t break_off(const breaking_comm_t *comm)
{
    return psgd_comm_fail(comm->status, "the cable of worker %u was cut", comm->table.worker_index);
}

static psgd_status_t breaking_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    breaking_comm_t *comm = self;

    comm->num_late_calls += comm->num_aborts > 0 ? 1 : 0;
    if ((comm->begins_left == 0) && !comm->fails_in_test) {
        return break_off(comm);
    }
    comm->begins_left -= comm->begins_left > 0 ? 1 : 0;
    return comm->inner->begin_all_reduce(comm->inner->self, data, count, request_p);
}

static psgd_status_t breaking_test(void *self, psgd_request_t *request, int *done_p)
{
    breaking_comm_t *comm = self;

    comm->num_late_calls += comm->num_aborts > 0 ? 1 : 0;
    if ((comm->begins_left == 0) && comm->fails_in_test) {
        return break_off(comm);
    }
    return comm->inner->test(comm->inner->self, request, done_p);
}

static void breaking_abort(void *self)
{
    breaking_comm_t *comm = self;

    comm->num_aborts++;
}

static void open_breaking(breaking_comm_t *comm, psgd_status_t status, bool fails_in_test)
{
    memset(comm, 0, sizeof(*comm));
    assert_ok(psgd_comm_self_create(&comm->inner));
    comm->table.struct_size      = sizeof(comm->table);
    comm->table.name             = "breaking";
    comm->table.self             = comm;
    comm->table.num_workers      = 1;
    comm->table.begin_all_reduce = breaking_all_reduce;
    comm->table.test             = breaking_test;
    comm->table.abort            = breaking_abort;
    comm->status                 = status;
    comm->fails_in_test          = fails_in_test;
    comm->begins_left            = UINT32_MAX;
}

/* It was aborted once, and not called any more. */
static void close_broken(breaking_comm_t *comm)
{
    ck_assert_uint_eq(comm->num_aborts, 1);
    ck_assert_uint_eq(comm->num_late_calls, 0);
    psgd_comm_destroy(comm->inner);
}

/* Whatever a communicator returns, be it no status at all: what fails then ends with PSGD_ERR_TIMEOUT or PSGD_ERR_COMM. */
static const struct {
    psgd_status_t returned, expected;
} broken_with[] = {
    {PSGD_ERR_COMM, PSGD_ERR_COMM},        {PSGD_ERR_TIMEOUT, PSGD_ERR_TIMEOUT},
    {PSGD_ERR_HOST_MEMORY, PSGD_ERR_COMM}, {PSGD_ERR_INVALID_ARGUMENT, PSGD_ERR_COMM},
    {PSGD_ERR_NONFINITE, PSGD_ERR_COMM},   {(psgd_status_t)-1000, PSGD_ERR_COMM},
    {(psgd_status_t)5, PSGD_ERR_COMM},
};

enum { NUM_BROKEN_WITH = sizeof(broken_with) / sizeof(broken_with[0]) };

/* What a communicator may fail in. */
enum { IN_STEP, IN_SET_RANKS, IN_REPLICA_CHECK, IN_REPLICA_SYNC, IN_SAVE, NUM_PLACES_TO_BREAK };

/* The good call of this place. */
static psgd_status_t call_at(int where, psgd_reducer_t *reducer, cl_mem mem, float **pointers)
{
    const uint32_t      ranks[2] = {2, 0};
    const psgd_region_t region   = {mem, 0, 4};

    switch (where) {
    case IN_STEP: return psgd_reducer_step_host(reducer, pointers, 2);
    case IN_SET_RANKS: return psgd_reducer_set_ranks(reducer, ranks, 2);
    case IN_REPLICA_CHECK: return psgd_replica_check(reducer, &region, 1);
    case IN_REPLICA_SYNC: return psgd_replica_sync(reducer, &region, 1, 0);
    default: return psgd_reducer_save(reducer, "/tmp/psgd-broken-saves-nothing", PSGD_ERROR_LOCAL);
    }
}

/* The loop's number says what it returns, and whether from begin_all_reduce or from test. */
START_TEST(comm__a_failure_in_the_creation_is_told_as_the_communicators)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    breaking_comm_t comm;

    open_breaking(&comm, broken_with[_i % NUM_BROKEN_WITH].returned, _i >= NUM_BROKEN_WITH);
    comm.begins_left    = comm.fails_in_test ? 1 : 0;
    creation.config.log = ignore_line;
    assert_refused_unwritten(reducer, create(&creation, &comm.table, &reducer),
                             broken_with[_i % NUM_BROKEN_WITH].expected, "the cable of worker 0 was cut");
    close_broken(&comm);
}
END_TEST

START_TEST(comm__a_failure_poisons_with_the_communicators_own_sentence)
{
    creation_t      creation = good_creation();
    psgd_reducer_t *reducer  = NULL;
    cl_mem          mem      = NULL;
    float           values[BENCH_ELEMS];
    float          *pointers[2] = {values, values + ELEMS};
    breaking_comm_t comm;

    for (int where = IN_STEP; where < NUM_PLACES_TO_BREAK; ++where) {
        open_breaking(&comm, broken_with[_i % NUM_BROKEN_WITH].returned, _i >= NUM_BROKEN_WITH);
        creation.config.log = ignore_line;
        assert_ok(create(&creation, &comm.table, &reducer));
        assert_ok(test_buffer_create(workers_device(0), BENCH_ELEMS, &mem));
        test_random_fill(values, BENCH_ELEMS, 1);
        assert_ok(psgd_reducer_step_host(reducer, pointers, 2));
        comm.begins_left = comm.fails_in_test ? 1 : 0;
        assert_refused(call_at(where, reducer, mem, pointers), broken_with[_i % NUM_BROKEN_WITH].expected,
                       "the cable of worker 0 was cut");
        assert_ok(expect_poisoned(reducer, mem, pointers, 2, "cable"));
        clReleaseMemObject(mem);
        psgd_reducer_destroy(reducer);
        close_broken(&comm);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bad input of workers");
    TCase *tcase = tcase_create("workers");
    int    result;

    tcase_add_loop_test(tcase, workers__that_differ_are_told_in_what, 0, sizeof(differences) / sizeof(differences[0]));
    tcase_add_test(tcase, workers__that_differ_in_names_or_their_order_are_told);
    tcase_add_test(tcase, workers__all_fail_to_create_where_one_does);
    tcase_add_test(tcase, nonfinite__a_step_with_nan_or_inf_on_one_worker_has_not_happened);
    tcase_add_test(tcase, nonfinite__a_step_that_overflows_has_not_happened);
    tcase_add_test(tcase, nonfinite__on_one_worker_alone);
    tcase_add_test(tcase, workers__all_hear_of_a_wrong_call_and_go_on);
    tcase_add_test(tcase, workers__all_hear_of_a_wrong_save_and_go_on);
    tcase_add_test(tcase, workers__that_hold_another_q_or_step_are_named);
    tcase_add_test(tcase, workers__that_stop_are_given_up_after_the_deadline);
    tcase_add_test(tcase, workers__that_never_come_are_given_up_after_the_deadline);
    tcase_add_loop_test(tcase, comm__a_failure_in_the_creation_is_told_as_the_communicators, 0, 2 * NUM_BROKEN_WITH);
    tcase_add_loop_test(tcase, comm__a_failure_poisons_with_the_communicators_own_sentence, 0, 2 * NUM_BROKEN_WITH);
    suite_add_tcase(suite, tcase);
    result = bad_input_run(suite, 120);
    workers_close();
    return result;
}
