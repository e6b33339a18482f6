#include "core/progress.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/step.h"

/* Between two looks: much shorter than a message takes, long enough to leave the processor to the device and the caller. */
static const uint64_t REST_NS = 50000;

struct psgd_progress {
    psgd_reducer_t *reducer;
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  changed;
    bool            must_stop;
};

/* Waits for a step and goes on with it; false when it is time to end. */
static bool go_on(psgd_progress_t *p)
{
    bool stop;

    pthread_mutex_lock(&p->lock);
    while (!p->must_stop && !p->reducer->step.is_open) {
        pthread_cond_wait(&p->changed, &p->lock);
    }
    stop = p->must_stop;
    if (!stop) {
        psgd_reducer_go_on(p->reducer);
    }
    pthread_mutex_unlock(&p->lock);
    return !stop;
}

static void *run(void *argument)
{
    psgd_progress_t *p = argument;

    while (go_on(p)) {
        psgd_sleep_ns(REST_NS);
    }
    return NULL;
}

psgd_status_t psgd_progress_check(const psgd_comm_t *comm)
{
    return comm->any_thread
               ? PSGD_OK
               : psgd_fail(PSGD_ERR_UNSUPPORTED,
                           "config.progress_thread is 1, but the communicator '%s' may be used by one thread of the "
                           "program alone (psgd_comm_t.any_thread is 0); for MPI, call MPI_Init_thread() with "
                           "MPI_THREAD_MULTIPLE, and see that it provides it",
                           comm->name);
}

psgd_status_t psgd_progress_create(psgd_reducer_t *r)
{
    psgd_progress_t *p      = NULL;
    psgd_status_t    status = psgd_alloc(1, sizeof(*p), "the thread that makes progress", &p);

    if (status != PSGD_OK) {
        return status;
    }
    p->reducer = r;
    pthread_mutex_init(&p->lock, NULL); /* without attributes neither can fail */
    pthread_cond_init(&p->changed, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        pthread_cond_destroy(&p->changed);
        pthread_mutex_destroy(&p->lock);
        psgd_free(p);
        return psgd_fail(PSGD_ERR_HOST_MEMORY, "config.progress_thread is 1, but the system starts no more threads");
    }
    r->progress = p;
    return PSGD_OK;
}

void psgd_progress_destroy(psgd_progress_t *p)
{
    if (p == NULL) {
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->must_stop = true;
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    psgd_free(p);
}

void psgd_progress_enter(psgd_reducer_t *r)
{
    if (r->progress != NULL) {
        pthread_mutex_lock(&r->progress->lock);
    }
}

void psgd_progress_leave(psgd_reducer_t *r)
{
    if (r->progress == NULL) {
        return;
    }
    if (r->step.is_open) {
        pthread_cond_signal(&r->progress->changed);
    }
    pthread_mutex_unlock(&r->progress->lock);
}
