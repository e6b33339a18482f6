/* What this process holds at the moment: memory, objects, descriptors, threads. */
#ifndef PSGD_TESTS_SOAK_USAGE_H
#define PSGD_TESTS_SOAK_USAGE_H

#include <stdint.h>

typedef struct usage {
    int64_t resident_bytes; /* of the whole process; PoCL's device memory is among it */
    int64_t peak_bytes;     /* the most that was ever resident */
    int64_t heap_bytes;     /* that malloc() has given out, drivers and CLBlast included */
    int64_t allocations;    /* alive, of the code that the executable is linked from: libpsgd, the test, Check */
    int64_t objects;        /* references to OpenCL objects, CLBlast's included */
    int64_t descriptors;
    int64_t threads;
} usage_t;

/* The injector has found its layer before. A thread that was joined is waited for until the system has let go of it. */
usage_t usage_now(int64_t expected_threads);

#endif
