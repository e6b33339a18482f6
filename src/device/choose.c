/* Choosing a device by words: an index, "P:D", a kind, or a part of a name. */
#include <ctype.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "base/status.h"
#include "device/enumerate.h"

#define PACKAGES_TEXT \
    "install an OpenCL driver; on Debian: pocl-opencl-icd (any CPU), mesa-opencl-icd (AMD and other GPUs; set " \
    "RUSTICL_ENABLE=radeonsi, or iris, or llvmpipe), intel-opencl-icd (Intel GPUs), nvidia-opencl-icd (NVIDIA GPUs); " \
    "a GPU " \
    "that stays unseen may need its user in the group 'render'"

/* ---- what the words say ---- */

/* Reads a decimal number, saturating, and moves *text_p behind it; false where there is no digit. */
static bool read_number(const char **text_p, uint64_t *number_p)
{
    const char *text   = *text_p;
    uint64_t    number = 0;

    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    for (; isdigit((unsigned char)*text); ++text) {
        number = number < UINT32_MAX ? number * 10 + (uint64_t)(*text - '0') : number;
    }
    *text_p   = text;
    *number_p = number;
    return true;
}

static bool is_index(const char *which, uint64_t *index_p)
{
    return read_number(&which, index_p) && (*which == '\0');
}

static bool is_platform_and_device(const char *which, uint64_t *platform_p, uint64_t *device_p)
{
    return read_number(&which, platform_p) && (*which++ == ':') && read_number(&which, device_p) && (*which == '\0');
}

/* NOLINTNEXTLINE(readability-function-size): tolower() is a large macro */
static bool begins_with(const char *text, const char *start)
{
    for (; *start != '\0'; ++text, ++start) {
        if (tolower((unsigned char)*text) != tolower((unsigned char)*start)) {
            return false;
        }
    }
    return true;
}

static bool contains(const char *text, const char *part)
{
    for (; *text != '\0'; ++text) {
        if (begins_with(text, part)) {
            return true;
        }
    }
    return false;
}

static bool is_same_word(const char *a, const char *b)
{
    return (strlen(a) == strlen(b)) && begins_with(a, b);
}

static bool is_kind(const char *which, psgd_device_kind_t *kind_p)
{
    static const struct {
        const char        *word;
        psgd_device_kind_t kind;
    } KINDS[] = {{"gpu", PSGD_DEVICE_GPU}, {"cpu", PSGD_DEVICE_CPU}, {"accelerator", PSGD_DEVICE_ACCELERATOR}};

    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); ++i) {
        if (is_same_word(which, KINDS[i].word)) {
            *kind_p = KINDS[i].kind;
            return true;
        }
    }
    return false;
}

/* ---- sentences ---- */

/* Appends to a text of `bytes` bytes as much as fits. */
static void append(char *text, size_t bytes, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t bytes, const char *format, ...)
{
    size_t  used = strlen(text);
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text + used, bytes - used, format, arguments);
    va_end(arguments);
}

/* "there are: 0 (0:0) 'name'; 1 (1:0) 'name', not usable: reason" */
static psgd_status_t fail_naming_devices(const psgd_device_info_t *infos, size_t count, const char *which)
{
    char there_are[2048] = "";

    for (size_t i = 0; i < count; ++i) {
        const psgd_device_info_t *info = &infos[i];

        append(there_are, sizeof(there_are), "%s%u (%u:%u) '%s' of '%s'", i > 0 ? "; " : "", info->index,
               info->platform_index, info->device_index, info->name, info->platform_name);
        if (!info->is_usable) {
            append(there_are, sizeof(there_are), ", not usable: %s", info->reason);
        }
    }
    return psgd_fail(PSGD_ERR_NO_DEVICE, "no usable OpenCL device fits '%s'; there are: %s", which, there_are);
}

/* ---- the choice ---- */

static psgd_status_t check_usable(const psgd_device_info_t *info)
{
    if (info->is_usable) {
        return PSGD_OK;
    }
    return psgd_fail(PSGD_ERR_DEVICE_UNSUITABLE, "device %u (%u:%u) '%s' cannot run libpsgd: %s", info->index,
                     info->platform_index, info->device_index, info->name, info->reason);
}

static psgd_status_t choose_by_index(const psgd_device_info_t *infos, size_t count, const char *which, uint64_t index,
                                     size_t *chosen_p)
{
    psgd_status_t status;

    if (index >= count) {
        return fail_naming_devices(infos, count, which);
    }
    status = check_usable(&infos[index]);
    if (status != PSGD_OK) {
        return status;
    }
    *chosen_p = (size_t)index;
    return PSGD_OK;
}

static psgd_status_t choose_by_platform(const psgd_device_info_t *infos, size_t count, const char *which,
                                        uint64_t platform, uint64_t device, size_t *chosen_p)
{
    for (size_t i = 0; i < count; ++i) {
        if ((infos[i].platform_index == platform) && (infos[i].device_index == device)) {
            return choose_by_index(infos, count, which, i, chosen_p);
        }
    }
    return fail_naming_devices(infos, count, which);
}

static bool find_kind(const psgd_device_info_t *infos, size_t count, psgd_device_kind_t kind, size_t *chosen_p)
{
    for (size_t i = 0; i < count; ++i) {
        if (infos[i].is_usable && (infos[i].kind == kind)) {
            *chosen_p = i;
            return true;
        }
    }
    return false;
}

/* The version is looked at too, since PoCL is called by its name nowhere else ("OpenCL 3.0 PoCL ..."). */
static bool is_called(const psgd_device_info_t *info, const char *part)
{
    return contains(info->name, part) || contains(info->vendor, part) || contains(info->platform_name, part) ||
           contains(info->device_version, part);
}

static bool find_name(const psgd_device_info_t *infos, size_t count, const char *part, size_t *chosen_p)
{
    for (size_t i = 0; i < count; ++i) {
        if (infos[i].is_usable && is_called(&infos[i], part)) {
            *chosen_p = i;
            return true;
        }
    }
    return false;
}

static bool find_any(const psgd_device_info_t *infos, size_t count, size_t *chosen_p)
{
    if (find_kind(infos, count, PSGD_DEVICE_GPU, chosen_p)) {
        return true;
    }
    for (size_t i = 0; i < count; ++i) {
        if (infos[i].is_usable) {
            *chosen_p = i;
            return true;
        }
    }
    return false;
}

psgd_status_t psgd_device_choose(const psgd_device_info_t *infos, size_t count, const char *which, size_t *chosen_p)
{
    uint64_t           platform, device;
    psgd_device_kind_t kind;
    bool               found;

    if (count == 0) {
        return psgd_fail(PSGD_ERR_NO_DEVICE, "there is no OpenCL device on this machine: " PACKAGES_TEXT);
    }
    if ((which == NULL) || (which[0] == '\0')) {
        which = psgd_env_value(PSGD_ENV_DEVICE);
    }
    if (which == NULL) {
        return find_any(infos, count, chosen_p) ? PSGD_OK : fail_naming_devices(infos, count, "any");
    }
    if (is_index(which, &device)) {
        return choose_by_index(infos, count, which, device, chosen_p);
    }
    if (is_platform_and_device(which, &platform, &device)) {
        return choose_by_platform(infos, count, which, platform, device, chosen_p);
    }
    found = is_kind(which, &kind) ? find_kind(infos, count, kind, chosen_p) : find_name(infos, count, which, chosen_p);
    return found ? PSGD_OK : fail_naming_devices(infos, count, which);
}
