/* Random numbers that are the same on every machine: SplitMix64. */
#ifndef PSGD_TOOLS_RANDOM_H
#define PSGD_TOOLS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Mixes 64 bits so that each input bit reaches all output bits. */
uint64_t random_mix(uint64_t x);

/* A stream of its own for each (seed, what it is for). */
typedef struct random_stream {
    uint64_t state;
} random_stream_t;

random_stream_t random_stream(uint64_t seed, uint64_t purpose);
uint64_t        random_next(random_stream_t *stream);

/* From [0, 1), a multiple of 2^-53. */
double random_unit(random_stream_t *stream);

/* From [0, bound), each equally likely; bound >= 1. */
uint32_t random_below(random_stream_t *stream, uint32_t bound);

/* Shuffles items[0 .. count). */
void random_shuffle(random_stream_t *stream, uint32_t *items, uint32_t count);

#endif
