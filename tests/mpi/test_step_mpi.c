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
typedef struct traffic {
    uint64_t bytes, messages;
} traffic_t;

/* A matrix of more than 2/W of its kind of factors travels by itself. */
static bool is_dominating(uint64_t elems, uint64_t of)
{
    return elems * processes_count() > 2 * of;
}

/* The sizes of what travels: P and Q of each matrix, what is not compressed. */
typedef struct sizes {
    uint64_t p[JOB_MODEL_TENSORS + 1], q[JOB_MODEL_TENSORS + 1];
    uint64_t p_elems, q_elems, small_elems, large_elems;
} sizes_t;

static sizes_t sizes_of_model(void)
{
    sizes_t sizes = {{0}, {0}, 0, 0, 0, 0};

    for (size_t t = 0; t < JOB_MODEL_TENSORS + 1; ++t) {
        uint64_t rows = model[t].dims[0], cols = 1, r;

        for (uint32_t d = 1; d < model[t].num_dims; ++d) {
            cols *= model[t].dims[d];
        }
        r = model[t].rank > 0 ? (uint64_t)model[t].rank : 4;
        if ((model[t].num_dims < 2) || (model[t].rank == PSGD_NEVER_COMPRESS) ||
            ((rows + cols) * r * 2 >= rows * cols)) {
            *(rows * cols > 65536 ? &sizes.large_elems : &sizes.small_elems) += rows * cols;
        } else {
            sizes.p[t] = rows * r;
            sizes.q[t] = cols * r;
            sizes.p_elems += sizes.p[t];
            sizes.q_elems += sizes.q[t];
        }
    }
    return sizes;
}

static traffic_t traffic_by_each(const sizes_t *sizes)
{
    return (traffic_t){message_bytes(sizes->p_elems + sizes->small_elems) + message_bytes(sizes->q_elems) +
                           message_bytes(sizes->large_elems),
                       3};
}

/* Half of a vector for a reduce-scatter, an all-gather, a broadcast; a vote for each owner. */
static uint64_t half_bytes(uint64_t payload_elems)
{
    return (payload_elems + psgd_vote_elems(processes_count()) * processes_count()) * sizeof(float) / 2;
}

/* Q^ is gathered, P scattered and P^ gathered, Q and what is large summed by both; what dominates is broadcast. */
static traffic_t traffic_by_owners(const sizes_t *sizes)
{
    uint64_t  p_alone = 0, q_alone = 0;
    traffic_t traffic = {0, 7};

    for (size_t t = 0; t < JOB_MODEL_TENSORS + 1; ++t) {
        if (is_dominating(sizes->p[t], sizes->p_elems)) {
            p_alone += sizes->p[t];
            traffic.messages += 1;
        }
        if (is_dominating(sizes->q[t], sizes->q_elems)) {
            q_alone += sizes->q[t];
            traffic.messages += 1;
        }
    }
    traffic.bytes = half_bytes(sizes->q_elems - q_alone) + q_alone * sizeof(float) / 2 +
                    2 * half_bytes(sizes->p_elems - p_alone + sizes->small_elems) + p_alone * sizeof(float) / 2 +
                    2 * half_bytes(sizes->q_elems) + 2 * half_bytes(sizes->large_elems);
    if (p_alone > 0) {
        traffic.bytes += message_bytes(p_alone);
        traffic.messages += 1;
    }
    return traffic;
}

static traffic_t traffic_of_step(psgd_sharing_t sharing)
{
    sizes_t sizes = sizes_of_model();

    return (sharing == PSGD_SHARING_OWNERS) || ((sharing == PSGD_SHARING_AUTO) && processes_are_mixed())
               ? traffic_by_owners(&sizes)
               : traffic_by_each(&sizes);
}

START_TEST(mpi__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers)
{
    job_t        job   = model_job();
    uint64_t     total = job_total_elems(&job);
    uint64_t     plain_bytes, bytes;
    double      *updates, *errors;
    job_record_t record;

    job.config.sharing    = _i == 0 ? PSGD_SHARING_AUTO : PSGD_SHARING_OWNERS;
    job.config.start_step = 1;
    bytes                 = traffic_of_step(job.config.sharing).bytes;
    plain_bytes = traffic_of_step(job.config.sharing).messages > 3 ? 2 * half_bytes(total) : message_bytes(total);
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
    ck_assert_uint_eq(record.stats[0].bytes_last_step, plain_bytes);
    ck_assert_uint_eq(record.stats[0].messages_last_step, plain_bytes == message_bytes(total) ? 1 : 2);
    ck_assert_uint_eq(record.stats[3].bytes_last_step, bytes);
    ck_assert_uint_eq(record.stats[3].messages_last_step, traffic_of_step(job.config.sharing).messages);
    ck_assert_uint_eq(record.stats[3].bytes_total, plain_bytes + 3 * bytes);
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
    ck_assert_uint_lt(record.stats[3].bytes_last_step, traffic_of_step(PSGD_SHARING_AUTO).bytes);
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
    tcase_add_loop_test(tcase, mpi__steps_are_those_of_the_reference_and_bitwise_equal_on_all_workers, 0, 2);
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
