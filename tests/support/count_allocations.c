/* The linker (--wrap) turns calls of malloc() in the objects that it links into calls of __wrap_malloc(), and those of
 * __real_malloc() into calls of malloc(). Shared libraries are linked already, and keep theirs. */
#include "support/count_allocations.h"

#include <stdatomic.h>
#include <stddef.h>

static _Atomic uint64_t count;

uint64_t count_allocations(void)
{
    return count;
}

/* Defines __wrap_<name>(): counts, and hands on. */
#define COUNTED(result_, name_, parameters_, arguments_) \
    result_ __real_##name_ parameters_; \
    result_ __wrap_##name_ parameters_; \
    result_ __wrap_##name_ parameters_ \
    { \
        count += 1; \
        return __real_##name_ arguments_; \
    }

COUNTED(void *, malloc, (size_t bytes), (bytes))
COUNTED(void *, calloc, (size_t count_elems, size_t elem_bytes), (count_elems, elem_bytes))
COUNTED(void *, realloc, (void *memory, size_t bytes), (memory, bytes))
COUNTED(void *, aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
COUNTED(int, posix_memalign, (void **memory_p, size_t alignment, size_t bytes), (memory_p, alignment, bytes))
COUNTED(char *, strdup, (const char *text), (text))
COUNTED(char *, strndup, (const char *text, size_t length), (text, length))
