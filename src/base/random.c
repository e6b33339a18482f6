#include "base/random.h"

#include <Random123/philox.h>

#include "base/hash.h"

uint64_t psgd_random_key(uint64_t seed, uint64_t name_hash, psgd_random_purpose_t purpose)
{
    return psgd_hash_mix(psgd_hash_mix(seed ^ name_hash) + (uint64_t)purpose);
}

float psgd_random_value(uint64_t key, uint64_t step, uint32_t column, uint32_t element)
{
    philox4x32_key_t key_words = {{(uint32_t)key, (uint32_t)(key >> 32)}};
    philox4x32_ctr_t counter   = {{element, column, (uint32_t)step, (uint32_t)(step >> 32)}};
    philox4x32_ctr_t words     = philox4x32(counter, key_words);
    int32_t          sum       = (int32_t)((words.v[0] >> 10) + (words.v[1] >> 10) + (words.v[2] >> 10) +
                              (words.v[3] >> 10)); /* below 2^24, so exact as a float */

    return (float)(sum - (1 << 23)) * 0x1p-22f;
}

void psgd_random_fill(float *out, size_t count, uint64_t key, uint64_t step, uint32_t column)
{
    for (size_t i = 0; i < count; ++i) {
        out[i] = psgd_random_value(key, step, column, (uint32_t)i);
    }
}
