/* What a steady step costs, counted from the outside: no object is created and no memory allocated in it, and with the fused
 * engine the number of launches and copies does not depend on the number of tensors.
 *
 * OpenCL is counted by a layer of the loader (support/count_layer.h), allocations by the linker
 * (support/count_allocations.h). Skipped where the loader has no layers. */
#define _GNU_SOURCE /* RTLD_NOLOAD */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/count_allocations.h"
#include "support/count_layer.h"
#include "support/job.h"
#include "support/suite.h"

enum { FEW_TENSORS = 5, MANY_TENSORS = 200, WARM_UP_STEPS = 3, COUNTED_STEPS = 3, EXIT_SKIPPED = 77 };

static const char *const CALL_NAMES[NUM_COUNTED_CALLS] = {
#define COUNTED_CALL_ROW(name_) #name_,
    COUNTED_CALL_TABLE(COUNTED_CALL_ROW)
#undef COUNTED_CALL_ROW
};

/* A configuration to count. All of clblast's come first. */
typedef struct form {
    psgd_engine_t engine;
    int           gradients_are_finite;
    uint64_t      bucket_bytes; /* not 0: gradients are submitted one by one, from the last to the first */
} form_t;

static const form_t FORMS[] = {
    {PSGD_ENGINE_CLBLAST, 0, 0}, {PSGD_ENGINE_CLBLAST, 1, 0}, {PSGD_ENGINE_AUTO, 0, 0},
    {PSGD_ENGINE_FUSED, 0, 0},   {PSGD_ENGINE_FUSED, 1, 0},   {PSGD_ENGINE_FUSED, 0, 16384},
};
static const uint32_t RANKS[] = {1, 2, 4};

/* The last one's launches are as many as it has buckets. */
enum {
    NUM_FORMS   = sizeof(FORMS) / sizeof(FORMS[0]),
    FIRST_FUSED = 3,
    NUM_WHOLE   = NUM_FORMS - 1,
    NUM_RANKS   = sizeof(RANKS) / sizeof(RANKS[0])
};

/* --- counting ----------------------------------------------------------------------------------------------------- */

static const counted_calls_t *layer_counts;

typedef struct counts {
    uint64_t calls[NUM_COUNTED_CALLS];
    uint64_t clblast_sources;
    uint64_t allocations;
} counts_t;

static counts_t counts_now(void)
{
    counts_t now;

    for (int i = 0; i < NUM_COUNTED_CALLS; ++i) {
        now.calls[i] = layer_counts->calls[i];
    }
    now.clblast_sources = layer_counts->clblast_sources;
    now.allocations     = count_allocations();
    return now;
}

static counts_t counts_since(const counts_t *before)
{
    counts_t now = counts_now();

    for (int i = 0; i < NUM_COUNTED_CALLS; ++i) {
        now.calls[i] -= before->calls[i];
    }
    now.clblast_sources -= before->clblast_sources;
    now.allocations -= before->allocations;
    return now;
}

static uint64_t launches(const counts_t *counts)
{
    return counts->calls[CALL_clEnqueueNDRangeKernel] + counts->calls[CALL_clEnqueueTask];
}

/* Programs of CLBlast's, from source or from the binaries that it keeps for a second context. (This library makes none
 * from binaries.) */
static uint64_t clblast_programs(const counts_t *counts)
{
    return counts->clblast_sources + counts->calls[CALL_clCreateProgramWithBinary];
}

/* --- what is counted ---------------------------------------------------------------------------------------------- */

/* Matrices alike, tall and wide, and vectors: over and over again, so that many tensors have the same maximum rank as few. */
static void describe_tensors(psgd_tensor_t *tensors, size_t num_tensors)
{
    static const uint64_t SHAPES[FEW_TENSORS][2] = {{64, 48}, {64, 48}, {96, 40}, {40, 96}, {64, 0}};
    static char           names[MANY_TENSORS][32];

    for (size_t i = 0; i < num_tensors; ++i) {
        snprintf(names[i], sizeof(names[i]), "tensor%zu", i);
        tensors[i] = job_tensor(names[i], SHAPES[i % FEW_TENSORS][0], SHAPES[i % FEW_TENSORS][1]);
    }
}

/* A reducer of one worker, in a context of its own, so that no program is left from the one before; its gradients in one buffer. */
typedef struct alone {
    psgd_tensor_t   tensors[MANY_TENSORS];
    psgd_buffer_t   grads[MANY_TENSORS];
    size_t          num_tensors;
    bool            is_submitted;
    float          *values;
    uint64_t        num_values;
    cl_mem          mem;
    test_device_t   device;
    psgd_comm_t    *comm;
    psgd_reducer_t *reducer;
} alone_t;

static void give_gradients(alone_t *alone)
{
    alone->num_values = 0;
    for (size_t i = 0; i < alone->num_tensors; ++i) {
        const psgd_tensor_t *tensor = &alone->tensors[i];

        alone->grads[i].offset_bytes = (size_t)alone->num_values * sizeof(float);
        alone->num_values += tensor->dims[0] * ((tensor->num_dims == 2) ? tensor->dims[1] : 1);
    }
    alone->values = malloc((size_t)alone->num_values * sizeof(float));
    ck_assert_ptr_nonnull(alone->values);
    test_random_fill(alone->values, (size_t)alone->num_values, 7);
    assert_ok(test_buffer_create(&alone->device, (size_t)alone->num_values, &alone->mem));
    for (size_t i = 0; i < alone->num_tensors; ++i) {
        alone->grads[i].mem = alone->mem;
    }
}

static void create_alone(alone_t *alone, const form_t *form, size_t num_tensors, uint32_t rank)
{
    psgd_config_t config = PSGD_CONFIG_INIT;

    memset(alone, 0, sizeof(*alone));
    alone->num_tensors = num_tensors;
    describe_tensors(alone->tensors, num_tensors);
    assert_ok(test_device_open(&alone->device));
    give_gradients(alone);

    config.rank                 = rank;
    config.min_compression_rate = 0.0;
    config.engine               = form->engine;
    config.gradients_are_finite = form->gradients_are_finite;
    config.bucket_bytes         = form->bucket_bytes;
    alone->is_submitted         = form->bucket_bytes > 0;
    assert_ok(psgd_comm_self_create(&alone->comm));
    assert_ok(psgd_reducer_create(alone->device.context, alone->device.id, alone->device.queue, alone->tensors,
                                  num_tensors, &config, alone->comm, &alone->reducer));
}

static void destroy_alone(alone_t *alone)
{
    psgd_reducer_destroy(alone->reducer);
    psgd_comm_destroy(alone->comm);
    clReleaseMemObject(alone->mem);
    test_device_close(&alone->device);
    free(alone->values);
}

static psgd_status_t take_step(alone_t *alone)
{
    psgd_status_t status = PSGD_OK;

    if (!alone->is_submitted) {
        return psgd_reducer_step(alone->reducer, alone->grads, alone->num_tensors);
    }
    for (size_t i = alone->num_tensors; (status == PSGD_OK) && (i-- > 0);) {
        status = psgd_reducer_submit(alone->reducer, i, &alone->grads[i], 1, 0, NULL);
    }
    return status == PSGD_OK ? psgd_reducer_wait(alone->reducer, NULL) : status;
}

/* One step on fresh gradients, and what was called during it. */
static counts_t count_step(alone_t *alone)
{
    counts_t      before, step;
    psgd_status_t status;

    assert_ok(test_buffer_write(&alone->device, alone->mem, 0, alone->values, (size_t)alone->num_values));
    before = counts_now();
    status = take_step(alone);
    step   = counts_since(&before); /* before the assertion: Check allocates in it */
    assert_ok(status);
    return step;
}

static void warm_up(alone_t *alone)
{
    for (int i = 0; i < WARM_UP_STEPS; ++i) {
        count_step(alone);
    }
}

/* A step of a warm reducer, and its statistics. */
static counts_t count_steady_step(const form_t *form, size_t num_tensors, uint32_t rank, psgd_stats_t *stats)
{
    alone_t  alone;
    counts_t step;

    create_alone(&alone, form, num_tensors, rank);
    warm_up(&alone);
    step = count_step(&alone);
    assert_ok(psgd_reducer_get_stats(alone.reducer, stats));
    destroy_alone(&alone);
    return step;
}

/* --- every engine ------------------------------------------------------------------------------------------------- */

START_TEST(steady__what_is_counted_is_seen)
{
    counts_t before = counts_now();
    counts_t all;
    alone_t  alone;

    create_alone(&alone, &FORMS[0], FEW_TENSORS, 4);
    count_step(&alone);
    all = counts_since(&before);
    destroy_alone(&alone);
    ck_assert_uint_gt(all.allocations, 0);
    ck_assert_uint_gt(all.calls[CALL_clCreateBuffer], 0);
    ck_assert_uint_gt(all.calls[CALL_clCreateKernel], 0);
    ck_assert_uint_gt(all.calls[CALL_clBuildProgram], 0);
    ck_assert_uint_gt(launches(&all), 0);
    ck_assert_uint_gt(all.clblast_sources, 0); /* this test is the first: CLBlast keeps no binary yet */
}
END_TEST

/* Whether a step may call it. */
static int may_call(const form_t *form, int call)
{
    /* CLBlast creates a kernel object in each of its calls. */
    return (call < CALL_clCreateContext) || ((call == CALL_clCreateKernel) && (form->engine != PSGD_ENGINE_FUSED));
}

START_TEST(steady__step_creates_and_allocates_nothing)
{
    const form_t *form = &FORMS[_i];
    alone_t       alone;
    counts_t      steps[COUNTED_STEPS];

    create_alone(&alone, form, FEW_TENSORS, 4);
    warm_up(&alone);
    for (int i = 0; i < COUNTED_STEPS; ++i) {
        steps[i] = count_step(&alone);
    }
    destroy_alone(&alone);
    for (int i = 0; i < COUNTED_STEPS; ++i) {
        for (int call = 0; call < NUM_COUNTED_CALLS; ++call) {
            ck_assert_msg((steps[i].calls[call] == 0) || may_call(form, call),
                          "%s, finite %d, buckets of %llu: %s: %llu times in a step", psgd_engine_name(form->engine),
                          form->gradients_are_finite, (unsigned long long)form->bucket_bytes, CALL_NAMES[call],
                          (unsigned long long)steps[i].calls[call]);
        }
        ck_assert_uint_eq(steps[i].allocations, 0);
    }
}
END_TEST

/* --- the fused engine --------------------------------------------------------------------------------------------- */

/* Makes the form and the rank of a loop test that runs over both. */
static const form_t *fused_form(int index, uint32_t *rank_p)
{
    *rank_p = RANKS[index % NUM_RANKS];
    return &FORMS[FIRST_FUSED + index / NUM_RANKS];
}

enum { NUM_FUSED = (NUM_WHOLE - FIRST_FUSED) * NUM_RANKS };

START_TEST(steady__fused_launches_do_not_depend_on_the_number_of_tensors)
{
    psgd_stats_t  stats = PSGD_STATS_INIT;
    uint32_t      rank;
    const form_t *form = fused_form(_i, &rank);
    counts_t      few  = count_steady_step(form, FEW_TENSORS, rank, &stats);
    counts_t      many = count_steady_step(form, MANY_TENSORS, rank, &stats);

    ck_assert_msg(launches(&few) == launches(&many), "rank %u, finite %d: %llu launches for %d tensors, %llu for %d",
                  rank, form->gradients_are_finite, (unsigned long long)launches(&few), FEW_TENSORS,
                  (unsigned long long)launches(&many), MANY_TENSORS);
}
END_TEST

/* At most 12, and 3 r + 2 for each of the two uses of orthogonalization. */
START_TEST(steady__fused_launches_are_few)
{
    psgd_stats_t  stats = PSGD_STATS_INIT;
    uint32_t      rank;
    const form_t *form = fused_form(_i, &rank);
    counts_t      step = count_steady_step(form, FEW_TENSORS, rank, &stats);

    ck_assert_msg(launches(&step) <= 12 + 2 * (3 * rank + 2), "rank %u, finite %d: %llu launches", rank,
                  form->gradients_are_finite, (unsigned long long)launches(&step));
}
END_TEST

START_TEST(steady__fused_launches_are_what_the_statistics_say)
{
    psgd_stats_t  stats = PSGD_STATS_INIT;
    uint32_t      rank;
    const form_t *form = fused_form(_i, &rank);
    counts_t      step = count_steady_step(form, FEW_TENSORS, rank, &stats);

    ck_assert_uint_eq(stats.launches_last_step, launches(&step));
}
END_TEST

START_TEST(steady__fused_copies_do_not_depend_on_the_number_of_tensors)
{
    psgd_stats_t  stats = PSGD_STATS_INIT;
    uint32_t      rank;
    const form_t *form = fused_form(_i, &rank);
    counts_t      few  = count_steady_step(form, FEW_TENSORS, rank, &stats);
    counts_t      many = count_steady_step(form, MANY_TENSORS, rank, &stats);

    for (int call = CALL_clEnqueueCopyBuffer; call <= CALL_clEnqueueUnmapMemObject; ++call) {
        ck_assert_msg(few.calls[call] == many.calls[call], "rank %u, finite %d: %llu %s for %d tensors, %llu for %d",
                      rank, form->gradients_are_finite, (unsigned long long)few.calls[call], CALL_NAMES[call],
                      FEW_TENSORS, (unsigned long long)many.calls[call], MANY_TENSORS);
    }
}
END_TEST

START_TEST(steady__fused_makes_no_program_of_clblast)
{
    counts_t before = counts_now();
    counts_t all;
    alone_t  alone;

    create_alone(&alone, &FORMS[FIRST_FUSED + _i], FEW_TENSORS, 4);
    warm_up(&alone);
    all = counts_since(&before);
    destroy_alone(&alone);
    ck_assert_uint_eq(clblast_programs(&all), 0);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------ */

/* The counters of the layer that the loader has opened, or NULL. */
static const counted_calls_t *find_layer(void)
{
    const char *path  = getenv("OPENCL_LAYERS");
    void       *layer = NULL;
    cl_uint     num_platforms;

    /* The loader reads the variable at its first call. */
    if ((path != NULL) && (clGetPlatformIDs(0, NULL, &num_platforms) == CL_SUCCESS)) {
        layer = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    }
    return (layer != NULL) ? dlsym(layer, "psgd_counted_calls") : NULL;
}

static Suite *steady_suite(void)
{
    Suite *suite   = suite_create("steady");
    TCase *clblast = tcase_create("clblast");
    TCase *fused   = tcase_create("fused");

    tcase_set_timeout(clblast, 0);
    tcase_add_test(clblast, steady__what_is_counted_is_seen);
    tcase_add_loop_test(clblast, steady__step_creates_and_allocates_nothing, 0, FIRST_FUSED);
    suite_add_tcase(suite, clblast);

    tcase_set_timeout(fused, 0);
    tcase_add_loop_test(fused, steady__step_creates_and_allocates_nothing, FIRST_FUSED, NUM_FORMS);
    tcase_add_loop_test(fused, steady__fused_launches_do_not_depend_on_the_number_of_tensors, 0, NUM_FUSED);
    tcase_add_loop_test(fused, steady__fused_launches_are_few, 0, NUM_FUSED);
    tcase_add_loop_test(fused, steady__fused_launches_are_what_the_statistics_say, 0, NUM_FUSED);
    tcase_add_loop_test(fused, steady__fused_copies_do_not_depend_on_the_number_of_tensors, 0, NUM_FUSED);
    tcase_add_loop_test(fused, steady__fused_makes_no_program_of_clblast, 0, NUM_WHOLE - FIRST_FUSED);
    suite_add_tcase(suite, fused);
    return suite;
}

int main(void)
{
    layer_counts = find_layer();
    if (layer_counts == NULL) {
        printf("skipped: this OpenCL loader has no layers, or OPENCL_LAYERS does not name the test's\n");
        return EXIT_SKIPPED;
    }
    return psgd_run_suite(steady_suite());
}
