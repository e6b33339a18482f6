#include "base/crc32c.h"

enum { BITS = 8, BYTES_AT_ONCE = 8 };

static const uint32_t REFLECTED = UINT32_C(0x82F63B78);

/* tables[k][b]: what byte b, followed by k bytes of 0, does to a checksum. */
typedef struct tables {
    uint32_t of[BYTES_AT_ONCE][256];
} tables_t;

static void fill(tables_t *tables)
{
    for (uint32_t b = 0; b < 256; ++b) {
        uint32_t crc = b;

        for (int bit = 0; bit < BITS; ++bit) {
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? REFLECTED : 0);
        }
        tables->of[0][b] = crc;
    }
    for (int k = 1; k < BYTES_AT_ONCE; ++k) {
        for (uint32_t b = 0; b < 256; ++b) {
            uint32_t before = tables->of[k - 1][b];

            tables->of[k][b] = (before >> 8) ^ tables->of[0][before & 0xFF];
        }
    }
}

/* The tables are made anew by each call: 8 kB, microseconds, and nothing global. */
uint32_t psgd_crc32c(uint32_t crc, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    tables_t             tables;

    fill(&tables);
    crc = ~crc;
    for (; bytes >= BYTES_AT_ONCE; bytes -= BYTES_AT_ONCE, at += BYTES_AT_ONCE) {
        uint32_t low = crc ^ ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24);

        crc = tables.of[7][low & 0xFF] ^ tables.of[6][(low >> 8) & 0xFF] ^ tables.of[5][(low >> 16) & 0xFF] ^
              tables.of[4][low >> 24] ^ tables.of[3][at[4]] ^ tables.of[2][at[5]] ^ tables.of[1][at[6]] ^
              tables.of[0][at[7]];
    }
    for (; bytes > 0; --bytes, ++at) {
        crc = (crc >> 8) ^ tables.of[0][(crc ^ *at) & 0xFF];
    }
    return ~crc;
}
