/* Steps over communicators of nodes: processes that form nodes, and threads within processes. Equal bits on all workers, the reference's
 * values, and the bytes of the flat form. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <psgd/psgd_mpi.h>

#include "base/status.h"
#include "mpi/processes.h"
#include "reference/powersgd_reference.h"
#include "support/suite.h"
#include "support/workers.h"

static const double REFERENCE_BOUND  = 1e-5;
static const double DEADLINE_SECONDS = 240.0;

enum { THREADS = 2 };

static psgd_tensor_t model[JOB_MODEL_TENSORS];

/* Forms of a job that use other collectives. */
typedef enum form { FORM_PLAIN, FORM_BY_OWNERS, FORM_16_BITS, NUM_FORMS } form_t;

static job_t model_job(form_t form, uint32_t num_workers)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS);

    job.num_workers             = num_workers;
    job.q_stream                = 7;
    job.config.sharing          = form == FORM_BY_OWNERS ? PSGD_SHARING_OWNERS : PSGD_SHARING_AUTO;
    job.config.wire             = form == FORM_16_BITS ? PSGD_F16 : PSGD_F32;
    job.config.check_every      = 1;
    job.config.deadline_seconds = DEADLINE_SECONDS;
    return job;
}

/* In 16 bits one step is compared: what is rounded off it comes back in later ones. */
static void assert_reference(const job_t *job, form_t form, const job_record_t *record)
{
    const uint64_t total = record->total_elems;
    const double   bound = form == FORM_16_BITS ? 4.0 * 0x1p-11 : REFERENCE_BOUND;
    double        *updates, *errors;

    job_reference(job, false, &updates, &errors);
    for (uint32_t step = 0; step < (form == FORM_16_BITS ? 1 : job->num_steps); ++step) {
        ck_assert_double_le(job_difference(job_update(record, step), updates + step * total, total), bound);
    }
    free(updates);
    free(errors);
}

START_TEST(nodes__steps_of_processes_are_those_of_the_reference_with_equal_bits)
{
    job_t         job  = model_job((form_t)_i, processes_count());
    psgd_comm_t  *comm = NULL;
    job_record_t  record, flat_record;
    psgd_status_t status;
    char          node[32];

    snprintf(node, sizeof(node), "node %u", processes_index() / 2);
    status = psgd_comm_mpi_nodes_create(MPI_COMM_WORLD, node, DEADLINE_SECONDS, &comm);
    if (status == PSGD_OK) {
        status = job_run_worker(&job, processes_device(), comm, &record);
    }
    psgd_comm_destroy(comm);
    processes_agree(status);
    processes_assert_equal_updates(&record);
    assert_reference(&job, (form_t)_i, &record);

    processes_run_job(&job, &flat_record);
    ck_assert_uint_gt(record.stats[job.num_steps - 1].bytes_last_step, 1000);
    ck_assert_uint_eq(record.stats[job.num_steps - 1].bytes_last_step,
                      flat_record.stats[job.num_steps - 1].bytes_last_step);
    ck_assert_uint_eq(record.stats[job.num_steps - 1].messages_last_step,
                      flat_record.stats[job.num_steps - 1].messages_last_step);
    job_record_free(&flat_record);
    job_record_free(&record);
}
END_TEST

/* ---- threads ---- */

typedef struct thread {
    pthread_t            id;
    const job_t         *job;
    const test_device_t *device;
    psgd_comm_t         *comm;
    job_record_t         record;
    psgd_status_t        status;
    char                 sentence[1024];
} thread_t;

static void *thread_main(void *argument)
{
    thread_t *thread = argument;

    thread->status = job_run_worker(thread->job, thread->device, thread->comm, &thread->record);
    snprintf(thread->sentence, sizeof(thread->sentence), "%s", psgd_last_error());
    psgd_comm_destroy(thread->comm);
    return NULL;
}

/* The main thread is the first. */
static psgd_status_t run_threads(const job_t *job, thread_t *threads)
{
    psgd_comm_t  *comms[THREADS];
    psgd_status_t status = psgd_comm_mpi_threads_create(MPI_COMM_WORLD, THREADS, DEADLINE_SECONDS, comms);

    if (status != PSGD_OK) {
        return status;
    }
    for (uint32_t t = 0; t < THREADS; ++t) {
        threads[t].job    = job;
        threads[t].device = workers_device(t);
        threads[t].comm   = comms[t];
        if (t > 0) {
            ck_assert_int_eq(pthread_create(&threads[t].id, NULL, thread_main, &threads[t]), 0);
        }
    }
    thread_main(&threads[0]);
    for (uint32_t t = 1; t < THREADS; ++t) {
        ck_assert_int_eq(pthread_join(threads[t].id, NULL), 0);
    }
    for (uint32_t t = 0; t < THREADS; ++t) {
        if (threads[t].status != PSGD_OK) {
            return psgd_fail(threads[t].status, "thread %u: %s", t, threads[t].sentence);
        }
    }
    return PSGD_OK;
}

START_TEST(nodes__steps_of_threads_within_processes_are_those_of_the_reference_with_equal_bits)
{
    job_t    job              = model_job((form_t)_i, THREADS * processes_count());
    thread_t threads[THREADS] = {{0}};
    size_t   bytes;

    processes_agree(run_threads(&job, threads));
    bytes = threads[0].record.total_elems * job.num_steps * sizeof(float);
    processes_agree(memcmp(threads[0].record.updates, threads[1].record.updates, bytes) == 0
                        ? PSGD_OK
                        : psgd_fail(PSGD_ERR_DIVERGED, "the threads of a process hold different updates"));
    processes_assert_equal_updates(&threads[0].record);
    assert_reference(&job, (form_t)_i, &threads[0].record);
    ck_assert_uint_gt(threads[1].record.stats[job.num_steps - 1].bytes_last_step, 1000);
    for (int t = 0; t < THREADS; ++t) {
        job_record_free(&threads[t].record);
    }
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("step_nodes, MPI");
    TCase *tcase = tcase_create("nodes");
    int    result;

    processes_open(&argc, &argv);
    job_model(model);
    tcase_set_timeout(tcase, 600);
    if (processes_count() > 2) {
        tcase_add_loop_test(tcase, nodes__steps_of_processes_are_those_of_the_reference_with_equal_bits, 0, NUM_FORMS);
    } else {
        tcase_add_loop_test(tcase, nodes__steps_of_threads_within_processes_are_those_of_the_reference_with_equal_bits,
                            0, NUM_FORMS);
    }
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    processes_close();
    return result;
}
