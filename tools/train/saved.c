#define _POSIX_C_SOURCE 200809L /* fileno, fsync */
#include "saved.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "random.h"

enum { PATH_BYTES = 4096, NUM_WORDS = 5 };

/* "PSGDTRN1" in the byte order of the machine: on another one it is not recognized. */
static const uint64_t MAGIC = UINT64_C(0x314E525444475350);

/* What a file begins with; then values and velocities. */
typedef struct head {
    uint64_t words[NUM_WORDS]; /* MAGIC, key, step, extent, hash of what follows */
} head_t;

static tool_status_t name_file(const char *path, const char *suffix, char name[PATH_BYTES])
{
    int length = snprintf(name, PATH_BYTES, "%s.model%s", path, suffix);

    return (length < 0) || (length >= PATH_BYTES) ? tool_fail(TOOL_FAILED, "the path '%s' is too long", path) : TOOL_OK;
}

static uint64_t hash_of(const float *values, size_t count)
{
    uint64_t hash = count;

    for (size_t i = 0; i < count; ++i) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        hash = random_mix(hash ^ bits);
    }
    return hash;
}

/* Values, and behind them velocities. */
static tool_status_t read_device(const params_t *params, float *both)
{
    size_t        bytes  = params->extent * sizeof(*both);
    tool_status_t status = gpu_read(params->gpu, params->values, both, bytes);

    return status == TOOL_OK ? gpu_read(params->gpu, params->velocities, both + params->extent, bytes) : status;
}

/* Behind values and velocities, where a network has them: how many, their hash, the states. */
static bool write_states(FILE *file, saved_states_t states)
{
    const uint64_t words[2] = {states.count, hash_of(states.values, states.count)};

    return states.count == 0 || (fwrite(words, sizeof(words), 1, file) == 1 &&
                                 fwrite(states.values, sizeof(*states.values), states.count, file) == states.count);
}

static tool_status_t write_file(const char *name, const head_t *head, const float *both, size_t count,
                                saved_states_t states)
{
    FILE *file = fopen(name, "wb");
    bool  is_written;

    if (file == NULL) {
        return tool_fail(TOOL_FAILED, "cannot create '%s': %s", name, strerror(errno));
    }
    is_written = fwrite(head, sizeof(*head), 1, file) == 1 && fwrite(both, sizeof(*both), count, file) == count &&
                 write_states(file, states) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    if (fclose(file) != 0 || !is_written) {
        return tool_fail(TOOL_FAILED, "cannot write '%s': %s", name, strerror(errno));
    }
    return TOOL_OK;
}

tool_status_t saved_write(const char *path, const params_t *params, saved_states_t states, uint64_t step, uint64_t key)
{
    size_t        count = 2 * params->extent;
    float        *both  = NULL;
    char          name[PATH_BYTES] = "", temporary[PATH_BYTES] = "";
    head_t        head;
    tool_status_t status = tool_alloc(count, sizeof(*both), "what is saved", &both);

    if (status == TOOL_OK) {
        status = name_file(path, "", name);
    }
    if (status == TOOL_OK) {
        status = name_file(path, ".new", temporary);
    }
    if (status == TOOL_OK) {
        status = read_device(params, both);
    }
    if (status == TOOL_OK) {
        head   = (head_t){{MAGIC, key, step, params->extent, hash_of(both, count)}};
        status = write_file(temporary, &head, both, count, states);
    }
    if (status == TOOL_OK && rename(temporary, name) != 0) {
        status = tool_fail(TOOL_FAILED, "cannot put '%s' in its place: %s", name, strerror(errno));
    }
    free(both);
    return status;
}

/* Whether the states are whole. Those of another number of workers are read and left out. */
static bool read_states(FILE *file, saved_states_t states)
{
    uint64_t words[2];
    float    value;

    if (states.count == 0) {
        return true;
    }
    if (fread(words, sizeof(words), 1, file) != 1) {
        return false;
    }
    if (words[0] == states.count) {
        return fread(states.values, sizeof(*states.values), states.count, file) == states.count &&
               words[1] == hash_of(states.values, states.count);
    }
    memset(states.values, 0, states.count * sizeof(*states.values));
    for (; words[0] > 0 && fread(&value, sizeof(value), 1, file) == 1; --words[0]) {
    }
    return words[0] == 0;
}

static tool_status_t read_file(const char *name, const params_t *params, saved_states_t states, uint64_t key,
                               head_t *head, float *both)
{
    size_t count = 2 * params->extent;
    FILE  *file  = fopen(name, "rb");
    bool   is_whole;

    if (file == NULL) {
        return tool_fail(TOOL_FAILED, "cannot open '%s': %s", name, strerror(errno));
    }
    is_whole = fread(head, sizeof(*head), 1, file) == 1 && head->words[0] == MAGIC &&
               head->words[3] == params->extent && fread(both, sizeof(*both), count, file) == count &&
               head->words[4] == hash_of(both, count) && read_states(file, states) && fgetc(file) == EOF;
    fclose(file);
    if (!is_whole) {
        return tool_fail(TOOL_FAILED, "'%s' is damaged, or not of this model", name);
    }
    if (head->words[1] != key) {
        return tool_fail(TOOL_FAILED, "'%s' was saved by a run with other options; pass those again", name);
    }
    return TOOL_OK;
}

tool_status_t saved_read(const char *path, const params_t *params, saved_states_t states, uint64_t key,
                         uint64_t *step_p)
{
    size_t        bytes = params->extent * sizeof(float);
    float        *both  = NULL;
    char          name[PATH_BYTES];
    head_t        head;
    tool_status_t status = tool_alloc(2 * params->extent, sizeof(*both), "what was saved", &both);

    if (status == TOOL_OK) {
        status = name_file(path, "", name);
    }
    if (status == TOOL_OK) {
        status = read_file(name, params, states, key, &head, both);
    }
    if (status == TOOL_OK) {
        status = gpu_write(params->gpu, params->values, both, bytes);
    }
    if (status == TOOL_OK) {
        status = gpu_write(params->gpu, params->velocities, both + params->extent, bytes);
    }
    if (status == TOOL_OK) {
        *step_p = head.words[2];
    }
    free(both);
    return status;
}
