#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "property.h"

static void print_bytes(FILE *out, uint64_t bytes)
{
    static const char *const UNITS[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double                   value   = (double)bytes;
    size_t                   unit    = 0;

    while ((value >= 1024.0) && (unit + 1 < sizeof(UNITS) / sizeof(UNITS[0]))) {
        value /= 1024.0;
        ++unit;
    }
    fprintf(out, unit == 0 ? "%.0f %s" : "%.4g %s", value, UNITS[unit]);
}

static void print_value(FILE *out, const property_t *property, const psgd_device_info_t *info)
{
    const void *value = property_value(property, info);

    switch (property->type) {
    case PROPERTY_TEXT: fputs(value, out); break;
    case PROPERTY_BYTES: print_bytes(out, *(const uint64_t *)value); break;
    case PROPERTY_COUNT: fprintf(out, "%" PRIu64, *(const uint64_t *)value); break;
    case PROPERTY_UINT: fprintf(out, "%" PRIu32, *(const uint32_t *)value); break;
    case PROPERTY_UINT_BYTES: print_bytes(out, *(const uint32_t *)value); break;
    case PROPERTY_FLAG: fputs(*(const int *)value ? "yes" : "no", out); break;
    }
    fputs(property->unit, out);
}

static void print_label(FILE *out, const char *label)
{
    fprintf(out, "  %-22s", label);
}

static void print_capacity(FILE *out, const psgd_device_info_t *info)
{
    print_label(out, "largest model");
    fprintf(out, "%.4g million parameters at rank %d (*)\n", (double)capacity_parameters(info) * 1e-6, CAPACITY_RANK);
    print_label(out, "largest tensor");
    fprintf(out, "%.4g million elements (**)\n", (double)capacity_tensor_elems(info) * 1e-6);
}

static void print_verdict(FILE *out, const psgd_device_info_t *info)
{
    print_label(out, "verdict");
    if (info->is_usable) {
        fputs("ready: libpsgd runs here\n", out);
    } else {
        fprintf(out, "not ready: %s\n", info->reason);
    }
}

static void print_device(FILE *out, const psgd_device_info_t *info)
{
    const property_t *property;

    fprintf(out, "device %" PRIu32 " (%" PRIu32 ":%" PRIu32 "), %s: %s\n", info->index, info->platform_index,
            info->device_index, kind_name(info->kind), info->name);
    for (size_t i = 0; (property = property_get(i)) != NULL; ++i) {
        print_label(out, property->label);
        print_value(out, property, info);
        fputc('\n', out);
    }
    print_capacity(out, info);
    print_verdict(out, info);
    fputc('\n', out);
}

static void print_remarks(FILE *out)
{
    fputs("(*)  parameters = " CAPACITY_FORMULA "\n"
          "     3 floats a parameter (itself, its gradient, its error memory) and libpsgd's factors, 5 (rows + cols) "
          "rank\n"
          "     floats a matrix, for matrices of 1024 x 1024. Activations and the optimizer's own memory come on top;\n"
          "     workers that share the device divide it.\n"
          "(**) elements = " CAPACITY_TENSOR_FORMULA ": one buffer, and the counters of CLBlast\n\n",
          out);
}

static void print_choice(FILE *out, const survey_t *survey)
{
    if (survey->chosen == NULL) {
        fprintf(out, "No device can be used: %s\n", survey->message);
    } else {
        fprintf(out, "libpsgd %s can run here, on device %" PRIu32 ": %s\n", psgd_version_string(),
                survey->chosen->index, survey->chosen->name);
    }
}

void report_devices(FILE *out, const survey_t *survey)
{
    for (size_t i = 0; i < survey->num_shown; ++i) {
        print_device(out, &survey->shown[i]);
    }
    if (survey->num_shown > 0) {
        print_remarks(out);
    }
    print_choice(out, survey);
}

void report_list(FILE *out, const survey_t *survey)
{
    for (size_t i = 0; i < survey->num_shown; ++i) {
        const psgd_device_info_t *info = &survey->shown[i];

        fprintf(out, "%-3" PRIu32 " %" PRIu32 ":%-3" PRIu32 " %-11s %-9s %s [%s]\n", info->index, info->platform_index,
                info->device_index, kind_name(info->kind), info->is_usable ? "ready" : "not ready", info->name,
                info->platform_name);
    }
}

/* ---- the self-test ---- */

static void print_count(FILE *out, const char *what, uint64_t wrong, uint64_t total)
{
    fprintf(out, "  %-44s %" PRIu64 " of %" PRIu64 " wrong: %s\n", what, wrong, total, wrong == 0 ? "ok" : "FAILED");
}

static void print_bounded(FILE *out, const char *what, double value, double bound)
{
    fprintf(out, "  %-44s %.2g, at most %.2g: %s\n", what, value, bound, value <= bound ? "ok" : "FAILED");
}

void report_selftest(FILE *out, const psgd_device_info_t *info, const selftest_t *selftest)
{
    const psgd_selftest_t *known = &selftest->known;

    fprintf(out, "\nself-test on device %" PRIu32 ": %s\n", info->index, info->name);
    if (known->update_values > 0) {
        print_count(out, "update P Q^T, bit for bit", known->update_wrong, known->update_values);
        print_count(out, "random numbers, bit for bit", known->random_wrong, known->random_values);
        print_bounded(out, "orthogonalization, max |I - P^T P|", known->orthogonality_error, 9.5e-7);
        fprintf(out, "  %-44s %s\n", "denormals",
                known->flushes_denormals ? "flushed to zero (compensated for)" : "kept");
    }
    if (selftest->steps > 0) {
        fprintf(out, "  %u compressed steps against double precision:\n", selftest->steps);
        print_bounded(out, "updates, relative deviation", selftest->update_deviation, SELFTEST_BOUND);
        print_bounded(out, "error memory, relative deviation", selftest->error_deviation, SELFTEST_BOUND);
        print_bounded(out, "uncompressed tensors, deviation", selftest->plain_deviation, SELFTEST_BOUND);
    }
    if (selftest->message[0] != '\0') {
        fprintf(out, "  stopped: %s\n", selftest->message);
    }
    fprintf(out, "self-test %s\n", selftest->passed ? "passed" : "FAILED");
}

/* ---- the environment ---- */

void report_environment(FILE *out)
{
    psgd_env_info_t variable;

    for (size_t i = 0; psgd_env_get(i, &variable); ++i) {
        fprintf(out, "%s=%s\n    %s\n", variable.name, variable.value != NULL ? variable.value : "(not set)",
                variable.meaning);
    }
}
