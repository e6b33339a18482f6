#include "support/workers.h"

#include <pthread.h>
#include <stdio.h>

#include "support/suite.h"

static test_device_t devices[WORKERS_MAX];

typedef struct thread {
    pthread_t        id;
    worker_t         worker;
    worker_fn        function;
    worker_outcome_t outcome;
} thread_t;

const test_device_t *workers_device(uint32_t index)
{
    ck_assert_uint_lt(index, WORKERS_MAX);
    if (devices[index].context == NULL) {
        assert_ok(test_device_open(&devices[index]));
    }
    return &devices[index];
}

void workers_close(void)
{
    for (uint32_t w = 0; w < WORKERS_MAX; ++w) {
        test_device_close(&devices[w]);
    }
}

static void *thread_main(void *argument)
{
    thread_t *thread = argument;

    thread->outcome.status = thread->function(&thread->worker);
    snprintf(thread->outcome.sentence, sizeof(thread->outcome.sentence), "%s", psgd_last_error());
    return NULL;
}

void workers_try(uint32_t count, worker_fn function, void *user, worker_outcome_t *outcomes)
{
    psgd_comm_t *comms[WORKERS_MAX];
    thread_t     threads[WORKERS_MAX];

    ck_assert_uint_le(count, WORKERS_MAX);
    assert_ok(psgd_comm_threads_create(count, comms));
    for (uint32_t w = 0; w < count; ++w) {
        threads[w].worker   = (worker_t){w, count, workers_device(w), comms[w], user};
        threads[w].function = function;
    }
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_int_eq(pthread_create(&threads[w].id, NULL, thread_main, &threads[w]), 0);
    }
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_int_eq(pthread_join(threads[w].id, NULL), 0);
        outcomes[w] = threads[w].outcome;
        psgd_comm_destroy(comms[w]);
    }
}

void workers_run(uint32_t count, worker_fn function, void *user)
{
    worker_outcome_t outcomes[WORKERS_MAX];

    workers_try(count, function, user, outcomes);
    for (uint32_t w = 0; w < count; ++w) {
        ck_assert_msg(outcomes[w].status == PSGD_OK, "worker %u: %s: %s", w, psgd_status_name(outcomes[w].status),
                      outcomes[w].sentence);
    }
}
