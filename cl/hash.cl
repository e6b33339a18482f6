/* The hash of 32-bit words, equal to psgd_hash_words() of src/base/hash.c: two sums modulo 2^32 over all words of the mixed
 * word and its index. Integers, so no order of adding up changes it: work-items and work-groups add what they have to
 * sum[0] and sum[1], which the host has zeroed, with the 32-bit atomics that OpenCL 1.2 has everywhere. */

/* Words of a vector: 16 for CPUs, with one work-item a group; 1 for GPUs, so that neighbours read neighbouring memory. */
#ifndef PSGD_VECTOR
#define PSGD_VECTOR 1
#endif

#if PSGD_VECTOR == 16
typedef uint16 words_t;
#define LOAD(from_)    vload16(0, (from_))
#define FIRST_INDICES  ((uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#else
typedef uint words_t;
#define LOAD(from_)    (*(from_))
#define FIRST_INDICES  0u
#endif

/* One round of MurmurHash3's 32-bit finalizer. */
#define DEFINE_MIX(name_, type_) \
    static type_ name_(type_ x) \
    { \
        x = (x ^ (x >> 16)) * 0x85EBCA6Bu; \
        x = (x ^ (x >> 13)) * 0xC2B2AE35u; \
        return x ^ (x >> 16); \
    }

DEFINE_MIX(mix_word, uint)
#if PSGD_VECTOR == 16
DEFINE_MIX(mix_words, uint16)
#else
#define mix_words mix_word
#endif

static uint add_up(words_t x)
{
#if PSGD_VECTOR == 16
    const uint8 by_8 = x.lo + x.hi;
    const uint4 by_4 = by_8.lo + by_8.hi;
    const uint2 by_2 = by_4.lo + by_4.hi;

    return by_2.lo + by_2.hi;
#else
    return x;
#endif
}

/* What the work-items of a group have found, to sum[0] and sum[1]. `scratch` holds 2 words a work-item. */
static void add_group(uint low, uint high, global uint *sum, local uint *scratch)
{
    const uint item  = (uint)get_local_id(0);
    const uint items = (uint)get_local_size(0);

    scratch[item]         = low;
    scratch[items + item] = high;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 2) { /* one work-item a sum; a group of one does both */
        for (uint which = item; which < 2; which += items) {
            uint total = 0;

            for (uint i = 0; i < items; ++i) {
                total += scratch[which * items + i];
            }
            atomic_add(&sum[which], total);
        }
    }
}

/* Work-item g of n takes the vectors g, g + n, ...; one vector is PSGD_VECTOR words. What the last vector leaves over goes
 * word by word to work-item 0. */
kernel void hash_words(global const uint *mem, ulong offset, ulong count, global uint *sum, local uint *scratch)
{
    global const uint *words = mem + offset;
    const ulong        whole = count / PSGD_VECTOR;
    words_t            low   = (words_t)(0u);
    words_t            high  = (words_t)(0u);
    uint               rest_low  = 0;
    uint               rest_high = 0;

    for (ulong i = get_global_id(0); i < whole; i += get_global_size(0)) {
        const words_t word  = LOAD(words + i * PSGD_VECTOR);
        const words_t index = (uint)(i * PSGD_VECTOR) + FIRST_INDICES;

        low += mix_words(word ^ (index * 0x9E3779B1u));
        high += mix_words(word + (index ^ 0x7F4A7C15u) * 0x85EBCA77u);
    }
    for (ulong i = whole * PSGD_VECTOR; (get_global_id(0) == 0) && (i < count); ++i) {
        rest_low += mix_word(words[i] ^ ((uint)i * 0x9E3779B1u));
        rest_high += mix_word(words[i] + ((uint)i ^ 0x7F4A7C15u) * 0x85EBCA77u);
    }
    add_group(add_up(low) + rest_low, add_up(high) + rest_high, sum, scratch);
}

/* The same of `count` units of 1 or 2 bytes, each as a word, from byte `offset` on. */
kernel void hash_small(global const uchar *mem, ulong offset, ulong count, uint unit, global uint *sum, local uint *scratch)
{
    global const uchar *bytes = mem + offset;
    uint                low   = 0;
    uint                high  = 0;

    for (ulong i = get_global_id(0); i < count; i += get_global_size(0)) {
        const uint word = unit == 2 ? (uint)bytes[2 * i] | (uint)bytes[2 * i + 1] << 8 : (uint)bytes[i];

        low += mix_word(word ^ ((uint)i * 0x9E3779B1u));
        high += mix_word(word + ((uint)i ^ 0x7F4A7C15u) * 0x85EBCA77u);
    }
    add_group(low, high, sum, scratch);
}
