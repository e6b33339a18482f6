/* Feeds arbitrary bytes to what reads checkpoints: as they are, and with checksums and size made right, so that what lies behind those
 * is reached too. With clang, a libFuzzer target; else, and without libFuzzer, a program that goes through the files it is
 * given and through changes of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "core/checkpoint_format.h"

enum { HEADER_BYTES = 80, SECTION_BYTES = 32 };

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

static void put(unsigned char *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; ++i) {
        at[i] = (unsigned char)(value >> (8 * i));
    }
}

static uint64_t get(const unsigned char *at, int bytes)
{
    uint64_t value = 0;

    for (int i = bytes - 1; i >= 0; --i) {
        value = value << 8 | at[i];
    }
    return value;
}

static void seal(unsigned char *bytes, size_t count)
{
    size_t at = HEADER_BYTES;

    memcpy(bytes, "PSGDCKPT\x01\0\0\0", 12);
    put(bytes + 56, count, 8);
    put(bytes + 76, psgd_crc32c(0, bytes, 76), 4);
    while (count - at >= SECTION_BYTES) {
        uint64_t name = get(bytes + at + 4, 4), length = get(bytes + at + 8, 8), columns = get(bytes + at + 16, 4);
        uint64_t left = count - at - SECTION_BYTES;

        if ((name > left) || (columns == 0) || (length > left / 4 / columns) || (name + 4 * length * columns > left)) {
            return;
        }
        put(bytes + at + 28, psgd_crc32c(psgd_crc32c(0, bytes + at, 28), bytes + at + SECTION_BYTES,
                                         (size_t)(name + 4 * length * columns)), 4);
        at += SECTION_BYTES + (size_t)(name + 4 * length * columns);
    }
}

/* What was read is written, and read again: the same. */
static void read_it(const unsigned char *bytes, size_t count)
{
    psgd_checkpoint_info_t info;
    psgd_state_t          *state = NULL;
    unsigned char         *again = NULL;
    size_t                 again_count;

    if (psgd_checkpoint_decode(bytes, count, "input", &info, &state) != PSGD_OK) {
        return;
    }
    if (psgd_checkpoint_encode(state, &info, &again, &again_count) != PSGD_OK) {
        abort();
    }
    psgd_state_destroy(state);
    state = NULL;
    if (psgd_checkpoint_decode(again, again_count, "again", &info, &state) != PSGD_OK) {
        abort();
    }
    psgd_state_destroy(state);
    free(again);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    unsigned char *bytes = malloc(size + (size == 0));

    if (bytes == NULL) {
        return 0;
    }
    memcpy(bytes, data, size);
    read_it(bytes, size);
    if (size >= HEADER_BYTES) {
        seal(bytes, size);
        read_it(bytes, size);
    }
    free(bytes);
    return 0;
}

#ifndef PSGD_HAS_LIBFUZZER

enum { MAX_BYTES = 65536, NUM_CHANGES = 5000 };

/* Changes a few bytes, or the length, by a counter that is mixed. */
static size_t change(unsigned char *bytes, size_t count, uint64_t number)
{
    uint64_t x = number * UINT64_C(0x9E3779B97F4A7C15);

    for (uint64_t i = 0; i <= number % 3; ++i) {
        x ^= x >> 29;
        x *= UINT64_C(0xBF58476D1CE4E5B9);
        bytes[x % count] = (unsigned char)(x >> 40);
    }
    return number % 7 == 0 ? (size_t)(x >> 8) % count : count;
}

int main(int argc, char **argv)
{
    static unsigned char bytes[MAX_BYTES], changed[MAX_BYTES];

    for (int i = 1; i < argc; ++i) {
        FILE  *file = fopen(argv[i], "rb");
        size_t count;

        if (file == NULL) {
            perror(argv[i]);
            return EXIT_FAILURE;
        }
        count = fread(bytes, 1, sizeof(bytes), file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, count);
        for (uint64_t number = 0; (number < NUM_CHANGES) && (count > 0); ++number) {
            memcpy(changed, bytes, count);
            LLVMFuzzerTestOneInput(changed, change(changed, count, number));
        }
    }
    printf("%d files, and %d changes of each\n", argc - 1, NUM_CHANGES);
    return EXIT_SUCCESS;
}

#endif
