/* CRC-32C (Castagnoli): polynomial 0x1EDC6F41, reflected, begun and ended with all ones, as in iSCSI and ext4. */
#ifndef PSGD_BASE_CRC32C_H
#define PSGD_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of some bytes; or of more, after those whose checksum was `crc` (0 at first). */
uint32_t psgd_crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
