/* Counter-based random numbers (Philox4x32-10 of Random123): a number is a function of what it is for, never of call order,
 * device or number of workers. cl/random.clh computes the same bits on the device. */
#ifndef PSGD_BASE_RANDOM_H
#define PSGD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* What a number is for. */
typedef enum psgd_random_purpose {
    PSGD_RANDOM_FIRST_Q    = 1, /* first Q, cold starts */
    PSGD_RANDOM_REPLACED_P = 2, /* a vanished column of P */
    PSGD_RANDOM_REPLACED_Q = 3, /* a vanished column of Q, when it is orthonormalized */
    PSGD_RANDOM_FIRST_P    = 4, /* first P, cold starts: half-iterations begin with either factor */
    PSGD_RANDOM_ROUNDING   = 5  /* error memories that are rounded by chance: a key alone, see cl/bfloat.clh */
} psgd_random_purpose_t;

/* The key of one tensor and purpose: psgd_hash_mix(psgd_hash_mix(seed ^ name_hash) + purpose). */
uint64_t psgd_random_key(uint64_t seed, uint64_t name_hash, psgd_random_purpose_t purpose);

/* The number for (key, step, column, element): bell-shaped around 0, in [-2, 2), standard deviation 0.577; exact in fp32.
 * Philox4x32-10 with counter {element, column, low step, high step}, key {low key, high key};
 * value = ((x0>>10) + (x1>>10) + (x2>>10) + (x3>>10) - 2^23) * 2^-22. */
float psgd_random_value(uint64_t key, uint64_t step, uint32_t column, uint32_t element);

/* out[i] = psgd_random_value(key, step, column, i) for i < count. */
void psgd_random_fill(float *out, size_t count, uint64_t key, uint64_t step, uint32_t column);

#endif
