/* The library against what PyTorch's hook computed, workers being threads. Arguments: names of cases; none: all of full
 * iterations. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/golden_job.h"
#include "support/suite.h"
#include "support/workers.h"

static const char *const all_cases[] = {GOLDEN_FULL_CASES};

enum { NUM_CASES = sizeof(all_cases) / sizeof(all_cases[0]) };

static const char *cases[NUM_CASES];

/* Runs one case and holds every step of it to the bound. */
static void replay(const char *name, job_memory_t memory)
{
    golden_t     *golden = golden_load(name);
    psgd_tensor_t tensors[GOLDEN_MAX_TENSORS];
    job_t         job = golden_job(golden, tensors);
    job_record_t  records[WORKERS_MAX];
    uint64_t      total        = golden->total_elems;
    double        worst_update = 0.0, worst_error = 0.0;

    job.memory = memory;
    job_run(&job, records);
    job_assert_equal_updates(&job, records);
    for (uint32_t step = 0; step < golden->num_steps; ++step) {
        double *update = job_wide(job_update(&records[0], step), total);
        double *error  = job_mean_error(&job, records, step);

        worst_update = fmax(worst_update, golden_difference(update, golden_update(golden, step), total));
        worst_error  = fmax(worst_error, golden_difference(error, golden_mean_error(golden, step), total));
        free(update);
        free(error);
    }
    printf("libpsgd, %s: update differs by %.2e, mean error by %.2e\n", name, worst_update, worst_error);
    ck_assert_double_le(worst_update, GOLDEN_BOUND_FULL);
    ck_assert_double_le(worst_error, GOLDEN_BOUND_FULL);
    job_records_free(&job, records);
    golden_free(golden);
}

START_TEST(golden__steps_on_device_buffers_are_the_recorded_ones)
{
    replay(cases[_i], JOB_ONE_BUFFER);
}
END_TEST

START_TEST(golden__steps_on_host_pointers_are_the_recorded_ones)
{
    replay(cases[_i], JOB_HOST_POINTERS);
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite     = suite_create("golden");
    TCase *tcase     = tcase_create("threads");
    int    num_cases = argc > 1 ? argc - 1 : NUM_CASES;
    int    result;

    if (num_cases > NUM_CASES) {
        fprintf(stderr, "usage: %s [at most %d names of cases]\n", argv[0], NUM_CASES);
        return 2;
    }
    for (int i = 0; i < num_cases; ++i) {
        cases[i] = argc > 1 ? argv[i + 1] : all_cases[i];
    }
    tcase_add_loop_test(tcase, golden__steps_on_device_buffers_are_the_recorded_ones, 0, num_cases);
    if ((argc == 1) && !psgd_test_shapes_are_reduced()) {
        tcase_add_loop_test(tcase, golden__steps_on_host_pointers_are_the_recorded_ones, 0, num_cases);
    }
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
