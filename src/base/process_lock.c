#include "base/process_lock.h"

#include <pthread.h>

static pthread_mutex_t process_lock = PTHREAD_MUTEX_INITIALIZER;

void psgd_process_lock(void)
{
    pthread_mutex_lock(&process_lock);
}

void psgd_process_unlock(void)
{
    pthread_mutex_unlock(&process_lock);
}
