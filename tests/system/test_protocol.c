/* The step as a protocol: what one worker receives is damaged, or one worker fails, and all workers end the step alike.
 *
 * The faults come in at the public communicator seam: a communicator of the user's that hands everything on to the threads
 * communicator, and meddles with what its worker receives. */
#include <stdbool.h>
#include <stdio.h>

#include "support/suite.h"
#include "support/workers.h"

enum { WORKERS = 2, ROWS = 40, COLS = 30, RANK = 2, VECTOR = 5, MATRIX_ELEMS = ROWS * COLS };

/* A communicator with all_reduce alone, that changes `count` floats from `at` on of what its worker receives in all_reduce number
 * `message` (from 0, creation included). */
typedef struct meddler {
    psgd_comm_t        table;
    const psgd_comm_t *inner;
    int                message;  /* -1: none */
    int                from_end; /* 1: `at` counts back from the end */
    size_t             at;
    float              flip;     /* 0: flip the lowest bit; else the value to put there */
    int                refuses;  /* 1: begin_all_reduce fails at that message instead */
    int                begun;
    float             *data;     /* of the all_reduce under way */
    size_t             count;
} meddler_t;

static psgd_status_t meddler_begin(void *self, float *data, size_t count, psgd_request_t **request_p)
{
    meddler_t *meddler = self;

    if (meddler->refuses && (meddler->begun == meddler->message)) {
        return psgd_comm_fail(PSGD_ERR_COMM, "the wire was cut");
    }
    meddler->begun += 1;
    meddler->data  = data;
    meddler->count = count;
    return meddler->inner->begin_all_reduce(meddler->inner->self, data, count, request_p);
}

static psgd_status_t meddler_test(void *self, psgd_request_t *request, int *done_p)
{
    meddler_t    *meddler = self;
    psgd_status_t status  = meddler->inner->test(meddler->inner->self, request, done_p);

    if ((status == PSGD_OK) && *done_p && (meddler->begun - 1 == meddler->message)) {
        size_t   place = meddler->from_end ? meddler->count - 1 - meddler->at : meddler->at;
        uint32_t bits;

        memcpy(&bits, &meddler->data[place], sizeof(bits));
        bits ^= 1;
        memcpy(&meddler->data[place], meddler->flip != 0.0f ? (const void *)&meddler->flip : (const void *)&bits,
               sizeof(bits));
    }
    return status;
}

static void meddler_abort(void *self)
{
    meddler_t *meddler = self;

    meddler->inner->abort(meddler->inner->self);
}

static void meddler_init(meddler_t *meddler, const psgd_comm_t *inner)
{
    memset(meddler, 0, sizeof(*meddler));
    meddler->table.struct_size      = sizeof(meddler->table);
    meddler->table.name             = "meddler";
    meddler->table.self             = meddler;
    meddler->table.num_workers      = inner->num_workers;
    meddler->table.worker_index     = inner->worker_index;
    meddler->table.begin_all_reduce = meddler_begin;
    meddler->table.test             = meddler_test;
    meddler->table.abort            = meddler_abort;
    meddler->inner                  = inner;
    meddler->message                = -1;
}

/* What one run does to which worker, and what it ended with. */
typedef struct run {
    uint32_t  victim;
    meddler_t meddler;                    /* its settings; of the victim alone */
    int       has_null_grad_in_step;      /* the victim calls this step with a NULL gradient; -1: none */
    int       imports_step;               /* 1: the victim imports another step number before step 1 */
    int       imports_factor;             /* 1: and another Q */
    int       skips_gradients_of_step;    /* the gradients of this step are left out, those behind it move up; -1: none */
    int       num_steps;
    psgd_status_t statuses[WORKERS][8];   /* by step */
    char          sentences[WORKERS][8][512];
    float         updates[WORKERS][8][MATRIX_ELEMS + VECTOR];
} run_t;

static run_t run_plain(void)
{
    run_t run;

    memset(&run, 0, sizeof(run));
    run.victim                = 1;
    run.meddler.message       = -1;
    run.has_null_grad_in_step = -1;
    run.skips_gradients_of_step = -1;
    run.num_steps             = 4;
    return run;
}

static psgd_status_t import_nonsense(const run_t *run, psgd_reducer_t *reducer)
{
    float         q[COLS * RANK];
    psgd_state_t *state = NULL;

    test_random_fill(q, COLS * RANK, 99);
    worker_needs(psgd_state_create(&state));
    if (run->imports_step) {
        worker_needs(psgd_state_set_step(state, 7, 0));
    }
    if (run->imports_factor) {
        worker_needs(psgd_state_set_factor(state, "matrix", COLS, RANK, q));
    }
    worker_needs(psgd_reducer_import_state(reducer, state));
    psgd_state_destroy(state);
    return PSGD_OK;
}

static psgd_status_t create_reducer(worker_t *worker, const psgd_comm_t *comm, psgd_reducer_t **reducer_p)
{
    psgd_tensor_t tensors[2] = {PSGD_TENSOR_INIT, PSGD_TENSOR_INIT};
    psgd_config_t config     = PSGD_CONFIG_INIT;

    tensors[0].name     = "matrix";
    tensors[0].num_dims = 2;
    tensors[0].dims[0]  = ROWS;
    tensors[0].dims[1]  = COLS;
    tensors[1].name     = "vector";
    tensors[1].num_dims = 1;
    tensors[1].dims[0]  = VECTOR;
    config.rank         = RANK;
    config.deadline_seconds = 20.0;
    return psgd_reducer_create(worker->device->context, worker->device->id, worker->device->queue, tensors, 2, &config, comm,
                               reducer_p);
}

static psgd_status_t run_worker(worker_t *worker)
{
    run_t          *run     = worker->user;
    psgd_reducer_t *reducer = NULL;
    meddler_t       meddler;

    meddler_init(&meddler, worker->comm);
    if (worker->index == run->victim) {
        meddler.message  = run->meddler.message;
        meddler.from_end = run->meddler.from_end;
        meddler.at       = run->meddler.at;
        meddler.flip     = run->meddler.flip;
        meddler.refuses  = run->meddler.refuses;
    }
    worker_needs(create_reducer(worker, &meddler.table, &reducer));
    for (int step = 0; step < run->num_steps; ++step) {
        bool     moves_up = (run->skips_gradients_of_step >= 0) && (step >= run->skips_gradients_of_step);
        uint64_t stream   = 1000 + (uint64_t)(step + (moves_up ? 1 : 0)) * WORKERS + worker->index;
        float   *values   = run->updates[worker->index][step];
        float   *grads[2] = {values, values + MATRIX_ELEMS};

        test_random_fill(values, MATRIX_ELEMS + VECTOR, stream);
        if (worker->index == run->victim) {
            if ((step == 1) && (run->imports_step || run->imports_factor)) {
                worker_needs(import_nonsense(run, reducer));
            }
            if (step == run->has_null_grad_in_step) {
                grads[1] = NULL;
            }
        }
        run->statuses[worker->index][step] = psgd_reducer_step_host(reducer, grads, 2);
        if (run->statuses[worker->index][step] != PSGD_OK) {
            snprintf(run->sentences[worker->index][step], sizeof(run->sentences[0][0]), "%s", psgd_last_error());
        }
    }
    psgd_reducer_destroy(reducer);
    return PSGD_OK;
}

static void assert_all_end_with(const run_t *run, int step, psgd_status_t status, const char *words)
{
    for (int w = 0; w < WORKERS; ++w) {
        ck_assert_msg(run->statuses[w][step] == status, "worker %d, step %d: got %s, expected %s (%s)", w, step,
                      psgd_status_name(run->statuses[w][step]), psgd_status_name(status), run->sentences[w][step]);
        ck_assert_msg(strstr(run->sentences[w][step], words) != NULL, "worker %d, step %d: '%s' is not in '%s'", w, step, words,
                      run->sentences[w][step]);
    }
}

static void assert_equal_updates(const run_t *run, int step)
{
    for (int w = 1; w < WORKERS; ++w) {
        ck_assert_mem_eq(run->updates[w][step], run->updates[0][step], sizeof(run->updates[0][0]));
    }
}

/* all_reduces of a healthy run: three of creation (the plans, the times of the engines, the last vote), then two a step. */
static int message_1_of(int step)
{
    return 3 + 2 * step;
}

static int message_2_of(int step)
{
    return 4 + 2 * step;
}

START_TEST(protocol__a_communicator_that_brings_all_reduce_alone_is_enough)
{
    static run_t run;

    run = run_plain();
    workers_run(WORKERS, run_worker, &run);
    for (int step = 0; step < run.num_steps; ++step) {
        assert_all_end_with(&run, step, PSGD_OK, "");
        assert_equal_updates(&run, step);
    }
}
END_TEST

/* P is the first behind the vote, the vector the last of message 1. A flipped bit of P changes P^ on one worker. */
START_TEST(protocol__a_flipped_bit_of_p_on_one_worker_is_found_before_anything_is_committed)
{
    static run_t run;

    run                  = run_plain();
    run.meddler.message  = message_1_of(1);
    run.meddler.from_end = 1;
    run.meddler.at       = VECTOR + 3;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 0, PSGD_OK, "");
    assert_all_end_with(&run, 1, PSGD_ERR_DIVERGED, "step 1");
    assert_all_end_with(&run, 1, PSGD_ERR_DIVERGED, "worker 0 differs from worker 1");
    assert_all_end_with(&run, 2, PSGD_ERR_POISONED, "PSGD_ERR_DIVERGED");
    assert_all_end_with(&run, 3, PSGD_ERR_POISONED, "restart from a saved state");
}
END_TEST

START_TEST(protocol__a_flipped_bit_of_an_uncompressed_mean_is_found_in_the_same_step)
{
    static run_t run;

    run                  = run_plain();
    run.meddler.message  = message_1_of(2);
    run.meddler.from_end = 1;
    run.meddler.at       = 0;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 1, PSGD_OK, "");
    assert_all_end_with(&run, 2, PSGD_ERR_DIVERGED, "step 2");
}
END_TEST

START_TEST(protocol__a_flipped_bit_of_q_on_one_worker_is_found_by_the_next_step)
{
    static run_t run;

    run                  = run_plain();
    run.meddler.message  = message_2_of(1);
    run.meddler.from_end = 1;
    run.meddler.at       = 7;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 1, PSGD_OK, "");
    assert_all_end_with(&run, 2, PSGD_ERR_DIVERGED, "worker 0 differs from worker 1");
    assert_all_end_with(&run, 3, PSGD_ERR_POISONED, "");
}
END_TEST

START_TEST(protocol__a_damaged_vote_ends_the_job_on_all_workers)
{
    static run_t run;

    run                 = run_plain();
    run.meddler.message = message_1_of(1);
    run.meddler.at      = 2;
    run.meddler.flip    = 0.25f;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 0, PSGD_OK, "");
    ck_assert_int_eq(run.statuses[1][1], PSGD_ERR_COMM);
    ck_assert_ptr_nonnull(strstr(run.sentences[1][1], "damaged a message"));
    ck_assert_int_eq(run.statuses[0][1], PSGD_ERR_COMM); /* told by the abort */
    assert_all_end_with(&run, 2, PSGD_ERR_POISONED, "");
}
END_TEST

START_TEST(protocol__a_communicator_that_fails_on_one_worker_ends_the_job_on_all)
{
    static run_t run;

    run                 = run_plain();
    run.meddler.message = message_2_of(0);
    run.meddler.refuses = 1;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 0, PSGD_ERR_COMM, "");
    ck_assert_ptr_nonnull(strstr(run.sentences[1][0], "the wire was cut"));
    assert_all_end_with(&run, 1, PSGD_ERR_POISONED, "");
}
END_TEST

START_TEST(protocol__one_workers_wrong_call_fails_the_step_on_all_and_the_next_step_is_as_if_it_had_not_been)
{
    static run_t run, reference;

    run                       = run_plain();
    run.has_null_grad_in_step = 1;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 0, PSGD_OK, "");
    assert_all_end_with(&run, 1, PSGD_ERR_INVALID_ARGUMENT, "worker 1 (invalid argument)");
    ck_assert_ptr_nonnull(strstr(run.sentences[1][1], "'vector' is NULL"));
    assert_all_end_with(&run, 2, PSGD_OK, "");
    assert_equal_updates(&run, 2);

    reference                         = run_plain();
    reference.skips_gradients_of_step = 1;
    reference.num_steps               = 3;
    workers_run(WORKERS, run_worker, &reference);
    ck_assert_mem_eq(run.updates[0][0], reference.updates[0][0], sizeof(run.updates[0][0]));
    ck_assert_mem_eq(run.updates[0][2], reference.updates[0][1], sizeof(run.updates[0][0]));
    ck_assert_mem_eq(run.updates[0][3], reference.updates[0][2], sizeof(run.updates[0][0]));
}
END_TEST

START_TEST(protocol__workers_at_different_steps_are_named)
{
    static run_t run;

    run              = run_plain();
    run.imports_step = 1;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 1, PSGD_ERR_MISMATCH, "different steps");
    assert_all_end_with(&run, 2, PSGD_ERR_POISONED, "");
}
END_TEST

START_TEST(protocol__a_factor_imported_on_one_worker_alone_is_named)
{
    static run_t run;

    run                = run_plain();
    run.imports_factor = 1;
    workers_run(WORKERS, run_worker, &run);
    assert_all_end_with(&run, 1, PSGD_ERR_DIVERGED, "was a state imported on some of them only?");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("protocol");
    TCase *tcase = tcase_create("protocol");
    int    result;

    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, protocol__a_communicator_that_brings_all_reduce_alone_is_enough);
    tcase_add_test(tcase, protocol__a_flipped_bit_of_p_on_one_worker_is_found_before_anything_is_committed);
    tcase_add_test(tcase, protocol__a_flipped_bit_of_an_uncompressed_mean_is_found_in_the_same_step);
    tcase_add_test(tcase, protocol__a_flipped_bit_of_q_on_one_worker_is_found_by_the_next_step);
    tcase_add_test(tcase, protocol__a_damaged_vote_ends_the_job_on_all_workers);
    tcase_add_test(tcase, protocol__a_communicator_that_fails_on_one_worker_ends_the_job_on_all);
    tcase_add_test(tcase, protocol__one_workers_wrong_call_fails_the_step_on_all_and_the_next_step_is_as_if_it_had_not_been);
    tcase_add_test(tcase, protocol__workers_at_different_steps_are_named);
    tcase_add_test(tcase, protocol__a_factor_imported_on_one_worker_alone_is_named);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
