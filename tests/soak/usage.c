#define _GNU_SOURCE /* mallinfo2() */
#include "soak/usage.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "faults/injector.h"

/* A line of /proc/self/status, "VmRSS:     1234 kB", in bytes; 0 where there is none. */
static int64_t status_bytes(const char *key)
{
    FILE     *file = fopen("/proc/self/status", "r");
    char      line[256];
    long long kib = 0;

    while ((file != NULL) && (kib == 0) && (fgets(line, sizeof(line), file) != NULL)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            sscanf(line + strlen(key), ": %lld", &kib);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return (int64_t)kib * 1024;
}

static int64_t count_entries(const char *path)
{
    DIR    *directory = opendir(path);
    int64_t count     = 0;

    while ((directory != NULL) && (readdir(directory) != NULL)) {
        count += 1;
    }
    if (directory != NULL) {
        closedir(directory);
    }
    return count - 2; /* "." and ".." */
}

/* pthread_join() returns a moment before the thread is off the system's list. */
static int64_t count_threads(int64_t expected)
{
    const struct timespec moment = {0, 1000000};
    int64_t               count  = count_entries("/proc/self/task");

    for (int i = 0; (i < 1000) && (expected > 0) && (count > expected); ++i) {
        nanosleep(&moment, NULL);
        count = count_entries("/proc/self/task");
    }
    return count;
}

usage_t usage_now(int64_t expected_threads)
{
    const struct mallinfo2 heap = mallinfo2();
    usage_t                usage;

    usage.resident_bytes = status_bytes("VmRSS");
    usage.peak_bytes     = status_bytes("VmHWM");
    usage.heap_bytes     = (int64_t)(heap.uordblks + heap.hblkhd);
    usage.allocations    = injector_live_allocations();
    usage.objects        = injector_live_objects();
    usage.descriptors    = count_entries("/proc/self/fd") - 1; /* less the one that counts them */
    usage.threads        = count_threads(expected_threads);
    return usage;
}
