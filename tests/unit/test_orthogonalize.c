/* Orthogonalization on the device: both bounds of ops/orthogonalize.h over kinds of input and shapes, checked in float64;
 * what replaced columns depend on; bits that do not depend on the work-group; launches and allocations counted. */
#define _GNU_SOURCE /* RTLD_NEXT, setenv */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/random.h"
#include "device/cl_device.h"
#include "ops/orthogonalize.h"
#include "reference/orthogonalize_reference.h"
#include "support/suite.h"

static const double MAX_ORTHOGONALITY_ERROR = 9.5e-7; /* max |I - P^T P| */
static const double MAX_SPAN_ERROR          = 2e-6;   /* |p_j - P^ P^T p_j| / |p_j| */

/* ------------------------------------------------------------------------------------------------------------------
 * Calls to OpenCL, counted: these functions stand before those of the loader, and call them
 * ---------------------------------------------------------------------------------------------------------------- */

static struct {
    unsigned launches;
    unsigned buffers;
    unsigned kernels;
    size_t   local; /* work-items of a group in the last launch */
} calls;

static cl_uint pretended_width; /* of vectors of floats that the device prefers; 0: its own */

static void *loaders_function(const char *name)
{
    void *function = dlsym(RTLD_NEXT, name);

    if (function == NULL) {
        fprintf(stderr, "the OpenCL loader has no %s\n", name);
        abort();
    }
    return function;
}

typedef cl_int (*launch_fn)(cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint,
                            const cl_event *, cl_event *);
typedef cl_mem (*create_buffer_fn)(cl_context, cl_mem_flags, size_t, void *, cl_int *);
typedef cl_kernel (*create_kernel_fn)(cl_program, const char *, cl_int *);
typedef cl_int (*get_device_info_fn)(cl_device_id, cl_device_info, size_t, void *, size_t *);

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims, const size_t *offset,
                              const size_t *global, const size_t *local, cl_uint num_events, const cl_event *events,
                              cl_event *event)
{
    void     *address = loaders_function("clEnqueueNDRangeKernel");
    launch_fn function;

    memcpy(&function, &address, sizeof(function));
    calls.launches++;
    calls.local = local[0];
    return function(queue, kernel, dims, offset, global, local, num_events, events, event);
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t bytes, void *host, cl_int *result)
{
    void            *address = loaders_function("clCreateBuffer");
    create_buffer_fn function;

    memcpy(&function, &address, sizeof(function));
    calls.buffers++;
    return function(context, flags, bytes, host, result);
}

cl_kernel clCreateKernel(cl_program program, const char *name, cl_int *result)
{
    void            *address = loaders_function("clCreateKernel");
    create_kernel_fn function;

    memcpy(&function, &address, sizeof(function));
    calls.kernels++;
    return function(program, name, result);
}

cl_int clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t bytes, void *value, size_t *bytes_out)
{
    void              *address = loaders_function("clGetDeviceInfo");
    get_device_info_fn function;

    if ((what == CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT) && (pretended_width != 0) &&
        (bytes == sizeof(pretended_width))) {
        memcpy(value, &pretended_width, sizeof(pretended_width));
        return CL_SUCCESS;
    }
    memcpy(&function, &address, sizeof(function));
    return function(id, what, bytes, value, bytes_out);
}

/* ------------------------------------------------------------------------------------------------------------------
 * A device, and matrices in one buffer
 * ---------------------------------------------------------------------------------------------------------------- */

static psgd_device_t *device;

static void open_device(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;
    psgd_log_t         log  = psgd_log_open(NULL, NULL, PSGD_LOG_WARN);

    if (device != NULL) {
        return;
    }
    assert_ok(psgd_device_find(NULL, &info));
    assert_ok(psgd_device_open(NULL, info.device, NULL, &log, &device));
}

/* Whether the device's compiler wants vectors written out; others take minutes over the kernels that do so. */
static bool likes_vectors(void)
{
    cl_uint width = 0;

    ck_assert_int_eq(clGetDeviceInfo(psgd_device_id(device), CL_DEVICE_PREFERRED_VECTOR_WIDTH_FLOAT, sizeof(width), &width, NULL),
                     CL_SUCCESS);
    return width >= 4;
}

enum { MAX_MATRICES = 256, GAP = 3 /* elements between matrices, which nobody may touch */ };

static const float GAP_VALUE = 12345.0f;

/* Matrices, and their elements on the host. */
typedef struct input {
    psgd_columns_t matrices[MAX_MATRICES];
    size_t         num_matrices;
    float         *elems;
    size_t         num_elems;
} input_t;

static void *allocate(size_t count, size_t bytes)
{
    void *memory = calloc(count, bytes);

    ck_assert_ptr_nonnull(memory);
    return memory;
}

static void add_matrix(input_t *input, uint64_t length, uint32_t columns)
{
    size_t index = input->num_matrices++;

    ck_assert_uint_lt(index, MAX_MATRICES);
    input->num_elems += GAP;
    input->matrices[index] = (psgd_columns_t){input->num_elems, length, columns, psgd_random_key(7, index, PSGD_RANDOM_REPLACED_P)};
    input->num_elems += (size_t)length * columns;
}

/* After the last matrix: its memory, which is filled with what no matrix may read or write. */
static void allocate_elems(input_t *input)
{
    input->num_elems += GAP;
    input->elems = allocate(input->num_elems, sizeof(*input->elems));
    for (size_t i = 0; i < input->num_elems; ++i) {
        input->elems[i] = GAP_VALUE;
    }
}

static void free_input(input_t *input)
{
    free(input->elems);
    *input = (input_t){.num_matrices = 0};
}

static float *matrix_of(const input_t *input, float *elems, size_t index)
{
    return elems + input->matrices[index].offset_elems;
}

/* Creates an orthogonalizer; shape NULL: as the device likes it. */
static psgd_orthogonalizer_t *make(const input_t *input, const psgd_orthogonalize_shape_t *shape)
{
    psgd_orthogonalizer_t *made = NULL;

    if (shape == NULL) {
        assert_ok(psgd_orthogonalizer_create(device, input->matrices, input->num_matrices, &made));
    } else {
        assert_ok(psgd_orthogonalizer_create_shaped(device, input->matrices, input->num_matrices, *shape, &made));
    }
    return made;
}

/* orthogonalize(input->elems); in_place: within one buffer. The views begin at an odd offset. Freed by the caller. */
static float *run(psgd_orthogonalizer_t *orthogonalizer, const input_t *input, uint64_t step, bool in_place)
{
    size_t      bytes = input->num_elems * sizeof(float);
    float      *out   = allocate(input->num_elems, sizeof(*out));
    psgd_view_t from = {NULL, 0}, to = {NULL, 0}, in_view, out_view;

    assert_ok(psgd_buffer_create(device, bytes + sizeof(float), "the test's input", &from));
    assert_ok(psgd_buffer_create(device, bytes + sizeof(float), "the test's output", &to));
    in_view  = psgd_view_at(from, sizeof(float));
    out_view = in_place ? in_view : psgd_view_at(to, sizeof(float));
    assert_ok(psgd_buffer_enqueue_write(device, in_view, input->elems, bytes));
    if (!in_place) {
        assert_ok(psgd_buffer_enqueue_write(device, out_view, input->elems, bytes)); /* the gaps */
    }
    assert_ok(psgd_orthogonalizer_enqueue(orthogonalizer, in_view, out_view, step));
    assert_ok(psgd_buffer_enqueue_read(device, out_view, out, bytes));
    assert_ok(psgd_device_wait(device, "the test"));
    psgd_buffer_destroy(device, &from);
    psgd_buffer_destroy(device, &to);
    return out;
}

static float *orthogonalize(const input_t *input, const psgd_orthogonalize_shape_t *shape, uint64_t step, bool in_place)
{
    psgd_orthogonalizer_t *made = make(input, shape);
    float                 *out  = run(made, input, step, in_place);

    psgd_orthogonalizer_destroy(made);
    return out;
}

static void assert_equal_bits(const float *a, const float *b, size_t count, const char *what)
{
    for (size_t i = 0; i < count; ++i) {
        ck_assert_msg(memcmp(&a[i], &b[i], sizeof(float)) == 0, "%s: element %zu is %a here and %a there", what, i,
                      (double)a[i], (double)b[i]);
    }
}

static void assert_gaps_untouched(const input_t *input, const float *out)
{
    size_t end = 0; /* of the matrix before */

    for (size_t m = 0; m <= input->num_matrices; ++m) {
        size_t next = m < input->num_matrices ? input->matrices[m].offset_elems : input->num_elems;

        for (size_t i = end; i < next; ++i) {
            ck_assert_msg(out[i] == GAP_VALUE, "element %zu, between matrices, was written", i);
        }
        end = next + (m < input->num_matrices ? input->matrices[m].length * input->matrices[m].columns : 0);
    }
}

/* Both bounds for every matrix. */
static void assert_bounds(const input_t *input, const float *out, const char *what)
{
    for (size_t m = 0; m < input->num_matrices; ++m) {
        const psgd_columns_t *matrix = &input->matrices[m];
        const float          *p      = input->elems + matrix->offset_elems;
        const float          *q      = out + matrix->offset_elems;
        double                error  = reference_orthogonality_error(q, matrix->length, matrix->columns);
        double                span   = reference_span_error(p, q, matrix->length, matrix->columns);

        ck_assert_msg(error <= MAX_ORTHOGONALITY_ERROR, "%s, %u columns of %llu: |I - P^T P| is %.3g", what, matrix->columns,
                      (unsigned long long)matrix->length, error);
        ck_assert_msg(span <= MAX_SPAN_ERROR, "%s, %u columns of %llu: |p - P P^T p| / |p| is %.3g", what, matrix->columns,
                      (unsigned long long)matrix->length, span);
    }
    assert_gaps_untouched(input, out);
}

/* ------------------------------------------------------------------------------------------------------------------
 * Kinds of input
 * ---------------------------------------------------------------------------------------------------------------- */

static float random_number(uint32_t stream, size_t column, size_t element)
{
    return psgd_random_value(100, stream, (uint32_t)column, (uint32_t)element);
}

static void fill_random(float *p, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = random_number(0, j, i);
        }
    }
}

static void fill_zero(float *p, size_t length, size_t columns)
{
    memset(p, 0, length * columns * sizeof(*p));
}

static void fill_negative_zero(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] = -0.0f;
    }
}

static void fill_zero_columns(float *p, size_t length, size_t columns)
{
    fill_random(p, length, columns);
    for (size_t j = 0; j < columns; j += 3) {
        memset(&p[j * length], 0, length * sizeof(*p));
    }
}

/* Every other column is a multiple of the one before. */
static void fill_duplicates(float *p, size_t length, size_t columns)
{
    fill_random(p, length, columns);
    for (size_t j = 1; j < columns; j += 2) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = (j % 4 == 1 ? 1.0f : -3.7e-5f) * p[(j - 1) * length + i];
        }
    }
}

/* All columns are the first one, but for a random part of relative size `distance`. */
static void fill_parallel(float *p, size_t length, size_t columns, double distance)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = (float)((double)random_number(0, 0, i) + distance * (double)random_number(1, j, i));
        }
    }
}

static void fill_parallel_1e3(float *p, size_t length, size_t columns)
{
    fill_parallel(p, length, columns, 1e-3);
}

static void fill_parallel_1e5(float *p, size_t length, size_t columns)
{
    fill_parallel(p, length, columns, 1e-5);
}

static void fill_parallel_1e6(float *p, size_t length, size_t columns)
{
    fill_parallel(p, length, columns, 1.5e-6);
}

static void fill_parallel_1e7(float *p, size_t length, size_t columns)
{
    fill_parallel(p, length, columns, 1e-7);
}

/* Columns of magnitudes 1e-30 to 1e30, small ones among large ones. */
static void fill_graded(float *p, size_t length, size_t columns)
{
    fill_random(p, length, columns);
    for (size_t j = 0; j < columns; ++j) {
        float scale = (float)pow(10.0, (double)(j * 37 % 61) - 30.0);

        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] *= scale;
        }
    }
}

/* Rows of magnitudes 1 to 1e-36. */
static void fill_graded_rows(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length; ++i) {
        float scale = (float)pow(10.0, -36.0 * (double)i / (double)length);

        for (size_t j = 0; j < columns; ++j) {
            p[j * length + i] = random_number(0, j, i) * scale;
        }
    }
}

/* U S V^T with singular values from 1 down to 1 / condition, evenly by their logarithms. */
static void fill_condition(float *p, size_t length, size_t columns, double condition)
{
    double *u = allocate(length * columns, sizeof(*u));
    double *v = allocate(columns * columns, sizeof(*v));
    double *values = allocate(columns, sizeof(*values));
    float  *w = allocate(length * columns, sizeof(*w));

    fill_random(w, length, columns);
    reference_orthogonalize(w, u, length, columns);
    fill_random(w, columns, columns);
    reference_orthogonalize(w, v, columns, columns);
    for (size_t k = 0; k < columns; ++k) {
        values[k] = columns > 1 ? pow(condition, -(double)k / (double)(columns - 1)) : 1.0;
    }
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            double sum = 0.0;

            for (size_t k = 0; k < columns; ++k) {
                sum += u[k * length + i] * values[k] * v[k * columns + j];
            }
            p[j * length + i] = (float)sum;
        }
    }
    free(w);
    free(values);
    free(v);
    free(u);
}

static void fill_condition_1e2(float *p, size_t length, size_t columns)
{
    fill_condition(p, length, columns, 1e2);
}

static void fill_condition_1e4(float *p, size_t length, size_t columns)
{
    fill_condition(p, length, columns, 1e4);
}

static void fill_condition_1e6(float *p, size_t length, size_t columns)
{
    fill_condition(p, length, columns, 1e6);
}

static void fill_condition_1e8(float *p, size_t length, size_t columns)
{
    fill_condition(p, length, columns, 1e8);
}

/* All elements denormal, of up to 23 bits; one column of the smallest alone. */
static void fill_denormal(float *p, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            uint32_t fraction = (uint32_t)ldexpf(fabsf(random_number(0, j, i)), (int)(22 - j % 20));
            uint32_t sign     = random_number(0, j, i) < 0.0f ? UINT32_C(0x80000000) : 0;

            fraction |= i == j ? 1 : 0; /* not all zero */
            fraction |= sign;
            memcpy(&p[j * length + i], &fraction, sizeof(fraction));
        }
    }
}

/* Denormal elements beside the smallest normal ones. */
static void fill_nearly_denormal(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] = ldexpf(random_number(0, 0, i), -126);
    }
}

/* Multiples of the smallest normal number, and it itself. */
static void fill_smallest_normal(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] = (float)((int)(i * 7919 % 7) - 3) * 0x1p-126f;
    }
}

static void fill_huge(float *p, size_t length, size_t columns)
{
    fill_random(p, length, columns);
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] *= 1.7e38f; /* up to 3.4e38 */
    }
}

static void fill_constant(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] = 0.7f;
    }
}

/* Columns that are +c and -c in turn, with periods of their own: sums whose rounding does not average out. */
static void fill_square_waves(float *p, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = (i / (j + 1)) % 2 == 0 ? 1.1f : -0.3f;
        }
    }
}

/* One element a column; some columns share theirs. */
static void fill_one_hot(float *p, size_t length, size_t columns)
{
    fill_zero(p, length, columns);
    for (size_t j = 0; j < columns; ++j) {
        p[j * length + j * 5 % length] = j % 2 == 0 ? 3.0f : -1e-20f;
    }
}

static void fill_sparse(float *p, size_t length, size_t columns)
{
    fill_zero(p, length, columns);
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = j % 7; i < length; i += 17 + 11 * j) {
            p[j * length + i] = random_number(0, j, i);
        }
    }
}

static void fill_low_rank(float *p, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = random_number(0, 0, i) * random_number(1, 0, j) + random_number(0, 1, i) * random_number(1, 1, j);
        }
    }
}

static void fill_integers(float *p, size_t length, size_t columns)
{
    for (size_t i = 0; i < length * columns; ++i) {
        p[i] = (float)((int)(i * 7919 % 7) - 3);
    }
}

/* 1, t, t^2, ... over t in [0, 1]: smooth, and ever closer to each other. */
static void fill_monomials(float *p, size_t length, size_t columns)
{
    for (size_t j = 0; j < columns; ++j) {
        for (size_t i = 0; i < length; ++i) {
            p[j * length + i] = (float)pow((double)(i + 1) / (double)length, (double)j);
        }
    }
}

/* Column j is the sum of the random columns before it, so that every second one depends on the others. */
static void fill_running_sums(float *p, size_t length, size_t columns)
{
    fill_random(p, length, columns);
    for (size_t j = 1; j < columns; j += 2) {
        for (size_t i = 0; i < length; ++i) {
            double sum = 0.0;

            for (size_t k = 0; k < j; ++k) {
                sum += (double)p[k * length + i];
            }
            p[j * length + i] = (float)sum;
        }
    }
}

typedef void (*fill_fn)(float *p, size_t length, size_t columns);

static const struct {
    const char *name;
    fill_fn     fill;
} KINDS[] = {
    {"random", fill_random},
    {"zero", fill_zero},
    {"negative zero", fill_negative_zero},
    {"zero columns", fill_zero_columns},
    {"duplicates", fill_duplicates},
    {"parallel to 1e-3", fill_parallel_1e3},
    {"parallel to 1e-5", fill_parallel_1e5},
    {"parallel to 1.5e-6", fill_parallel_1e6},
    {"parallel to 1e-7", fill_parallel_1e7},
    {"graded columns", fill_graded},
    {"graded rows", fill_graded_rows},
    {"condition 1e2", fill_condition_1e2},
    {"condition 1e4", fill_condition_1e4},
    {"condition 1e6", fill_condition_1e6},
    {"condition 1e8", fill_condition_1e8},
    {"denormal", fill_denormal},
    {"nearly denormal", fill_nearly_denormal},
    {"smallest normal", fill_smallest_normal},
    {"huge", fill_huge},
    {"constant", fill_constant},
    {"square waves", fill_square_waves},
    {"one-hot", fill_one_hot},
    {"sparse", fill_sparse},
    {"low rank", fill_low_rank},
    {"integers", fill_integers},
    {"monomials", fill_monomials},
    {"running sums", fill_running_sums},
};

enum { NUM_KINDS = sizeof(KINDS) / sizeof(KINDS[0]) };

typedef struct shape {
    uint64_t length;
    uint32_t columns;
} shape_t;

static const shape_t SHAPES[] = {
    {1, 1}, {2, 1},   {2, 2},    {3, 2},    {5, 5},   {10, 10}, {17, 3},   {27, 4},    {31, 7},   {32, 32},   {64, 8},
    {65, 2}, {97, 13}, {127, 32}, {511, 3}, {512, 32}, {513, 4}, {650, 4}, {1021, 5}, {4608, 8}, {2600, 16}, {28869, 4},
    {16, 16}, {240, 33}, {115, 70}, /* more than a panel of 16 */
};

enum { NUM_SHAPES = sizeof(SHAPES) / sizeof(SHAPES[0]) };

/* Sanitizers and slow devices: the large shapes are left out. */
static bool shapes_are_reduced(void)
{
    const char *value = getenv("PSGD_TEST_SHAPES");

    return (value != NULL) && (strcmp(value, "reduced") == 0);
}

/* All shapes, in one buffer. */
static input_t all_shapes(void)
{
    input_t input = {.num_matrices = 0};

    for (int i = 0; i < NUM_SHAPES; ++i) {
        if (!shapes_are_reduced() || (SHAPES[i].length * SHAPES[i].columns <= 8192)) {
            add_matrix(&input, SHAPES[i].length, SHAPES[i].columns);
        }
    }
    allocate_elems(&input);
    return input;
}

static void fill_all(input_t *input, fill_fn fill)
{
    for (size_t m = 0; m < input->num_matrices; ++m) {
        fill(matrix_of(input, input->elems, m), input->matrices[m].length, input->matrices[m].columns);
    }
}

/* ------------------------------------------------------------------------------------------------------------------
 * The bounds
 * ---------------------------------------------------------------------------------------------------------------- */

START_TEST(orthogonalize__keeps_both_bounds_for_every_kind_of_input_and_shape)
{
    input_t                input = all_shapes();
    psgd_orthogonalizer_t *made  = make(&input, NULL);
    float                 *out;

    fill_all(&input, KINDS[_i].fill);
    out = run(made, &input, 3, false);
    assert_bounds(&input, out, KINDS[_i].name);
    free(out);
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__keeps_both_bounds_for_every_number_of_columns_to_32)
{
    static const fill_fn FILLS[] = {fill_random, fill_condition_1e8, fill_duplicates, fill_square_waves, fill_zero};
    input_t              input   = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;

    for (uint32_t columns = 1; columns <= 32; ++columns) {
        add_matrix(&input, 61, columns);
        add_matrix(&input, columns, columns);
    }
    allocate_elems(&input);
    made = make(&input, NULL);
    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *out;

        fill_all(&input, FILLS[f]);
        out = run(made, &input, f, false);
        assert_bounds(&input, out, "1 to 32 columns");
        free(out);
    }
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

/* Above 131072 rows a tile is longer than one block. */
START_TEST(orthogonalize__keeps_both_bounds_for_very_long_columns)
{
    static const fill_fn FILLS[] = {fill_random, fill_constant, fill_square_waves, fill_parallel_1e6, fill_integers};
    input_t              input   = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;

    add_matrix(&input, shapes_are_reduced() ? 140001 : 1000003, 3);
    allocate_elems(&input);
    made = make(&input, NULL);
    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *out;

        fill_all(&input, FILLS[f]);
        out = run(made, &input, f, true);
        assert_bounds(&input, out, "very long columns");
        free(out);
    }
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

/* Panels, whose tiles are longer than one chunk above 65536 rows. */
START_TEST(orthogonalize__keeps_both_bounds_for_panels_of_very_long_columns)
{
    static const fill_fn   FILLS[] = {fill_random, fill_parallel_1e6};
    input_t                input   = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;

    add_matrix(&input, 66001, 18);
    allocate_elems(&input);
    made = make(&input, NULL);
    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *out;

        fill_all(&input, FILLS[f]);
        out = run(made, &input, f, true);
        assert_bounds(&input, out, "panels of very long columns");
        free(out);
    }
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__keeps_both_bounds_for_very_many_columns)
{
    static const fill_fn FILLS[] = {fill_random,    fill_low_rank,     fill_duplicates, fill_condition_1e8,
                                    fill_zero_columns, fill_graded, fill_parallel_1e6, fill_square_waves};
    input_t              input   = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;

    add_matrix(&input, 150, 150);
    add_matrix(&input, 700, shapes_are_reduced() ? 100 : 300);
    add_matrix(&input, 1500, 64);
    add_matrix(&input, 600, shapes_are_reduced() ? 70 : 256);
    allocate_elems(&input);
    made = make(&input, NULL);
    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *out;

        fill_all(&input, FILLS[f]);
        out = run(made, &input, f, true);
        assert_bounds(&input, out, "very many columns");
        free(out);
    }
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * What it computes
 * ---------------------------------------------------------------------------------------------------------------- */

/* Gram-Schmidt gives what Householder's method gives, where the input says which columns those are. */
START_TEST(orthogonalize__well_conditioned_input_gives_the_columns_of_the_reference)
{
    static const fill_fn FILLS[] = {fill_random, fill_graded, fill_huge, fill_condition_1e2};
    static const double  BOUND   = 2e-5; /* condition 1e2 times the rounding of fp32, with room */
    input_t              input   = {.num_matrices = 0};

    add_matrix(&input, 1021, 5);
    add_matrix(&input, 97, 13);
    add_matrix(&input, 650, 32);
    allocate_elems(&input);
    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *out;

        fill_all(&input, FILLS[f]);
        out = orthogonalize(&input, NULL, 0, false);
        for (size_t m = 0; m < input.num_matrices; ++m) {
            size_t  length = input.matrices[m].length, columns = input.matrices[m].columns;
            double *basis = allocate(length * columns, sizeof(*basis));
            float  *q     = matrix_of(&input, out, m);

            reference_orthogonalize(matrix_of(&input, input.elems, m), basis, length, columns);
            for (size_t i = 0; i < length * columns; ++i) {
                ck_assert_msg(fabs((double)q[i] - basis[i]) <= BOUND, "input %zu, column %zu, element %zu: %.9g, not %.9g", f,
                              i / length, i % length, (double)q[i], basis[i]);
            }
            ck_assert_double_le(reference_subspace_distance(q, basis, length, columns), BOUND);
            free(basis);
        }
        free(out);
    }
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__orthonormal_columns_stay_as_they_are)
{
    input_t input = all_shapes();
    float  *once;
    float  *twice;

    fill_all(&input, fill_random);
    once = orthogonalize(&input, NULL, 0, false);
    memcpy(input.elems, once, input.num_elems * sizeof(*once));
    twice = orthogonalize(&input, NULL, 1, false);
    for (size_t i = 0; i < input.num_elems; ++i) {
        ck_assert_msg(fabsf(twice[i] - once[i]) <= 1e-6f * fmaxf(1.0f, fabsf(once[i])), "element %zu: %.9g became %.9g", i,
                      (double)once[i], (double)twice[i]);
    }
    free(twice);
    free(once);
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__power_of_two_scales_of_columns_change_no_bit)
{
    input_t input = all_shapes();
    float  *plain;
    float  *scaled;

    fill_all(&input, fill_condition_1e4);
    plain = orthogonalize(&input, NULL, 5, false);
    for (size_t m = 0; m < input.num_matrices; ++m) {
        for (size_t i = 0; i < input.matrices[m].length * input.matrices[m].columns; ++i) {
            float *x = &input.elems[input.matrices[m].offset_elems + i];

            *x = ldexpf(*x, (int)(i / input.matrices[m].length * 29 % 80) - 40);
        }
    }
    scaled = orthogonalize(&input, NULL, 5, false);
    assert_equal_bits(plain, scaled, input.num_elems, "scaled columns");
    free(scaled);
    free(plain);
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__in_place_gives_the_same_bits)
{
    static const fill_fn FILLS[] = {fill_random, fill_duplicates, fill_zero_columns};
    input_t              input   = all_shapes();

    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        float *apart, *in_place;

        fill_all(&input, FILLS[f]);
        apart    = orthogonalize(&input, NULL, 9, false);
        in_place = orthogonalize(&input, NULL, 9, true);
        assert_equal_bits(apart, in_place, input.num_elems, "in place");
        free(in_place);
        free(apart);
    }
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__bits_do_not_depend_on_the_work_group)
{
    static const psgd_orthogonalize_shape_t WAYS[]  = {{1, 16, false}, {1, 16, true}, {64, 1, false}, {32, 1, false}};
    static const fill_fn                    FILLS[] = {fill_random, fill_condition_1e8, fill_duplicates, fill_zero_columns,
                                                       fill_denormal, fill_one_hot, fill_square_waves};
    enum { NUM_WAYS = sizeof(WAYS) / sizeof(WAYS[0]), NUM_FILLS = sizeof(FILLS) / sizeof(FILLS[0]) };
    input_t                input     = all_shapes();
    psgd_orthogonalizer_t *preferred = NULL;
    float                 *expected[NUM_FILLS];

    preferred = make(&input, NULL);
    for (int f = 0; f < NUM_FILLS; ++f) {
        fill_all(&input, FILLS[f]);
        expected[f] = run(preferred, &input, 2, false);
    }
    for (int w = likes_vectors() ? 0 : 2; w < NUM_WAYS; ++w) {
        psgd_orthogonalizer_t *made = make(&input, &WAYS[w]);

        for (int f = 0; f < NUM_FILLS; ++f) {
            char   what[64];
            float *out;

            snprintf(what, sizeof(what), "%u work-items x %u lanes%s, input %d", WAYS[w].group_size,
                     WAYS[w].vector_lanes, WAYS[w].at_once ? " at once" : "", f);
            fill_all(&input, FILLS[f]);
            out = run(made, &input, 2, false);
            assert_equal_bits(expected[f], out, input.num_elems, what);
            free(out);
        }
        psgd_orthogonalizer_destroy(made);
    }
    for (int f = 0; f < NUM_FILLS; ++f) {
        free(expected[f]);
    }
    psgd_orthogonalizer_destroy(preferred);
    free_input(&input);
}
END_TEST

/* What is not a CPU is given work-items side by side, which are another program with the same bits. */
START_TEST(orthogonalize__device_that_is_no_cpu_gets_the_same_bits_by_work_items)
{
    input_t               input = all_shapes();
    psgd_device_limits_t *limits;
    float                *expected, *out;

    memcpy(&limits, &(const psgd_device_limits_t *){psgd_device_limits(device)},
           sizeof(limits)); /* the struct is not const */
    fill_all(&input, fill_condition_1e8);
    expected       = orthogonalize(&input, NULL, 2, false);
    limits->is_cpu = !limits->is_cpu;
    out            = orthogonalize(&input, NULL, 2, false);
    limits->is_cpu = !limits->is_cpu;
    assert_equal_bits(expected, out, input.num_elems, "another kind of device");
    free(out);
    free(expected);
    free_input(&input);
}
END_TEST

/* A CPU whose compiler wants vectors of less than four floats makes its own of the work-items. */
START_TEST(orthogonalize__cpu_gets_one_work_item_where_it_likes_vectors_of_four_or_more)
{
    static const cl_uint WIDTHS[] = {1, 3, 4, 16};

    for (size_t w = 0; w < sizeof(WIDTHS) / sizeof(WIDTHS[0]); ++w) {
        input_t input = {.num_matrices = 0};

        add_matrix(&input, 40, 3);
        allocate_elems(&input);
        fill_all(&input, fill_random);
        pretended_width = WIDTHS[w];
        free(orthogonalize(&input, NULL, 0, false));
        pretended_width = 0;
        ck_assert_int_eq(calls.local == 1, psgd_device_limits(device)->is_cpu && (WIDTHS[w] >= 4));
        free_input(&input);
    }
}
END_TEST

/* Blocks beyond the first of a tile, and the same matrix beside others. */
START_TEST(orthogonalize__bits_do_not_depend_on_the_work_group_nor_the_company_for_long_columns)
{
    static const psgd_orthogonalize_shape_t WIDE = {1, 16, false}, ONCE = {1, 16, true}, SMALL = {32, 1, false},
                                            GROUP   = {64, 1, false};
    input_t                                 alone   = {.num_matrices = 0};
    input_t                                 company = {.num_matrices = 0};
    size_t                                  elems;
    float                                  *a, *b, *c, *d;

    add_matrix(&alone, 140001, 3);
    allocate_elems(&alone);
    add_matrix(&company, 70, 2);
    add_matrix(&company, 600, 7);
    add_matrix(&company, 140001, 3);
    company.matrices[2].random_key = alone.matrices[0].random_key;
    allocate_elems(&company);
    fill_all(&alone, fill_zero_columns);
    fill_all(&company, fill_zero_columns);
    elems = (size_t)alone.matrices[0].length * alone.matrices[0].columns;
    a     = orthogonalize(&alone, likes_vectors() ? &WIDE : &SMALL, 2, false);
    b     = orthogonalize(&alone, &GROUP, 2, false);
    d     = orthogonalize(&alone, likes_vectors() ? &ONCE : &SMALL, 2, false);
    c     = orthogonalize(&company, NULL, 2, false);
    assert_equal_bits(a, b, alone.num_elems, "64 work-items");
    assert_equal_bits(a, d, alone.num_elems, "at once");
    assert_equal_bits(matrix_of(&alone, a, 0), matrix_of(&company, c, 2), elems, "beside others");
    free(d);
    free(c);
    free(b);
    free(a);
    free_input(&company);
    free_input(&alone);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * Columns that vanish
 * ---------------------------------------------------------------------------------------------------------------- */

enum { LENGTH = 301 };

/* Two matrices of LENGTH x 3 at different places, beside one that only takes up room. */
static input_t two_alike(fill_fn fill)
{
    input_t input = {.num_matrices = 0};

    add_matrix(&input, LENGTH, 3);
    add_matrix(&input, 40, 5);
    add_matrix(&input, LENGTH, 3);
    allocate_elems(&input);
    input.matrices[2].random_key = input.matrices[0].random_key;
    fill_all(&input, fill);
    return input;
}

START_TEST(orthogonalize__replaced_columns_depend_on_key_and_step_alone)
{
    static const fill_fn FILLS[] = {fill_zero, fill_constant};

    for (size_t f = 0; f < sizeof(FILLS) / sizeof(FILLS[0]); ++f) {
        input_t input     = two_alike(FILLS[f]);
        float  *step_1    = orthogonalize(&input, NULL, 1, false);
        float  *again     = orthogonalize(&input, NULL, 1, false);
        float  *step_2    = orthogonalize(&input, NULL, UINT64_C(1) + (UINT64_C(1) << 32), false);
        size_t  last      = 2 * LENGTH; /* the last column: replaced in both inputs */
        float  *first     = matrix_of(&input, step_1, 0) + last;
        float  *other_key;

        assert_equal_bits(step_1, again, input.num_elems, "the same step");
        assert_equal_bits(matrix_of(&input, step_1, 0), matrix_of(&input, step_1, 2), 3 * LENGTH, "the same key");
        ck_assert_int_ne(memcmp(first, matrix_of(&input, step_2, 0) + last, LENGTH * sizeof(float)), 0);
        input.matrices[0].random_key ^= UINT64_C(1) << 40;
        other_key = orthogonalize(&input, NULL, 1, false);
        ck_assert_int_ne(memcmp(first, matrix_of(&input, other_key, 0) + last, LENGTH * sizeof(float)), 0);
        free(other_key);
        free(step_2);
        free(again);
        free(step_1);
        free_input(&input);
    }
}
END_TEST

/* Whether `column` is the random column u_j of (key, step), made orthogonal to the `count` columns of q and normalized. */
static void assert_is_random_column(const float *q, uint32_t count, const float *column, uint64_t key, uint64_t step, uint32_t j)
{
    double u[LENGTH];
    double norm = 0.0;

    for (uint32_t i = 0; i < LENGTH; ++i) {
        u[i] = (double)psgd_random_value(key, step, j, i);
    }
    for (uint32_t k = 0; k < count; ++k) {
        double dot = 0.0;

        for (uint32_t i = 0; i < LENGTH; ++i) {
            dot += (double)q[k * LENGTH + i] * u[i];
        }
        for (uint32_t i = 0; i < LENGTH; ++i) {
            u[i] -= dot * (double)q[k * LENGTH + i];
        }
    }
    for (uint32_t i = 0; i < LENGTH; ++i) {
        norm += u[i] * u[i];
    }
    for (uint32_t i = 0; i < LENGTH; ++i) {
        ck_assert_double_eq_tol((double)column[i], u[i] / sqrt(norm), 1e-6);
    }
}

START_TEST(orthogonalize__zero_matrix_becomes_orthonormalized_random_columns)
{
    input_t input = two_alike(fill_zero);
    float  *out   = orthogonalize(&input, NULL, 77, false);
    float  *q     = matrix_of(&input, out, 0);

    for (uint32_t j = 0; j < 3; ++j) {
        assert_is_random_column(q, j, q + j * LENGTH, input.matrices[0].random_key, 77, j);
    }
    free(out);
    free_input(&input);
}
END_TEST

/* The second column is the first one but for less than 1e-6 of it, the third is not. */
START_TEST(orthogonalize__column_that_depends_on_others_is_replaced_and_one_that_does_not_is_kept)
{
    input_t input = two_alike(fill_random);
    float  *p     = matrix_of(&input, input.elems, 0);
    double  basis[3 * LENGTH];
    float  *out;
    float  *q;

    for (size_t i = 0; i < LENGTH; ++i) {
        p[LENGTH + i]     = -5.0f * p[i] * (1.0f + 3e-7f * random_number(2, 0, i));
        p[2 * LENGTH + i] = p[i] + 1e-4f * random_number(2, 1, i);
    }
    out = orthogonalize(&input, NULL, 4, false);
    q   = matrix_of(&input, out, 0);
    assert_bounds(&input, out, "a dependent column");
    /* Which of the two candidates it is, the library chooses: the one with more of itself outside of the others. Here they
     * are alike in that, so only that it is random in itself is checked: it is not near the old column's rest. */
    reference_orthogonalize(p, basis, LENGTH, 3);
    for (size_t j = 1; j < 3; ++j) {
        double cosine = 0.0;

        for (size_t i = 0; i < LENGTH; ++i) {
            cosine += (double)q[j * LENGTH + i] * basis[j * LENGTH + i];
        }
        if (j == 1) {
            ck_assert_double_lt(fabs(cosine), 0.5);
        } else {
            ck_assert_double_gt(fabs(cosine), 0.9); /* but for what the replacement took of it */
        }
    }
    free(out);
    free_input(&input);
}
END_TEST

/* Of the last column of a square matrix one direction alone is left, and sometimes little of a random column lies there. */
START_TEST(orthogonalize__square_matrices_of_rank_one_keep_the_bounds_for_many_keys)
{
    static const uint64_t STEPS = 40;
    input_t               input = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;

    for (uint32_t i = 0; i < 200; ++i) {
        add_matrix(&input, 2 + i % 9, 2 + i % 9);
    }
    allocate_elems(&input);
    fill_all(&input, fill_constant);
    made = make(&input, NULL);
    for (uint64_t step = 0; step < STEPS; ++step) {
        float *out = run(made, &input, step, false);

        assert_bounds(&input, out, "square, of rank one");
        free(out);
    }
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------------
 * Non-finite input, launches, allocations, bad arguments
 * ---------------------------------------------------------------------------------------------------------------- */

START_TEST(orthogonalize__column_that_is_not_finite_shows_and_leaves_other_matrices_alone)
{
    static const float BAD[] = {NAN, INFINITY, -INFINITY};

    for (size_t b = 0; b < sizeof(BAD) / sizeof(BAD[0]); ++b) {
        input_t input = two_alike(fill_random);
        float  *clean = orthogonalize(&input, NULL, 0, false);
        float  *out;

        input.elems[input.matrices[0].offset_elems + LENGTH + 200] = BAD[b];
        out = orthogonalize(&input, NULL, 0, false);
        for (size_t i = 0; i < LENGTH; ++i) {
            ck_assert(isnan(matrix_of(&input, out, 0)[LENGTH + i]));
        }
        assert_equal_bits(matrix_of(&input, out, 0), matrix_of(&input, clean, 0), LENGTH, "the column before");
        assert_equal_bits(matrix_of(&input, out, 2), matrix_of(&input, clean, 2), 3 * LENGTH, "another matrix");
        free(out);
        free(clean);
        free_input(&input);
    }
}
END_TEST

/* Launches of one call for `count` matrices, and that it creates nothing. */
static unsigned count_launches(size_t count, uint32_t columns)
{
    input_t                input = {.num_matrices = 0};
    psgd_orthogonalizer_t *made;
    psgd_view_t            view = {NULL, 0};
    unsigned               before, launches, buffers, kernels;

    for (size_t i = 0; i < count; ++i) {
        add_matrix(&input, 40 + 13 * (i % 97), i % 5 == 0 ? columns : 1 + (uint32_t)i % columns);
    }
    allocate_elems(&input);
    made = make(&input, NULL);
    assert_ok(psgd_buffer_create(device, input.num_elems * sizeof(float), "the test", &view));
    before  = calls.launches;
    buffers = calls.buffers;
    kernels = calls.kernels;
    assert_ok(psgd_orthogonalizer_enqueue(made, view, view, 0));
    launches = calls.launches - before;
    ck_assert_uint_eq(calls.buffers, buffers);
    ck_assert_uint_eq(calls.kernels, kernels);
    assert_ok(psgd_device_wait(device, "the test"));
    psgd_buffer_destroy(device, &view);
    psgd_orthogonalizer_destroy(made);
    free_input(&input);
    return launches;
}

START_TEST(orthogonalize__launches_depend_on_the_largest_number_of_columns_alone_and_nothing_is_created)
{
    static const uint32_t COLUMNS[] = {1, 4, 8, 33, 40};

    for (size_t c = 0; c < sizeof(COLUMNS) / sizeof(COLUMNS[0]); ++c) {
        unsigned for_5 = count_launches(5, COLUMNS[c]);

        ck_assert_uint_eq(for_5, count_launches(200, COLUMNS[c]));
        ck_assert_uint_ge(for_5, 1);
        ck_assert_uint_le(for_5, 3 * COLUMNS[c] + 2);
    }
}
END_TEST

/* Launches for a matrix that is all the work, on a device of so many compute units. */
static unsigned launches_of_one(uint32_t compute_units)
{
    psgd_device_limits_t *limits;
    input_t               input = {.num_matrices = 0};
    uint32_t              units;
    unsigned              before = calls.launches;

    memcpy(&limits, &(const psgd_device_limits_t *){psgd_device_limits(device)},
           sizeof(limits)); /* the struct is not const */
    add_matrix(&input, 140001, 8);
    allocate_elems(&input);
    fill_all(&input, fill_random);
    units                 = limits->compute_units;
    limits->compute_units = compute_units;
    free(orthogonalize(&input, NULL, 0, false));
    limits->compute_units = units;
    free_input(&input);
    return calls.launches - before;
}

START_TEST(orthogonalize__goes_in_one_launch_only_where_that_leaves_no_compute_unit_idle_for_long)
{
    const unsigned staged = 3 * 8;

    ck_assert_uint_eq(launches_of_one(1), likes_vectors() ? 1 : staged);
    ck_assert_uint_eq(launches_of_one(64), staged);
}
END_TEST

START_TEST(orthogonalize__releases_all_device_memory)
{
    uint64_t before = psgd_device_bytes(device);
    input_t  input  = two_alike(fill_random);

    free(orthogonalize(&input, NULL, 0, false));
    ck_assert_uint_eq(psgd_device_bytes(device), before);
    free_input(&input);
}
END_TEST

START_TEST(orthogonalize__refuses_matrices_that_it_cannot_do)
{
    static const psgd_columns_t REFUSED[] = {
        {0, 3, 4, 0},                       /* more columns than rows */
        {0, 5, 0, 0},                       /* no columns */
        {0, UINT64_C(1) << 32, 1, 0},       /* too long */
        {0, 5000, PSGD_MAX_RANK + 1, 0},    /* too many columns */
    };
    psgd_orthogonalizer_t *made = NULL;

    for (size_t i = 0; i < sizeof(REFUSED) / sizeof(REFUSED[0]); ++i) {
        assert_fails(psgd_orthogonalizer_create(device, &REFUSED[i], 1, &made), PSGD_ERR_INTERNAL, "to be orthogonalized");
        ck_assert_ptr_null(made);
    }
    psgd_orthogonalizer_destroy(NULL);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------------- */

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, open_device, NULL);
    suite_add_tcase(suite, tests);
    return tests;
}

/* CK_RUN_CASE takes one of the cases alone. The device stays open for all of them, since with it the programs go. */
int main(void)
{
    Suite *suite = suite_create("orthogonalize");
    TCase *tests;
    int    result;

    tests = add_case(suite, "columns");
    tcase_add_test(tests, orthogonalize__well_conditioned_input_gives_the_columns_of_the_reference);
    tcase_add_test(tests, orthogonalize__replaced_columns_depend_on_key_and_step_alone);
    tcase_add_test(tests, orthogonalize__zero_matrix_becomes_orthonormalized_random_columns);
    tcase_add_test(tests, orthogonalize__column_that_depends_on_others_is_replaced_and_one_that_does_not_is_kept);
    tcase_add_test(tests, orthogonalize__column_that_is_not_finite_shows_and_leaves_other_matrices_alone);
    tcase_add_test(tests, orthogonalize__launches_depend_on_the_largest_number_of_columns_alone_and_nothing_is_created);
    tcase_add_test(tests, orthogonalize__goes_in_one_launch_only_where_that_leaves_no_compute_unit_idle_for_long);
    tcase_add_test(tests, orthogonalize__releases_all_device_memory);
    tcase_add_test(tests, orthogonalize__refuses_matrices_that_it_cannot_do);

    tests = add_case(suite, "bounds");
    tcase_add_loop_test(tests, orthogonalize__keeps_both_bounds_for_every_kind_of_input_and_shape, 0, NUM_KINDS);
    tcase_add_test(tests, orthogonalize__keeps_both_bounds_for_every_number_of_columns_to_32);
    tcase_add_test(tests, orthogonalize__keeps_both_bounds_for_very_long_columns);
    tcase_add_test(tests, orthogonalize__keeps_both_bounds_for_panels_of_very_long_columns);
    tcase_add_test(tests, orthogonalize__keeps_both_bounds_for_very_many_columns);
    tcase_add_test(tests, orthogonalize__orthonormal_columns_stay_as_they_are);
    tcase_add_test(tests, orthogonalize__power_of_two_scales_of_columns_change_no_bit);
    tcase_add_test(tests, orthogonalize__in_place_gives_the_same_bits);
    tcase_add_test(tests, orthogonalize__square_matrices_of_rank_one_keep_the_bounds_for_many_keys);

    tests = add_case(suite, "ways");
    tcase_add_test(tests, orthogonalize__bits_do_not_depend_on_the_work_group);
    tcase_add_test(tests, orthogonalize__bits_do_not_depend_on_the_work_group_nor_the_company_for_long_columns);
    tests = add_case(suite, "devices");
    tcase_add_test(tests, orthogonalize__device_that_is_no_cpu_gets_the_same_bits_by_work_items);
    tcase_add_test(tests, orthogonalize__cpu_gets_one_work_item_where_it_likes_vectors_of_four_or_more);
    result = psgd_run_suite(suite);
    psgd_device_close(device);
    return result;
}
