/* The library against what PyTorch's hook and the powersgd package computed, by every engine in both forms, workers being MPI
 * processes: runs the cases that were recorded with as many workers as there are processes. Arguments: an engine, or all of them;
 * names of cases to choose from; none: all. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/status.h"
#include "mpi/processes.h"
#include "support/golden_job.h"
#include "support/suite.h"
#include "support/variants.h"

static const char *const all_cases[] = {GOLDEN_FULL_CASES, GOLDEN_ALTERNATING_CASES};

enum { NUM_CASES = sizeof(all_cases) / sizeof(all_cases[0]) };

static const char *cases[NUM_CASES];
static int         num_cases;

static const variant_t *variants[NUM_VARIANTS];
static int              num_variants;

static double bound_of(const golden_t *golden)
{
    return golden->half_iterations_per_step > 0 ? GOLDEN_BOUND_ALTERNATING : GOLDEN_BOUND_FULL;
}

/* After each step the mean error is exported, a collective of its own, and held to the recorded one. */
static psgd_status_t compare_exported_mean(const job_t *job, uint32_t worker, uint32_t step, psgd_reducer_t *reducer)
{
    const golden_t *golden   = job->user;
    const float    *recorded = golden_mean_error(golden, step);
    psgd_state_t   *state    = NULL;
    double          sum = 0.0, size = 0.0;
    psgd_status_t   status;

    (void)worker;
    status = psgd_reducer_export_state(reducer, PSGD_ERROR_MEAN, &state);
    for (size_t t = 0; (t < golden->num_tensors) && (status == PSGD_OK); ++t) {
        const golden_tensor_t *tensor = &golden->tensors[t];
        const float           *error  = NULL;
        uint64_t               elems  = 0;

        if (tensor->is_compressed && golden->error_feedback) {
            status = psgd_state_get_error(state, tensor->name, &elems, &error);
        }
        for (uint64_t i = 0; (i < tensor->elems) && (status == PSGD_OK); ++i) {
            double ours = error != NULL ? error[i] : 0.0;

            sum += (ours - recorded[i]) * (ours - recorded[i]);
            size += (double)recorded[i] * recorded[i];
        }
        recorded += tensor->elems;
    }
    psgd_state_destroy(state);
    if (status != PSGD_OK) {
        return status;
    }
    if (sqrt(sum) > bound_of(golden) * (size > 0.0 ? sqrt(size) : 1.0)) {
        return psgd_fail(PSGD_ERR_INTERNAL, "%s, step %u: the exported mean error differs by %.2e", golden->name, step,
                         sqrt(size > 0.0 ? sum / size : sum));
    }
    return PSGD_OK;
}

START_TEST(golden__steps_of_mpi_processes_are_the_recorded_ones)
{
    golden_t        *golden  = golden_load(cases[_i / num_variants]);
    const variant_t *variant = variants[_i % num_variants];
    psgd_tensor_t tensors[GOLDEN_MAX_TENSORS];
    job_t         job          = golden_job(golden, tensors);
    uint64_t      total        = golden->total_elems;
    double        worst_update = 0.0, worst_error = 0.0;
    job_record_t  record;

    job.after_step = compare_exported_mean;
    variant_apply(variant, &job.config);
    processes_run_job(&job, &record);
    processes_assert_equal_updates(&record);
    for (uint32_t step = 0; step < golden->num_steps; ++step) {
        double *update = job_wide(job_update(&record, step), total);
        double *error  = processes_mean_error(&record, step);

        worst_update = fmax(worst_update, golden_difference(update, golden_update(golden, step), total));
        worst_error  = fmax(worst_error, golden_difference(error, golden_mean_error(golden, step), total));
        free(update);
        free(error);
    }
    if (processes_index() == 0) {
        printf("libpsgd (%s)%s, %s: update differs by %.2e, mean error by %.2e\n", variant->name,
               processes_are_mixed() ? " on unlike devices" : "", golden->name, worst_update, worst_error);
    }
    ck_assert_double_le(worst_update, bound_of(golden));
    ck_assert_double_le(worst_error, bound_of(golden));
    job_record_free(&record);
    golden_free(golden);
}
END_TEST

/* Those of as many workers as there are processes; the names say it: "hook_w2_r4". */
static void select_cases(const char *const *names, int num_names)
{
    for (int i = 0; (i < num_names) && (num_cases < NUM_CASES); ++i) {
        uint32_t num_workers;

        if ((sscanf(names[i], "%*[a-z]_w%u_", &num_workers) == 1) && (num_workers == processes_count())) {
            cases[num_cases++] = names[i];
        }
    }
}

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
    Suite *suite = suite_create("golden, MPI");
    TCase *tcase = tcase_create("processes");
    int    first = 1; /* argument that names a case */
    int    result;

    processes_open(&argc, &argv);
    select_variants(argv[1]);
    if (num_variants < NUM_VARIANTS) {
        first = 2;
    }
    if (argc > first) {
        select_cases((const char *const *)&argv[first], argc - first);
    } else {
        select_cases(all_cases, NUM_CASES);
    }
    if (num_cases == 0) {
        fprintf(stderr, "%s: no case was recorded with %u workers\n", argv[0], processes_count());
        processes_close();
        return EXIT_FAILURE;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_loop_test(tcase, golden__steps_of_mpi_processes_are_the_recorded_ones, 0, num_cases * num_variants);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    processes_close();
    return result;
}
