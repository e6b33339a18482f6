/* Many steps and many reducers, and what the process holds is what it held before:
 *
 *   test_soak [STEPS [REDUCERS]]      steps of the fused engine (100000; a tenth as many of clblast's), reducers (10000)
 *
 * Steps: two workers go on for STEPS in cycles. In each cycle they also export, save, load, change ranks and change them back, and
 * skip a step whose gradients are not finite. Reducers: created, used and destroyed with their communicators, both engines and one
 * and two workers by turns. Then, from the end of the warm-up on:
 *   - the same allocations of libpsgd's, OpenCL objects, file descriptors and threads are alive, at the end of each cycle;
 *   - the heap and what is resident do not grow (see the bounds below);
 *   - each call succeeds, but for the skipped steps, which all workers skip; no hash differs, and the updates have the same bits.
 * Prints a table of what was measured. */
#define _XOPEN_SOURCE 700 /* mkdtemp(), pthread_barrier_t */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "faults/injector.h"
#include "soak/usage.h"
#include "support/job.h"
#include "support/suite.h"
#include "support/workers.h"

enum {
    NUM_TENSORS  = 4,
    NUM_WORKERS  = 2,
    NUM_GRADS    = 4, /* gradients that come by turns */
    WIDE_ELEMS   = 24 * 40,
    TALL_ELEMS   = 60 * 16,
    VECTOR_ELEMS = 5,
    PLAIN_ELEMS  = 30 * 20,
    TOTAL_ELEMS  = WIDE_ELEMS + TALL_ELEMS + VECTOR_ELEMS + PLAIN_ELEMS,
    RANK         = 2,
    HIGHER_RANK  = 3
};

/* By how much memory may grow behind the warm-up, in bytes; measured: below 1 KiB of heap, and 0.2 MiB resident, of pages that were
 * touched late. Two things would add to the heap, and neither is libpsgd's:
 *   - what glibc's threads keep for themselves of what they have freed counts as given out, 190 KiB in 100000 steps, ever more slowly:
 *     the test runs with GLIBC_TUNABLES=glibc.malloc.tcache_count=0;
 *   - PoCL 3.1 keeps 0.6 to 11 KiB of each program that is built, 18 KiB a reducer of these, also where a program without libpsgd
 *     builds and releases the same text: the test runs with program_layer.c, which builds it once. */
enum { HEAP_BOUND = 64 * 1024, RESIDENT_BOUND = 512 * 1024 };

/* The command line. */
static uint64_t num_steps = 100000, num_reducers = 10000;

/* ---- a worker's reducer ---- */

typedef struct actor {
    worker_t       *worker;
    psgd_reducer_t *reducer;
    cl_mem          mem;
    psgd_buffer_t   grads[NUM_TENSORS];
    float           values[NUM_GRADS][TOTAL_ELEMS];
} actor_t;

static psgd_status_t create_reducer(actor_t *actor, psgd_engine_t engine)
{
    psgd_tensor_t tensors[NUM_TENSORS];
    psgd_config_t config = PSGD_CONFIG_INIT;

    tensors[0]              = job_tensor("wide", 24, 40);
    tensors[1]              = job_tensor("tall", 60, 16);
    tensors[2]              = job_tensor("vector", VECTOR_ELEMS, 0);
    tensors[3]              = job_tensor("plain", 30, 20);
    tensors[3].rank         = PSGD_NEVER_COMPRESS;
    config.rank             = RANK;
    config.engine           = engine;
    config.check_every      = 100;
    config.deadline_seconds = 60.0;
    return psgd_reducer_create(actor->worker->device->context, actor->worker->device->id, actor->worker->device->queue,
                               tensors, NUM_TENSORS, &config, actor->worker->comm, &actor->reducer);
}

/* Its gradients lie one behind the other in one buffer. */
static psgd_status_t open_actor(actor_t *actor, worker_t *worker, psgd_engine_t engine)
{
    static const size_t ELEMS[NUM_TENSORS] = {WIDE_ELEMS, TALL_ELEMS, VECTOR_ELEMS, PLAIN_ELEMS};
    size_t              offset_bytes       = 0;

    actor->worker = worker;
    worker_needs(test_buffer_create(worker->device, TOTAL_ELEMS, &actor->mem));
    for (size_t i = 0; i < NUM_TENSORS; ++i) {
        actor->grads[i] = (psgd_buffer_t){actor->mem, offset_bytes};
        offset_bytes += ELEMS[i] * sizeof(float);
    }
    for (uint64_t i = 0; i < NUM_GRADS; ++i) {
        test_random_fill(actor->values[i], TOTAL_ELEMS, i * NUM_WORKERS + worker->index);
    }
    return create_reducer(actor, engine);
}

static void close_actor(actor_t *actor)
{
    psgd_reducer_destroy(actor->reducer);
    if (actor->mem != NULL) {
        clReleaseMemObject(actor->mem);
    }
}

static psgd_status_t take_step(actor_t *actor, uint64_t number)
{
    worker_needs(
        test_buffer_write(actor->worker->device, actor->mem, 0, actor->values[number % NUM_GRADS], TOTAL_ELEMS));
    return psgd_reducer_step(actor->reducer, actor->grads, NUM_TENSORS);
}

/* One worker alone has a NaN, and all of them skip the step. */
static psgd_status_t skip_step(actor_t *actor, uint64_t cycle)
{
    const float   nothing = NAN;
    psgd_status_t status;

    worker_needs(test_buffer_write(actor->worker->device, actor->mem, 0, actor->values[0], TOTAL_ELEMS));
    if (actor->worker->index == cycle % actor->worker->count) {
        worker_needs(test_buffer_write(actor->worker->device, actor->mem, cycle % TOTAL_ELEMS, &nothing, 1));
    }
    status = psgd_reducer_step(actor->reducer, actor->grads, NUM_TENSORS);
    worker_expects(status == PSGD_ERR_NONFINITE, "a step with a NaN ended with %s", psgd_status_name(status));
    return PSGD_OK;
}

static psgd_status_t export_state(actor_t *actor, psgd_error_form_t form)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = psgd_reducer_export_state(actor->reducer, form, &state);

    psgd_state_destroy(state);
    return status;
}

static psgd_status_t save_and_load(actor_t *actor, const char *path, psgd_error_form_t form)
{
    worker_needs(psgd_reducer_save(actor->reducer, path, form));
    return psgd_reducer_load(actor->reducer, path);
}

static psgd_status_t change_ranks(actor_t *actor, uint32_t rank)
{
    const uint32_t ranks[NUM_TENSORS] = {rank, rank, 0, 0};

    return psgd_reducer_set_ranks(actor->reducer, ranks, NUM_TENSORS);
}

static psgd_status_t compare_updates(actor_t *actor)
{
    const psgd_region_t updates = {actor->mem, 0, TOTAL_ELEMS * sizeof(float)};

    return psgd_replica_check(actor->reducer, &updates, 1);
}

/* ---- what is measured ---- */

/* From the end of the warm-up on; memory is judged by it. */
typedef struct record {
    usage_t *usages;
    size_t   count, capacity;
    uint64_t start_ns, end_ns;
} record_t;

static record_t begin_record(size_t capacity)
{
    record_t record = {calloc(capacity, sizeof(usage_t)), 0, capacity, psgd_now_ns(), 0};

    ck_assert_ptr_nonnull(record.usages);
    return record;
}

static void measure(record_t *record)
{
    if (record->count < record->capacity) {
        record->usages[record->count] = usage_now(record->count > 0 ? record->usages[0].threads : 0);
        record->count += 1;
    }
    record->end_ns = psgd_now_ns();
}

static void print_head(void)
{
    printf("%-26s %7s %8s | %-26s | %-17s | %-11s %8s %6s %8s\n", "", "count", "seconds", "resident MiB: warm,end,peak",
           "heap KiB: warm,end", "allocations", "objects", "files", "threads");
}

static void print_record(const char *name, uint64_t count, const record_t *record)
{
    const usage_t *warm = &record->usages[0], *end = &record->usages[record->count - 1];
    const double   kib = 1024.0, mib = 1024.0 * 1024.0;

    printf("%-26s %7llu %8.1f | %8.2f %8.2f %8.2f  | %9.1f %9.1f | %11lld %8lld %6lld %8lld\n", name,
           (unsigned long long)count, (double)(record->end_ns - record->start_ns) * 1e-9,
           (double)warm->resident_bytes / mib, (double)end->resident_bytes / mib, (double)end->peak_bytes / mib,
           (double)warm->heap_bytes / kib, (double)end->heap_bytes / kib, (long long)end->allocations,
           (long long)end->objects, (long long)end->descriptors, (long long)end->threads);
    fflush(stdout);
}

static void assert_same(const char *what, size_t i, int64_t now, int64_t before)
{
    ck_assert_msg(now == before, "measurement %zu: %lld %s, %lld after the warm-up", i, (long long)now, what,
                  (long long)before);
}

static void assert_within(const char *what, size_t i, int64_t now, int64_t before, int64_t bound)
{
    ck_assert_msg(now - before <= bound, "measurement %zu: %s has grown by %lld bytes since the warm-up", i, what,
                  (long long)(now - before));
}

/* At no measurement is there more than at the first. */
static void assert_steady(const record_t *record)
{
    const usage_t *warm = &record->usages[0];

    ck_assert_uint_eq(record->count, record->capacity);
    for (size_t i = 1; i < record->count; ++i) {
        const usage_t *now = &record->usages[i];

        assert_same("allocations of libpsgd's", i, now->allocations, warm->allocations);
        assert_same("OpenCL objects", i, now->objects, warm->objects);
        assert_same("file descriptors", i, now->descriptors, warm->descriptors);
        assert_same("threads", i, now->threads, warm->threads);
        assert_within("the heap", i, now->heap_bytes, warm->heap_bytes, HEAP_BOUND);
        assert_within("resident memory", i, now->resident_bytes, warm->resident_bytes, RESIDENT_BOUND);
    }
}

/* ---- many steps ---- */

typedef struct setup {
    const char   *name;
    psgd_engine_t engine;
    uint64_t      cycle_steps; /* as many cycles are done of each */
} setup_t;

static const setup_t SETUPS[] = {
    {"steps, fused, 2 workers", PSGD_ENGINE_FUSED, 1000},
    {"steps, clblast, 2 workers", PSGD_ENGINE_CLBLAST, 100},
};

enum { NUM_SETUPS = sizeof(SETUPS) / sizeof(SETUPS[0]), STEPS_A_CYCLE = 1000 };

typedef struct soak {
    const setup_t    *setup;
    uint64_t          num_cycles;
    const char       *path; /* of a checkpoint */
    pthread_barrier_t barrier;
    record_t          record;
} soak_t;

/* Exports and checkpoints, both by turns. */
static psgd_error_form_t form_of(uint64_t cycle)
{
    return cycle % 2 == 0 ? PSGD_ERROR_LOCAL : PSGD_ERROR_MEAN;
}

/* All that a reducer does in its life, each at its place in the cycle; the rank is in the end what it was. */
static psgd_status_t run_cycle(actor_t *actor, const soak_t *soak, uint64_t cycle)
{
    const uint64_t          steps = soak->setup->cycle_steps;
    const psgd_error_form_t form  = form_of(cycle);

    for (uint64_t i = 0; i < steps; ++i) {
        if (i == steps / 5) {
            worker_needs(export_state(actor, form));
        }
        if (i == steps * 2 / 5) {
            worker_needs(save_and_load(actor, soak->path, form));
        }
        if (i == steps * 3 / 5) {
            worker_needs(change_ranks(actor, HIGHER_RANK));
        }
        if (i == steps * 4 / 5) {
            worker_needs(change_ranks(actor, RANK));
        }
        if (i == steps / 2) {
            worker_needs(skip_step(actor, cycle));
        }
        worker_needs(take_step(actor, cycle * steps + i));
    }
    return compare_updates(actor);
}

/* No worker has anything under way while worker 0 measures. */
static void measure_together(actor_t *actor, soak_t *soak)
{
    pthread_barrier_wait(&soak->barrier);
    if (actor->worker->index == 0) {
        measure(&soak->record);
    }
    pthread_barrier_wait(&soak->barrier);
}

/* A worker that has failed comes to the barrier all the same. */
static psgd_status_t run_cycles(actor_t *actor, soak_t *soak)
{
    psgd_status_t status = PSGD_OK;
    psgd_stats_t  stats  = PSGD_STATS_INIT;

    for (uint64_t cycle = 0; cycle < soak->num_cycles; ++cycle) {
        status = status == PSGD_OK ? run_cycle(actor, soak, cycle) : status;
        measure_together(actor, soak);
    }
    worker_needs(status);
    worker_needs(psgd_reducer_get_stats(actor->reducer, &stats));
    worker_expects(stats.skipped_steps == soak->num_cycles, "%llu steps were skipped",
                   (unsigned long long)stats.skipped_steps);
    worker_expects(stats.steps == soak->num_cycles * soak->setup->cycle_steps, "%llu steps were taken",
                   (unsigned long long)stats.steps);
    return PSGD_OK;
}

static psgd_status_t act_in_soak(worker_t *worker)
{
    soak_t       *soak  = worker->user;
    actor_t      *actor = calloc(1, sizeof(*actor));
    psgd_status_t status;

    worker_expects(actor != NULL, "no memory");
    status = open_actor(actor, worker, soak->setup->engine); /* fails on all workers or on none */
    if (status == PSGD_OK) {
        status = run_cycles(actor, soak);
    }
    close_actor(actor);
    free(actor);
    return status;
}

/* Returns how many files there were. */
static int remove_directory(const char *path)
{
    DIR           *directory = opendir(path);
    struct dirent *entry;
    char           name[PATH_MAX];
    int            count = 0;

    ck_assert_ptr_nonnull(directory);
    while ((entry = readdir(directory)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        count += unlink(name) == 0 ? 1 : 0;
    }
    closedir(directory);
    ck_assert_int_eq(rmdir(path), 0);
    return count;
}

/* What the last save has put there, and nothing of those before. */
static int files_of_last_save(const soak_t *soak)
{
    return form_of(soak->num_cycles - 1) == PSGD_ERROR_LOCAL ? 1 + NUM_WORKERS : 1;
}

START_TEST(soak__steps_leave_what_is_held_as_it_was)
{
    char   directory[] = "/tmp/psgd-soak-XXXXXX", path[64];
    soak_t soak        = {.setup = &SETUPS[_i], .num_cycles = num_steps / STEPS_A_CYCLE, .path = path};

    ck_assert_ptr_nonnull(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/run", directory);
    ck_assert_int_eq(pthread_barrier_init(&soak.barrier, NULL, NUM_WORKERS), 0);
    soak.record = begin_record((size_t)soak.num_cycles);
    workers_run(NUM_WORKERS, act_in_soak, &soak);
    print_record(soak.setup->name, soak.num_cycles * soak.setup->cycle_steps, &soak.record);
    ck_assert_int_eq(remove_directory(directory), files_of_last_save(&soak));
    assert_steady(&soak.record);
    pthread_barrier_destroy(&soak.barrier);
    free(soak.record.usages);
}
END_TEST

/* ---- many reducers ---- */

enum { STEPS_A_REDUCER = 2, REDUCERS_A_ROUND = 6, WARM_UP_REDUCERS = 1000 };

static psgd_status_t live_once(worker_t *worker)
{
    const psgd_engine_t *engine = worker->user;
    actor_t              actor  = {0};
    psgd_status_t        status = open_actor(&actor, worker, *engine);

    for (uint64_t i = 0; (i < STEPS_A_REDUCER) && (status == PSGD_OK); ++i) {
        status = take_step(&actor, i);
    }
    close_actor(&actor);
    return status;
}

/* Both engines, one worker and two. */
static void live_one_round(void)
{
    psgd_engine_t engines[] = {PSGD_ENGINE_FUSED, PSGD_ENGINE_CLBLAST};

    for (uint32_t count = 1; count <= NUM_WORKERS; ++count) {
        workers_run(count, live_once, &engines[0]);
        workers_run(count, live_once, &engines[1]);
    }
}

START_TEST(soak__reducers_leave_nothing_behind)
{
    const uint64_t num_rounds = (num_reducers + REDUCERS_A_ROUND - 1) / REDUCERS_A_ROUND;
    const uint64_t warm_up = num_reducers / 2 < WARM_UP_REDUCERS ? num_rounds / 2 : WARM_UP_REDUCERS / REDUCERS_A_ROUND;
    record_t       record  = begin_record((size_t)(num_rounds - warm_up));

    for (uint64_t round = 0; round < num_rounds; ++round) {
        live_one_round();
        if (round >= warm_up) {
            measure(&record);
        }
    }
    print_record("reducers", num_rounds * REDUCERS_A_ROUND, &record);
    assert_steady(&record);
    free(record.usages);
}
END_TEST

START_TEST(soak__has_its_layer)
{
    for (uint32_t w = 0; w < NUM_WORKERS; ++w) {
        workers_device(w); /* the loader opens its layers, and what devices allocate is no growth */
    }
    ck_assert_msg(injector_open(), "OPENCL_LAYERS does not name the fault layer, which counts objects");
    print_head();
}
END_TEST

int main(int argc, char **argv)
{
    Suite *suite = suite_create("soak");
    TCase *tcase = tcase_create("one after the other");
    int    result;

    num_steps    = argc > 1 ? strtoull(argv[1], NULL, 10) : num_steps;
    num_reducers = argc > 2 ? strtoull(argv[2], NULL, 10) : num_reducers;
    if ((num_steps < 2 * STEPS_A_CYCLE) || (num_reducers < 4 * REDUCERS_A_ROUND)) {
        fprintf(stderr, "usage: test_soak [STEPS [REDUCERS]], of steps %d or more, of reducers %d\n", 2 * STEPS_A_CYCLE,
                4 * REDUCERS_A_ROUND);
        return 2;
    }
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, soak__has_its_layer);
    tcase_add_loop_test(tcase, soak__steps_leave_what_is_held_as_it_was, 0, NUM_SETUPS);
    tcase_add_test(tcase, soak__reducers_leave_nothing_behind);
    suite_add_tcase(suite, tcase);
    result = psgd_run_suite(suite);
    workers_close();
    return result;
}
