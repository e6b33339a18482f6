#include "base/half.h"

#include "base/bits.h"
#include "base/vectorize.h"

/* Normal halves: the exponent's bias is 112 less, and 13 bits are rounded off; a carry goes into the exponent. Smaller ones count in
 * units of 2^-24, which is the last bit of 0.5 in single precision. What is too large becomes infinite. */
static uint16_t encode_half(float x)
{
    const uint32_t bits     = psgd_bits_of(x);
    const uint32_t size     = bits & 0x7FFFFFFFU;
    const uint32_t normal   = (size + 0xFFFU + ((size >> 13) & 1U) - (112U << 23)) >> 13;
    const uint32_t denormal = psgd_bits_of(psgd_float_of(size) + 0.5f) - psgd_bits_of(0.5f);
    const uint32_t rounded  = size < 0x38800000U ? denormal : normal;

    return (uint16_t)(((bits >> 16) & 0x8000U) | (size >= 0x477FF000U ? 0x7C00U : rounded));
}

static float decode_half(uint16_t half)
{
    const uint32_t size     = half & 0x7FFFU;
    const uint32_t normal   = (size << 13) + (112U << 23);
    const uint32_t denormal = psgd_bits_of((float)size * 0x1p-24f);
    const uint32_t infinite = 0x7F800000U | (size << 13);
    const uint32_t bits     = size >= 0x7C00U ? infinite : (size < 0x0400U ? denormal : normal);

    return psgd_float_of(bits | ((uint32_t)(half & 0x8000U) << 16));
}

PSGD_VECTORIZE
static void encode_halves(const float *values, size_t count, float scale, uint16_t *halves)
{
    for (size_t i = 0; i < count; ++i) {
        halves[i] = encode_half(values[i] * scale);
    }
}

PSGD_VECTORIZE
static void decode_halves(const uint16_t *halves, size_t count, float scale, float *values)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = decode_half(halves[i]) * scale;
    }
}

PSGD_VECTORIZE
static void encode_bfloats(const float *values, size_t count, uint16_t *halves)
{
    for (size_t i = 0; i < count; ++i) {
        const uint32_t bits = psgd_bits_of(values[i]);

        halves[i] = (uint16_t)((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
    }
}

PSGD_VECTORIZE
static void decode_bfloats(const uint16_t *halves, size_t count, float *values)
{
    for (size_t i = 0; i < count; ++i) {
        values[i] = psgd_float_of((uint32_t)halves[i] << 16);
    }
}

void psgd_half_encode(const float *values, size_t count, float scale, uint16_t *halves)
{
    encode_halves(values, count, scale, halves);
}

void psgd_half_decode(const uint16_t *halves, size_t count, float scale, float *values)
{
    decode_halves(halves, count, scale, values);
}

void psgd_bfloat_encode(const float *values, size_t count, uint16_t *halves)
{
    encode_bfloats(values, count, halves);
}

void psgd_bfloat_decode(const uint16_t *halves, size_t count, float *values)
{
    decode_bfloats(halves, count, values);
}
