#include "random.h"

uint64_t random_mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

random_stream_t random_stream(uint64_t seed, uint64_t purpose)
{
    random_stream_t stream = {random_mix(random_mix(seed) ^ purpose)};

    return stream;
}

uint64_t random_next(random_stream_t *stream)
{
    uint64_t number = random_mix(stream->state);

    stream->state += UINT64_C(0x9E3779B97F4A7C15);
    return number;
}

double random_unit(random_stream_t *stream)
{
    return (double)(random_next(stream) >> 11) * 0x1p-53;
}

uint32_t random_below(random_stream_t *stream, uint32_t bound)
{
    uint64_t limit = (UINT64_C(1) << 32) - (UINT64_C(1) << 32) % bound; /* a multiple of bound: no number is favoured */
    uint64_t number;

    do {
        number = random_next(stream) >> 32;
    } while (number >= limit);
    return (uint32_t)(number % bound);
}

void random_shuffle(random_stream_t *stream, uint32_t *items, uint32_t count)
{
    for (uint32_t left = count; left > 1; --left) {
        uint32_t chosen = random_below(stream, left);
        uint32_t item   = items[chosen];
        items[chosen]   = items[left - 1];
        items[left - 1] = item;
    }
}
