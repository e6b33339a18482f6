#define _POSIX_C_SOURCE 200809L
#include "notice.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

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
