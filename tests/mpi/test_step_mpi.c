/* Steps of MPI processes: the same bits everywhere, the reference's values, every byte counted, and failures that all
 * processes agree on. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <psgd/psgd_mpi.h>

#include "base/status.h"
#include "core/vote.h"
#include "mpi/processes.h"
#include "reference/powersgd_reference.h"
#include "support/suite.h"
#include "support/workers.h"

static const double REFERENCE_BOUND  = 1e-5;
static const double DEADLINE_SECONDS = 240.0;

static psgd_tensor_t model[JOB_MODEL_TENSORS + 1];

static job_t model_job(void)
{
    job_t job = job_describe(model, JOB_MODEL_TENSORS + 1);

    job.num_workers = processes_count();
    job.q_stream    = 7;
    return job;
}

static uint64_t message_bytes(uint64_t payload_elems)
{
    return (psgd_vote_elems(processes_count()) + payload_elems) * sizeof(float);
}

/* What one compressed step of the model hands to the communicator. */
static uint64_t step_bytes(void)
{
    uint64_t p_elems = 0, q_elems = 0, small_elems = 0, large_elems = 0;
    uint64_t bytes;

    for (size_t t = 0; t < JOB_MODEL_TENSORS + 1; ++t) {
        uint64_t rows = model[t].dims[0], cols = 1, r;

        for (uint32_t d = 1; d < model[t].num_dims; ++d) {
            cols *= model[t].dims[d];
        }
        r = model[t].rank > 0 ? (uint64_t)model[t].rank : 4;
        if ((model[t].num_dims < 2) || (model[t].rank == PSGD_NEVER_COMPRESS) ||
            ((rows + cols) * r * 2 >= rows * cols)) {
            *(rows * cols > 65536 ? &large_elems : &small_elems) += rows * cols;
        } else {
            p_elems += rows * r;
            q_elems += cols * r;
        }
    }
    bytes = message_bytes(p_elems + small_elems) + message_bytes(q_elems) + message_bytes(large_elems);
    if (processes_are_mixed()) { /* worker 0 hands out its Q^ and P^ */
        bytes += message_bytes(q_elems) + message_bytes(p_elems);
    }
    return bytes;
}

START_TEST(mpi__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers)
{
    job_t        job   = model_job();
    uint64_t     total = job_total_elems(&job);
    double      *updates, *errors;
    job_record_t record;

    job.config.start_step = 1;
    job.memory            = processes_index() % 2 == 0 ? JOB_ONE_BUFFER : JOB_HOST_POINTERS; /* each as it likes */
    processes_run_job(&job, &record);
    processes_assert_equal_updates(&record);
    job_reference(&job, false, &updates, &errors);
    for (uint32_t step = 0; step < job.num_steps; ++step) {
        double *error = processes_mean_error(&record, step);

        ck_assert_double_le(job_difference(job_update(&record, step), updates + step * total, total), REFERENCE_BOUND);
        ck_assert_double_le(reference_difference(error, errors + step * total, total), REFERENCE_BOUND);
        free(error);
    }
    ck_assert_uint_eq(record.stats[0].bytes_last_step, message_bytes(total));
    ck_assert_uint_eq(record.stats[0].messages_last_step, 1);
    ck_assert_uint_eq(record.stats[3].bytes_last_step, step_bytes());
    ck_assert_uint_eq(record.stats[3].messages_last_step, processes_are_mixed() ? 5 : 3);
    ck_assert_uint_eq(record.stats[3].bytes_total, message_bytes(total) + 3 * step_bytes());
    free(updates);
    free(errors);
    job_record_free(&record);
}
END_TEST

/* All that the sixteen bits change is how near the update is, and how much is sent. */
START_TEST(mpi__factors_travel_in_16_bits)
{
    job_t        job   = model_job();
    uint64_t     total = job_total_elems(&job);
    double      *updates, *errors;
    job_record_t record;

    job.config.wire = _i == 0 ? PSGD_F16 : PSGD_BF16;
    processes_run_job(&job, &record);
    processes_assert_equal_updates(&record);
    job_reference(&job, false, &updates, &errors);
    ck_assert_double_le(job_difference(job_update(&record, 0), updates, total), _i == 0 ? 4.0 * 0x1p-11 : 4.0 * 0x1p-8);
    ck_assert_double_ge(job_difference(job_update(&record, 0), updates, total), 0x1p-18);
    ck_assert_uint_gt(record.stats[3].bytes_last_step, 0);
    ck_assert_uint_lt(record.stats[3].bytes_last_step, step_bytes());
    free(updates);
    free(errors);
    job_record_free(&record);
}
END_TEST

/* The status of creating a reducer in this process; expected to fail on all alike. */
static psgd_status_t try_to_create(const psgd_tensor_t *tensors, size_t num_tensors, const psgd_config_t *config)
{
    const test_device_t *device  = processes_device();
    psgd_reducer_t      *reducer = NULL;
    psgd_comm_t         *comm    = NULL;
    psgd_status_t        status;

    worker_needs(psgd_comm_mpi_create(MPI_COMM_WORLD, DEADLINE_SECONDS, &comm));
    status = psgd_reducer_create(device->context, device->id, device->queue, tensors, num_tensors, config, comm,
                                 &reducer);
    psgd_reducer_destroy(reducer);
    psgd_comm_destroy(comm);
    return status;
}

static psgd_status_t expect(psgd_status_t status, psgd_status_t expected, const char *words)
{
    worker_expects(status == expected, "got %s, expected %s: %s", psgd_status_name(status), psgd_status_name(expected),
                   psgd_last_error());
    worker_expects(strstr(psgd_last_error(), words) != NULL, "'%s' is not in the sentence: %s", words,
                   psgd_last_error());
    return PSGD_OK;
}

START_TEST(mpi__workers_that_differ_are_told_in_what)
{
    bool          is_last = processes_index() == processes_count() - 1;
    psgd_config_t config  = PSGD_CONFIG_INIT;
    psgd_tensor_t tensors[2];
    char          name_of_last[32];

    config.deadline_seconds = DEADLINE_SECONDS;
    snprintf(name_of_last, sizeof(name_of_last), "worker %u", processes_count() - 1);
    tensors[0] = job_tensor("weight", 40, 56);
    tensors[1] = job_tensor("bias", 40, 0);

    config.rank = is_last ? 3 : 4;
    processes_agree(expect(try_to_create(tensors, 2, &config), PSGD_ERR_MISMATCH, "config.rank"));
    config.rank = 4;
    processes_agree(expect(try_to_create(tensors, is_last ? 1 : 2, &config), PSGD_ERR_MISMATCH, "number of tensors"));
    tensors[1].dims[0] = is_last ? 41 : 40;
    processes_agree(expect(try_to_create(tensors, 2, &config), PSGD_ERR_MISMATCH, name_of_last));
    tensors[1].dims[0] = is_last ? 0 : 40;
    processes_agree(expect(try_to_create(tensors, 2, &config), PSGD_ERR_INVALID_ARGUMENT,
                           is_last ? "'bias': dims[0] is 0" : "1 of"));
    tensors[1].dims[0] = 40;
    processes_agree(try_to_create(tensors, 2, &config));
}
END_TEST

/* Before step 2 the last worker's gradient holds a NaN: no worker makes that step. */
static psgd_status_t spoil_before_step_2(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    float        *values = malloc(job_total_elems(job) * sizeof(*values));
    float        *pointers[JOB_MODEL_TENSORS + 1];
    float        *next = values;
    char          name_of_last[32];
    psgd_status_t status;

    worker_expects(values != NULL, "no memory for a gradient");
    if (step != 2) {
        free(values);
        return PSGD_OK;
    }
    for (size_t t = 0; t < job->num_tensors; ++t) {
        pointers[t] = next;
        next += job->tensors[t].dims[0];
        for (uint32_t d = 1; d < job->tensors[t].num_dims; ++d) {
            next += (next - pointers[t]) * (ptrdiff_t)(job->tensors[t].dims[d] - 1);
        }
    }
    test_random_fill(values, job_total_elems(job), 31 + worker);
    if (worker == processes_count() - 1) {
        pointers[2][5] = (float)NAN;
    }
    status = psgd_reducer_step_host(reducer, pointers, job->num_tensors);
    free(values);
    snprintf(name_of_last, sizeof(name_of_last), "worker %u", processes_count() - 1);
    return expect(status, PSGD_ERR_NONFINITE, name_of_last);
}

START_TEST(mpi__a_step_with_nan_on_one_worker_has_not_happened)
{
    job_t         clean = model_job(), disturbed = model_job();
    job_record_t  clean_record, disturbed_record;
    psgd_status_t status = PSGD_OK;

    disturbed.before_step = spoil_before_step_2;
    processes_run_job(&clean, &clean_record);
    processes_run_job(&disturbed, &disturbed_record);
    for (uint32_t step = 0; step < clean.num_steps; ++step) {
        size_t bytes = clean_record.total_elems * sizeof(float);

        if ((memcmp(job_update(&clean_record, step), job_update(&disturbed_record, step), bytes) != 0) ||
            (memcmp(job_error(&clean_record, step), job_error(&disturbed_record, step), bytes) != 0)) {
            status = psgd_fail(PSGD_ERR_INTERNAL, "step %u differs from that of a clean run", step);
        }
    }
    processes_agree(status);
    ck_assert_uint_eq(disturbed_record.stats[3].skipped_steps, 1);
    ck_assert_uint_eq(disturbed_record.stats[3].steps, 4);
    job_record_free(&clean_record);
    job_record_free(&disturbed_record);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("step, MPI");
    TCase *tcase = tcase_create("processes");
    int    result;

    processes_open(&argc, &argv);
    job_model(model);
    model[JOB_MODEL_TENSORS] = job_tensor("large", 70000, 0);
    tcase_add_test(tcase, mpi__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers);
    tcase_add_loop_test(tcase, mpi__factors_travel_in_16_bits, 0, 2);
    if (processes_count() > 1) {
        tcase_add_test(tcase, mpi__workers_that_differ_are_told_in_what);
    }
    tcase_add_test(tcase, mpi__a_step_with_nan_on_one_worker_has_not_happened);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    processes_close();
    return result;
}
