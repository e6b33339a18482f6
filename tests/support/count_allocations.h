/* Counts the heap allocations of the code that an executable is linked from: this library, the test and Check (whose assertions
 * allocate), which are static; not those of shared libraries: drivers, CLBlast, MPI, libc. For executables that list
 * count_allocations.c and link with PSGD_COUNT_ALLOCATIONS_OPTIONS (tests/support/CMakeLists.txt). */
#ifndef PSGD_TESTS_SUPPORT_COUNT_ALLOCATIONS_H
#define PSGD_TESTS_SUPPORT_COUNT_ALLOCATIONS_H

#include <stdint.h>

/* Calls so far of malloc, calloc, realloc, aligned_alloc, posix_memalign, strdup and strndup, by all threads. */
uint64_t count_allocations(void);

#endif
