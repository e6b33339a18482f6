/* The library against what PyTorch's hook and the powersgd package computed, by every engine in both forms, workers being
 * threads. Arguments: an engine, or all of them; names of cases; none: all. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/golden_job.h"
#include "support/suite.h"
#include "support/variants.h"
#include "support/workers.h"

static const char *const all_cases[] = {GOLDEN_FULL_CASES, GOLDEN_ALTERNATING_CASES};

enum { NUM_CASES = sizeof(all_cases) / sizeof(all_cases[0]) };

static const char *cases[NUM_CASES];
static int         num_cases;

static const variant_t *variants[NUM_VARIANTS];
static int              num_variants;

/* Runs one case and holds every step of it to the bound. */
static void replay(const char *name, const variant_t *variant, job_memory_t memory)
{
    golden_t     *golden = golden_load(name);
    psgd_tensor_t tensors[GOLDEN_MAX_TENSORS];
    job_t         job = golden_job(golden, tensors);
    job_record_t  records[WORKERS_MAX];
    uint64_t      total        = golden->total_elems;
    double        worst_update = 0.0, worst_error = 0.0, bound;

    job.memory = memory;
    variant_apply(variant, &job.config);
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
    printf("libpsgd (%s), %s: update differs by %.2e, mean error by %.2e\n", variant->name, name, worst_update,
           worst_error);
    bound = golden->half_iterations_per_step > 0 ? GOLDEN_BOUND_ALTERNATING : GOLDEN_BOUND_FULL;
    ck_assert_double_le(worst_update, bound);
    ck_assert_double_le(worst_error, bound);
    job_records_free(&job, records);
    golden_free(golden);
}

START_TEST(golden__steps_on_device_buffers_are_the_recorded_ones)
{
    replay(cases[_i / num_variants], variants[_i % num_variants], JOB_ONE_BUFFER);
}
END_TEST

START_TEST(golden__steps_on_host_pointers_are_the_recorded_ones)
{
    replay(cases[_i / num_variants], variants[_i % num_variants], JOB_HOST_POINTERS);
}
END_TEST

static void select_variants(const char *word)
{
    num_variants = word != NULL ? variants_of_engine(word, variants) : 0;
    if (num_variants == 0) {
        for (; num_variants < NUM_VARIANTS; ++num_variants) {
            variants[num_variants] = &VARIANTS[num_variants];
        }
    }
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("golden");
    TCase *tcase = tcase_create("threads");
    int    first = 1; /* argument that names a case */
    int    result;

    select_variants(argv[1]);
    if (num_variants < NUM_VARIANTS) {
        first = 2;
    }
    num_cases = argc > first ? argc - first : NUM_CASES;
    if (num_cases > NUM_CASES) {
        fprintf(stderr, "usage: %s [auto|clblast|fused] [at most %d names of cases]\n", argv[0], NUM_CASES);
        return 2;
    }
    for (int i = 0; i < num_cases; ++i) {
        cases[i] = argc > first ? argv[first + i] : all_cases[i];
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, golden__steps_on_device_buffers_are_the_recorded_ones, 0, num_cases * num_variants);
    if ((argc == 1) && !psgd_test_shapes_are_reduced()) {
        tcase_add_loop_test(tcase, golden__steps_on_host_pointers_are_the_recorded_ones, 0, num_cases * num_variants);
    }
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
