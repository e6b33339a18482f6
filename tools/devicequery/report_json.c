/* The JSON document. Its keys are promised in docs/devicequery.md: within schema 1 they may be added to, and none may go or
 * change its meaning. */
#include <inttypes.h>

#include "json.h"
#include "property.h"
#include "report.h"

enum { SCHEMA = 1 };

static void write_property(json_t *json, const property_t *property, const psgd_device_info_t *info)
{
    const void *value = property_value(property, info);

    switch (property->type) {
    case PROPERTY_TEXT: json_text(json, property->key, value); break;
    case PROPERTY_BYTES:
    case PROPERTY_COUNT: json_integer(json, property->key, *(const uint64_t *)value); break;
    case PROPERTY_UINT:
    case PROPERTY_UINT_BYTES: json_integer(json, property->key, *(const uint32_t *)value); break;
    case PROPERTY_FLAG: json_bool(json, property->key, *(const int *)value != 0); break;
    }
}

static void write_capacity(json_t *json, const psgd_device_info_t *info)
{
    json_begin_object(json, "largest_model");
    json_integer(json, "rank", CAPACITY_RANK);
    json_integer(json, "parameters", capacity_parameters(info));
    json_text(json, "formula", CAPACITY_FORMULA);
    json_integer(json, "tensor_elems", capacity_tensor_elems(info));
    json_text(json, "tensor_formula", CAPACITY_TENSOR_FORMULA);
    json_end_object(json);
}

static void write_device(json_t *json, const psgd_device_info_t *info)
{
    const property_t *property;

    json_begin_object(json, NULL);
    json_integer(json, "index", info->index);
    json_integer(json, "platform_index", info->platform_index);
    json_integer(json, "device_index", info->device_index);
    json_text(json, "kind", kind_name(info->kind));
    json_text(json, "name", info->name);
    json_bool(json, "usable", info->is_usable != 0);
    json_text(json, "reason", info->is_usable ? NULL : info->reason);
    for (size_t i = 0; (property = property_get(i)) != NULL; ++i) {
        write_property(json, property, info);
    }
    write_capacity(json, info);
    json_end_object(json);
}

static void write_environment(json_t *json)
{
    psgd_env_info_t variable;

    json_begin_array(json, "environment");
    for (size_t i = 0; psgd_env_get(i, &variable); ++i) {
        json_begin_object(json, NULL);
        json_text(json, "name", variable.name);
        json_text(json, "value", variable.value);
        json_text(json, "meaning", variable.meaning);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_selftest(json_t *json, const psgd_device_info_t *info, const selftest_t *selftest)
{
    const psgd_selftest_t *known = &selftest->known;

    json_begin_object(json, "selftest");
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): what was tested had been chosen */
    json_integer(json, "device", info->index);
    json_bool(json, "passed", selftest->passed);
    json_text(json, "message", selftest->message[0] != '\0' ? selftest->message : NULL);
    json_integer(json, "update_values", known->update_values);
    json_integer(json, "update_wrong", known->update_wrong);
    json_integer(json, "random_values", known->random_values);
    json_integer(json, "random_wrong", known->random_wrong);
    json_real(json, "orthogonality_error", known->orthogonality_error);
    json_bool(json, "flushes_denormals", known->flushes_denormals != 0);
    json_integer(json, "steps", selftest->steps);
    json_real(json, "update_deviation", selftest->update_deviation);
    json_real(json, "error_deviation", selftest->error_deviation);
    json_real(json, "plain_deviation", selftest->plain_deviation);
    json_real(json, "deviation_bound", SELFTEST_BOUND);
    json_end_object(json);
}

static json_t begin_document(FILE *out)
{
    json_t json = {out, 0, true};

    json_begin_object(&json, NULL);
    json_integer(&json, "schema", SCHEMA);
    json_text(&json, "version", psgd_version_string());
    return json;
}

void report_json(FILE *out, const survey_t *survey, const selftest_t *selftest)
{
    json_t json = begin_document(out);

    json_bool(&json, "usable", survey->chosen != NULL);
    if (survey->chosen != NULL) {
        json_integer(&json, "chosen", survey->chosen->index);
        json_null(&json, "message");
    } else {
        json_null(&json, "chosen");
        json_text(&json, "message", survey->message);
    }
    json_begin_array(&json, "devices");
    for (size_t i = 0; i < survey->num_shown; ++i) {
        write_device(&json, &survey->shown[i]);
    }
    json_end_array(&json);
    if (selftest != NULL) {
        write_selftest(&json, survey->chosen, selftest);
    } else {
        json_null(&json, "selftest");
    }
    write_environment(&json);
    json_end_object(&json);
}

void report_json_environment(FILE *out)
{
    json_t json = begin_document(out);

    write_environment(&json);
    json_end_object(&json);
}
