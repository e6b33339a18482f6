/* The small uncompressed tensors, into one array and back; and the second sums of partial ones. */
#include <stdlib.h>
#include <string.h>

#include "op_fixture.h"
#include "ops/pack.h"
#include "ops/sum_parts.h"
#include "support/suite.h"

enum { NUM_TENSORS = 60, NUM_BUFFERS = 20, MAX_ELEMS = 5003 };

/* Small ones of odd lengths, and among them compressed ones, which are not touched. */
static void describe(psgd_plan_t *plan, psgd_plan_tensor_t *tensors)
{
    memset(tensors, 0, NUM_TENSORS * sizeof(*tensors));
    *plan = (psgd_plan_t){.tensors = tensors, .num_tensors = NUM_TENSORS};
    for (size_t i = 0; i < NUM_TENSORS; ++i) {
        tensors[i].elems = i == 7 ? MAX_ELEMS : 1 + (i * 37) % 301;
        tensors[i].route = i % 4 == 3 ? PSGD_ROUTE_COMPRESSED : PSGD_ROUTE_SMALL;
        if (i == 7) {
            tensors[i].route = PSGD_ROUTE_SMALL;
        }
        if (tensors[i].route == PSGD_ROUTE_SMALL) {
            tensors[i].offset_elems = plan->small_elems;
            plan->small_elems += tensors[i].elems;
        }
    }
}

static void check_round_trip(uint32_t vector_floats)
{
    psgd_plan_tensor_t tensors[NUM_TENSORS];
    psgd_plan_t        plan;
    region_t           buffers[NUM_BUFFERS], packed;
    psgd_view_t        grads[NUM_TENSORS];
    size_t             used[NUM_BUFFERS] = {0};
    float             *values = test_alloc(3 * (size_t)MAX_ELEMS, sizeof(*values));
    float             *array, *back = test_alloc(3 * (size_t)MAX_ELEMS, sizeof(*back));
    psgd_packer_t     *packer = NULL;

    op_device_pretend(op_device(), vector_floats);
    describe(&plan, tensors);
    array = test_alloc((size_t)plan.small_elems, sizeof(*array));
    for (size_t b = 0; b < NUM_BUFFERS; ++b) {
        fill_uniform(values, 3 * (size_t)MAX_ELEMS, 100 + b, 1.0f);
        buffers[b] = region_create(op_device(), 3 * (size_t)MAX_ELEMS, 4 * (b % 5), values);
    }
    for (size_t i = 0; i < NUM_TENSORS; ++i) {
        size_t b = i % NUM_BUFFERS;

        grads[i] = psgd_view_at(buffers[b].view, used[b] * sizeof(float));
        used[b] += (size_t)tensors[i].elems + 3;
    }
    packed = region_create(op_device(), (size_t)plan.small_elems, 12, NULL);
    assert_ok(psgd_packer_create(op_device(), &plan, &packer));
    assert_ok(psgd_packer_enqueue_pack(packer, grads, packed.view));
    region_read(&packed, array);
    memset(used, 0, sizeof(used));
    for (size_t i = 0; i < NUM_TENSORS; ++i) {
        size_t b = i % NUM_BUFFERS;

        if (tensors[i].route == PSGD_ROUTE_SMALL) {
            fill_uniform(values, 3 * (size_t)MAX_ELEMS, 100 + b, 1.0f);
            ck_assert_uint_eq(count_different(array + tensors[i].offset_elems, values + used[b], (size_t)tensors[i].elems), 0);
        }
        used[b] += (size_t)tensors[i].elems + 3;
    }
    for (size_t n = 0; n < plan.small_elems; ++n) {
        array[n] = -array[n];
    }
    assert_ok(psgd_buffer_enqueue_write(op_device(), packed.view, array, (size_t)plan.small_elems * sizeof(float)));
    assert_ok(psgd_packer_enqueue_unpack(packer, packed.view, grads));
    assert_ok(psgd_device_wait(op_device(), "a test of packing"));
    for (size_t b = 0; b < NUM_BUFFERS; ++b) {
        size_t place = 0;

        fill_uniform(values, 3 * (size_t)MAX_ELEMS, 100 + b, 1.0f);
        for (size_t i = b; i < NUM_TENSORS; i += NUM_BUFFERS) {
            for (size_t n = 0; (n < tensors[i].elems) && (tensors[i].route == PSGD_ROUTE_SMALL); ++n) {
                values[place + n] = -values[place + n];
            }
            place += (size_t)tensors[i].elems + 3;
        }
        region_read(&buffers[b], back);
        ck_assert_uint_eq(count_different(back, values, 3 * (size_t)MAX_ELEMS), 0);
        region_destroy(&buffers[b]);
    }
    psgd_packer_destroy(packer);
    region_destroy(&packed);
    free(back);
    free(array);
    free(values);
}

START_TEST(pack__many_tensors_of_many_buffers_go_and_come_back_and_nothing_else_is_touched)
{
    check_round_trip(16);
    check_round_trip(4);
    check_round_trip(1);
}
END_TEST

/* out[o + i] = the parts' elements in the order of the parts, for sums of several lengths and numbers of parts. */
static void check_sums(uint32_t vector_floats)
{
    static const psgd_summation_t SUMS[] = {{0, 0, 16, 1, 3}, {1, 48, 32, 17, 5}, {20, 208, 5008, 5003, 2}, {5040, 10224, 64, 64, 31}};
    enum { NUM_SUMS = sizeof(SUMS) / sizeof(SUMS[0]), PART_ELEMS = 10224 + 31 * 64, OUT_ELEMS = 5200 };
    float            *parts = test_alloc(PART_ELEMS, sizeof(*parts));
    float            *out = test_alloc(OUT_ELEMS, sizeof(*out)), *expected = test_alloc(OUT_ELEMS, sizeof(*expected));
    region_t          part_region, out_region;
    psgd_sum_parts_t *sum = NULL;

    op_device_pretend(op_device(), vector_floats);
    fill_uniform(parts, PART_ELEMS, 7, 1.0f);
    fill_uniform(out, OUT_ELEMS, 8, 1.0f);
    memcpy(expected, out, OUT_ELEMS * sizeof(*out));
    for (size_t s = 0; s < NUM_SUMS; ++s) {
        for (size_t i = 0; i < SUMS[s].count; ++i) {
            float total = parts[SUMS[s].part_offset + i];

            for (size_t t = 1; t < SUMS[s].num_parts; ++t) {
                total += parts[SUMS[s].part_offset + t * SUMS[s].stride + i];
            }
            expected[SUMS[s].out_offset + i] = total;
        }
    }
    part_region = region_create(op_device(), PART_ELEMS, 0, parts);
    out_region  = region_create(op_device(), OUT_ELEMS, 8, out);
    assert_ok(psgd_sum_parts_create(op_device(), SUMS, NUM_SUMS, &sum));
    assert_ok(psgd_sum_parts_enqueue(sum, part_region.view, out_region.view));
    region_read(&out_region, out);
    ck_assert_uint_eq(count_different(out, expected, OUT_ELEMS), 0);
    psgd_sum_parts_destroy(sum);
    psgd_sum_parts_destroy(NULL);
    region_destroy(&out_region);
    region_destroy(&part_region);
    free(expected);
    free(out);
    free(parts);
}

START_TEST(sum_parts__are_added_up_in_order_and_nothing_else_is_touched)
{
    check_sums(16);
    check_sums(1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pack and second sums");
    TCase *tests = tcase_create("pack and second sums");

    tcase_set_timeout(tests, 0);
    tcase_add_unchecked_fixture(tests, NULL, op_device_close);
    tcase_add_test(tests, pack__many_tensors_of_many_buffers_go_and_come_back_and_nothing_else_is_touched);
    tcase_add_test(tests, sum_parts__are_added_up_in_order_and_nothing_else_is_touched);
    suite_add_tcase(suite, tests);
    return psgd_run_suite(suite);
}
