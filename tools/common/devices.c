#include "devices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

/* "3" and "1:0" name one device; everything else leaves a choice. */
static bool names_one_device(const char *which)
{
    return which != NULL && which[0] != '\0' && which[strspn(which, "0123456789:")] == '\0';
}

/* Every device there is; *infos_p is freed by free(). */
static tool_status_t list_devices(psgd_device_info_t **infos_p, size_t *count_p)
{
    const psgd_device_info_t empty = PSGD_DEVICE_INFO_INIT;
    psgd_device_info_t      *infos = NULL;
    size_t                   count = 0;
    tool_status_t            status;

    status = tool_check(psgd_device_list(NULL, 0, &count), "listing the OpenCL devices");
    if (status == TOOL_OK) {
        status = tool_alloc(count, sizeof(*infos), "the list of devices", &infos);
    }
    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < count; ++i) {
        infos[i] = empty;
    }
    status = tool_check(psgd_device_list(infos, count, &count), "listing the OpenCL devices");
    if (status != TOOL_OK) {
        free(infos);
        return status;
    }
    *infos_p = infos;
    *count_p = count;
    return TOOL_OK;
}

static bool is_alike(const psgd_device_info_t *info, const psgd_device_info_t *chosen)
{
    return info->is_usable && info->kind == chosen->kind && info->platform_index == chosen->platform_index;
}

/* The device `turn` places behind `chosen`, around those alike; *alike_p is how many these are. */
static tool_status_t take_turn(const psgd_device_info_t *chosen, uint32_t turn, psgd_device_info_t *info_p,
                               uint32_t *alike_p)
{
    psgd_device_info_t *infos  = NULL;
    size_t              count  = 0;
    uint32_t            alike  = 0; /* how many are alike ... */
    uint32_t            first  = 0; /* ... and which of them is the chosen one */
    tool_status_t       status = list_devices(&infos, &count);

    if (status != TOOL_OK) {
        return status;
    }
    for (size_t i = 0; i < count; ++i) {
        if (infos[i].index == chosen->index) {
            first = alike;
        }
        alike += is_alike(&infos[i], chosen);
    }
    *info_p = *chosen;
    for (size_t i = 0, place = 0; i < count; ++i) {
        if (is_alike(&infos[i], chosen) && place++ == (first + turn) % alike) {
            *info_p = infos[i];
        }
    }
    *alike_p = alike;
    free(infos);
    return TOOL_OK;
}

tool_status_t devices_choose(const char *which, const workers_t *workers, psgd_device_info_t *info_p)
{
    psgd_device_info_t chosen    = PSGD_DEVICE_INFO_INIT;
    const char        *named     = which != NULL ? which : getenv("PSGD_DEVICE");
    uint32_t           available = 1;
    tool_status_t      status    = tool_check(psgd_device_find(which, &chosen), "choosing a device");

    if (status != TOOL_OK) {
        return status;
    }
    *info_p = chosen;
    if (!names_one_device(named)) {
        status = take_turn(&chosen, workers->local_index, info_p, &available);
    }
    if (status == TOOL_OK && chosen.kind == PSGD_DEVICE_GPU && workers->local_index == 0 &&
        workers->local_count > available) {
        fprintf(stderr, "%s: warning: %u workers of one machine share %u GPU%s (%s)\n", tool_name(),
                (unsigned)workers->local_count, (unsigned)available, available > 1 ? "s" : "", chosen.name);
    }
    return status;
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; *text != '\0'; ++text) {
        hash = random_mix(hash ^ (unsigned char)*text);
    }
    return random_mix(hash);
}

uint64_t devices_hash(const psgd_device_info_t *info)
{
    return hash_text(hash_text(hash_text(0, info->platform_name), info->name), info->driver_version);
}
