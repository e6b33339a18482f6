/* The bits of a float, and the float of bits. */
#ifndef PSGD_BASE_BITS_H
#define PSGD_BASE_BITS_H

#include <stdint.h>
#include <string.h>

static inline uint32_t psgd_bits_of(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float psgd_float_of(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof(x));
    return x;
}

#endif
