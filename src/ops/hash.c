#include "ops/hash.h"

#include <stdio.h>

#include "base/memory.h"
#include "device/program.h"

struct psgd_hasher {
    psgd_device_t  *device;
    psgd_kernel_t  *kernel;
    psgd_kernel_t  *small_kernel; /* of halves and bytes */
    psgd_view_t     sum; /* two words, low and high half of the hash */
    uint32_t        vector_words;
    size_t          local;
};

enum {
    CPU_VECTOR_WORDS    = 16,
    GPU_VECTOR_WORDS    = 1,
    GPU_WORK_GROUP_SIZE = 128,
    GROUPS_PER_UNIT     = 8,   /* for each compute unit, so that a slow one does not hold up the rest */
    MIN_VECTORS         = 64,  /* of one work-item: less is not worth starting one */
    HASH_BYTES          = 8
};

/* The device writes the low word first, and the two are read as one 64-bit number. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the hash is read back as a little-endian number");

static psgd_status_t make_kernel(psgd_hasher_t *hasher)
{
    char          options[64];
    psgd_program_t *program = NULL;
    psgd_status_t status;

    snprintf(options, sizeof(options), "-DPSGD_VECTOR=%u", hasher->vector_words);
    status = psgd_program_get(hasher->device, "hash.cl", options, &program);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_create(program, "hash_words", &hasher->kernel);
    return status == PSGD_OK ? psgd_kernel_create(program, "hash_small", &hasher->small_kernel) : status;
}

psgd_status_t psgd_hasher_create(psgd_device_t *device, psgd_hasher_t **hasher_p)
{
    bool           is_cpu = psgd_device_limits(device)->is_cpu;
    psgd_hasher_t *hasher;
    psgd_status_t  status;

    status = psgd_alloc(1, sizeof(*hasher), "the hash kernel", &hasher);
    if (status != PSGD_OK) {
        return status;
    }
    hasher->device       = device;
    hasher->vector_words = is_cpu ? CPU_VECTOR_WORDS : GPU_VECTOR_WORDS;
    status               = make_kernel(hasher);
    if (status != PSGD_OK) {
        goto destroy;
    }
    hasher->local = psgd_kernel_max_work_group_size(hasher->kernel);
    hasher->local = hasher->local < GPU_WORK_GROUP_SIZE ? hasher->local : GPU_WORK_GROUP_SIZE;
    hasher->local = is_cpu ? 1 : hasher->local;
    status        = psgd_buffer_create(device, HASH_BYTES, "the hash", &hasher->sum);
    if (status != PSGD_OK) {
        goto destroy;
    }
    *hasher_p = hasher;
    return PSGD_OK;

destroy:
    psgd_hasher_destroy(hasher);
    return status;
}

/* As many groups as give each work-item MIN_VECTORS, from 1 to a few for each compute unit. */
static size_t choose_groups(const psgd_hasher_t *hasher, uint64_t words)
{
    uint64_t most   = (uint64_t)psgd_device_limits(hasher->device)->compute_units * GROUPS_PER_UNIT;
    uint64_t groups = words / ((uint64_t)hasher->vector_words * MIN_VECTORS * hasher->local) + 1;

    return (size_t)(groups < most ? groups : most);
}

psgd_status_t psgd_hasher_enqueue(psgd_hasher_t *hasher, psgd_view_t view, uint64_t words, uint64_t *hash_p)
{
    uint64_t         offset = view.offset_bytes / sizeof(uint32_t);
    size_t           global = choose_groups(hasher, words) * hasher->local;
    const psgd_arg_t args[] = {PSGD_ARG_MEM(view), PSGD_ARG(offset), PSGD_ARG(words), PSGD_ARG_MEM(hasher->sum),
                               PSGD_ARG_LOCAL(2 * hasher->local * sizeof(uint32_t))};
    psgd_status_t    status;

    status = psgd_buffer_enqueue_zero(hasher->device, hasher->sum, HASH_BYTES);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_kernel_enqueue(hasher->device, hasher->kernel, 1, &global, &hasher->local, args,
                                 sizeof(args) / sizeof(args[0]));
    if (status != PSGD_OK) {
        return status;
    }
    return psgd_buffer_enqueue_read(hasher->device, hasher->sum, hash_p, HASH_BYTES);
}

/* What of 2 and 1 divides place and length. */
static uint32_t small_unit(psgd_view_t view, size_t bytes)
{
    return (view.offset_bytes | bytes) % 2 == 0 ? 2 : 1;
}

psgd_status_t psgd_hasher_enqueue_bytes(psgd_hasher_t *hasher, psgd_view_t view, size_t bytes, uint64_t *hash_p)
{
    const uint32_t   unit   = small_unit(view, bytes);
    uint64_t         offset = view.offset_bytes, count = bytes / unit;
    size_t           global = choose_groups(hasher, count) * hasher->local;
    const psgd_arg_t args[] = {PSGD_ARG_MEM(view),        PSGD_ARG(offset),
                               PSGD_ARG(count),           PSGD_ARG(unit),
                               PSGD_ARG_MEM(hasher->sum), PSGD_ARG_LOCAL(2 * hasher->local * sizeof(uint32_t))};
    psgd_status_t    status;

    if ((view.offset_bytes | bytes) % sizeof(uint32_t) == 0) {
        return psgd_hasher_enqueue(hasher, view, bytes / sizeof(uint32_t), hash_p);
    }
    status = psgd_buffer_enqueue_zero(hasher->device, hasher->sum, HASH_BYTES);
    if (status == PSGD_OK) {
        status = psgd_kernel_enqueue(hasher->device, hasher->small_kernel, 1, &global, &hasher->local, args,
                                     sizeof(args) / sizeof(args[0]));
    }
    return status == PSGD_OK ? psgd_buffer_enqueue_read(hasher->device, hasher->sum, hash_p, HASH_BYTES) : status;
}

void psgd_hasher_destroy(psgd_hasher_t *hasher)
{
    if (hasher == NULL) {
        return;
    }
    psgd_buffer_destroy(hasher->device, &hasher->sum);
    psgd_kernel_destroy(hasher->small_kernel);
    psgd_kernel_destroy(hasher->kernel);
    psgd_free(hasher);
}
