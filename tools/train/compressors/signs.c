#include "signs.h"

#include <string.h>

size_t signs_words(size_t count)
{
    return (count + 31) / 32;
}

void signs_pack(const float *values, size_t count, uint32_t *words)
{
    memset(words, 0, signs_words(count) * sizeof(*words));
    for (size_t i = 0; i < count; ++i) {
        words[i / 32] |= (uint32_t)(values[i] < 0.0f) << i % 32;
    }
}

void signs_add(const uint32_t *words, size_t count, float magnitude, float *sum)
{
    for (size_t i = 0; i < count; ++i) {
        sum[i] += (words[i / 32] >> i % 32 & 1) != 0 ? -magnitude : magnitude;
    }
}
