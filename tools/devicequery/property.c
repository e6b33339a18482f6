#include "property.h"

#define ROW(key_, label_, type_, member_, unit_) \
    { \
        key_, label_, type_, offsetof(psgd_device_info_t, member_), unit_ \
    }

/* JSON keys are promised: rows may be added, and none may change its key or meaning within schema 1. */
static const property_t PROPERTIES[] = {
    ROW("platform", "platform", PROPERTY_TEXT, platform_name, ""),
    ROW("vendor", "vendor", PROPERTY_TEXT, vendor, ""),
    ROW("device_version", "version", PROPERTY_TEXT, device_version, ""),
    ROW("driver_version", "driver", PROPERTY_TEXT, driver_version, ""),
    ROW("compute_units", "compute units", PROPERTY_UINT, compute_units, ""),
    ROW("max_clock_mhz", "clock", PROPERTY_UINT, max_clock_mhz, " MHz"),
    ROW("global_memory_bytes", "memory", PROPERTY_BYTES, global_memory_bytes, ""),
    ROW("max_allocation_bytes", "largest buffer", PROPERTY_BYTES, max_allocation_bytes, ""),
    ROW("local_memory_bytes", "local memory", PROPERTY_BYTES, local_memory_bytes, " a work-group"),
    ROW("max_work_group_size", "work-group", PROPERTY_COUNT, max_work_group_size, " work-items"),
    ROW("base_alignment_bytes", "alignment", PROPERTY_UINT_BYTES, base_alignment_bytes,
        " (libpsgd makes no sub-buffers)"),
    ROW("unified_memory", "unified memory", PROPERTY_FLAG, has_unified_memory, ""),
    ROW("out_of_order_queue", "queues out of order", PROPERTY_FLAG, has_out_of_order_queue, " (not needed)"),
    ROW("fp16", "fp16", PROPERTY_FLAG, has_fp16, " (not needed)"),
    ROW("fp64", "fp64", PROPERTY_FLAG, has_fp64, " (not needed)"),
    ROW("fma", "fast fma", PROPERTY_FLAG, has_fma, " (fma is exact in any case)"),
    ROW("denormals", "denormals", PROPERTY_FLAG, has_denormals, " (compensated for where missing)"),
};

#undef ROW

enum { NUM_PROPERTIES = sizeof(PROPERTIES) / sizeof(PROPERTIES[0]) };

const property_t *property_get(size_t index)
{
    return index < NUM_PROPERTIES ? &PROPERTIES[index] : NULL;
}

const void *property_value(const property_t *property, const psgd_device_info_t *info)
{
    return (const char *)info + property->offset;
}

const char *kind_name(psgd_device_kind_t kind)
{
    switch (kind) {
    case PSGD_DEVICE_CPU: return "cpu";
    case PSGD_DEVICE_GPU: return "gpu";
    case PSGD_DEVICE_ACCELERATOR: return "accelerator";
    case PSGD_DEVICE_OTHER: break;
    }
    return "other";
}

uint64_t capacity_parameters(const psgd_device_info_t *info)
{
    const double side                 = CAPACITY_SIDE;
    const double floats_per_parameter = 3.0 + 5.0 * CAPACITY_RANK * (side + side) / (side * side);

    return (uint64_t)((double)info->global_memory_bytes / sizeof(float) / floats_per_parameter);
}

uint64_t capacity_tensor_elems(const psgd_device_info_t *info)
{
    uint64_t buffer_elems = info->max_allocation_bytes / sizeof(float);

    return buffer_elems < INT32_MAX ? buffer_elems : INT32_MAX;
}
