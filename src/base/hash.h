/* 64-bit hashes: of bytes (names, plans) and of words in any order (what devices compute in parallel). Not cryptographic. */
#ifndef PSGD_BASE_HASH_H
#define PSGD_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Mixes 64 bits so that each input bit reaches all output bits (the finalizer of SplitMix64). */
uint64_t psgd_hash_mix(uint64_t x);

/* Continues `hash` (0 at first) with `bytes` bytes; what comes in several calls hashes like that sequence of calls. */
uint64_t psgd_hash_bytes(uint64_t hash, const void *data, size_t bytes);
uint64_t psgd_hash_u64(uint64_t hash, uint64_t value);
uint64_t psgd_hash_string(uint64_t hash, const char *text);

/* The hash of 32-bit words w[0 .. count) that a device computes too (cl/hash.cl), in any order: two sums modulo 2^32 over i of
 * mixed (w[i], first_index + i); the second lane in the upper half. Sums of parts add up lane by lane: psgd_hash_add. */
uint64_t psgd_hash_words(const void *words, size_t count, uint64_t first_index);
uint64_t psgd_hash_add(uint64_t a, uint64_t b);

#endif
