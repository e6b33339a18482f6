/* The public side of device enumeration: argument checks, and structs of older and newer programs. */
#include <string.h>

#include "api/arguments.h"
#include "base/memory.h"
#include "base/status.h"
#include "device/enumerate.h"

/* The size of the struct in release 0.1.0. */
enum { FIRST_INFO_BYTES = sizeof(psgd_device_info_t) };

static psgd_status_t check_info(const void *info, const char *what, size_t *writable_bytes_p)
{
    return psgd_check_output_struct(info, FIRST_INFO_BYTES, what, "PSGD_DEVICE_INFO_INIT", sizeof(psgd_device_info_t),
                                    writable_bytes_p);
}

/* Writes as much of the info as the caller's struct has room for, and leaves its size as it was. */
static void copy_info(const psgd_device_info_t *info, size_t writable_bytes, void *to)
{
    size_t struct_size;

    memcpy(&struct_size, to, sizeof(struct_size)); /* the first member */
    memcpy(to, info, writable_bytes);
    memcpy(to, &struct_size, sizeof(struct_size));
}

/* All structs of the array say the size of the first, which is its stride. */
static psgd_status_t check_infos(const psgd_device_info_t *infos, size_t capacity, size_t *writable_bytes_p)
{
    const unsigned char *bytes       = (const unsigned char *)infos;
    size_t               struct_size = 0;
    psgd_status_t        status;

    if (capacity == 0) {
        return PSGD_OK;
    }
    if (infos == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_device_list: infos is NULL with a capacity of %zu", capacity);
    }
    status = check_info(infos, "psgd_device_list: infos[0]", writable_bytes_p);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 1; i < capacity; ++i) {
        memcpy(&struct_size, bytes + i * infos[0].struct_size, sizeof(struct_size));
        if (struct_size != infos[0].struct_size) {
            return psgd_fail(
                PSGD_ERR_INVALID_ARGUMENT,
                "psgd_device_list: infos[%zu].struct_size is %zu and that of infos[0] is %zu: initialize each by "
                "PSGD_DEVICE_INFO_INIT",
                i, struct_size, infos[0].struct_size);
        }
    }
    return PSGD_OK;
}

psgd_status_t psgd_device_list(psgd_device_info_t *infos, size_t capacity, size_t *count_p)
{
    psgd_device_info_t *found          = NULL;
    size_t              count          = 0;
    size_t              writable_bytes = 0;
    psgd_status_t       status;

    if (count_p == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_device_list: count_p is NULL");
    }
    status = check_infos(infos, capacity, &writable_bytes);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_devices_enumerate(&found, &count);
    if (status != PSGD_OK) {
        return status;
    }
    for (size_t i = 0; (i < count) && (i < capacity); ++i) {
        copy_info(&found[i], writable_bytes, (unsigned char *)infos + i * infos[0].struct_size);
    }
    *count_p = count;
    psgd_free(found);
    return PSGD_OK;
}

psgd_status_t psgd_device_find(const char *which, psgd_device_info_t *info_p)
{
    psgd_device_info_t *infos  = NULL;
    size_t              count  = 0;
    size_t              chosen = 0;
    size_t              writable_bytes;
    psgd_status_t       status;

    if (info_p == NULL) {
        return psgd_fail(PSGD_ERR_INVALID_ARGUMENT, "psgd_device_find: info_p is NULL");
    }
    status = check_info(info_p, "psgd_device_find: *info_p", &writable_bytes);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_devices_enumerate(&infos, &count);
    if (status != PSGD_OK) {
        return status;
    }
    status = psgd_device_choose(infos, count, which, &chosen);
    if (status == PSGD_OK) {
        copy_info(&infos[chosen], writable_bytes, info_p);
    }
    psgd_free(infos);
    return status;
}
