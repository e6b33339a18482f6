#define _GNU_SOURCE /* RTLD_DEFAULT, dl_iterate_phdr() */
#include "faults/injector.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "faults/fault_layer.h"

static fault_plan_t       *layer;
static fault_t             set;
static _Atomic bool        is_stopped;
static _Thread_local bool  is_armed;
static _Atomic uint64_t    calls, fired;
static _Atomic int64_t     countdown, live;
static const char *_Atomic first_name;

/* ---- calls of the linked code ---- */

static bool fires(fault_kind_t kind, const char *name)
{
    int64_t left;

    if (!is_armed || is_stopped || (set.kind != kind)) {
        return false;
    }
    calls += 1;
    left = --countdown;
    if ((left > 0) || ((left < 0) && !set.persists)) {
        return false;
    }
    if ((kind == FAULT_FILE) && (set.code == FAULT_KILLS)) {
        raise(SIGKILL);
    }
    first_name = first_name == NULL ? name : first_name;
    fired += 1;
    return true;
}

#define WRAPPED_ALLOCATION(type_, name_, parameters_, arguments_) \
    type_ *__real_##name_ parameters_; \
    type_ *__wrap_##name_ parameters_; \
    type_ *__wrap_##name_ parameters_ \
    { \
        type_ *memory = fires(FAULT_ALLOCATION, #name_) ? NULL : __real_##name_ arguments_; \
        live += memory != NULL ? 1 : 0; \
        return memory; \
    }

WRAPPED_ALLOCATION(void, malloc, (size_t bytes), (bytes))
WRAPPED_ALLOCATION(void, calloc, (size_t count, size_t bytes), (count, bytes))
WRAPPED_ALLOCATION(char, strdup, (const char *text), (text))

void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes)
{
    void *grown = fires(FAULT_ALLOCATION, "realloc") ? NULL : __real_realloc(memory, bytes);

    live += (memory == NULL) && (grown != NULL) ? 1 : 0;
    return grown;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    live -= memory != NULL ? 1 : 0;
    __real_free(memory);
}

/* A thread is something that the system may have no more of, too. */
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
    return fires(FAULT_ALLOCATION, "pthread_create") ? EAGAIN
                                                     : __real_pthread_create(thread, attributes, run, argument);
}

/* A file operation that fails with the fault's errno. */
#define WRAPPED_FILE(result_, name_, parameters_, arguments_) \
    result_ __real_##name_ parameters_; \
    result_ __wrap_##name_ parameters_; \
    result_ __wrap_##name_ parameters_ \
    { \
        if (fires(FAULT_FILE, #name_)) { \
            errno = set.code; \
            return -1; \
        } \
        return __real_##name_ arguments_; \
    }

WRAPPED_FILE(ssize_t, read, (int file, void *to, size_t bytes), (file, to, bytes))
WRAPPED_FILE(ssize_t, write, (int file, const void *from, size_t bytes), (file, from, bytes))
WRAPPED_FILE(int, fsync, (int file), (file))
WRAPPED_FILE(int, fstat, (int file, struct stat *info), (file, info))
WRAPPED_FILE(int, rename, (const char *from, const char *to), (from, to))

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    mode_t  mode;
    va_list list;

    va_start(list, flags);
    mode = (flags & O_CREAT) != 0 ? va_arg(list, mode_t) : 0;
    va_end(list);
    if (fires(FAULT_FILE, "open")) {
        errno = set.code;
        return -1;
    }
    return __real_open(path, flags, mode);
}

/* A file that cannot be closed properly is closed all the same. */
int __real_close(int file);
int __wrap_close(int file);
int __wrap_close(int file)
{
    int result = __real_close(file);

    if (fires(FAULT_FILE, "close")) {
        errno = set.code;
        return -1;
    }
    return result;
}

/* ---- the layer ---- */

/* The loader opens layers for itself alone: they are found among what the process has loaded. */
static int find_layer(struct dl_phdr_info *info, size_t bytes, void *user)
{
    void *handle;

    (void)bytes;
    (void)user;
    if ((info->dlpi_name == NULL) || (strstr(info->dlpi_name, "psgd_fault_layer") == NULL)) {
        return 0;
    }
    handle = dlopen(info->dlpi_name, RTLD_NOW | RTLD_NOLOAD);
    layer  = handle != NULL ? dlsym(handle, "psgd_fault_plan") : NULL;
    return layer != NULL;
}

bool injector_open(void)
{
    dl_iterate_phdr(find_layer, NULL);
    return layer != NULL;
}

/* ---- the fault ---- */

void injector_set(const fault_t *fault)
{
    set        = *fault;
    is_stopped = false;
    calls = fired = 0;
    countdown     = fault->number;
    first_name    = NULL;
    layer->victim = 0;
    layer->calls = layer->fired = 0;
    layer->countdown            = fault->number;
    layer->code                 = fault->code;
    layer->persists             = fault->persists ? 1 : 0;
    layer->name                 = NULL;
}

void injector_arm(void)
{
    is_armed = true;
    if ((set.kind == FAULT_OPENCL) && !is_stopped) {
        layer->victim = (uint64_t)pthread_self();
    }
}

void injector_disarm(void)
{
    is_armed      = false;
    layer->victim = 0;
}

void injector_stop(void)
{
    is_stopped    = true;
    layer->victim = 0;
}

uint64_t injector_calls(void)
{
    return set.kind == FAULT_OPENCL ? layer->calls : calls;
}

uint64_t injector_fired(void)
{
    return set.kind == FAULT_OPENCL ? layer->fired : fired;
}

const char *injector_name(void)
{
    const char *name = set.kind == FAULT_OPENCL ? layer->name : first_name;

    return name != NULL ? name : "";
}

int64_t injector_live_allocations(void)
{
    return live;
}

int64_t injector_live_objects(void)
{
    int64_t sum = 0;

    for (int i = 0; i < NUM_OBJECTS; ++i) {
        sum += layer->live[i];
    }
    return sum;
}
