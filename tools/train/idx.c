#include "idx.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zlib.h>

enum { PATH_BYTES = 4096, IDX_UNSIGNED_BYTES = 0x08 };

/* More than any data set that this tool trains on; a header that claims more is damaged. */
static const uint64_t MAX_BYTES = UINT64_C(1) << 31;

typedef struct idx_file {
    gzFile file;
    char   path[PATH_BYTES];
} idx_file_t;

/* Opens path; *file->file stays NULL where it does not exist. */
static tool_status_t open_path(idx_file_t *file, const char *directory, const char *name, const char *suffix)
{
    int length = snprintf(file->path, sizeof(file->path), "%s/%s%s", directory, name, suffix);

    if (length < 0 || (size_t)length >= sizeof(file->path)) {
        return tool_fail(TOOL_USAGE, "the path '%.64s...' is too long", directory);
    }
    errno      = 0;
    file->file = gzopen(file->path, "rb");
    if (file->file == NULL && errno != ENOENT && errno != ENOTDIR) {
        return tool_fail(TOOL_FAILED, "cannot open %s: %s", file->path, errno != 0 ? strerror(errno) : "out of memory");
    }
    return TOOL_OK;
}

static tool_status_t open_file(idx_file_t *file, const char *directory, const char *name)
{
    tool_status_t status = open_path(file, directory, name, "");

    if (status == TOOL_OK && file->file == NULL) {
        status = open_path(file, directory, name, ".gz");
    }
    if (status == TOOL_OK && file->file == NULL) {
        return tool_fail(
            TOOL_FAILED,
            "there is no %s or %s.gz in %s: install the Debian package dataset-fashion-mnist (apt-get install "
            "dataset-fashion-mnist), or name the directory of the data by --data",
            name, name, directory);
    }
    return status;
}

/* Reads exactly `bytes` bytes. What a truncated gzip file lacks is told by zlib, what a truncated raw file lacks by
 * the count. */
static tool_status_t read_exactly(idx_file_t *file, unsigned char *to, size_t bytes, const char *what)
{
    const size_t chunk = (size_t)1 << 20; /* gzread() counts in int */
    size_t       done  = 0;

    while (done < bytes) {
        size_t      wanted = bytes - done < chunk ? bytes - done : chunk;
        int         got    = gzread(file->file, to + done, (unsigned)wanted);
        int         code   = Z_OK;
        const char *words  = gzerror(file->file, &code);

        if (got > 0) {
            done += (size_t)got;
        }
        if (got < 0 && code == Z_ERRNO) {
            return tool_fail(TOOL_FAILED, "cannot read %s: %s", file->path, strerror(errno));
        }
        if (got < 0 && code != Z_BUF_ERROR) {
            return tool_fail(TOOL_FAILED, "%s is damaged: %s", file->path, words);
        }
        if (done < bytes && (got <= 0 || (size_t)got < wanted)) {
            return tool_fail(TOOL_FAILED, "%s is truncated: %s takes %zu bytes, and only %zu are there", file->path,
                             what, bytes, done);
        }
    }
    return TOOL_OK;
}

/* Behind the values nothing may follow but, in gzip, the checksum, which zlib compares when asked for one byte more. */
static tool_status_t read_end(idx_file_t *file, size_t bytes)
{
    unsigned char extra;
    int           got   = gzread(file->file, &extra, 1);
    int           code  = Z_OK;
    const char   *words = gzerror(file->file, &code);

    if (got > 0) {
        return tool_fail(TOOL_FAILED, "%s is longer than its header says: more than %zu values", file->path, bytes);
    }
    if (code == Z_BUF_ERROR) {
        return tool_fail(TOOL_FAILED, "%s is truncated: its checksum is missing", file->path);
    }
    if (got < 0) {
        return tool_fail(TOOL_FAILED, "%s is damaged: %s", file->path, words);
    }
    return TOOL_OK;
}

static uint32_t big_endian(const unsigned char *bytes)
{
    return ((uint32_t)bytes[0] << 24) | ((uint32_t)bytes[1] << 16) | ((uint32_t)bytes[2] << 8) | bytes[3];
}

/* Reads magic number and dimensions into *idx. */
static tool_status_t read_header(idx_file_t *file, uint32_t num_dims, idx_t *idx)
{
    unsigned char header[4 + 4 * IDX_MAX_DIMS];
    uint32_t      wanted = (uint32_t)IDX_UNSIGNED_BYTES << 8 | num_dims;
    uint64_t      bytes  = 1;
    tool_status_t status = read_exactly(file, header, 4, "the magic number");

    if (status != TOOL_OK) {
        return status;
    }
    if (big_endian(header) != wanted) {
        return tool_fail(TOOL_FAILED, "%s is not the IDX file it should be: its magic number is 0x%08x, not 0x%08x",
                         file->path, (unsigned)big_endian(header), (unsigned)wanted);
    }
    status = read_exactly(file, header + 4, 4 * (size_t)num_dims, "the header");
    if (status != TOOL_OK) {
        return status;
    }
    idx->num_dims = num_dims;
    for (uint32_t i = 0; i < IDX_MAX_DIMS; ++i) {
        idx->dims[i] = i < num_dims ? big_endian(header + 4 + 4 * (size_t)i) : 1;
        if (idx->dims[i] == 0 || idx->dims[i] > MAX_BYTES / bytes) {
            return tool_fail(TOOL_FAILED, "%s is damaged: its header claims a dimension of %u", file->path,
                             (unsigned)idx->dims[i]);
        }
        bytes *= idx->dims[i];
    }
    idx->bytes = (size_t)bytes;
    return TOOL_OK;
}

tool_status_t idx_read(const char *directory, const char *name, uint32_t num_dims, idx_t *idx_p)
{
    idx_file_t    file = {NULL, ""};
    idx_t         idx  = {0, {0, 0, 0}, 0, NULL};
    tool_status_t status;

    status = open_file(&file, directory, name);
    if (status != TOOL_OK) {
        return status;
    }
    gzbuffer(file.file, 1u << 17); /* fails only after the first read */
    status = read_header(&file, num_dims, &idx);
    if (status != TOOL_OK) {
        goto close_file;
    }
    status = tool_alloc(idx.bytes, 1, name, &idx.values);
    if (status != TOOL_OK) {
        goto close_file;
    }
    status = read_exactly(&file, idx.values, idx.bytes, "what its header says");
    if (status == TOOL_OK) {
        status = read_end(&file, idx.bytes);
    }
    if (status != TOOL_OK) {
        goto free_values;
    }
    *idx_p = idx;
    goto close_file;

free_values:
    idx_free(&idx);
close_file:
    gzclose(file.file); /* of a file that was read: its errors were told by gzread() */
    return status;
}

void idx_free(idx_t *idx)
{
    free(idx->values);
    idx->values = NULL;
}
