#include "support/golden.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <check.h>

/* --- NAME.txt ----------------------------------------------------------------------------------------------------- */

static FILE *open_part(const char *name, const char *extension)
{
    char  path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.%s", PSGD_GOLDEN_DIR, name, extension);
    file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "cannot open %s", path);
    return file;
}

/* "tensor NAME DIMS..." */
static void parse_tensor(golden_t *golden, char *line)
{
    golden_tensor_t *tensor = &golden->tensors[golden->num_tensors];
    char            *word   = strtok(line, " \n");

    ck_assert_uint_lt(golden->num_tensors, GOLDEN_MAX_TENSORS);
    word = strtok(NULL, " \n");
    ck_assert_ptr_nonnull(word);
    snprintf(tensor->name, sizeof(tensor->name), "%s", word);
    tensor->elems = 1;
    for (word = strtok(NULL, " \n"); word != NULL; word = strtok(NULL, " \n")) {
        ck_assert_uint_lt(tensor->num_dims, PSGD_MAX_DIMS);
        tensor->dims[tensor->num_dims] = strtoull(word, NULL, 10);
        tensor->elems *= tensor->dims[tensor->num_dims];
        tensor->num_dims++;
    }
    ck_assert_uint_gt(tensor->num_dims, 0);
    ck_assert_uint_gt(tensor->elems, 0);
    tensor->rows = tensor->dims[0];
    tensor->cols = tensor->elems / tensor->rows;
    golden->total_elems += tensor->elems;
    golden->num_tensors++;
}

/* "draw_q step S rows R cols C" */
static void parse_draw(golden_t *golden, const char *line)
{
    golden_draw_t *draw = &golden->draws[golden->num_draws];
    char           which;

    ck_assert_uint_lt(golden->num_draws, GOLDEN_MAX_DRAWS);
    ck_assert_int_eq(sscanf(line, "draw_%c step %" SCNu64 " rows %" SCNu64 " cols %" SCNu64, &which, &draw->step,
                            &draw->rows, &draw->cols), 4);
    draw->is_p = which == 'p';
    golden->num_draws++;
}

/* "key value" */
static void parse_value(golden_t *golden, const char *key, const char *value, uint64_t *num_tensors)
{
    double number = strtod(value, NULL);

    if (strcmp(key, "workers") == 0) {
        golden->num_workers = (uint32_t)number;
    } else if (strcmp(key, "rank") == 0) {
        golden->rank = (uint32_t)number;
    } else if (strcmp(key, "steps") == 0) {
        golden->num_steps = (uint32_t)number;
    } else if (strcmp(key, "min_compression_rate") == 0) {
        golden->min_compression_rate = number;
    } else if (strcmp(key, "error_feedback") == 0) {
        golden->error_feedback = number != 0.0;
    } else if (strcmp(key, "warm_start") == 0) {
        golden->warm_start = number != 0.0;
    } else if (strcmp(key, "half_iterations_per_step") == 0) {
        golden->half_iterations_per_step = (uint32_t)number;
    } else if (strcmp(key, "plain_steps_first") == 0) {
        golden->plain_steps_first = (uint32_t)number;
    } else if (strcmp(key, "tensors") == 0) {
        *num_tensors = (uint64_t)number;
    } else if (strcmp(key, "floats") == 0) {
        golden->num_values = (uint64_t)number;
    } else {
        ck_assert_msg(strcmp(key, "system") == 0, "%s.txt: unknown key %s", golden->name, key);
    }
}

static void read_description(golden_t *golden)
{
    FILE    *file        = open_part(golden->name, "txt");
    uint64_t num_tensors = 0;
    char     line[256], key[64], value[64];

    while (fgets(line, sizeof(line), file) != NULL) {
        ck_assert_int_eq(sscanf(line, "%63s %63s", key, value), 2);
        if (strcmp(key, "tensor") == 0) {
            parse_tensor(golden, line);
        } else if (strncmp(key, "draw_", 5) == 0) {
            parse_draw(golden, line);
        } else {
            parse_value(golden, key, value, &num_tensors);
        }
    }
    fclose(file);
    ck_assert_uint_eq(golden->num_tensors, num_tensors);
    ck_assert_uint_gt(golden->num_workers, 0);
    ck_assert_uint_gt(golden->num_steps, 0);
    ck_assert_uint_gt(golden->rank, 0);
}

/* Which tensors are compressed: (rows + cols) * r_eff * 2 < rows * cols, for two dimensions or more. */
static void mark_compressed(golden_t *golden)
{
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        golden_tensor_t *tensor = &golden->tensors[t];
        uint64_t         r_eff  = golden->rank;

        r_eff = r_eff < tensor->rows ? r_eff : tensor->rows;
        r_eff = r_eff < tensor->cols ? r_eff : tensor->cols;
        tensor->is_compressed =
            (tensor->num_dims >= 2) &&
            ((double)((tensor->rows + tensor->cols) * r_eff) * golden->min_compression_rate < (double)tensor->elems);
    }
}

/* --- NAME.f32 ----------------------------------------------------------------------------------------------------- */

static float float_from_little_endian(const unsigned char *bytes)
{
    uint32_t low  = (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8);
    uint32_t high = (uint32_t)bytes[2] | ((uint32_t)bytes[3] << 8);
    uint32_t bits = low | (high << 16);
    float    value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

static void read_values(golden_t *golden)
{
    FILE          *file  = open_part(golden->name, "f32");
    unsigned char *bytes = malloc(golden->num_values * 4);

    golden->values = malloc(golden->num_values * sizeof(float));
    ck_assert_ptr_nonnull(bytes);
    ck_assert_ptr_nonnull(golden->values);
    ck_assert_uint_eq(fread(bytes, 4, golden->num_values, file), golden->num_values);
    ck_assert_msg(fgetc(file) == EOF, "%s.f32 is longer than %" PRIu64 " floats", golden->name, golden->num_values);
    fclose(file);
    for (uint64_t i = 0; i < golden->num_values; ++i) {
        golden->values[i] = float_from_little_endian(&bytes[4 * i]);
    }
    free(bytes);
}

/* The draws come first; then, for each step, the gradients of all workers, the update and the mean error. */
static void place_values(golden_t *golden)
{
    const float *next = golden->values;
    uint64_t     expected;

    for (size_t d = 0; d < golden->num_draws; ++d) {
        golden->draws[d].values = next;
        next += golden->draws[d].rows * golden->draws[d].cols;
    }
    golden->steps = next;
    expected = (uint64_t)(next - golden->values) + golden->num_steps * (golden->num_workers + 2) * golden->total_elems;
    ck_assert_uint_eq(golden->num_values, expected);
}

golden_t *golden_load(const char *name)
{
    golden_t *golden = calloc(1, sizeof(*golden));

    ck_assert_ptr_nonnull(golden);
    snprintf(golden->name, sizeof(golden->name), "%s", name);
    read_description(golden);
    mark_compressed(golden);
    read_values(golden);
    place_values(golden);
    return golden;
}

void golden_free(golden_t *golden)
{
    if (golden != NULL) {
        free(golden->values);
        free(golden);
    }
}

static const float *step_values(const golden_t *golden, uint32_t step)
{
    return golden->steps + (uint64_t)step * (golden->num_workers + 2) * golden->total_elems;
}

const float *golden_gradient(const golden_t *golden, uint32_t step, uint32_t worker)
{
    return step_values(golden, step) + (uint64_t)worker * golden->total_elems;
}

const float *golden_update(const golden_t *golden, uint32_t step)
{
    return step_values(golden, step) + (uint64_t)golden->num_workers * golden->total_elems;
}

const float *golden_mean_error(const golden_t *golden, uint32_t step)
{
    return golden_update(golden, step) + golden->total_elems;
}

/* --- setting up a run --------------------------------------------------------------------------------------------- */

/* Draws of one step come one for each compressed tensor, in tensor order. */
static const golden_draw_t *nth_draw(const golden_t *golden, bool is_p, uint64_t step, size_t n)
{
    for (size_t d = 0; d < golden->num_draws; ++d) {
        if ((golden->draws[d].is_p == is_p) && (golden->draws[d].step == step) && (n-- == 0)) {
            return &golden->draws[d];
        }
    }
    return NULL;
}

/* The P0 of the alternating scheme are grouped by matrix shape, in order of first appearance; in these cases every shape
 * appears once, so that this is the tensor order. */
const golden_draw_t *golden_starting_factor(const golden_t *golden, uint32_t step, size_t tensor_index)
{
    bool     is_p     = golden->half_iterations_per_step > 0;
    uint64_t drawn_at = !is_p && (step == 0) && golden->warm_start ? golden->plain_steps_first : step;
    size_t   n        = 0;

    if (((step > 0) && golden->warm_start) || !golden->tensors[tensor_index].is_compressed) {
        return NULL;
    }
    for (size_t t = 0; t < tensor_index; ++t) {
        n += golden->tensors[t].is_compressed ? 1 : 0;
    }
    return nth_draw(golden, is_p, drawn_at, n);
}

void golden_reference_setup(const golden_t *golden, reference_shape_t *shapes, reference_options_t *options)
{
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        const golden_tensor_t *tensor = &golden->tensors[t];

        memset(&shapes[t], 0, sizeof(shapes[t]));
        memcpy(shapes[t].dims, tensor->dims, sizeof(tensor->dims));
        shapes[t].num_dims = tensor->num_dims;
    }
    *options = (reference_options_t)REFERENCE_OPTIONS_INIT;
    options->num_workers          = golden->num_workers;
    options->rank                 = golden->rank;
    options->min_compression_rate = golden->min_compression_rate;
    options->start_step           = golden->plain_steps_first;
    options->error_feedback       = golden->error_feedback;
    options->warm_start           = golden->warm_start;
    options->half_iterations      = golden->half_iterations_per_step;
}

void golden_reducer_setup(const golden_t *golden, psgd_tensor_t *tensors, psgd_config_t *config)
{
    for (size_t t = 0; t < golden->num_tensors; ++t) {
        const golden_tensor_t *tensor = &golden->tensors[t];

        tensors[t]          = (psgd_tensor_t)PSGD_TENSOR_INIT;
        tensors[t].name     = tensor->name;
        tensors[t].num_dims = tensor->num_dims;
        memcpy(tensors[t].dims, tensor->dims, sizeof(tensor->dims));
    }
    *config                      = (psgd_config_t)PSGD_CONFIG_INIT;
    config->rank                 = golden->rank;
    config->min_compression_rate = golden->min_compression_rate;
    config->error_feedback       = golden->error_feedback ? 1 : 0;
    config->warm_start           = golden->warm_start ? 1 : 0;
    config->start_step           = golden->plain_steps_first;
    config->half_iterations      = golden->half_iterations_per_step;
}

double golden_difference(const double *ours, const float *recorded, uint64_t count)
{
    double *wide = malloc(count * sizeof(*wide));
    double  difference;

    ck_assert_ptr_nonnull(wide);
    for (uint64_t i = 0; i < count; ++i) {
        wide[i] = recorded[i];
    }
    difference = reference_difference(ours, wide, count);
    free(wide);
    return difference;
}
