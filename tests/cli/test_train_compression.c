/* The exchange of whole gradients by the compressors of psgd-train: workers are threads, and what they send passes a real communicator. */
#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "compression.h"
#include "compressors/singular.h"
#include "support/suite.h"
#include "tool_asserts.h"

/* Tensors of odd shapes with gaps between them; `never` and the vector travel as they are, and `zero` has a gradient of zeros. */
enum { NUM_TENSORS = 6, EXTENT = 2400, MAX_WORKERS = 6, STEPS = 12, RANK = 2 };

static const size_t offsets[NUM_TENSORS] = {3, 1740, 1810, 1820, 1900, 2000};
static const size_t elems[NUM_TENSORS]   = {64 * 27, 13 * 5, 1 * 7, 11, 9 * 8, 20 * 17};

static void describe(psgd_tensor_t *tensors)
{
    static const uint64_t    dims[NUM_TENSORS][2] = {{64, 27}, {13, 5}, {1, 7}, {11, 1}, {9, 8}, {20, 17}};
    static const char *const names[NUM_TENSORS]   = {"large", "odd", "row", "vector", "never", "zero"};
    const psgd_tensor_t      none                 = PSGD_TENSOR_INIT;

    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        tensors[t]          = none;
        tensors[t].name     = names[t];
        tensors[t].num_dims = t == 3 ? 1 : 2;
        tensors[t].dims[0]  = dims[t][0];
        tensors[t].dims[1]  = dims[t][1];
    }
    tensors[1].rank = 1;
    tensors[4].rank = PSGD_NEVER_COMPRESS;
}

static bool is_compressed(size_t tensor)
{
    return tensor != 3 && tensor != 4;
}

/* What all workers do, and what has come of it. */
typedef struct job {
    compression_settings_t settings;
    uint32_t               workers;
    uint64_t               steps;
    uint64_t               bad_step; /* in which the last worker's gradient holds `bad`; from `steps` on: in none */
    float                  bad;
    bool                   all_bad; /* all workers' gradients do */
    psgd_comm_t           *comms[MAX_WORKERS];
    tool_status_t          status[MAX_WORKERS];
    char                   sentence[MAX_WORKERS][256];
    compression_stats_t    stats[MAX_WORKERS];
    float                  memory[MAX_WORKERS][EXTENT];
    float                  update[STEPS][MAX_WORKERS][EXTENT];
} job_t;

typedef struct seat {
    job_t   *job;
    uint32_t worker;
} seat_t;

static job_t job;

static void give_gradient(const job_t *of, uint32_t worker, uint64_t step, float *values)
{
    random_stream_t stream = random_stream(11, worker * 1000 + step);

    memset(values, 0, EXTENT * sizeof(*values));
    for (size_t t = 0; t + 1 < NUM_TENSORS; ++t) {
        for (size_t i = 0; i < elems[t]; ++i) {
            values[offsets[t] + i] = (float)(2.0 * random_unit(&stream) - 1.0);
        }
    }
    if (step == of->bad_step && (of->all_bad || worker + 1 == of->workers)) {
        values[offsets[3] + 4] = of->bad;
    }
}

static tool_status_t work(job_t *of, uint32_t worker)
{
    psgd_tensor_t  tensors[NUM_TENSORS];
    compression_t *compression = NULL;
    tool_status_t  status;

    describe(tensors);
    status = compression_create(&of->settings, tensors, offsets, NUM_TENSORS, EXTENT, of->comms[worker], &compression);
    for (uint64_t step = 0; step < of->steps && status == TOOL_OK; ++step) {
        give_gradient(of, worker, step, of->update[step][worker]);
        status = compression_step_host(compression, of->update[step][worker], step);
    }
    if (compression != NULL) {
        of->stats[worker] = compression_stats(compression);
        memset(of->memory[worker], 0, sizeof(of->memory[worker]));
        if (compression_memory(compression) != NULL) {
            memcpy(of->memory[worker], compression_memory(compression), sizeof(of->memory[worker]));
        }
    }
    compression_destroy(compression);
    return status;
}

static void *sit(void *argument)
{
    seat_t *seat = argument;
    job_t  *of   = seat->job;

    of->status[seat->worker] = work(of, seat->worker);
    strncpy(of->sentence[seat->worker], tool_last_error(), sizeof(of->sentence[0]) - 1);
    return NULL;
}

/* Fills in `job`, whose settings have the norm that updates are clipped to. */
static void run(compressor_t compressor, uint32_t workers, uint64_t steps)
{
    pthread_t threads[MAX_WORKERS];
    seat_t    seats[MAX_WORKERS];

    job.settings = (compression_settings_t){compressor, RANK, 0.0, true, 0.75, 6, job.settings.max_norm};
    job.workers  = workers;
    job.steps    = steps;
    assert_ok(psgd_comm_threads_create(workers, job.comms));
    for (uint32_t w = 0; w < workers; ++w) {
        seats[w] = (seat_t){&job, w};
        ck_assert_int_eq(pthread_create(&threads[w], NULL, sit, &seats[w]), 0);
    }
    for (uint32_t w = 0; w < workers; ++w) {
        ck_assert_int_eq(pthread_join(threads[w], NULL), 0);
    }
    for (uint32_t w = 0; w < workers; ++w) {
        psgd_comm_destroy(job.comms[w]);
    }
}

static void run_well(compressor_t compressor, uint32_t workers)
{
    job.bad_step = UINT64_MAX;
    run(compressor, workers, STEPS);
    for (uint32_t w = 0; w < workers; ++w) {
        ck_assert_msg(job.status[w] == TOOL_OK, "%s, worker %u: %s", compressor_words[compressor], w, job.sentence[w]);
    }
}

static bool can_run(compressor_t compressor)
{
    return singular_is_available || (compressor != COMPRESSOR_SVD && compressor != COMPRESSOR_ATOMO);
}

/* The mean over the workers of gradient element i in a step. */
static double mean_gradient(uint64_t step, size_t i)
{
    static float values[EXTENT];
    double       sum = 0.0;

    for (uint32_t w = 0; w < job.workers; ++w) {
        give_gradient(&job, w, step, values);
        sum += (double)values[i];
    }
    return sum / job.workers;
}

START_TEST(compression__all_workers_get_the_same_bits)
{
    for (int c = COMPRESSOR_RANDOM_BLOCK; c < NUM_COMPRESSORS; ++c) {
        if (can_run((compressor_t)c)) {
            run_well((compressor_t)c, 3);
            for (size_t s = 0; s < STEPS; ++s) {
                ck_assert_mem_eq(job.update[s][0], job.update[s][1], sizeof(job.update[s][0]));
                ck_assert_mem_eq(job.update[s][0], job.update[s][2], sizeof(job.update[s][0]));
            }
        }
    }
}
END_TEST

START_TEST(compression__what_lies_between_tensors_stays_zero)
{
    for (int c = COMPRESSOR_RANDOM_BLOCK; c < NUM_COMPRESSORS; ++c) {
        if (can_run((compressor_t)c)) {
            run_well((compressor_t)c, 1);
            for (size_t i = 0; i < EXTENT; ++i) {
                bool is_gap = true;

                for (size_t t = 0; t < NUM_TENSORS; ++t) {
                    is_gap = is_gap && (i < offsets[t] || i >= offsets[t] + elems[t]);
                }
                ck_assert(!is_gap || fabsf(job.update[STEPS - 1][0][i]) <= 0.0f);
            }
        }
    }
}
END_TEST

/* Nothing is lost, only delayed: of each element, the sum of all updates and the mean of what is left is the sum of the mean gradients. */
START_TEST(error_feedback__updates_and_what_is_left_add_up_to_the_gradients)
{
    static const compressor_t with[] = {COMPRESSOR_RANDOM_BLOCK, COMPRESSOR_RANDOM_K, COMPRESSOR_SIGN_NORM,
                                        COMPRESSOR_TOP_K, COMPRESSOR_SVD};
    static double             sums[EXTENT];

    for (size_t c = 0; c < sizeof(with) / sizeof(with[0]); ++c) {
        double left = 0.0;

        if (!can_run(with[c])) {
            continue;
        }
        run_well(with[c], 3);
        for (size_t i = 0; i < EXTENT; ++i) {
            sums[i] = ((double)job.memory[0][i] + (double)job.memory[1][i] + (double)job.memory[2][i]) / 3.0;
            left += fabs(sums[i]);
            for (size_t s = 0; s < STEPS; ++s) {
                sums[i] += (double)job.update[s][0][i];
            }
        }
        ck_assert_double_gt(left, 10.0); /* there is something to delay */
        for (size_t s = 0; s < STEPS; ++s) {
            static float values[EXTENT];

            for (uint32_t w = 0; w < 3; ++w) {
                give_gradient(&job, w, s, values);
                for (size_t i = 0; i < EXTENT; ++i) {
                    sums[i] -= (double)values[i] / 3.0;
                }
            }
        }
        for (size_t i = 0; i < EXTENT; ++i) { /* a few roundings a step, of numbers that stay below 12 */
            ck_assert_double_le(fabs(sums[i]), STEPS * 12.0 * 4.0 * (double)FLT_EPSILON);
        }
    }
}
END_TEST

START_TEST(tensors_that_are_not_compressed__get_the_mean)
{
    run_well(COMPRESSOR_TOP_K, 3);
    for (size_t t = 0; t < NUM_TENSORS; ++t) {
        for (size_t i = 0; i < elems[t] && !is_compressed(t); ++i) {
            ck_assert_double_eq_tol((double)job.update[2][0][offsets[t] + i], mean_gradient(2, offsets[t] + i), 1e-6);
            ck_assert_double_eq((double)job.memory[0][offsets[t] + i], 0.0);
        }
    }
}
END_TEST

static double norm_of_update(uint64_t step)
{
    double squares = 0.0;

    for (size_t i = 0; i < EXTENT; ++i) {
        squares += pow((double)job.update[step][0][i], 2.0);
    }
    return sqrt(squares);
}

/* Compared with updates that are not clipped: what a message leaves out does not depend on clipping. */
static void check_clipping(compressor_t compressor, double largest)
{
    static float unclipped[STEPS][EXTENT];
    double       norms[STEPS];

    run_well(compressor, 3);
    for (size_t s = 0; s < STEPS; ++s) {
        memcpy(unclipped[s], job.update[s][0], sizeof(unclipped[s]));
        norms[s] = norm_of_update(s);
    }
    job.settings.max_norm = largest * norms[0];
    run_well(compressor, 3);
    for (size_t s = 0; s < STEPS; ++s) {
        const bool   is_clipped = norms[s] > job.settings.max_norm && compressor != COMPRESSOR_SIGNUM;
        const double scale      = is_clipped ? job.settings.max_norm / norms[s] : 1.0;

        for (size_t i = 0; i < EXTENT; ++i) {
            ck_assert_double_eq_tol((double)job.update[s][0][i], scale * (double)unclipped[s][i], 1e-6);
        }
        ck_assert_mem_eq(job.update[s][0], job.update[s][2], sizeof(job.update[s][0]));
    }
    job.settings.max_norm = 0.0;
}

START_TEST(updates__are_clipped_together_but_for_signums)
{
    check_clipping(COMPRESSOR_TOP_K, 0.5);
    check_clipping(COMPRESSOR_TOP_K, 1.0); /* what is not larger stays as it is */
    check_clipping(COMPRESSOR_RANDOM_BLOCK, 0.5);
    check_clipping(COMPRESSOR_UNBIASED, 0.5);
    check_clipping(COMPRESSOR_SIGNUM, 0.5);
}
END_TEST

/* Bytes of a step: a vote of 4, the vector's 11 and `never`'s 72 numbers, and the messages of the four matrices, 1728, 65, 7 and 340
 * elements at ranks 2, 1, 1 and 2: (91) 2 = 182, 18, 8 (as many as its elements: 7), (37) 2 = 74 numbers. */
START_TEST(compression__counts_what_it_sends)
{
    static const struct {
        compressor_t compressor;
        size_t       words, messages;
    } rows[] = {{COMPRESSOR_RANDOM_BLOCK, 182 + 18 + 7 + 74, 1}, {COMPRESSOR_RANDOM_K, 182 + 18 + 7 + 74, 1},
                {COMPRESSOR_TOP_K, 182 + 18 + 6 + 74, 2},        {COMPRESSOR_SIGN_NORM, 55 + 4 + 2 + 12, 2},
                {COMPRESSOR_SIGNUM, 54 + 3 + 1 + 11, 2},         {COMPRESSOR_SVD, 182 + 18 + 8 + 74, 2},
                {COMPRESSOR_ATOMO, 182 + 18 + 8 + 74, 2},        {COMPRESSOR_UNBIASED, 128 + 13 + 1 + 40, 1}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); ++i) {
        if (can_run(rows[i].compressor)) {
            run_well(rows[i].compressor, 2);
            for (uint32_t w = 0; w < 2; ++w) {
                ck_assert_uint_eq(job.stats[w].bytes_total, STEPS * 4 * (1 + 11 + 72 + rows[i].words));
                ck_assert_uint_eq(job.stats[w].messages_last_step, rows[i].messages);
                ck_assert_double_eq_tol(job.stats[w].compression_rate, 2223.0 / (83.0 + (double)rows[i].words), 1e-9);
            }
        }
    }
}
END_TEST

/* The update of every element by the paper's formula; momenta that rounding could turn over, and such sums, are left out. */
static size_t check_signum(uint32_t workers)
{
    static double momenta[MAX_WORKERS][EXTENT], mean[EXTENT];
    static float  values[EXTENT];
    size_t        checked = 0;

    memset(momenta, 0, sizeof(momenta));
    memset(mean, 0, sizeof(mean));
    run_well(COMPRESSOR_SIGNUM, workers);
    for (size_t s = 0; s < STEPS; ++s) {
        for (size_t i = 0; i < EXTENT; ++i) {
            mean[i] *= 0.75;
        }
        for (uint32_t w = 0; w < workers; ++w) {
            give_gradient(&job, w, s, values);
            for (size_t i = 0; i < EXTENT; ++i) {
                momenta[w][i] = 0.75 * momenta[w][i] + 0.25 * (double)values[i];
                mean[i] += 0.25 * (double)values[i] / workers;
            }
        }
        for (size_t t = 0; t + 1 < NUM_TENSORS; ++t) {
            for (size_t i = offsets[t]; i < offsets[t] + elems[t]; ++i) {
                double votes = 0.0, nearest = fabs(mean[i]);

                for (uint32_t w = 0; w < workers && is_compressed(t); ++w) {
                    votes += momenta[w][i] < 0.0 ? -1.0 : 1.0;
                    nearest = w == 0 ? fabs(momenta[w][i]) : fmin(nearest, fabs(momenta[w][i]));
                }
                votes = is_compressed(t) ? votes : mean[i];
                if (nearest > 1e-6) {
                    ck_assert_double_eq((double)job.update[s][0][i], (votes > 0.0) - (votes < 0.0));
                    checked += 1;
                }
            }
        }
    }
    return checked;
}

START_TEST(signum__update_is_the_majority_of_the_momenta_and_nothing_in_a_draw)
{
    for (uint32_t workers = 1; workers <= MAX_WORKERS; ++workers) {
        ck_assert_uint_gt(check_signum(workers), STEPS * 1800);
    }
}
END_TEST

START_TEST(compression__a_number_that_is_not_finite_is_told_on_all_workers)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX};

    for (int c = COMPRESSOR_RANDOM_BLOCK; c < NUM_COMPRESSORS; ++c) {
        for (size_t b = 0; b < 4 && can_run((compressor_t)c) && (c != COMPRESSOR_SIGNUM || b < 3); ++b) {
            job.bad_step = 2;
            job.bad      = bad[b];
            job.all_bad  = b == 3; /* each is finite, and their sum is not */
            run((compressor_t)c, 3, 4);
            for (uint32_t w = 0; w < 3; ++w) {
                ck_assert_int_eq(job.status[w], TOOL_ALL_FAILED);
                ck_assert_str_eq(
                    job.sentence[w],
                    "the training diverged at step 2: a gradient holds NaN or Inf; try a smaller --compressor-lr");
            }
        }
    }
    job.all_bad = false;
}
END_TEST

START_TEST(compression__views_are_refused_and_the_compression_rate_decides)
{
    compression_settings_t settings    = {COMPRESSOR_TOP_K, RANK, 3.0, true, 0.0, 1, 0.0};
    compression_t         *compression = NULL;
    psgd_comm_t           *self        = NULL;
    psgd_tensor_t          tensors[NUM_TENSORS];
    static float           values[EXTENT];

    describe(tensors);
    assert_ok(psgd_comm_self_create(&self));
    assert_tool_ok(compression_create(&settings, tensors, offsets, NUM_TENSORS, EXTENT, self, &compression));
    assert_tool_ok(compression_step_host(compression, values, 0));
    /* At rate 3: 182 of 1728, 18 of 65 and 74 of 340 are compressed, 8 of 7 is not. */
    ck_assert_uint_eq(compression_stats(compression).bytes_total, 4 * (1 + 11 + 72 + 7 + 182 + 18 + 74));
    compression_destroy(compression);
    tensors[0].view = (psgd_matrix_view_t){1, 27, 64, 0, 1, 27};
    assert_tool_fails(compression_create(&settings, tensors, offsets, NUM_TENSORS, EXTENT, self, &compression),
                      TOOL_USAGE, "tensor 'large' has a view");
    psgd_comm_destroy(self);
}
END_TEST

START_TEST(compression__without_error_feedback_nothing_is_kept)
{
    compression_settings_t settings    = {COMPRESSOR_TOP_K, RANK, 0.0, false, 0.0, 1, 0.0};
    compression_t         *compression = NULL;
    psgd_comm_t           *self        = NULL;
    psgd_tensor_t          tensors[NUM_TENSORS];

    describe(tensors);
    assert_ok(psgd_comm_self_create(&self));
    assert_tool_ok(compression_create(&settings, tensors, offsets, NUM_TENSORS, EXTENT, self, &compression));
    ck_assert_ptr_null(compression_memory(compression));
    compression_destroy(compression);
    psgd_comm_destroy(self);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("psgd-train: compression");
    TCase *tests = tcase_create("compression");

    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, compression__all_workers_get_the_same_bits);
    tcase_add_test(tests, compression__what_lies_between_tensors_stays_zero);
    tcase_add_test(tests, error_feedback__updates_and_what_is_left_add_up_to_the_gradients);
    tcase_add_test(tests, tensors_that_are_not_compressed__get_the_mean);
    tcase_add_test(tests, updates__are_clipped_together_but_for_signums);
    tcase_add_test(tests, compression__counts_what_it_sends);
    tcase_add_test(tests, signum__update_is_the_majority_of_the_momenta_and_nothing_in_a_draw);
    tcase_add_test(tests, compression__a_number_that_is_not_finite_is_told_on_all_workers);
    tcase_add_test(tests, compression__views_are_refused_and_the_compression_rate_decides);
    tcase_add_test(tests, compression__without_error_feedback_nothing_is_kept);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
