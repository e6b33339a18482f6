/* What psgd-bench runs on the device: the floor's passes move what they say, in both forms, and the gradients are
 * those that the host computes. */
#include <stdlib.h>

#include "floor.h"
#include "gradients.h"
#include "kernels.h"
#include "support/suite.h"
#include "tool_asserts.h"

static gpu_t gpu;

static const floor_form_t forms[] = {FLOOR_UPDATE_ONLY, FLOOR_LAZY, FLOOR_TRANSACTIONAL};

enum { NUM_FORMS = sizeof(forms) / sizeof(forms[0]) };

/* Runs and checks the floor as on a device of this kind, whatever the real one is. */
static void check_floor(psgd_device_kind_t kind, floor_form_t form)
{
    static const uint64_t sizes[] = {1, 4, 15, 16, 17, 64, 1000, 100003, 1048576};
    gpu_t                 as_kind = gpu;

    as_kind.info.kind = kind;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        floor_t floor = {0};

        assert_tool_ok(floor_create(&as_kind, form, sizes[i], &floor));
        ck_assert_uint_ge(floor.elems, sizes[i]);
        ck_assert_uint_lt(floor.elems, sizes[i] + 16);
        assert_tool_ok(floor_check(&floor));
        assert_tool_ok(floor_check(&floor)); /* it leaves what it found */
        floor_destroy(&floor);
    }
}

START_TEST(floor__sums_up_what_the_passes_have_written_on_cpus)
{
    check_floor(PSGD_DEVICE_CPU, forms[_i]);
}
END_TEST

START_TEST(floor__sums_up_what_the_passes_have_written_on_gpus)
{
    check_floor(PSGD_DEVICE_GPU, forms[_i]);
}
END_TEST

/* Every element of an array is this. */
static void assert_holds(cl_mem mem, uint64_t elems, float expected)
{
    float *values = calloc(elems, sizeof(*values));

    ck_assert_ptr_nonnull(values);
    assert_tool_ok(gpu_read(&gpu, mem, values, elems * sizeof(*values)));
    for (uint64_t i = 0; i < elems; ++i) {
        ck_assert_msg(values[i] == expected, "element %u is %g", (unsigned)i, (double)values[i]);
    }
    free(values);
}

START_TEST(floor__passes_reach_every_element)
{
    for (int kind = PSGD_DEVICE_CPU; kind <= PSGD_DEVICE_GPU; ++kind) {
        gpu_t   as_kind = gpu;
        floor_t floor   = {0};

        as_kind.info.kind = (psgd_device_kind_t)kind;
        assert_tool_ok(floor_create(&as_kind, forms[_i], 12345, &floor));
        assert_tool_ok(floor_run(&floor));
        assert_holds(floor.a, floor.elems, 0.5f);
        assert_holds(floor.b, floor.elems, 0.5f);
        floor_destroy(&floor);
    }
}
END_TEST

START_TEST(floor__a_wrong_sum_is_told)
{
    floor_t floor = {0};
    float   zero  = 0.0f;

    assert_tool_ok(floor_create(&gpu, FLOOR_LAZY, 64, &floor));
    assert_tool_ok(gpu_write(&gpu, floor.b, &zero, sizeof(zero)));
    assert_tool_fails(floor_check(&floor), TOOL_WRONG, "the floor's sum over 64 elements");
    floor_destroy(&floor);
}
END_TEST

START_TEST(floor__of_nothing_does_nothing)
{
    floor_t floor = {0};

    assert_tool_ok(floor_create(&gpu, FLOOR_TRANSACTIONAL, 0, &floor));
    assert_tool_ok(floor_check(&floor));
    floor_destroy(&floor);
}
END_TEST

static void check_gradients(psgd_dtype_t dtype, bool one_buffer)
{
    const uint32_t key       = gradients_key(1, 2);
    model_t        model     = {0};
    gradients_t    gradients = {0};
    float         *values;

    assert_tool_ok(MODEL_ADD(&model, "a", 33, 7));
    assert_tool_ok(MODEL_ADD(&model, "b", 5));
    assert_tool_ok(MODEL_ADD(&model, "c", 3, 2, 5, 5));
    assert_tool_ok(gradients_create(&gpu, &model, dtype, one_buffer, &gradients));
    ck_assert_uint_eq(gradients.num_mems, one_buffer ? 1 : 3);
    ck_assert_uint_eq(gradients.elem_bytes, dtype == PSGD_F32 ? 4 : 2);
    assert_tool_ok(gradients_fill(&gradients, key));
    values = calloc(gradients.extent, sizeof(*values));
    ck_assert_ptr_nonnull(values);
    assert_tool_ok(gradients_read(&gradients, values));
    for (size_t t = 0; t < model.count; ++t) {
        for (uint64_t i = gradients.offsets[t]; i < gradients.offsets[t] + model.tensors[t].elems; ++i) {
            ck_assert_msg(values[i] == gradients_value_of(dtype, key, i), "%s, element %u", model.tensors[t].name,
                          (unsigned)i);
            ck_assert(values[i] >= -1.0f && values[i] < 1.0f);
        }
    }
    free(values);
    gradients_destroy(&gradients);
    model_free(&model);
}

START_TEST(gradients__are_what_the_host_computes_in_one_buffer_or_several)
{
    for (int dtype = PSGD_F32; dtype <= PSGD_BF16; ++dtype) {
        check_gradients((psgd_dtype_t)dtype, true);
        check_gradients((psgd_dtype_t)dtype, false);
    }
}
END_TEST

static void open_device(void)
{
    psgd_device_info_t info = PSGD_DEVICE_INFO_INIT;

    assert_ok(psgd_device_find(NULL, &info));
    assert_tool_ok(gpu_open(&info, &bench_program, &gpu));
}

static void close_device(void)
{
    gpu_close(&gpu);
}

int main(void)
{
    Suite *suite = suite_create("bench_floor");
    TCase *tcase = tcase_create("floor");

    tcase_add_unchecked_fixture(tcase, open_device, close_device);
    tcase_set_timeout(tcase, 200);
    tcase_add_loop_test(tcase, floor__sums_up_what_the_passes_have_written_on_cpus, 0, NUM_FORMS);
    tcase_add_loop_test(tcase, floor__sums_up_what_the_passes_have_written_on_gpus, 0, NUM_FORMS);
    tcase_add_loop_test(tcase, floor__passes_reach_every_element, 0, NUM_FORMS);
    tcase_add_test(tcase, floor__a_wrong_sum_is_told);
    tcase_add_test(tcase, floor__of_nothing_does_nothing);
    tcase_add_test(tcase, gradients__are_what_the_host_computes_in_one_buffer_or_several);
    suite_add_tcase(suite, tcase);
    return psgd_run_suite(suite);
}
