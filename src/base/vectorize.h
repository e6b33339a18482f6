/* For loops over whole factors on the host: compiled for the baseline processor and for wider vectors, chosen when the
 * library is loaded. For static functions alone: of others the compiler exports the variants. The results have the same
 * bits: nothing is contracted, and no order of additions changes that matters. */
#ifndef PSGD_BASE_VECTORIZE_H
#define PSGD_BASE_VECTORIZE_H

#include <stdint.h> /* brings in what tells glibc from others */

/* Needs indirect functions, which sanitizers do not get along with. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define PSGD_VECTORIZE __attribute__((target_clones("avx2", "default")))
#else
#define PSGD_VECTORIZE
#endif

#endif
