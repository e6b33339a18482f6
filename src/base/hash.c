#include "base/hash.h"

#include <string.h>

#include "base/vectorize.h"

uint64_t psgd_hash_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

uint64_t psgd_hash_u64(uint64_t hash, uint64_t value)
{
    return psgd_hash_mix(hash ^ psgd_hash_mix(value));
}

uint64_t psgd_hash_bytes(uint64_t hash, const void *data, size_t bytes)
{
    const unsigned char *next = data;
    uint64_t             word = 0;

    hash = psgd_hash_u64(hash, bytes);
    for (; bytes >= sizeof(word); bytes -= sizeof(word), next += sizeof(word)) {
        memcpy(&word, next, sizeof(word));
        hash = psgd_hash_u64(hash, word);
    }
    if (bytes > 0) {
        word = 0;
        memcpy(&word, next, bytes);
        hash = psgd_hash_u64(hash, word);
    }
    return hash;
}

uint64_t psgd_hash_string(uint64_t hash, const char *text)
{
    return psgd_hash_bytes(hash, text, strlen(text));
}

/* One round of a 32-bit finalizer (MurmurHash3's); cl/hash.cl has the same. */
static uint32_t mix32(uint32_t x)
{
    x = (x ^ (x >> 16)) * UINT32_C(0x85EBCA6B);
    x = (x ^ (x >> 13)) * UINT32_C(0xC2B2AE35);
    return x ^ (x >> 16);
}

PSGD_VECTORIZE
static uint64_t hash_words(const void *words, size_t count, uint64_t first_index)
{
    const unsigned char *next = words;
    uint32_t             low  = 0;
    uint32_t             high = 0;

    for (size_t i = 0; i < count; ++i) {
        uint32_t word;
        uint32_t index = (uint32_t)(first_index + i);

        memcpy(&word, next + i * sizeof(word), sizeof(word));
        low += mix32(word ^ (index * UINT32_C(0x9E3779B1)));
        high += mix32(word + (index ^ UINT32_C(0x7F4A7C15)) * UINT32_C(0x85EBCA77));
    }
    return ((uint64_t)high << 32) | low;
}

uint64_t psgd_hash_words(const void *words, size_t count, uint64_t first_index)
{
    return hash_words(words, count, first_index);
}

uint64_t psgd_hash_add(uint64_t a, uint64_t b)
{
    uint32_t low  = (uint32_t)a + (uint32_t)b;
    uint32_t high = (uint32_t)(a >> 32) + (uint32_t)(b >> 32);

    return ((uint64_t)high << 32) | low;
}
