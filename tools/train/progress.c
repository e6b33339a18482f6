#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const double SECONDS_BETWEEN_LINES = 0.2;

double progress_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

progress_t progress_begin(const char *label, bool visible)
{
    double now = progress_now();

    return (progress_t){visible && isatty(STDERR_FILENO), label, now, now};
}

bool progress_is_due(const progress_t *progress)
{
    return progress->visible && progress_now() - progress->last >= SECONDS_BETWEEN_LINES;
}

void progress_write(progress_t *progress, uint64_t done, uint64_t total, double loss)
{
    double   now     = progress_now();
    double   seconds = now - progress->start;
    unsigned left    = (unsigned)(seconds / (double)done * (double)(total - done) + 0.5);

    fprintf(stderr, "\r%-20s step %llu of %llu, loss %.3f, %.1f ms a step, %u:%02u left \033[K", progress->label,
            (unsigned long long)done, (unsigned long long)total, loss, 1e3 * seconds / (double)done, left / 60,
            left % 60);
    fflush(stderr);
    progress->last = now;
}

void progress_end(progress_t *progress)
{
    if (progress->visible) {
        fprintf(stderr, "\r\033[K");
        fflush(stderr);
    }
}

struct notice {
    pthread_t       thread;
    pthread_mutex_t lock;
    pthread_cond_t  ended_changed;
    bool            ended;
    struct timespec when; /* CLOCK_REALTIME, as pthread_cond_timedwait() takes it */
    const char     *text;
};

static void *notice_run(void *argument)
{
    notice_t *notice = argument;
    int       result = 0;

    pthread_mutex_lock(&notice->lock);
    while (!notice->ended && result == 0) {
        result = pthread_cond_timedwait(&notice->ended_changed, &notice->lock, &notice->when);
    }
    if (!notice->ended) {
        fprintf(stderr, "%s\n", notice->text);
    }
    pthread_mutex_unlock(&notice->lock);
    return NULL;
}

notice_t *notice_begin(double seconds, const char *text)
{
    notice_t *notice = calloc(1, sizeof(*notice));

    if (notice == NULL) {
        return NULL;
    }
    notice->text = text;
    clock_gettime(CLOCK_REALTIME, &notice->when);
    notice->when.tv_sec += (time_t)seconds;
    pthread_mutex_init(&notice->lock, NULL);
    pthread_cond_init(&notice->ended_changed, NULL);
    if (pthread_create(&notice->thread, NULL, notice_run, notice) != 0) {
        pthread_cond_destroy(&notice->ended_changed);
        pthread_mutex_destroy(&notice->lock);
        free(notice);
        return NULL;
    }
    return notice;
}

void notice_end(notice_t *notice)
{
    if (notice == NULL) {
        return;
    }
    pthread_mutex_lock(&notice->lock);
    notice->ended = true;
    pthread_cond_signal(&notice->ended_changed);
    pthread_mutex_unlock(&notice->lock);
    pthread_join(notice->thread, NULL);
    pthread_cond_destroy(&notice->ended_changed);
    pthread_mutex_destroy(&notice->lock);
    free(notice);
}
