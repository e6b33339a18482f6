/* Integer arithmetic that libc lacks. */
#ifndef PSGD_BASE_ARITH_H
#define PSGD_BASE_ARITH_H

#include <stdint.h>

static inline uint64_t psgd_divide_up(uint64_t dividend, uint64_t divisor)
{
    return dividend / divisor + (dividend % divisor != 0);
}

/* The next multiple of `unit` that is not below x. */
static inline uint64_t psgd_round_up(uint64_t x, uint64_t unit)
{
    return psgd_divide_up(x, unit) * unit;
}

static inline uint64_t psgd_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t psgd_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t psgd_clamp(uint64_t x, uint64_t low, uint64_t high)
{
    return psgd_min(psgd_max(x, low), high);
}

#endif
