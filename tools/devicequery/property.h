/* What is shown of a device: a property is a row, in the table and in JSON alike. */
#ifndef PSGD_DEVICEQUERY_PROPERTY_H
#define PSGD_DEVICEQUERY_PROPERTY_H

#include <stddef.h>
#include <stdint.h>

#include <psgd/psgd.h>

typedef enum property_type {
    PROPERTY_TEXT,  /* char[] */
    PROPERTY_BYTES, /* uint64_t */
    PROPERTY_COUNT, /* uint64_t */
    PROPERTY_UINT,  /* uint32_t */
    PROPERTY_UINT_BYTES,
    PROPERTY_FLAG /* int */
} property_type_t;

typedef struct property {
    const char     *key;   /* in JSON; part of schema 1 */
    const char     *label; /* in the table */
    property_type_t type;
    size_t          offset; /* in psgd_device_info_t */
    const char     *unit;   /* behind the value in the table: "MHz"; or a remark: "(not needed)" */
} property_t;

/* Row number `index`, from 0; NULL behind the last one. */
const property_t *property_get(size_t index);

/* Where the row's value is. */
const void *property_value(const property_t *property, const psgd_device_info_t *info);

/* "cpu", "gpu", "accelerator", "other" */
const char *kind_name(psgd_device_kind_t kind);

/* ---- how large a model fits ---- */

#define CAPACITY_RANK 4
#define CAPACITY_SIDE 1024

/* The formula of capacity_parameters(), in the words of the JSON keys. */
#define CAPACITY_FORMULA "global_memory_bytes / 4 / (3 + 5 * rank * (1024 + 1024) / (1024 * 1024))"
#define CAPACITY_TENSOR_FORMULA "min(max_allocation_bytes / 4, 2^31 - 1)"

/* The most parameters that training with libpsgd has room for on the device, in fp32: each as parameter, gradient and
 * error memory, 3 floats, and the five factor buffers of libpsgd, 5 (rows + cols) r floats for each matrix, here for square
 * ones of 1024. Activations, and what the optimizer remembers, come on top and are not counted. */
uint64_t capacity_parameters(const psgd_device_info_t *info);

/* The most elements of one tensor: a buffer cannot be larger, and CLBlast counts elements in 31 bits. */
uint64_t capacity_tensor_elems(const psgd_device_info_t *info);

#endif
