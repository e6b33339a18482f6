/* Reducers over a communicator of nodes, workers being threads: equal bits on all workers, nothing lost, the values of the flat form and of
 * the reference up to rounding, and the bytes of the flat form. */
#include <stdlib.h>

#include "support/job.h"
#include "support/lanes.h"
#include "support/suite.h"
#include "support/ways.h"
#include "support/workers.h"

/* Sums in another order, over one step. */
static const double ROUNDING_BOUND  = 4e-6;
static const double REFERENCE_BOUND = 1e-5;

static psgd_tensor_t model[JOB_MODEL_TENSORS], flat_model[JOB_MODEL_TENSORS];

static const node_shape_t SHAPES[] = {{2, {2, 2}}, {2, {2, 1}}, {3, {1, 3, 1}}, {3, {2, 2, 2}}};

typedef struct nodes_way {
    way_t          way;
    int            shape;
    psgd_sharing_t sharing;
} nodes_way_t;

static const nodes_way_t WAYS[] = {
    {{.engine = PSGD_ENGINE_FUSED}, 0, PSGD_SHARING_NONE},
    {{.engine = PSGD_ENGINE_CLBLAST, .is_finite = true, .memory = JOB_HOST_POINTERS}, 1, PSGD_SHARING_NONE},
    {{.engine = PSGD_ENGINE_FUSED, .start_step = 1}, 2, PSGD_SHARING_OWNERS},
    {{.engine = PSGD_ENGINE_FUSED, .half_iterations = 1}, 1, PSGD_SHARING_OWNERS},
    {{.engine = PSGD_ENGINE_FUSED, .wire = PSGD_F16}, 1, PSGD_SHARING_NONE},
    {{.engine = PSGD_ENGINE_FUSED, .wire = PSGD_BF16}, 3, PSGD_SHARING_NONE},
    {{.engine = PSGD_ENGINE_FUSED, .flatten = true, .energy_every = 2}, 2, PSGD_SHARING_NONE},
};

enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]) };

static job_t nodes_job(const nodes_way_t *which)
{
    job_t job = way_job(&which->way, which->way.flatten ? flat_model : model, JOB_MODEL_TENSORS);

    job.num_workers             = node_shape_workers(&SHAPES[which->shape]);
    job.num_steps               = 4;
    job.config.sharing          = which->sharing;
    job.config.check_every      = 1;
    job.config.deadline_seconds = 120.0;
    return job;
}

typedef struct nodes_run {
    const job_t  *job;
    lanes_t       lanes[LANES_MAX_WORKERS];
    job_record_t *records;
} nodes_run_t;

/* Another communicator than the worker's own. */
static psgd_status_t run_worker(worker_t *worker)
{
    nodes_run_t  *run   = worker->user;
    lanes_t      *lanes = &run->lanes[worker->index];
    psgd_comm_t  *comm  = NULL;
    psgd_status_t status;

    worker_needs(psgd_comm_nodes_create(lanes->up, lanes->down, lanes->leaders, 60.0, &comm));
    worker_expects(comm->worker_index == worker->index, "worker %u is numbered %u", worker->index, comm->worker_index);
    status = job_run_worker(run->job, worker->device, comm, &run->records[worker->index]);
    psgd_comm_destroy(comm);
    return status;
}

static void run_on_nodes(const job_t *job, const node_shape_t *shape, job_record_t *records)
{
    nodes_run_t run = {.job = job, .records = records};

    lanes_create(shape, run.lanes);
    memset(records, 0, job->num_workers * sizeof(*records));
    workers_run(job->num_workers, run_worker, &run);
}

START_TEST(nodes__all_workers_hold_the_same_bits_and_nothing_is_lost)
{
    const nodes_way_t *which = &WAYS[_i];
    job_t              job   = nodes_job(which);
    job_record_t       records[WORKERS_MAX];

    if (psgd_test_shapes_are_reduced() && (_i % 2 == 1)) {
        return;
    }
    run_on_nodes(&job, &SHAPES[which->shape], records);
    job_assert_equal_updates(&job, records);
    if (!which->way.flatten) {
        job_assert_nothing_lost(&job, records, 2 * ROUNDING_BOUND);
    }
    job_records_free(&job, records);
}
END_TEST

/* The updates of the first compressed step: later ones start from factors that differ in rounding. */
START_TEST(nodes__updates_and_bytes_are_those_of_the_flat_form)
{
    const nodes_way_t *which = &WAYS[_i];
    job_t              job   = nodes_job(which);
    const uint32_t     last  = (uint32_t)which->way.start_step;
    const double bound = which->way.wire == PSGD_F16 ? 0x1p-10 : which->way.wire == PSGD_BF16 ? 0x1p-7 : ROUNDING_BOUND;
    job_record_t records[WORKERS_MAX], flat_records[WORKERS_MAX];
    double      *expected;

    if (psgd_test_shapes_are_reduced() && (_i % 2 == 1)) {
        return;
    }
    job.num_steps = last + 1;
    run_on_nodes(&job, &SHAPES[which->shape], records);
    job_run(&job, flat_records);
    expected = job_wide(job_update(&flat_records[0], last), records[0].total_elems);
    ck_assert_double_le(job_difference(job_update(&records[0], last), expected, records[0].total_elems), bound);
    for (uint32_t w = 0; w < job.num_workers; ++w) {
        const psgd_stats_t *stats = &records[w].stats[last], *flat_stats = &flat_records[w].stats[last];

        ck_assert_uint_gt(stats->bytes_last_step, 1000);
        ck_assert_uint_eq(stats->bytes_last_step, flat_stats->bytes_last_step);
        ck_assert_uint_eq(stats->messages_last_step, flat_stats->messages_last_step);
    }
    free(expected);
    job_records_free(&job, records);
    job_records_free(&job, flat_records);
}
END_TEST

START_TEST(nodes__steps_are_those_of_the_reference)
{
    job_t        job = nodes_job(&WAYS[_i]);
    double      *updates, *errors;
    job_record_t records[WORKERS_MAX];
    uint64_t     total = job_total_elems(&job);

    job.q_stream = 7;
    run_on_nodes(&job, &SHAPES[WAYS[_i].shape], records);
    job_reference(&job, false, &updates, &errors);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        ck_assert_double_le(
            job_difference(job_update(&records[job.num_workers - 1], step), updates + step * total, total),
            REFERENCE_BOUND);
    }
    free(updates);
    free(errors);
    job_records_free(&job, records);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("nodes");
    TCase *tcase = tcase_create("steps");
    int    result;

    job_model(model);
    job_model(flat_model);
    for (size_t t = 0; t < JOB_MODEL_TENSORS; ++t) {
        flat_model[t].rank = 0;
    }
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, nodes__all_workers_hold_the_same_bits_and_nothing_is_lost, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, nodes__updates_and_bytes_are_those_of_the_flat_form, 0, NUM_WAYS);
    tcase_add_loop_test(tcase, nodes__steps_are_those_of_the_reference, 0, 3);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
