#define _POSIX_C_SOURCE 200809L /* pthread_condattr_setclock, pthread_sigmask, clockid_t */
#include "device/waker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/memory.h"

static const uint64_t NS_PER_SECOND = UINT64_C(1000000000);

struct psgd_waker {
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  has_work; /* for the thread */
    pthread_cond_t  is_idle;  /* for the caller */
    cl_event        event;    /* what the thread waits for; NULL: nothing */
    bool            must_end;
    bool            is_left; /* nobody but the thread knows of this any more */
};

static void free_waker(psgd_waker_t *w)
{
    pthread_cond_destroy(&w->is_idle);
    pthread_cond_destroy(&w->has_work);
    pthread_mutex_destroy(&w->lock);
    psgd_free(w);
}

/* ---- the thread ---- */

/* The next event; NULL when it is time to end. */
static cl_event next_event(psgd_waker_t *w)
{
    cl_event event;

    pthread_mutex_lock(&w->lock);
    while ((w->event == NULL) && !w->must_end) {
        pthread_cond_wait(&w->has_work, &w->lock);
    }
    event = w->event;
    pthread_mutex_unlock(&w->lock);
    return event;
}

/* Whether somebody is left to wait for others for. */
static bool report(psgd_waker_t *w)
{
    bool is_left;

    pthread_mutex_lock(&w->lock);
    w->event = NULL;
    is_left  = w->is_left;
    pthread_cond_signal(&w->is_idle);
    pthread_mutex_unlock(&w->lock);
    return !is_left;
}

static void *run(void *argument)
{
    psgd_waker_t *w = argument;

    for (cl_event event = next_event(w); event != NULL; event = next_event(w)) {
        clWaitForEvents(1, &event); /* whatever it returns: the caller looks at the event itself */
        if (!report(w)) {
            free_waker(w);
            return NULL;
        }
    }
    return NULL;
}

/* Signals are for the program's own threads. */
static int start_thread(psgd_waker_t *w)
{
    sigset_t all, before;
    int      result;

    sigfillset(&all);
    result = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (result != 0) {
        return result;
    }
    result = pthread_create(&w->thread, NULL, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

/* ---- the caller ---- */

psgd_status_t psgd_waker_create(psgd_waker_t **waker_p)
{
    psgd_waker_t      *w = NULL;
    pthread_condattr_t clock;
    psgd_status_t      status = psgd_alloc(1, sizeof(*w), "the thread that waits for a device", &w);

    if (status != PSGD_OK) {
        return status;
    }
    pthread_condattr_init(&clock); /* none of these can fail: defaults, and a clock that POSIX names */
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->has_work, NULL);
    pthread_cond_init(&w->is_idle, &clock);
    pthread_condattr_destroy(&clock);
    if (start_thread(w) != 0) {
        free_waker(w);
        return psgd_fail(PSGD_ERR_HOST_MEMORY,
                         "the system starts no more threads: one is needed to wait for a CPU device");
    }
    *waker_p = w;
    return PSGD_OK;
}

bool psgd_waker_watch(psgd_waker_t *w, cl_event event)
{
    bool is_free;

    pthread_mutex_lock(&w->lock);
    is_free = w->event == NULL;
    if (is_free) {
        w->event = event;
        pthread_cond_signal(&w->has_work);
    }
    pthread_mutex_unlock(&w->lock);
    return is_free;
}

static struct timespec time_after(uint64_t ns)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    ns += (uint64_t)at.tv_nsec;
    at.tv_sec += (time_t)(ns / NS_PER_SECOND);
    at.tv_nsec = (long)(ns % NS_PER_SECOND);
    return at;
}

/* With the lock held. */
static bool sleep_until_idle(psgd_waker_t *w, uint64_t ns)
{
    const struct timespec until = time_after(ns);

    while ((w->event != NULL) && (pthread_cond_timedwait(&w->is_idle, &w->lock, &until) != ETIMEDOUT)) {
    }
    return w->event == NULL;
}

bool psgd_waker_sleep(psgd_waker_t *w, uint64_t ns)
{
    bool is_idle;

    pthread_mutex_lock(&w->lock);
    is_idle = sleep_until_idle(w, ns);
    pthread_mutex_unlock(&w->lock);
    return is_idle;
}

void psgd_waker_destroy(psgd_waker_t *w, uint64_t ns)
{
    bool is_idle;

    if (w == NULL) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    w->must_end = true;
    pthread_cond_signal(&w->has_work);
    is_idle    = sleep_until_idle(w, ns);
    w->is_left = !is_idle;
    if (w->is_left) {
        pthread_detach(w->thread);
    }
    pthread_mutex_unlock(&w->lock);
    if (is_idle) {
        pthread_join(w->thread, NULL);
        free_waker(w);
    }
}
