/* [ header | section | section | ... ]
 *
 * header, 80 bytes:   0  "PSGDCKPT"
 *                     8  u32 version       12  u32 form           16  u32 num_workers   20  u32 worker_index
 *                    24  u64 step          32  u64 seed           40  u64 half_iterations
 *                    48  u64 save_id       56  u64 size of the file
 *                    64  u32 sections      68  u32 0              72  u32 0             76  u32 CRC-32C of the 76 bytes before
 * section, 32 bytes:  0  u32 kind           4  u32 bytes of the name
 *                     8  u64 length        16  u32 columns        20  u32 0
 *                    24  u32 0             28  u32 CRC-32C of the 28 bytes before, the name and the values
 *                    then the name, and length * columns floats: a factor, row-major; an error has 1 column */
#include "core/checkpoint_format.h"

#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/memory.h"
#include "base/status.h"
#include "core/vote.h"

static const unsigned char MAGIC[8] = {'P', 'S', 'G', 'D', 'C', 'K', 'P', 'T'};

enum {
    VERSION       = 1,
    HEADER_BYTES  = 80,
    SECTION_BYTES = 32,
    KIND_FACTOR   = 1,
    KIND_ERROR    = 2,
    KIND_OPTIONAL = 0x10000, /* from here on: may be passed over by who does not know it */
    MAX_NAME      = 65536
};

/* ---- numbers ---- */

static void put_u32(unsigned char *at, uint32_t x)
{
    for (int i = 0; i < 4; ++i) {
        at[i] = (unsigned char)(x >> (8 * i));
    }
}

static void put_u64(unsigned char *at, uint64_t x)
{
    put_u32(at, (uint32_t)x);
    put_u32(at + 4, (uint32_t)(x >> 32));
}

static uint32_t get_u32(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t get_u64(const unsigned char *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

static void put_floats(unsigned char *at, const float *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; ++i) {
        uint32_t bits;

        memcpy(&bits, &values[i], sizeof(bits));
        put_u32(at + 4 * i, bits);
    }
}

static void get_floats(const unsigned char *at, float *values, uint64_t count)
{
    for (uint64_t i = 0; i < count; ++i) {
        uint32_t bits = get_u32(at + 4 * i);

        memcpy(&values[i], &bits, sizeof(bits));
    }
}

/* ---- encode ---- */

/* One array of a state. */
typedef struct array {
    uint32_t     kind;
    const char  *name;
    uint64_t     length;
    uint32_t     columns;
    const float *values;
} array_t;

static uint64_t section_bytes(const array_t *array)
{
    return SECTION_BYTES + strlen(array->name) + array->length * array->columns * sizeof(float);
}

/* Entry `index` of the state holds a factor and an error, or one of them. Calls take(context, array) for each. */
typedef void (*take_fn)(void *context, const array_t *array);

static void for_each_array(const psgd_state_t *state, take_fn take, void *context)
{
    for (size_t i = 0; i < state->num_entries; ++i) {
        const psgd_state_entry_t *entry  = &state->entries[i];
        const array_t             factor = {KIND_FACTOR, entry->name, entry->cols, entry->rank, entry->factor};
        const array_t             error  = {KIND_ERROR, entry->name, entry->error_elems, 1, entry->error};

        if (entry->rank > 0) {
            take(context, &factor);
        }
        if (entry->error_elems > 0) {
            take(context, &error);
        }
    }
}

typedef struct sizes {
    uint64_t bytes;
    uint32_t sections;
} sizes_t;

static void add_size(void *context, const array_t *array)
{
    sizes_t *sizes = context;

    sizes->bytes += section_bytes(array);
    sizes->sections += 1;
}

static void write_section(void *context, const array_t *array)
{
    unsigned char **at_p       = context;
    unsigned char  *at         = *at_p;
    size_t          name_bytes = strlen(array->name);
    uint64_t        values     = array->length * array->columns;
    uint32_t        crc;

    put_u32(at, array->kind);
    put_u32(at + 4, (uint32_t)name_bytes);
    put_u64(at + 8, array->length);
    put_u32(at + 16, array->columns);
    memcpy(at + SECTION_BYTES, array->name, name_bytes);
    put_floats(at + SECTION_BYTES + name_bytes, array->values, values);
    crc = psgd_crc32c(0, at, SECTION_BYTES - 4);
    crc = psgd_crc32c(crc, at + SECTION_BYTES, name_bytes + (size_t)values * sizeof(float));
    put_u32(at + SECTION_BYTES - 4, crc);
    *at_p = at + section_bytes(array);
}

static void write_header(unsigned char *at, const psgd_checkpoint_info_t *info, const psgd_state_t *state,
                         sizes_t sizes)
{
    memcpy(at, MAGIC, sizeof(MAGIC));
    put_u32(at + 8, VERSION);
    put_u32(at + 12, (uint32_t)info->form);
    put_u32(at + 16, info->num_workers);
    put_u32(at + 20, info->worker_index);
    put_u64(at + 24, state->step);
    put_u64(at + 32, state->seed);
    put_u64(at + 40, state->half_iterations);
    put_u64(at + 48, info->save_id);
    put_u64(at + 56, sizes.bytes);
    put_u32(at + 64, sizes.sections);
    put_u32(at + HEADER_BYTES - 4, psgd_crc32c(0, at, HEADER_BYTES - 4));
}

psgd_status_t psgd_checkpoint_encode(const psgd_state_t *state, const psgd_checkpoint_info_t *info,
                                     unsigned char **bytes_p, size_t *count_p)
{
    sizes_t        sizes = {HEADER_BYTES, 0};
    unsigned char *bytes = NULL;
    unsigned char *at;
    psgd_status_t  status;

    if (!state->has_step) {
        return psgd_fail(PSGD_ERR_STATE, "a state without a step cannot be saved");
    }
    for_each_array(state, add_size, &sizes);
    if (sizes.bytes > SIZE_MAX) {
        return psgd_fail(PSGD_ERR_HOST_MEMORY, "a checkpoint of %" PRIu64 " bytes is larger than this host can address",
                         sizes.bytes);
    }
    status = psgd_alloc((size_t)sizes.bytes, 1, "a checkpoint", &bytes);
    if (status != PSGD_OK) {
        return status;
    }
    write_header(bytes, info, state, sizes);
    at = bytes + HEADER_BYTES;
    for_each_array(state, write_section, &at);
    *bytes_p = bytes;
    *count_p = (size_t)sizes.bytes;
    return PSGD_OK;
}

psgd_status_t psgd_checkpoint_encode_manifest(const psgd_checkpoint_info_t *info, uint64_t step,
                                              unsigned char **bytes_p, size_t *count_p)
{
    const psgd_checkpoint_info_t manifest = {PSGD_ERROR_NONE, info->num_workers, 0, info->save_id};
    psgd_state_t                *state    = NULL;
    psgd_status_t                status   = psgd_state_create(&state);

    if (status != PSGD_OK) {
        return status;
    }
    psgd_state_set_step(state, step, 0);
    status = psgd_checkpoint_encode(state, &manifest, bytes_p, count_p);
    psgd_state_destroy(state);
    return status;
}

/* ---- decode ---- */

/* What is left of a file. */
typedef struct rest {
    const unsigned char *at;
    uint64_t             bytes;
    const char          *name;
} rest_t;

static psgd_status_t check_header(const unsigned char *at, uint64_t count, const char *name)
{
    if ((count < HEADER_BYTES) || (memcmp(at, MAGIC, sizeof(MAGIC)) != 0)) {
        return psgd_fail(PSGD_ERR_FILE, "'%s' is no checkpoint of libpsgd", name);
    }
    if (get_u32(at + HEADER_BYTES - 4) != psgd_crc32c(0, at, HEADER_BYTES - 4)) {
        return psgd_fail(PSGD_ERR_FILE, "'%s': the header is damaged (its checksum is wrong)", name);
    }
    if (get_u32(at + 8) != VERSION) {
        return psgd_fail(PSGD_ERR_UNSUPPORTED,
                         "'%s' is of version %u, and libpsgd %s reads version %d: load it with a newer libpsgd", name,
                         get_u32(at + 8), PSGD_VERSION_STRING, VERSION);
    }
    if (get_u64(at + 56) != count) {
        return psgd_fail(PSGD_ERR_FILE,
                         "'%s' has %" PRIu64 " bytes, and says that it has %" PRIu64 ": it was cut short, or added to",
                         name, count, get_u64(at + 56));
    }
    if ((get_u32(at + 12) > PSGD_ERROR_MEAN) || (get_u32(at + 16) > PSGD_MAX_WORKERS) ||
        (get_u32(at + 20) >= get_u32(at + 16))) {
        return psgd_fail(PSGD_ERR_FILE, "'%s': form %u, worker %u of %u make no sense", name, get_u32(at + 12),
                         get_u32(at + 20), get_u32(at + 16));
    }
    return PSGD_OK;
}

/* How many bytes the section at the beginning of `rest` has: no more than there are. */
static psgd_status_t measure_section(const rest_t *rest, uint64_t *bytes_p)
{
    uint64_t name_bytes, length, columns, values;

    if (rest->bytes < SECTION_BYTES) {
        return psgd_fail(PSGD_ERR_FILE, "'%s': a section is cut short", rest->name);
    }
    name_bytes = get_u32(rest->at + 4);
    length     = get_u64(rest->at + 8);
    columns    = get_u32(rest->at + 16);
    values     = rest->bytes / sizeof(float); /* at most */
    if ((name_bytes == 0) || (name_bytes > MAX_NAME) || (length == 0) || (columns == 0) ||
        (length > values / columns) || (SECTION_BYTES + name_bytes + length * columns * sizeof(float) > rest->bytes)) {
        return psgd_fail(PSGD_ERR_FILE,
                         "'%s': a section of %" PRIu64 " x %" PRIu64 " values and a name of %" PRIu64
                         " bytes is not in "
                         "the %" PRIu64 " bytes that are left",
                         rest->name, length, columns, name_bytes, rest->bytes);
    }
    *bytes_p = SECTION_BYTES + name_bytes + length * columns * sizeof(float);
    return PSGD_OK;
}

static psgd_status_t set_array(psgd_state_t *state, uint32_t kind, const char *name, uint64_t length, uint32_t columns,
                               const float *values)
{
    if (kind == KIND_FACTOR) {
        return psgd_state_set_factor(state, name, length, columns, values);
    }
    return psgd_state_set_error(state, name, length * columns, values);
}

/* The values of a section that was measured, into the state. */
static psgd_status_t read_section(const rest_t *rest, psgd_state_t *state)
{
    uint32_t      kind       = get_u32(rest->at);
    size_t        name_bytes = get_u32(rest->at + 4);
    uint64_t      length     = get_u64(rest->at + 8);
    uint32_t      columns    = get_u32(rest->at + 16);
    char         *name       = NULL;
    float        *values     = NULL;
    psgd_status_t status;

    if ((kind != KIND_FACTOR) && (kind != KIND_ERROR)) {
        return kind >= KIND_OPTIONAL
                   ? PSGD_OK
                   : psgd_fail(PSGD_ERR_UNSUPPORTED, "'%s' has a section of kind %u, which libpsgd %s does not know",
                               rest->name, kind, PSGD_VERSION_STRING);
    }
    status = psgd_alloc(name_bytes + 1, 1, "a tensor's name", &name);
    if (status != PSGD_OK) {
        return status;
    }
    memcpy(name, rest->at + SECTION_BYTES, name_bytes);
    status = strlen(name) == name_bytes
                 ? psgd_alloc((size_t)(length * columns), sizeof(float), "the values of a section", &values)
                 : psgd_fail(PSGD_ERR_FILE, "'%s': a name holds a zero byte", rest->name);
    if (status == PSGD_OK) {
        get_floats(rest->at + SECTION_BYTES + name_bytes, values, length * columns);
        status = set_array(state, kind, name, length, columns, values);
    }
    psgd_free(values);
    psgd_free(name);
    return status;
}

static psgd_status_t read_sections(rest_t rest, uint32_t sections, psgd_state_t *state)
{
    for (uint32_t i = 0; i < sections; ++i) {
        uint64_t      bytes = 0;
        uint32_t      crc;
        psgd_status_t status = measure_section(&rest, &bytes);

        if (status != PSGD_OK) {
            return status;
        }
        crc = psgd_crc32c(0, rest.at, SECTION_BYTES - 4);
        crc = psgd_crc32c(crc, rest.at + SECTION_BYTES, (size_t)bytes - SECTION_BYTES);
        if (crc != get_u32(rest.at + SECTION_BYTES - 4)) {
            return psgd_fail(PSGD_ERR_FILE, "'%s': section %u is damaged (its checksum is wrong)", rest.name, i);
        }
        status = read_section(&rest, state);
        if (status != PSGD_OK) {
            return status;
        }
        rest.at += bytes;
        rest.bytes -= bytes;
    }
    return rest.bytes == 0 ? PSGD_OK
                           : psgd_fail(PSGD_ERR_FILE, "'%s': there are %" PRIu64 " bytes behind the last section",
                                       rest.name, rest.bytes);
}

psgd_status_t psgd_checkpoint_decode(const unsigned char *bytes, size_t count, const char *name,
                                     psgd_checkpoint_info_t *info_p, psgd_state_t **state_p)
{
    psgd_state_t *state  = NULL;
    psgd_status_t status = check_header(bytes, count, name);

    if (status == PSGD_OK) {
        status = psgd_state_create(&state);
    }
    if (status == PSGD_OK) {
        psgd_state_set_step(state, get_u64(bytes + 24), get_u64(bytes + 32));
        state->half_iterations = get_u64(bytes + 40);
        status = read_sections((rest_t){bytes + HEADER_BYTES, count - HEADER_BYTES, name}, get_u32(bytes + 64), state);
    }
    if (status != PSGD_OK) {
        psgd_state_destroy(state);
        return status;
    }
    info_p->form         = (psgd_error_form_t)get_u32(bytes + 12);
    info_p->num_workers  = get_u32(bytes + 16);
    info_p->worker_index = get_u32(bytes + 20);
    info_p->save_id      = get_u64(bytes + 48);
    *state_p             = state;
    return PSGD_OK;
}
