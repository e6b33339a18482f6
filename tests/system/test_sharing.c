/* How workers come by the same bits (psgd_config_t.sharing): by owners, who make everything once, also where sums by all_reduce give
 * other bits on some worker; and what is compared: factors, updates, parameters, regions of the caller's. */
#define _XOPEN_SOURCE 700 /* mkdtemp() */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/vote.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

/* What a balance of a few fp32 matrices, and one step of two roundings of the same, may be off by. */
static const double ROUNDING_BOUND = 4e-6;

static psgd_tensor_t model[JOB_MODEL_TENSORS],
    flat_model[JOB_MODEL_TENSORS]; /* the second without ranks of its tensors */

/* A model most of which is one embedding: more than 2/W of all P from three workers on, of no Q. */
enum { EMBEDDING_TENSORS = 4, EMBEDDING_ROWS = 900, EMBEDDING_COLS = 24, OTHER_ROWS = 40, OTHER_COLS = 56 };
static psgd_tensor_t embedding[EMBEDDING_TENSORS];

/* ---- communicators of the user's ---- */

/* What a communicator lacks, and what its all_reduce does wrong. */
typedef struct habits {
    bool has_no_scatter, has_no_gather, has_no_broadcast;
    bool
        is_uneven; /* sums of payloads are one unit larger on all workers but 0, as an algorithm gives that adds in each worker's own
                     * order */
} habits_t;

/* Hands everything on, with these habits. */
typedef struct habitual {
    psgd_comm_t        table;
    const psgd_comm_t *inner;
    habits_t           habits;
    psgd_request_t    *uneven; /* the request whose data will be uneven; NULL: none is under way */
    float             *data;
    size_t             count;
} habitual_t;

static psgd_status_t habitual_all_reduce(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    habitual_t   *comm   = self;
    psgd_status_t status = comm->inner->begin_all_reduce(comm->inner->self, data, count, request_p);

    if ((status == PSGD_OK) && comm->habits.is_uneven && (count > psgd_vote_elems(comm->table.num_workers))) {
        comm->uneven = *request_p;
        comm->data   = data;
        comm->count  = count;
    }
    return status;
}

static psgd_status_t habitual_reduce_scatter(void *self, float *data, const size_t *counts, psgd_request_t **request_p)
{
    habitual_t *comm = self;

    return comm->inner->begin_reduce_scatter(comm->inner->self, data, counts, request_p);
}

static psgd_status_t habitual_all_gather(void *self, void *data, const size_t *counts, psgd_request_t **request_p)
{
    habitual_t *comm = self;

    return comm->inner->begin_all_gather(comm->inner->self, data, counts, request_p);
}

static psgd_status_t habitual_broadcast(void *self, void *data, size_t bytes, uint32_t root, psgd_request_t **request_p)
{
    habitual_t *comm = self;

    return comm->inner->begin_broadcast(comm->inner->self, data, bytes, root, request_p);
}

static psgd_status_t habitual_test(void *self, psgd_request_t *request, int *done_p)
{
    habitual_t   *comm   = self;
    psgd_status_t status = comm->inner->test(comm->inner->self, request, done_p);

    if ((status == PSGD_OK) && *done_p && (request == comm->uneven)) {
        size_t vote = psgd_vote_elems(comm->table.num_workers);

        comm->uneven = NULL;
        for (size_t i = vote; (comm->table.worker_index != 0) && (i < comm->count); ++i) {
            comm->data[i] = nextafterf(comm->data[i], INFINITY);
        }
    }
    return status;
}

static void habitual_abort(void *self)
{
    habitual_t *comm = self;

    comm->inner->abort(comm->inner->self);
}

static void habitual_init(habitual_t *comm, const psgd_comm_t *inner, habits_t habits)
{
    memset(comm, 0, sizeof(*comm));
    comm->table.struct_size          = sizeof(comm->table);
    comm->table.name                 = "habitual";
    comm->table.self                 = comm;
    comm->table.num_workers          = inner->num_workers;
    comm->table.worker_index         = inner->worker_index;
    comm->table.begin_all_reduce     = habitual_all_reduce;
    comm->table.begin_reduce_scatter = habits.has_no_scatter ? NULL : habitual_reduce_scatter;
    comm->table.begin_all_gather     = habits.has_no_gather ? NULL : habitual_all_gather;
    comm->table.begin_broadcast      = habits.has_no_broadcast ? NULL : habitual_broadcast;
    comm->table.test                 = habitual_test;
    comm->table.abort                = habitual_abort;
    comm->inner                      = inner;
    comm->habits                     = habits;
}

/* ---- steps ---- */

static const way_t WAYS[] = {
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 2},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .is_finite = true, .start_step = 1, .memory = JOB_HOST_POINTERS},
    {.engine = PSGD_ENGINE_CLBLAST, .num_workers = 4, .cold_start = true, .max_norm = 1.0},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 5, .half_iterations = 1, .memory = JOB_CHANGING_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 7, .wire = PSGD_F16},
    {.engine = PSGD_ENGINE_CLBLAST, .num_workers = 8, .half_iterations = 3, .memory = JOB_SEPARATE_BUFFERS},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .flatten = true, .energy_every = 2},
    {.engine = PSGD_ENGINE_FUSED, .num_workers = 1},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static bool is_left_out(int i)
{
    return psgd_test_shapes_are_reduced() && (i % 2 == 1);
}

static job_t sharing_job(const way_t *way, psgd_sharing_t sharing)
{
    job_t job = way_job(way, way->flatten ? flat_model : model, JOB_MODEL_TENSORS);

    job.num_steps          = 5;
    job.config.sharing     = sharing;
    job.config.check_every = 2;
    return job;
}

START_TEST(sharing__owners_make_the_same_bits_for_all_and_nothing_is_lost)
{
    job_t        job = sharing_job(&WAYS[_i], PSGD_SHARING_OWNERS);
    job_record_t records[WORKERS_MAX];

    if (is_left_out(_i)) {
        return;
    }
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    if ((WAYS[_i].max_norm == 0.0) && !WAYS[_i].flatten) {
        job_assert_nothing_lost(&job, records, ROUNDING_BOUND);
    }
    ck_assert_uint_gt(records[0].stats[job.num_steps - 1].bytes_last_step, job.num_workers > 1 ? 1000 : 0);
    job_records_free(&job, records);
}
END_TEST

/* The sums are rounded in another order, and no more. */
START_TEST(sharing__owners_make_what_each_makes_for_itself)
{
    job_t by_owners = sharing_job(&WAYS[_i], PSGD_SHARING_OWNERS), by_each = sharing_job(&WAYS[_i], PSGD_SHARING_NONE);
    uint64_t     total = job_total_elems(&by_each);
    uint32_t     step  = (uint32_t)by_each.config.start_step;
    double      *expected;
    job_record_t records[WORKERS_MAX], expected_records[WORKERS_MAX];

    if (is_left_out(_i)) {
        return;
    }
    by_owners.num_steps = by_each.num_steps = step + 1;
    job_run(&by_owners, records);
    job_run(&by_each, expected_records);
    expected = job_wide(job_update(&expected_records[0], step), total);
    ck_assert_double_le(job_difference(job_update(&records[0], step), expected, total), ROUNDING_BOUND);
    free(expected);
    job_records_free(&by_owners, records);
    job_records_free(&by_each, expected_records);
}
END_TEST

/* A job on communicators with habits. */
typedef struct habitual_job {
    const job_t  *job;
    job_record_t *records;
    habits_t      habits;
} habitual_job_t;

static psgd_status_t run_habitual(worker_t *worker)
{
    const habitual_job_t *shared = worker->user;
    habitual_t            comm;

    habitual_init(&comm, worker->comm, shared->habits);
    return job_run_worker(shared->job, worker->device, &comm.table, &shared->records[worker->index]);
}

START_TEST(sharing__a_communicator_without_scatter_or_gather_gets_by_with_sums)
{
    static const habits_t HABITS[]    = {{.has_no_scatter = true}, {.has_no_gather = true, .has_no_broadcast = true}};
    static const way_t    POOR_WAYS[] = {{.engine = PSGD_ENGINE_FUSED, .num_workers = 3},
                                         {.engine = PSGD_ENGINE_FUSED, .num_workers = 2, .half_iterations = 2}};
    job_t                 job         = sharing_job(&POOR_WAYS[_i], PSGD_SHARING_OWNERS);
    job_record_t          records[WORKERS_MAX];
    habitual_job_t        shared = {&job, records, HABITS[_i]};

    memset(records, 0, sizeof(records));
    workers_run(job.num_workers, run_habitual, &shared);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, ROUNDING_BOUND);
    job_records_free(&job, records);
}
END_TEST

/* The vote in every segment of two all-reduces' worth; the factors and the vector once; and Q^. The dominating P as an all-reduce that
 * only its owner needs, and a broadcast. Half of it travels in each half. */
START_TEST(sharing__a_matrix_that_dominates_is_broadcast_by_its_owner)
{
    const way_t    way  = {.engine = PSGD_ENGINE_FUSED, .num_workers = 4};
    const uint64_t vote = psgd_vote_elems(way.num_workers), votes = way.num_workers * vote;
    const uint64_t r = 4, p_elems = (EMBEDDING_ROWS + 3 * OTHER_ROWS) * r,
                   q_elems = (EMBEDDING_COLS + 3 * OTHER_COLS) * r;
    const uint64_t rest    = p_elems - EMBEDDING_ROWS * r;
    const uint64_t q_hat = (votes + q_elems) / 2, message_1 = votes + rest, message_2 = votes + q_elems;
    const uint64_t dominating = vote + EMBEDDING_ROWS * r + EMBEDDING_ROWS * r / 2;
    job_t          job        = sharing_job(&way, PSGD_SHARING_OWNERS);
    job_record_t   records[WORKERS_MAX];
    habitual_job_t shared = {&job, records, {.has_no_broadcast = _i == 1}};
    uint64_t       bytes  = sizeof(float) * (q_hat + message_1 + message_2 + dominating);

    if (_i == 1) { /* then it goes with the others */
        bytes = sizeof(float) * (q_hat + message_1 + EMBEDDING_ROWS * r + message_2);
    }
    memset(records, 0, sizeof(records));
    job.tensors     = embedding;
    job.num_tensors = EMBEDDING_TENSORS;
    workers_run(job.num_workers, run_habitual, &shared);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, ROUNDING_BOUND);
    ck_assert_uint_eq(records[1].stats[4].bytes_last_step, bytes);
    ck_assert_uint_eq(records[1].stats[4].messages_last_step, _i == 1 ? 5 : 7);
    job_records_free(&job, records);
}
END_TEST

/* ---- all-reduces that give other bits on some worker ---- */

START_TEST(sharing__owners_hold_equal_bits_whatever_all_reduce_does)
{
    const way_t    way = {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .start_step = (uint64_t)_i};
    job_t          job = sharing_job(&way, PSGD_SHARING_OWNERS);
    job_record_t   records[WORKERS_MAX];
    habitual_job_t shared = {&job, records, {.is_uneven = true}};

    if (_i == 1) { /* with a matrix whose P is all-reduced */
        job.tensors     = embedding;
        job.num_tensors = EMBEDDING_TENSORS;
    }
    memset(records, 0, sizeof(records));
    workers_run(job.num_workers, run_habitual, &shared);
    job_assert_equal_updates(&job, records);
    job_assert_nothing_lost(&job, records, ROUNDING_BOUND);
    job_records_free(&job, records);
}
END_TEST

START_TEST(sharing__without_owners_such_an_all_reduce_is_told_on_all_workers)
{
    const way_t      way = {.engine = PSGD_ENGINE_FUSED, .num_workers = 3, .start_step = _i == 0 ? 0 : 10};
    job_t            job = sharing_job(&way, PSGD_SHARING_NONE);
    job_record_t     records[WORKERS_MAX];
    habitual_job_t   shared = {&job, records, {.is_uneven = true}};
    worker_outcome_t outcomes[WORKERS_MAX];
    const char      *words = _i == 0
                                 ? "step 0: the workers hold different bits of Q, P^" /* its P by its own second message */
                                 : "step 1: the workers hold different bits of Q, P^"; /* means by the next step */

    job.config.check_every = 0;
    memset(records, 0, sizeof(records));
    workers_try(job.num_workers, run_habitual, &shared, outcomes);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        ck_assert_msg(outcomes[w].status == PSGD_ERR_DIVERGED, "worker %u: %s", (unsigned)w, outcomes[w].sentence);
        ck_assert_msg(strstr(outcomes[w].sentence, words) != NULL, "%s", outcomes[w].sentence);
        ck_assert_ptr_nonnull(strstr(outcomes[w].sentence, "worker 0 differs from worker 1, 2"));
    }
    job_records_free(&job, records);
}
END_TEST

/* ---- what is compared beyond factors ---- */

enum { PARAM_ELEMS = 40 * 56, WORKERS = 3 };

static psgd_status_t expect(psgd_status_t status, psgd_status_t expected, const char *words)
{
    worker_expects(status == expected, "got %s, expected %s: %s", psgd_status_name(status), psgd_status_name(expected),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), words) != NULL, "'%s' is not in the sentence: %s", words,
                   psgd_last_error());
    return PSGD_OK;
}

static psgd_status_t create_small(worker_t *worker, uint64_t check_every, const psgd_comm_t *comm,
                                  psgd_reducer_t **reducer_p)
{
    psgd_tensor_t tensor = job_tensor("w", 40, 56);
    psgd_config_t config = PSGD_CONFIG_INIT;

    config.check_every      = check_every;
    config.engine           = PSGD_ENGINE_FUSED;
    config.deadline_seconds = 60.0;
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, &tensor, 1, &config,
                               comm, reducer_p);
}

/* Parameters that begin with one other bit on worker 2: the step after the first that was checked says so. */
static psgd_status_t train_from_other_parameters(worker_t *worker)
{
    const uint64_t      check_every = *(const uint64_t *)worker->user;
    psgd_step_options_t options     = PSGD_STEP_OPTIONS_INIT;
    psgd_optimizer_t    optimizer   = PSGD_OPTIMIZER_INIT;
    psgd_reducer_t     *reducer     = NULL;
    psgd_buffer_t       param = {NULL, 0}, grad = {NULL, 0};
    float              *values = calloc(PARAM_ELEMS, sizeof(*values));
    psgd_status_t       status = PSGD_OK;

    worker_expects(values != NULL, "no memory");
    worker_needs(test_buffer_create(worker->device, PARAM_ELEMS, &param.mem));
    worker_needs(test_buffer_create(worker->device, PARAM_ELEMS, &grad.mem));
    test_random_fill(values, PARAM_ELEMS, 5);
    values[77] += worker->index == 2 ? 0x1p-20f : 0.0f;
    worker_needs(test_buffer_write(worker->device, param.mem, 0, values, PARAM_ELEMS));
    worker_needs(create_small(worker, check_every, worker->comm, &reducer));
    optimizer.learning_rate = 0.01f;
    optimizer.params        = &param;
    options.optimizer       = &optimizer;
    for (uint32_t step = 0; (step < 5) && (status == PSGD_OK); ++step) {
        test_random_fill(values, PARAM_ELEMS, 1000 + step * WORKERS + worker->index);
        worker_needs(test_buffer_write(worker->device, grad.mem, 0, values, PARAM_ELEMS));
        status = psgd_reducer_step_with(reducer, &grad, 1, &options);
    }
    if (check_every == 0) {
        worker_needs(status); /* nobody has looked */
    } else {
        worker_needs(
            expect(status, PSGD_ERR_DIVERGED,
                   "step 1: after step 0 the workers held different updates or parameters; worker 0 differs from "
                   "worker 2"));
        worker_needs(expect(psgd_reducer_step_with(reducer, &grad, 1, &options), PSGD_ERR_POISONED, "cannot go on"));
    }
    psgd_reducer_destroy(reducer);
    clReleaseMemObject(param.mem);
    clReleaseMemObject(grad.mem);
    free(values);
    return PSGD_OK;
}

START_TEST(check_every__parameters_that_have_parted_are_told_with_step_and_worker)
{
    uint64_t check_every = (uint64_t)_i;

    workers_run(WORKERS, train_from_other_parameters, &check_every);
}
END_TEST

/* Regions of all kinds of lengths and places, the second larger than what travels at once. */
enum { REGION_BUFFER_BYTES = 3 * 1024 * 1024, NUM_REGIONS = 4 };

static psgd_status_t flip_byte(const worker_t *worker, cl_mem mem, size_t at)
{
    unsigned char byte = 0;

    worker_needs(test_cl_check(clEnqueueReadBuffer(worker->device->queue, mem, CL_TRUE, at, 1, &byte, 0, NULL, NULL),
                               "reading"));
    byte ^= 0x10;
    return test_cl_check(clEnqueueWriteBuffer(worker->device->queue, mem, CL_TRUE, at, 1, &byte, 0, NULL, NULL),
                         "writing");
}

static psgd_status_t part_and_sync(worker_t *worker)
{
    const habits_t *habits  = worker->user;
    psgd_reducer_t *reducer = NULL;
    cl_mem          mem = NULL, other = NULL;
    float          *values = calloc(REGION_BUFFER_BYTES, 1);
    habitual_t      comm;

    worker_expects(values != NULL, "no memory");
    habitual_init(&comm, worker->comm, *habits);
    worker_needs(test_buffer_create(worker->device, REGION_BUFFER_BYTES / sizeof(float), &mem));
    worker_needs(test_buffer_create(worker->device, 64, &other));
    test_random_fill(values, REGION_BUFFER_BYTES / sizeof(float), 8);
    worker_needs(test_buffer_write(worker->device, mem, 0, values, REGION_BUFFER_BYTES / sizeof(float)));
    worker_needs(test_buffer_write(worker->device, other, 0, values, 64));
    worker_needs(create_small(worker, 0, &comm.table, &reducer));
    {
        const psgd_region_t regions[NUM_REGIONS] = {
            {mem, 1, 7}, {mem, 64, REGION_BUFFER_BYTES - 64}, {other, 2, 6}, {other, 12, 4}};
        /* a byte of each region, by turns in another worker */
        const size_t places[NUM_REGIONS] = {7, REGION_BUFFER_BYTES - 1, 7, 12};

        worker_needs(psgd_replica_check(reducer, regions, NUM_REGIONS));
        for (uint32_t i = 0; i < NUM_REGIONS; ++i) {
            char words[128];

            if (worker->index == 1 + i % 2) {
                worker_needs(flip_byte(worker, regions[i].mem, places[i]));
            }
            snprintf(words, sizeof(words), "region %u of 4 differs: worker 0 holds other bits than worker %u;",
                     (unsigned)i, (unsigned)(1 + i % 2));
            worker_needs(expect(psgd_replica_check(reducer, regions, NUM_REGIONS), PSGD_ERR_DIVERGED, words));
            worker_needs(psgd_replica_sync(reducer, regions, NUM_REGIONS, (i + 2) % WORKERS));
            worker_needs(psgd_replica_check(reducer, regions, NUM_REGIONS));
        }
        worker_needs(flip_byte(worker, mem, 0)); /* of no region: it changes nothing */
        worker_needs(psgd_replica_check(reducer, regions, NUM_REGIONS));
        worker_needs(expect(psgd_replica_check(reducer, regions, worker->index == 1 ? 3 : NUM_REGIONS),
                            PSGD_ERR_MISMATCH,
                            "psgd_replica_check: worker 1 passes other regions, or another root, than worker 0"));
        worker_needs(expect(psgd_replica_sync(reducer, regions, NUM_REGIONS, worker->index == 2 ? 1 : 0),
                            PSGD_ERR_MISMATCH, "psgd_replica_sync: worker 2 passes other regions, or another root"));
        worker_needs(expect(psgd_replica_sync(reducer, regions, worker->index == 1 ? 0 : NUM_REGIONS, 0),
                            PSGD_ERR_INVALID_ARGUMENT,
                            worker->index == 1 ? "there are no regions" : "failed on worker 1"));
        worker_needs(psgd_replica_check(reducer, regions, NUM_REGIONS));
        worker_needs(
            expect(psgd_replica_check(reducer, NULL, NUM_REGIONS), PSGD_ERR_INVALID_ARGUMENT, "regions is NULL"));
        worker_needs(
            expect(psgd_replica_sync(reducer, regions, NUM_REGIONS, WORKERS), PSGD_ERR_INVALID_ARGUMENT, "root is 3"));
    }
    {
        const psgd_region_t overlap[] = {{other, 0, 8}, {mem, 0, 8}, {mem, 7, 4}},
                            empty[]   = {{mem, 4, 4}, {other, 2, 0}},
                            touch[]   = {{mem, 8, 4}, {other, 0, 12}, {mem, 0, 8}};

        worker_needs(
            expect(psgd_replica_sync(reducer, overlap, 3, 0), PSGD_ERR_INVALID_ARGUMENT, "regions 1 and 2 overlap"));
        worker_needs(expect(psgd_replica_check(reducer, empty, 2), PSGD_ERR_INVALID_ARGUMENT, "region 1"));
        worker_needs(psgd_replica_sync(reducer, touch, 3, 2));
    }
    psgd_reducer_destroy(reducer);
    clReleaseMemObject(mem);
    clReleaseMemObject(other);
    free(values);
    return PSGD_OK;
}

START_TEST(replicas__are_compared_and_made_equal)
{
    static const habits_t HABITS[] = {{0}, {.has_no_broadcast = true, .has_no_scatter = true, .has_no_gather = true}};

    workers_run(WORKERS, part_and_sync, (void *)(uintptr_t)&HABITS[_i]);
}
END_TEST

/* Factors that have parted in the last step are found by a save, before a next step would. */
static psgd_status_t save_what_has_parted(worker_t *worker)
{
    const char     *path    = worker->user;
    psgd_reducer_t *reducer = NULL;
    psgd_state_t   *state   = NULL;
    float          *values  = calloc(PARAM_ELEMS, sizeof(*values));

    worker_expects(values != NULL, "no memory");
    worker_needs(create_small(worker, 0, worker->comm, &reducer));
    test_random_fill(values, PARAM_ELEMS, 31 + worker->index);
    worker_needs(psgd_reducer_step_host(reducer, &values, 1));
    worker_needs(psgd_reducer_save(reducer, path, PSGD_ERROR_MEAN));
    if (worker->index == 1) {
        test_random_fill(values, 56 * 4, 99);
        worker_needs(psgd_state_create(&state));
        worker_needs(psgd_state_set_factor(state, "w", 56, 4, values));
        worker_needs(psgd_reducer_import_state(reducer, state));
        psgd_state_destroy(state);
    }
    worker_needs(expect(psgd_reducer_save(reducer, path, PSGD_ERROR_LOCAL), PSGD_ERR_DIVERGED,
                        "the workers hold different factors, or are at different steps, and save nothing"));
    worker_needs(psgd_reducer_load(reducer, path)); /* the save before is whole, and brings them together */
    worker_needs(psgd_reducer_save(reducer, path, PSGD_ERROR_LOCAL));
    psgd_reducer_destroy(reducer);
    free(values);
    return PSGD_OK;
}

START_TEST(save__factors_that_have_parted_are_not_saved)
{
    char directory[] = "/tmp/psgd-sharing-XXXXXX", path[64], command[96];

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/run", directory);
    workers_run(2, save_what_has_parted, path);
    snprintf(command, sizeof(command), "rm -r %s", directory);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sharing");
    TCase *tcase = tcase_create("threads");
    int    result;

    job_model(model);
    job_model(flat_model);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        flat_model[t].rank = flat_model[t].rank > 0 ? 0 : flat_model[t].rank;
    }
    embedding[0] = job_tensor("embedding", EMBEDDING_ROWS, EMBEDDING_COLS);
    embedding[1] = job_tensor("a", OTHER_ROWS, OTHER_COLS);
    embedding[2] = job_tensor("b", OTHER_ROWS, OTHER_COLS);
    embedding[3] = job_tensor("c", OTHER_ROWS, OTHER_COLS);
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, sharing__owners_make_the_same_bits_for_all_and_nothing_is_lost, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, sharing__owners_make_what_each_makes_for_itself, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, sharing__a_communicator_without_scatter_or_gather_gets_by_with_sums, 0, 2);
    tcase_add_loop_test(tcase, sharing__a_matrix_that_dominates_is_broadcast_by_its_owner, 0, 2);
    tcase_add_loop_test(tcase, sharing__owners_hold_equal_bits_whatever_all_reduce_does, 0, 2);
    tcase_add_loop_test(tcase, sharing__without_owners_such_an_all_reduce_is_told_on_all_workers, 0, 2);
    tcase_add_loop_test(tcase, check_every__parameters_that_have_parted_are_told_with_step_and_worker, 0, 2);
    tcase_add_loop_test(tcase, replicas__are_compared_and_made_equal, 0, 2);
    tcase_add_test(tcase, save__factors_that_have_parted_are_not_saved);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
